//! A TLS client that accepts every certificate and says what is wrong with it, for `wsgate diagnose`. Only blocking sockets
//! use it, and nothing is sent over a connection that a verification has not passed, unless the caller decides to.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    ProtocolVersion, RootCertStore, SignatureScheme, StreamOwned,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::{self, Described, Fault, Found};
use super::{identity, library_words, refused};
use crate::reason::{Failure, Reason};
use crate::text::peer_text;

/// The authorities that a probe trusts.
#[derive(Clone, Debug)]
pub struct Trusted {
    store: Arc<RootCertStore>,
    names: Vec<Vec<u8>>,
}

impl Trusted {
    /// Those of the system, and those in `more`.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(more: Option<&Path>) -> Result<Self, String> {
        let mut all = rustls_native_certs::load_native_certs().certs;
        if let Some(path) = more {
            let found = identity::read_certificates("ca", path);
            // The rest of the message is about paths in a configuration.
            let only_first = |message: String| message.split(';').next().map(str::to_owned);
            let found = found.map_err(|finding| only_first(finding.message).unwrap_or_default());
            all.extend(found?);
        }
        let mut store = RootCertStore::empty();
        let mut names = Vec::new();
        for der in all {
            if let Ok((_, parsed)) = X509Certificate::from_der(&der) {
                names.push(parsed.subject().as_raw().to_vec());
            }
            // Some systems list files that are not certificates; the others are still good.
            let _ = store.add(der);
        }
        Ok(Self {
            store: Arc::new(store),
            names,
        })
    }
}

/// How a probe asks.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// The name that the certificate must cover, and the SNI.
    pub host: &'a str,
    /// Whether the SNI is sent; an address is never sent (RFC 6066 section 3).
    pub sni: bool,
    /// The protocols offered by ALPN.
    pub alpn: &'a [&'a str],
}

/// A connection after its handshake.
pub type Secured<S> = StreamOwned<ClientConnection, S>;

/// What a handshake agreed on, and what is wrong with the certificate.
#[derive(Clone, Debug)]
pub struct Session {
    /// The version, such as 1.3.
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher: String,
    /// The group of the key exchange.
    pub group: String,
    /// The protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// The chain as it was sent.
    pub chain: Vec<Described>,
    /// What makes clients refuse it, the first one first.
    pub faults: Vec<Found>,
    /// What most clients accept but should be mended.
    pub doubts: Vec<Found>,
}

/// Shakes hands over a socket.
///
/// # Errors
/// The `upstream_…` reason if there is no handshake. A certificate is never the cause.
pub fn connect<S: Read + Write>(
    socket: S,
    asking: &Asking<'_>,
    trusted: &Trusted,
) -> Result<(Secured<Watched<S>>, Session), Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let taken = Arc::new(Taken {
        provider: Arc::clone(&provider),
        chain: Mutex::new(Vec::new()),
    });
    let failed =
        |error: &Error| refused::refused(&io::Error::other(error.clone()), &[], asking.host, "");
    let name = ServerName::try_from(asking.host.to_owned())
        .map_err(|_| Failure::new(Reason::UpstreamTlsFailed, "not a server name"))?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let asked = Arc::new(Asked::default());
    let mut config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&taken) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(&asked) as Arc<dyn ResolvesClientCert>);
    config.enable_sni = asking.sni;
    config.alpn_protocols = asking
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let mut connection =
        ClientConnection::new(Arc::new(config), name.clone()).map_err(|error| failed(&error))?;
    let mut socket = Watched {
        socket,
        seen: Vec::new(),
    };
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            let failure = refused::refused(&error, &socket.seen, asking.host, "");
            // Before TLS 1.3 the alert says only that the handshake failed. Some servers just close.
            let detail = failure.detail.as_deref().unwrap_or_default();
            let is_refused = ["sent alert", "closed in the middle"]
                .iter()
                .any(|words| detail.contains(words));
            return Err(match is_refused && asked.0.load(Ordering::Relaxed) {
                true => Failure::new(
                    Reason::TlsClientCertMissing,
                    format!(
                        "{}, after it had asked for a client certificate",
                        failure.detail.unwrap_or_default()
                    ),
                ),
                false => failure,
            });
        }
    }
    let sent = std::mem::take(&mut *taken.chain.lock().unwrap_or_else(PoisonError::into_inner));
    let session = described(&connection, &sent, &name, asking.host, trusted, provider);
    Ok((StreamOwned::new(connection, socket), session))
}

