//! Hints for a client, or a hop in front, on this machine: no network lies between.

use std::net::IpAddr;

use crate::reason::{Failure, Reason};

/// Whether `peer` is on this machine.
pub(super) fn is_local(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

/// The failure of a connection. If its peer `is_local`, it gets a hint that does not blame the network, unless its stage
/// gave a more precise one.
pub(super) fn told(failure: Failure, is_local: bool) -> Failure {
    if failure.hint.is_some() || !is_local {
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
            told(failure, is_local(peer.parse().unwrap())).hint
        };
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(hint(peer).unwrap().contains("on this machine"), "{peer}");
        }
        assert_eq!(hint("192.0.2.1"), None);
        let own = Failure::from(Reason::HttpHeaderTimeout).with_hint("own");
        let kept = told(own, true).hint;
        assert_eq!(kept.as_deref(), Some("own"));
        assert_eq!(super::hint(Reason::OriginNull), None);
    }
}
