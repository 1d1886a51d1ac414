//! What is wrong with a chain as a server sent it, for a client that fetches nothing: browsers may find a missing
//! intermediate elsewhere, Android and mini programs don't.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::host_names;
use super::validity::{day, validity};
use crate::text::peer_text;

/// A certificate of a chain, in words. Every text is printable.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Described {
    /// The subject, or its first name if the subject is empty.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The beginning of its validity, RFC 3339 in UTC.
    pub begins: String,
    /// The end of its validity, RFC 3339 in UTC.
    pub expires: String,
    /// The host names that it covers.
    pub names: Vec<String>,
    /// The type and size of its key.
    pub key: String,
    /// The algorithm of its signature.
    pub signature: String,
}

/// Something wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server sent no certificate, or one that can't be parsed.
    Unreadable,
    /// It is over.
    Expired,
    /// It has not begun.
    NotYetValid,
    /// It covers other names.
    WrongName,
    /// The server's certificate signed itself.
    SelfSigned,
    /// The server presents the certificate of an authority.
    Authority,
    /// The issuer of the last certificate was not sent and is not trusted.
    MissingIntermediate,
    /// The chain ends at an authority that is not trusted.
    UnknownAuthority,
    /// It does not verify for another reason.
    Other,
    /// The certificates are not in the order in which each is followed by its issuer.
    Order,
    /// RSA with less than 2048 bits.
    WeakKey,
    /// A signature with SHA-1 or MD5.
    WeakSignature,
    /// It expires soon.
    ExpiresSoon,
}

/// A fault and its facts.
pub type Found = (Fault, String);

/// Fewer days than this are worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The shortest RSA key that clients accept.
const RSA_BITS: usize = 2048;

/// Describes a chain and finds its faults for a client that asked for `host`, except those that only a verification finds.
#[must_use]
pub fn examine(
    chain: &[CertificateDer<'_>],
    host: &str,
    now: SystemTime,
) -> (Vec<Described>, Vec<Found>) {
    let parsed: Option<Vec<_>> = chain
        .iter()
        .map(|der| {
            X509Certificate::from_der(der)
                .ok()
                .map(|(_, parsed)| parsed)
        })
        .collect();
    let Some(parsed) = parsed.filter(|parsed| !parsed.is_empty()) else {
        let detail = format!(
            "{} certificates were sent, and one can't be read",
            chain.len()
        );
        return (Vec::new(), vec![(Fault::Unreadable, detail)]);
    };
    let mut found = Vec::new();
    for (index, certificate) in parsed.iter().enumerate() {
        let subject = subject(certificate);
        let which = match index {
            0 => String::new(),
            index => format!("certificate {} of the chain, {subject}: ", index + 1),
        };
        dates(certificate, &which, now, &mut found);
        if let Some(key) = weak_key(certificate) {
            found.push((Fault::WeakKey, format!("{which}{key}")));
        }
        if let Some(algorithm) = weak_signature(certificate) {
            found.push((Fault::WeakSignature, format!("{which}{algorithm}")));
        }
    }
    if let Some(leaf) = parsed.first() {
        let names = host_names::names(leaf);
        if !names.covers(host) {
            let all: Vec<_> = names.names().take(10).collect();
            let all = match all.as_slice() {
                [] => "no name".to_owned(),
                all => all.join(", "),
            };
            found.push((
                Fault::WrongName,
                format!(
                    "the certificate is for {}, not for {host}",
                    peer_text(all.as_bytes())
                ),
            ));
        }
    }
    let follows = |pair: &[X509Certificate<'_>]| match pair {
        [one, next] => one.issuer().as_raw() == next.subject().as_raw(),
        _ => true,
    };
    if let Some(at) = parsed.windows(2).position(|pair| !follows(pair)) {
        found.push((
            Fault::Order,
            format!(
                "certificate {} of the chain is not followed by its issuer, {}",
                at + 1,
                parsed.get(at).map(issuer).unwrap_or_default()
            ),
        ));
    }
    (parsed.iter().map(describe).collect(), found)
}

/// Why the issuer of a chain is not known. `is_trusted` says whether an authority with this name is trusted.
#[must_use]
pub fn unknown_issuer(chain: &[CertificateDer<'_>], is_trusted: impl Fn(&[u8]) -> bool) -> Found {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|der| {
            X509Certificate::from_der(der)
                .ok()
                .map(|(_, parsed)| parsed)
        })
        .collect();
    let (Some(leaf), Some(last)) = (parsed.first(), end_of(&parsed)) else {
        return (Fault::Unreadable, "no certificate".to_owned());
    };
    let is_own = |one: &X509Certificate<'_>| one.issuer().as_raw() == one.subject().as_raw();
    if is_own(leaf) {
        return (Fault::SelfSigned, subject(leaf));
    }
    let issuer = issuer(last);
    if is_own(last) {
        return (
            Fault::UnknownAuthority,
            format!("the chain ends at {issuer}, which is not trusted"),
        );
    }
    if is_trusted(last.issuer().as_raw()) {
        return (
            Fault::UnknownAuthority,
            format!("an authority named {issuer} is trusted, but it has another key"),
        );
    }
    let sent = match parsed.len() {
        1 => "only the server's own certificate was sent".to_owned(),
        count => format!("{count} certificates were sent"),
    };
    let mut detail = format!("{sent}; missing: {issuer}");
    if let Some(url) = issuer_url(last) {
        detail.push_str(&format!(", which {url} has"));
    }
    (Fault::MissingIntermediate, detail)
}

