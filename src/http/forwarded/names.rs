//! Fields that only a hop in front may set: who or where the client is, or a different path to serve.
//!
//! A backend that believes one of these fields believes it from anyone. So only trusted peers may send them.

use std::sync::LazyLock;

use http::header::HeaderName;

use super::super::opening::is_protected;

/// Whole families of fields: forwarding chains, WeChat's cloud hosting (openid, unionid, app id, environment), the
/// client certificate as reported by hops that terminate mutual TLS, the user as reported by balancers that log users
/// in, and Envoy's own fields.
const FAMILIES: [&str; 11] = [
    "x-forwarded-",
    "x-wx-",
    "x-ssl-client-",
    "ssl-client-",
    "x-client-cert-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-envoy-",
];

/// The letters with which the families begin.
const INITIALS: [u8; 2] = [b'x', b's'];

/// Single fields, grouped by meaning.
const NAMES: &[&str] = &[
    // The client's address, as standards, servers, balancers, CDNs and clouds name it.
    "forwarded",
    "forwarded-for",
    "x-forwarded",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-real-port",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-true-client-ip",
    "x-cluster-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-originating-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "fastly-client-ip",
    "fly-client-ip",
    "do-connecting-ip",
    "incap-client-ip",
    "eo-connecting-ip",
    "eo-client-ip",
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-appengine-user-ip",
    "x-nf-client-connection-ip",
    "x-vercel-forwarded-for",
    // The client's location.
    "cf-ipcountry",
    "x-appengine-country",
    "cloudfront-viewer-address",
    "cloudfront-viewer-country",
    // Whether the client used TLS.
    "front-end-https",
    "x-scheme",
    "x-url-scheme",
    "x-arr-ssl",
    "x-arr-clientcert",
    "cloudfront-forwarded-proto",
    // The client's certificate (RFC 9440).
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    // A different target.
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    // Where a server finds the files of an application.
    "x-accel-mapping",
    "x-sendfile-type",
    // CGI turns it into HTTP_PROXY, which many programs take as a setting.
    PROXY,
];

/// It has no legitimate use, so it is not passed on from anyone, including trusted peers.
const PROXY: &str = "proxy";

/// All listed names are shorter.
const LONGEST: usize = 64;

/// The names by their length, because every field of every request is looked up.
static BY_LENGTH: LazyLock<[Vec<&'static str>; LONGEST]> = LazyLock::new(|| {
    let of_length = |length| {
        NAMES
            .iter()
            .copied()
            .filter(move |name| name.len() == length)
    };
    std::array::from_fn(|length| of_length(length).collect())
});

/// The beginning of a name, folded like in CGI variables: CGI replaces everything but letters and digits with an
/// underscore, and this with a dash.
fn folded<'a>(name: &HeaderName, place: &'a mut [u8; LONGEST]) -> &'a [u8] {
    let bytes = name.as_str().bytes();
    let mut length = 0;
    for (to, from) in place.iter_mut().zip(bytes) {
        *to = if from.is_ascii_alphanumeric() {
            from
        } else {
            b'-'
        };
        length += 1;
    }
    place.get(..length).unwrap_or_default()
}

/// Whether a field may be set only by a hop in front, in any spelling that a gateway would accept for it.
pub(crate) fn is_identity(name: &HeaderName) -> bool {
    let mut place = [0; LONGEST];
    let start = folded(name, &mut place);
    let is_of = |family: &&str| start.starts_with(family.as_bytes());
    let may_be_of_family = start.first().is_some_and(|first| INITIALS.contains(first));
    let same_length = BY_LENGTH.get(name.as_str().len());
    (may_be_of_family && FAMILIES.iter().any(is_of))
        || same_length.is_some_and(|names| names.iter().any(|known| known.as_bytes() == start))
}

/// Whether a field is never passed on, not even from a trusted peer. This is `Proxy`, and any spelling that a gateway
/// could take for a field of a hop in front, of the proxy, or of the request's framing or handshake.
pub(crate) fn is_never_passed_on(name: &HeaderName) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.as_str().bytes().all(is_usual) {
        return name.as_str() == PROXY;
    }
    let mut place = [0; LONGEST];
    let start = folded(name, &mut place);
    is_identity(name) || is_protected(start) || start == b"transfer-encoding"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_in_every_spelling() {
        let is = |name: &str| is_identity(&HeaderName::try_from(name).unwrap());
        for name in [
            "X-WX-OPENID",
            "x-wx-unionid",
            "X_WX_FROM_OPENID",
            "X-Wx-Source",
            "X-Forwarded-For",
            "X_Forwarded-Anything",
            "Forwarded",
            "CF_Connecting_IP",
            "X-Envoy-External-Address",
            "X-SSL-Client-Verify",
            "X_Original_URL",
            "X-Amzn-Mtls-Clientcert-Subject",
            "X-Amzn-Oidc-Identity",
            "X-Goog-Authenticated-User-Email",
            "X-Goog-IAP-JWT-Assertion",
            "X-MS-CLIENT-PRINCIPAL",
            "X-Envoy-Original-Path",
            "X-Accel-Mapping",
            "Proxy",
        ] {
            assert!(is(name), "{name}");
        }
        // Every name, with each separator that a field name may contain (RFC 9110 section 5.6.2).
        for known in NAMES.iter().chain(&FAMILIES) {
            for separator in "!#$%&'*+-.^_`|~".chars() {
                let name = known.replace('-', &separator.to_string());
                assert!(is(&name), "{name}");
                let never = is_never_passed_on(&HeaderName::try_from(&name).unwrap());
                let has_other = separator != '-' && known.contains('-');
                assert_eq!(never, has_other || *known == PROXY, "{name}");
            }
        }
        for (name, expected) in [
            ("content_length", true),
            ("Content.Length", true),
            ("X_Request_ID", true),
            ("Sec~WebSocket~Key", true),
            ("transfer_encoding", true),
            ("content-length", false),
            ("my_field", false),
            ("x.custom", false),
            ("x-real-ip", false),
        ] {
            let found = is_never_passed_on(&HeaderName::try_from(name).unwrap());
            assert_eq!(found, expected, "{name}");
        }
        for name in [
            "x-wx",
            "x-wxyz",
            "x-forwarded2",
            "host",
            "origin",
            "user-agent",
            "x-request-id",
            "traceparent",
            "x-real",
            "x-envoy",
            "proxyx",
        ] {
            assert!(!is(name), "{name}");
        }
        for family in FAMILIES {
            assert!(INITIALS.contains(&family.as_bytes()[0]), "{family}");
        }
        for name in NAMES.iter().chain(&FAMILIES) {
            assert!(!name.contains('_') && *name == name.to_ascii_lowercase());
            assert!(name.len() < LONGEST);
        }
    }
}
