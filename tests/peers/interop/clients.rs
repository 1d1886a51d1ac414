use std::net::SocketAddr;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use wsgate::reason::Reason;

use super::{
    Gate, MIB, PATIENT, Way, expect_closed, expect_cut, expect_forwarded, expect_identified,
    expect_refusal, expect_told, frame,
};
use crate::harness::{Line, frames};
use crate::tools::programs::{Family, Kind, Server, field};

/// The first user's path.
pub const STREAM: &str = "/api/realtime-voice/stream";

/// A server of the matrix, and how it answers the offers of [`messages`].
struct Backend {
    path: &'static str,
    /// `None`: the proxy's own echo.
    server: Option<Server>,
    /// The subprotocol that it chooses from `voice.v2, voice.v1`.
    subprotocol: &'static str,
    /// Whether it accepts compression.
    deflate: bool,
    /// Whether it closes when a message asks for it.
    obeys: bool,
}

fn backends() -> Vec<Backend> {
    let own = json!({ "subprotocols": ["voice.v1"] });
    vec![
        Backend {
            path: "/node",
            server: Some(Server::start(Kind::Node, json!({}))),
            subprotocol: "voice.v2",
            deflate: true,
            obeys: true,
        },
        Backend {
            path: "/python",
            server: Some(Server::start(Kind::Python, own)),
            subprotocol: "voice.v1",
            deflate: true,
            obeys: true,
        },
        Backend {
            path: STREAM,
            server: Some(Server::program("express_ws.js", &["ok"])),
            subprotocol: "voice.v2",
            deflate: false,
            obeys: false,
        },
        Backend {
            path: "/echo",
            server: None,
            subprotocol: "voice.v2",
            deflate: false,
            obeys: false,
        },
    ]
}

/// One kind of client with every kind of server: messages, negotiation, closes.
pub fn messages(kind: Kind) {
    let mut family = Family::new(format!("{}: messages and closes", kind.version()));
    let backends = backends();
    let ways: Vec<_> = backends
        .iter()
        .map(|backend| {
            let endpoint = backend
                .server
                .as_ref()
                .map_or_else(|| "builtin:echo".to_owned(), Server::endpoint);
            Way::new(backend.path, endpoint)
        })
        .collect();
    let gate = Gate::open(&ways);
    let mut connections = 0;
    for (number, backend) in backends.iter().enumerate() {
        let names: Vec<_> = ["offers", "plain", "server4001", "server1000"]
            .iter()
            .map(|name| format!("{name}-{number}"))
            .collect();
        family.add(offers(kind, &gate, backend, &names[0]));
        family.add(plain(kind, &gate, backend, &names[1]));
        connections += 2;
        if backend.obeys {
            family.add(server_closes(
                kind,
                &gate,
                backend,
                &names[2],
                (4001, "再见"),
            ));
            family.add(server_closes(kind, &gate, backend, &names[3], (1000, "")));
            connections += 2;
        }
    }
    gate.close(connections);
    family.finish();
}

