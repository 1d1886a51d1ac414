//! What the upstream receives for a valid handshake.

use wsgate::reason::Reason;

use super::guard::{Changes, Guard};
use crate::harness::client::KEY;
use crate::harness::{Setup, handshake};

/// A request that uses everything that HTTP allows.
fn rich() -> String {
    [
        "GET /ws?room=1&token=a%20b&x=%2f..;?y HTTP/1.1",
        "hOsT: api.example.com:8443",
        "Keep-Alive: timeout=5",
        "User-Agent: test/1.0 (with  two spaces)",
        "CONNECTION: keep-alive, uPGRADE, X-Secret",
        "Connection: x-other,, Keep-Alive",
        "Upgrade: foo/2, WebSocket",
        "Upgrade: bar",
        "X-SECRET: s1",
        "SEC-WebSocket-Version: 13",
        "x-other: s2",
        &format!("sec-websocket-key: {KEY}"),
        "Proxy-Connection: keep-alive",
        "Sec-WebSocket-Protocol: chat,  v1.json",
        "TE: trailers",
        "Sec-WebSocket-protocol: v2",
        "Trailer: X-Late",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Extensions:x; y=\"1\"",
        "Proxy-Authorization: Basic c2VjcmV0",
        "Content-Length: 0",
        "Origin: HTTPS://App.Example.com:443",
        "Cookie: a=b; c=d",
        "Authorization: Bearer t",
        "Cookie: e=f",
        "X-Empty:",
        "x-Custom-HEADER:  kept as \"it\" is\t, too  ",
        "\r\n",
    ]
    .join("\r\n")
}

