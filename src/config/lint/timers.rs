//! Timers that race, or that never come to their end.

use std::time::Duration;

use humantime::format_duration;

use super::super::hops::{self, Habit, Hop};
use super::super::problem::quoted;
use super::super::{Config, LoadBalancer};
use super::Notes;
use crate::policy::{Ping, WebSocketRules};

/// What a Ping is recommended to be, where that is short enough.
const INTERVAL: Duration = Duration::from_secs(20);

/// The default of AWS ALB, nginx and others, in [`hops`].
const USUAL: Duration = Duration::from_secs(60);

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    let hop = config.load_balancer.as_deref();
    let patience = hop.and_then(Patience::of);
    let has_hop = hop.is_some() || !config.trusted_proxies.is_empty();
    if let Some(hop) = hop {
        unknown(hop, notes);
    }
    for (index, route) in config.routes.iter().enumerate() {
        let Some((_, rules)) = route.websocket() else {
            continue;
        };
        let site = format!("routes[{index}].websocket");
        match &patience {
            Some(patience) => silence(&site, rules, patience, notes),
            None if has_hop => usual(&site, rules, notes),
            None => {}
        }
        never(&site, rules, notes);
    }
    if let Some(hop) = hop.and_then(known) {
        lifetime(config, hop, notes);
    }
    for (name, upstream) in &config.upstreams {
        let Some(check) = &upstream.health_check else {
            continue;
        };
        if check.timeout > check.interval {
            let (timeout, interval) = (
                format_duration(check.timeout),
                format_duration(check.interval),
            );
            notes.warn(
                &format!("upstreams.{name}.health_check.timeout"),
                format!(
                    "found {timeout}, longer than health_check.interval ({interval}): an endpoint that hangs is checked \
                     only every {}",
                    format_duration(check.timeout + check.interval)
                ),
                format!("write {interval} or less"),
            );
        }
    }
}

/// What is said of the hop in front tells nothing about its timers.
fn unknown(hop: &LoadBalancer, notes: &mut Notes<'_, '_>) {
    if hop.idle_timeout.is_some() || known(hop).is_some() {
        return;
    }
    let (site, found) = match &hop.name {
        Some(name) => (
            "load_balancer.name",
            format!("found {}, which", quoted(name)),
        ),
        None => (
            "load_balancer",
            "found neither name nor idle_timeout, so that the hop".to_owned(),
        ),
    };
    notes.warn(
        site,
        format!("{found} is none whose idle timeout is known here: no Ping can be held against it"),
        "write load_balancer.idle_timeout as it is set there, or a name of docs/idle-timeouts.md",
    );
}

/// A Ping that is too late for many hops, where nothing is known of the one in front.
fn usual(site: &str, rules: &WebSocketRules, notes: &mut Notes<'_, '_>) {
    let Some(ping) = rules.ping.filter(|ping| ping.interval >= USUAL) else {
        return;
    };
    notes.warn(
        &format!("{site}.ping.interval"),
        format!(
            "found {}, not shorter than the {} of silence after which many load balancers end a tunnel by default \
             (docs/idle-timeouts.md)",
            format_duration(ping.interval),
            format_duration(USUAL)
        ),
        format!(
            "write {}, or state load_balancer.idle_timeout if it is longer",
            format_duration(INTERVAL)
        ),
    );
}

/// The hop that the operator names, if its defaults are known.
fn known(hop: &LoadBalancer) -> Option<&'static Hop> {
    hop.name.as_deref().and_then(hops::known)
}

/// How long the hop in front bears silence.
struct Patience {
    time: Duration,
    /// What follows "not shorter than", and "a tunnel that stays silent": how that is known.
    words: String,
    /// Whether a heartbeat of just this time is in time.
    is_advice: bool,
    /// What else can be done about it.
    or: &'static str,
}

impl Patience {
    fn of(hop: &LoadBalancer) -> Option<Self> {
        if let Some(time) = hop.idle_timeout {
            return Some(Self {
                time,
                words: format!("load_balancer.idle_timeout ({})", format_duration(time)),
                is_advice: false,
                or: "",
            });
        }
        let known = known(hop)?;
        let time = known.habit.time();
        let shown = format_duration(time);
        let name = known.name;
        let (words, is_advice) = match known.habit {
            Habit::Lifetime(_) => return None,
            Habit::Idle(_) => (
                format!("the idle timeout of {name} ({shown} unless it was changed)"),
                false,
            ),
            Habit::Heartbeat(_) => (
                format!("the heartbeat that {name} asks for ({shown})"),
                true,
            ),
        };
        Some(Self {
            time,
            words,
            is_advice,
            or: ", or state load_balancer.idle_timeout if it is longer",
        })
    }

