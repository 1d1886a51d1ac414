//! Looks names up with the system's resolver.
//!
//! Takes a host and a time limit; gives its addresses. Fails with `upstream_dns_failed`.
//!
//! The system's resolver blocks its thread while the name servers are silent, and can't be stopped. Therefore look-ups
//! have a few separate threads that nothing else waits for, and each name has at most one look-up at a time. If a
//! caller gives up, the look-up continues. After a while a look-up that does not return counts as lost: it keeps its
//! thread, but no longer blocks its name or other look-ups.

mod state;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use humantime::format_duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::reason::{Failure, Note, NoteCode, Reason};
use state::{Fault, LookUp, LookUps, Name, Resolved, UnderWay};

/// The most look-ups that run at the same time, each in a thread.
const RUNNING: usize = 8;

/// The names that are being looked up, and the last good answers. All connections share them.
#[derive(Clone)]
pub struct Names(Arc<Shared>);

/// The addresses of a name.
#[derive(Debug)]
pub(super) struct Found {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// A note if they are from an earlier look-up.
    pub note: Option<Note>,
}

struct Shared {
    ask: Box<dyn Fn(&str) -> Resolved + Send + Sync>,
    state: Mutex<LookUps>,
}

/// A caller that waits for an answer.
struct Waiting {
    asked: Instant,
    has_last_good: bool,
    answer: watch::Receiver<Option<Resolved>>,
}

impl Names {
    /// No name is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::asking(ask_the_system)
    }

    fn asking(ask: impl Fn(&str) -> Resolved + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            ask: Box::new(ask),
            state: Mutex::default(),
        }))
    }

    /// The addresses of a host, each with `port`, within `patience`. If the look-up fails temporarily or takes too
    /// long, the last good answer is used, unless it is older than [`STALE`]. Half of `patience` is then left for what
    /// follows.
    ///
    /// # Errors
    /// `upstream_dns_failed`.
    pub(super) async fn look_up(
        &self,
        host: &str,
        port: u16,
        patience: Duration,
    ) -> Result<Found, Failure> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Found {
                addresses: vec![(ip, port).into()],
                note: None,
            });
        }
        let deadline = Instant::now() + patience;
        let waiting = self.join(host);
        let (why, hint) = match self.answer(waiting, host, deadline, patience).await {
            Ok(Ok(addresses)) => return Ok(found(&addresses, port, None)),
            Ok(Err(fault)) if !fault.is_temporary => return Err(failure(host, &fault.words)),
            Ok(Err(fault)) => (fault.words, None),
            Err(waited) => self.silence(host, waited),
        };
        self.last_good(host, port, &why).ok_or_else(|| {
            let failure = failure(host, &why);
            match hint {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            }
        })
    }

    /// The answer of a look-up. If there is a last good answer, the look-up has half of `patience` from its beginning,
    /// so that not everyone waits for one that hangs.
    ///
    /// # Errors
    /// How long the caller has waited.
    async fn answer(
        &self,
        waiting: Result<Waiting, Fault>,
        host: &str,
        deadline: Instant,
        patience: Duration,
    ) -> Result<Resolved, Duration> {
        let Waiting {
            asked,
            has_last_good,
            mut answer,
        } = match waiting {
            Ok(waiting) => waiting,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut come = async |until| {
            let come = timeout_at(until, answer.wait_for(Option::is_some)).await;
            // The sender is not dropped while someone waits.
            come.ok()?.ok()?.clone()
        };
        if has_last_good {
            let early = deadline.min(asked + patience / 2);
            if let Some(answer) = come(early).await {
                return Ok(answer);
            }
            // It may have become too old in the meantime.
            if self.0.lock().last_good(host).is_some() {
                return Err(patience / 2);
            }
        }
        come(deadline).await.ok_or(patience)
    }

    /// Waits for the look-up of a name, and starts or queues it if there is none.
    fn join(&self, host: &str) -> Result<Waiting, Fault> {
        let mut state = self.0.lock();
        let now = Instant::now();
        state.lose(now);
        // If no thread can be started, the next caller tries again.
        let _ = self.0.staff(&mut state);
        if let Some(name) = state.names.get(host)
            && let Some(look_up) = &name.look_up
        {
            return Ok(Waiting {
                asked: look_up.asked,
                has_last_good: name.last_good(now).is_some(),
                answer: look_up.answer.subscribe(),
            });
        }
        state.may_ask(host, now)?;
        state.make_room(now)?;
        let (sender, answer) = watch::channel(None);
        let host: Arc<str> = host.into();
        state.number += 1;
        let number = state.number;
        state.queue.push_back(Arc::clone(&host));
        let staffed = self.0.staff(&mut state);
        if let (Err(error), 0) = (staffed, state.running) {
            state.queue.pop_back();
            let words = format!("can't start a thread for the look-up: {error}");
            return Err(Fault::temporary(words));
        }
        let name = state.names.entry(host).or_default();
        name.look_up = Some(LookUp {
            number,
            asked: now,
            begun: None,
            answer: sender,
        });
        Ok(Waiting {
            asked: now,
            has_last_good: name.last_good(now).is_some(),
            answer,
        })
    }

    fn last_good(&self, host: &str, port: u16, why: &str) -> Option<Found> {
        let (age, addresses) = self.0.lock().last_good(host)?;
        let age = format_duration(Duration::from_secs(age.as_secs()));
        let detail = format!("{host}: {age} old; {why}");
        let note = Note::new(NoteCode::DnsAnswerStale, detail);
        Some(found(&addresses, port, Some(note)))
    }

    /// Why there is no answer yet, and what to do if another name is the cause.
    fn silence(&self, host: &str, waited: Duration) -> (String, Option<&'static str>) {
        let state = self.0.lock();
        let under_way = |name: &Name| name.look_up.as_ref().and_then(|look_up| look_up.begun);
        let is_queued = state
            .names
            .get(host)
            .is_some_and(|name| name.look_up.is_some() && under_way(name).is_none());
        let begun = state
            .names
            .iter()
            .filter_map(|(host, name)| Some((under_way(name)?, host)));
        match begun.min() {
            Some((oldest, other)) if is_queued => {
                let seconds = oldest.elapsed().as_secs();
                let words = format!(
                    "its look-up could not start within {}, because {RUNNING} others have no answer yet, the one for \
                     {other} after {seconds}s",
                    format_duration(waited)
                );
                (words, Some(HUNG))
            }
            _ => {
                let words = format!("no answer from the resolver in {}", format_duration(waited));
                let since = state.names.get(host).and_then(under_way);
                let running = since.map(|since| since.elapsed()).unwrap_or_default();
                // Others may have given up on it before.
                if running < waited + Duration::from_secs(1) {
                    return (words, None);
                }
                let seconds = running.as_secs();
                let words = format!("{words}; the look-up has been running for {seconds}s");
                (words, None)
            }
        }
    }
}

