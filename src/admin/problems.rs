//! Whether all is well, and if not, since when, for whom, and what to do first.
//!
//! A reason is a problem while it occurs again and again; [`severity`] says how much it matters. Conditions of the process
//! that are no reason of a record are a [`Trouble`].

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::state::{Phase, State};
use crate::generation::Generation;
use crate::reason::{By, Level, Reason, Trouble};
use crate::record::memory::{Class, Minute, Run, What};
use crate::record::{Event, Frequent};
use crate::text::Language;

/// A certificate with fewer days left is a problem: renewal normally happens before.
const DAYS: i64 = 7;

const DAY: u64 = 24 * 60 * 60;

/// After so much time without another failure, the worst is over.
const OVER: Duration = Duration::from_secs(60);

/// How many problems are listed.
const MOST: usize = 20;

/// The whole minutes whose shares are compared, and the running one.
pub(super) const RECENT: usize = 6;

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
    origins: Vec<Frequent>,
    client_sees: Vec<Frequent>,
    cause: String,
    hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn: Option<String>,
}

/// A time in the form of records.
pub(super) fn time(since_epoch: Duration) -> String {
    let time = SystemTime::UNIX_EPOCH + since_epoch;
    humantime::format_rfc3339_millis(time).to_string()
}

/// Everything that is wrong, the most important first.
pub(super) fn problems(state: &State, generation: &Generation) -> Vec<Problem> {
    let minutes = state.memory().minutes(RECENT);
    let is_ready = state.phase() == Phase::Ready;
    let mut problems: Vec<_> = state
        .memory()
        .runs()
        .into_iter()
        .filter_map(|run| of_run(run, &minutes, is_ready))
        .collect();
    problems.extend(troubles(state, generation));
    problems.sort_by_key(|problem| std::cmp::Reverse((problem.severity, problem.recent)));
    problems.truncate(MOST);
    problems
}

/// How often a thing happened in these minutes, and all things of its kind.
fn counted(minutes: &[Minute], what: What, reason: Reason) -> (u64, u64) {
    let all: &[What] = match what {
        What::Opened | What::Refused => &[What::Opened, What::Refused],
        What::Unread => &[What::Opened, What::Refused, What::Unread],
        What::Request => &[],
        What::Ended => &[What::Ended],
    };
    let (mut own, mut total) = (0, 0);
    for counts in minutes.iter().flat_map(|minute| &minute.counts) {
        if all.contains(&counts.what) {
            total += counts.count;
        }
        if counts.what == what && counts.reason == Some(reason) {
            own += counts.count;
        }
    }
    (own, total)
}

/// The problem that a run is, if it is one.
fn of_run(run: Run, minutes: &[Minute], is_ready: bool) -> Option<Problem> {
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
        recent: 0,
        share: None,
        of: None,
        by: run.by,
        different_clients: run.different_clients,
        at_least: run.are_more,
        clients: run.clients,
        routes: run.routes,
        origins: run.origins,
        client_sees: run.client_sees,
        cause: cause.to_owned(),
        hint: run.hint.unwrap_or_else(|| fix.to_owned()),
        conn: run.conn,
    };
    if let Class::End(what, reason) = run.class {
        let (recent, total) = counted(minutes, what, reason);
        problem.recent = recent;
        problem.share = (recent * 100).checked_div(total);
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
        let severity = severity(what, run.level, recent, problem.share.unwrap_or(100));
        let since_last = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + run.last);
        problem.severity = match severity {
            _ if is_drain && !is_ready => Severity::Note,
            Severity::Bad if since_last.is_ok_and(|since| since > OVER) => Severity::Look,
            severity => severity,
        };
    }
    Some(problem)
}

