//! TLS clients with restrictions.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ALL_VERSIONS, CertificateError, CipherSuite, ClientConfig, ClientConnection,
    DigitallySignedStruct, Error, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

use crate::harness::Client;
use crate::harness::certs::Authority;

/// What a client accepts; by default the same as a normal client.
#[derive(Clone, Default)]
pub struct Taste {
    /// The only schemes that it accepts for the server's signature.
    pub schemes: Option<Vec<SignatureScheme>>,
    /// The authority that it trusts instead of the tests' own.
    pub authority: Option<Arc<Authority>>,
    /// Its verdict on any certificate.
    pub certificate: Option<CertificateError>,
    /// Its verdict on any signature.
    pub signature: Option<CertificateError>,
}

impl Taste {
    /// A client with these restrictions for one version.
    pub fn speaking(self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        self.config(aws_lc_rs::default_provider(), &[version])
    }

    fn config(
        self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        let anchor = match &self.authority {
            Some(authority) => authority.der(),
            None => Authority::shared().der(),
        };
        roots.add(anchor).unwrap();
        let strict =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier {
                taste: self,
                strict,
            }))
            .with_no_client_auth()
    }
}

/// A normal client for one version.
pub fn only(version: &'static SupportedProtocolVersion) -> ClientConfig {
    Taste::default().speaking(version)
}

/// A normal client with only these groups.
pub fn with_groups(groups: Vec<&'static dyn SupportedKxGroup>) -> ClientConfig {
    let provider = CryptoProvider {
        kx_groups: groups,
        ..aws_lc_rs::default_provider()
    };
    Taste::default().config(provider, &[&rustls::version::TLS13])
}

/// A normal client that offers these suites, in this order.
pub fn with_suites(suites: &[CipherSuite]) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    let find = |suite: &CipherSuite| {
        let mut all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        *all.find(|known| known.suite() == *suite).unwrap()
    };
    provider.cipher_suites = suites.iter().map(find).collect();
    Taste::default().config(provider, &[&rustls::version::TLS13])
}

/// A normal client that accepts only these schemes.
pub fn with_schemes(schemes: &[SignatureScheme]) -> ClientConfig {
    let taste = Taste {
        schemes: Some(schemes.to_vec()),
        ..Taste::default()
    };
    taste.config(aws_lc_rs::default_provider(), ALL_VERSIONS)
}

/// The library's state of a TLS client.
pub fn connection(client: &Client) -> &ClientConnection {
    match client {
        Client::Tls(stream) => &stream.conn,
        Client::Plain(_) => panic!("a client without TLS"),
    }
}

/// A TLS 1.3 client whose handshake is also complete on the proxy's side: the proxy has begun to send a ticket, which
/// stays unread.
pub fn settled(address: SocketAddr) -> Box<StreamOwned<ClientConnection, TcpStream>> {
    match Client::tls(address) {
        Client::Tls(stream) => {
            assert_eq!(stream.sock.peek(&mut [0]).unwrap(), 1);
            stream
        }
        Client::Plain(_) => panic!("a client without TLS"),
    }
}

/// The library's error for a failed handshake.
#[track_caller]
pub fn tls_error(error: Option<io::Error>) -> Error {
    let error = error.expect("the handshake fails");
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => Error::clone(error),
        None => panic!("not the library's: {error}"),
    }
}

struct Verifier {
    taste: Taste,
    strict: Arc<WebPkiServerVerifier>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    fn signature(
        &self,
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.taste.signature {
            Some(error) => Err(error.clone().into()),
            None => verified,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.taste.certificate {
            Some(error) => Err(error.clone().into()),
            None => self
                .strict
                .verify_server_cert(leaf, intermediates, name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.strict.verify_tls12_signature(message, leaf, signature);
        self.signature(verified)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.strict.verify_tls13_signature(message, leaf, signature);
        self.signature(verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = || self.strict.supported_verify_schemes();
        self.taste.schemes.clone().unwrap_or_else(all)
    }
}
