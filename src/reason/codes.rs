//! What clients and upstreams show: HTTP statuses, WebSocket close codes and errors, and the reasons behind them.

use super::{Reason, Stage, Status};

/// Whether a close code may be on the wire (RFC 6455 section 7.4): it is registered for that, or belongs to a library or an
/// application.
#[must_use]
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Close codes that report an error rather than a normal end.
#[must_use]
pub fn is_complaint(code: u16) -> bool {
    matches!(code, 1002 | 1003 | 1007 | 1009..=1011 | 1014)
}

impl Reason {
    /// Ends that one of the peers asked for.
    pub const ORDINARY: [Self; 3] = [
        Self::ClientClose,
        Self::ClientGoingAway,
        Self::UpstreamClose,
    ];

    /// Whether it is an end that one of the peers asked for.
    #[must_use]
    pub fn is_ordinary(self) -> bool {
        Self::ORDINARY.contains(&self)
    }

    /// The close code that a browser reports at the end of a tunnel.
    const fn close_seen(self) -> &'static str {
        match self {
            Self::ClientClose | Self::ClientGoingAway => {
                "the code in the answer to its own Close frame; 1006 if no answer came"
            }
            Self::UpstreamClose
            | Self::UpstreamClosePolicy
            | Self::UpstreamCloseTooBig
            | Self::UpstreamCloseError
            | Self::UpstreamCloseRestart => "the upstream's code; 1005 if the frame has no code",
            Self::UpstreamCloseImmediate => "1005, right after the open event",
            Self::UpstreamEofNoClose | Self::UpstreamReset | Self::UpstreamTimeout => {
                "1014; 1006 with `on_abort: transparent`, or if the upstream ended inside a frame"
            }
            Self::IdleTimeout | Self::MaxLifetime | Self::ClosedByOperator | Self::PongTimeout => {
                "1001; 1006 if the client is out of reach"
            }
            Self::MessageTooBig => "1009; 1006 if the beginning of the message had been passed on",
            Self::ClientProtocolError | Self::UpstreamProtocolError => {
                "1002; 1006 if the beginning of the frame had been passed on"
            }
            Self::ReservedCloseCodeOnWire => {
                "1006 for the codes 1005, 1006 and 1015; otherwise the code itself"
            }
            Self::DrainGraceful => "the code of `shutdown.close_code`, 1012 unless changed",
            _ => "1006, unless a Close frame arrived before the end",
        }
    }

    /// What the client sees, for people who know only the client's side.
    #[must_use]
    pub fn client_sees(self) -> String {
        const HANDSHAKE: &str = "a browser reports close code 1006, a WeChat mini program `_code:20 Invalid HTTP status`";
        let spec = self.spec();
        match (spec.stage, spec.status) {
            (_, Status::Fixed(status)) if self.is_plain() => format!("HTTP status {status}"),
            (_, Status::Stage) if self.is_plain() => {
                "the status that the upstream sent, and an incomplete answer".to_owned()
            }
            (_, Status::Fixed(status)) => format!("HTTP status {status}; {HANDSHAKE}"),
            (_, Status::Stage) => format!("an HTTP status of 200 to 599 other than 101; {HANDSHAKE}"),
            (Stage::Tls, Status::None) => {
                "a failed TLS handshake: close code 1006, in a WeChat mini program `_code:8` or `_code:5`".to_owned()
            }
            (Stage::Tunnel, Status::None) => self.close_seen().to_owned(),
            (_, Status::None) => {
                "a connection that ends without an HTTP answer: close code 1006, in a WeChat mini program `_code:2` or `_code:9`"
                    .to_owned()
            }
        }
    }

    /// The reason for an upstream's answer to an opening handshake with this status. `None` for 101 and for a status that
    /// RFC 9110 does not define.
    #[must_use]
    pub fn of_answer(status: u16) -> Option<Self> {
        Some(match status {
            200..=299 => Self::Upstream2xxInsteadOf101,
            300..=399 => Self::UpstreamRedirect,
            400 => Self::UpstreamBadRequest,
            401 => Self::UpstreamUnauthorized,
            403 => Self::UpstreamForbidden,
            404 => Self::UpstreamNotFound,
            426 => Self::UpstreamUpgradeRequired,
            429 => Self::UpstreamRateLimited,
            402..=499 => Self::Upstream4xx,
            500..=599 => Self::Upstream5xx,
            _ => return None,
        })
    }

    /// The reason for an upstream's Close frame with a code that may be sent.
    #[must_use]
    pub fn of_upstream_close(code: u16) -> Self {
        match code {
            1008 | 3000 | 3003 | 4000.. => Self::UpstreamClosePolicy,
            1009 => Self::UpstreamCloseTooBig,
            1012 | 1013 => Self::UpstreamCloseRestart,
            code if is_complaint(code) => Self::UpstreamCloseError,
            _ => Self::UpstreamClose,
        }
    }

    /// Whether a client may get this HTTP status because of this reason.
    #[must_use]
    pub fn answers(self, status: u16) -> bool {
        match self.spec().status {
            Status::None => false,
            Status::Fixed(fixed) => fixed == status,
            Status::Stage if self == Self::HttpTooLarge => matches!(status, 414 | 431),
            // An answer that broke off may have had any status.
            Status::Stage if self.is_plain() => false,
            Status::Stage => Self::of_answer(status) == Some(self),
        }
    }

    /// Whether the end of a tunnel for this reason can show this close code to a client. Refused handshakes all show 1006.
    #[must_use]
    pub fn closes_with(self, code: u16) -> bool {
        if self.spec().stage != Stage::Tunnel {
            return false;
        }
        match self {
            Self::ClientClose => may_be_sent(code) || matches!(code, 1005 | 1006),
            Self::ClientGoingAway => matches!(code, 1001 | 1006),
            Self::UpstreamClose => {
                code == 1005 || may_be_sent(code) && Self::of_upstream_close(code) == self
            }
            Self::UpstreamClosePolicy
            | Self::UpstreamCloseTooBig
            | Self::UpstreamCloseError
            | Self::UpstreamCloseRestart => {
                may_be_sent(code) && Self::of_upstream_close(code) == self
            }
            Self::UpstreamCloseImmediate => code == 1005,
            Self::UpstreamEofNoClose | Self::UpstreamReset | Self::UpstreamTimeout => {
                matches!(code, 1006 | 1014)
            }
            Self::IdleTimeout | Self::MaxLifetime | Self::ClosedByOperator | Self::PongTimeout => {
                matches!(code, 1001 | 1006)
            }
            Self::MessageTooBig => matches!(code, 1006 | 1009),
            Self::ClientProtocolError | Self::UpstreamProtocolError => {
                matches!(code, 1002 | 1006)
            }
            Self::ReservedCloseCodeOnWire => code == 1006 || code != 1005 && !may_be_sent(code),
            Self::DrainGraceful => code == 1012,
            _ => code == 1006,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of four digits in a text.
    fn numbers(text: &str) -> impl Iterator<Item = u16> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter(|digits| digits.len() == 4)
            .map(|digits| digits.parse().unwrap())
    }

    #[test]
    fn every_close_code_that_a_reason_names_is_one_that_it_shows() {
        for reason in Reason::ALL {
            if reason.spec().stage != Stage::Tunnel || *reason == Reason::ReservedCloseCodeOnWire {
                continue;
            }
            // "1005 if the frame has no code" is said of all Close frames, but such an end has one of two reasons.
            for code in numbers(&reason.client_sees()).filter(|code| *code != 1005) {
                assert!(reason.closes_with(code), "{reason} {code}");
            }
        }
    }

    #[test]
    fn a_close_without_a_code_has_three_reasons() {
        let shown: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| reason.closes_with(1005))
            .collect();
        assert_eq!(
            shown,
            [
                &Reason::ClientClose,
                &Reason::UpstreamClose,
                &Reason::UpstreamCloseImmediate
            ]
        );
    }

    #[test]
    fn every_status_that_a_reason_names_is_one_that_it_answers() {
        for reason in Reason::ALL {
            if let Status::Fixed(status) = reason.spec().status {
                assert!(reason.answers(status), "{reason}");
            }
        }
        assert!(Reason::UpstreamForbidden.answers(403));
        assert!(!Reason::UpstreamForbidden.answers(404));
        assert!(Reason::Upstream4xx.answers(418));
        assert!(Reason::HttpTooLarge.answers(414));
    }
}
