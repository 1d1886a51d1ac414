//! The state of all look-ups: those that wait, run or are lost, and the last good answers.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use humantime::format_duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a look-up may take until it counts as lost. Name servers usually fail sooner.
pub const LATE: Duration = Duration::from_secs(60);

/// The most look-ups that may be lost at the same time, each with its thread.
pub const LOST: usize = 24;

/// How old the last good answer may be if the resolver gives none.
pub const STALE: Duration = Duration::from_secs(60);

/// The most names that are known or waited for.
pub const NAMES: usize = 4096;

/// The result of a look-up: addresses, whose ports have no meaning.
pub type Resolved = Result<Arc<[SocketAddr]>, Fault>;

#[derive(Clone, Debug)]
pub struct Fault {
    pub words: String,
    /// Whether it says nothing about the name itself.
    pub is_temporary: bool,
}

#[derive(Default)]
pub struct LookUps {
    pub names: HashMap<Arc<str>, Name>,
    /// The names whose look-up has not begun.
    pub queue: VecDeque<Arc<str>>,
    /// The look-ups that have begun and are not lost.
    pub under_way: Vec<UnderWay>,
    /// The number of threads, without those of lost look-ups.
    pub running: usize,
    pub lost: usize,
    /// The number of the last look-up.
    pub number: u64,
}

pub struct UnderWay {
    pub host: Arc<str>,
    pub number: u64,
    pub begun: Instant,
}

#[derive(Default)]
pub struct Name {
    /// When the last good answer came, and its addresses.
    pub last_good: Option<(Instant, Arc<[SocketAddr]>)>,
    pub look_up: Option<LookUp>,
    /// How many look-ups are lost, and since when the last one is.
    pub lost: u32,
    pub lost_since: Option<Instant>,
}

/// A look-up that callers wait for.
pub struct LookUp {
    pub number: u64,
    pub asked: Instant,
    /// `None` while it is in the queue.
    pub begun: Option<Instant>,
    pub answer: watch::Sender<Option<Resolved>>,
}

impl LookUps {
    /// Passes an answer on. `None`: its look-up was lost, and nobody waits for it.
    pub fn answered(&mut self, host: &str, number: u64, answer: Resolved) -> Option<()> {
        let place = self.under_way.iter().position(|one| one.number == number);
        let name = self.names.get_mut(host);
        let Some(place) = place else {
            self.lost -= 1;
            if let Some(name) = name {
                name.lost -= 1;
            }
            return None;
        };
        self.under_way.swap_remove(place);
        if let Some(name) = name {
            match &answer {
                Ok(addresses) => name.last_good = Some((Instant::now(), Arc::clone(addresses))),
                Err(fault) if !fault.is_temporary => name.last_good = None,
                Err(_) => {}
            }
            if let Some(look_up) = name.look_up.take() {
                look_up.answer.send_replace(Some(answer));
            }
        }
        Some(())
    }

    /// Gives up look-ups that take too long, while there is room for lost ones.
    pub fn lose(&mut self, now: Instant) {
        let is_late = |one: &UnderWay| now.saturating_duration_since(one.begun) >= LATE;
        while self.lost < LOST
            && let Some(place) = self.under_way.iter().position(is_late)
        {
            let UnderWay { host, .. } = self.under_way.swap_remove(place);
            self.running -= 1;
            self.lost += 1;
            let Some(name) = self.names.get_mut(&host) else {
                continue;
            };
            name.lost += 1;
            name.lost_since = Some(now);
            if let Some(look_up) = name.look_up.take() {
                let words = format!("no answer from the resolver in {}", format_duration(LATE));
                let answer = Err(Fault::temporary(words));
                look_up.answer.send_replace(Some(answer));
            }
        }
    }

    /// Whether a name may be looked up. The pause doubles after each of its lost look-ups, so that one name does not
    /// use up all threads that may be lost.
    pub fn may_ask(&self, host: &str, now: Instant) -> Result<(), Fault> {
        let Some(name) = self.names.get(host).filter(|name| name.lost > 0) else {
            return Ok(());
        };
        let lost = name.lost;
        let pause = LATE * (2_u32.pow(lost.min(16) - 1) - 1);
        let since = name.lost_since.unwrap_or(now);
        if self.lost < LOST && now.saturating_duration_since(since) >= pause {
            return Ok(());
        }
        let words = format!(
            "{lost} of its look-ups have had no answer for over {}, and the next one has to wait",
            format_duration(LATE)
        );
        Err(Fault::temporary(words))
    }

    /// The last good answer of a name and its age.
    pub fn last_good(&self, host: &str) -> Option<(Duration, Arc<[SocketAddr]>)> {
        self.names.get(host)?.last_good(Instant::now())
    }

    /// Forgets old answers if there are too many names.
    pub fn make_room(&mut self, now: Instant) -> Result<(), Fault> {
        if self.names.len() < NAMES {
            return Ok(());
        }
        self.names.retain(|_, name| name.is_known(now));
        if self.names.len() < NAMES {
            return Ok(());
        }
        let words = format!("{NAMES} names are being looked up already");
        Err(Fault::temporary(words))
    }
}

impl Name {
    pub fn is_known(&self, now: Instant) -> bool {
        self.look_up.is_some() || self.lost > 0 || self.last_good(now).is_some()
    }

    pub fn last_good(&self, now: Instant) -> Option<(Duration, Arc<[SocketAddr]>)> {
        let (since, addresses) = self.last_good.as_ref()?;
        let age = now.saturating_duration_since(*since);
        (age <= STALE).then(|| (age, Arc::clone(addresses)))
    }
}

impl Fault {
    pub fn temporary(words: String) -> Self {
        Self {
            words,
            is_temporary: true,
        }
    }
}
