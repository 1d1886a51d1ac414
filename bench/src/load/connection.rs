//! A client's TLS connection to the proxy, and what it does there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup,
    RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Options, PATIENCE};
use crate::{Failure, wire};

/// The tickets that a client keeps; a proxy sends two at a time.
const TICKETS: usize = 8;

/// Makes connections that all offer the same.
#[derive(Clone)]
pub struct Dialer {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    groups: &'static [NamedGroup],
}

impl Dialer {
    /// TLS 1.3 with AES-128-GCM and X25519 first, without resumption.
    ///
    /// # Errors
    /// If the certificate can't be read.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        let (offered, groups): (Vec<&'static dyn SupportedKxGroup>, _) = match options.post_quantum
        {
            true => (
                vec![
                    kx_group::X25519MLKEM768,
                    kx_group::X25519,
                    kx_group::SECP256R1,
                ],
                &[NamedGroup::X25519MLKEM768, NamedGroup::X25519][..],
            ),
            false => (
                vec![kx_group::X25519, kx_group::SECP256R1],
                &[NamedGroup::X25519][..],
            ),
        };
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = offered;
        provider.cipher_suites = vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        let certificate = CertificateDer::from_pem_file(&options.certificate)?;
        let verifier = Arc::new(Known {
            certificate,
            schemes: schemes(&provider),
        });
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)),
            config: Arc::new(config),
            name: ServerName::try_from("localhost")?,
            groups,
        })
    }

    /// The same with tickets of its own.
    pub fn resuming(mut self) -> Self {
        let config = Arc::make_mut(&mut self.config);
        let tickets = Arc::new(ClientSessionMemoryCache::new(TICKETS));
        config.resumption = Resumption::store(tickets);
        self
    }

    /// The same, but the certificate and the proxy's signature are verified as a browser does.
    ///
    /// # Errors
    /// If the certificate is not one that can be trusted.
    pub fn verifying(mut self, certificate: &Path) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate)?)?;
        let provider = Arc::clone(self.config.crypto_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()?;
        let config = Arc::make_mut(&mut self.config);
        config.dangerous().set_certificate_verifier(verifier);
        Ok(self)
    }

    /// Opens a connection, and checks that the handshake was the one that is measured.
    ///
    /// # Errors
    /// If it fails or is another one.
    pub async fn dial(&self, wanted: HandshakeKind) -> Result<Connection, Failure> {
        timeout(PATIENCE, self.connect(wanted))
            .await
            .map_err(|_| "TLS handshake: it was not finished")?
    }

    async fn connect(&self, wanted: HandshakeKind) -> Result<Connection, Failure> {
        let socket = TcpStream::connect(self.address)
            .await
            .map_err(|error| format!("connecting: {error}"))?;
        socket.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector
            .connect(self.name.clone(), socket)
            .await
            .map_err(|error| format!("TLS handshake: {error}"))?;
        let (_, tls) = stream.get_ref();
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        if suite != Some(CipherSuite::TLS13_AES_128_GCM_SHA256) {
            return Err(format!("TLS handshake: the cipher suite is {suite:?}").into());
        }
        let group = tls
            .negotiated_key_exchange_group()
            .map(SupportedKxGroup::name);
        if !group.is_some_and(|group| self.groups.contains(&group)) {
            return Err(format!("TLS handshake: the group is {group:?}").into());
        }
        if tls.handshake_kind() != Some(wanted) {
            let kind = tls.handshake_kind();
            return Err(format!("TLS handshake: it is {kind:?}, not {wanted:?}").into());
        }
        Ok(Connection {
            stream,
            bytes: Vec::with_capacity(2048),
        })
    }

    /// Opens a tunnel.
    ///
    /// # Errors
    /// If a handshake fails.
    pub async fn tunnel(&self, wanted: HandshakeKind) -> Result<Connection, Failure> {
        let mut connection = self.dial(wanted).await?;
        let opening = wire::opening(wire::STREAM, Some(wire::ORIGIN));
        connection.send(&opening).await?;
        let end = timeout(PATIENCE, connection.head())
            .await
            .map_err(|_| "the handshake was not answered")??;
        wire::check_switched(connection.bytes.get(..end).unwrap_or_default())?;
        connection.bytes.drain(..end);
        Ok(connection)
    }
}

fn schemes(provider: &CryptoProvider) -> Vec<SignatureScheme> {
    provider
        .signature_verification_algorithms
        .supported_schemes()
}

/// Knows the certificate and does not verify signatures, which would cost the client more than the whole handshake costs
/// the proxy. The first connection of each measurement verifies them.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *presented == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not measured".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// A connection after its TLS handshake.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    /// What was read and not yet used.
    bytes: Vec<u8>,
}

impl Connection {
    /// Sends bytes.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await
            .map_err(|error| format!("sending: {error}").into())
    }

    /// Reads a head and returns its length.
    ///
    /// # Errors
    /// If the connection ended or is broken.
    async fn head(&mut self) -> Result<usize, Failure> {
        match wire::read_head(&mut self.stream, &mut self.bytes).await {
            Ok(Some(end)) => Ok(end),
            Ok(None) => Err("the connection ended instead of an answer".into()),
            Err(error) => Err(format!("reading an answer: {error}").into()),
        }
    }

    /// Reads the head of an answer. Returns its status.
    ///
    /// # Errors
    /// If the connection ended or is broken.
    pub async fn status(&mut self) -> Result<Option<u16>, Failure> {
        let end = self.head().await?;
        Ok(wire::status(self.bytes.get(..end).unwrap_or_default()))
    }

    /// Reads the answer to a plain request. Returns its status, and whether the body is `wanted`.
    ///
    /// # Errors
    /// If the connection is broken, or the answer has no length.
    pub async fn answer(&mut self, wanted: &[u8]) -> Result<(Option<u16>, bool), Failure> {
        let end = self.head().await?;
        let head = self.bytes.get(..end).unwrap_or_default();
        let status = wire::status(head);
        let length: usize = match wire::field(head, "content-length") {
            Some(length) => std::str::from_utf8(length)?.parse()?,
            None => return Err(format!("{} has no Content-Length", wire::shown(head)).into()),
        };
        self.fill(end + length).await?;
        let is_same = self.bytes.get(end..end + length) == Some(wanted);
        self.bytes.drain(..end + length);
        Ok((status, is_same))
    }

    /// Reads exactly `wanted`.
    ///
    /// # Errors
    /// If something else came; `what` names it.
    pub async fn expect(&mut self, wanted: &[u8], what: &str) -> Result<(), Failure> {
        self.fill(wanted.len())
            .await
            .map_err(|error| format!("{what}: {error}"))?;
        if self.bytes != wanted {
            return Err(format!("{what} is not as it should be").into());
        }
        self.bytes.clear();
        Ok(())
    }

    /// Reads until there are `length` bytes.
    async fn fill(&mut self, length: usize) -> Result<(), Failure> {
        self.bytes.reserve(length.saturating_sub(self.bytes.len()));
        while self.bytes.len() < length {
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err("the connection ended".into());
            }
        }
        Ok(())
    }

    /// Waits for the end of the connection, which the proxy has to begin.
    ///
    /// # Errors
    /// If something else comes.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(0) => Ok(()),
            // Some proxies end TLS connections without close_notify.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
            Ok(count) => Err(format!("{count} bytes came after the Close").into()),
            Err(error) => Err(format!("after the Close: {error}").into()),
        }
    }
}
