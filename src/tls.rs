//! The TLS stage (RFC 8446, RFC 5246).
//!
//! Takes a socket with its first bytes; gives a decrypting [`ClientStream`]; fails with the `tls_…` reasons. The reason
//! is found in the ClientHello, which is read before a certificate is chosen. One deadline covers the hello and the
//! handshake. Outside of it only `stream.rs` names rustls.

mod accepted_keys;
pub mod alert;
pub mod chain;
mod client;
mod client_auth;
mod development;
mod failure;
mod finding;
mod hello;
mod host_names;
mod identity;
mod library_words;
mod pem;
pub mod probe;
mod refused;
mod remedy;
mod roots;
mod serving;
mod start;
mod validity;

use std::sync::Arc;
use std::time::Duration;

use humantime::format_duration;
use rustls::crypto::CryptoProvider;
use rustls::server::{Accepted, NoServerSessionStorage};
use rustls::{AlertDescription, ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::StartHandshake;

pub use client::{Client, SystemRoots};
pub use client_auth::Authorities;
pub use development::{ensure_development_certificate, has_development_certificate};
pub use failure::{broken, ended_words, is_truncation, unused};
pub use finding::Finding;
pub use identity::{Identity, load};
pub use refused::refused_late;
pub use rustls::Error;
pub use validity::Certificate;
#[cfg(test)]
pub(crate) use validity::{Leaf, ShownTo};

use crate::config::{Alpn, Tls, TlsVersion, UnknownSni};
use crate::listener::{FirstBytes, Looks};
use crate::policy::HostSet;
use crate::reason::{Failure, Reason};
use crate::record::{ServedCertificate, millis};
use crate::stream::{ClientStream, Replay, Socket};
use crate::text::peer_text;
use hello::Chosen;
use serving::{Identities, Only, Order};

/// The ALPN name of HTTP/1.1 (RFC 7301), which every route speaks.
pub(crate) const ALPN_HTTP11: &[u8] = b"http/1.1";

/// The ALPN name of HTTP/2 over TLS (RFC 9113 section 3.2).
const ALPN_H2: &str = "h2";

/// The most outgoing TLS data that may wait for a client that does not read: one record of the largest size with its
/// overhead.
pub(crate) const SEND_BUFFER: usize = 17 * 1024;

/// How many of the largest records a tunnel sends with one call.
pub(crate) const TOGETHER: usize = 3;

/// The send buffer of a tunnel.
pub(crate) const TUNNEL_SEND_BUFFER: usize = TOGETHER * SEND_BUFFER;

/// A listener's TLS settings, ready for handshakes.
#[derive(Debug)]
pub struct Server {
    /// The settings for handshakes that no certificate can serve.
    without: Arc<ServerConfig>,
    identities: Identities,
    authorities: Option<Authorities>,
    min_version: TlsVersion,
    unknown_sni: UnknownSni,
    self_signed: bool,
}

/// The facts about a client's TLS, filled in step by step.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// The requested server name, in lower case.
    pub sni: Option<String>,
    /// The negotiated version.
    pub version: Option<&'static str>,
    /// The negotiated protocol.
    pub alpn: Option<String>,
    /// The certificate in the answer to the hello.
    pub served: Option<Arc<Identity>>,
}

impl TlsFacts {
    /// What a record says about the served certificate.
    #[must_use]
    pub fn shown(&self) -> Option<Box<ServedCertificate>> {
        let served = self.served.as_ref()?;
        Some(Box::new(served.certificate().leaf.shown.clone()))
    }

    /// Whether the client speaks HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        self.alpn.as_deref() == Some(ALPN_H2)
    }
}

/// A handshake that failed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// The socket for an unencrypted answer, if the client spoke plain HTTP.
    pub plain: Option<TcpStream>,
    /// The socket, if an alert was sent that the client may still have to read. The client may already have sent its
    /// request, and closing a socket with unread bytes discards the alert.
    pub told: Option<Replay<Socket>>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            plain: None,
            told: None,
        }
    }
}

