//! `routes`: which requests are accepted. The policy's own types parse the values.

mod plain;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::problem::quoted;
use super::super::reader::{Cursor, Fields};
use super::super::report::Report;
use super::super::{Endpoint, shape};
use super::upstreams::Upstreams;
use super::{duration, word};
use crate::policy::{
    Enforcement, Forward, HostPattern, MissingOrigin, OriginRule, PathPattern, Ping, Route, Serves,
    WebSocketRules,
};

/// Far more than a message should have, far less than what its length field could say.
const MESSAGE_BYTES: RangeInclusive<usize> = 1..=1024 * 1024 * 1024;

/// The routes that could be read; their upstreams are claimed.
pub fn resolve(
    cursor: &Cursor<'_>,
    upstreams: &mut Upstreams<'_>,
    report: &mut Report<'_>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut seen: HashMap<(Option<HostPattern>, String), String> = HashMap::new();
    let Some(items) = cursor.blocks(report) else {
        upstreams.claim_unclear();
        return routes;
    };
    for item in items {
        let Some(fields) = item.fields(&shape::ROUTE, report) else {
            upstreams.claim_unclear();
            continue;
        };
        let host = host(&fields, report);
        let path = path(&fields, report);
        let serves = serves(&item, &fields, &host, upstreams, report);
        if let (Some(host), Some((text, _))) = (host.as_readable(), &path) {
            match seen.entry((host, text.clone())) {
                Entry::Occupied(first) => {
                    let first = first.get();
                    let message = format!("found the host and path of {first} again");
                    let help = Some("the first route that matches is used: put this websocket or http on that route"
                        .to_owned());
                    fields
                        .get("path")
                        .unwrap_or(&item)
                        .error_with(report, message, help);
                }
                Entry::Vacant(place) => {
                    place.insert(item.site.clone());
                }
            }
        }
        if let (Some((_, path)), Some(serves)) = (path, serves) {
            routes.push(Route {
                host: host.as_readable().flatten(),
                path,
                serves,
            });
        }
    }
    routes
}

/// What the keys beside host and path say, which exclude or need each other.
fn serves(
    item: &Cursor<'_>,
    fields: &Fields<'_>,
    host: &Host,
    upstreams: &mut Upstreams<'_>,
    report: &mut Report<'_>,
) -> Option<Serves> {
    let websocket = fields.get("websocket");
    let http = fields.get("http");
    if let Some(cursor) = fields.get("respond") {
        for other in ["websocket", "http", "upstream"] {
            if let Some(other) = fields.get(other) {
                let message = "found it next to respond, which answers without an upstream";
                let help = Some("remove one of the two".to_owned());
                other.key_error(report, message, help);
            }
        }
        return plain::respond(cursor, report).map(Serves::Respond);
    }
    let websocket = websocket.map(|cursor| self::websocket(cursor, host, report));
    let http = http.map(|cursor| plain::http(cursor, report));
    let is_meant = |names: &[&str]| names.iter().any(|name| fields.is_meant(name));
    if !is_meant(&["websocket", "http", "respond"]) {
        let message = "missing one of the keys \"websocket\", \"http\" and \"respond\"";
        let help = "write websocket for opening handshakes, http for plain requests, both, or respond if the proxy \
                    itself answers";
        item.error_with(report, message, Some(help.to_owned()));
    }
    let upstream = fields.get("upstream").and_then(|cursor| {
        let name = cursor.text("a name of upstreams", report)?;
        upstreams.claim(cursor, &name, report);
        Some(name)
    });
    let Some(upstream) = upstream else {
        upstreams.claim_unclear();
        if is_meant(&["websocket", "http"]) && !is_meant(&["upstream"]) {
            item.error(report, "missing required key \"upstream\"");
        }
        return None;
    };
    let (websocket, http) = (websocket.flatten(), http.flatten());
    let resolved = upstreams.resolved.get(&upstream);
    let is_echo = resolved.is_some_and(|upstream| upstream.endpoints.contains(&Endpoint::Echo));
    if let (Some(cursor), true) = (fields.get("http"), is_echo) {
        let message = format!(
            "found it with upstream {upstream}, whose builtin:echo answers only opening handshakes"
        );
        let help = Some("name an upstream that speaks HTTP".to_owned());
        cursor.key_error(report, message, help);
    }
    (websocket.is_some() || http.is_some()).then_some(Serves::Forward(Box::new(Forward {
        upstream,
        websocket,
        http,
    })))
}

/// `routes[].host`.
enum Host {
    Absent,
    Read(HostPattern),
    Unreadable,
}

impl Host {
    /// `None` if it is there and could not be read.
    fn as_readable(&self) -> Option<Option<HostPattern>> {
        match self {
            Self::Absent => Some(None),
            Self::Read(pattern) => Some(Some(pattern.clone())),
            Self::Unreadable => None,
        }
    }
}

fn host(fields: &Fields<'_>, report: &mut Report<'_>) -> Host {
    let Some(cursor) = fields.get("host") else {
        return Host::Absent;
    };
    let Some(text) = cursor.text("a host name", report) else {
        return Host::Unreadable;
    };
    match HostPattern::parse(&text) {
        Ok(pattern) => Host::Read(pattern),
        Err(message) => {
            cursor.error(report, message);
            Host::Unreadable
        }
    }
}

