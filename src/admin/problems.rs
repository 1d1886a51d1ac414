//! Whether all is well, and if not, since when, for whom, and what to do first.
//!
//! A reason is a problem while it occurs again and again; [`of_own`] and [`of_foreign`] say how much it matters. Conditions of the process
//! that are not the reason of a record are a [`Trouble`].

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::state::{Phase, State};
use crate::generation::Generation;
use crate::reason::{By, Level, Reason, Trouble};
use crate::record::memory::{Class, Kept, Run, What};
use crate::record::{Event, Frequent};
use crate::text::Language;

/// A certificate with fewer days left is a problem: renewal normally happens before.
const DAYS: i64 = 7;

const DAY: u64 = 24 * 60 * 60;

/// How many problems are listed.
const MOST: usize = 20;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Nothing is wrong.
    #[default]
    Well,
    /// It happens all the time on a public address, or hardly ever.
    Note,
    /// Somebody should look at it.
    Look,
    /// Many are affected.
    Bad,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub severity: Severity,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    count: u64,
    recent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By>,
    different_clients: usize,
    at_least: bool,
    clients: Vec<Frequent>,
    routes: Vec<Frequent>,
    upstreams: Vec<Frequent>,
    origins: Vec<Frequent>,
    client_sees: Vec<Frequent>,
    cause: String,
    hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_id: Option<u32>,
}

/// A time in the form of records.
pub(super) fn time(since_epoch: Duration) -> String {
    let time = SystemTime::UNIX_EPOCH + since_epoch;
    humantime::format_rfc3339_millis(time).to_string()
}

/// Everything that is wrong, the most important first.
pub(super) fn problems(state: &State, generation: &Generation) -> Vec<Problem> {
    let is_ready = state.phase() == Phase::Ready;
    let runs = state.memory().runs();
    let shares: Vec<_> = runs.iter().map(|run| shared(run, &runs)).collect();
    let judged = runs.into_iter().zip(shares);
    let problems = judged.filter_map(|(run, share)| of_run(run, share, is_ready));
    let mut problems: Vec<_> = problems.collect();
    problems.extend(troubles(state, generation));
    problems.sort_by_key(|problem| std::cmp::Reverse((problem.severity, problem.recent)));
    problems.truncate(MOST);
    problems
}

/// The problem that a run is, if it is one.
fn of_run(run: Run, with_others: u64, is_ready: bool) -> Option<Problem> {
    let (code, cause, fix) = match run.class {
        Class::End(_, reason) => {
            let spec = reason.spec();
            (spec.code, spec.cause, spec.fix)
        }
        Class::Process(Event::RecordsDropped) => {
            let trouble = Trouble::RecordsDropped;
            (
                trouble.code(),
                trouble.texts(Language::En).0,
                trouble.texts(Language::En).1,
            )
        }
        // The others are conditions, which last longer than their record.
        Class::Process(_) => return None,
    };
    let mut problem = Problem {
        severity: Severity::Look,
        code,
        subject: None,
        since: Some(time(run.begun)),
        last: Some(time(run.last)),
        count: run.count,
        recent: run.recent,
        share: None,
        of: None,
        by: run.by,
        different_clients: run.different_clients,
        at_least: run.are_more,
        clients: run.clients,
        routes: run.routes,
        upstreams: run.upstreams,
        origins: run.origins,
        client_sees: run.client_sees,
        cause: cause.to_owned(),
        hint: run.hint.unwrap_or_else(|| fix.to_owned()),
        conn: run.conn,
        stream_id: run.stream_id,
    };
    if let Class::End(what, reason) = run.class {
        problem.share = (run.recent * 100).checked_div(run.recent_of);
        problem.of = Some(match what {
            What::Opened | What::Refused => "handshakes",
            What::Unread => "connections",
            What::Request => "requests",
            What::Ended => "ends",
        });
        let is_drain = matches!(
            reason,
            Reason::Draining | Reason::DrainGraceful | Reason::DrainForced
        );
        let share = problem.share.unwrap_or_default();
        problem.severity = match is_drain && !is_ready {
            true => Severity::Note,
            false if run.level >= Level::Warn => {
                of_own(run.level, run.recent, share.max(with_others))
            }
            false => of_foreign(what, run.recent, share, run.different_clients),
        };
    }
    Some(problem)
}

