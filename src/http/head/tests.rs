//! Heads that are refused, and how heads arrive.

use super::*;

fn reason(head: &[u8]) -> Option<&'static str> {
    find_end(head, 0)
        .and_then(|end| check(&head[..end.expect("a whole head")]))
        .err()
        .map(|f| f.reason.code())
}

fn with(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes()
}

#[test]
fn a_request_line_is_a_method_a_target_and_a_version() {
    for (line, expected) in [
        (&b"GET / HTTP/1.1"[..], None),
        (b"get /a?b#c HTTP/1.1", Some("http_malformed")),
        (b"GET /a?x=%23 HTTP/1.1", None),
        (b"GET http://h/a HTTP/1.1", None),
        (b"GET HTTP://h/a HTTP/1.1", None),
        (b"GET hTTpS://h/a HTTP/1.1", None),
        (b"GET http://u:p@h/a HTTP/1.1", Some("http_malformed")),
        (b"GET http://h/@a?@ HTTP/1.1", None),
        (b"GET http:// HTTP/1.1", Some("http_malformed")),
        (b"GET http://[::1/a HTTP/1.1", Some("http_malformed")),
        (b"GET ftp://h/a HTTP/1.1", Some("http_malformed")),
        (b"GET  / HTTP/1.1", Some("http_malformed")),
        (b"GET / HTTP/1.1 ", Some("http_malformed")),
        (b" GET / HTTP/1.1", Some("http_malformed")),
        (b"GET /\tHTTP/1.1", Some("http_malformed")),
        (b"GET /", Some("http_malformed")),
        (b"G@T / HTTP/1.1", Some("http_malformed")),
        (b"GET / HTTP/1.0", None),
        (b"HEAD /a?b HTTP/1.0", None),
        (b"OPTIONS / HTTP/1.0", None),
        (b"GET /a#b HTTP/1.0", Some("http_malformed")),
        (b"OPTIONS * HTTP/1.0", Some("http_malformed")),
        (b"get / HTTP/1.0", Some("http_version_unsupported")),
        (b"POST / HTTP/1.0", Some("http_version_unsupported")),
        (b"GET / HTTP/1.2", Some("http_version_unsupported")),
        (b"GET / HTTP/0.9", Some("http_version_unsupported")),
        (b"PRI * HTTP/2.0", Some("http_version_unsupported")),
        (b"GET / http/1.1", Some("http_malformed")),
        (b"GET / HTTP/1.10", Some("http_malformed")),
        (b"GET * HTTP/1.1", Some("http_malformed")),
        (b"GET evil.com:443 HTTP/1.1", Some("http_malformed")),
        (b"GET \\a HTTP/1.1", Some("http_malformed")),
        (b"GET /\x7f HTTP/1.1", Some("http_malformed")),
        (b"GET /\xef\xbc\x8e HTTP/1.1", Some("path_ambiguous")),
    ] {
        let head = [line, b"\r\n\r\n"].concat();
        assert_eq!(reason(&head), expected, "{}", peer_text(line));
    }
}

#[test]
fn a_field_line_is_a_name_a_colon_and_a_value() {
    for (lines, expected) in [
        ("Host: a", None),
        ("Host:a\r\nX:", None),
        ("Host : a", Some("http_malformed")),
        (" Host: a", Some("http_malformed")),
        ("Host: a\r\n folded", Some("http_malformed")),
        ("Host: a\r\n\tfolded", Some("http_malformed")),
        ("Host", Some("http_malformed")),
        (": a", Some("http_malformed")),
        ("Ho st: a", Some("http_malformed")),
        ("X: a\0b", Some("http_malformed")),
        ("X: a\x0bb", Some("http_malformed")),
        ("X: a\nY: b", Some("http_malformed")),
        ("X: a\rb", Some("http_malformed")),
        ("X: \u{e9}\tb", None),
    ] {
        assert_eq!(reason(&with(lines)), expected, "{lines:?}");
    }
    assert_eq!(
        reason(&with(&vec!["X: 1"; 101].join("\r\n"))),
        Some("http_too_large")
    );
    assert_eq!(reason(&with(&vec!["X: 1"; 100].join("\r\n"))), None);
}

