//! The TLS stage (RFC 8446, RFC 5246).
//!
//! Takes a socket with its first bytes; gives a decrypting [`ClientStream`]; fails with the `tls_…` reasons, told
//! from the ClientHello that is read before any certificate is chosen. One deadline covers hello and handshake.
//! Everything of rustls that the rest of the program meets is in this module.

mod client;
mod client_auth;
mod development;
mod failure;
mod hello;
mod identity;
mod pem;
mod refused;
mod roots;
mod validity;

use std::sync::Arc;

use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

pub use client::{Client, SystemRoots};
pub use client_auth::Authorities;
pub use development::{
    DevelopmentCertificateError, ensure_development_certificate, has_development_certificate,
};
pub use failure::{broken, ended_words, is_truncation, record_error, unused};
pub use identity::{Finding, Identity, load};
pub use refused::refused_late;
pub use rustls::Error;
pub use validity::{Certificate, ShownTo};

use crate::config::{Tls, TlsVersion, UnknownSni};
use crate::listener::{FirstBytes, Looks};
use crate::policy::HostSet;
use crate::reason::{Failure, Reason};
use crate::record::peer_text;
use crate::stream::{ClientStream, Replay, Socket};

/// The one protocol offered by ALPN (RFC 7301).
pub(crate) const ALPN_HTTP11: &[u8] = b"http/1.1";

/// Outgoing TLS data that may wait for a client that does not read; one record and its overhead fits twice.
pub(crate) const SEND_BUFFER: usize = 32 * 1024;

/// A fatal `unrecognized_name` alert (RFC 6066 section 3), as rustls offers no way to send one of our choice.
const ALERT_UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

/// A listener's TLS settings, ready for handshakes.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    identities: Arc<Identities>,
    authorities: Option<Authorities>,
    min_version: TlsVersion,
    unknown_sni: UnknownSni,
    self_signed: bool,
}

/// What is known of a client's TLS, filled in as it becomes known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server name asked for, in lower case.
    pub sni: Option<String>,
    /// The version agreed on.
    pub version: Option<&'static str>,
    /// The protocol agreed on.
    pub alpn: Option<String>,
}

/// A handshake that failed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// Where the refusal can be answered in clear, when the client spoke plain HTTP.
    pub plain: Option<TcpStream>,
    /// Where an alert was sent that the client may still have to read: one without a good certificate may have sent
    /// its request already, and a socket that is closed unread takes the alert back.
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
    /// from the authorities of its clients, if they have certificates.
    ///
    /// # Errors
    /// The library's words when it does not take the settings.
    pub fn new(
        identities: Vec<Arc<Identity>>,
        authorities: Option<&Authorities>,
        settings: &Tls,
    ) -> Result<Self, Error> {
        let min_version = settings.min_version;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let identities = Arc::new(Identities::new(identities));
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => builder.with_client_cert_verifier(authorities.verifier()),
        };
        let mut config =
            builder.with_cert_resolver(Arc::clone(&identities) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_HTTP11.to_vec()];
        // Stateless tickets: after a restart of a hop thousands reconnect, which a small session cache can't hold.
        // Each listener has keys of its own, so that a ticket is worth nothing at another one.
        if authorities.is_none() {
            config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        } else {
            // A resumed session would outlive the certificate that it was made with.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(config),
            identities,
            authorities: authorities.cloned(),
            min_version,
            unknown_sni: settings.unknown_sni,
            self_signed: settings.self_signed,
        })
    }

    /// A client that does not trust the development certificate is nearly everybody's first failure, and a chain
    /// won't mend it.
    fn with_remedy(&self, failure: Failure) -> Failure {
        let distrusts = matches!(
            failure.reason,
            Reason::TlsAlertUnknownCa | Reason::TlsAlertBadCertificate
        );
        if !(self.self_signed && distrusts) {
            return failure;
        }
        failure.with_hint(
            "this listener serves the development certificate of `listeners[].tls.self_signed`: let the client trust \
             certs/dev.pem and dial localhost, or configure a certificate of an authority",
        )
    }

    /// Whether it is made of these very identities and authorities.
    #[must_use]
    pub fn is_made_of(
        &self,
        identities: &[Arc<Identity>],
        authorities: Option<&Authorities>,
    ) -> bool {
        let own = &self.identities.all;
        own.len() == identities.len()
            && own
                .iter()
                .zip(identities)
                .all(|(own, other)| Arc::ptr_eq(own, other))
            && self.authorities.as_ref() == authorities
    }

    /// Whether a client that `other` let in would have been asked for the same certificate here.
    #[must_use]
    pub fn asks_clients_like(&self, other: &Self) -> bool {
        self.authorities == other.authorities
    }

    /// Every name that the certificates cover.
    #[must_use]
    pub fn names(&self) -> &HostSet {
        &self.identities.names
    }
}

