//! Probes beside the way: the other scheme, no SNI, HTTP/2.

use std::net::SocketAddr;
use std::time::Instant;

use super::Options;
use super::dial::{Stream, dial};
use super::exchange::Request;
use super::finding::Finding;
use super::report::Outcome;
use super::target::Target;
use super::walk::{At, Attempt, Walk};
use crate::tls::probe::{self, Asking, Session};

impl Walk<'_> {
    /// Whether the port speaks plain HTTP instead of TLS, or the reverse. Some servers wait for more instead of saying so.
    pub(super) fn other_scheme(&mut self, main: &Attempt, address: SocketAddr) -> Option<Finding> {
        let Options {
            target,
            request,
            timeout,
            ..
        } = self.options;
        let (is_possible, finding) = match target.is_tls {
            true => (
                matches!(
                    main.finding,
                    Finding::TlsTimeout | Finding::TlsClosed | Finding::Reset
                ),
                Finding::PlainOnTlsPort,
            ),
            false => (
                matches!(
                    main.finding,
                    Finding::NoAnswer | Finding::ClosedBeforeAnswer
                ),
                Finding::TlsOnPlainPort,
            ),
        };
        if !is_possible {
            return None;
        }
        let at = At {
            stage: main.stage,
            probe: "other_scheme",
            address: Some(address),
            begun: Instant::now(),
        };
        self.connections += 1;
        let socket = dial(address, *timeout).ok()?;
        let speaks = match target.is_tls {
            true => {
                // Without the fields, which may be secrets, because this is not encrypted.
                let bare = Request {
                    fields: Vec::new(),
                    ..request.clone()
                };
                let bare_target = Target {
                    path: "/".to_owned(),
                    ..target.clone()
                };
                bare.ask(&mut Stream::Plain(socket), &bare_target).is_ok()
            }
            false => {
                let asking = Asking {
                    host: &target.host,
                    sni: true,
                    alpn: &["http/1.1"],
                };
                probe::connect(socket, &asking, &self.options.trusted).is_ok()
            }
        };
        let detail = match (speaks, target.is_tls) {
            (true, true) => "plain HTTP is answered on this port",
            (true, false) => "TLS is answered on this port",
            (false, true) => "plain HTTP is not answered either",
            (false, false) => "TLS is not answered either",
        };
        self.say(&at, Outcome::Note, None, detail);
        speaks.then_some(finding)
    }

    /// What a client gets that does not send SNI.
    pub(super) fn without_sni(&mut self, address: SocketAddr) {
        if self.options.target.address().is_some() {
            return;
        }
        let alpn = ["http/1.1"];
        self.extra(
            "without_sni",
            address,
            false,
            &alpn,
            |session, fault| match (session, fault) {
                (Some(session), _) if session.faults.is_empty() => {
                    "a client without SNI gets a valid certificate".to_owned()
                }
                (Some(session), _) => {
                    let leaf = session.chain.first().map(|leaf| leaf.subject.clone());
                    format!(
                        "a client without SNI gets another certificate: {}",
                        leaf.unwrap_or_default()
                    )
                }
                (None, detail) => format!("a client without SNI is refused: {detail}"),
            },
        );
    }

    /// What a client gets that prefers HTTP/2.
    pub(super) fn http2(&mut self, address: SocketAddr) {
        let alpn = ["h2", "http/1.1"];
        self.extra("http2", address, true, &alpn, |session, fault| {
            match session.map(|session| session.alpn.as_deref()) {
                Some(Some("h2")) => {
                    "browsers get HTTP/2 for pages, and open a new HTTP/1.1 connection for a WebSocket unless the server \
                     offers RFC 8441"
                        .to_owned()
                }
                Some(chosen) => format!("the server prefers {}", chosen.unwrap_or("no protocol")),
                None => format!("refused: {fault}"),
            }
        });
    }

    pub(super) fn extra(
        &mut self,
        probe: &'static str,
        address: SocketAddr,
        sni: bool,
        alpn: &[&str],
        words: impl Fn(Option<&Session>, &str) -> String,
    ) {
        let at = At {
            stage: "tls",
            probe,
            address: Some(address),
            begun: Instant::now(),
        };
        let asking = Asking {
            host: self
                .options
                .sni
                .as_deref()
                .unwrap_or(&self.options.target.host),
            sni,
            alpn,
        };
        self.connections += 1;
        let Ok(socket) = dial(address, self.options.timeout) else {
            return;
        };
        let detail = match probe::connect(socket, &asking, &self.options.trusted) {
            Ok((_, session)) => words(Some(&session), ""),
            Err(failure) => words(None, &failure.detail.unwrap_or_default()),
        };
        self.say(&at, Outcome::Note, None, &detail);
    }
}
