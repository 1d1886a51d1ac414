//! `listeners`: addresses, TLS settings and HTTP/2.

mod http2;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;

pub use http2::{Alpn, Http2};
pub use tls::{CertificateFiles, ClientAuth, ClientAuthMode, Tls, TlsVersion, UnknownSni};

use super::super::fields::Fields;
use super::super::key::{Block, Form, Is, Key, Required, Section, keys};
use super::super::problem::Complaint;
use super::super::report::Report;
use super::super::value::{Address, Flag, OneOf, overlap};
use super::ROOT;
use http2::Http2Keys;
use tls::TlsKeys;

/// One bound address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to bind.
    pub address: SocketAddr,
    /// `None`: plain, for use behind a hop that ends TLS.
    pub tls: Option<Tls>,
    /// How HTTP/2 is served, if `tls` offers it.
    pub http2: Http2,
    /// Whether requests are redirected to the same place over TLS; only without `tls`.
    pub redirect_to_https: bool,
    /// Whether a connection must begin with a PROXY protocol header; only with trusted proxies.
    pub proxy_protocol: bool,
}

keys! {
    pub(super) static LISTENER: ListenerKeys {
        /// The address to listen on: `0.0.0.0:8443`, or `[::]:8443` for IPv6. With port 0 the system chooses a free port.
        address: Key<SocketAddr, Required> = &Address, Required;
        /// Without it the listener is plain, for use behind a hop that ends TLS.
        tls: Section = Form::OptionalMapping, TlsKeys::BLOCK;
        /// HTTP/2, for a listener whose `tls.alpn` has h2.
        http2: Section = Form::Mapping, Http2Keys::BLOCK;
        /// For a listener without `tls`: plain requests get a 308 to https://. Opening handshakes get a 426 that says why,
        /// because their clients do not follow redirects.
        redirect_to_https: Key<bool> = &Flag, Is(|| false);
        /// Whether each connection begins with a PROXY protocol header (version 1 or 2) that names the client. Headers are
        /// accepted from `trusted_proxies` only.
        proxy_protocol: Key<bool> = &OneOf(&[("off", false), ("required", true)]), Is(|| false);
    } with Block {
        foreign: &[(
            "ca cert key",
            "the keys for certificates are listeners[].tls.certificates, and for those of clients \
             listeners[].tls.client_auth",
        )],
        ..Block::EMPTY
    }
}

/// Addresses that can be bound together, and the sites of their listeners.
#[derive(Default)]
struct Bound {
    sites: HashMap<SocketAddr, String>,
    /// The first address of each port and family. If it is a wildcard, it is the only one.
    first: HashMap<(u16, bool), SocketAddr>,
}

impl Bound {
    /// The first address that can't be bound together with `address`, and its site.
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

/// The listeners that could be read; `top` are the fields of the file. `has_trusted` says whether any hop in front is
/// trusted. Certificates are also added to `certificates`, even those of the other listeners.
pub(super) fn read(
    top: &Fields<'_>,
    has_trusted: bool,
    certificates: &mut Vec<CertificateFiles>,
    report: &mut Report<'_>,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut bound = Bound::default();
    let items = top.get(&ROOT.listeners);
    let items = items.and_then(|listeners| listeners.mappings(report));
    for item in items.unwrap_or_default() {
        let Some(fields) = item.fields(ListenerKeys::BLOCK, report) else {
            continue;
        };
        let tls = tls::read(&fields, certificates, report);
        let http2 = http2::read(&fields, report);
        let redirect_to_https = redirect_to_https(&fields, report);
        let proxy_protocol = proxy_protocol(&fields, has_trusted, report);
        let Some((address, cursor)) = fields
            .read(&LISTENER.address, report)
            .zip(fields.get(&LISTENER.address))
        else {
            continue;
        };
        match bound.in_the_way(address) {
            Some((other, first)) if other == address => {
                let message = format!("found {address} again, the address of {first}");
                cursor.error(report, message);
            }
            Some((other, first)) => {
                let message = format!("found {address}, which overlaps with {other} of {first}");
                cursor.error(report, Complaint::new(message).help("use another port"));
            }
            None => bound.add(address, &item.site),
        }
        listeners.push(Listener {
            address,
            tls,
            http2,
            redirect_to_https,
            proxy_protocol,
        });
    }
    listeners
}

fn redirect_to_https(fields: &Fields<'_>, report: &mut Report<'_>) -> bool {
    let redirects = fields.read(&LISTENER.redirect_to_https, report);
    if let Some(cursor) = fields.get(&LISTENER.redirect_to_https)
        && redirects
        && fields.is_meant(&LISTENER.tls)
    {
        let message = "found true next to tls: requests here already use TLS";
        let help = "write it on the listener for port 80";
        cursor.error(report, Complaint::new(message).help(help));
    }
    redirects
}

fn proxy_protocol(fields: &Fields<'_>, has_trusted: bool, report: &mut Report<'_>) -> bool {
    let is_required = fields.read(&LISTENER.proxy_protocol, report);
    if let Some(cursor) = fields.get(&LISTENER.proxy_protocol)
        && is_required
        && !has_trusted
    {
        let message = "found required without trusted_proxies: every connection would be refused";
        let help = "list the load balancer's addresses in trusted_proxies";
        cursor.error(report, Complaint::new(message).help(help));
    }
    is_required
}
