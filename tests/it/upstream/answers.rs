//! What a 101 may contain, and what not.

use std::io::Write;

use wsgate::reason::Reason;

use super::{altering, ask, ask_with, gate, is_own, refused, was_asked, wrong_101};
use crate::harness::client::ACCEPT;
use crate::harness::frames::{TEXT, plain};
use crate::harness::{Client, Line, Response, Setup, Upstream, handshake, switching};

/// A tunnel through `upstream` opens; gives its 101 and its `opened` record.
#[track_caller]
fn opens(setup: &Setup, changes: &[(&str, &str)]) -> (Response, Line) {
    let proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", changes)).response();
    assert_eq!(response.status, 101, "{:?}", proxy.lines());
    assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(response.field("connection"), Some("Upgrade"));
    assert_eq!(response.field("upgrade"), Some("websocket"));
    (response, proxy.event("opened"))
}

/// A 101 with one line put before the end of its head.
fn with_line(answer: &str, line: &str) -> String {
    format!("{}\r\n{line}\r\n\r\n", answer.trim_end())
}

#[test]
fn a_frame_in_the_same_segment_as_the_101_arrives() {
    let upstream = Upstream::start(|mut call| {
        let together = [switching(&call.head, "").into_bytes(), plain(TEXT, "hello")];
        call.write(together.concat()).drain();
    });
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    assert_eq!(client.receive(7), b"\x81\x05hello");
    client.finish();
    let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
    assert_eq!(closed.number("bytes_upstream_to_client"), Some(7));
}

#[test]
fn a_101_that_comes_byte_by_byte_is_taken() {
    let upstream = Upstream::start(|mut call| {
        // Without Nagle's algorithm each write becomes a segment.
        for byte in switching(&call.head, "").bytes() {
            call.socket.write_all(&[byte]).unwrap();
        }
        call.drain();
    });
    opens(&Setup::plain(&upstream.url()), &[]);
}

#[test]
fn a_101_is_recognised_however_it_is_spelled() {
    for change in [
        |answer: String| answer.replace("Upgrade: websocket", "upgrade:WebSocket"),
        |answer: String| answer.replace("Connection: Upgrade", "CONNECTION: keep-alive, upgrade"),
        |answer: String| {
            answer.replace(
                "Connection: Upgrade",
                "Connection: keep-alive\r\nConnection: UPGRADE",
            )
        },
        |answer: String| answer.replace(" Switching Protocols", ""),
        |answer: String| answer.replace("Switching Protocols", "Welcome"),
        |answer: String| answer.replace("Sec-WebSocket-Accept: ", "sec-websocket-accept:   "),
        |answer: String| answer.replace(ACCEPT, &format!("{ACCEPT} \t")),
        |answer: String| with_line(&answer, "Content-Length: 0"),
    ] {
        opens(&Setup::plain(&altering(change).url()), &[]);
    }
}

#[test]
fn fields_of_the_101_reach_the_client_and_hop_by_hop_ones_do_not() {
    let upstream = altering(|answer| {
        let answer = answer.replace("Connection: Upgrade", "Connection: Upgrade, X-Hop");
        with_line(
            &answer,
            "Set-Cookie: a=1\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\nSet-Cookie: b=2\r\nX-Own: kept",
        )
    });
    let (response, _) = opens(&Setup::plain(&upstream.url()), &[]);
    assert_eq!(response.fields_named("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.field("x-own"), Some("kept"));
    assert_eq!(response.field("x-hop"), None);
    assert_eq!(response.field("keep-alive"), None);
}

#[test]
fn interim_responses_are_consumed_and_noted() {
    for (interim, noted) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", "100"),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
            "103",
        ),
        (
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
            "102, 103",
        ),
    ] {
        let upstream = altering(move |answer| interim.to_owned() + &answer);
        let (_, opened) = opens(&Setup::plain(&upstream.url()), &[]);
        assert_eq!(opened.notes(), ["upstream_interim"]);
        assert_eq!(opened.0["notes"][0]["detail"], noted);
    }
}

