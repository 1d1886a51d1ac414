//! Probes beside the way: the other scheme, other clients, no SNI, HTTP/2.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use super::Options;
use super::dial::{Stream, Timed, dial};
use super::exchange::Request;
use super::finding::Finding;
use super::hello::{self, Answer, Offer};
use super::report::Outcome;
use super::target::Target;
use super::walk::{At, Attempt, Walk};
use crate::tls::probe::{self, Asking, Session};

/// The hellos, their stable names, and which clients of today a server loses that refuses them. TLS 1.0 and 1.1 should be
/// refused, and clients that support TLS 1.3 or ECDSA support older ones too.
const OFFERS: &[(Offer, &str, Option<&str>)] = &[
    (Offer::Tls13, "only_tls13", None),
    (
        Offer::Tls12,
        "only_tls12",
        Some("clients that support only TLS 1.2 are refused"),
    ),
    (Offer::Tls11, "only_tls11", None),
    (Offer::Tls10, "only_tls10", None),
    (
        Offer::Rsa,
        "only_rsa",
        Some("old clients that support only RSA certificates are refused"),
    ),
    (Offer::Ecdsa, "only_ecdsa", None),
];

/// TLS 1.2 on the wire.
const TLS12: u16 = 0x0303;

/// How many connections they take.
pub(super) const HELLOS: usize = OFFERS.len();

/// What other clients get.
pub(super) struct Others {
    /// Which of those that are still in use are refused.
    pub(super) lost: Vec<&'static str>,
    /// The cipher suite that a client with TLS 1.2 gets, if no client should use it.
    pub(super) old_cipher: Option<String>,
}

/// A connection after its TLS handshake.
type Reached = probe::Secured<probe::Watched<Timed>>;

/// Whether an HTTP/2 server says in its first SETTINGS that it accepts extended CONNECT (RFC 8441 section 3).
fn offers_websocket(stream: &mut Reached) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS: u8 = 4;
    const ENABLE_CONNECT_PROTOCOL: [u8; 2] = [0, 8];
    stream.write_all(PREFACE).ok()?;
    stream.flush().ok()?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [_, high, low, SETTINGS, ..] = head else {
        return None;
    };
    let mut settings = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut settings).ok()?;
    let mut all = settings.chunks_exact(6);
    Some(
        all.any(|setting| setting.starts_with(&ENABLE_CONNECT_PROTOCOL) && setting.ends_with(&[1])),
    )
}

/// Sends a hello and reads the first answer.
fn answer_to(offer: Offer, host: &str, socket: &mut Timed) -> Option<Answer> {
    let mut random = [0; 96];
    getrandom::fill(&mut random).ok()?;
    socket
        .write_all(&hello::client_hello(offer, Some(host), &random))
        .ok()?;
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(answer) = hello::read_answer(&seen) {
            return Some(answer);
        }
        match socket.read(&mut piece) {
            Ok(read @ 1..) => seen.extend_from_slice(piece.get(..read)?),
            Ok(_) | Err(_) => return None,
        }
    }
}

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
                    Finding::TlsTimeout | Finding::TlsClosed | Finding::Reset | Finding::NotTls
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
                    subprotocols: Vec::new(),
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

    /// What other clients would get, by hellos of which only the answer is read.
    pub(super) fn other_clients(&mut self, address: SocketAddr) -> Others {
        let mut is_modern = false;
        let mut others = Others {
            lost: Vec::new(),
            old_cipher: None,
        };
        for (offer, probe, lost) in OFFERS {
            let at = At {
                stage: "tls",
                probe,
                address: Some(address),
                begun: Instant::now(),
            };
            self.connections += 1;
            let Ok(mut socket) = dial(address, self.options.timeout) else {
                continue;
            };
            let answer = answer_to(*offer, self.options.name(), &mut socket);
            let (is_served, detail) = match answer {
                Some(Answer::ServerHello {
                    version, cipher, ..
                }) => {
                    let cipher = hello::cipher_name(cipher);
                    if version == TLS12 && cipher.contains("_CBC_") {
                        others.old_cipher.get_or_insert_with(|| cipher.to_string());
                    }
                    is_modern |= version >= TLS12 && !cipher.contains("_CBC_");
                    // A server may choose less than it was offered.
                    let detail = format!("{}, {cipher}", hello::version_name(version));
                    (version >= TLS12, detail)
                }
                Some(Answer::Alert(alert)) => (
                    false,
                    format!("refused with alert {}", crate::tls::alert::name(alert)),
                ),
                Some(Answer::PlainHttp | Answer::NotTls) => {
                    (false, "the answer is not TLS".to_owned())
                }
                // A limit of connections looks like this too.
                None => (true, "no answer".to_owned()),
            };
            // Without TLS 1.2, nothing is known of the kinds of certificate.
            let is_known = *offer != Offer::Rsa || others.lost.is_empty();
            others.lost.extend(lost.filter(|_| is_known && !is_served));
            self.say(&at, Outcome::Note, None, &detail);
        }
        others.old_cipher = others.old_cipher.filter(|_| !is_modern);
        others
    }

    /// What a client gets that does not send SNI.
    pub(super) fn without_sni(&mut self, address: SocketAddr) {
        if self.options.target.address().is_some() {
            return;
        }
        self.extra(
            "without_sni",
            address,
            false,
            &["http/1.1"],
            |reached| match reached {
                Ok((_, session)) if session.faults.is_empty() => {
                    "a client without SNI gets a valid certificate".to_owned()
                }
                Ok((_, session)) => {
                    let leaf = session.chain.first().map(|leaf| leaf.subject.as_str());
                    format!(
                        "a client without SNI gets another certificate: {}",
                        leaf.unwrap_or_default()
                    )
                }
                Err(detail) => format!("a client without SNI is refused: {detail}"),
            },
        );
    }

    /// What a client gets that prefers HTTP/2, and whether it could open a WebSocket over it.
    pub(super) fn http2(&mut self, address: SocketAddr) {
        self.extra("http2", address, true, &["h2", "http/1.1"], |reached| match reached {
            Ok((stream, session)) if session.alpn.as_deref() == Some("h2") => {
                let offers = match offers_websocket(stream) {
                    Some(true) => "offers WebSocket over it (RFC 8441), so browsers use that",
                    Some(false) => {
                        "does not offer WebSocket over it (RFC 8441), so browsers open an HTTP/1.1 connection"
                    }
                    None => "sends no SETTINGS",
                };
                format!("the server prefers h2 and {offers}")
            }
            Ok((_, session)) => {
                let chosen = session.alpn.as_deref();
                format!("the server prefers {}", chosen.unwrap_or("no protocol"))
            }
            Err(detail) => format!("refused: {detail}"),
        });
    }

    pub(super) fn extra(
        &mut self,
        probe: &'static str,
        address: SocketAddr,
        sni: bool,
        alpn: &[&str],
        words: impl Fn(Result<(&mut Reached, &Session), &str>) -> String,
    ) {
        let at = At {
            stage: "tls",
            probe,
            address: Some(address),
            begun: Instant::now(),
        };
        let asking = Asking {
            host: self.options.name(),
            sni,
            alpn,
        };
        self.connections += 1;
        let Ok(socket) = dial(address, self.options.timeout) else {
            return;
        };
        let detail = match probe::connect(socket, &asking, &self.options.trusted) {
            Ok((mut stream, session)) => words(Ok((&mut stream, &session))),
            Err(failure) => words(Err(&failure.detail.unwrap_or_default())),
        };
        self.say(&at, Outcome::Note, None, &detail);
    }
}
