//! Timers that race each other, and timers that can never expire.

use std::time::Duration;

use humantime::format_duration;

use super::super::hops::{self, Habit, Hop};
use super::super::problem::quoted;
use super::super::{Config, LoadBalancer};
use super::Notes;
use crate::policy::{Ping, WebSocketRules};

/// The interval of Pings that is recommended, if it is short enough.
const INTERVAL: Duration = Duration::from_secs(20);

/// The default of AWS ALB, nginx and others, in [`hops`].
const USUAL: Duration = Duration::from_secs(60);

/// Round trips over mobile networks are shorter.
const HASTY: Duration = Duration::from_secs(1);

/// How much longer a kept connection should live than the same timer of the hop in front.
const SPARE: Duration = Duration::from_secs(20);

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    let stated = config.load_balancer.as_deref();
    let known = stated.map(known).unwrap_or_default();
    let timer = stated.and_then(|stated| HopTimer::of(stated, &known));
    let is_unknown = timer.is_none() && known.is_empty();
    let has_hop = stated.is_some() || !config.trusted_proxies.is_empty();
    if let Some(stated) = stated.filter(|_| is_unknown) {
        unknown(stated, notes);
    }
    for (index, route) in config.routes.iter().enumerate() {
        let Some((_, rules)) = route.websocket() else {
            continue;
        };
        let site = format!("routes[{index}].websocket");
        match &timer {
            Some(timer) => silence(&site, rules, timer, notes),
            None if is_unknown && has_hop => usual(&site, rules, notes),
            None => {}
        }
        never(&site, rules, notes);
    }
    for hop in known {
        lifetime(config, hop, notes);
        keeping(
            config,
            hop,
            stated.and_then(|stated| stated.idle_timeout),
            notes,
        );
    }
    hasty(config, notes);
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

/// Nothing is known about the timers of the hop in front.
fn unknown(hop: &LoadBalancer, notes: &mut Notes<'_, '_>) {
    let (site, found) = match &hop.name {
        Some(name) => (
            "load_balancer.name",
            format!("found {}, whose idle timeout is not known", quoted(name)),
        ),
        None => (
            "load_balancer",
            "found neither name nor idle_timeout".to_owned(),
        ),
    };
    notes.warn(
        site,
        format!("{found}: the interval of Pings can't be checked against it"),
        "write the timeout that is set there as load_balancer.idle_timeout, or a name from docs/idle-timeouts.md",
    );
}

/// Warns if nothing is known about the hop in front, and there is no Ping, or it comes too late for many hops.
fn usual(site: &str, rules: &WebSocketRules, notes: &mut Notes<'_, '_>) {
    let usual = format_duration(USUAL);
    let write = format_duration(INTERVAL);
    match rules.ping {
        Some(ping) if ping.interval >= USUAL => notes.warn(
            &format!("{site}.ping.interval"),
            format!(
                "found {}, not shorter than the {usual} of silence after which many load balancers end a tunnel by default \
                 (docs/idle-timeouts.md)",
                format_duration(ping.interval)
            ),
            format!("write {write}, or write load_balancer.idle_timeout if the real timeout is longer"),
        ),
        Some(_) => {}
        None if sees_to_it(site, rules, |idle| idle < USUAL, notes) => {}
        None => notes.warn(
            site,
            format!(
                "found no ping: many load balancers end a tunnel after {usual} of silence by default \
                 (docs/idle-timeouts.md), which clients see as 1006"
            ),
            format!(
                "write ping: {{ interval: {write} }}, or ping: off if the application sends its own heartbeat"
            ),
        ),
    }
}

/// Whether a route needs no warning although it has no Ping: the proxy closes silent tunnels itself early enough, or
/// `ping` is written as `off`, because the application has its own heartbeat.
fn sees_to_it(
    site: &str,
    rules: &WebSocketRules,
    is_short: impl Fn(Duration) -> bool,
    notes: &Notes<'_, '_>,
) -> bool {
    rules.idle_timeout.is_some_and(is_short) || notes.is_written(&format!("{site}.ping"))
}