/// The share of all failures of the same kind that are not the clients' fault, in percent, if this run is a good part of
/// them. An upstream that fails in several ways is as bad as one that always fails in the same way.
fn shared(run: &Run, runs: &[Run]) -> u64 {
    let Class::End(what, _) = run.class else {
        return 0;
    };
    let is_kin = |other: &&Run| {
        let is_same = matches!(other.class, Class::End(kind, _) if kind == what);
        is_same && other.level >= Level::Warn
    };
    let all: u64 = runs.iter().filter(is_kin).map(|run| run.recent).sum();
    match run.recent * 4 >= all {
        true => (all * 100)
            .checked_div(run.recent_of.max(all))
            .unwrap_or_default(),
        false => 0,
    }
}

/// How much a failure matters that is the fault of the upstream, the network or a limit (level `warn`): how often it
/// occurred in the last minute, and which share of its kind failed, in percent.
fn of_own(level: Level, recent: u64, share: u64) -> Severity {
    match recent >= 3 && share >= 20 || recent > 0 && level == Level::Error {
        true => Severity::Bad,
        false => Severity::Look,
    }
}

/// The same for what clients cause. Anybody can send what is refused, so a few refusals mean nothing. But if most clients are
/// refused, the cause is probably on this side.
fn of_foreign(what: What, recent: u64, share: u64, clients: usize) -> Severity {
    match what {
        What::Refused if recent >= 10 && share >= 50 && clients >= 3 => Severity::Bad,
        What::Refused | What::Ended if recent >= 5 && share >= 10 && clients >= 2 => Severity::Look,
        // All clients may come through one hop that is not trusted to name them.
        What::Refused if recent >= 30 && share >= 50 => Severity::Look,
        What::Unread if recent >= 10 && share >= 50 && clients >= 3 => Severity::Look,
        _ => Severity::Note,
    }
}

fn of_trouble(trouble: Trouble, severity: Severity, subject: Option<String>) -> Problem {
    let (cause, fix) = trouble.texts(Language::En);
    Problem {
        severity,
        code: trouble.code(),
        subject,
        since: None,
        last: None,
        count: 1,
        recent: 0,
        share: None,
        of: None,
        by: None,
        different_clients: 0,
        at_least: false,
        clients: Vec::new(),
        routes: Vec::new(),
        upstreams: Vec::new(),
        origins: Vec::new(),
        client_sees: Vec::new(),
        cause: cause.to_owned(),
        hint: fix.to_owned(),
        conn: None,
        stream_id: None,
    }
}

/// The conditions that hold now.
fn troubles(state: &State, generation: &Generation) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, group) in &generation.upstreams {
        let sick: Vec<_> = group
            .members()
            .iter()
            .filter(|member| !group.is_healthy(member))
            .collect();
        let (trouble, severity) = match sick.len() == group.members().len() {
            true => (Trouble::UpstreamAllUnhealthy, Severity::Bad),
            false => (Trouble::UpstreamUnhealthy, Severity::Look),
        };
        if !sick.is_empty() {
            let endpoints: Vec<_> = sick
                .iter()
                .map(|member| member.endpoint.to_string())
                .collect();
            let subject = format!("{name}: {}", endpoints.join(", "));
            let since = sick
                .iter()
                .filter_map(|member| member.unhealthy_since())
                .min();
            found.push(Problem {
                since: since.map(|since| humantime::format_rfc3339_millis(since).to_string()),
                ..of_trouble(trouble, severity, Some(subject))
            });
        }
    }
    for shown in &generation.certificates {
        let left = days_until(shown.expires);
        let (trouble, severity) = match left {
            ..0 => (Trouble::CertificateExpired, Severity::Bad),
            0..=DAYS => (Trouble::CertificateExpiring, Severity::Look),
            _ => continue,
        };
        let since = (left < 0).then(|| humantime::format_rfc3339_millis(shown.expires).to_string());
        let subject = Some(shown.file.display().to_string());
        found.push(Problem {
            since,
            ..of_trouble(trouble, severity, subject)
        });
    }
    if state.metrics().is_last_refused() {
        let others = [Event::Reloaded, Event::ReloadUnchanged];
        found.push(told(
            state,
            Trouble::ReloadRefused,
            Event::ReloadRefused,
            &others,
        ));
    }
    if state.metrics().certificates_held_back() > 0 {
        let others = [Event::CertificateReloaded];
        found.push(told(
            state,
            Trouble::CertificateRefused,
            Event::CertificateRefused,
            &others,
        ));
    }
    let (open, most) = (state.connections(), generation.config.limits.connections);
    if open >= most {
        found.push(of_trouble(Trouble::ConnectionsFull, Severity::Bad, None));
    } else if open >= most - most / 10 {
        found.push(of_trouble(
            Trouble::ConnectionsNearlyFull,
            Severity::Look,
            None,
        ));
    }
    found
}

