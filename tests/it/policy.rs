//! The policy stage: its test vectors as bytes over a real TLS socket.

/// The order of the checks.
mod order;
/// The Origin and Referer vectors.
mod origins;
/// The path vectors.
mod paths;
/// Hosts, the order of routes, and the notes of the policy.
mod routes;
/// What records contain of a request, and what they never contain.
mod told;
/// The vectors of the policy's own tests.
#[path = "../../src/policy/tests/vectors.rs"]
mod vectors;

use wsgate::reason::Reason;

use crate::harness::{Line, Setup, handshake};
use crate::http::guard::Guard;

/// The usual handshake with `changes`, refused on a TLS listener.
fn refused(changes: &[(&str, &str)], reason: Reason) -> Line {
    Guard::tls().refuse(handshake("/ws", changes), reason).line
}

/// The certificate's name is ours, but the Host is not.
pub fn host_not_allowed() -> Line {
    let line = refused(&[("Host", "evil.example")], Reason::HostNotAllowed);
    assert_eq!(line.text("host"), "evil.example");
    line.with_detail("the Host is not one of this proxy's names")
}

fn refused_path(path: &str, reason: Reason) -> Line {
    let line = Guard::tls().refuse(handshake(path, &[]), reason).line;
    assert_eq!(line.text("path"), path);
    line
}

pub fn path_not_allowed() -> Line {
    let line = refused_path("/ws/chat", Reason::PathNotAllowed);
    assert!(
        line.text("hint").contains("nearest route is /ws"),
        "{line:?}"
    );
    line
}

pub fn path_near_miss() -> Line {
    let line = refused_path("/wss", Reason::PathNearMiss);
    assert!(
        line.text("hint").contains("correct the spelling"),
        "{line:?}"
    );
    let line = refused_path("/WS/", Reason::PathNearMiss);
    assert!(
        line.text("hint").contains("drop the trailing slash"),
        "{line:?}"
    );
    line.with_detail("the route is /ws")
}

pub fn path_ambiguous() -> Line {
    refused_path("/x/../ws", Reason::PathAmbiguous).with_detail("a dot segment")
}

pub fn origin_missing() -> Line {
    let line = refused(&[("Origin", "")], Reason::OriginMissing);
    assert_eq!(line.text("origin"), "");
    line
}

pub fn origin_null() -> Line {
    refused(&[("Origin", "null")], Reason::OriginNull)
}

pub fn origin_malformed() -> Line {
    let line = refused(
        &[("Origin", "https://app.example.com/")],
        Reason::OriginMalformed,
    );
    line.with_detail("more than scheme, host and port")
}

pub fn origin_multiple() -> Line {
    let twice = [
        ("Origin", "https://app.example.com"),
        ("ORIGIN", "https://evil.example"),
    ];
    let line = refused(&twice, Reason::OriginMultiple);
    assert_eq!(
        line.text("origin"),
        "https://app.example.com | https://evil.example"
    );
    line.with_detail("2 Origin fields")
}

pub fn origin_not_allowed() -> Line {
    let line = refused(
        &[("Origin", "http://app.example.com")],
        Reason::OriginNotAllowed,
    );
    assert_eq!(line.text("origin"), "http://app.example.com");
    assert!(line.text("hint").contains("only in its scheme"), "{line:?}");
    line
}

pub fn referer_appid_mismatch() -> Line {
    let mut guard = Guard::start(|endpoint| Setup {
        origins: "[wechat]".to_owned(),
        websocket: "wechat_app_ids: [wx0123456789abcdef]".to_owned(),
        ..Setup::tls(endpoint)
    });
    let copycat = handshake(
        "/ws",
        &[
            ("Origin", "https://servicewechat.com"),
            (
                "Referer",
                "https://servicewechat.com/wxeeeeeeeeeeeeeeee/1/page-frame.html",
            ),
        ],
    );
    guard
        .refuse(copycat, Reason::RefererAppidMismatch)
        .line
        .with_detail("app id wxeeeeeeeeeeeeeeee is not one of wx0123456789abcdef")
}

pub fn subprotocol_not_allowed() -> Line {
    let mut guard = Guard::start(|endpoint| Setup {
        websocket: "subprotocols: [voice.v1, voice.v2]".to_owned(),
        ..Setup::tls(endpoint)
    });
    let other = handshake("/ws", &[("Sec-WebSocket-Protocol", "chat, superchat")]);
    guard
        .refuse(other, Reason::SubprotocolNotAllowed)
        .line
        .with_detail("offered chat, superchat, allowed voice.v1, voice.v2")
}
