//! Durations as they are written.

use super::*;

#[test]
fn a_duration_is_a_number_and_a_unit() {
    let ok = |text| parse(text).unwrap();
    assert_eq!(ok("500ms"), Duration::from_millis(500));
    assert_eq!(ok("10s"), Duration::from_secs(10));
    assert_eq!(ok("2m"), Duration::from_secs(120));
    assert_eq!(ok("1h"), Duration::from_secs(3600));
    assert_eq!(ok("1m 30s"), Duration::from_secs(90));
    assert_eq!(ok("365d"), Duration::from_secs(365 * 86_400));
    let write = |help: &str| Err(Some(help.to_owned()));
    assert_eq!(parse("10"), write("write 10s"));
    assert_eq!(parse("10S"), write("write 10s"));
    assert_eq!(parse("5M"), write("write 5m"));
    let refused = |text: &str| {
        let found = Spelled {
            text: text.to_owned(),
            is_number: false,
        };
        Timer::Positive.parse(&found, false).unwrap_err().message
    };
    for zero in ["0", "0s", "0ms"] {
        assert!(refused(zero).ends_with("expected more than zero"), "{zero}");
    }
    for small in ["0.5ms", "0.0001s"] {
        assert!(refused(small).ends_with("expected at least 1ms"), "{small}");
    }
    for other in ["1us", "1ns", "1month", "20sec", "1h 5min", "1w"] {
        let units = write("units are ms, s, m, h and d");
        assert_eq!(parse(other), units, "{other}");
    }
    for large in ["366d", "99999999999999999999s", "18446744073709551615s"] {
        assert!(refused(large).ends_with("expected at most 365d"), "{large}");
    }
    for unclear in ["", " ", "s", "-1s", "10 s s", "ten", "1e3", "10x"] {
        assert_eq!(parse(unclear), Err(None), "{unclear}");
    }
}
