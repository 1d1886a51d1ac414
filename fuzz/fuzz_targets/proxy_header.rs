//! Parses a PROXY header: the result must be bounded, final, and independent of what follows the header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgate::listener::proxy_header::{Progress, parse};

/// The longest header: the fixed part of version 2, and the most that may follow it.
const LONGEST: usize = 16 + 4096;

fuzz_target!(|data: &[u8]| {
    let progress = parse(data);
    match progress {
        Ok(Progress::Partial) => assert!(data.len() < LONGEST),
        Ok(Progress::Whole { length, .. }) => {
            assert!((1..=data.len().min(LONGEST)).contains(&length));
            assert_eq!(parse(&data[..length]), progress);
            assert_eq!(parse(&data[..length - 1]), Ok(Progress::Partial));
        }
        Ok(Progress::Absent) => {}
        Err(ref fault) => {
            assert!(
                fault
                    .bytes()
                    .all(|byte| byte == b' ' || byte.is_ascii_graphic())
            );
            let mut longer = data.to_vec();
            longer.push(b'x');
            assert_eq!(parse(&longer), progress);
        }
    }
});
