//! Certificates made for one run of the tests.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a leaf certificate is made for, or what is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Good,
    Expired,
    NotYetValid,
    Rsa,
    /// Made for clients, like the next one.
    Client,
    ExpiredClient,
    /// A CA certificate, which a server must not present.
    Authority,
}

impl Authority {
    /// The authority that most tests share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("test authority"))
    }

    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn der(&self) -> rustls::pki_types::CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate and key for `names`, in PEM.
    pub fn issue(&self, names: &[&str], kind: Kind) -> (String, String) {
        let key = match kind {
            Kind::Rsa => rsa_key(&PKCS_RSA_SHA256),
            _ => KeyPair::generate().unwrap(),
        };
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        params.extended_key_usages = vec![match kind {
            Kind::Client | Kind::ExpiredClient => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        if kind == Kind::Authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        let (from, to) = match kind {
            Kind::Expired | Kind::ExpiredClient => {
                (now - Duration::days(60), now - Duration::days(1))
            }
            Kind::NotYetValid => (now + Duration::days(1), now + Duration::days(60)),
            Kind::Good | Kind::Authority | Kind::Rsa | Kind::Client => {
                (now - Duration::days(1), now + Duration::days(90))
            }
        };
        params.not_before = from;
        params.not_after = to;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A server certificate that expires in `left`.
    pub fn issue_for(&self, names: &[&str], left: Duration) -> (String, String) {
        self.issue_between(names, -Duration::days(60), left)
    }

    /// A server certificate that is valid `from` a time `to` another, both relative to now.
    pub fn issue_between(&self, names: &[&str], from: Duration, to: Duration) -> (String, String) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = OffsetDateTime::now_utc();
        params.not_before = now + from;
        params.not_after = now + to;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a certificate from [`Authority::issue`] to `NAME.pem` and `NAME-key.pem` in `folder`.
    pub fn write(
        &self,
        folder: &Path,
        name: &str,
        names: &[&str],
        kind: Kind,
    ) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(names, kind);
        let paths = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}-key.pem")),
        );
        fs::write(&paths.0, certificate).unwrap();
        write_private(&paths.1, &key);
        paths
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn rsa_key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}