/// How much a reason matters that occurred so often in the last minutes, which is `share` percent of its kind.
fn severity(what: What, level: Level, recent: u64, share: u64) -> Severity {
    let is_known = what != What::Request;
    // Level warn says that the upstream, the network or a limit is at fault, not the client.
    if level >= Level::Warn {
        return match recent >= 3 && share >= 20 && is_known || level == Level::Error {
            true => Severity::Bad,
            false => Severity::Look,
        };
    }
    // Anybody can send what is refused, so a few refusals mean nothing. If most clients are refused, the cause is probably
    // on this side.
    match what {
        What::Refused if recent >= 10 && share >= 50 => Severity::Bad,
        What::Refused | What::Ended if recent >= 5 && share >= 10 => Severity::Look,
        What::Unread if recent >= 10 && share >= 50 => Severity::Look,
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
        origins: Vec::new(),
        client_sees: Vec::new(),
        cause: cause.to_owned(),
        hint: fix.to_owned(),
        conn: None,
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
    let mut since_record = |trouble, event| {
        let is_it = |kept: &crate::record::memory::Kept| kept.class == Class::Process(event);
        let newest = state.memory().recent(0, is_it).records.into_iter().next();
        found.push(Problem {
            since: newest.map(|kept| time(kept.at)),
            ..of_trouble(trouble, Severity::Look, None)
        });
    };
    if state.metrics().is_last_refused() {
        since_record(Trouble::ReloadRefused, Event::ReloadRefused);
    }
    if state.metrics().certificates_held_back() > 0 {
        since_record(Trouble::CertificateRefused, Event::CertificateRefused);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_depends_on_whose_fault_it_is_and_on_how_many_it_affects() {
        for (what, level, recent, share, expected) in [
            (What::Refused, Level::Warn, 1, 100, Severity::Look),
            (What::Refused, Level::Warn, 3, 20, Severity::Bad),
            (What::Refused, Level::Warn, 300, 19, Severity::Look),
            (What::Ended, Level::Warn, 3, 50, Severity::Bad),
            (What::Ended, Level::Error, 1, 1, Severity::Bad),
            (What::Request, Level::Warn, 100, 100, Severity::Look),
            (What::Refused, Level::Info, 4, 100, Severity::Note),
            (What::Refused, Level::Info, 5, 10, Severity::Look),
            (What::Refused, Level::Info, 10, 50, Severity::Bad),
            (What::Refused, Level::Info, 1000, 9, Severity::Note),
            (What::Ended, Level::Info, 100, 100, Severity::Look),
            (What::Unread, Level::Info, 100, 49, Severity::Note),
            (What::Unread, Level::Info, 100, 50, Severity::Look),
            (What::Request, Level::Info, 100, 100, Severity::Note),
        ] {
            let judged = severity(what, level, recent, share);
            assert_eq!(judged, expected, "{what:?} {level:?} {recent} {share}");
        }
        assert!(Severity::Bad > Severity::Look && Severity::Note > Severity::Well);
    }

    #[test]
    fn a_share_is_of_the_same_kind() {
        let counts = |what, reason, count| crate::record::memory::Counts {
            what,
            reason,
            close_code: None,
            route: String::new(),
            count,
        };
        let minute = |begin, counts| Minute {
            begin: Duration::from_secs(begin),
            counts,
        };
        let refused = Reason::UpstreamRefused;
        let minutes = [
            minute(
                0,
                vec![
                    counts(What::Opened, None, 10),
                    counts(What::Refused, Some(refused), 20),
                    counts(What::Ended, Some(Reason::ClientClose), 100),
                ],
            ),
            minute(
                60,
                vec![
                    counts(What::Refused, Some(refused), 5),
                    counts(What::Refused, Some(Reason::OriginNotAllowed), 5),
                    counts(What::Unread, Some(Reason::TlsHandshakeTimeout), 60),
                ],
            ),
        ];
        assert_eq!(counted(&minutes, What::Refused, refused), (25, 40));
        let unread = counted(&minutes, What::Unread, Reason::TlsHandshakeTimeout);
        assert_eq!(unread, (60, 100));
        assert_eq!(
            counted(&minutes, What::Ended, Reason::UpstreamReset),
            (0, 100)
        );
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
