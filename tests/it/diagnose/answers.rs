use super::*;

#[test]
fn each_answer_other_than_101_has_its_finding() {
    for (bytes, finding, reason) in [
        (
            "HTTP/1.1 301 Moved\r\nLocation: https://x.example/login?token=secret\r\nContent-Length: 0\r\n\r\n",
            "redirect",
            "upstream_redirect",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "unauthorized",
            "upstream_unauthorized",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nX-Powered-By: Express\r\nContent-Length: 0\r\n\r\n",
            "not_found",
            "upstream_not_found",
        ),
        (
            "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
            "rate_limited",
            "upstream_rate_limited",
        ),
        (
            "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n",
            "client_error",
            "upstream_4xx",
        ),
        (
            "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
            "server_error",
            "upstream_5xx",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n",
            "gateway_error",
            "upstream_5xx",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
            "not_upgraded",
            "upstream_2xx_instead_of_101",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 33\r\n\r\nMissing or invalid Upgrade header",
            "upgrade_stripped",
            "ws_upgrade_header_missing",
        ),
        // The same words in two chunks.
        (
            "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n14\r\nMissing or invalid U\r\nd;x=y\r\npgrade header\r\n0\r\n\r\n",
            "upgrade_stripped",
            "ws_upgrade_header_missing",
        ),
        // It has seen the upgrade, because it answers the version.
        (
            "HTTP/1.1 426 Upgrade Required\r\nServer: nginx\r\nSec-WebSocket-Version: 8, 7\r\nContent-Length: 16\r\n\r\nUpgrade Required",
            "version_refused",
            "upstream_upgrade_required",
        ),
        (
            "HTTP/1.1 505 HTTP Version Not Supported\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n",
            "upgrade_stripped",
            "ws_upgrade_header_missing",
        ),
        (
            "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
            "gateway_timeout",
            "upstream_5xx",
        ),
        (
            "HTTP/1.1 521 Web Server Is Down\r\nContent-Length: 0\r\n\r\n",
            "gateway_error",
            "upstream_5xx",
        ),
        // The same as for a plain request, behind a hop that may take Upgrade away.
        (
            "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n",
            "upgrade_ignored",
            "ws_upgrade_header_missing",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 36\r\n\r\nNo required SSL certificate was sent",
            "client_certificate_required",
            "tls_client_cert_missing",
        ),
        // wsgate behind nginx.
        (
            "HTTP/1.1 403 Forbidden\r\nServer: nginx\r\nProxy-Status: wsgate; error=http_request_denied\r\nContent-Length: 18\r\n\r\norigin_not_allowed",
            "forbidden",
            "origin_not_allowed",
        ),
        (
            "HTTP/1.1 524 A Timeout Occurred\r\nContent-Length: 0\r\n\r\n",
            "gateway_timeout",
            "upstream_5xx",
        ),
        // Who calls itself wsgate, with a reason that such an answer can't have.
        (
            "HTTP/1.1 401 Unauthorized\r\nServer: wsgate\r\nContent-Length: 18\r\n\r\norigin_not_allowed",
            "unauthorized",
            "upstream_unauthorized",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            "bad_request",
            "upstream_bad_request",
        ),
        (
            "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
            "upgrade_required",
            "upstream_upgrade_required",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 54\r\n\r\n<title>The plain HTTP request was sent to HTTPS port</",
            "server_requires_tls",
            "upstream_plain_to_tls_port",
        ),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "not_http",
            "upstream_malformed_response",
        ),
        (
            "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{46}",
            "server_requires_tls",
            "upstream_plain_to_tls_port",
        ),
        (
            "\0\0\u{6}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{1}",
            "only_http2",
            "upstream_alpn_h2",
        ),
    ] {
        let server = answering(bytes);
        let report = verdict(&url(&server), &[], finding, reason);
        assert!(!report.to_string().contains("secret"), "{report:#}");
    }
}

