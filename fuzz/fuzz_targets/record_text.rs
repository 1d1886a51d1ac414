//! Prepares a peer's text for a record: it must become printable ASCII, bounded, and without the values of a query.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgate::secrets::redact_query;
use wsgate::text::{peer_list, peer_text};

/// At most 256 bytes of a peer are shown, with up to four characters each; then their number.
const LONGEST: usize = 256 * 4 + 40;

fn check(text: &str) {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    assert!(text.bytes().all(is_plain), "{text:?}");
}

fuzz_target!(|data: &[u8]| {
    let text = peer_text(data);
    check(&text);
    assert!(text.len() <= LONGEST);

    let list = peer_list(data.split(|&byte| byte == b','), ", ");
    check(&list);
    assert!(list.len() <= 2 * LONGEST);

    let mut halves = data.splitn(2, |&byte| byte == b'?');
    let (path, query) = (halves.next().unwrap_or_default(), halves.next());
    let keep = ["kept".to_owned()];
    let shown = redact_query(path, query, &keep);
    check(&shown);
    assert!(shown.len() <= 2 * LONGEST + 1);
    let Some(query) = query else {
        assert_eq!(shown, peer_text(path));
        return;
    };
    let redacted = shown
        .strip_prefix(&peer_text(path))
        .expect("the path first");
    let redacted = redacted.strip_prefix('?').expect("then the query");
    if query.len() <= 60 {
        // Short enough not to be cut: every parameter is shown, and only the kept one with its value.
        let parameters = query.split(|&byte| byte == b'&');
        let shown = redacted.split('&');
        assert_eq!(parameters.clone().count(), shown.clone().count());
        for (parameter, shown) in parameters.zip(shown) {
            if parameter == b"kept" || parameter.starts_with(b"kept=") {
                assert_eq!(shown, peer_text(parameter));
            } else if shown != "*" {
                let name = shown.strip_suffix("=*").expect("a value is hidden");
                assert!(parameter.starts_with(name.as_bytes()) && name.len() <= 32);
            }
        }
    }
});