#[test]
fn what_no_request_in_http_1_0_may_have() {
    for (lines, expected) in [
        ("Host: a", None),
        ("Connection: keep-alive, Upgrade", None),
        ("Content-Length: 0", None),
        ("Content-Length: 1", Some("http_version_unsupported")),
        (
            "Transfer-Encoding: chunked",
            Some("http_version_unsupported"),
        ),
        ("Transfer-Encoding: identity", Some("http_framing_conflict")),
        ("UPGRADE: h2c", Some("http_version_unsupported")),
        ("Upgrade:", Some("http_version_unsupported")),
        ("sec-WebSocket-Key: a", Some("http_version_unsupported")),
        ("Sec-WebSocket: a", None),
        ("X : a", Some("http_malformed")),
        ("X: a\r\n folded", Some("http_malformed")),
    ] {
        let head = format!("GET / HTTP/1.0\r\n{lines}\r\n\r\n");
        assert_eq!(reason(head.as_bytes()), expected, "{lines:?}");
    }
    assert_eq!(reason(b"GET / HTTP/1.0\r\n\r\n"), None);
}

#[test]
fn what_passes_is_what_hyper_reads() {
    for byte in b'!'..=b'~' {
        for before in ["/a", "/a?", "http://h/a", "http://h/a?b=c"] {
            let target = [before.as_bytes(), &[byte], b"z"].concat();
            let passes = check_target(&target);
            let reads = http::Uri::try_from(&target[..]).is_ok();
            // `http::Uri` cuts a fragment off without an error.
            let reads = reads && byte != b'#';
            let char = char::from(byte);
            assert_eq!(passes.is_ok(), reads, "{char:?} behind {before}");
            if let Err(failure) = passes
                && byte != b'#'
            {
                let detail = failure.detail.unwrap();
                let place = format!("byte {} of the target is {char:?}", before.len());
                assert!(detail.starts_with(&place), "{detail}");
            }
        }
    }
}

#[test]
fn what_is_said_of_a_bad_head_repeats_nothing_of_it() {
    for (head, expected) in [
        (
            "{\"user\":\"bob\",\"password\":\"s\"}\r\n\r\n",
            "request line: expected method, target and version with one space between, found 29 bytes with 0 spaces",
        ),
        (
            "Cookie:s\r\n\r\n",
            "request line: expected method, target and version with one space between, found 8 bytes with 0 spaces",
        ),
        (
            "Cookie: s HTTP/1.1\r\n\r\n",
            "request line: byte 6 of the method is \\x3a, which is not allowed in a method",
        ),
        (
            "GET /s s/1\r\n\r\n",
            "request line: the text after the target is not an HTTP version",
        ),
        (
            "GET /#s HTTP/1.1\r\n\r\n",
            "byte 1 of the target is '#': fragments must not be sent to a server",
        ),
        (
            "GET u:pw@h HTTP/1.1\r\n\r\n",
            "the target is neither a path nor an http URL: found neither / nor http:// at the beginning",
        ),
        (
            "GET ftp://u:pw@h HTTP/1.1\r\n\r\n",
            "the target is neither a path nor an http URL: found another scheme",
        ),
        (
            "GET / HTTP/1.1\r\nCookie : s\r\n\r\n",
            "line 2: the field name has \\x20 after cookie",
        ),
        (
            "GET / HTTP/1.1\r\nsecret s: s\r\n\r\n",
            "line 2: the field name has \\x20 as byte 6",
        ),
    ] {
        let failure = check(head.as_bytes()).unwrap_err();
        assert_eq!(failure.detail.as_deref(), Some(expected));
    }
}

#[test]
fn a_length_that_is_ambiguous_is_refused() {
    for (lines, expected) in [
        ("Content-Length: 0", None),
        ("Transfer-Encoding: Chunked", None),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Some("http_framing_conflict"),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            Some("http_framing_conflict"),
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5",
            Some("http_framing_conflict"),
        ),
        (
            "Content-Length: 5\r\ncontent-length: 6",
            Some("http_framing_conflict"),
        ),
        ("Content-Length: 5, 5", Some("http_framing_conflict")),
        ("Content-Length: +5", Some("http_framing_conflict")),
        ("Content-Length: 0x5", Some("http_framing_conflict")),
        ("Content-Length:", Some("http_framing_conflict")),
        (
            "Content-Length: 18446744073709551616",
            Some("http_framing_conflict"),
        ),
        ("Transfer-Encoding: xchunked", Some("http_framing_conflict")),
        (
            "Transfer-Encoding: chunked, identity",
            Some("http_framing_conflict"),
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            Some("http_framing_conflict"),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Some("http_framing_conflict"),
        ),
    ] {
        assert_eq!(reason(&with(lines)), expected, "{lines:?}");
    }
}