impl Server {
    /// Builds the settings of one listener from its certificates, the first of which serves clients without SNI, and
    /// from the authorities for client certificates, if it asks for them.
    ///
    /// # Errors
    /// The library's words if it rejects the settings.
    pub fn new(
        identities: Vec<Arc<Identity>>,
        authorities: Option<&Authorities>,
        settings: &Tls,
    ) -> Result<Self, Error> {
        let min_version = settings.min_version;
        let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        // Tickets are stateless: when a hop restarts, thousands of clients reconnect, more than a small session cache
        // holds. Each listener has its own keys, so a ticket is worthless at another one.
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let build = |order: Order| -> Result<ServerConfig, Error> {
            let provider = Arc::new(order.provider());
            let builder =
                ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
            let builder = match authorities {
                None => builder.with_no_client_auth(),
                Some(authorities) => builder.with_client_cert_verifier(authorities.verifier()),
            };
            let mut config = builder.with_cert_resolver(Arc::new(Only(None)));
            config.ignore_client_order = true;
            config.alpn_protocols = offered(&settings.alpn);
            if authorities.is_none() {
                config.ticketer = Arc::clone(&ticketer);
            } else {
                // A resumed session would outlive the certificate that it was made with.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            config.max_early_data_size = 0;
            Ok(config)
        };
        let (aes_first, chacha_first) = (build(Order::AesFirst)?, build(Order::ChachaFirst)?);
        let config = |order: Order| match order {
            Order::AesFirst => aes_first.clone(),
            Order::ChachaFirst => chacha_first.clone(),
        };
        Ok(Self {
            identities: Identities::new(identities, config),
            without: Arc::new(aes_first),
            authorities: authorities.cloned(),
            min_version,
            unknown_sni: settings.unknown_sni,
            self_signed: settings.self_signed,
        })
    }

    /// Whether clients may choose HTTP/2.
    #[must_use]
    pub fn offers_h2(&self) -> bool {
        let is_h2 = |name: &Vec<u8>| name == ALPN_H2.as_bytes();
        self.alpn().iter().any(is_h2)
    }

    /// The ALPN names of the protocols that clients may choose from.
    fn alpn(&self) -> &[Vec<u8>] {
        &self.without.alpn_protocols
    }

    fn provider(&self) -> &CryptoProvider {
        self.without.crypto_provider()
    }

    /// Whether it was made of exactly these identities and authorities.
    #[must_use]
    pub fn is_made_of(
        &self,
        identities: &[Arc<Identity>],
        authorities: Option<&Authorities>,
    ) -> bool {
        let own = self.identities.all();
        own.len() == identities.len()
            && own
                .zip(identities)
                .all(|(own, other)| Arc::ptr_eq(own, other))
            && self.authorities.as_ref() == authorities
    }

    /// Whether this listener would have asked a client of `other` for the same certificate.
    #[must_use]
    pub fn asks_clients_like(&self, other: &Self) -> bool {
        self.authorities == other.authorities
    }

    /// Every name that the certificates cover.
    #[must_use]
    pub fn names(&self) -> &HostSet {
        self.identities.names()
    }
}

/// The ALPN names of these protocols, in the order of preference. Some health checks that speak HTTP/1.0 offer only its
/// name, so it comes with HTTP/1.1.
fn offered(protocols: &[Alpn]) -> Vec<Vec<u8>> {
    let names = protocols.iter().map(|protocol| match protocol {
        Alpn::H2 => ALPN_H2.as_bytes(),
        Alpn::Http11 => ALPN_HTTP11,
    });
    let old: Option<&[u8]> = protocols.contains(&Alpn::Http11).then_some(b"http/1.0");
    names.chain(old).map(<[u8]>::to_vec).collect()
}

/// Performs the server's side of a handshake until `deadline`, which is `limit` after the connection was accepted.
///
/// # Errors
/// A `tls_…` reason; `facts` holds what was learned before.
pub async fn accept(
    socket: TcpStream,
    first: FirstBytes,
    server: &Server,
    deadline: Instant,
    limit: Duration,
    facts: &mut TlsFacts,
) -> Result<ClientStream, Failed> {
    if let Some(failure) = not_tls(&first) {
        let plain = (first.looks == Looks::Http).then_some(socket);
        return Err(Failed {
            plain,
            ..failure.into()
        });
    }
    let beginning = first.shown().to_vec();
    let (mut socket, counter) = Replay::counting(first.bytes, Socket::new(socket));
    let late = |what: &str| {
        let waited = deadline
            .checked_sub(limit)
            .map_or(limit, |begun| begun.elapsed());
        let waited = format_duration(Duration::from_millis(millis(waited)));
        let detail = format!(
            "{what}: {} bytes came in {waited}, and the limit is {}",
            counter.bytes(),
            format_duration(limit)
        );
        Failure::new(Reason::TlsHandshakeTimeout, detail)
    };
    let chosen = match timeout_at(deadline, start::read_hello(&mut socket)).await {
        Ok(Ok(accepted)) => {
            choose(accepted, server, facts).map_err(|(failure, alert)| (failure, Some(alert)))
        }
        Ok(Err(error)) => Err(failure::before_hello(&error, &beginning)),
        Err(_) => Err((late("no complete ClientHello arrived"), None)),
    };
    let (accepted, chosen) = match chosen {
        Ok(chosen) => chosen,
        Err((failure, Some(alert))) => {
            return Err(start::refuse(socket, failure, alert, deadline).await);
        }
        Err((failure, None)) => return Err(failure.into()),
    };
    let start = StartHandshake::from_parts(accepted, socket);
    let handshake = start.into_stream_with(Arc::clone(chosen.config), |tls| {
        facts.served = Some(Arc::clone(chosen.identity));
        tls.set_buffer_limit(Some(SEND_BUFFER));
    });
    let mut stream = match timeout_at(deadline, handshake.into_fallible()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, socket))) => {
            let failure = failure::after_hello(&error, server.min_version);
            return Err(Failed {
                plain: None,
                told: start::is_heard(failure.reason).then_some(socket),
                failure: server.explain(failure, facts),
            });
        }
        Err(_) => {
            return Err(
                late("the ClientHello arrived, but the rest of the handshake did not").into(),
            );
        }
    };
    stream.get_mut().0.stop_counting();
    let (_, tls) = stream.get_ref();
    facts.version = tls.protocol_version().map(version_name);
    facts.alpn = tls.alpn_protocol().map(peer_text);
    Ok(ClientStream::Tls(Box::new(stream)))
}

