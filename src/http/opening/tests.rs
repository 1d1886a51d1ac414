//! Opening handshakes and their neighbours, as tables.

use super::*;

const GOOD: [(&str, &str); 5] = [
    ("host", "h"),
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The outcome for a valid handshake in which `change` replaces fields of the same name; an empty value removes
/// one.
fn outcome(method: &str, change: &[(&str, &str)]) -> &'static str {
    let mut request = http::Request::builder().method(method).uri("/");
    let kept = GOOD
        .iter()
        .filter(|(name, _)| !change.iter().any(|(other, _)| other == name));
    for (name, value) in kept.chain(change.iter().filter(|(_, value)| !value.is_empty())) {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    match authority(&parts).and_then(|_| check(&parts)) {
        Ok(RequestKind::Opening(_)) => "opening",
        Ok(RequestKind::Plain { .. }) => "plain",
        Err(failure) => failure.reason.code(),
    }
}

#[test]
fn a_wrong_key_is_told_without_its_characters() {
    for (key, detail, is_several) in [
        (
            "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
            "several keys in one field",
            true,
        ),
        (
            "dGhlIHNhbXBsZSBub25jZQ",
            "the key is not base64: its 22 bytes have a wrong ending",
            false,
        ),
        (
            "dGhlIHNhbXBsZSBub25jZR==",
            "the key is not base64: its 24 bytes have a wrong ending",
            false,
        ),
        (
            "dGhl-HNhbXBsZSBub25jZQ==",
            "the key is not base64: byte 5 is not allowed",
            false,
        ),
        ("dGhlIHNhbXBsZSBub25j", "the key decodes to 15 bytes", false),
    ] {
        let mut fields = HeaderMap::new();
        fields.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static(key));
        let failure = check_key(&fields).unwrap_err();
        let told = failure.detail.unwrap_or_default();
        assert!(told.starts_with(detail), "{told}");
        assert_eq!(failure.hint.is_some(), is_several, "{key}");
    }
}

#[test]
fn a_hint_is_about_what_is_wrong_with_a_field() {
    let hint = |fields: &[(&'static str, &'static str)]| {
        let fields = fields.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let fields: HeaderMap = fields.collect();
        let failure = check_key(&fields)
            .err()
            .or_else(|| check_version(&fields).err());
        failure.and_then(|failure| failure.hint).unwrap_or_default()
    };
    let good = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    // Too short to be a repeated key.
    assert_eq!(hint(&[("sec-websocket-key", "dGhl")]), "");
    assert!(hint(&[good, good]).contains("more than once"));
    assert!(hint(&[good]).contains("does not forward Sec-WebSocket-Version"));
    assert_eq!(hint(&[good, ("sec-websocket-version", "777")]), "");
}