/// A plain request gets another answer, so the server sees the upgrade.
#[test]
fn an_upgrade_that_is_seen_and_refused_is_told() {
    let server = Upstream::raw(|mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        let answer: &[u8] = match head.contains("Upgrade: websocket") {
            true => b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\nmissing subprotocol",
            false => b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
        };
        let _ = socket.write_all(answer);
        let _ = socket.read(&mut [0]);
    });
    let report = verdict(
        &url(&server),
        &[],
        "upgrade_refused",
        "upstream_bad_request",
    );
    let detail = report["verdict"]["detail"].as_str().unwrap();
    for part in [
        "which says \"missing subprotocol\"",
        "a plain request gets 426",
        "Origins tried: http://127.0.0.1",
        "https://servicewechat.com",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
}

#[test]
fn facts_of_an_answer_are_in_the_detail() {
    for (bytes, part) in [
        (
            "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
            "405 (this path does not take GET",
        ),
        (
            "HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
            "retry-after: 120",
        ),
        (
            "HTTP/1.1 102 Processing\r\n\r\n",
            "after 1 interim answer: nothing came",
        ),
    ] {
        let server = answering(bytes);
        let (code, report) = diagnosed(&url(&server), &["--quick", "--timeout", "300ms"]);
        let detail = report["verdict"]["detail"].as_str().unwrap();
        assert!(code == 1 && detail.contains(part), "{detail}");
    }
}

#[test]
fn an_answer_may_have_many_fields() {
    let fields: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let server = answering(format!("HTTP/1.1 403 No\r\n{fields}Content-Length: 0\r\n\r\n").leak());
    verdict(&url(&server), &[], "forbidden", "upstream_forbidden");
}

/// A server that refuses the first handshake and accepts the others.
#[test]
fn a_refusal_that_does_not_last_is_not_blamed_on_the_request() {
    for status in ["403 Forbidden", "502 Bad Gateway"] {
        let is_first = std::sync::atomic::AtomicBool::new(true);
        let server = Upstream::raw(move |mut socket| {
            let head = read_head(&mut socket).unwrap_or_default();
            if is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let _ = socket.write_all(answer.as_bytes());
            } else {
                let _ = socket.write_all(switching(&head, "").as_bytes());
                echo(socket);
            }
        });
        verdict_of(&url(&server), &[], "intermittent");
    }
}

