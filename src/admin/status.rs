//! The answer to `GET /status.json` and the content of the events: what happens now, and what happened last.
//! docs/operations.md describes it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::RawValue;

use super::problems::{self, Problem, Severity};
use super::process::Process;
use super::query::Query;
use super::state::{Phase, STREAMS, State};
use crate::generation::Generation;
use crate::record::memory::{Class, Counts, Kept, What};
use crate::record::{Event, Seen, Sink, millis, stamp};

/// The version of the form; it changes when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Status {
    schema: u32,
    time: String,
    version: &'static str,
    instance: String,
    started: String,
    phase: &'static str,
    state: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    problems: Vec<Problem>,
    configuration: Configuration,
    connections: Connections,
    process: Usage,
    minutes: Vec<Outcomes>,
    totals: Outcomes,
    tunnels: Tunnels,
    recent: Recent,
    upstreams: Vec<Endpoint>,
    certificates: Vec<Certificate>,
    routes: Vec<String>,
    streams: Connections,
}

#[derive(Serialize)]
struct Configuration {
    file: String,
    generation: u64,
    loaded: String,
    warnings: Vec<String>,
    /// The record of the refused one.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Connections {
    open: usize,
    limit: usize,
}

#[derive(Serialize)]
struct Usage {
    memory_bytes: Option<u64>,
    cpu_seconds: Option<f64>,
    descriptors: Option<u64>,
    descriptors_limit: Option<u64>,
}