#[test]
fn interim_responses_without_end_meet_the_deadline() {
    let upstream = Upstream::start(|mut call| {
        while call
            .socket
            .write_all(b"HTTP/1.1 102 Processing\r\n\r\n")
            .is_ok()
        {}
    });
    let setup = Setup {
        upstream: ", handshake_timeout: 300ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    refused(&setup, &upstream)
        .expect(Reason::UpstreamHandshakeTimeout)
        .with_detail("no complete answer in 300ms; first bytes 48 54 54 50");
}

#[test]
fn a_head_that_stops_half_way_meets_the_deadline() {
    let upstream =
        Upstream::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
    let setup = Setup {
        upstream: ", handshake_timeout: 200ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    refused(&setup, &upstream)
        .expect(Reason::UpstreamHandshakeTimeout)
        .with_detail("no complete answer in 200ms");
}

#[test]
fn a_head_that_ends_half_way_is_no_answer() {
    let upstream = Upstream::start(|mut call| {
        call.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs")
            .finish()
            .drain();
    });
    refused(&Setup::plain(&upstream.url()), &upstream)
        .expect(Reason::UpstreamClosedBeforeResponse)
        .with_detail("first bytes 48 54 54 50");
}

#[test]
fn heads_that_are_not_http_1_1_are_malformed() {
    let folded = |answer: String| with_line(&answer, "X-Folded: one\r\n two");
    let bare_cr = |answer: String| with_line(&answer, "X-Bare: one\rtwo");
    let null = |answer: String| with_line(&answer, "X-Null: one\0two");
    let nameless = |answer: String| with_line(&answer, ": value");
    let spaced = |answer: String| answer.replace("Upgrade: websocket", "Upgrade : websocket");
    let http2 = |answer: String| answer.replace("HTTP/1.1", "HTTP/2.0");
    let http12 = |answer: String| answer.replace("HTTP/1.1", "HTTP/1.2");
    let http09 = |answer: String| answer.replace("HTTP/1.1", "HTTP/0.9");
    let status = |answer: String| answer.replace(" 101 ", " 1o1 ");
    let html = |_: String| "<!doctype html>\r\n\r\n".to_owned();
    let changes: [fn(String) -> String; 10] = [
        folded, bare_cr, null, nameless, spaced, http2, http12, http09, status, html,
    ];
    for change in changes {
        wrong_101(change, Reason::UpstreamMalformedResponse).with_detail("first bytes ");
    }
}

#[test]
fn an_answer_whose_length_is_ambiguous_is_not_relayed() {
    for fields in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: +2\r\n",
    ] {
        let upstream = Upstream::answering(format!("HTTP/1.1 403 Forbidden\r\n{fields}\r\nno"));
        refused(&Setup::plain(&upstream.url()), &upstream)
            .expect(Reason::UpstreamMalformedResponse);
    }
}

#[test]
fn an_answer_with_another_coding_than_chunked_is_not_relayed() {
    // The coding applies between two hops: without it the client would take the coded bytes for the content.
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        let fields = format!("Transfer-Encoding: {coding}\r\n");
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 403 Forbidden\r\n{fields}\r\n2\r\nno\r\n0\r\n\r\n"
        ));
        refused(&Setup::plain(&upstream.url()), &upstream)
            .expect(Reason::UpstreamMalformedResponse)
            .with_detail("transfer-encoding: ");
    }
}