#[test]
fn the_accept_value_of_the_rfc() {
    assert_eq!(
        accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

#[test]
fn an_offer_has_a_bound_over_all_its_lines() {
    let list = |count: usize| {
        let names: Vec<_> = (0..count).map(|index| format!("p{index}")).collect();
        names.join(", ")
    };
    for (name, most, expected) in [
        (
            "sec-websocket-protocol",
            MOST_SUBPROTOCOLS,
            "ws_protocol_header_invalid: 101 subprotocols are offered, allowed: 100",
        ),
        (
            "sec-websocket-extensions",
            MOST_EXTENSIONS,
            "ws_extensions_header_invalid: 101 extensions are offered, allowed: 100",
        ),
    ] {
        let most = list(most);
        assert_eq!(outcome("GET", &[(name, &most)]), "opening");
        let mut request = http::Request::builder().uri("/");
        for (name, value) in GOOD.iter().chain(&[(name, most.as_str()), (name, "x")]) {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let failure = check(&parts).unwrap_err();
        let detail = failure.detail.unwrap_or_default();
        assert_eq!(format!("{}: {detail}", failure.reason), expected);
    }
}

#[test]
fn requests_and_what_they_are() {
    for (change, expected) in [
        (&[][..], "opening"),
        (
            &[
                ("upgrade", "WebSocket"),
                ("connection", "keep-alive, UPGRADE"),
            ],
            "opening",
        ),
        (
            &[("connection", "keep-alive"), ("connection", "upgrade")],
            "opening",
        ),
        (&[("connection", "close, Upgrade")], "opening"),
        (&[("upgrade", "websocket, foo/2")], "opening"),
        (&[("content-length", "0")], "opening"),
        (&[("host", "")], "http_host_missing"),
        (&[("host", "a"), ("host", "a")], "http_host_invalid"),
        (&[("host", "a b")], "http_host_invalid"),
        (
            &[("connection", "Upgrade, Origin")],
            "http_connection_protected",
        ),
        (
            &[("connection", "Upgrade, Sec-WebSocket-Version")],
            "http_connection_protected",
        ),
        (
            &[("connection", "Upgrade"), ("connection", "cookie")],
            "http_connection_protected",
        ),
        (&[("upgrade", "h2c")], "h2c_refused"),
        (&[("upgrade", "websocket, h2c")], "h2c_refused"),
        (&[("http2-settings", "AAMAAABk")], "h2c_refused"),
        (&[("content-length", "5")], "http_body_on_upgrade"),
        (&[("transfer-encoding", "chunked")], "http_body_on_upgrade"),
        (
            &[
                ("upgrade", ""),
                ("sec-websocket-key", ""),
                ("sec-websocket-version", ""),
            ],
            "plain",
        ),
        (&[("upgrade", "")], "ws_upgrade_header_missing"),
        (
            &[("upgrade", ""), ("sec-websocket-key", "")],
            "ws_upgrade_header_missing",
        ),
        (
            &[("upgrade", ""), ("sec-websocket-version", "")],
            "ws_upgrade_header_missing",
        ),
        (
            &[
                ("upgrade", ""),
                ("sec-websocket-key", ""),
                ("sec-websocket-version", ""),
                ("sec-websocket-protocol", "chat"),
            ],
            "ws_handshake_missing",
        ),
        (
            &[("upgrade", ""), ("connection", "")],
            "ws_upgrade_header_missing",
        ),
        (&[("upgrade", "TLS/1.0")], "ws_upgrade_not_websocket"),
        (&[("connection", "")], "ws_connection_token_missing"),
        (
            &[("connection", "keep-alive")],
            "ws_connection_token_missing",
        ),
        (&[("connection", "close")], "ws_connection_token_missing"),
        (&[("connection", "upgraded")], "ws_connection_token_missing"),
        (&[("sec-websocket-version", "")], "ws_version_unsupported"),
        (&[("sec-websocket-version", "8")], "ws_version_unsupported"),
        (&[("sec-websocket-version", "0")], "ws_version_unsupported"),
        (
            &[("sec-websocket-version", "777")],
            "ws_version_unsupported",
        ),
        (
            &[("sec-websocket-version", "13, 8")],
            "ws_version_unsupported",
        ),
        (
            &[
                ("sec-websocket-version", "13"),
                ("sec-websocket-version", "13"),
            ],
            "ws_version_unsupported",
        ),
        (&[("sec-websocket-key", "")], "ws_key_missing"),
        (
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==, x")],
            "ws_key_invalid",
        ),
        (
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j")],
            "ws_key_invalid",
        ),
        (
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZWU=")],
            "ws_key_invalid",
        ),
        (
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")],
            "ws_key_invalid",
        ),
        (
            &[
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
            "ws_key_invalid",
        ),
        (&[("sec-websocket-protocol", "chat, v1.json")], "opening"),
        (
            &[
                ("sec-websocket-protocol", "chat"),
                ("sec-websocket-protocol", "v1.json"),
            ],
            "opening",
        ),
        (
            &[("sec-websocket-protocol", "chat,,v1")],
            "ws_protocol_header_invalid",
        ),
        (
            &[("sec-websocket-protocol", "chat v1")],
            "ws_protocol_header_invalid",
        ),
        (
            &[("sec-websocket-protocol", "chat, chat")],
            "ws_protocol_header_invalid",
        ),
        (
            &[(
                "sec-websocket-extensions",
                "permessage-deflate; client_max_window_bits",
            )],
            "opening",
        ),
        (&[("sec-websocket-extensions", "a; b=\"10\", c")], "opening"),
        (
            &[("sec-websocket-extensions", "a;")],
            "ws_extensions_header_invalid",
        ),
        (
            &[("sec-websocket-extensions", "a; b=")],
            "ws_extensions_header_invalid",
        ),
        (
            &[("sec-websocket-extensions", "a b")],
            "ws_extensions_header_invalid",
        ),
        (&[("expect", "100-continue")], "http_expect_refused"),
    ] {
        assert_eq!(outcome("GET", change), expected, "{change:?}");
    }
    assert_eq!(outcome("POST", &[]), "ws_method_not_get");
    assert_eq!(outcome("CONNECT", &[]), "ws_method_not_get");
}
