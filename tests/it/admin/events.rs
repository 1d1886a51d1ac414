//! `/events` of the admin service.

use std::io::Read;

use serde_json::Value;

use super::{ECHO, request, status};
use crate::harness::services::{admin, ask, get, start};
use crate::harness::{Client, Proxy, Setup, eventually, handshake};

/// A client of the stream.
struct Stream {
    client: Client,
    text: String,
}

impl Stream {
    #[track_caller]
    fn open(proxy: &Proxy, query: &str) -> Self {
        let mut client = Client::plain(admin(proxy));
        let head = format!("GET /events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let response = client.send(head).response_head();
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.field("content-type"), Some("text/event-stream"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        Self {
            client,
            text: String::new(),
        }
    }

    /// Reads the next event.
    #[track_caller]
    fn next(&mut self) -> Value {
        loop {
            // The sizes of chunks stand on lines of their own.
            if let Some((begin, data)) = self.text.split_once("event: status\ndata: ")
                && let Some((data, _)) = data.split_once("\n\n")
            {
                let data: String = data.to_owned();
                let read = begin.len() + "event: status\ndata: ".len() + data.len() + 2;
                self.text.drain(..read);
                return serde_json::from_str(&data).unwrap();
            }
            let mut piece = [0; 4096];
            let count = self.client.read(&mut piece).unwrap();
            assert!(count > 0, "the stream ended after {:?}", self.text);
            self.text += str::from_utf8(&piece[..count]).unwrap();
        }
    }
}

fn refused(proxy: &Proxy, path: &str) {
    let mut client = Client::plain(proxy.address());
    assert!(client.send(handshake(path, &[])).response().status >= 400);
}

fn reasons(event: &Value) -> Vec<&str> {
    let records = event["recent"]["records"].as_array().unwrap().iter();
    records
        .filter_map(|record| record["reason"].as_str())
        .collect()
}

#[test]
fn each_event_has_the_state_and_the_records_that_are_new() {
    let proxy = start(&Setup::plain(ECHO));
    refused(&proxy, "/first");
    let mut stream = Stream::open(&proxy, "?reason=*");
    let first = stream.next();
    assert_eq!(reasons(&first), ["path_not_allowed"]);
    assert_eq!(first["streams"]["open"], 1);
    assert_eq!(reasons(&stream.next()), Vec::<&str>::new());
    refused(&proxy, "/second");
    let second = eventually("the next record", || {
        let event = stream.next();
        (!reasons(&event).is_empty()).then_some(event)
    });
    assert_eq!(second["recent"]["records"][0]["path"], "/second");
    assert_eq!(second["totals"]["refused"]["path_not_allowed"], 2);
    let wrong = request(&proxy, "GET /events?x=1", "localhost", &[]);
    assert_eq!(wrong.status, 400);
    let mut client = Client::plain(admin(&proxy));
    let head = "HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(client.send(head).response_head().status, 405);
    proxy.stop();
}

#[test]
fn streams_have_a_limit_of_their_own_and_push_nobody_out() {
    let proxy = start(&Setup::plain(ECHO));
    let mut streams: Vec<_> = (0..8).map(|_| Stream::open(&proxy, "")).collect();
    for stream in &mut streams {
        stream.next();
    }
    let ninth = request(&proxy, "GET /events", "localhost", &[]);
    assert_eq!(ninth.status, 503);
    assert!(
        ninth.text().contains("8 event streams are open"),
        "{ninth:?}"
    );
    // Far more other connections than there may be.
    let silent: Vec<_> = (0..80).map(|_| Client::plain(admin(&proxy))).collect();
    for path in ["/healthz", "/readyz", "/metrics", "/drain", "/"] {
        assert_eq!(get(admin(&proxy), path).0, 200, "{path}");
    }
    for stream in &mut streams {
        assert_eq!(stream.next()["streams"]["open"], 8);
    }
    drop(silent);
    // Who leaves makes room.
    streams.pop();
    eventually("room for another stream", || {
        (status(&proxy, "")["streams"]["open"] == 7).then_some(())
    });
    Stream::open(&proxy, "").next();
    proxy.stop();
}

#[test]
fn a_reader_that_stops_reading_loses_its_stream() {
    let proxy = start(&Setup::plain(ECHO));
    // Events that do not fit in the buffers of the sockets.
    let clients: Vec<_> = (0..700)
        .map(|_| super::open(&proxy, &format!("/ws?{}=1", "long".repeat(50)), &[]))
        .collect();
    let stalled = Stream::open(&proxy, "?limit=1000");
    assert_eq!(status(&proxy, "")["streams"]["open"], 1);
    let left = || (status(&proxy, "?limit=1")["streams"]["open"] == 0).then_some(());
    crate::harness::within(crate::harness::PATIENCE * 6, "the end of the stream", left);
    drop((stalled, clients));
    proxy.stop();
}

#[test]
fn a_stream_ends_with_its_listener_and_lives_through_a_drain() {
    let setup = Setup {
        extra: "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n".to_owned(),
        ..Setup::plain(ECHO)
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    let mut stream = Stream::open(&proxy, "");
    assert_eq!(stream.next()["phase"], "ready");
    assert!(ask(admin(&proxy), "POST", "/drain").status < 300);
    eventually("the drain", || {
        (stream.next()["phase"] == "drained").then_some(())
    });
    proxy.reload(&Setup {
        extra: String::new(),
        ..setup
    });
    stream.client.rest();
    proxy.stop();
}