/// Subprotocols and compression are offered; both ends must agree on the result.
fn offers(kind: Kind, gate: &Gate, backend: &Backend, case: &str) -> usize {
    let mut cases = vec![
        "text",
        "binary",
        "big_text",
        "big_binary",
        "fragmented",
        "ping",
    ];
    if kind == Kind::Node && backend.obeys {
        cases.push("server_ping");
    }
    cases.push("close");
    let report = gate.visit(
        kind,
        backend.path,
        case,
        json!({
            "cases": cases,
            "protocols": ["voice.v2", "voice.v1"],
            "headers": { "X-CaSe-Kept": "As It Came" },
        }),
    );
    let passed = report.passed();
    assert_eq!(passed, cases.len());
    let (open, record) = (report.open(), gate.ended(case));
    let record = expect_closed(record, Reason::ClientClose, 1000);
    assert_eq!(report.close(), (1000, "done"));
    assert_eq!(open.text("protocol"), backend.subprotocol);
    assert_eq!(
        open.text("extensions").contains("permessage-deflate"),
        backend.deflate,
        "{open:?}"
    );
    assert_eq!(field(open, "x-request-id"), record.text("request_id"));
    if let Some(server) = &backend.server {
        let seen = server.handshake(case);
        expect_forwarded(&seen, &record, &gate.host());
        assert_eq!(
            field(&seen, "sec-websocket-protocol").replace(' ', ""),
            "voice.v2,voice.v1"
        );
        assert!(field(&seen, "sec-websocket-extensions").contains("permessage-deflate"));
        if backend.obeys {
            assert_eq!(seen.text("protocol"), backend.subprotocol);
            assert!(seen.text("extensions").contains("permessage-deflate"));
            assert_eq!(server.event(&seen, "ping").text("data"), "from the client");
        }
        expect_server_saw(server, &seen, 1000, "done");
        if cases.contains(&"server_ping") {
            assert_eq!(server.event(&seen, "pong").text("data"), "from the server");
        }
    }
    // The text shrinks and the random bytes do not, so the count shows that compression reached both ends unchanged.
    let whole = 2 * MIB;
    for bytes in [
        record.number("bytes_client_to_upstream").unwrap(),
        record.number("bytes_upstream_to_client").unwrap(),
    ] {
        assert_eq!(bytes < whole, backend.deflate, "{record:?}");
        assert!(bytes > MIB, "{record:?}");
    }
    passed
}

/// Nothing is offered, so every byte that passes can be counted.
fn plain(kind: Kind, gate: &Gate, backend: &Backend, case: &str) -> usize {
    let goodbye = "tschüß, 世界";
    let close = format!("close:4001:{goodbye}");
    let cases = [
        "text",
        "binary",
        "big_text",
        "big_binary",
        "fragmented",
        "ping",
        &close,
    ];
    let report = gate.visit(
        kind,
        backend.path,
        case,
        json!({ "cases": cases, "deflate": false }),
    );
    let (open, record) = (report.open(), gate.ended(case));
    let record = expect_closed(record, Reason::ClientClose, 4001);
    assert_eq!(report.close(), (4001, goodbye));
    assert_eq!(open.text("protocol"), "");
    assert_eq!(open.text("extensions"), "");
    if let Some(server) = &backend.server {
        let seen = server.handshake(case);
        assert_eq!(seen.text("extensions"), "");
        expect_server_saw(server, &seen, 4001, goodbye);
    }
    let fragments: &[u64] = match kind {
        Kind::Node => &[4, 4, 5],
        // It sends the end of a message separately.
        Kind::Python => &[4, 4, 5, 0],
    };
    let (ping, goodbye) = (15, 2 + goodbye.len() as u64);
    let common = [13, 6, MIB, MIB, ping, goodbye];
    let up: u64 = common
        .iter()
        .chain(fragments)
        .map(|n| frame(*n, true))
        .sum();
    let down: u64 = common.iter().chain(&[13]).map(|n| frame(*n, false)).sum();
    assert_eq!(record.number("bytes_client_to_upstream"), Some(up));
    assert_eq!(record.number("bytes_upstream_to_client"), Some(down));
    report.passed()
}

/// The server closes; the client gets its code and reason.
fn server_closes(
    kind: Kind,
    gate: &Gate,
    backend: &Backend,
    case: &str,
    (code, reason): (u64, &str),
) -> usize {
    let close = format!("server_close:{code}:{reason}");
    let report = gate.visit(kind, backend.path, case, json!({ "cases": [close] }));
    let whose = match code {
        4000.. => Reason::UpstreamClosePolicy,
        _ => Reason::UpstreamClose,
    };
    expect_closed(gate.ended(case), whose, code);
    assert_eq!(report.close(), (code, reason));
    let server = backend.server.as_ref().unwrap();
    expect_server_saw(server, &server.handshake(case), code, reason);
    report.passed()
}

/// Checks a server's `close` event; express-ws leaves out the reason.
#[track_caller]
fn expect_server_saw(server: &Server, connection: &Line, code: u64, reason: &str) {
    let close = server.event(connection, "close");
    assert_eq!(close.number("code"), Some(code), "{close:?}");
    assert_eq!(close.text("reason"), reason, "{close:?}");
}

/// An address on which nothing listens as long as the socket lives.
pub fn down() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, format!("http://{address}"))
}

