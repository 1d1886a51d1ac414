//! Fields that only a hop in front may set: who or where the client is, and another path to serve.
//!
//! A backend that believes one of these fields would believe it from anyone. Therefore only trusted peers may send
//! them.

use http::header::HeaderName;

use super::super::opening::is_protected;

/// Whole families: chains and their kin, WeChat's cloud hosting (openid, unionid, app id, environment), what hops that
/// end mutual TLS say of the client's certificate, what balancers that log users in say of the user, and what Envoy tells
/// and is told.
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

/// Single fields, by what they tell.
const NAMES: &[&str] = &[
    // The client's address, as the standard, servers, balancers, content networks and clouds spell it.
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
    // Where the client is said to be.
    "cf-ipcountry",
    "x-appengine-country",
    "cloudfront-viewer-address",
    "cloudfront-viewer-country",
    // Whether it came over TLS.
    "front-end-https",
    "x-scheme",
    "x-url-scheme",
    "x-arr-ssl",
    "x-arr-clientcert",
    "cloudfront-forwarded-proto",
    // Its certificate (RFC 9440).
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    // Another target than the request's own.
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    // Where a server finds files for its application.
    "x-accel-mapping",
    "x-sendfile-type",
    // As HTTP_PROXY it is a setting of programs that a CGI application runs.
    PROXY,
];

/// Nobody has a use for it, so that it comes from nobody, a trusted peer included.
const PROXY: &str = "proxy";

/// Longest name that matters.
const LONGEST: usize = 64;

/// The beginning of a name as CGI variables spell it: they turn everything but letters and digits into an underscore, and
/// this turns it into a dash.
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

/// Whether a field may be set only by a hop in front, in any spelling that a gateway takes for it.
pub(crate) fn is_identity(name: &HeaderName) -> bool {
    let mut place = [0; LONGEST];
    let start = folded(name, &mut place);
    let is_it = |known: &str| known.as_bytes() == start;
    FAMILIES
        .iter()
        .any(|family| start.starts_with(family.as_bytes()))
        || (name.as_str().len() < LONGEST && NAMES.iter().any(|known| is_it(known)))
}

/// Whether a field is passed on from nobody: another spelling of one that a hop in front or the proxy sets, or of one that
/// says what a request is, which a gateway would take for that; and `Proxy`.
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
        // Every name, with each separator that a field name can have (RFC 9110 section 5.6.2).
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
        for name in NAMES.iter().chain(&FAMILIES) {
            assert!(!name.contains('_') && *name == name.to_ascii_lowercase());
            assert!(name.len() < LONGEST);
        }
    }
}