fn path(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<(String, PathPattern)> {
    let cursor = fields.get("path")?;
    let text = cursor.text("a path such as /stream", report)?;
    match PathPattern::parse(&text) {
        Ok(pattern) => Some((text, pattern)),
        Err(message) => {
            cursor.error(report, message);
            None
        }
    }
}

fn websocket(cursor: &Cursor<'_>, host: &Host, report: &mut Report<'_>) -> Option<WebSocketRules> {
    const MISSING: [(&str, MissingOrigin); 2] = [
        ("refuse", MissingOrigin::Refuse),
        ("allow", MissingOrigin::Allow),
    ];
    const POLICY: [(&str, Enforcement); 2] = [
        ("enforce", Enforcement::Enforce),
        ("report", Enforcement::Report),
    ];
    let fields = cursor.fields(&shape::WEBSOCKET, report)?;
    let mut timer = |name| {
        let cursor = fields.get(name);
        cursor.and_then(|cursor| cursor.duration_or_off(report)?)
    };
    let idle_timeout = timer("idle_timeout");
    let max_lifetime = timer("max_lifetime");
    let max_message = fields
        .get("max_message")
        .and_then(|cursor| cursor.size_or_off(MESSAGE_BYTES, "1 byte to 1GiB, or off", report)?);
    let explain_refusals = fields
        .get("explain_refusals")
        .and_then(|cursor| cursor.flag(report));
    Some(WebSocketRules {
        origins: origins(&fields, host, report),
        missing_origin: word(
            &fields,
            "missing_origin",
            &MISSING,
            MissingOrigin::Refuse,
            report,
        ),
        wechat_app_ids: wechat_app_ids(&fields, report),
        enforcement: word(&fields, "policy", &POLICY, Enforcement::Enforce, report),
        subprotocols: subprotocols(&fields, report),
        idle_timeout,
        ping: fields.get("ping").and_then(|cursor| ping(cursor, report)),
        max_lifetime,
        // Within its bounds on every machine.
        max_message: max_message.and_then(|bytes| bytes.try_into().ok()),
        explain_refusals: explain_refusals.unwrap_or(false),
    })
}

fn ping(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<Ping> {
    let fields = cursor.fields_or_off(&shape::PING, report)??;
    let timeout = duration(&fields, "timeout", Duration::from_secs(10), report);
    let interval = fields.get("interval")?.duration(report)?;
    Some(Ping { interval, timeout })
}

fn origins(fields: &Fields<'_>, host: &Host, report: &mut Report<'_>) -> Vec<OriginRule> {
    const WHAT: &str = "an origin such as https://app.example.com";
    let app_ids = fields.get("wechat_app_ids");
    let items = fields
        .get("origins")
        .and_then(|origins| origins.some_items(WHAT, report));
    let Some(items) = items else {
        return Vec::new();
    };
    let mut rules = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = item.text(WHAT, report) else {
            continue;
        };
        let rule = match OriginRule::parse(&text) {
            Ok(rule) => rule,
            Err(message) => {
                item.error(report, message);
                continue;
            }
        };
        if rule.needs_exact_host() {
            let found = match host {
                Host::Absent => Some("no host"),
                Host::Read(HostPattern::Wildcard(_)) => Some("a wildcard"),
                Host::Read(HostPattern::Exact(_)) | Host::Unreadable => None,
            };
            if let Some(found) = found {
                let message = format!(
                    "{} needs an exact host on its route, found {found}",
                    quoted(&text)
                );
                let help = Some("write the host, or the origin in full".to_owned());
                item.error_with(report, message, help);
            }
        }
        if rule.needs_wechat_app_ids() && app_ids.is_none() {
            let message = format!(
                "{} needs wechat_app_ids next to origins, which is missing",
                quoted(&text)
            );
            item.error(report, message);
        }
        rules.push(rule);
    }
    let are_all_read = rules.len() == items.len();
    if let Some(app_ids) = app_ids
        && are_all_read
        && !rules.iter().any(OriginRule::needs_wechat_app_ids)
    {
        let help = "add wechat to origins, or remove wechat_app_ids";
        app_ids.key_warning(
            report,
            "found no origin \"wechat\", so nothing uses these app ids",
            help,
        );
    }
    rules
}

fn wechat_app_ids(fields: &Fields<'_>, report: &mut Report<'_>) -> Vec<String> {
    const WHAT: &str = "wx and 16 hexadecimal digits in lower case";
    let Some(cursor) = fields.get("wechat_app_ids") else {
        return Vec::new();
    };
    let mut ids = Vec::new();
    for item in cursor.some_items(WHAT, report).unwrap_or_default() {
        let Some(text) = item.text(WHAT, report) else {
            continue;
        };
        if is_app_id(&text) {
            ids.push(text);
            continue;
        }
        let lower = text.to_ascii_lowercase();
        let help = is_app_id(&lower).then(|| format!("write {lower}"));
        item.error_with(
            report,
            format!("found {}, expected {WHAT}", quoted(&text)),
            help,
        );
    }
    ids
}

fn is_app_id(text: &str) -> bool {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("wx")
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(is_digit))
}

fn subprotocols(fields: &Fields<'_>, report: &mut Report<'_>) -> Vec<String> {
    const WHAT: &str = "a token: letters, digits and !#$%&'*+-.^_`|~";
    let Some(cursor) = fields.get("subprotocols") else {
        return Vec::new();
    };
    let mut names: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for item in cursor.items(WHAT, report).unwrap_or_default() {
        let Some(text) = item.text(WHAT, report) else {
            continue;
        };
        if !text.bytes().all(is_token_byte) {
            item.error(report, format!("found {}, expected {WHAT}", quoted(&text)));
        } else if !seen.insert(text.clone()) {
            item.error(report, format!("found {} a second time", quoted(&text)));
        } else {
            names.push(text);
        }
    }
    names
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
