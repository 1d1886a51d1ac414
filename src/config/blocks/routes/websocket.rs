//! `routes[].websocket`: the rules for opening handshakes and for tunnels.

use std::time::Duration;

use serde_json::json;

use super::super::super::fields::Fields;
use super::super::super::key::{Form, Is, Key, Required, Section, keys};
use super::super::super::problem::{Complaint, quoted};
use super::super::super::report::Report;
use super::super::super::value::{Definition, Flag, List, OneOf, OrOff, Size, Text, Timer};
use super::{Host, ROUTE, is_token};
use crate::policy::{Enforcement, HostPattern, MissingOrigin, OriginRule, Ping, WebSocketRules};

keys! {
    pub(super) static WEBSOCKET: WebSocketKeys {
        /// Pages that may connect; at least one. `self` means the route's own host, `wechat` the mini programs of
        /// `wechat_app_ids`.
        origins: Key<Vec<OriginRule>, Required> = &ORIGIN_LIST, Required;
        /// What happens to a request without an Origin; browsers always send one.
        missing_origin: Key<MissingOrigin> =
            &OneOf(&[("refuse", MissingOrigin::Refuse), ("allow", MissingOrigin::Allow)]), Is(|| MissingOrigin::Refuse);
        /// Mini programs that the origin `wechat` admits.
        wechat_app_ids: Key<Vec<String>> = &List::of(
            Text::parsed("`wx` and 16 hexadecimal digits", APP_ID, app_id).defined_as(&APP_ID_SCHEMA)
        ).not_empty(), Is(Vec::new);
        /// `report` admits an Origin or Referer that would be refused, and notes it in the record.
        policy: Key<Enforcement> =
            &OneOf(&[("enforce", Enforcement::Enforce), ("report", Enforcement::Report)]), Is(|| Enforcement::Enforce);
        /// Subprotocols that are admitted; if the list is empty, client and upstream may agree on any.
        subprotocols: Key<Vec<String>> =
            &List::of(Text::parsed("token", SUBPROTOCOL, subprotocol)).distinct(), Is(Vec::new);
        /// How long a tunnel may stay silent in both directions before it is closed. Only the peers' own frames count.
        idle_timeout: Key<Option<Duration>> = &OrOff(Timer::Positive), Is(|| None);
        /// Pings to the client while a tunnel is silent in both directions.
        ping: Section = Form::MappingOrOff, PingKeys::BLOCK;
        /// How long a tunnel may stay open, even if it is busy.
        max_lifetime: Key<Option<Duration>> = &OrOff(Timer::Positive), Is(|| None);
        /// The largest message in either direction, from 1 byte to 1GiB: the payload on the wire, summed over its
        /// fragments.
        // Far more than a message should have, far less than its length field could say.
        max_message: Key<Option<u64>> = &OrOff(Size(1..=1 << 30)), Is(|| None);
        /// For clients that hide HTTP errors: a refused handshake gets a 101 and then a Close with the reason's code.
        explain_refusals: Key<bool> = &Flag, Is(|| false);
    }
}

keys! {
    static PING: PingKeys {
        /// After how much silence in both directions the client gets a Ping.
        interval: Key<Duration, Required> = &Timer::Positive, Required;
        /// How long the client may stay silent after a Ping.
        timeout: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(10));
    }
}

static ORIGIN_LIST: List<Text<OriginRule>> = List::of(
    Text::parsed(
        "origin",
        "an origin such as https://app.example.com",
        |text| OriginRule::parse(text).map_err(Complaint::new),
    )
    .presets(&["self", "wechat"]),
)
.not_empty();

static APP_ID_SCHEMA: Definition = Definition {
    name: "app_id",
    schema: || {
        json!({
            "description": "`wx` and 16 hexadecimal digits in lower case.",
            "type": "string",
            "pattern": "^wx[0-9a-f]{16}$",
        })
    },
};

const APP_ID: &str = "wx and 16 hexadecimal digits in lower case";

const SUBPROTOCOL: &str = "a token: letters, digits and !#$%&'*+-.^_`|~";

/// The rules of the route with these fields and this host, if it has any.
pub(super) fn read(
    route: &Fields<'_>,
    host: &Host,
    report: &mut Report<'_>,
) -> Option<WebSocketRules> {
    let fields = route.open(&ROUTE.websocket, report)?;
    Some(WebSocketRules {
        origins: origins(&fields, host, report),
        missing_origin: fields.read(&WEBSOCKET.missing_origin, report),
        wechat_app_ids: fields.read(&WEBSOCKET.wechat_app_ids, report),
        enforcement: fields.read(&WEBSOCKET.policy, report),
        subprotocols: fields.read(&WEBSOCKET.subprotocols, report),
        idle_timeout: fields.read(&WEBSOCKET.idle_timeout, report),
        ping: ping(&fields, report),
        max_lifetime: fields.read(&WEBSOCKET.max_lifetime, report),
        max_message: fields.read(&WEBSOCKET.max_message, report),
        explain_refusals: fields.read(&WEBSOCKET.explain_refusals, report),
    })
}

fn ping(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Ping> {
    let fields = fields.open(&WEBSOCKET.ping, report)?;
    let timeout = fields.read(&PING.timeout, report);
    let interval = fields.read(&PING.interval, report)?;
    Some(Ping { interval, timeout })
}

fn origins(fields: &Fields<'_>, host: &Host, report: &mut Report<'_>) -> Vec<OriginRule> {
    let Some(cursor) = fields.get(&WEBSOCKET.origins) else {
        return Vec::new();
    };
    let Some(origins) = ORIGIN_LIST.items(cursor, report) else {
        return Vec::new();
    };
    let app_ids = fields.get(&WEBSOCKET.wechat_app_ids);
    let unsuitable_host = match host {
        Host::Any => Some("no host"),
        Host::Only(HostPattern::Wildcard(_)) => Some("a wildcard"),
        Host::Only(HostPattern::Exact(_)) | Host::Unreadable => None,
    };
    for (item, rule) in &origins {
        if let Some(found) = unsuitable_host.filter(|_| rule.needs_exact_host()) {
            let message = format!("\"{rule}\" needs an exact host on its route, found {found}");
            let help = "write the host, or the origin in full";
            item.error(report, Complaint::new(message).help(help));
        }
        if rule.needs_wechat_app_ids() && app_ids.is_none() {
            let message =
                format!("\"{rule}\" needs wechat_app_ids next to origins, which is missing");
            item.error(report, message);
        }
    }
    let are_all_read = origins.len() == cursor.item_count();
    let rules: Vec<_> = origins.into_iter().map(|(_, rule)| rule).collect();
    if let Some(app_ids) = app_ids
        && are_all_read
        && !rules.iter().any(OriginRule::needs_wechat_app_ids)
    {
        let message = "found no origin \"wechat\", so nothing uses these app ids";
        let help = "add wechat to origins, or remove wechat_app_ids";
        app_ids.key_warning(report, Complaint::new(message).help(help));
    }
    rules
}

fn app_id(text: &str) -> Result<String, Complaint> {
    if is_app_id(text) {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let help = is_app_id(&lower).then(|| format!("write {lower}"));
    Err(Complaint::new(format!("found {}, expected {APP_ID}", quoted(text))).maybe(help))
}

fn is_app_id(text: &str) -> bool {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("wx")
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(is_digit))
}

fn subprotocol(text: &str) -> Result<String, Complaint> {
    match is_token(text) {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new(format!(
            "found {}, expected {SUBPROTOCOL}",
            quoted(text)
        ))),
    }
}