#[test]
fn a_status_that_means_nothing_here_is_not_relayed() {
    for (status, detail) in [
        ("600 Unknown", "status 600"),
        ("999 Denied", "status 999"),
        ("304 Not Modified", "304 to a request without conditions"),
    ] {
        let upstream =
            Upstream::answering(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        refused(&Setup::plain(&upstream.url()), &upstream)
            .expect(Reason::UpstreamMalformedResponse)
            .with_detail(detail);
    }
}

#[test]
fn an_accept_value_is_compared_byte_by_byte() {
    for wrong in [
        ACCEPT.to_ascii_lowercase(),
        format!("\"{ACCEPT}\""),
        format!("{ACCEPT}, {ACCEPT}"),
        ACCEPT.trim_end_matches('=').to_owned(),
        String::new(),
    ] {
        wrong_101(
            move |answer| answer.replace(ACCEPT, &wrong),
            Reason::UpstreamAcceptMismatch,
        );
    }
    wrong_101(
        |answer| with_line(&answer, &format!("Sec-WebSocket-Accept: {ACCEPT}")),
        Reason::UpstreamAcceptMismatch,
    )
    .with_detail("sec-websocket-accept: 2 fields, expected ");
}

#[test]
fn an_upgrade_to_anything_else_is_none() {
    for upgrade in ["h2c", "websocket, h2c", "websocket/13", "", "websockets"] {
        wrong_101(
            move |answer| answer.replace("Upgrade: websocket", &format!("Upgrade: {upgrade}")),
            Reason::Upstream101NoUpgrade,
        );
    }
}

#[test]
fn a_101_that_withdraws_what_was_verified_is_refused() {
    for (named, shown) in [
        ("Sec-WebSocket-Accept", "Sec-WebSocket-Accept"),
        ("sec-websocket-protocol", "sec-websocket-protocol"),
        (
            "X-Hop, SEC-WEBSOCKET-EXTENSIONS",
            "SEC-WEBSOCKET-EXTENSIONS and one more",
        ),
    ] {
        wrong_101(
            move |answer| {
                answer.replace(
                    "Connection: Upgrade",
                    &format!("Connection: Upgrade, {named}"),
                )
            },
            Reason::UpstreamMalformedResponse,
        )
        .with_detail(&format!("connection: Upgrade, {shown}"));
    }
}

#[test]
fn a_101_with_a_transfer_coding_announces_a_body() {
    wrong_101(
        |answer| with_line(&answer, "Transfer-Encoding: chunked"),
        Reason::Upstream101WithBody,
    )
    .with_detail("transfer-encoding: chunked");
}

#[test]
fn part_of_a_second_head_behind_the_101_is_enough() {
    for behind in ["H", "HTTP/1.", "HTTP/1.0 404 Not Found\r\n\r\n"] {
        wrong_101(move |answer| answer + behind, Reason::UpstreamDouble101);
    }
}

#[test]
fn the_upstream_may_choose_among_what_was_offered() {
    let offer = ("Sec-WebSocket-Protocol", "chat, voice");
    for (allowed, chosen, agreed) in [
        ("", "voice", true),
        ("", "chat", true),
        ("", "Voice", false),
        ("", "chat, voice", false),
        ("", "", false),
        ("subprotocols: [chat]", "chat", true),
        // Offered by the client, but not allowed by the route.
        ("subprotocols: [chat]", "voice", false),
    ] {
        let upstream = altering(move |answer| {
            with_line(&answer, &format!("Sec-WebSocket-Protocol: {chosen}"))
        });
        let setup = Setup {
            websocket: allowed.to_owned(),
            ..Setup::plain(&upstream.url())
        };
        if agreed {
            let (response, opened) = opens(&setup, &[offer]);
            assert_eq!(response.field("sec-websocket-protocol"), Some(chosen));
            assert_eq!(opened.notes(), [""; 0]);
        } else {
            let (response, line) = ask_with(&setup, &[offer]);
            is_own(&response, &line);
            was_asked(&upstream, &line);
            line.expect(Reason::UpstreamSubprotocolUnrequested);
        }
    }
}

#[test]
fn the_echo_upstream_chooses_what_the_route_lets_through() {
    let offer = ("Sec-WebSocket-Protocol", "chat, voice");
    for (allowed, chosen) in [
        ("", "chat"),
        ("subprotocols: [voice, chat]", "chat"),
        ("subprotocols: [voice]", "voice"),
    ] {
        let setup = Setup {
            websocket: allowed.to_owned(),
            ..Setup::plain("\"builtin:echo\"")
        };
        let (response, _) = opens(&setup, &[offer]);
        assert_eq!(response.field("sec-websocket-protocol"), Some(chosen));
    }
}

#[test]
fn choosing_none_of_the_offered_subprotocols_is_noted() {
    let upstream = Upstream::echo();
    let changes = [("Sec-WebSocket-Protocol", "chat, voice")];
    let (response, opened) = opens(&Setup::plain(&upstream.url()), &changes);
    assert_eq!(response.field("sec-websocket-protocol"), None);
    assert_eq!(opened.notes(), ["upstream_subprotocol_ignored"]);
    assert_eq!(opened.0["notes"][0]["detail"], "chat, voice");
}

#[test]
fn a_subprotocol_without_an_offer_is_refused_even_when_it_is_empty() {
    for chosen in ["chat", ""] {
        wrong_101(
            move |answer| with_line(&answer, &format!("Sec-WebSocket-Protocol: {chosen}")),
            Reason::UpstreamSubprotocolUnrequested,
        );
    }
}

#[test]
fn the_upstream_may_accept_only_extensions_that_were_offered() {
    let offer = (
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_max_window_bits",
    );
    for (chosen, agreed) in [
        ("permessage-deflate", true),
        ("permessage-deflate; client_max_window_bits=\"15\"", true),
        ("permessage-deflate, x-other", false),
        ("x-webkit-deflate-frame", false),
        ("", false),
        (",", false),
        ("permessage-deflate;", false),
    ] {
        let upstream = altering(move |answer| {
            with_line(&answer, &format!("Sec-WebSocket-Extensions: {chosen}"))
        });
        let setup = Setup::plain(&upstream.url());
        if agreed {
            let (response, _) = opens(&setup, &[offer]);
            assert_eq!(response.field("sec-websocket-extensions"), Some(chosen));
        } else {
            let (_, line) = ask_with(&setup, &[offer]);
            was_asked(&upstream, &line);
            line.expect(Reason::UpstreamExtensionUnrequested);
        }
    }
}

#[test]
fn an_empty_extension_field_without_an_offer_is_refused() {
    // Safari fails the connection; it is also invalid (RFC 6455 section 9.1).
    wrong_101(
        |answer| with_line(&answer, "Sec-WebSocket-Extensions:"),
        Reason::UpstreamExtensionUnrequested,
    );
}

#[test]
fn nothing_of_an_unverified_101_reaches_the_client() {
    // The condition for request smuggling: an upstream that never switched reads bytes of the client.
    let (gate, keeper) = gate();
    let upstream = Upstream::start(move |mut call| {
        let wrong = switching(&call.head, "").replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        gate.lock().unwrap().pass();
        call.write(wrong + "secret");
        assert_eq!(
            call.drain(),
            b"",
            "the upstream gets nothing behind the request"
        );
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    keeper.reached();
    client.send("GET /internal HTTP/1.1\r\nHost: upstream\r\n\r\n");
    keeper.open();
    let response = client.response();
    assert_eq!(response.status, 502);
    assert!(!response.text().contains("secret"));
    assert_eq!(client.rest(), b"");
    let line = proxy.terminal();
    was_asked(&upstream, &line);
    line.expect(Reason::UpstreamAcceptMismatch);
}

#[test]
fn a_limit_on_heads_holds_for_the_number_of_fields_too() {
    let upstream = altering(|answer| with_line(&answer, &vec!["A: b"; 500].join("\r\n")));
    refused(&Setup::plain(&upstream.url()), &upstream).expect(Reason::UpstreamHeadTooLarge);
    let (response, _) = ask(&Setup::plain(
        &Upstream::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").url(),
    ));
    assert_eq!(response.status, 404);
}
