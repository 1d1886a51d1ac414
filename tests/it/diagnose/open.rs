use super::*;

/// A plain server that switches and then does `then`.
fn after_101(then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Upstream {
    Upstream::raw(move |mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        let _ = socket.write_all(switching(&head, "").as_bytes());
        then(&mut socket);
    })
}

/// Sends bytes, and waits for the end.
fn saying(bytes: &'static [u8]) -> Upstream {
    after_101(move |socket| {
        let _ = socket.write_all(bytes);
        let _ = std::io::copy(socket, &mut std::io::sink());
    })
}

#[test]
fn each_way_to_misbehave_after_the_101_has_its_finding() {
    for (bytes, finding, reason) in [
        (
            &b"\x88\x00"[..],
            "closed_at_once",
            "upstream_close_immediate",
        ),
        (b"\x88\x02\x03\xe8", "closed_by_server", "upstream_close"),
        (
            b"\x88\x06\x03\xf0stop",
            "closed_by_policy",
            "upstream_close_policy",
        ),
        (
            b"\x88\x02\x0f\xa1",
            "closed_by_policy",
            "upstream_close_policy",
        ),
        (
            b"\x88\x02\x03\xf3",
            "closed_with_error",
            "upstream_close_error",
        ),
        (
            b"\x88\x02\x03\xee",
            "reserved_close_code",
            "reserved_close_code_on_wire",
        ),
        (
            b"\x88\x02\x03\xf1",
            "closed_message_too_big",
            "upstream_close_too_big",
        ),
        (
            b"\x88\x02\x03\xf4",
            "closed_for_restart",
            "upstream_close_restart",
        ),
        // Named by another proxy of this kind.
        (
            b"\x88\x0e\x03\xe9idle_timeout",
            "closed_by_server",
            "idle_timeout",
        ),
        (
            b"\x88\x14\x03\xf0origin_not_allowed",
            "closed_by_policy",
            "origin_not_allowed",
        ),
        // Not UTF-8, in a message and in a reason.
        (
            b"\x81\x02\xff\xfe",
            "protocol_error",
            "upstream_protocol_error",
        ),
        (
            b"\x88\x04\x03\xe8\xff\xfe",
            "protocol_error",
            "upstream_protocol_error",
        ),
        // Masked, compressed without an agreement, a reserved opcode, HTTP.
        (
            b"\x81\x82\x00\x00\x00\x00hi",
            "protocol_error",
            "upstream_protocol_error",
        ),
        (b"\xc1\x02hi", "protocol_error", "upstream_protocol_error"),
        (b"\x83\x00", "protocol_error", "upstream_protocol_error"),
        (
            b"HTTP/1.1 200 OK\r\n\r\n",
            "second_answer",
            "upstream_double_101",
        ),
    ] {
        let server = saying(bytes);
        let (code, report) = diagnosed(&url(&server), &[]);
        let found = report["verdict"]["finding"].as_str().unwrap();
        // The bytes may come after the head has been read.
        let is_late = finding == "second_answer" && found == "protocol_error";
        assert!(found == finding || is_late, "{bytes:?}: {report:#}");
        assert!(
            is_late || report["verdict"]["reason"] == reason,
            "{report:#}"
        );
        assert_eq!(code, 1);
    }
    let ending = after_101(|_| {});
    verdict(
        &url(&ending),
        &[],
        "ended_without_close",
        "upstream_eof_no_close",
    );
    let silent = saying(b"");
    verdict(
        &url(&silent),
        &["--timeout", "300ms"],
        "ping_unanswered",
        "upstream_timeout",
    );
    // It answers the Ping, and nothing else.
    let deaf = after_101(|socket| {
        let mut ping = [0; 12];
        socket.read_exact(&mut ping).unwrap();
        let _ = socket.write_all(b"\x8a\x06wsgate");
        let _ = std::io::copy(socket, &mut std::io::sink());
    });
    verdict(
        &url(&deaf),
        &["--timeout", "300ms"],
        "close_unanswered",
        "close_handshake_timeout",
    );
}

/// A server that agrees to compression and sends these bytes.
fn compressing(bytes: &'static [u8]) -> Upstream {
    Upstream::raw(move |mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        let more = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let _ = socket.write_all(switching(&head, more).as_bytes());
        let _ = socket.write_all(bytes);
        let mut ping = [0; 12];
        let _ = socket.read_exact(&mut ping);
        let _ = socket.write_all(b"\x8a\x06wsgate");
        // The client's Close, and the answer.
        let _ = socket.read_exact(&mut [0; 8]);
        let _ = socket.write_all(b"\x88\x02\x03\xe8");
    })
}

#[test]
fn broken_compression_is_told_from_good_one() {
    // "Hello" twice, as in RFC 7692 section 7.2.3.2: the second one refers to the first. Then a message in two frames, with
    // a Ping between them.
    let good = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    let (code, report) = diagnosed(&url(&compressing(good)), &[]);
    assert_eq!(code, 0, "{report:#}");
    let broken = compressing(b"\xc1\x05hello");
    verdict(
        &url(&broken),
        &[],
        "deflate_broken",
        "upstream_protocol_error",
    );
}