/// The hint for a name that waits because of another one.
const HUNG: &str = "the resolver this process uses does not answer for other names either: check the name servers of \
                    /etc/resolv.conf, and the names in `upstreams.*.endpoints` that detail mentions";

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LookUps> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts threads for the queue.
    fn staff(self: &Arc<Self>, state: &mut LookUps) -> io::Result<()> {
        while state.running < RUNNING.min(state.under_way.len() + state.queue.len()) {
            let shared = Arc::clone(self);
            thread::Builder::new()
                .name("look-up".to_owned())
                .spawn(move || shared.work())?;
            state.running += 1;
        }
        Ok(())
    }

    /// Performs look-ups until the queue is empty or one was lost.
    fn work(&self) {
        while let Some((host, number)) = self.next() {
            let asked = catch_unwind(AssertUnwindSafe(|| (self.ask)(&host)));
            let answer =
                asked.unwrap_or_else(|_| Err(Fault::temporary("the look-up panicked".to_owned())));
            if self.lock().answered(&host, number, answer).is_none() {
                return;
            }
        }
    }

    fn next(&self) -> Option<(Arc<str>, u64)> {
        let mut state = self.lock();
        while let Some(host) = state.queue.pop_front() {
            let Some(name) = state.names.get_mut(&host) else {
                continue;
            };
            match &mut name.look_up {
                Some(look_up) if look_up.answer.receiver_count() > 0 => {
                    let begun = Instant::now();
                    look_up.begun = Some(begun);
                    let number = look_up.number;
                    state.under_way.push(UnderWay {
                        host: Arc::clone(&host),
                        number,
                        begun,
                    });
                    return Some((host, number));
                }
                // All callers have given up.
                _ => name.look_up = None,
            }
        }
        state.running -= 1;
        None
    }
}

fn found(addresses: &[SocketAddr], port: u16, note: Option<Note>) -> Found {
    let with_port = |address: &SocketAddr| {
        let mut address = *address;
        address.set_port(port);
        address
    };
    Found {
        addresses: addresses.iter().map(with_port).collect(),
        note,
    }
}

fn failure(host: &str, words: &str) -> Failure {
    Failure::new(Reason::UpstreamDnsFailed, format!("{host}: {words}"))
}

/// Looks a name up and blocks. It uses the system's files and servers in their configured order, including /etc/hosts,
/// search domains and ndots.
fn ask_the_system(host: &str) -> Resolved {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(fault)?;
    // Other families than IP do not occur.
    let addresses: Arc<[_]> = found
        .filter_map(Result::ok)
        .map(|found| found.sockaddr)
        .collect();
    if addresses.is_empty() {
        return Err(Fault {
            words: "no address".to_owned(),
            is_temporary: false,
        });
    }
    Ok(addresses)
}

/// Whether an error is temporary. A name server that is silent or says that it failed (SERVFAIL, REFUSED) is `Again`; a
/// lack of the proxy's own resources, such as descriptors, is `System` or `Memory`. All others are about the name
/// itself.
fn fault(error: LookupError) -> Fault {
    Fault {
        is_temporary: matches!(
            error.kind(),
            LookupErrorKind::Again | LookupErrorKind::System | LookupErrorKind::Memory
        ),
        words: io::Error::from(error).to_string(),
    }
}

#[cfg(test)]
mod tests;
