//! `listeners[].tls`: certificates, and what is asked of clients.

use std::path::PathBuf;

use super::super::super::cursor::Cursor;
use super::super::super::fields::Fields;
use super::super::super::key::{Block, Form, Is, Key, Required, Section, keys};
use super::super::super::problem::Complaint;
use super::super::super::report::Report;
use super::super::super::value::{Explained, File, Flag, List, OneOf};
use super::LISTENER;
use super::http2::{Alpn, PROTOCOL};

/// TLS settings of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate and key files, in the file's order; with `self_signed` only the development certificate.
    pub certificates: Vec<CertificateFiles>,
    /// Make `certs/dev.pem` and `certs/dev-key.pem` next to the configuration if they are missing.
    pub self_signed: bool,
    /// The lowest TLS version.
    pub min_version: TlsVersion,
    /// The protocols that are offered by ALPN, in the order of preference; at least one.
    pub alpn: Vec<Alpn>,
    /// What a client gets if it asks for a name that no certificate covers.
    pub unknown_sni: UnknownSni,
    /// Whether clients are asked for certificates.
    pub client_auth: Option<ClientAuth>,
}

/// How clients prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM file with the authorities that issue their certificates.
    pub ca: PathBuf,
    /// Whether they need one.
    pub mode: ClientAuthMode,
    /// Path of this entry in the configuration file, such as `listeners[0].tls.client_auth`.
    pub site: String,
}

/// Whether a client needs a certificate. A certificate that it presents must be valid in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// Without a certificate the handshake fails.
    Required,
    /// A client without a certificate is admitted.
    Optional,
}

/// The files of one certificate, absolute or relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// Path of this entry in the configuration file, such as `listeners[0].tls.certificates[1]`.
    pub site: String,
    /// Whether it is the development certificate of `tls.self_signed`.
    pub is_development: bool,
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// What a client gets if it asks for a name that no certificate covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSni {
    /// The alert `unrecognized_name`.
    Refuse,
    /// The first certificate.
    Default,
}

keys! {
    pub(super) static TLS: TlsKeys {
        /// Certificates, chosen by the name that the client asks for; the first one if the client asks for no name.
        /// Required unless `self_signed` is true.
        certificates: Section = Form::OptionalList, CertificateKeys::BLOCK;
        /// Development only: makes `certs/dev.pem` and `certs/dev-key.pem` for localhost if they are missing. Not allowed
        /// together with `certificates`.
        self_signed: Key<bool> = &Flag, Is(|| false);
        /// The lowest TLS version.
        min_version: Key<TlsVersion> =
            &OneOf(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]), Is(|| TlsVersion::V1_2);
        /// The protocols that clients may choose from by ALPN, in the proxy's order of preference. `h2` switches HTTP/2 on.
        alpn: Key<Vec<Alpn>> = &PROTOCOLS, Is(|| vec![Alpn::Http11]);
        /// What a client gets if it asks for a name that no certificate covers: an alert, or the first certificate.
        unknown_sni: Key<UnknownSni> =
            &OneOf(&[("refuse", UnknownSni::Refuse), ("default", UnknownSni::Default)]), Is(|| UnknownSni::Refuse);
        /// Asks clients for certificates. Not for browsers and mini programs, which can't present any.
        client_auth: Section = Form::OptionalMapping, ClientAuthKeys::BLOCK;
    } with Block {
        foreign: &[("mode", "\"mode\" belongs in client_auth")],
        // Either `certificates` or `self_signed`.
        needs_key: true,
        ..Block::EMPTY
    }
}

static PROTOCOLS: List<Explained<Alpn>> = List::of(PROTOCOL).not_empty().distinct();

keys! {
    static CERTIFICATE: CertificateKeys {
        /// PEM file with the certificate and its chain, leaf first.
        cert: Key<PathBuf, Required> = &File, Required;
        /// PEM file with the private key.
        key: Key<PathBuf, Required> = &File, Required;
    }
}

keys! {
    static CLIENT_AUTH: ClientAuthKeys {
        /// PEM file with the authorities that issue the clients' certificates.
        ca: Key<PathBuf, Required> = &File, Required;
        /// `optional` admits clients without a certificate, but a certificate that is presented must be valid.
        mode: Key<ClientAuthMode> =
            &OneOf(&[("required", ClientAuthMode::Required), ("optional", ClientAuthMode::Optional)]),
            Is(|| ClientAuthMode::Required);
    }
}

/// The settings of the listener with these fields, if it has any. Certificates are also added to `all`.
pub(super) fn read(
    listener: &Fields<'_>,
    all: &mut Vec<CertificateFiles>,
    report: &mut Report<'_>,
) -> Option<Tls> {
    let fields = listener.open(&LISTENER.tls, report)?;
    let listed = fields.get(&TLS.certificates);
    let flag = fields.get(&TLS.self_signed);
    let given = fields.given(&TLS.self_signed, report);
    let self_signed = given.flatten().unwrap_or_else(|| TLS.self_signed.default());
    let mut certificates = Vec::new();
    if let Some(listed) = listed {
        let items = listed.mappings(report).unwrap_or_default();
        let read = |item: &Cursor<'_>| certificate(item, report);
        certificates = items.iter().filter_map(read).collect();
    }
    match flag {
        Some(flag) if self_signed && listed.is_some() => {
            let message = "found true next to certificates, allowed: one of the two";
            let help = "remove self_signed if you have real certificates";
            flag.error(report, Complaint::new(message).help(help));
        }
        Some(flag) if self_signed => certificates.push(CertificateFiles {
            cert: report.folder.join("certs/dev.pem"),
            key: report.folder.join("certs/dev-key.pem"),
            site: flag.site.clone(),
            is_development: true,
        }),
        // What is wrong with the flag was reported.
        Some(_) if given == Some(None) => {}
        _ if fields.is_meant(&TLS.certificates) => {}
        _ => listener.get(&LISTENER.tls)?.key_error(
            report,
            "found no certificate, expected certificates, or self_signed: true for development",
        ),
    }
    all.extend(certificates.iter().cloned());
    Some(Tls {
        certificates,
        self_signed,
        min_version: fields.read(&TLS.min_version, report),
        alpn: fields.read(&TLS.alpn, report),
        unknown_sni: fields.read(&TLS.unknown_sni, report),
        client_auth: client_auth(&fields, report),
    })
}

fn client_auth(tls: &Fields<'_>, report: &mut Report<'_>) -> Option<ClientAuth> {
    let fields = tls.open(&TLS.client_auth, report)?;
    let mode = fields.read(&CLIENT_AUTH.mode, report);
    Some(ClientAuth {
        ca: fields.read(&CLIENT_AUTH.ca, report)?,
        mode,
        site: tls.get(&TLS.client_auth)?.site.clone(),
    })
}

fn certificate(item: &Cursor<'_>, report: &mut Report<'_>) -> Option<CertificateFiles> {
    let fields = item.fields(CertificateKeys::BLOCK, report)?;
    let cert = fields.read(&CERTIFICATE.cert, report);
    let key = fields.read(&CERTIFICATE.key, report);
    // Both are read before one can end the function, so that both are reported.
    Some(CertificateFiles {
        cert: cert?,
        key: key?,
        site: item.site.clone(),
        is_development: false,
    })
}
