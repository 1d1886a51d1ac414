//! Finds out who the client is, and tells the upstream (RFC 7239, X-Forwarded-*).
//!
//! Only peers in `trusted_proxies` are believed. Only the part of a chain that trusted hops wrote counts: the client is
//! the rightmost address that is not trusted.

mod names;

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(crate) use self::names::{is_identity, is_never_passed_on};
use super::fields::tokens;
use crate::policy::Authority;
use crate::reason::{Note, NoteCode};
use crate::secrets::field_name;
use crate::text::{self, peer_list};

/// The field in which WeChat's cloud hosting sends the client's address.
const X_ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Most addresses of a chain that are passed on; real chains are shorter.
const CHAIN_MAX: usize = 32;

/// Whether an address belongs to a hop that is trusted to name the client. IPv4 addresses in IPv6 notation count as
/// IPv4.
#[must_use]
pub fn is_trusted(ip: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted_proxies.iter().any(|net| net.contains(&ip))
}

/// The client of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The real client.
    pub client: IpAddr,
    /// Whether its connection uses TLS, to the proxy or to a trusted hop in front.
    pub secure: bool,
    /// The chain from the client to our peer, for the upstream.
    chain: Vec<IpAddr>,
    /// The host that was requested from a trusted hop, if the hop says so.
    host: Option<HeaderValue>,
    /// Whether the peer is trusted.
    trusted: bool,
}

impl Identity {
    /// Reads what `peer` says about the client, if it may be believed. `tls`: its connection uses TLS, to the proxy or
    /// to the hop that forwards it with a PROXY header.
    #[must_use]
    pub fn read(
        peer: SocketAddr,
        tls: bool,
        fields: &HeaderMap,
        trusted_proxies: &[IpNet],
    ) -> Self {
        let is_trusted = |ip: &IpAddr| is_trusted(*ip, trusted_proxies);
        let peer = peer.ip().to_canonical();
        let trusted = is_trusted(&peer);
        let mut chain = vec![peer];
        let mut proto = None;
        let mut host = None;
        if trusted {
            // From the nearest hop outward, while the hop that added the entry is trusted.
            for ip in chain_of(fields) {
                let Some(ip) = ip else { break };
                let last_trusted = chain.last().is_some_and(is_trusted);
                if !last_trusted || chain.len() == CHAIN_MAX {
                    break;
                }
                chain.push(ip.to_canonical());
            }
            chain.reverse();
            proto = last_token(fields, &X_FORWARDED_PROTO)
                .or_else(|| forwarded_parameter(fields, "proto"));
            host = fields
                .get_all(&X_FORWARDED_HOST)
                .iter()
                .next_back()
                .filter(|host| Authority::parse(host.as_bytes()).is_some())
                .cloned();
        }
        let client = chain.first().copied().unwrap_or(peer);
        Self {
            client,
            secure: tls || proto.is_some_and(is_secure),
            chain,
            host,
            trusted,
        }
    }

    /// Whether the peer is trusted to name the client.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// A note with the names of identity fields that the peer may not set.
    #[must_use]
    pub fn spoofed(&self, fields: &HeaderMap) -> Option<Note> {
        if self.trusted {
            return None;
        }
        let names = fields.keys().filter(|name| self.strips(name));
        let names = peer_list(names.map(|name| field_name(name.as_str()).as_bytes()), ", ");
        (!names.is_empty()).then(|| Note::new(NoteCode::SpoofedHeaderStripped, names))
    }

    /// Whether a field of the request is not passed on because of its name. Even from a trusted peer, other spellings are
    /// not: a gateway could take them for the fields that [`Identity::write`] sets, or for the peer's own.
    #[must_use]
    pub fn strips(&self, name: &HeaderName) -> bool {
        is_never_passed_on(name) || (!self.trusted && is_identity(name))
    }

    /// Sets the forwarding fields of a request; `asked_host` is the Host that the client requested.
    pub fn write(&self, fields: &mut HeaderMap, asked_host: &HeaderValue) {
        let proto = if self.secure { "https" } else { "http" };
        let host = self.host.as_ref().unwrap_or(asked_host);
        let mut chain = String::with_capacity(64);
        let mut forwarded = String::with_capacity(128);
        for (place, ip) in self.chain.iter().enumerate() {
            if place > 0 {
                chain.push_str(", ");
                forwarded.push_str(", ");
            }
            let ip_text = text::short(ip);
            chain.push_str(&ip_text);
            // An IPv6 address has to be quoted (RFC 7239 section 6).
            let (open, close) = if ip.is_ipv6() {
                ("\"[", "]\"")
            } else {
                ("", "")
            };
            forwarded.extend(["for=", open, &ip_text, close]);
            if let (0, Ok(host)) = (place, host.to_str()) {
                forwarded.push_str(";host=\"");
                forwarded.extend(host.split(['"', '\\']));
                forwarded.extend(["\";proto=", proto]);
            }
        }
        let set = [
            (X_FORWARDED_FOR, HeaderValue::try_from(chain)),
            (X_FORWARDED_PROTO, Ok(HeaderValue::from_static(proto))),
            (X_FORWARDED_HOST, Ok(host.clone())),
            (header::FORWARDED, HeaderValue::try_from(forwarded)),
        ];
        for (name, value) in set {
            if let Ok(value) = value {
                fields.insert(name, value);
            }
        }
    }
}

