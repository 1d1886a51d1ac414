//! `--summary`: what went wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::counter::{Counted, Counter};
use super::left::Left;
use crate::cli::records::Record;
use crate::reason::Reason;
use crate::text::{counted, shown};

/// How many different values are kept for each reason if there are too many.
const KEPT: usize = 100;

/// How many more are kept of those reasons that have more, in all: they take some 10 MiB.
const ROOM: usize = 60_000;

/// More reasons and events than any version has.
const REASONS: usize = 500;

/// What went wrong.
pub(super) struct Summary {
    limit: usize,
    is_json: bool,
    groups: BTreeMap<String, Group>,
    room: usize,
    first: String,
    last: String,
    records: u64,
    opened: u64,
    closed: u64,
    requests: u64,
    refused: u64,
}

/// What is known of one reason.
struct Group {
    count: u64,
    suppressed: u64,
    first: String,
    last: String,
    by: BTreeMap<String, u64>,
    client_sees: BTreeMap<u16, u64>,
    clients: Counter,
    routes: Counter,
    origins: Counter,
    paths: Counter,
    hint: String,
}

impl Group {
    fn new() -> Self {
        Self {
            count: 0,
            suppressed: 0,
            first: String::new(),
            last: String::new(),
            by: BTreeMap::new(),
            client_sees: BTreeMap::new(),
            clients: Counter::keeping(KEPT),
            routes: Counter::keeping(KEPT),
            origins: Counter::keeping(KEPT),
            paths: Counter::keeping(KEPT),
            hint: String::new(),
        }
    }

    fn total(&self) -> u64 {
        self.count.saturating_add(self.suppressed)
    }

    /// Whether some of its counts may be too low.
    fn is_approximate(&self) -> bool {
        let counters = [&self.clients, &self.routes, &self.origins, &self.paths];
        counters.iter().any(|counter| counter.missing() > 0)
    }

    /// What to do: the hint of the last record, or what is known in general.
    fn advice(&self, reason: &str) -> Cow<'_, str> {
        match (self.hint.is_empty(), reason.parse::<Reason>()) {
            (false, _) => Cow::Borrowed(&self.hint),
            // Of refusals that were only counted, just the reason is known.
            (true, Ok(reason)) => Cow::Borrowed(reason.spec().fix),
            (true, Err(_)) if reason == DROPPED => Cow::Borrowed(
                "free the disk, or let the reader of the output read faster: until then records are lost",
            ),
            (true, Err(_)) => Cow::Borrowed(""),
        }
    }

    fn at(&mut self, time: &str) {
        extend(&mut self.first, &mut self.last, time);
    }
}

/// The event that reports lost records.
const DROPPED: &str = "records_dropped";

/// The cause of a reason, or of an event.
fn cause(reason: &str) -> &'static str {
    match reason.parse::<Reason>() {
        Ok(reason) => reason.spec().cause,
        Err(_) if reason == DROPPED => "the output failed or was blocked, so lines were lost",
        Err(_) => "",
    }
}

/// Extends a span of time.
pub(super) fn extend(first: &mut String, last: &mut String, time: &str) {
    if first.is_empty() || time < first.as_str() {
        time.clone_into(first);
    }
    if time > last.as_str() {
        time.clone_into(last);
    }
}

impl Summary {
    pub(super) fn new(limit: usize, is_json: bool) -> Self {
        Self {
            limit,
            is_json,
            groups: BTreeMap::new(),
            room: ROOM,
            first: String::new(),
            last: String::new(),
            records: 0,
            opened: 0,
            closed: 0,
            requests: 0,
            refused: 0,
        }
    }

    fn group(&mut self, name: &str) -> Option<&mut Group> {
        if !self.groups.contains_key(name) && self.groups.len() >= REASONS {
            return None;
        }
        Some(
            self.groups
                .entry(name.to_owned())
                .or_insert_with(Group::new),
        )
    }

    pub(super) fn add(&mut self, record: &Record<'_>) -> bool {
        extend(&mut self.first, &mut self.last, &record.time);
        self.records += 1;
        match &*record.event {
            "opened" => self.opened += 1,
            "closed" => self.closed += 1,
            "request" => self.requests += 1,
            "refused" => self.refused += 1,
            _ => {}
        }
        if !record.is_failure() {
            return true;
        }
        let name = match record.reason.is_empty() {
            true => &record.event,
            false => &record.reason,
        };
        let mut room = self.room;
        let Some(group) = self.group(name) else {
            return true;
        };
        group.count += 1;
        group.at(&record.time);
        if !record.by.is_empty() {
            count(&mut group.by, &record.by);
        }
        if let Some(code) = record.client_sees {
            *group.client_sees.entry(code).or_default() += 1;
        }
        for (counter, value) in [
            (&mut group.clients, record.address()),
            (&mut group.routes, record.route.to_string()),
            (&mut group.origins, record.origin.to_string()),
            (&mut group.paths, record.bare_path().to_owned()),
        ] {
            if !value.is_empty() {
                counter.add_within(&value, 1, &mut room);
            }
        }
        if !record.hint.is_empty() {
            group.hint = record.hint.to_string();
        }
        self.room = room;
        true
    }

