//! Thousands of requests that are almost valid: one reaches the upstream only if it has exactly one meaning.

use std::io::{ErrorKind, Read, Write};

use super::guard::accepting;
use crate::harness::client::socket;
use crate::harness::proxy::is_terminal;
use crate::harness::{Line, Proxy, Setup, handshake};

const REQUESTS: u64 = 3000;

/// A fixed generator (Knuth's MMIX constants), which makes the same requests each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Bytes with a meaning for a parser.
const LOADED: &[u8] = b"\r\n\t :,;=?#/\\%.\"\0\x7f\x80\xffAa0HG";

fn mutated(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut head = good.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(head.len());
        let byte = match dice.below(2) {
            0 => LOADED[dice.below(LOADED.len())],
            _ => u8::try_from(dice.below(256)).unwrap(),
        };
        match dice.below(5) {
            0 => head[at] ^= 1 << dice.below(8),
            1 => head[at] = byte,
            2 => head.insert(at, byte),
            3 => {
                let end = head.len().min(at + 1 + dice.below(8));
                head.drain(at..end);
            }
            _ => {
                // Pieces of up to whole lines in another place: repeated and misplaced fields.
                let end = head.len().min(at + 1 + dice.below(60));
                let piece = head[at..end].to_vec();
                let to = dice.below(head.len());
                head.splice(to..to, piece);
            }
        }
    }
    head
}

#[test]
fn no_mutated_request_reaches_the_upstream_in_two_readings() {
    let good = handshake(
        "/ws?room=1",
        &[
            ("Cookie", "a=b"),
            ("Sec-WebSocket-Protocol", "chat, v1"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; x=1"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("Content-Length", "0"),
            ("Connection", "keep-alive, Upgrade"),
        ],
    );
    let (upstream, received) = accepting();
    let proxy = Setup::plain(&upstream.url()).start();
    let mut dice = Dice(6455);
    let mut switched = 0;
    for number in 0..REQUESTS {
        let head = mutated(good.as_bytes(), &mut dice);
        let answer = exchange(&proxy, &head);
        let shown = head.escape_ascii().to_string();
        if answer.starts_with(b"HTTP/1.1 101 ") {
            switched += 1;
            expect_unambiguous(&received.recv().unwrap(), &shown);
        } else {
            assert!(received.try_recv().is_err(), "{number}: {shown}");
            let heads = answer.windows(4).filter(|part| part == b"\r\n\r\n").count();
            assert!(heads <= 1, "{number}: {shown}");
        }
    }
    assert_eq!(upstream.connections(), switched);
    // The test needs enough of both outcomes.
    assert!((300..2700).contains(&switched), "{switched} were admitted");

    let said = proxy.diagnostics();
    assert!(!said.contains("panicked"), "{said}");
    let lines = proxy.stop();
    let suppressed: u64 = lines
        .iter()
        .filter(|line| line.text("event") == "records_suppressed")
        .filter_map(|line| line.number("count"))
        .sum();
    let written = lines.iter().filter(|line| is_terminal(line)).count() as u64;
    assert_eq!(written + suppressed, REQUESTS);
    let count = |event| {
        lines
            .iter()
            .filter(|line| line.text("event") == event)
            .count()
    };
    assert_eq!(count("opened"), switched);
    assert_eq!(count("closed"), switched);
    let aborted = |line: &&Line| line.text("reason") == "internal_aborted";
    assert_eq!(lines.iter().find(aborted).map(|line| &line.0), None);
}

/// Sends a head on its own connection; gives everything that was returned.
fn exchange(proxy: &Proxy, head: &[u8]) -> Vec<u8> {
    let mut client = socket(proxy.address());
    client.write_all(head).unwrap();
    let end = |client: &std::net::TcpStream| {
        // The proxy may already have refused it.
        let _ = client.shutdown(std::net::Shutdown::Write);
    };
    if !head.windows(4).any(|part| part == b"\r\n\r\n") {
        end(&client);
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("{error}: {}", head.escape_ascii()),
        }
        if answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(b"\r\n\r\n") {
            end(&client);
        }
    }
}

/// Every HTTP server must read the head in the same way, and as the route's handshake.
#[track_caller]
fn expect_unambiguous(head: &[u8], sent: &str) {
    let shown = || format!("{}\nfor {sent}", head.escape_ascii());
    let lines: Vec<&[u8]> = head
        .strip_suffix(b"\r\n\r\n")
        .unwrap_or_else(|| panic!("{}", shown()))
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    assert!(
        !lines
            .iter()
            .any(|line| line.contains(&b'\r') || line.contains(&0)),
        "{}",
        shown()
    );
    let target = lines[0]
        .strip_prefix(b"GET ")
        .and_then(|rest| rest.strip_suffix(b" HTTP/1.1"))
        .unwrap_or_else(|| panic!("{}", shown()));
    let path = target.split(|&byte| byte == b'?').next().unwrap();
    assert_eq!(path, b"/ws", "{}", shown());
    assert!(target.iter().all(u8::is_ascii_graphic), "{}", shown());
    let fields: Vec<(String, &[u8])> = lines[1..]
        .iter()
        .map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').unwrap();
            let is_token =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
            assert!(
                colon > 0 && line[..colon].iter().all(is_token),
                "{}",
                shown()
            );
            let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
            (name, line[colon + 1..].trim_ascii())
        })
        .collect();
    let values = |name: &str| -> Vec<&[u8]> {
        let values = fields.iter().filter(|(found, _)| found == name);
        values.map(|(_, value)| *value).collect()
    };
    assert_eq!(values("connection"), [b"Upgrade"], "{}", shown());
    assert_eq!(values("upgrade"), [b"websocket"], "{}", shown());
    assert_eq!(values("sec-websocket-version"), [b"13"], "{}", shown());
    // The letter case of an origin does not matter, and neither does the default port.
    let origins = values("origin");
    let [origin] = *origins else {
        panic!("{}", shown())
    };
    let origin = origin.to_ascii_lowercase();
    let own = origin.strip_suffix(b":443").unwrap_or(&origin);
    assert_eq!(own, b"https://app.example.com", "{}", shown());
    assert_eq!(values("x-forwarded-for"), [b"127.0.0.1"], "{}", shown());
    for name in ["host", "sec-websocket-key"] {
        assert_eq!(values(name).len(), 1, "{name}: {}", shown());
    }
    for name in [
        "content-length",
        "transfer-encoding",
        "te",
        "http2-settings",
        "expect",
    ] {
        assert!(values(name).is_empty(), "{name}: {}", shown());
    }
}
