//! How tunnels begin, and how upstreams and clients end, while an answer is late.

use super::*;

/// Sends frames through a tunnel whose upstream echoes, also large ones, and closes it.
#[track_caller]
fn converses(client: &mut Client) {
    echoes(client, "hello");
    let large = "0123456789".repeat(10_000);
    echoes(client, &large);
    client.send(masked(CLOSE, closing(1000, "")));
    assert_eq!(frames::read(client).unwrap(), (CLOSE, closing(1000, "")));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_tunnel_works_after_a_late_101() {
    whenever(|when| {
        let upstream = Upstream::start(move |mut call| {
            when.wait();
            // A frame that comes with the 101.
            let early = frames::plain(TEXT, "welcome");
            let answer = switching(&call.head, "X-A: b\r\n").into_bytes();
            call.write([answer, early].concat()).echo();
        });
        let mut proxy = Setup::plain(&upstream.url()).start();
        let mut client = Client::plain(proxy.address());
        let response = client.send(handshake("/ws", &[])).response();
        assert_eq!(response.status, 101);
        assert_eq!(
            frames::read(&mut client).unwrap(),
            (TEXT, b"welcome".into())
        );
        converses(&mut client);
        upstream.all_ended();
        (head(&response), told(&proxy.terminal()))
    });
}

#[test]
fn what_a_client_sends_during_the_wait_goes_through_the_tunnel() {
    let upstream = Upstream::start(|mut call| {
        When::Late.wait();
        When::Late.wait();
        call.switch("").echo();
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    eventually("the handshake at the upstream", || {
        (!upstream.heads().is_empty()).then_some(())
    });
    When::Late.wait();
    client.send(masked(TEXT, "too early"));
    assert_eq!(client.response().status, 101);
    assert_eq!(
        frames::read(&mut client).unwrap(),
        (TEXT, b"too early".into())
    );
    converses(&mut client);
    assert!(proxy.terminal().notes().contains(&"early_bytes_held"));
    upstream.all_ended();
}

#[test]
fn a_tunnel_works_after_a_late_101_over_tls() {
    whenever(|when| {
        let config = secure::config(Authority::shared(), &["127.0.0.1"], Kind::Good);
        let upstream = SecureUpstream::handling(config, move |mut stream| {
            let head = secure::read_head(&mut stream)?;
            when.wait();
            stream.write_all(switching(&head, "").as_bytes())?;
            loop {
                stream.flush()?;
                let (first, payload) = frames::read(&mut stream)?;
                stream.write_all(&frames::plain(first, payload))?;
                if first == CLOSE {
                    stream.conn.send_close_notify();
                    stream.flush()?;
                    return Ok((head, stream));
                }
            }
        });
        let mut proxy = encrypted(&upstream).start();
        let mut client = Client::tls(proxy.address());
        let response = client.send(handshake("/ws", &[])).response();
        assert_eq!(response.status, 101);
        converses(&mut client);
        assert_eq!(upstream.endings(1), [secure::Ending::Ended]);
        (head(&response), told(&proxy.terminal()))
    });
}

#[test]
fn a_late_refusal_of_a_handshake_is_relayed() {
    let refusals = [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-A: b\r\n\r\nno".to_owned(),
        format!("HTTP/1.1 403 Forbidden\r\n{CHUNKED}\r\n2\r\nno\r\n0\r\n\r\n"),
        "HTTP/1.0 403 Forbidden\r\n\r\nno".to_owned(),
    ];
    for refusal in refusals {
        whenever(|when| {
            let refusal = refusal.clone();
            let origin = Origin::start(move |ask| {
                when.wait();
                ask.write(&refusal).close();
            });
            let mut proxy = start(&origin, "");
            let mut client = Client::plain(proxy.address());
            let response = client.send(handshake("/ws", &[])).response();
            assert_eq!(response.text(), "no");
            assert_eq!(client.rest(), b"");
            let line = proxy.terminal().expect(Reason::UpstreamForbidden);
            (head(&response), told(&line))
        });
    }
}

#[test]
fn a_late_refusal_is_explained_to_a_client_that_asked_for_it() {
    whenever(|when| {
        let origin = answering(
            when,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        );
        let setup = Setup {
            websocket: "explain_refusals: true".to_owned(),
            ..Setup::plain(&origin.url())
        };
        let mut proxy = setup.start();
        let mut client = Client::plain(proxy.address());
        let response = client.send(handshake("/ws", &[])).response();
        assert_eq!(response.status, 101);
        let close = frames::read(&mut client).unwrap();
        assert_eq!(close.0, CLOSE);
        client.send(masked(CLOSE, &close.1)).rest();
        let line = proxy.terminal().expect(Reason::UpstreamForbidden);
        (head(&response), close, told(&line))
    });
}

/// What an upstream does instead of an answer.
const INSTEAD: [(&str, bool); 6] = [
    ("", false),
    ("", true),
    ("HTTP/1.1 200 OK\r\nContent-", false),
    ("HTTP/1.1 200 OK\r\nContent-", true),
    ("220 ready\r\n", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false),
];

#[test]
fn an_upstream_that_ends_late_without_an_answer_has_the_same_reason() {
    let post = request("POST", "/api/a", "Content-Length: 0\r\n");
    for asked in [get("/api/a"), post, handshake("/ws", &[])] {
        for (answer, is_reset) in INSTEAD {
            whenever(|when| {
                let origin = Origin::start(move |ask| {
                    when.wait();
                    ask.write(answer);
                    if is_reset {
                        if !answer.is_empty() {
                            // A reset would destroy what has not been read.
                            let is_all_read = || is_read(&ask.socket).then_some(());
                            eventually("the proxy to read", is_all_read);
                        }
                        ask.reset();
                    } else {
                        ask.close();
                    }
                });
                let mut proxy = start(&origin, "");
                let mut client = Client::plain(proxy.address());
                let lines = lines(&client.send(&asked).rest());
                let line = proxy.terminal();
                assert!(lines[0].starts_with("HTTP/1.1 502 "), "{lines:?}");
                assert_eq!(origin.heads().len(), 1, "{line:?}");
                origin.all_ended();
                (lines, told(&line), line.text("detail").to_owned())
            });
        }
    }
}

#[test]
fn a_tls_upstream_that_ends_late_without_an_answer_has_the_same_reason() {
    for is_clean in [true, false] {
        for asked in [get("/api/a"), handshake("/ws", &[])] {
            whenever(|when| {
                let config = secure::config(Authority::shared(), &["127.0.0.1"], Kind::Good);
                let upstream = SecureUpstream::handling(config, move |mut stream| {
                    let head = secure::read_head(&mut stream)?;
                    when.wait();
                    if is_clean {
                        stream.conn.send_close_notify();
                        stream.flush()?;
                    } else {
                        stream.sock.shutdown(std::net::Shutdown::Write)?;
                    }
                    Ok((head, stream))
                });
                let mut proxy = encrypted(&upstream).start();
                let mut client = Client::tls(proxy.address());
                let response = client.send(&asked).response();
                let line = proxy.terminal();
                let line = line.expect(Reason::UpstreamClosedBeforeResponse);
                let detail = line.text("detail").to_owned();
                (head(&response), told(&line), detail)
            });
        }
    }
}

/// Only a request that may be repeated is sent again.
#[test]
fn a_kept_connection_that_ends_late_without_an_answer_is_as_one_that_ends_at_once() {
    for (method, count) in [("GET", 3), ("POST", 2)] {
        for is_reset in [false, true] {
            whenever(|when| {
                let origin = Origin::start(move |ask| match ask.place {
                    (0, 1) => {
                        when.wait();
                        match is_reset {
                            true => ask.reset(),
                            false => ask.close(),
                        }
                    }
                    _ => ask.ok("ok"),
                });
                let mut proxy = start(&origin, "");
                let mut client = Client::plain(proxy.address());
                client.send(get("/api/a")).response();
                proxy.terminal();
                client.send(request(method, "/api/b", "Content-Length: 0\r\n"));
                let response = client.response();
                assert_eq!(response.status, if method == "GET" { 200 } else { 502 });
                assert_eq!(origin.heads().len(), count);
                told(&proxy.terminal())
            });
        }
    }
}

#[test]
fn a_time_limit_ends_the_wait_for_a_late_answer() {
    for (begun, detail) in [
        ("", "no byte of an answer in 400ms"),
        ("HTTP/1.1 200", "no complete answer in 400ms"),
    ] {
        let origin = Origin::start(move |ask| {
            When::Late.wait();
            ask.write(begun);
            ask.drain();
        });
        let setup = Setup {
            upstream: ", handshake_timeout: 400ms".to_owned(),
            ..setup(&origin.url(), "response_timeout: 400ms")
        };
        let mut proxy = setup.start();
        for (asked, reason) in [
            (get("/api/a"), Reason::UpstreamResponseTimeout),
            (handshake("/ws", &[]), Reason::UpstreamHandshakeTimeout),
        ] {
            let mut client = Client::plain(proxy.address());
            assert_eq!(client.send(asked).response().status, 504);
            proxy.terminal().expect(reason).with_detail(detail);
            origin.all_ended();
        }
    }
}

#[test]
fn a_drain_waits_for_a_late_answer() {
    let origin = answering(When::Late, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let shutdown = "drain: 15s".to_owned();
    let setup = Setup {
        shutdown,
        ..setup(&origin.url(), "")
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    origin.asked(1);
    std::thread::sleep(LATE * 2 / 3);
    proxy.signal("TERM");
    let response = client.response();
    assert_eq!(response.text(), "ok");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    drop(client);
    assert!(proxy.ended().success());
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Closes,
    ClosesItsSendingSide,
    Resets,
    /// It has sent more than is kept.
    ClosesAfterMuch,
}

#[test]
fn a_client_that_leaves_while_an_answer_is_late_has_given_up() {
    use Leaving::{Closes, ClosesAfterMuch, ClosesItsSendingSide, Resets};
    for is_tls in [false, true] {
        for asked in [get("/api/a"), handshake("/ws", &[])] {
            for how in [Closes, ClosesItsSendingSide, Resets, ClosesAfterMuch] {
                whenever(|when| {
                    let origin = Origin::start(|ask| drop(ask.drain()));
                    let mut setup = setup(&origin.url(), "");
                    if is_tls {
                        setup.tls = Setup::tls("").tls;
                    }
                    let mut proxy = setup.start();
                    let mut client = match is_tls {
                        true => Client::tls(proxy.address()),
                        false => Client::plain(proxy.address()),
                    };
                    client.send(&asked);
                    origin.asked(1);
                    when.wait();
                    let mut stays = None;
                    match how {
                        Closes => drop(client),
                        Resets => client.reset(),
                        ClosesItsSendingSide => {
                            client.finish();
                            stays = Some(client);
                        }
                        ClosesAfterMuch => {
                            client.send(vec![b'x'; 40_000]);
                            when.wait();
                            drop(client);
                        }
                    }
                    let line = proxy.terminal().expect(Reason::ClientGaveUp);
                    origin.all_ended();
                    drop(stays);
                    let detail = line.text("detail");
                    let (_, how) = detail.split_once(": ").expect("how it left");
                    (told(&line), how.to_owned())
                });
            }
        }
    }
}