/// Every way in which a handshake can fail, as a client's library reports it.
pub fn refusals(kind: Kind) {
    let mut family = Family::new(format!("{}: refusals", kind.version()));
    let (_held, down) = down();
    let body = "{\"error\":\"no token\"}\n";
    let refuse = json!({ "refuse": {
        "status": 401, "body": body, "headers": { "WWW-Authenticate": "Bearer realm=\"voice\"" },
    } });
    let node = Server::start(Kind::Node, refuse.clone());
    let python = Server::start(Kind::Python, refuse);
    let ways = [
        Way::new("/echo", "builtin:echo"),
        Way::new("/down", down),
        Way::new("/node", node.endpoint()),
        Way::new("/python", python.endpoint()),
    ];
    let more = format!("{PATIENT}shutdown: {{ spread: 0s }}\n");
    let gate = Gate::open_with(&ways, &more);

    // A client that does not know the authority.
    let report = gate.visit(kind, "/echo", "untrusted", json!({ "ca": null }));
    let code = match kind {
        Kind::Node => "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        Kind::Python => "CERTIFICATE_VERIFY_FAILED",
    };
    assert_eq!(report.error(), code);
    // There is no alert: Node checks the certificate after OpenSSL, and Python's asyncio closes before it has sent
    // OpenSSL's.
    let record = gate.tls_failure().expect(Reason::TlsClientClosed);
    let record = record.with_detail("after the answer to the ClientHello");
    assert_eq!(record.text("sni"), "localhost");

    let foreign = "https://evil.example.com";
    let report = gate.visit(kind, "/node", "origin", json!({ "origin": foreign }));
    let record = expect_refusal(&report, gate.ended("origin"), Reason::OriginNotAllowed);
    assert_eq!(report.refusal().number("status"), Some(403));
    assert_eq!(record.text("origin"), foreign);
    let agent = record.text("user_agent");
    // Node's `ws` sends no User-Agent.
    assert_eq!(
        agent.contains("websockets/"),
        kind == Kind::Python,
        "{agent}"
    );
    assert_eq!(
        node.lines().len(),
        1,
        "nothing but its port: {:?}",
        node.lines()
    );

    let report = gate.visit(kind, "/nowhere", "path", json!({}));
    expect_refusal(&report, gate.ended("path"), Reason::PathNotAllowed);
    assert_eq!(report.refusal().number("status"), Some(404));

    let report = gate.visit(kind, "/down", "down", json!({}));
    let record = expect_refusal(&report, gate.ended("down"), Reason::UpstreamRefused);
    assert_eq!(report.refusal().number("status"), Some(502));
    assert_eq!(record.0["attempts"][0]["outcome"], "upstream_refused");

    for (path, server) in [("/node", &node), ("/python", &python)] {
        let case = format!("unauthorized-{}", &path[1..]);
        let report = gate.visit(kind, path, &case, json!({}));
        let (refusal, reason) = (report.refusal(), Reason::UpstreamUnauthorized);
        let record = gate.ended(&case).expect(reason);
        assert_eq!(record.number("status"), Some(401));
        assert_eq!(server.handshake(&case).number("status"), Some(401));
        assert_eq!(refusal.number("status"), Some(401));
        assert_eq!(refusal.text("body"), body);
        assert_eq!(
            field(&refusal, "www-authenticate"),
            "Bearer realm=\"voice\""
        );
        assert!(field(&refusal, "proxy-status").contains("; received-status=401;"));
        expect_identified(&refusal, &record, reason);
    }

    // Draining: new clients are refused. A client that does not answer its Close delays the process until then.
    let mut inside = gate.raw("/echo", "inside");
    gate.proxy.signal("TERM");
    gate.proxy.event("draining");
    let report = gate.visit(kind, "/echo", "late", json!({}));
    expect_refusal(&report, gate.ended("late"), Reason::Draining);
    assert_eq!(report.refusal().number("status"), Some(503));
    assert_eq!(field(&report.refusal(), "retry-after"), "5");
    let told = frames::read(&mut inside).unwrap();
    let words = Reason::DrainGraceful.code();
    assert_eq!(told, (frames::CLOSE, frames::closing(1012, words)));
    drop(inside);
    gate.ended("inside").expect(Reason::DrainGraceful);

    family.add(8);
    family.finish();
}

