//! Durations and sizes as they are written.

use super::*;

#[test]
fn a_duration_is_a_number_and_a_unit() {
    let ok = |text| parse_duration(text).unwrap();
    assert_eq!(ok("500ms"), Duration::from_millis(500));
    assert_eq!(ok("10s"), Duration::from_secs(10));
    assert_eq!(ok("2m"), Duration::from_secs(120));
    assert_eq!(ok("1h"), Duration::from_secs(3600));
    assert_eq!(ok("1m 30s"), Duration::from_secs(90));
    assert_eq!(ok("365d"), Duration::from_secs(365 * 86_400));
    let write = |help: &str| Err(Unusable::Unclear(Some(help.to_owned())));
    assert_eq!(parse_duration("10"), write("write 10s"));
    assert_eq!(parse_duration("10S"), write("write 10s"));
    assert_eq!(parse_duration("5M"), write("write 5m"));
    for zero in ["0", "0s", "0ms"] {
        assert_eq!(parse_duration(zero), Err(Unusable::Zero), "{zero}");
    }
    for small in ["0.5ms", "0.0001s"] {
        assert_eq!(parse_duration(small), Err(Unusable::TooSmall), "{small}");
    }
    for other in ["1us", "1ns", "1month", "20sec", "1h 5min", "1w"] {
        let units = Err(Unusable::Unclear(Some(
            "units are ms, s, m, h and d".to_owned(),
        )));
        assert_eq!(parse_duration(other), units, "{other}");
    }
    for large in ["366d", "99999999999999999999s", "18446744073709551615s"] {
        assert_eq!(parse_duration(large), Err(Unusable::TooLarge), "{large}");
    }
    for unclear in ["", " ", "s", "-1s", "10 s s", "ten", "1e3", "10x"] {
        assert_eq!(
            parse_duration(unclear),
            Err(Unusable::Unclear(None)),
            "{unclear}"
        );
    }
}

#[test]
fn a_size_is_a_number_and_a_unit() {
    assert_eq!(parse_size("16384"), Ok(16_384));
    assert_eq!(parse_size("64KiB"), Ok(65_536));
    assert_eq!(parse_size("64 KiB"), Ok(65_536));
    assert_eq!(parse_size("1MiB"), Ok(1_048_576));
    assert_eq!(parse_size("0"), Err(Unusable::Zero));
    assert_eq!(
        parse_size("99999999999999999999MiB"),
        Err(Unusable::TooLarge)
    );
    let write = |help: &str| Err(Unusable::Unclear(Some(help.to_owned())));
    for kib in ["64K", "64KB", "64kB", "64kib"] {
        assert_eq!(parse_size(kib), write("write 64KiB"), "{kib}");
    }
    assert_eq!(parse_size("1GiB"), Ok(1_073_741_824));
    assert_eq!(parse_size("1M"), write("write 1MiB"));
    assert_eq!(parse_size("1GB"), write("write 1GiB"));
    for unclear in ["", "KiB", "-1", "1.5MiB", "1TiB", "много"] {
        assert_eq!(
            parse_size(unclear),
            Err(Unusable::Unclear(None)),
            "{unclear}"
        );
    }
}
