//! The certificates of a listener, and the TLS settings that serve them.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SupportedCipherSuite};

use super::Identity;
use crate::policy::HostSet;

/// Which common cipher suite is chosen. The proxy's order decides, as scanners require. But a client that prefers
/// ChaCha20 gets ChaCha20, because such a client has no hardware for AES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    AesFirst,
    ChachaFirst,
}

impl Order {
    /// The order for a client with this preference.
    pub fn wanted_by(hello: &ClientHello<'_>, ours: &[SupportedCipherSuite]) -> Self {
        let mut offered = hello.cipher_suites().iter();
        let is_ours = |suite: &&CipherSuite| ours.iter().any(|ours| ours.suite() == **suite);
        match offered.find(is_ours) {
            Some(suite) if is_chacha(*suite) => Self::ChachaFirst,
            _ => Self::AesFirst,
        }
    }

    /// The library's cryptography, with the suites in this order.
    pub fn provider(self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| {
            let suite = suite.suite();
            match (is_chacha(suite), is_aes128(suite)) {
                (true, _) if self == Self::ChachaFirst => 0,
                (false, true) => 1,
                (false, false) => 2,
                (true, _) => 3,
            }
        });
        provider
    }
}

fn is_chacha(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

fn is_aes128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// A listener's certificates, chosen by name and by what the client can verify.
#[derive(Debug)]
pub(super) struct Identities {
    all: Vec<Serving>,
    names: HostSet,
}

/// One certificate, and the settings that serve it.
#[derive(Debug)]
pub(super) struct Serving {
    pub identity: Arc<Identity>,
    aes_first: Arc<ServerConfig>,
    chacha_first: Arc<ServerConfig>,
}

impl Serving {
    /// The settings for handshakes with this order.
    pub fn config(&self, order: Order) -> &Arc<ServerConfig> {
        match order {
            Order::AesFirst => &self.aes_first,
            Order::ChachaFirst => &self.chacha_first,
        }
    }
}

impl Identities {
    /// Serves each of `all` with the settings that `config` gives for an order.
    pub fn new(all: Vec<Arc<Identity>>, config: impl Fn(Order) -> ServerConfig) -> Self {
        let mut names = HostSet::default();
        for name in all.iter().flat_map(|identity| identity.names()) {
            names.insert(&name);
        }
        let serve = |identity: Arc<Identity>| {
            let only = Arc::new(Only(Some(Arc::clone(identity.key()))));
            let [aes_first, chacha_first] = [Order::AesFirst, Order::ChachaFirst].map(|order| {
                let mut config = config(order);
                config.cert_resolver = Arc::clone(&only) as Arc<dyn ResolvesServerCert>;
                Arc::new(config)
            });
            Serving {
                identity,
                aes_first,
                chacha_first,
            }
        };
        Self {
            all: all.into_iter().map(serve).collect(),
            names,
        }
    }

    /// The certificates, in the file's order.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Identity>> {
        self.all.iter().map(|serving| &serving.identity)
    }

    /// All names that the certificates cover.
    pub fn names(&self) -> &HostSet {
        &self.names
    }

    /// The certificates for `name`, in the file's order. If the name is unknown or absent, these are all certificates,
    /// and the first one is used.
    pub fn candidates<'a>(
        &'a self,
        name: Option<&str>,
    ) -> impl Iterator<Item = &'a Serving> + Clone {
        let known = name
            .filter(|name| self.names.covers(name))
            .map(str::to_owned);
        self.all.iter().filter(move |serving| {
            let mut known = known.iter();
            known.all(|name| serving.identity.covers(name))
        })
    }
}

/// The library's choice: one certificate or none. The proxy chooses earlier, because the library sends a misleading
/// alert (access_denied) if it finds none.
#[derive(Debug)]
pub(super) struct Only(pub Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}