/// The client that the peer names, trusted or not, and the field that names it.
#[must_use]
pub fn claimed(fields: &HeaderMap) -> Option<(&'static str, IpAddr)> {
    let list = |name: &HeaderName| last_token(fields, name).and_then(address);
    let forwarded = || forwarded_parameter(fields, "for").and_then(address);
    None.or_else(|| Some(("X-Forwarded-For", list(&X_FORWARDED_FOR)?)))
        .or_else(|| Some(("Forwarded", forwarded()?)))
        .or_else(|| Some(("X-Real-IP", list(&X_REAL_IP)?)))
        .or_else(|| Some(("X-Original-Forwarded-For", list(&X_ORIGINAL_FORWARDED_FOR)?)))
        .map(|(name, ip)| (name, ip.to_canonical()))
}

/// Some hops send the scheme of the WebSocket URL.
fn is_secure(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"wss")
}

/// The addresses of the chain, nearest hop first; `None` for what is not an address.
///
/// X-Forwarded-For wins over Forwarded, because a balancer that writes only X-Forwarded-For lets a client's own
/// Forwarded through. For the same reason X-Original-Forwarded-For counts only if both are absent: if they are present,
/// it is what the client itself sent as X-Forwarded-For.
fn chain_of(fields: &HeaderMap) -> Vec<Option<IpAddr>> {
    let last = |name| tokens(fields, name).rev().take(CHAIN_MAX);
    if fields.contains_key(&X_FORWARDED_FOR) {
        return last(&X_FORWARDED_FOR).map(address).collect();
    }
    if !fields.contains_key(header::FORWARDED) {
        return last(&X_ORIGINAL_FORWARDED_FOR).map(address).collect();
    }
    last(&header::FORWARDED)
        .map(|element| {
            let for_ = parameter(element, "for")?;
            address(for_)
        })
        .collect()
}

/// Reads `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn last_token<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    tokens(fields, name).next_back()
}

fn forwarded_parameter<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    parameter(last_token(fields, &header::FORWARDED)?, name)
}

/// The value of `name=value` or `name="value"` in a Forwarded element.
fn parameter<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let (found, value) = pair.split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| {
            value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value)
        })
    })
}