    pub(super) fn suppressed(&mut self, record: &Record<'_>) {
        // Probes are not failures.
        if record.level == "debug" {
            return;
        }
        let Some(group) = self.group(&record.reason) else {
            return;
        };
        group.suppressed = group.suppressed.saturating_add(record.count);
        group.at(&record.time);
        for frequent in &record.top_clients {
            group.clients.add(&frequent.value, frequent.count);
        }
        for frequent in &record.top_origins {
            group.origins.add(&frequent.value, frequent.count);
        }
        for frequent in &record.top_paths {
            group.paths.add(&frequent.value, frequent.count);
        }
    }

    /// The groups, the largest first.
    fn sorted(&self) -> Vec<(&String, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.total()));
        groups
    }

    /// Whether refusals were counted that no record shows.
    pub(super) fn has_unwritten(&self) -> bool {
        self.groups.values().any(|group| group.suppressed > 0)
    }

    pub(super) fn text(&self, left: &Left) -> String {
        match self.is_json {
            true => format!("{}\n", self.json(left)),
            false => self.words(left),
        }
    }

    fn json(&self, left: &Left) -> Value {
        #[derive(Serialize)]
        struct Failure<'a> {
            reason: &'a str,
            cause: &'a str,
            count: u64,
            suppressed: u64,
            first: &'a str,
            last: &'a str,
            by: &'a BTreeMap<String, u64>,
            client_sees: &'a BTreeMap<u16, u64>,
            clients: Vec<Counted>,
            different_clients: usize,
            /// Whether there are more clients, and counts may be too low.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            approximate: bool,
            routes: Vec<Counted>,
            origins: Vec<Counted>,
            paths: Vec<Counted>,
            hint: Cow<'a, str>,
        }
        let failures: Vec<_> = self
            .sorted()
            .into_iter()
            .map(|(reason, group)| Failure {
                reason,
                cause: cause(reason),
                count: group.total(),
                suppressed: group.suppressed,
                first: &group.first,
                last: &group.last,
                by: &group.by,
                client_sees: &group.client_sees,
                clients: group.clients.top(self.limit),
                different_clients: group.clients.different().0,
                approximate: group.is_approximate(),
                routes: group.routes.top(self.limit),
                origins: group.origins.top(self.limit),
                paths: group.paths.top(self.limit),
                hint: group.advice(reason),
            })
            .collect();
        json!({
            "first": self.first,
            "last": self.last,
            "records": self.records,
            "opened": self.opened,
            "closed": self.closed,
            "requests": self.requests,
            "refused": self.refused,
            "suppressed": left.total(),
            "dropped": left.dropped,
            "failures": failures,
        })
    }

    fn words(&self, left: &Left) -> String {
        let mut text = String::new();
        let groups = self.sorted();
        if self.records == 0 && groups.is_empty() {
            return text;
        }
        if self.records > 0 {
            let number =
                |count: u64, thing| counted(usize::try_from(count).unwrap_or(usize::MAX), thing);
            let _ = writeln!(
                text,
                "{} to {}: {}; {} opened, {} closed, {}, {}{}",
                self.first,
                self.last,
                number(self.records, "record"),
                number(self.opened, "tunnel"),
                self.closed,
                number(self.requests, "plain request"),
                number(self.refused, "refusal"),
                match left.total() {
                    0 => String::new(),
                    more => format!(" and {more} more that were counted instead of written"),
                },
            );
        }
        if groups.is_empty() {
            text.push_str("nothing went wrong in these records\n");
        }
        for (reason, group) in groups {
            let _ = writeln!(
                text,
                "\n{:>7}  {reason}  since {}, last {}",
                group.total(),
                group.first,
                group.last
            );
            let mut say = |name: &str, value: String| {
                if !value.is_empty() {
                    let _ = writeln!(text, "         {name}: {value}");
                }
            };
            say("cause", cause(reason).to_owned());
            if group.suppressed > 0 {
                say("counted instead of written", group.suppressed.to_string());
            }
            say("caused by", listed(&group.by));
            say("client sees", listed(&group.client_sees));
            let (different, are_more) = group.clients.different();
            let over = if are_more { "over " } else { "" };
            let most = self.limit;
            if different > 0 {
                let named = match frequent(&group.clients, most) {
                    named if named.is_empty() => named,
                    named => format!(", {named}"),
                };
                say("clients", format!("{over}{different}{named}"));
            }
            say("routes", frequent(&group.routes, most));
            say("origins", frequent(&group.origins, most));
            say("paths", frequent(&group.paths, most));
            say("what to do", shown(&group.advice(reason), 600));
        }
        text
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if counts.len() < 16 || counts.contains_key(name) {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
}

/// Values and their counts; a single value needs no count.
fn listed<K: ToString>(counts: &BTreeMap<K, u64>) -> String {
    let all: Vec<_> = counts
        .iter()
        .map(|(value, count)| match counts.len() {
            1 => value.to_string(),
            _ => format!("{} ({count})", value.to_string()),
        })
        .collect();
    all.join(", ")
}

/// The most frequent values.
fn frequent(counter: &Counter, most: usize) -> String {
    let named: Vec<_> = counter
        .top(most)
        .into_iter()
        // The order of the others is not known.
        .filter(|counted| counted.count > counter.missing())
        .map(
            |Counted {
                 value,
                 count,
                 approximate,
             }| {
                let least = if approximate { "at least " } else { "" };
                format!("{} ({least}{count})", shown(&value, 80))
            },
        )
        .collect();
    let more = match counter.different() {
        (different, _) if different > named.len() && !named.is_empty() => ", …",
        _ => "",
    };
    format!("{}{more}", named.join(", "))
}
