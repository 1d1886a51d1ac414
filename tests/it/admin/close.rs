//! `POST /close` of the admin service.

use wsgate::reason::Reason;

use super::{ECHO, open, request, status};
use crate::harness::frames::{CLOSE, closing, echoes, masked, read};
use crate::harness::h2::Raw;
use crate::harness::services::{admin, get, start};
use crate::harness::{Line, Proxy, Response, Setup, Upstream, between, eventually};

/// The token that the page was given.
#[track_caller]
fn token(proxy: &Proxy) -> String {
    let (status, page) = get(admin(proxy), "/");
    assert_eq!(status, 200);
    between(&page, "name=\"wsgate-token\" content=\"", "\"").to_owned()
}

fn conn(proxy: &Proxy, id: &str) -> String {
    eventually("the tunnel", || {
        let status = status(proxy, &format!("?id={id}"));
        let conn = status["tunnels"]["shown"][0]["conn"].as_str()?;
        Some(conn.to_owned())
    })
}

#[track_caller]
fn close(proxy: &Proxy, query: &str, token: &str) -> Response {
    let own = admin(proxy).to_string();
    let fields = [
        &format!("X-Wsgate-Token: {token}"),
        &format!("Origin: http://{own}"),
        "Sec-Fetch-Site: same-origin",
    ];
    request(proxy, &format!("POST /close?{query}"), &own, &fields)
}

pub fn closed_by_operator() -> Line {
    let proxy = start(&Setup::plain(ECHO));
    let mut one = open(&proxy, "/ws", &[("X-Request-ID", "one")]);
    let mut other = open(&proxy, "/ws", &[("X-Request-ID", "other")]);
    let query = format!("conn={}&name=Zo%C3%AB%0A%20at%203", conn(&proxy, "one"));
    let asked = close(&proxy, &query, &token(&proxy));
    assert_eq!(asked.status, 202, "{}", asked.text());
    let farewell = closing(1001, "closed_by_operator");
    assert_eq!(read(&mut one).unwrap(), (CLOSE, farewell.clone()));
    one.send(masked(CLOSE, farewell));
    assert_eq!(one.rest(), b"");
    let record = proxy.event("closed").expect(Reason::ClosedByOperator);
    assert_eq!(record.text("request_id"), "one");
    assert_eq!(record.text("first_close"), "proxy");
    assert_eq!(record.number("client_sees"), Some(1001));
    let detail = record.text("detail");
    let named = "asked for on the admin listener by Zoë at 3, from 127.0.0.1:";
    assert!(detail.starts_with(named), "{detail}");
    echoes(&mut other, "still here");
    assert_eq!(status(&proxy, "")["tunnels"]["open"], 1);
    proxy.stop();
    record
}

#[test]
fn of_an_http2_connection_only_the_stream_that_is_named_is_closed() {
    let setup = Setup {
        routes: String::new(),
        ..crate::http2::setup(ECHO)
    };
    let mut proxy = start(&setup);
    let mut raw = Raw::open(proxy.address());
    crate::http2::tunnels(&mut raw, &[1, 3, 5]);
    let shown = status(&proxy, "")["tunnels"]["shown"].clone();
    let conn = shown[0]["conn"].as_str().unwrap();
    let streams = shown.as_array().unwrap().iter();
    let mut streams: Vec<_> = streams.map(|tunnel| tunnel["stream_id"].as_u64()).collect();
    streams.sort_unstable();
    assert_eq!(streams, [Some(1), Some(3), Some(5)]);
    let token = token(&proxy);
    // It would not say which one.
    let asked = close(&proxy, &format!("conn={conn}"), &token);
    assert_eq!(asked.status, 400, "{}", asked.text());
    let asked = close(&proxy, &format!("conn={conn}&stream_id=3"), &token);
    assert_eq!(asked.status, 202, "{}", asked.text());
    let farewell = closing(1001, "closed_by_operator");
    assert_eq!(raw.ws_frame(3), (CLOSE, farewell.clone()));
    raw.data(3, masked(CLOSE, farewell), 0);
    let record = proxy.terminal().expect(Reason::ClosedByOperator);
    assert_eq!(record.number("stream_id"), Some(3));
    for stream in [1, 5] {
        raw.echoes(stream, "still here");
    }
    assert_eq!(status(&proxy, "")["tunnels"]["open"], 2);
    let found = status(&proxy, &format!("?id={conn}-5"));
    assert_eq!(found["tunnels"]["shown"][0]["stream_id"], 5);
    assert_eq!(found["tunnels"]["matching"], 1);
}