fn described(
    connection: &ClientConnection,
    sent: &[CertificateDer<'static>],
    name: &ServerName<'_>,
    host: &str,
    trusted: &Trusted,
    provider: Arc<CryptoProvider>,
) -> Session {
    let (chain, found) = chain::examine(sent, host, SystemTime::now());
    let (mut faults, mut doubts): (Vec<_>, Vec<_>) = found.into_iter().partition(|(fault, _)| {
        !matches!(
            fault,
            Fault::Order | Fault::ExpiresSoon | Fault::WeakSignature
        )
    });
    let weak = doubts
        .iter()
        .find(|(fault, _)| *fault == Fault::WeakSignature);
    let unverified = unverified(sent, name, trusted, provider).map(|found| match (found, weak) {
        ((Fault::Other, _), Some((_, algorithm))) => (
            Fault::Other,
            format!("{algorithm}: clients refuse this signature"),
        ),
        (found, _) => found,
    });
    if let Some(found) = unverified
        && !faults.iter().any(|(fault, _)| *fault == found.0)
    {
        // The cause of everything comes first: the dates and names of a certificate that nobody trusts hardly matter.
        match found.0 {
            Fault::SelfSigned | Fault::MissingIntermediate | Fault::UnknownAuthority
                if !faults.iter().any(|(fault, _)| *fault == Fault::Expired) =>
            {
                faults.insert(0, found);
            }
            _ => faults.push(found),
        }
    }
    // Clients with a stricter library refuse these too.
    if faults.is_empty() {
        doubts.retain(|(fault, _)| *fault != Fault::Other);
    }
    Session {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        },
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default()
            // The name of IANA.
            .replace("TLS13_", "TLS_"),
        group: connection
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name()))
            .unwrap_or_default(),
        alpn: connection.alpn_protocol().map(peer_text),
        chain,
        faults,
        doubts,
    }
}

/// Verifies the chain as a client that fetches nothing.
fn unverified(
    sent: &[CertificateDer<'static>],
    name: &ServerName<'_>,
    trusted: &Trusted,
    provider: Arc<CryptoProvider>,
) -> Option<Found> {
    let (leaf, rest) = sent.split_first()?;
    let unknown = || {
        chain::unknown_issuer(sent, |issuer| {
            trusted.names.iter().any(|name| name == issuer)
        })
    };
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&trusted.store), provider);
    let Ok(verifier) = verifier.build() else {
        // Without any authority nothing can be verified.
        return Some(unknown());
    };
    let error = verifier
        .verify_server_cert(leaf, rest, name, &[], UnixTime::now())
        .err()?;
    Some(match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => unknown(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                Fault::Expired,
                "a certificate of the chain has expired".to_owned(),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                Fault::NotYetValid,
                "a certificate of the chain is not valid yet".to_owned(),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    Fault::WrongName,
                    "the certificate is for another name".to_owned(),
                )
            }
            // A server that presents its own authority usually made the certificate by itself.
            problem if library_words::is_authority(&problem) => match unknown() {
                found @ (Fault::SelfSigned, _) => found,
                (_, subject) => (Fault::Authority, subject),
            },
            problem => (Fault::Other, peer_text(problem.to_string().as_bytes())),
        },
        error => (Fault::Other, peer_text(error.to_string().as_bytes())),
    })
}

/// A socket whose first bytes are remembered.
#[derive(Debug)]
pub struct Watched<S> {
    socket: S,
    seen: Vec<u8>,
}

impl<S> Watched<S> {
    /// The socket below.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: Read> Read for Watched<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const KEPT: usize = 64;
        let read = self.socket.read(buffer)?;
        let room = KEPT.saturating_sub(self.seen.len());
        self.seen
            .extend_from_slice(buffer.get(..read.min(room)).unwrap_or_default());
        Ok(read)
    }
}

impl<S: Write> Write for Watched<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Notices that the server asks for a certificate, and has none.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts the proof of a key that is too weak for the library: the certificate has that fault anyway.
fn proven(
    verified: Result<HandshakeSignatureValid, Error>,
    certificate: &CertificateDer<'_>,
) -> Result<HandshakeSignatureValid, Error> {
    match verified {
        Err(_) if chain::has_weak_key(certificate) => Ok(HandshakeSignatureValid::assertion()),
        verified => verified,
    }
}

/// Takes every certificate. The server still has to prove that it has the key.
#[derive(Debug)]
struct Taken {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Taken {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(leaf).chain(rest);
        let all = all.map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified =
            rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms);
        proven(verified, certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified =
            rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms);
        proven(verified, certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
