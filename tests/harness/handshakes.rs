//! An opening handshake that fails: its answer and its record.

use super::{Client, Line, Response, Setup, frames, handshake};

/// Sends one opening handshake; gives everything that the client read, and the record.
#[track_caller]
pub fn ask(setup: &Setup) -> (Response, Line) {
    ask_with(setup, &[])
}

/// The same with changed fields.
#[track_caller]
pub fn ask_with(setup: &Setup, changes: &[(&str, &str)]) -> (Response, Line) {
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", changes)).response();
    assert_ne!(response.status, 101);
    assert_eq!(client.rest(), b"", "nothing follows an answer");
    (response, proxy.terminal())
}

/// Checks what every refusal by the proxy itself must have.
#[track_caller]
pub fn is_own(response: &Response, line: &Line) {
    let reason = line.text("reason");
    assert_eq!(line.text("event"), "refused");
    assert_eq!(line.number("status"), Some(response.status.into()));
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(
        response.field("x-request-id"),
        Some(line.text("request_id"))
    );
    let status = response.field("proxy-status").unwrap();
    assert!(status.starts_with("wsgate; error="), "{status}");
    assert!(
        status.ends_with(&format!("; details=\"{reason}\"")),
        "{status}"
    );
    assert!(response.text().starts_with(reason), "{response:?}");
    let retry = (response.status == 503).then_some("5");
    assert_eq!(response.field("retry-after"), retry);
    has_timings(line, &["head_ms", "policy_ms", "connect_ms"]);
    assert_eq!(line.text("upstream"), "app");
}

#[track_caller]
pub fn has_timings(line: &Line, names: &[&str]) {
    for name in names {
        assert!(line.number(name).is_some(), "no {name} in {line:?}");
    }
}

/// The endpoints that were tried, with their outcomes.
pub fn attempts(line: &Line) -> Vec<(String, String)> {
    let attempts = line.0.get("attempts").and_then(|list| list.as_array());
    let text = |attempt: &serde_json::Value, name: &str| {
        attempt[name].as_str().unwrap_or_default().to_owned()
    };
    attempts
        .into_iter()
        .flatten()
        .inspect(|attempt| assert!(attempt["ms"].is_u64(), "{attempt}"))
        .map(|attempt| (text(attempt, "endpoint"), text(attempt, "outcome")))
        .collect()
}

/// The milliseconds in a `detail` such as "no answer in 301ms". The attempt's own `ms` is taken right after and may be
/// one more.
pub fn waited(detail: &str) -> u64 {
    let (_, number) = detail.split_once(": no answer in ").expect(detail);
    number.strip_suffix("ms").expect(detail).parse().unwrap()
}

/// Opens a tunnel through `setup` that echoes; gives its `opened` record.
#[track_caller]
pub fn echoes(setup: &Setup) -> Line {
    let proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    frames::echoes(&mut client, "through");
    proxy.event("opened")
}