/// A message and then a small one that refers to it, as a server compresses them with one state.
#[test]
fn a_large_compressed_message_is_not_taken_for_a_broken_one() {
    let mut state = flate2::Compress::new(flate2::Compression::fast(), false);
    let mut frames = Vec::new();
    for length in [300_000, 20, 20] {
        let text: Vec<u8> = (0..length)
            .map(|n: u32| b'a' + (n / 7 % 23) as u8)
            .collect();
        let mut packed = Vec::with_capacity(400_000);
        let flush = flate2::FlushCompress::Sync;
        state.compress_vec(&text, &mut packed, flush).unwrap();
        packed.truncate(packed.len() - 4);
        frames.extend_from_slice(&[0xc1, 126]);
        frames.extend_from_slice(&u16::try_from(packed.len()).unwrap().to_be_bytes());
        frames.extend_from_slice(&packed);
    }
    let (code, report) = diagnosed(&url(&compressing(frames.leak())), &[]);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn messages_instead_of_a_pong_or_an_echo_are_counted() {
    let server = saying(b"\x81\x02hi\x81\x02ho");
    let report = verdict_of(&url(&server), &["--timeout", "300ms"], "ping_unanswered");
    assert_eq!(report["verdict"]["detail"], "2 frames came, but no Pong");
    let server = after_101(|socket| {
        socket.read_exact(&mut [0; 12]).unwrap();
        let _ = socket.write_all(b"\x8a\x06wsgate\x81\x05other");
        let _ = std::io::copy(socket, &mut std::io::sink());
    });
    let arguments = ["--timeout", "300ms", "--echo", "hello"];
    let report = verdict_of(&url(&server), &arguments, "echo_missing");
    assert_eq!(report["verdict"]["detail"], "1 other message came instead");
    assert_eq!(report["verdict"]["reason"], Value::Null);
}

#[test]
fn a_pong_that_nobody_asked_for_answers_no_ping() {
    let server = saying(b"\x8a\x02hb\x8a\x00");
    let arguments = ["--timeout", "300ms"];
    verdict(
        &url(&server),
        &arguments,
        "ping_unanswered",
        "upstream_timeout",
    );
}

#[test]
fn a_close_in_a_silent_tunnel_keeps_its_own_finding() {
    let server = after_101(|socket| {
        let mut ping = [0; 12];
        socket.read_exact(&mut ping).unwrap();
        let _ = socket.write_all(b"\x8a\x06wsgate\x88\x07\x03\xf0login");
        let _ = std::io::copy(socket, &mut std::io::sink());
    });
    let arguments = ["--idle", "20s"];
    let report = verdict(
        &url(&server),
        &arguments,
        "closed_by_policy",
        "upstream_close_policy",
    );
    assert_eq!(report["verdict"]["detail"], "Close 1008 login");
}

#[test]
fn a_timer_that_cuts_idle_tunnels_off_is_measured() {
    let server = after_101(|socket| {
        let mut ping = [0; 12];
        socket.read_exact(&mut ping).unwrap();
        let _ = socket.write_all(b"\x8a\x06wsgate");
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(1)))
            .unwrap();
        let _ = socket.read(&mut [0]);
    });
    let report = verdict(
        &url(&server),
        &["--idle", "20s"],
        "idle_cut",
        "upstream_eof_no_close",
    );
    let detail = report["verdict"]["detail"].as_str().unwrap();
    let seconds = crate::harness::between(detail, "after ", " s of silence: ");
    assert!((0.9..5.0).contains(&seconds.parse().unwrap()), "{detail}");
    let server = admitting(|_| true);
    let (code, report) = diagnosed(&url(&server), &["--idle", "200ms"]);
    assert_eq!(code, 0, "{report:#}");
    // The server sends a Ping, so the silence begins with its answer.
    let server = after_101(|socket| {
        socket.read_exact(&mut [0; 12]).unwrap();
        let _ = socket.write_all(b"\x8a\x06wsgate\x89\x00");
        // The Pong.
        socket.read_exact(&mut [0; 6]).unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(1)))
            .unwrap();
        let _ = socket.read(&mut [0]);
    });
    let report = verdict_of(&url(&server), &["--idle", "20s"], "idle_cut");
    let detail = report["verdict"]["detail"].as_str().unwrap();
    let end = " s of silence (the server had sent 1 frame before): ";
    let seconds = crate::harness::between(detail, "after ", end);
    assert!((0.9..5.0).contains(&seconds.parse().unwrap()), "{detail}");
}

#[test]
fn a_server_that_breaks_the_silence_itself_is_told() {
    let server = after_101(|socket| {
        socket.read_exact(&mut [0; 12]).unwrap();
        let _ = socket.write_all(b"\x8a\x06wsgate\x81\x02hi");
        let _ = socket.read_exact(&mut [0; 8]);
        let _ = socket.write_all(b"\x88\x02\x03\xe8");
    });
    let (code, report) = diagnosed(&url(&server), &["--idle", "200ms"]);
    assert_eq!(code, 0, "{report:#}");
    let steps = report["steps"].to_string();
    assert!(steps.contains("the server itself sent 1 frame"), "{steps}");
}
