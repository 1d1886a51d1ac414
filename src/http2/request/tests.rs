use std::time::Duration;

use http::Request;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::http::head;

const LIMIT: usize = 16 * 1024;

fn parts(
    method: &str,
    uri: &str,
    fields: &[(&str, &str)],
    protocol: Option<&'static str>,
) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    if let Some(protocol) = protocol {
        request
            .extensions_mut()
            .insert(Protocol::from_static(protocol));
    }
    request.into_parts().0
}

/// The head as it would be sent over HTTP/1.1.
fn text(request: &Parts) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.uri).into_bytes();
    for (name, value) in &request.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// Whether a whole head passes the check of a head that came over HTTP/1.1, and nothing is left after it.
fn is_one_head(text: &[u8]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut stream = text;
        let mut bytes = Vec::new();
        let read = head::read(&mut stream, usize::MAX, deadline, &mut bytes).await;
        read.is_ok_and(|raw| raw.head == text && raw.early.is_empty())
    })
}

#[test]
fn a_connect_becomes_an_opening_handshake() {
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "a key of the client"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("content-length", "0"),
    ];
    let request = parts(
        "CONNECT",
        "https://api.example.com/ws?a",
        &fields,
        Some("WEBSOCKET"),
    );
    let (request, length) = translated(request, false, LIMIT).unwrap();
    assert_eq!((request.method, length), (Method::GET, Some(0)));
    assert_eq!(request.uri, "/ws?a");
    let field = |name: &str| {
        let values: Vec<_> = request.headers.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().map(|value| value.to_str().unwrap())
    };
    assert_eq!(field("host"), Some("api.example.com"));
    assert_eq!(field("upgrade"), Some("websocket"));
    assert_eq!(field("connection"), Some("Upgrade"));
    assert_eq!(field("cookie"), Some("a=1; b=2"));
    assert_eq!(field("content-length"), None);
    let key = STANDARD
        .decode(field("sec-websocket-key").unwrap())
        .unwrap();
    assert_eq!(key.len(), 16);
}

#[test]
fn a_body_of_unknown_length_is_chunked() {
    for (is_over, fields, coding) in [
        (false, &[][..], Some("chunked")),
        (false, &[("content-length", "5")], None),
        (true, &[], None),
    ] {
        let request = parts("POST", "https://api.example.com/x", fields, None);
        let (request, _) = translated(request, is_over, LIMIT).unwrap();
        let found = request.headers.get(header::TRANSFER_ENCODING);
        assert_eq!(found.map(|coding| coding.to_str().unwrap()), coding);
    }
}

#[test]
fn an_answer_loses_what_only_http1_has() {
    let mut fields = HeaderMap::new();
    for name in [
        "connection",
        "upgrade",
        "transfer-encoding",
        "keep-alive",
        "proxy-connection",
        "sec-websocket-accept",
        "sec-websocket-protocol",
        "x-own",
    ] {
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
    }
    without_hop_fields(&mut fields);
    let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["sec-websocket-protocol", "x-own"]);
}

/// Names with a meaning, and others.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "host",
            "cookie",
            "content-length",
            "te",
            "expect",
            "origin",
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-protocol",
            "trailer",
            "x-forwarded-for",
            "via",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9!#$%&'*+.^_`|~-]{1,12}",
    ]
}

/// All values that the library lets through.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("not allowed", |byte| {
        *byte == b'\t' || (*byte >= b' ' && *byte != 127)
    });
    prop_oneof![
        prop::collection::vec(byte, 0..20),
        prop::sample::select(vec![
            "api.example.com",
            "0",
            "5",
            "13",
            "trailers",
            "100-continue",
            "a=1"
        ])
        .prop_map(|value| value.as_bytes().to_vec()),
    ]
}

proptest! {
    /// Whatever a client sends over HTTP/2: if it passes, it is exactly one head over HTTP/1.1, with one Host, one key and
    /// no field that the client could not have sent there.
    #[test]
    fn what_passes_is_one_head_of_http1(
        method in prop::sample::select(vec!["GET", "POST", "CONNECT", "OPTIONS", "X-OWN"]),
        authority in prop_oneof![Just("api.example.com".to_owned()), "[a-z0-9.:@\\[\\]-]{1,12}"],
        path in prop_oneof![Just("/ws".to_owned()), "[#?*]{0,1}[ -~]{0,20}", "/[a-z/.%?#;\\\\é]{0,12}"],
        protocol in prop::option::of(prop::sample::select(vec!["websocket", "WebSocket", "x"])),
        fields in prop::collection::vec((names(), values()), 0..8),
        is_over in any::<bool>(),
    ) {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(http::uri::Scheme::HTTPS);
        uri.authority = authority.parse().ok();
        uri.path_and_query = path.parse().ok();
        prop_assume!(uri.authority.is_some() && uri.path_and_query.is_some());
        let mut request = Request::builder().method(method).uri(Uri::from_parts(uri).unwrap()).body(()).unwrap().into_parts().0;
        for (name, value) in &fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        if let Some(protocol) = protocol {
            request.extensions.insert(Protocol::from_static(protocol));
        }
        let is_connect = method == "CONNECT";
        if let Ok((request, _)) = translated(request, is_over, LIMIT) {
            let text = text(&request);
            prop_assert!(is_one_head(&text), "{:?}", String::from_utf8_lossy(&text));
            let count = |name: &str| request.headers.get_all(name).iter().count();
            prop_assert_eq!(count("host"), 1);
            prop_assert!(count("cookie") <= 1);
            prop_assert_eq!(count("upgrade"), usize::from(is_connect));
            prop_assert_eq!(count("sec-websocket-key"), usize::from(is_connect));
            let has_body = !is_connect && !is_over;
            prop_assert_eq!(count("transfer-encoding") + count("content-length") > 0 && has_body, has_body);
        }
    }
}