/// The request id as received, if it is safe to log.
///
/// # Errors
/// What is wrong with it, for a note.
pub fn request_id(fields: &HeaderMap) -> Result<Option<&str>, String> {
    const LONGEST: usize = 128;
    let values: Vec<_> = fields.get_all("x-request-id").iter().collect();
    let [value] = values.as_slice() else {
        return if values.is_empty() {
            Ok(None)
        } else {
            Err(format!("{} X-Request-ID fields", values.len()))
        };
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    match value.to_str() {
        Ok(id) if (1..=LONGEST).contains(&id.len()) && id.bytes().all(valid) => Ok(Some(id)),
        Ok(id) if id.bytes().all(valid) => {
            Err(format!("{} bytes, allowed: 1 to {LONGEST}", id.len()))
        }
        _ => {
            let mut bytes = value.as_bytes().iter().enumerate();
            let bad = bytes.find(|(_, byte)| !valid(**byte));
            let (at, byte) = bad.unwrap_or((0, &0));
            Err(format!("byte {at} is \\x{byte:02x}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        fields
    }

    fn read(peer: &str, lines: &[(&str, &str)]) -> Identity {
        let trusted: Vec<IpNet> = vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
        Identity::read(peer.parse().unwrap(), false, &fields(lines), &trusted)
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        for (peer, lines, client) in [
            (
                "203.0.113.9:1",
                &[("x-forwarded-for", "1.2.3.4")][..],
                "203.0.113.9",
            ),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &[("x-forwarded-for", "1.2.3.4")], "1.2.3.4"),
            (
                "10.0.0.1:1",
                &[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.2")],
                "1.2.3.4",
            ),
            (
                "10.0.0.1:1",
                &[
                    ("x-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "1.2.3.4"),
                ],
                "1.2.3.4",
            ),
            (
                "10.0.0.1:1",
                &[("x-forwarded-for", "6.6.6.6, junk, 10.0.0.2")],
                "10.0.0.2",
            ),
            (
                "10.0.0.1:1",
                &[("x-forwarded-for", "1.2.3.4:5555")],
                "1.2.3.4",
            ),
            (
                "10.0.0.1:1",
                &[("x-forwarded-for", "10.0.0.9, 10.0.0.2")],
                "10.0.0.9",
            ),
            (
                "10.0.0.1:1",
                &[(
                    "forwarded",
                    "for=6.6.6.6, for=\"[2001:4860::1]:80\";proto=https",
                )],
                "2001:4860::1",
            ),
            (
                "10.0.0.1:1",
                &[("forwarded", "For=\"_hidden\"")],
                "10.0.0.1",
            ),
            (
                "10.0.0.1:1",
                &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")],
                "1.2.3.4",
            ),
            (
                "10.0.0.1:1",
                &[("x-original-forwarded-for", "6.6.6.6, 1.2.3.4")],
                "1.2.3.4",
            ),
            (
                "10.0.0.1:1",
                &[
                    ("x-original-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "1.2.3.4"),
                ],
                "1.2.3.4",
            ),
            (
                "10.0.0.1:1",
                &[
                    ("x-original-forwarded-for", "6.6.6.6"),
                    ("forwarded", "for=1.2.3.4"),
                ],
                "1.2.3.4",
            ),
            (
                "203.0.113.9:1",
                &[("x-original-forwarded-for", "6.6.6.6")],
                "203.0.113.9",
            ),
            (
                "[::ffff:10.0.0.1]:1",
                &[("x-forwarded-for", "1.2.3.4")],
                "1.2.3.4",
            ),
            (
                "[2001:db8::1]:1",
                &[("x-forwarded-for", "2001:4860::2")],
                "2001:4860::2",
            ),
        ] {
            assert_eq!(
                read(peer, lines).client.to_string(),
                client,
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn the_scheme_is_believed_from_trusted_peers_alone() {
        assert!(read("10.0.0.1:1", &[("x-forwarded-proto", "https")]).secure);
        assert!(read("10.0.0.1:1", &[("forwarded", "for=1.1.1.1;proto=https")]).secure);
        assert!(!read("10.0.0.1:1", &[("x-forwarded-proto", "http")]).secure);
        assert!(read("10.0.0.1:1", &[("x-forwarded-proto", "WSS")]).secure);
        assert!(!read("10.0.0.1:1", &[("x-forwarded-proto", "ws")]).secure);
        assert!(!read("203.0.113.9:1", &[("x-forwarded-proto", "https")]).secure);
    }

    #[test]
    fn forwarded_fields_are_set_fresh() {
        let host = HeaderValue::from_static("api.example.com");
        let spoofed = fields(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x-original-url", "/a"),
        ]);
        let identity = read("203.0.113.9:1", &[("x-forwarded-for", "6.6.6.6")]);
        let note = identity.spoofed(&spoofed).unwrap();
        assert_eq!(
            note.detail.as_deref(),
            Some("x-forwarded-for, x-real-ip, x-original-url")
        );
        assert!(spoofed.keys().all(|name| identity.strips(name)));
        let mut fresh = HeaderMap::new();
        identity.write(&mut fresh, &host);
        assert_eq!(
            fresh,
            fields(&[
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "api.example.com"),
                (
                    "forwarded",
                    "for=203.0.113.9;host=\"api.example.com\";proto=http"
                ),
            ])
        );
        let lines = [
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "1.2.3.4"),
        ];
        let mut chained = fields(&lines);
        let identity = read("10.0.0.1:1", &lines);
        assert_eq!(identity.spoofed(&chained), None);
        assert!(!chained.keys().any(|name| identity.strips(name)));
        identity.write(&mut chained, &host);
        assert_eq!(chained["x-forwarded-for"], "1.2.3.4, 10.0.0.1");
        assert_eq!(chained["x-forwarded-proto"], "https");
        assert_eq!(chained["x-real-ip"], "1.2.3.4");
        assert_eq!(
            chained["forwarded"],
            "for=1.2.3.4;host=\"api.example.com\";proto=https, for=10.0.0.1"
        );
        let identity = read("[2001:db9::1]:1", &[]);
        identity.write(&mut chained, &HeaderValue::from_static("a\"b\\c"));
        assert_eq!(
            chained["forwarded"],
            "for=\"[2001:db9::1]\";host=\"abc\";proto=http"
        );
    }

    #[test]
    fn request_ids_are_bounded() {
        assert_eq!(request_id(&fields(&[])), Ok(None));
        assert_eq!(
            request_id(&fields(&[("x-request-id", "a-1.B_2:3")])),
            Ok(Some("a-1.B_2:3"))
        );
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert!(
                request_id(&fields(&[("x-request-id", bad)])).is_err(),
                "{bad:?}"
            );
        }
        assert!(request_id(&fields(&[("x-request-id", "a"), ("x-request-id", "b")])).is_err());
    }
}
