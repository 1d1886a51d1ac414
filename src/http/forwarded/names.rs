//! Fields that only a hop in front may set: who or where the client is, and another path to serve.
//!
//! A backend that believes one of them would believe it from anyone; so they come from trusted peers or not at all.

use http::header::HeaderName;

/// Whole families: chains and their kin, WeChat's cloud hosting (openid, unionid, app id, environment), what hops that
/// end mutual TLS say of the client's certificate, and what balancers that log users in say of the user.
const FAMILIES: [&str; 10] = [
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
    "x-envoy-external-address",
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
];

/// Whether a field may be set only by a hop in front. An underscore counts as a dash, which it becomes in CGI variables.
pub(crate) fn is_identity(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    FAMILIES.iter().any(|family| name.starts_with(family)) || NAMES.contains(&name.as_str())
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
        ] {
            assert!(is(name), "{name}");
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
        ] {
            assert!(!is(name), "{name}");
        }
        for name in NAMES.iter().chain(&FAMILIES) {
            assert!(!name.contains('_') && *name == name.to_ascii_lowercase());
        }
    }
}