/// Does the server's side of a handshake, until `deadline`.
///
/// # Errors
/// A `tls_…` reason; `facts` holds what was learned before.
pub async fn accept(
    socket: TcpStream,
    first: FirstBytes,
    server: &Server,
    deadline: Instant,
    facts: &mut Facts,
) -> Result<ClientStream, Failed> {
    match first.looks {
        Looks::Tls => {}
        Looks::Http => {
            return Err(Failed {
                failure: Failure::new(Reason::TlsPlainHttpOnTlsPort, first.describe()),
                plain: Some(socket),
                told: None,
            });
        }
        Looks::Proxy => {
            return Err(Failure::new(Reason::ProxyProtocolUnexpected, first.describe()).into());
        }
        Looks::Other => return Err(Failure::new(Reason::TlsNotTls, first.describe()).into()),
    }
    let beginning = first.bytes.clone();
    let socket = Replay::new(first.bytes, Socket::new(socket));
    let acceptor = LazyConfigAcceptor::new(Acceptor::default(), socket);
    let start = match timeout_at(deadline, acceptor).await {
        Ok(Ok(start)) => start,
        Ok(Err(error)) => return Err(failure::before_hello(&error, &beginning).into()),
        Err(_) => {
            return Err(
                Failure::new(Reason::TlsHandshakeTimeout, "no complete ClientHello came").into(),
            );
        }
    };
    let incompatible = {
        let hello = start.client_hello();
        facts.sni = hello.server_name().map(str::to_ascii_lowercase);
        hello::incompatibility(&hello, server)
    };
    if let Some(name) = &facts.sni
        && server.unknown_sni == UnknownSni::Refuse
        && !server.names().covers(name)
    {
        let failure = failure::unknown_name(server.names());
        refuse_name(start, deadline).await;
        return Err(failure.into());
    }
    let handshake = start.into_stream_with(Arc::clone(&server.config), |tls| {
        tls.set_buffer_limit(Some(SEND_BUFFER));
    });
    let stream = match timeout_at(deadline, handshake.into_fallible()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, socket))) => {
            let failure = failure::after_hello(&error, incompatible, server.min_version);
            let is_certificate = matches!(
                failure.reason,
                Reason::TlsClientCertMissing | Reason::TlsClientCertInvalid
            );
            return Err(Failed {
                failure: server.with_remedy(failure),
                plain: None,
                told: is_certificate.then_some(socket),
            });
        }
        Err(_) => {
            let detail = "the ClientHello came, the rest of the handshake did not";
            return Err(Failure::new(Reason::TlsHandshakeTimeout, detail).into());
        }
    };
    let (_, tls) = stream.get_ref();
    facts.version = tls.protocol_version().map(version_name);
    facts.alpn = tls.alpn_protocol().map(peer_text);
    Ok(ClientStream::Tls(Box::new(stream)))
}

/// Tells the client that its name is not served; the socket is closed afterwards.
async fn refuse_name(start: StartHandshake<Replay<Socket>>, deadline: Instant) {
    let mut socket = start.io;
    // The refusal stands whether the alert arrives or not.
    let _ = timeout_at(deadline, async {
        socket.write_all(&ALERT_UNRECOGNIZED_NAME).await?;
        socket.shutdown().await
    })
    .await;
}

fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "other",
    }
}

/// A listener's certificates, chosen by name and by what the client can verify.
#[derive(Debug)]
struct Identities {
    all: Vec<Arc<Identity>>,
    names: HostSet,
}

impl Identities {
    fn new(all: Vec<Arc<Identity>>) -> Self {
        let mut names = HostSet::default();
        for name in all.iter().flat_map(|identity| identity.names()) {
            names.insert(&name);
        }
        Self { all, names }
    }

    /// The certificates for `name` in the file's order; all of them where the name is unknown or absent, as the
    /// first of them then serves.
    fn candidates<'a>(
        &'a self,
        name: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Identity>> + use<'a> {
        let known = name
            .filter(|name| self.names.covers(name))
            .map(str::to_owned);
        self.all
            .iter()
            .filter(move |identity| known.as_deref().is_none_or(|name| identity.covers(name)))
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.candidates(name.as_deref())
            .find(|identity| {
                identity
                    .key()
                    .key
                    .choose_scheme(hello.signature_schemes())
                    .is_some()
            })
            .map(|identity| Arc::clone(identity.key()))
    }
}
