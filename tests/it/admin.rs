//! The admin service: what it shows of what happens now, to whom, and what it closes.

/// One tunnel is closed by an operator.
pub mod close;
/// The status as events.
mod events;
/// The files of the page, and who may load them.
mod page;
/// The unix socket.
mod socket;
/// `/status.json`.
mod status;

use serde_json::Value;

use crate::harness::services::{admin, ask};
use crate::harness::{Client, Proxy, Response, handshake};

const ECHO: &str = "\"builtin:echo\"";

#[track_caller]
fn status(proxy: &Proxy, query: &str) -> Value {
    let response = ask(admin(proxy), "GET", &format!("/status.json{query}"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.field("content-type"), Some("application/json"));
    serde_json::from_str(&response.text()).unwrap()
}

/// Opens a tunnel with these fields in its handshake.
#[track_caller]
fn open(proxy: &Proxy, path: &str, fields: &[(&str, &str)]) -> Client {
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake(path, fields)).response();
    assert_eq!(response.status, 101, "{response:?}");
    client
}

/// The answer to a request whose head has these lines beside the first one and the Host.
#[track_caller]
fn request(proxy: &Proxy, first: &str, host: &str, fields: &[&str]) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let head = format!("{first} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    Client::plain(admin(proxy)).send(head).response()
}
