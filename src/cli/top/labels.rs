//! The names of a record's fields, for people.

use crate::text::Language;

/// The steps before a tunnel is open, in order. The attempts to connect stand before the last one.
pub(super) const STEPS: [&str; 6] = [
    "tls_ms",
    "head_ms",
    "policy_ms",
    "connect_ms",
    "handshake_ms",
    "response_ms",
];

/// A field's name in English and in Chinese.
const LABELS: &[(&str, &str, &str)] = &[
    ("tls_ms", "TLS handshake", "TLS 握手"),
    ("head_ms", "request's head", "请求头"),
    ("policy_ms", "checks", "策略检查"),
    ("connect_ms", "connecting", "连接上游"),
    ("handshake_ms", "upstream's 101", "上游的 101"),
    ("response_ms", "upst. answered", "上游应答"),
    ("lasted_ms", "lasted", "持续"),
    ("idle_ms", "silent before", "结束前静默"),
    ("ended_at", "ended", "结束于"),
    ("close_wait_ms", "waited for Close", "等待 Close"),
    ("first_close", "first Close by", "先发 Close 的"),
    ("status", "HTTP status", "HTTP 状态码"),
    ("client_sees", "client sees", "客户端看到"),
    ("client", "client", "客户端"),
    ("peer", "peer", "对端"),
    ("listener", "listener", "监听地址"),
    ("route", "route", "路由"),
    ("upstream", "upstream", "上游"),
    ("endpoint", "endpoint", "后端"),
    ("host", "host", "Host"),
    ("path", "path", "路径"),
    ("generation", "configuration", "第几份配置"),
    ("origin", "Origin", "Origin"),
    ("user_agent", "User-Agent", "User-Agent"),
    ("conn", "conn", "conn"),
    ("stream_id", "HTTP/2 stream", "HTTP/2 流"),
];

/// A field's name for people; the field's own name if it has no other.
pub(super) fn label(name: &str, language: Language) -> &str {
    let found = LABELS.iter().find(|(field, ..)| *field == name);
    found.map_or(name, |(_, en, zh)| language.pick(en, zh))
}
