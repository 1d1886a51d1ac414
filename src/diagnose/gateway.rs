//! Whose answer it is: fields by which gateways and clouds give themselves away.

use super::exchange::Answer;
use crate::reason::Reason;

/// A field, the beginning of its value in small letters, and who sends it.
const KNOWN: &[(&str, &str, &str)] = &[
    // The hops in front pass it on.
    ("proxy-status", "wsgate", "wsgate"),
    ("x-cloudbase-request-id", "", "Tencent CloudBase (云托管)"),
    (
        "x-cloudbase-upstream-status-code",
        "",
        "Tencent CloudBase (云托管)",
    ),
    ("cf-ray", "", "Cloudflare"),
    ("x-amz-cf-id", "", "Amazon CloudFront"),
    ("server", "awselb", "AWS load balancer"),
    ("x-amzn-trace-id", "", "AWS"),
    ("x-amzn-requestid", "", "AWS API Gateway"),
    ("x-azure-ref", "", "Azure Front Door"),
    (
        "server",
        "microsoft-azure-application-gateway",
        "Azure Application Gateway",
    ),
    ("via", "1.1 google", "Google load balancer"),
    (
        "server",
        "google frontend",
        "Google Cloud Run or App Engine",
    ),
    ("server", "istio-envoy", "Envoy (Istio)"),
    ("server", "envoy", "Envoy"),
    ("x-envoy-upstream-service-time", "", "Envoy"),
    ("server", "nginx", "nginx"),
    ("server", "openresty", "nginx (OpenResty)"),
    ("server", "tengine", "Tengine"),
    ("server", "stgw", "Tencent CLB"),
    ("server", "haproxy", "HAProxy"),
    ("server", "caddy", "Caddy"),
    ("server", "apache", "Apache"),
    ("server", "traefik", "Traefik"),
    ("x-vercel-id", "", "Vercel"),
    ("x-powered-by", "express", "Express"),
    ("server", "wsgate", "wsgate"),
];

/// Who answered, as far as the fields say it; the most specific first.
pub fn answered_by(answer: &Answer) -> Option<&'static str> {
    let found = KNOWN.iter().find(|(field, start, _)| {
        let value = answer.field(field).unwrap_or_default();
        answer.head.headers.contains_key(*field) && value.to_ascii_lowercase().starts_with(start)
    });
    let found = found.map(|(_, _, who)| *who);
    found.or_else(|| {
        let words = answer.words();
        let is_haproxy = HAPROXY.iter().any(|known| words.contains(known));
        is_haproxy.then_some("HAProxy")
    })
}

/// HAProxy's pages, which no field names.
const HAPROXY: [&str; 4] = [
    "no server is available to handle this request",
    "request forbidden by administrative rules",
    "the server didn't respond in time",
    "the server returned an invalid or incomplete response",
];

/// What a status means that has one known cause.
pub fn meaning(status: u16) -> Option<&'static str> {
    Some(match status {
        405 => "this path does not take GET, so it is not a WebSocket endpoint",
        407 => "a forward proxy requires a login",
        413 | 431 => "the request is too large: shorten the cookies or the URL",
        421 => "this server does not serve the host on this connection: check --sni and the host",
        464 => "AWS ALB: the target group has another protocol version than the request",
        501 => "the server does not support the request",
        521 => "Cloudflare: the server refuses its connections",
        522 => "Cloudflare: the server does not accept its connections in time",
        523 => "Cloudflare: the server is unreachable",
        524 => "Cloudflare: the server did not answer in time",
        525 => "Cloudflare: the TLS handshake with the server failed",
        526 => "Cloudflare: the server's certificate is not valid",
        _ => return None,
    })
}

/// Fields that name hops, for the report. Their values are public names.
const NAMING: [&str; 7] = [
    "server",
    "via",
    "x-cloudbase-upstream-status-code",
    "cf-ray",
    "x-amzn-requestid",
    "x-powered-by",
    "proxy-status",
];

/// These fields of an answer.
pub fn naming(answer: &Answer) -> Vec<String> {
    let shown = |name: &&str| answer.field(name).map(|value| format!("{name}: {value}"));
    NAMING.iter().filter_map(shown).collect()
}

/// The reason in an answer of this program, which is a word of its body.
pub fn our_reason(answer: &Answer, answered_by: Option<&str>) -> Option<Reason> {
    let words = answer.words();
    let mut codes = words.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    answered_by.filter(|who| *who == "wsgate")?;
    // Others may call themselves so.
    let is_possible = |reason: &Reason| reason.answers(answer.status());
    codes.find_map(|word| word.parse().ok()).filter(is_possible)
}

/// The words with which servers say that they saw no upgrade.
const WITHOUT_UPGRADE: [&str; 5] = [
    "missing or invalid upgrade",
    "can \"upgrade\" only to \"websocket\"",
    "upgrade required",
    "not a websocket handshake",
    "ws_upgrade_header_missing",
];

/// Whether the server says that it saw no upgrade.
pub fn saw_no_upgrade(words: &str) -> bool {
    WITHOUT_UPGRADE.iter().any(|known| words.contains(known))
}