    /// A Ping that comes in time.
    fn interval(&self) -> String {
        let half = if self.is_advice {
            self.time
        } else {
            self.time / 2
        };
        format_duration(INTERVAL.min(half)).to_string()
    }

    /// Whether something that comes after so much silence comes too late. Of two timers that end at the same time
    /// either can be first.
    fn is_over(&self, after: Duration) -> bool {
        match self.is_advice {
            true => after > self.time,
            false => after >= self.time,
        }
    }
}

/// Whether a silent tunnel outlives the hop's patience.
fn silence(site: &str, rules: &WebSocketRules, patience: &Patience, notes: &mut Notes<'_, '_>) {
    let Patience { words, or, .. } = patience;
    let write = patience.interval();
    if let Some(Ping { interval, .. }) = rules.ping {
        if patience.is_over(interval) {
            let found = format_duration(interval);
            let message = if patience.is_advice {
                format!("found {found}, longer than {words}")
            } else {
                format!(
                    "found {found}, not shorter than {words}: a silent tunnel may be closed before its Ping"
                )
            };
            notes.warn(
                &format!("{site}.ping.interval"),
                message,
                format!("write {write}{or}"),
            );
        }
        return;
    }
    // The proxy ends silent tunnels itself, with a Close; or the operator says that the application sees to it.
    let ends_first = rules
        .idle_timeout
        .is_some_and(|idle| !patience.is_over(idle));
    if ends_first || notes.is_written(&format!("{site}.ping")) {
        return;
    }
    let message = if patience.is_advice {
        format!("found no ping, which would be {words}")
    } else {
        format!(
            "found no ping: a tunnel that is silent for {words} is cut there without a Close, which clients see as 1006"
        )
    };
    let help = format!(
        "write ping: {{ interval: {write} }}{or}, or ping: off where the application sends a heartbeat of its own"
    );
    notes.warn(site, message, help);
}

/// Timers of a route that another one of its timers forestalls. Pings are the proxy's own frames: idle_timeout does not
/// count them, and so ends a tunnel that is kept alive by nothing else.
fn never(site: &str, rules: &WebSocketRules, notes: &mut Notes<'_, '_>) {
    let interval = rules.ping.map(|ping| ping.interval);
    let is_first = |first: Option<Duration>, then: Option<Duration>| {
        let both = first.zip(then).filter(|(first, then)| first <= then);
        both.map(|(first, then)| (format_duration(first), format_duration(then)))
    };
    if let Some((idle, interval)) = is_first(rules.idle_timeout, interval) {
        notes.warn(
            &format!("{site}.ping.interval"),
            format!(
                "found {interval}, not shorter than idle_timeout ({idle}), which Pings do not prolong: the tunnel is \
                 closed before the first one"
            ),
            "write a shorter interval, a longer idle_timeout, or one of the two alone",
        );
    }
    for (key, timer) in [
        ("ping.interval", interval),
        ("idle_timeout", rules.idle_timeout),
    ] {
        if let Some((lifetime, timer)) = is_first(rules.max_lifetime, timer) {
            notes.warn(
                &format!("{site}.{key}"),
                format!("found {timer}, not shorter than max_lifetime ({lifetime}), which ends every tunnel before"),
                format!("write a shorter {key}, or remove it"),
            );
        }
    }
}

/// A hop that ends every tunnel at an age, whatever passes.
fn lifetime(config: &Config, hop: &Hop, notes: &mut Notes<'_, '_>) {
    let Habit::Lifetime(_) = hop.habit else {
        return;
    };
    let is_open = |rules: &WebSocketRules| rules.max_lifetime.is_none();
    let mut rules = config.routes.iter().filter_map(|route| route.websocket());
    if rules.any(|(_, rules)| is_open(rules)) {
        let message = format!(
            "{} ends every tunnel {} after its start unless it was told otherwise, busy or not, and without a Close",
            hop.name,
            format_duration(hop.habit.time())
        );
        let help = "raise its timeout, and write a max_lifetime a little shorter than it for each websocket route";
        notes.warn("load_balancer.name", message, help);
    }
}