/// Why the first bytes can't begin a handshake.
fn not_tls(first: &FirstBytes) -> Option<Failure> {
    let reason = match first.looks {
        Looks::Tls => return None,
        Looks::Http => Reason::TlsPlainHttpOnTlsPort,
        Looks::Proxy => Reason::ProxyProtocolUnexpected,
        Looks::Other => {
            let failure = Failure::new(Reason::TlsNotTls, first.describe());
            return Some(alert::say(failure, "no alert was sent"));
        }
    };
    Some(Failure::new(reason, first.describe()))
}

/// Chooses what answers a hello.
///
/// # Errors
/// Why it can't be answered, and the alert that says so.
fn choose<'s>(
    accepted: Accepted,
    server: &'s Server,
    facts: &mut TlsFacts,
) -> Result<(Accepted, Chosen<'s>), (Failure, AlertDescription)> {
    let hello = accepted.client_hello();
    facts.sni = hello.server_name().map(str::to_ascii_lowercase);
    let chosen = hello::choose(&hello, server);
    if let Some(name) = &facts.sni
        && server.unknown_sni == UnknownSni::Refuse
        && !server.names().covers(name)
    {
        let failure = failure::unknown_name(server.names());
        return Err((failure, AlertDescription::UnrecognisedName));
    }
    let lacking = match chosen {
        Ok(chosen) => return Ok((accepted, chosen)),
        Err(lacking) => lacking,
    };
    // An unsupported version matters most, and only the library can tell it.
    let tried = accepted.into_connection(Arc::clone(&server.without));
    let unsupported = tried
        .err()
        .and_then(|(error, _)| failure::version_unsupported(&error, server.min_version));
    let failure = unsupported.unwrap_or(lacking);
    let alert = match failure.reason {
        Reason::TlsVersionUnsupported => AlertDescription::ProtocolVersion,
        Reason::TlsAlpnNoOverlap => AlertDescription::NoApplicationProtocol,
        _ => AlertDescription::HandshakeFailure,
    };
    Err((failure, alert))
}

fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "other",
    }
}
