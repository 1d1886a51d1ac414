//! The answer to `GET /status.json`: what is open now, in a form for programs. docs/operations.md describes it.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::state::{Phase, State};
use crate::record::{Seen, millis, stamp};

/// The version of the form; it changes when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

/// The most tunnels that are listed. More would take megabytes.
const MOST: usize = 1000;

const DAY: u64 = 24 * 60 * 60;

#[derive(Serialize)]
struct Status {
    schema: u32,
    time: String,
    version: &'static str,
    phase: &'static str,
    generation: u64,
    connections: Connections,
    tunnels: Tunnels,
    upstreams: Vec<Endpoint>,
    certificates: Vec<Certificate>,
}

#[derive(Serialize)]
struct Connections {
    open: usize,
    limit: usize,
}

#[derive(Serialize)]
struct Tunnels {
    open: usize,
    newest: Vec<Tunnel>,
}

/// An open tunnel. Fields with the name of a record's field mean the same.
#[derive(Serialize)]
struct Tunnel {
    conn: Option<String>,
    request_id: Option<String>,
    trace_id: Option<String>,
    client: Option<String>,
    route: Option<String>,
    upstream: Option<String>,
    endpoint: Option<String>,
    host: Option<String>,
    path: Option<String>,
    origin: Option<String>,
    user_agent: Option<String>,
    generation: Option<u64>,
    opened_at: String,
    age_ms: u64,
    idle_ms: u64,
    bytes_client_to_upstream: u64,
    bytes_upstream_to_client: u64,
    messages_client_to_upstream: u64,
    messages_upstream_to_client: u64,
}

#[derive(Serialize)]
struct Endpoint {
    upstream: String,
    endpoint: String,
    is_healthy: bool,
    in_use: usize,
}

#[derive(Serialize)]
struct Certificate {
    file: String,
    expires: String,
    /// Whole days; negative after the expiry.
    days_left: i64,
}

/// The status as JSON.
pub(super) fn json(state: &State) -> String {
    let generation = state.generation();
    let (open, newest) = state.tunnels().newest(MOST);
    let upstreams = generation.upstreams.iter().flat_map(|(name, group)| {
        group.members().iter().map(|member| Endpoint {
            upstream: name.clone(),
            endpoint: member.endpoint.to_string(),
            is_healthy: group.is_healthy(member),
            in_use: member.open(),
        })
    });
    let certificates = generation.certificates.iter().map(|shown| Certificate {
        file: shown.file.display().to_string(),
        expires: humantime::format_rfc3339_seconds(shown.expires).to_string(),
        days_left: days_until(shown.expires),
    });
    let status = Status {
        schema: SCHEMA,
        time: stamp(Duration::ZERO),
        version: env!("CARGO_PKG_VERSION"),
        phase: match state.phase() {
            Phase::Ready => "ready",
            Phase::Asked | Phase::Delay | Phase::Draining => "draining",
            Phase::Drained(_) => "drained",
        },
        generation: generation.number,
        connections: Connections {
            open: state.connections(),
            limit: generation.config.limits.connections,
        },
        tunnels: Tunnels {
            open,
            newest: newest.into_iter().map(tunnel).collect(),
        },
        upstreams: upstreams.collect(),
        certificates: certificates.collect(),
    };
    // Plain data can always be written.
    let mut text = serde_json::to_string_pretty(&status).unwrap_or_default();
    text.push('\n');
    text
}

fn tunnel(seen: Seen) -> Tunnel {
    let Seen {
        record,
        age,
        idle,
        traffic,
    } = seen;
    let [bytes_client_to_upstream, bytes_upstream_to_client] = traffic.bytes;
    let [messages_client_to_upstream, messages_upstream_to_client] = traffic.messages;
    let last = record.attempts.into_iter().next_back();
    Tunnel {
        conn: record.conn,
        request_id: record.request_id,
        trace_id: record.trace_id,
        client: record.client,
        route: record.route,
        upstream: record.upstream,
        endpoint: last.map(|attempt| attempt.endpoint),
        host: record.host,
        path: record.path,
        origin: record.origin,
        user_agent: record.user_agent,
        generation: record.generation,
        opened_at: stamp(age),
        age_ms: millis(age),
        idle_ms: millis(idle),
        bytes_client_to_upstream,
        bytes_upstream_to_client,
        messages_client_to_upstream,
        messages_upstream_to_client,
    }
}

fn days_until(time: SystemTime) -> i64 {
    let days = |between: Duration| i64::try_from(between.as_secs() / DAY).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::now()) {
        Ok(left) => days(left),
        Err(over) => -days(over.duration()) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_to_both_sides_of_an_expiry() {
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        for (time, days) in [
            (now + hour, 0),
            (now + 25 * hour, 1),
            (now - hour, -1),
            (now - 25 * hour, -2),
        ] {
            assert_eq!(days_until(time), days);
        }
    }
}