/// How often what happened. Codes of reasons are the keys.
#[derive(Default, Serialize)]
struct Outcomes {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    opened: u64,
    refused: BTreeMap<&'static str, u64>,
    unread: BTreeMap<&'static str, u64>,
    requests: BTreeMap<&'static str, u64>,
    ended: BTreeMap<&'static str, u64>,
    client_sees: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Tunnels {
    open: usize,
    matching: usize,
    shown: Vec<Tunnel>,
}

/// An open tunnel. Fields with the name of a record's field mean the same.
#[derive(Serialize)]
struct Tunnel {
    conn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_id: Option<u32>,
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
struct Recent {
    remembered: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
    matching: usize,
    /// How many of these are not in `records`.
    missed: usize,
    records: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct Endpoint {
    upstream: String,
    endpoint: String,
    is_healthy: bool,
    is_checked: bool,
    in_use: usize,
    connects_failed: u64,
}

#[derive(Serialize)]
struct Certificate {
    file: String,
    expires: String,
    /// Whole days; negative after the expiry.
    days_left: i64,
}

impl Outcomes {
    fn add(&mut self, counts: &Counts) {
        let code = counts.reason.map_or("", crate::reason::Reason::code);
        let by_reason = match counts.what {
            What::Opened => {
                self.opened += counts.count;
                return;
            }
            What::Refused => &mut self.refused,
            What::Unread => &mut self.unread,
            What::Request => &mut self.requests,
            What::Ended => &mut self.ended,
        };
        *by_reason.entry(code).or_default() += counts.count;
        if counts.what == What::Ended {
            let code = counts
                .close_code
                .map_or_else(|| "other".to_owned(), |code| code.to_string());
            *self.client_sees.entry(code).or_default() += counts.count;
        }
    }
}

/// The status as JSON on one line, and the number of the last record. Only records after number `after` are in it.
pub(super) fn json(state: &State, query: &Query, after: u64) -> (String, u64) {
    let generation = state.generation();
    let (recent, last) = recent(state, query, after);
    let status = status(state, &generation, query, recent);
    // Plain data can always be written.
    (serde_json::to_string(&status).unwrap_or_default(), last)
}

fn status(state: &State, generation: &Generation, query: &Query, recent: Recent) -> Status {
    let problems = problems::problems(state, generation);
    let worst = problems.iter().map(|problem| problem.severity).max();
    let worst = worst.filter(|worst| *worst > Severity::Note);
    let since = problems
        .iter()
        .filter(|problem| Some(problem.severity) == worst)
        .filter_map(|problem| problem.since.clone())
        .min();
    let (minutes, totals) = outcomes(state, query);
    let process = Process::read();
    Status {
        schema: SCHEMA,
        time: stamp(SystemTime::now()),
        version: env!("CARGO_PKG_VERSION"),
        instance: state.sink().instance().to_owned(),
        started: rfc3339(state.metrics().started()),
        phase: match state.phase() {
            Phase::Ready => "ready",
            Phase::Asked | Phase::Delay | Phase::Draining => "draining",
            Phase::Drained(_) => "drained",
        },
        state: worst.unwrap_or_default(),
        since,
        problems,
        configuration: configuration(state, generation),
        connections: Connections {
            open: state.connections(),
            limit: generation.config.limits.connections,
        },
        process: Usage {
            memory_bytes: process.resident,
            cpu_seconds: process.cpu.map(|cpu| cpu.as_secs_f64()),
            descriptors: process.open,
            descriptors_limit: process.most_open,
        },
        minutes,
        totals,
        tunnels: tunnels(state, query),
        recent,
        upstreams: upstreams(generation),
        certificates: certificates(generation),
        routes: generation
            .config
            .routes
            .iter()
            .map(ToString::to_string)
            .collect(),
        streams: Connections {
            open: STREAMS - state.streams().available_permits(),
            limit: STREAMS,
        },
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn raw(kept: &Kept) -> Option<Box<RawValue>> {
    RawValue::from_string(kept.json.to_string()).ok()
}

fn configuration(state: &State, generation: &Generation) -> Configuration {
    let is_refusal = |kept: &Kept| kept.class == Class::Process(Event::ReloadRefused);
    let refused = state.metrics().is_last_refused().then(|| {
        let newest = state.memory().recent(0, is_refusal).records;
        newest.first().and_then(raw)
    });
    Configuration {
        file: generation.file.display().to_string(),
        generation: generation.number,
        loaded: rfc3339(state.metrics().loaded()),
        warnings: generation.warnings.clone(),
        refused: refused.flatten(),
    }
}

/// The minutes that the query asks for, and their sums.
fn outcomes(state: &State, query: &Query) -> (Vec<Outcomes>, Outcomes) {
    let mut totals = Outcomes::default();
    let minutes = state.memory().minutes(query.minutes).into_iter();
    let minutes = minutes.map(|minute| {
        let mut outcomes = Outcomes {
            time: Some(problems::time(minute.begin)),
            ..Outcomes::default()
        };
        let is_route = |counts: &&Counts| query.route.as_ref().is_none_or(|it| *it == counts.route);
        for counts in minute.counts.iter().filter(is_route) {
            if query.is_counted(counts.what, counts.reason) {
                outcomes.add(counts);
                totals.add(counts);
            }
        }
        outcomes
    });
    (minutes.collect(), totals)
}

fn recent(state: &State, query: &Query, after: u64) -> (Recent, u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let length = Duration::from_secs(query.minutes as u64 * 60);
    let oldest = now.unwrap_or_default().saturating_sub(length);
    let may_show = |kept: &Kept| kept.at >= oldest && query.may_show(kept);
    let selected = state.memory().recent(after, may_show);
    let shows = |kept: &Kept| query.shows(&kept.json, state.sink());
    let matching: Vec<_> = selected.records.into_iter().filter(shows).collect();
    let records: Vec<_> = matching.iter().take(query.most).filter_map(raw).collect();
    let recent = Recent {
        remembered: selected.remembered,
        oldest: selected.oldest.map(problems::time),
        matching: matching.len(),
        missed: matching.len() - records.len(),
        records,
    };
    (recent, selected.last)
}

fn tunnels(state: &State, query: &Query) -> Tunnels {
    let wanted = query.of_tunnels(state.sink());
    let wanted = wanted.as_ref().map(|wanted| wanted as &dyn Fn(&_) -> bool);
    let listed = state.tunnels().list(query.order, query.most, wanted);
    Tunnels {
        open: listed.open,
        matching: listed.matching,
        shown: listed
            .shown
            .into_iter()
            .map(|seen| tunnel(state.sink(), seen))
            .collect(),
    }
}

fn upstreams(generation: &Generation) -> Vec<Endpoint> {
    let upstreams = generation.upstreams.iter().flat_map(|(name, group)| {
        group.members().iter().map(|member| Endpoint {
            upstream: name.clone(),
            endpoint: member.endpoint.to_string(),
            is_healthy: group.is_healthy(member),
            is_checked: group.settings().health_check.is_some(),
            in_use: member.open(),
            connects_failed: member.connects().1,
        })
    });
    upstreams.collect()
}

fn certificates(generation: &Generation) -> Vec<Certificate> {
    let certificates = generation.certificates.iter().map(|shown| Certificate {
        file: shown.file.display().to_string(),
        expires: humantime::format_rfc3339_seconds(shown.expires).to_string(),
        days_left: problems::days_until(shown.expires),
    });
    certificates.collect()
}

fn tunnel(sink: &Sink, seen: Seen) -> Tunnel {
    let Seen {
        mut record,
        age,
        idle,
        traffic,
    } = seen;
    sink.shorten(&mut record);
    let [bytes_client_to_upstream, bytes_upstream_to_client] = traffic.bytes;
    let [messages_client_to_upstream, messages_upstream_to_client] = traffic.messages;
    let last = record.attempts.into_iter().next_back();
    Tunnel {
        conn: record.conn,
        stream_id: record.stream_id,
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
        opened_at: stamp(
            SystemTime::now()
                .checked_sub(age)
                .unwrap_or(SystemTime::UNIX_EPOCH),
        ),
        age_ms: millis(age),
        idle_ms: millis(idle),
        bytes_client_to_upstream,
        bytes_upstream_to_client,
        messages_client_to_upstream,
        messages_upstream_to_client,
    }
}
