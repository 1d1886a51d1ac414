//! What to do where the client, or the hop in front, is on this machine, so that no network lies between.

use std::net::IpAddr;

use crate::reason::{Failure, Reason};

/// `failure` of a connection from `peer`, with a hint that blames no network where there is none.
pub(super) fn told(failure: Failure, peer: IpAddr) -> Failure {
    if failure.hint.is_some() || !peer.to_canonical().is_loopback() {
        return failure;
    }
    match hint(failure.reason) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

const fn hint(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::TlsHandshakeTimeout => {
            "the client or the hop in front is on this machine and stopped: read its log, and check whether it is blocked; the deadline is `limits.tls_handshake`"
        }
        Reason::HttpHeaderTimeout => {
            "the client or the hop in front is on this machine and did not send the rest of its request: read its log; the deadline is `limits.request_head`"
        }
        Reason::HttpBodyTimeout => {
            "the client or the hop in front is on this machine and did not send the rest of its body: read its log; the deadline is `routes[].http.request_timeout`"
        }
        Reason::TcpResetBeforeRequest | Reason::ClientReset => {
            "the client or the hop in front is on this machine and reset the connection: read its log, and check whether it was killed"
        }
        Reason::ClientTimeout => {
            "the client or the hop in front is on this machine and accepts no data: read its log, and check whether it is blocked; the deadline is `limits.write_stall`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_this_machine_no_network_is_blamed() {
        let hint = |peer: &str| {
            let failure = Failure::from(Reason::TlsHandshakeTimeout);
            told(failure, peer.parse().unwrap()).hint
        };
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(hint(peer).unwrap().contains("on this machine"), "{peer}");
        }
        assert_eq!(hint("192.0.2.1"), None);
        // What a stage knows is better.
        let own = Failure::from(Reason::HttpHeaderTimeout).with_hint("own");
        let kept = told(own, IpAddr::from([127, 0, 0, 1])).hint;
        assert_eq!(kept.as_deref(), Some("own"));
        assert_eq!(super::hint(Reason::OriginNull), None);
    }
}