/// The whole days until a time; negative if it is over.
pub(super) fn days_until(time: SystemTime) -> i64 {
    let days = |between: Duration| i64::try_from(between.as_secs() / DAY).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::now()) {
        Ok(left) => days(left),
        Err(over) => -days(over.duration()) - 1,
    }
}

/// A condition that records of the process tell: since the first of the last ones in a row, with the hint of the last one.
/// One of `others` ends a row.
fn told(state: &State, trouble: Trouble, event: Event, others: &[Event]) -> Problem {
    let is_either = |kept: &Kept| match kept.class {
        Class::Process(of) => of == event || others.contains(&of),
        Class::End(..) => false,
    };
    let records = state.memory().recent(0, is_either).records;
    let is_it = |kept: &&Kept| kept.class == Class::Process(event);
    let row: Vec<_> = records.iter().take_while(is_it).collect();
    let hint = row.first().and_then(|kept| {
        let record: serde_json::Value = serde_json::from_str(&kept.json).ok()?;
        Some(record.get("hint")?.as_str()?.to_owned())
    });
    let problem = of_trouble(trouble, Severity::Look, None);
    Problem {
        since: row.last().map(|kept| time(kept.at)),
        hint: hint.unwrap_or_else(|| problem.hint.clone()),
        ..problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_depends_on_whose_fault_it_is_and_on_how_many_it_affects() {
        for (level, recent, share, expected) in [
            (Level::Warn, 0, 100, Severity::Look),
            (Level::Warn, 2, 100, Severity::Look),
            (Level::Warn, 3, 20, Severity::Bad),
            (Level::Warn, 300, 19, Severity::Look),
            (Level::Error, 1, 1, Severity::Bad),
            (Level::Error, 0, 0, Severity::Look),
        ] {
            assert_eq!(
                of_own(level, recent, share),
                expected,
                "{level:?} {recent} {share}"
            );
        }
        for (what, recent, share, clients, expected) in [
            (What::Refused, 4, 100, 9, Severity::Note),
            (What::Refused, 5, 10, 2, Severity::Look),
            (What::Refused, 10, 50, 3, Severity::Bad),
            // One scanner on an idle proxy.
            (What::Refused, 29, 100, 1, Severity::Note),
            (What::Refused, 30, 50, 1, Severity::Look),
            (What::Refused, 1000, 9, 99, Severity::Note),
            (What::Ended, 100, 100, 99, Severity::Look),
            (What::Unread, 100, 49, 99, Severity::Note),
            (What::Unread, 100, 50, 3, Severity::Look),
            (What::Request, 100, 100, 99, Severity::Note),
        ] {
            let judged = of_foreign(what, recent, share, clients);
            assert_eq!(judged, expected, "{what:?} {recent} {share} {clients}");
        }
        assert!(Severity::Bad > Severity::Look && Severity::Note > Severity::Well);
    }

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