#[tokio::test]
async fn a_head_is_found_however_it_is_cut() {
    let whole = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nearly";
    for cut in 1..whole.len() {
        let mut stream = (&whole[..cut]).chain(&whole[cut..]);
        let read = read(
            &mut stream,
            8192,
            Instant::now() + std::time::Duration::from_secs(5),
            &mut Vec::new(),
        )
        .await
        .unwrap();
        assert_eq!(read.head, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(b"early".starts_with(&read.early[..]));
    }
}

#[tokio::test]
async fn little_of_what_comes_behind_a_head_is_taken_with_it() {
    let cookie = "c".repeat(270_000);
    let head = format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n\r\n");
    let behind = "x".repeat(500_000);
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    let whole = [head.as_bytes(), behind.as_bytes()].concat();
    let mut bytes = Vec::new();
    let read = read(&mut &whole[..], 1 << 20, deadline, &mut bytes).await;
    assert!(read.unwrap().early.len() <= PIECE);
}

/// Gives each item once, then the end of the stream.
struct Script(std::collections::VecDeque<io::Result<&'static [u8]>>);

impl AsyncRead for Script {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let bytes = self.0.pop_front().unwrap_or(Ok(b""));
        std::task::Poll::Ready(bytes.map(|bytes| buf.put_slice(bytes)))
    }
}

#[tokio::test]
async fn an_error_right_behind_the_head_is_not_lost() {
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    for (kind, is_told) in [
        (ErrorKind::ConnectionReset, true),
        (ErrorKind::TimedOut, true),
        (ErrorKind::UnexpectedEof, false),
    ] {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut stream = Script([Ok(&head[..]), Err(kind.into())].into());
        let mut bytes = Vec::new();
        match read(&mut stream, 8192, deadline, &mut bytes).await {
            Err(NoHead::Broken(error)) => {
                assert!(is_told);
                assert_eq!((error.kind(), &bytes[..]), (kind, &head[..]));
            }
            other => assert!(other.is_ok() && !is_told, "{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_end_or_silence_before_the_request_line() {
    let soon = || Instant::now() + std::time::Duration::from_millis(20);
    let mut bytes = Vec::new();
    let unused = read(&mut &b""[..], 8192, soon(), &mut bytes).await;
    assert!(matches!(unused, Err(NoHead::Unused(None))));
    let Err(NoHead::Failed(failure)) = read(&mut &b"\r\n"[..], 8192, soon(), &mut bytes).await
    else {
        panic!("an empty line is not silence")
    };
    assert_eq!(failure.reason, Reason::HttpHeadIncomplete);
    for (sent, has_hint) in [(&b""[..], true), (b"\r\n", false), (b"G", false)] {
        let (_open, silent) = tokio::io::duplex(1);
        let mut stream = sent.chain(silent);
        let late = read(&mut stream, 8192, soon(), &mut Vec::new()).await;
        let Err(NoHead::Failed(failure)) = late else {
            panic!("{late:?}")
        };
        assert_eq!(failure.reason, Reason::HttpHeaderTimeout);
        assert_eq!(failure.hint.is_some(), has_hint, "{sent:?}");
    }
}

#[test]
fn too_many_fields_are_counted() {
    let failure = check(&with(&vec!["X: 1"; 101].join("\r\n"))).unwrap_err();
    let detail = "over the limit of 100 fields: 101 came in a head of 624 bytes; the largest field is X, of 4 bytes";
    assert_eq!(failure.detail.as_deref(), Some(detail));
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused_with_the_status_of_its_fault() {
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    for (head, status) in [
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200)), 414),
        (format!("GET /{}", "a".repeat(200)), 414),
        (
            format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(200)),
            431,
        ),
    ] {
        let Err(NoHead::Failed(failure)) =
            read(&mut head.as_bytes(), 100, deadline, &mut Vec::new()).await
        else {
            panic!("{head:.20} passed")
        };
        assert_eq!(
            (failure.reason, failure.status),
            (Reason::HttpTooLarge, Some(status))
        );
    }
}