#[test]
fn only_the_page_of_this_process_may_close() {
    let proxy = start(&Setup::plain(ECHO));
    let mut client = open(&proxy, "/ws", &[("X-Request-ID", "one")]);
    let conn = conn(&proxy, "one");
    let token = token(&proxy);
    assert_eq!(token.len(), 32);
    let query = format!("conn={conn}");
    for wrong in ["", "0", &token[1..], &"0".repeat(32), &format!("{token}0")] {
        let response = close(&proxy, &query, wrong);
        assert_eq!(response.status, 403, "{wrong:?}");
        assert!(response.text().contains("load the page again"));
    }
    let own = admin(&proxy).to_string();
    let target = format!("POST /close?{query}");
    let good = format!("X-Wsgate-Token: {token}");
    for fields in [
        &["Origin: https://evil.example", good.as_str()][..],
        &["Sec-Fetch-Site: cross-site", &good],
        &[],
        &[&good, &good],
    ] {
        assert_eq!(
            request(&proxy, &target, &own, fields).status,
            403,
            "{fields:?}"
        );
    }
    assert_eq!(
        request(&proxy, &target, "evil.example", &[&good]).status,
        403
    );
    let get = format!("GET /close?{query}");
    assert_eq!(request(&proxy, &get, &own, &[&good]).status, 405);
    assert_eq!(close(&proxy, "conn=0123", &token).status, 404);
    assert_eq!(close(&proxy, "conn=", &token).status, 400);
    // Over HTTP/1.1 a tunnel has no stream.
    let of_stream = |stream| close(&proxy, &format!("{query}&stream_id={stream}"), &token).status;
    assert_eq!([of_stream("1"), of_stream("one")], [404, 400]);
    echoes(&mut client, "still here");
    // A program may do it, too, if it has read the page.
    assert_eq!(request(&proxy, &target, &own, &[&good]).status, 202);
    assert_eq!(read(&mut client).unwrap().0, CLOSE);
    proxy.stop();
}

#[test]
fn nothing_can_be_closed_if_others_may_reach_the_service() {
    let services = "probes: { address: 127.0.0.1:0 }\nadmin: { address: 0.0.0.0:0 }\n";
    let setup = Setup {
        extra: services.to_owned(),
        ..Setup::plain(ECHO)
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    let address = std::net::SocketAddr::new([127, 0, 0, 1].into(), admin(&proxy).port());
    let (code, page) = get(address, "/");
    assert_eq!(code, 200);
    assert!(
        page.contains("name=\"wsgate-token\" content=\"\""),
        "{page}"
    );
    let mut client = crate::harness::Client::plain(address);
    let head = "POST /close?conn=1 HTTP/1.1\r\nHost: localhost\r\nX-Wsgate-Token: \r\nConnection: close\r\n\r\n";
    let response = client.send(head).response();
    assert_eq!(response.status, 403);
    assert!(
        response.text().contains("not a loopback address"),
        "{response:?}"
    );
    proxy.stop();
}

/// A tunnel whose client has ended its stream, and whose upstream goes on.
#[test]
fn a_half_closed_tunnel_is_closed_too() {
    let upstream = Upstream::start(|mut call| {
        call.switch("");
        call.drain();
        // It goes on until the tests end.
        loop {
            std::thread::park();
        }
    });
    let proxy = start(&Setup {
        limits: "close_wait: 300s".to_owned(),
        ..Setup::plain(&upstream.url())
    });
    let mut client = open(&proxy, "/ws", &[("X-Request-ID", "half")]);
    client.finish();
    let query = format!("conn={}", conn(&proxy, "half"));
    assert_eq!(close(&proxy, &query, &token(&proxy)).status, 202);
    assert_eq!(
        read(&mut client).unwrap(),
        (CLOSE, closing(1001, "closed_by_operator"))
    );
    let record: Line = proxy.event("closed");
    assert_eq!(record.text("reason"), "closed_by_operator", "{record:?}");
    proxy.stop();
}

#[test]
fn a_client_that_does_not_answer_is_waited_for_as_long_as_usual() {
    let proxy = start(&Setup {
        limits: "close_wait: 300ms".to_owned(),
        ..Setup::plain(ECHO)
    });
    let mut client = open(&proxy, "/ws", &[("X-Request-ID", "mute")]);
    let query = format!("conn={}", conn(&proxy, "mute"));
    let token = token(&proxy);
    assert_eq!(close(&proxy, &query, &token).status, 202);
    assert_eq!(read(&mut client).unwrap().0, CLOSE);
    proxy.event("closed").expect(Reason::ClosedByOperator);
    eventually("the end of the tunnel", || {
        (close(&proxy, &query, &token).status == 404).then_some(())
    });
    proxy.stop();
}
