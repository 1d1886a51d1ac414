//! `listeners`: addresses and TLS settings.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use super::super::problem::quoted;
use super::super::reader::{Cursor, Fields};
use super::super::report::Report;
use super::super::shape;
use super::super::{
    CertificateFiles, ClientAuth, ClientAuthMode, Listener, Tls, TlsVersion, UnknownSni,
};
use super::word;

const ADDRESS: &str = "an IP address and a port such as 0.0.0.0:8443 or [::]:8443";

/// Addresses that can be bound together, and the sites of their listeners.
#[derive(Default)]
struct Seen {
    sites: HashMap<SocketAddr, String>,
    /// The first of each port and family: the only one where it is a wildcard.
    first: HashMap<(u16, bool), SocketAddr>,
}

impl Seen {
    /// The first address beside which `address` can't be bound, with its site.
    fn in_the_way(&self, address: SocketAddr) -> Option<(SocketAddr, &str)> {
        let first = self.first.get(&(address.port(), address.is_ipv4()));
        let mut others = first.into_iter().chain([&address]);
        let other = *others.find(|other| overlap(address, **other))?;
        Some((other, self.sites.get(&other)?))
    }

    fn add(&mut self, address: SocketAddr, site: &str) {
        let port = (address.port(), address.is_ipv4());
        self.first.entry(port).or_insert(address);
        self.sites.insert(address, site.to_owned());
    }
}

/// The listeners that could be read; certificates are also added to `certificates`, of the others too. `has_trusted`
/// says whether any hop in front is trusted.
pub fn resolve(
    cursor: &Cursor<'_>,
    folder: &Path,
    has_trusted: bool,
    certificates: &mut Vec<CertificateFiles>,
    report: &mut Report<'_>,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut seen = Seen::default();
    for item in cursor.blocks(report).unwrap_or_default() {
        let Some(fields) = item.fields(&shape::LISTENER, report) else {
            continue;
        };
        let tls = fields
            .get("tls")
            .and_then(|cursor| tls(cursor, folder, certificates, report));
        let redirect_to_https = fields.get("redirect_to_https").and_then(|cursor| {
            let flag = cursor.flag(report)?;
            if flag && fields.is_meant("tls") {
                let message = "found true next to tls: requests here already use TLS";
                let help = Some("write it on the listener for port 80".to_owned());
                cursor.error_with(report, message, help);
            }
            Some(flag)
        });
        let proxy_protocol = proxy_protocol(&fields, has_trusted, report);
        let Some(cursor) = fields.get("address") else {
            continue;
        };
        let Some(address) = address(cursor, report) else {
            continue;
        };
        match seen.in_the_way(address) {
            Some((other, first)) if other == address => {
                let message = format!("found {address} again, the address of {first}");
                cursor.error(report, message);
            }
            Some((other, first)) => {
                let message = format!("found {address}, which overlaps with {other} of {first}");
                cursor.error_with(report, message, Some("use another port".to_owned()));
            }
            None => seen.add(address, &item.site),
        }
        listeners.push(Listener {
            address,
            tls,
            redirect_to_https: redirect_to_https.unwrap_or(false),
            proxy_protocol,
        });
    }
    listeners
}

fn proxy_protocol(fields: &Fields<'_>, has_trusted: bool, report: &mut Report<'_>) -> bool {
    const WORDS: [(&str, bool); 2] = [("off", false), ("required", true)];
    let required = word(fields, "proxy_protocol", &WORDS, false, report);
    if let Some(cursor) = fields
        .get("proxy_protocol")
        .filter(|_| required && !has_trusted)
    {
        cursor.error_with(
            report,
            "found required without trusted_proxies: every connection would be refused",
            Some("list the load balancer's addresses in trusted_proxies".to_owned()),
        );
    }
    required
}

/// The address and port behind `cursor`.
pub(super) fn address(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let spelled = cursor.spelled(ADDRESS, report)?;
    let text = spelled.text.as_str();
    if let Ok(address) = text.parse::<SocketAddr>() {
        let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
        if canonical.is_ipv4() && address.is_ipv6() {
            let message = format!("found {address}, which is an IPv4 address");
            cursor.error_with(report, message, Some(format!("write {canonical}")));
            return None;
        }
        return Some(address);
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    let port = text
        .strip_prefix(':')
        .or_else(|| text.strip_prefix("*:"))
        .unwrap_or(text);
    let help = if bare.parse::<SocketAddr>().is_ok() {
        Some(format!("write {bare}"))
    } else if port.parse::<u16>().is_ok() {
        Some(format!("write 0.0.0.0:{port}"))
    } else if let Some(port) = text.strip_prefix("localhost:") {
        Some(format!("write 127.0.0.1:{port}"))
    } else if text.parse::<std::net::Ipv4Addr>().is_ok() {
        Some(format!("write {text}:8443"))
    } else if bare.matches(':').count() > 1 && !bare.starts_with('[') {
        Some("write an IPv6 address in brackets, such as [::1]:8443".to_owned())
    } else if has_large_port(bare) {
        Some("the highest port is 65535".to_owned())
    } else {
        None
    };
    cursor.error_with(
        report,
        format!("{}, expected {ADDRESS}", spelled.found()),
        help,
    );
    None
}

/// Whether the second of two sockets with these addresses can't be bound. A wildcard takes its own family only, and
/// each port 0 is a port of its own.
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same_ip
}