/// Who cut a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The server, because a client's case asked for it.
    Server(&'static str),
    /// The server, by SIGKILL.
    ServerKilled,
    /// The client, in one of its cases.
    Client(&'static str),
    /// The client, when its process ends after the last case.
    ClientExits,
    /// The client, by SIGKILL.
    ClientKilled,
}

/// Tunnels that end without a Close frame: the record says who caused it, and the proxy sends the client a Close if the
/// server is gone, unless it must pass the bare end on.
pub fn cuts(kind: Kind) {
    let mut family = Family::new(format!("{}: cuts", kind.version()));
    let mut expected = vec![
        (Cut::Server("terminate"), Reason::UpstreamEofNoClose),
        (Cut::Server("reset"), Reason::UpstreamReset),
        (Cut::ClientExits, Reason::TlsTruncated),
        (Cut::ClientKilled, Reason::TlsTruncated),
        (Cut::Client("cut"), Reason::TlsTruncated),
    ];
    if kind == Kind::Python {
        expected.push((Cut::Client("cut_reset"), Reason::ClientReset));
    }
    // Last, because it ends the server.
    expected.push((Cut::ServerKilled, Reason::UpstreamEofNoClose));
    let mut servers = [
        ("/node", Kind::Node, false),
        ("/python", Kind::Python, false),
        ("/bare-node", Kind::Node, true),
        ("/bare-python", Kind::Python, true),
    ]
    .map(|(path, kind, is_bare)| (path, is_bare, Some(Server::start(kind, json!({})))));
    let ways: Vec<_> = servers
        .iter()
        .map(|(path, is_bare, server)| {
            let way = Way::new(path, server.as_ref().unwrap().endpoint());
            if *is_bare { way.transparent() } else { way }
        })
        .collect();
    let gate = Gate::open(&ways);
    let mut cases = 0;
    for (path, is_bare, server) in &mut servers {
        for (number, (cut, reason)) in expected.iter().enumerate() {
            let of_server = matches!(cut, Cut::Server(_) | Cut::ServerKilled);
            if *is_bare && !of_server {
                continue;
            }
            let case = format!("cut{number}-{}", &path[1..]);
            let close = (of_server && !*is_bare).then_some(1014);
            cut_one(kind, &gate, path, server, &case, *cut, *reason, close);
            cases += 1;
        }
    }
    family.add(cases);
    gate.close(cases);
    family.finish();
}

/// `close` is the code that the proxy sends the client.
#[expect(clippy::too_many_arguments, reason = "a line of a table")]
fn cut_one(
    kind: Kind,
    gate: &Gate,
    path: &str,
    server: &mut Option<Server>,
    case: &str,
    cut: Cut,
    reason: Reason,
    close: Option<u64>,
) {
    let cases: Value = match cut {
        Cut::Server(how) | Cut::Client(how) => json!(["text", how]),
        Cut::ServerKilled | Cut::ClientKilled => json!(["text", "wait_close"]),
        Cut::ClientExits => json!(["text"]),
    };
    let client = gate.start(kind, path, case, json!({ "cases": cases }));
    client.did("text");
    let connection = server.as_ref().unwrap().handshake(case);
    let report = match cut {
        Cut::ClientKilled => {
            client.kill();
            None
        }
        Cut::ServerKilled => {
            server.take().unwrap().kill();
            Some(client.finish())
        }
        Cut::ClientExits => {
            client.finish();
            None
        }
        Cut::Server(_) | Cut::Client(_) => Some(client.finish()),
    };
    if let Some(server) = server {
        expect_server_saw(server, &connection, 1006, "");
    }
    let told = report.as_ref().map(|report| {
        assert_eq!(report.passed(), 2);
        report.close()
    });
    match close {
        Some(code) => {
            expect_told(told.unwrap(), gate.ended(case), reason, code);
        }
        None => {
            assert!(matches!(told, None | Some((1006, ""))), "{cut:?}: {told:?}");
            expect_cut(gate.ended(case), reason);
        }
    }
}