/// The hops that the operator names and whose defaults are known.
fn known(hop: &LoadBalancer) -> Vec<&'static Hop> {
    hop.name.as_deref().map(hops::known).unwrap_or_default()
}

/// The idle timeout of the hop in front.
struct HopTimer {
    time: Duration,
    /// The time and its source, in words that follow "not shorter than" and "a tunnel that stays silent".
    words: String,
    /// Whether a heartbeat after exactly this time is early enough.
    is_advice: bool,
    /// What else can be done about it.
    or: &'static str,
}

impl HopTimer {
    fn of(hop: &LoadBalancer, known: &[&Hop]) -> Option<Self> {
        if let Some(time) = hop.idle_timeout {
            return Some(Self {
                time,
                words: format!("load_balancer.idle_timeout ({})", format_duration(time)),
                is_advice: false,
                or: "",
            });
        }
        // Of several hops, the one with the shortest timer.
        let counts = known
            .iter()
            .filter(|hop| !matches!(hop.habit, Habit::Lifetime(_)));
        let known = counts.min_by_key(|hop| hop.habit.time())?;
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
            or: ", or write load_balancer.idle_timeout if the real timeout is longer",
        })
    }

    /// A Ping that comes early enough.
    fn interval(&self) -> String {
        let half = if self.is_advice {
            self.time
        } else {
            self.time / 2
        };
        format_duration(INTERVAL.min(half)).to_string()
    }

    /// Whether a frame after so much silence comes too late. If two timers expire at the same time, either can be first.
    fn is_over(&self, after: Duration) -> bool {
        match self.is_advice {
            true => after > self.time,
            false => after >= self.time,
        }
    }
}

/// Whether a silent tunnel outlives the hop's timer.
fn silence(site: &str, rules: &WebSocketRules, timer: &HopTimer, notes: &mut Notes<'_, '_>) {
    let HopTimer { words, or, .. } = timer;
    let write = timer.interval();
    if let Some(Ping { interval, .. }) = rules.ping {
        if timer.is_over(interval) {
            let found = format_duration(interval);
            let message = if timer.is_advice {
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
    if sees_to_it(site, rules, |idle| !timer.is_over(idle), notes) {
        return;
    }
    let message = if timer.is_advice {
        format!("found no ping to serve as {words}")
    } else {
        format!(
            "found no ping: a tunnel that is silent for {words} is cut there without a Close, which clients see as 1006"
        )
    };
    let help = format!(
        "write ping: {{ interval: {write} }}{or}, or ping: off if the application sends its own heartbeat"
    );
    notes.warn(site, message, help);
}

/// Timers of a route that never expire, because another timer of the route ends the tunnel first. Pings are the proxy's own
/// frames and do not count for idle_timeout, so a tunnel with Pings alone ends.
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
                "found {interval}, not shorter than idle_timeout ({idle}), which Pings do not reset: the tunnel is \
                 closed before the first Ping"
            ),
            "write a shorter interval, a longer idle_timeout, or only one of the two",
        );
    }
    for (key, timer) in [
        ("ping.interval", interval),
        ("idle_timeout", rules.idle_timeout),
    ] {
        if let Some((lifetime, timer)) = is_first(rules.max_lifetime, timer) {
            notes.warn(
                &format!("{site}.{key}"),
                format!("found {timer}, not shorter than max_lifetime ({lifetime}), which ends every tunnel first"),
                format!("write a shorter {key}, or remove it"),
            );
        }
    }
}