/// Whether nothing but the number of the port is wrong.
fn has_large_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u32>().is_ok_and(|port| port > 65535)
            && format!("{host}:0").parse::<SocketAddr>().is_ok()
    })
}

fn tls(
    cursor: &Cursor<'_>,
    folder: &Path,
    all: &mut Vec<CertificateFiles>,
    report: &mut Report<'_>,
) -> Option<Tls> {
    const VERSIONS: [(&str, TlsVersion); 2] =
        [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    const UNKNOWN: [(&str, UnknownSni); 2] = [
        ("refuse", UnknownSni::Refuse),
        ("default", UnknownSni::Default),
    ];
    let fields = cursor.fields(&shape::TLS, report)?;
    let listed = fields.get("certificates");
    let flag = fields.get("self_signed");
    let self_signed = flag.and_then(|flag| flag.flag(report));
    let mut certificates = Vec::new();
    match (listed, flag) {
        (Some(_), Some(flag)) if self_signed == Some(true) => {
            flag.error_with(
                report,
                "found true next to certificates, allowed: one of the two",
                Some("remove self_signed if you have real certificates".to_owned()),
            );
        }
        (None, Some(flag)) if self_signed == Some(true) => certificates.push(CertificateFiles {
            cert: folder.join("certs/dev.pem"),
            key: folder.join("certs/dev-key.pem"),
            site: flag.site.clone(),
            is_development: true,
        }),
        // What is wrong with the flag is already told.
        (None, Some(_)) if self_signed.is_none() => {}
        (None, _) if !fields.is_meant("certificates") => cursor.key_error(
            report,
            "found no certificate, expected certificates, or self_signed: true for development",
            None,
        ),
        _ => {}
    }
    if let Some(listed) = listed {
        let items = listed.blocks(report).unwrap_or_default();
        certificates.extend(
            items
                .iter()
                .filter_map(|item| certificate(item, folder, report)),
        );
    }
    all.extend(certificates.iter().cloned());
    Some(Tls {
        certificates,
        self_signed: self_signed.unwrap_or(false),
        min_version: word(&fields, "min_version", &VERSIONS, TlsVersion::V1_2, report),
        unknown_sni: word(&fields, "unknown_sni", &UNKNOWN, UnknownSni::Refuse, report),
        client_auth: fields
            .get("client_auth")
            .and_then(|cursor| client_auth(cursor, folder, report)),
    })
}

fn client_auth(cursor: &Cursor<'_>, folder: &Path, report: &mut Report<'_>) -> Option<ClientAuth> {
    const MODES: [(&str, ClientAuthMode); 2] = [
        ("required", ClientAuthMode::Required),
        ("optional", ClientAuthMode::Optional),
    ];
    let fields = cursor.fields(&shape::CLIENT_AUTH, report)?;
    let mode = word(&fields, "mode", &MODES, ClientAuthMode::Required, report);
    let ca = file(&fields, "ca", report)?;
    Some(ClientAuth {
        ca: folder.join(ca),
        mode,
        site: cursor.site.clone(),
    })
}

fn certificate(
    item: &Cursor<'_>,
    folder: &Path,
    report: &mut Report<'_>,
) -> Option<CertificateFiles> {
    let fields = item.fields(&shape::CERTIFICATE, report)?;
    let cert = file(&fields, "cert", report);
    let key = file(&fields, "key", report);
    // Both are read before either is given up, so that both are reported.
    let (cert, key) = (cert?, key?);
    Some(CertificateFiles {
        cert: folder.join(cert),
        key: folder.join(key),
        site: item.site.clone(),
        is_development: false,
    })
}

/// The path behind `name`.
pub(super) fn file(fields: &Fields<'_>, name: &str, report: &mut Report<'_>) -> Option<String> {
    let cursor = fields.get(name)?;
    let text = cursor.text("the path of a PEM file", report)?;
    if text.starts_with("-----BEGIN") {
        let message = format!(
            "found {}, expected the path of a PEM file",
            quoted("-----BEGIN …")
        );
        let help = Some("put the PEM text into a separate file".to_owned());
        cursor.error_with(report, message, help);
        return None;
    }
    Some(text)
}
