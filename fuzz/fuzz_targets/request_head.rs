//! Reads the head of a first request in two pieces: it must be bounded, complete, and have only one meaning.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use wsgate::http::glimpse::Glimpse;
use wsgate::http::head::{self, NoHead};

/// The limit of a head in bytes.
const LIMIT: usize = 512;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime with nothing but a clock")
});

/// The bytes as they are, or inside a valid head: arbitrary bytes alone are rarely valid.
fn around(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let (before, behind): (&[u8], &[u8]) = match kind % 4 {
        0 => (b"", b""),
        1 => (b"GET ", b" HTTP/1.1\r\nHost: h\r\n\r\n"),
        2 => (b"GET / HTTP/1.1\r\nHost: h\r\n", b"\r\n\r\nearly"),
        _ => (b"GET /a?b HTTP/1.1\r\nHost: h\r\nName:", b"\r\n\r\n"),
    };
    [before, bytes, behind].concat()
}

fuzz_target!(|data: &[u8]| {
    let [kind, first, bytes @ ..] = data else {
        return;
    };
    let bytes = &around(*kind, bytes)[..];
    let at = usize::from(*first).min(bytes.len());
    let (mut one, mut other) = bytes.split_at(at);
    let mut seen = Vec::new();
    let outcome = RUNTIME.block_on(async {
        let mut stream = (&mut one).chain(&mut other);
        let deadline = Instant::now() + Duration::from_secs(3600);
        head::read(&mut stream, LIMIT, deadline, &mut seen).await
    });
    match outcome {
        Ok(raw) => {
            assert!(raw.head.len() <= LIMIT && raw.head.ends_with(b"\r\n\r\n"));
            let whole = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
            let early = whole
                .strip_prefix(&raw.head[..])
                .expect("the head came first");
            assert!(early.starts_with(&raw.early));
            let glimpse = Glimpse::of(&raw.head).expect("a request line");
            assert_eq!(glimpse.version, Some("1.1"));

            // The parser behind it may refuse more, but must not find another end or other fields.
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut request = httparse::Request::new(&mut fields);
            if let Ok(status) = request.parse(&raw.head) {
                assert_eq!(status, httparse::Status::Complete(raw.head.len()));
                let lines = raw.head.split(|&byte| byte == b'\n').count() - 3;
                assert_eq!(request.headers.len(), lines);
                assert_eq!(request.method.map(str::as_bytes), Some(glimpse.method));
            }
        }
        Err(NoHead::Failed(failure)) => {
            let detail = failure.detail.unwrap_or_default();
            assert!(detail.len() < 4096 && !detail.contains(|c: char| c.is_control()));
        }
        Err(NoHead::Unused(error)) => assert!(error.is_none() && bytes.is_empty()),
        Err(NoHead::Broken(error)) => panic!("a slice does not break: {error}"),
    }
    // A glimpse of a refused head must not fail, whatever the head is.
    let _ = Glimpse::of(bytes);
});