/// Warns about a hop that ends every tunnel at an age, even if it is busy.
fn lifetime(config: &Config, hop: &Hop, notes: &mut Notes<'_, '_>) {
    let Habit::Lifetime(_) = hop.habit else {
        return;
    };
    let is_open = |rules: &WebSocketRules| rules.max_lifetime.is_none();
    let mut rules = config.routes.iter().filter_map(|route| route.websocket());
    if rules.any(|(_, rules)| is_open(rules)) {
        let message = format!(
            "by default {} ends every tunnel {} after its start, even a busy one, and without a Close",
            hop.name,
            format_duration(hop.habit.time())
        );
        let help =
            "raise its timeout, and set a slightly shorter max_lifetime on each websocket route";
        notes.warn("load_balancer.name", message, help);
    }
}

/// Warns about a hop that keeps its connections as long as the proxy does, or longer: it may send a request on a connection
/// that the proxy is closing. Connections are kept only after plain requests.
fn keeping(config: &Config, hop: &Hop, stated: Option<Duration>, notes: &mut Notes<'_, '_>) {
    let Some(keeps) = hop.keeps else {
        return;
    };
    // For some hops both are one setting.
    let keeps = stated
        .filter(|_| keeps == hop.habit.time())
        .unwrap_or(keeps);
    let keep_alive = config.limits.keep_alive;
    let only_websocket = config
        .routes
        .iter()
        .all(|route| route.websocket().is_some());
    if only_websocket || keep_alive > keeps {
        return;
    }
    let site = "limits.keep_alive";
    // If the key is not in the file, the warning needs another place.
    let (site, found) = match notes.is_written(site) {
        true => (site, "found"),
        false => ("load_balancer.name", "limits.keep_alive is"),
    };
    notes.warn(
        site,
        format!(
            "{found} {}, not longer than the {} for which {} keeps a connection to the proxy: it may send a request \
             on a connection that is being closed, and the client sees a 502",
            format_duration(keep_alive),
            format_duration(keeps),
            hop.name
        ),
        format!("write limits: {{ keep_alive: {} }}", format_duration(keeps + SPARE).to_string().replace(' ', "")),
    );
}

/// Warns about timeouts that are too short even for healthy clients and endpoints.
fn hasty(config: &Config, notes: &mut Notes<'_, '_>) {
    let limits = &config.limits;
    let mut timers = vec![
        (
            "limits.tls_handshake".to_owned(),
            Some(limits.tls_handshake),
        ),
        ("limits.request_head".to_owned(), Some(limits.request_head)),
        ("limits.write_stall".to_owned(), Some(limits.write_stall)),
        ("limits.close_wait".to_owned(), Some(limits.close_wait)),
    ];
    for (index, route) in config.routes.iter().enumerate() {
        let Some((_, rules)) = route.websocket() else {
            continue;
        };
        let site = |key: &str| format!("routes[{index}].websocket.{key}");
        timers.push((site("ping.interval"), rules.ping.map(|ping| ping.interval)));
        timers.push((site("ping.timeout"), rules.ping.map(|ping| ping.timeout)));
        timers.push((site("idle_timeout"), rules.idle_timeout));
        timers.push((site("max_lifetime"), rules.max_lifetime));
    }
    for (site, time) in timers {
        let Some(time) = time.filter(|time| *time < HASTY) else {
            continue;
        };
        notes.warn(
            &site,
            format!(
                "found {}, but a round trip to a distant client can take that long",
                format_duration(time)
            ),
            format!("write {} or more", format_duration(HASTY)),
        );
    }
    for (name, upstream) in &config.upstreams {
        let Some(check) = upstream
            .health_check
            .as_ref()
            .filter(|check| check.interval < HASTY)
        else {
            continue;
        };
        let interval = format_duration(check.interval);
        let per_second = 1.0 / check.interval.as_secs_f64();
        notes.warn(
            &format!("upstreams.{name}.health_check.interval"),
            format!(
                "found {interval}: each endpoint is checked about {per_second:.0} times a second"
            ),
            format!("write {} or more", format_duration(HASTY)),
        );
    }
}
