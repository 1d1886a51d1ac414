//! Sizes as they are written.

use super::*;

#[test]
fn a_size_is_a_number_and_a_unit() {
    assert_eq!(parse("16384"), Ok(16_384));
    assert_eq!(parse("64KiB"), Ok(65_536));
    assert_eq!(parse("64 KiB"), Ok(65_536));
    assert_eq!(parse("1MiB"), Ok(1_048_576));
    assert_eq!(parse("0"), Ok(0));
    assert_eq!(parse("99999999999999999999MiB"), Ok(u64::MAX));
    let write = |help: &str| Err(Some(help.to_owned()));
    for kib in ["64K", "64KB", "64kB", "64kib"] {
        assert_eq!(parse(kib), write("write 64KiB"), "{kib}");
    }
    assert_eq!(parse("1GiB"), Ok(1_073_741_824));
    assert_eq!(parse("1M"), write("write 1MiB"));
    assert_eq!(parse("1GB"), write("write 1GiB"));
    for unclear in ["", "KiB", "-1", "1.5MiB", "1TiB", "много"] {
        assert_eq!(parse(unclear), Err(None), "{unclear}");
    }
}