#[test]
fn end_to_end_fields_arrive_as_they_were_sent_and_hop_by_hop_ones_do_not() {
    let mut guard = Guard::start(|endpoint| Setup {
        limits: "header_bytes: 64KiB".to_owned(),
        ..Setup::tls(endpoint)
    });
    let admitted = guard.admit(rich());
    let id = admitted.opened.text("request_id");
    let mut lines: Vec<_> = admitted.head.trim_end().split("\r\n").collect();
    assert_eq!(
        lines.remove(0),
        "GET /ws?room=1&token=a%20b&x=%2f..;?y HTTP/1.1"
    );
    let version = lines
        .iter()
        .position(|line| line.starts_with("SEC-WebSocket-Version"));
    let key = lines
        .iter()
        .position(|line| line.starts_with("sec-websocket-key"));
    assert!(version < key, "the order is kept: {lines:#?}");
    // A list may be split differently over several lines; the order of its members counts.
    let values = |name: &str| -> Vec<&str> {
        let values = lines.iter().filter_map(|line| line.strip_prefix(name));
        values.collect()
    };
    assert_eq!(values("Sec-WebSocket-Protocol: "), ["chat,  v1.json"]);
    assert_eq!(values("Sec-WebSocket-protocol: "), ["v2"]);
    assert_eq!(
        values("Sec-WebSocket-Extensions: "),
        ["permessage-deflate; client_max_window_bits", "x; y=\"1\""]
    );
    // The name of this process is not known in advance.
    let via = lines.iter().position(|line| line.starts_with("via: "));
    let via = lines.remove(via.unwrap());
    let name = via.strip_prefix("via: 1.1 wsgate-").unwrap();
    assert!(
        name.len() == 16 && u64::from_str_radix(name, 16).is_ok(),
        "{via}"
    );
    lines.sort_unstable();
    let request_id = format!("x-request-id: {id}");
    let key = format!("sec-websocket-key: {KEY}");
    let mut expected = [
        "hOsT: api.example.com:8443",
        "User-Agent: test/1.0 (with  two spaces)",
        "CONNECTION: Upgrade",
        "Upgrade: websocket",
        "SEC-WebSocket-Version: 13",
        &key,
        "Sec-WebSocket-Protocol: chat,  v1.json",
        "Sec-WebSocket-protocol: v2",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Extensions: x; y=\"1\"",
        "Origin: HTTPS://App.Example.com:443",
        "Cookie: a=b; c=d",
        "Cookie: e=f",
        "Authorization: Bearer t",
        "X-Empty:",
        "x-Custom-HEADER: kept as \"it\" is\t, too",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: api.example.com:8443",
        "forwarded: for=127.0.0.1;host=\"api.example.com:8443\";proto=https",
        &request_id,
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    // A second ? in the query is legal, but express-ws loses what follows it.
    assert!(
        admitted
            .opened
            .notes()
            .contains(&"query_second_question_mark")
    );
}

/// An upstream that trusts one of these must not get it from a client that hides it in Connection.
#[test]
fn each_hop_by_hop_field_is_removed_alone_too() {
    let mut guard = Guard::tls();
    for (changes, gone) in [
        (&[("Keep-Alive", "timeout=5")][..], "keep-alive"),
        (&[("Proxy-Connection", "keep-alive")], "proxy-connection"),
        (
            &[("Proxy-Authorization", "Basic c2VjcmV0")],
            "proxy-authorization",
        ),
        (&[("Proxy-Authenticate", "Basic")], "proxy-authenticate"),
        (&[("TE", "trailers")], "te"),
        (&[("Trailer", "X-Late")], "trailer"),
        (&[("Content-Length", "0")], "content-length"),
        (
            &[
                ("Connection", "Upgrade, X-Secret"),
                ("X-Secret", "s"),
                ("x-secret", "t"),
            ],
            "x-secret",
        ),
        (
            &[
                ("Connection", "Upgrade"),
                ("Connection", "x-secret"),
                ("X-Secret", "s"),
            ],
            "x-secret",
        ),
        // It is listed, but still present, because the proxy sets it.
        (
            &[("Connection", "Upgrade, Connection, Upgrade, close")],
            "close",
        ),
    ] {
        let head = guard.admit(handshake("/ws", changes)).head;
        let lines: Vec<_> = head
            .to_ascii_lowercase()
            .lines()
            .map(str::to_owned)
            .collect();
        let beginning = format!("{gone}:");
        assert!(
            !lines.iter().any(|line| line.starts_with(&beginning)),
            "{head}"
        );
        for line in ["connection: upgrade", "upgrade: websocket"] {
            assert_eq!(
                lines.iter().filter(|found| *found == line).count(),
                1,
                "{head}"
            );
        }
        for name in ["connection:", "upgrade:", "host:"] {
            let count = lines.iter().filter(|line| line.starts_with(name)).count();
            assert_eq!(count, 1, "{head}");
        }
    }
}

#[test]
fn the_request_id_is_kept_where_it_is_valid_and_replaced_where_not() {
    let long = "x".repeat(128);
    let too_long = "x".repeat(129);
    #[rustfmt::skip]
    let table: &[(Changes<'_>, Option<&str>)] = &[
        (&[("X-Request-ID", "abc-1.2_3:4/5+6=7@8")], Some("abc-1.2_3:4/5+6=7@8")),
        (&[("x-request-id", &long)], Some(&long)),
        (&[("X-Request-ID", &too_long)], None),
        (&[("X-Request-ID", "two words")], None),
        (&[("X-Request-ID", "quote\"")], None),
        (&[("X-Request-ID", "<script>")], None),
        (&[("X-Request-ID", "\u{e4}")], None),
        (&[("X-Request-ID", " ")], None),
        (&[("X-Request-ID", "a"), ("X-Request-ID", "b")], None),
    ];
    let mut guard = Guard::tls();
    for (changes, kept) in table {
        let admitted = guard.admit(handshake("/ws", changes));
        let id = admitted.opened.text("request_id").to_owned();
        let notes = admitted.opened.notes();
        match kept {
            Some(kept) => assert_eq!((&*id, &*notes), (*kept, &[][..])),
            None => {
                assert_eq!(id, admitted.opened.text("conn"));
                assert_eq!(notes, ["request_id_replaced"]);
            }
        }
        let lower = admitted.head.to_ascii_lowercase();
        let line = format!("x-request-id: {}\r\n", id.to_ascii_lowercase());
        assert!(lower.contains(&line), "{lower}");
        assert_eq!(lower.matches("x-request-id:").count(), 1, "{lower}");
        assert_eq!(admitted.response.field("x-request-id"), Some(&*id));
        assert_eq!(admitted.closed.text("request_id"), id);

        let mut changes = changes.to_vec();
        changes.push(("Origin", "null"));
        // `refuse` compares the answer's id with the record's.
        let refused = guard.refuse(handshake("/ws", &changes), Reason::OriginNull);
        let id = refused.line.text("request_id");
        assert_eq!(id, kept.unwrap_or_else(|| refused.line.text("conn")));
    }
}