/// The last certificate that can be reached from the first one, whatever their order is.
fn end_of<'p, 'c>(parsed: &'p [X509Certificate<'c>]) -> Option<&'p X509Certificate<'c>> {
    let mut end = parsed.first()?;
    for _ in parsed {
        let next = parsed.iter().find(|next| {
            next.subject().as_raw() == end.issuer().as_raw()
                && next.subject().as_raw() != end.subject().as_raw()
        });
        match next {
            Some(next) => end = next,
            None => break,
        }
    }
    Some(end)
}

fn dates(certificate: &X509Certificate<'_>, which: &str, now: SystemTime, found: &mut Vec<Found>) {
    let (begins, expires) = validity(certificate);
    if expires < now {
        let days = days(now, expires);
        found.push((
            Fault::Expired,
            format!("{which}expired on {}, {days} ago", day(expires)),
        ));
    } else if begins > now {
        found.push((
            Fault::NotYetValid,
            format!("{which}not valid before {}", day(begins)),
        ));
    } else if expires < now + SOON {
        found.push((
            Fault::ExpiresSoon,
            format!(
                "{which}expires on {}, in {}",
                day(expires),
                days(expires, now)
            ),
        ));
    }
}

/// The whole days between two times.
fn days(later: SystemTime, earlier: SystemTime) -> String {
    let between = later.duration_since(earlier).unwrap_or_default();
    let days = between.as_secs() / (24 * 3600);
    crate::text::counted(usize::try_from(days).unwrap_or(usize::MAX), "day")
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject().to_string();
    let shown = match subject.is_empty() {
        true => host_names::names(certificate)
            .names()
            .next()
            .unwrap_or_default(),
        false => subject,
    };
    peer_text(shown.as_bytes())
}

fn issuer(certificate: &X509Certificate<'_>) -> String {
    peer_text(certificate.issuer().to_string().as_bytes())
}

fn describe(certificate: &X509Certificate<'_>) -> Described {
    let (begins, expires) = validity(certificate);
    let names = host_names::names(certificate);
    Described {
        subject: subject(certificate),
        issuer: issuer(certificate),
        begins: day(begins),
        expires: day(expires),
        names: names
            .names()
            .take(50)
            .map(|name| peer_text(name.as_bytes()))
            .collect(),
        key: key(certificate),
        signature: signature(certificate),
    }
}

fn key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC {}", point.key_size()),
        Ok(_) | Err(_) => certificate.public_key().algorithm.algorithm.to_id_string(),
    }
}

fn weak_key(certificate: &X509Certificate<'_>) -> Option<String> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < RSA_BITS => {
            Some(format!("RSA with {} bits", rsa.key_size()))
        }
        _ => None,
    }
}

/// Whether the key of a certificate is too weak.
#[must_use]
pub(super) fn has_weak_key(der: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(der);
    parsed.is_ok_and(|(_, certificate)| weak_key(&certificate).is_some())
}

/// Names of signature algorithms (RFC 8017, RFC 5758, RFC 8410).
const SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256"),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384"),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256"),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512"),
    ("1.3.101.112", "Ed25519"),
];

fn signature(certificate: &X509Certificate<'_>) -> String {
    let id = certificate.signature_algorithm.algorithm.to_id_string();
    let known = SIGNATURES.iter().find(|(known, _)| *known == id);
    known.map_or_else(|| id.clone(), |(_, name)| (*name).to_owned())
}

fn weak_signature(certificate: &X509Certificate<'_>) -> Option<String> {
    let is_own = certificate.issuer().as_raw() == certificate.subject().as_raw();
    let name = signature(certificate);
    // Nobody verifies the signature of a root.
    (!is_own && (name.ends_with("MD5") || name.ends_with("SHA-1"))).then_some(name)
}

/// Where the issuer's certificate can be downloaded (RFC 5280 section 4.2.2.1). The issuer is then probably not a root that
/// clients have.
pub(super) fn issuer_url(certificate: &X509Certificate<'_>) -> Option<String> {
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            return None;
        };
        access
            .accessdescs
            .iter()
            .find_map(|entry| match &entry.access_location {
                GeneralName::URI(url)
                    if entry.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS =>
                {
                    Some(peer_text(url.as_bytes()))
                }
                _ => None,
            })
    })
}