#[test]
fn each_wrong_101_has_its_finding() {
    const GOOD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    for (head, finding, reason) in [
        (
            format!(
                "HTTP/1.1 101 S\r\n{GOOD}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            ),
            "accept_mismatch",
            "upstream_accept_mismatch",
        ),
        (
            format!("HTTP/1.1 101 S\r\n{GOOD}\r\n"),
            "accept_missing",
            "upstream_accept_missing",
        ),
        (
            "HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n".to_owned(),
            "101_without_upgrade",
            "upstream_101_no_upgrade",
        ),
        (
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n".to_owned(),
            "101_without_connection",
            "upstream_101_no_connection",
        ),
        (
            format!("HTTP/1.0 101 S\r\n{GOOD}\r\n"),
            "http10_101",
            "upstream_http10_101",
        ),
        (
            format!("HTTP/1.1 101 S\r\n{GOOD}Content-Length: 5\r\n\r\n"),
            "101_with_body",
            "upstream_101_with_body",
        ),
    ] {
        let server = answering(head.leak());
        verdict(&url(&server), &[], finding, reason);
    }
    for (more, finding, reason) in [
        (
            "Sec-WebSocket-Protocol: chat\r\n",
            "subprotocol_unrequested",
            "upstream_subprotocol_unrequested",
        ),
        (
            "Sec-WebSocket-Extensions: x-other\r\n",
            "extension_unrequested",
            "upstream_extension_unrequested",
        ),
    ] {
        let server = Upstream::raw(move |mut socket| {
            let head = read_head(&mut socket).unwrap();
            let _ = socket.write_all(switching(&head, more).as_bytes());
        });
        verdict(&url(&server), &[], finding, reason);
    }
    let server = Upstream::raw(|mut socket| {
        let head = read_head(&mut socket).unwrap();
        let twice = format!("{}HTTP/1.1 200 OK\r\n\r\n", switching(&head, ""));
        let _ = socket.write_all(twice.as_bytes());
        let _ = socket.read(&mut [0]);
    });
    verdict(&url(&server), &[], "second_answer", "upstream_double_101");
}

#[test]
fn it_says_which_ingredient_is_refused() {
    let page = "https://app.example.com";
    let server = admitting(move |head| head.contains(&format!("Origin: {page}\r\n")));
    let works = diagnosed(&url(&server), &["--origin", page]);
    assert_eq!(works.0, 0, "{:#}", works.1);
    // No other Origin that is tried is admitted either.
    verdict(&url(&server), &[], "forbidden", "upstream_forbidden");
    let server = admitting(|head| !head.contains("Origin: https://evil.example"));
    let report = verdict(
        &url(&server),
        &["--origin", "https://evil.example"],
        "origin_not_allowed",
        "origin_not_allowed",
    );
    let detail = report["verdict"]["detail"].as_str().unwrap();
    for part in [
        "https://evil.example",
        "without_origin",
        "own_origin",
        "wechat_origin",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    let server = admitting(|head| head.contains("Origin: https://servicewechat.com"));
    let report = verdict(
        &url(&server),
        &[],
        "origin_not_allowed",
        "origin_not_allowed",
    );
    assert!(
        report["verdict"]["detail"]
            .as_str()
            .unwrap()
            .ends_with("accepted: wechat_origin")
    );
    let server = admitting(|head| head.contains("Origin: "));
    verdict(
        &url(&server),
        &["--origin", "none"],
        "origin_required",
        "origin_missing",
    );
    let server = admitting(|head| !head.contains("permessage-deflate"));
    verdict(
        &url(&server),
        &[],
        "extension_refused",
        "ws_extensions_header_invalid",
    );
    let server = admitting(|head| !head.contains("Sec-WebSocket-Protocol"));
    verdict(
        &url(&server),
        &["--subprotocol", "chat"],
        "subprotocol_refused",
        "subprotocol_not_allowed",
    );
}

#[test]
fn a_gateway_that_refuses_only_upgrades_is_recognised() {
    let server = Upstream::raw(|mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        let answer: &[u8] = match head.contains("Upgrade: websocket") {
            true => b"HTTP/1.1 403 Forbidden\r\nserver: envoy\r\nContent-Length: 0\r\n\r\n",
            false => b"HTTP/1.1 200 OK\r\nserver: envoy\r\nContent-Length: 0\r\n\r\n",
        };
        let _ = socket.write_all(answer);
        let _ = socket.read(&mut [0]);
    });
    let report = verdict(&url(&server), &[], "upgrade_disabled", "upstream_forbidden");
    assert_eq!(report["verdict"]["answered_by"], "Envoy");
}

#[test]
fn silence_and_ends_before_an_answer_are_told_apart() {
    let silent = Upstream::raw(|mut socket| {
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    verdict(
        &url(&silent),
        &["--timeout", "300ms"],
        "no_answer",
        "upstream_handshake_timeout",
    );
    let closing = Upstream::raw(|mut socket| {
        let _ = read_head(&mut socket);
    });
    verdict(
        &url(&closing),
        &[],
        "closes_every_request",
        "upstream_closed_before_response",
    );
    // Its upgrade handler is to blame, whether plain requests are answered or not.
    for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], b""] {
        let closing = Upstream::raw(move |mut socket| {
            let head = read_head(&mut socket).unwrap_or_default();
            if !head.contains("Upgrade: websocket") {
                let _ = socket.write_all(answer);
                let _ = std::io::copy(&mut socket, &mut std::io::sink());
            }
        });
        verdict(
            &url(&closing),
            &["--timeout", "300ms"],
            "closed_before_answer",
            "upstream_closed_before_response",
        );
    }
    let resetting = Upstream::raw(|socket| {
        crate::harness::Client::Plain(socket).reset();
    });
    let report = diagnosed(&url(&resetting), &[]).1;
    let finding = report["verdict"]["finding"].as_str().unwrap().to_owned();
    assert!(
        ["closes_every_request", "reset"].contains(&finding.as_str()),
        "{report:#}"
    );
    let refused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    verdict(
        &format!("ws://{refused}/"),
        &[],
        "connection_refused",
        "upstream_refused",
    );
    verdict(
        "ws://nosuch.invalid/",
        &[],
        "dns_failed",
        "upstream_dns_failed",
    );
}
