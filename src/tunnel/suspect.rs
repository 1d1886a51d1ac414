//! Guesses which hop ended a tunnel, if the end came without a Close and at a time that fits a known timer.
//!
//! The reason is a fact. The guess is kept apart from it and says `possibly`.

use std::time::Duration;

use humantime::format_duration;

use super::side::Side;
use crate::config::LoadBalancer;
use crate::config::hops::{HOPS, Habit};
use crate::record::Suspect;

/// How far from a timer's value an end may be and still be blamed on it: the hop counts from a different byte than the
/// proxy, and some hops check their timers only once a second.
const TOLERANCE: Duration = Duration::from_secs(2);

/// A hop, and what to do about it.
#[derive(Debug)]
pub(super) struct Guess {
    pub suspect: Suspect,
    /// The hint about this hop. It replaces the hint of the reason, which is about other causes.
    pub hint: String,
}

impl Guess {
    fn new(side: Side, suspect: Suspect, is_idle: bool) -> Self {
        let remedy = match (is_idle, side) {
            (true, Side::Client) => {
                "set `routes[].websocket.ping.interval` to less than half of that time, or raise the hop's own timer"
            }
            // Pings go to the client only, and their answers are swallowed.
            (true, Side::Upstream) => {
                "let the application send something (for example a Ping) more often than that, or raise the hop's own timer"
            }
            (false, _) => {
                "Pings do not prevent it: raise the limit on that hop, or let clients reconnect before it"
            }
        };
        let (hop, timer) = (&suspect.hop, &suspect.timer);
        Self {
            hint: format!("it ended when a known timer ends tunnels ({hop}: {timer}): {remedy}"),
            suspect,
        }
    }
}

/// The hop that may have ended a tunnel on this side after `quiet` of silence and a lifetime of `lasted`.
pub(super) fn suspect(
    side: Side,
    quiet: Duration,
    lasted: Duration,
    load_balancer: Option<&LoadBalancer>,
) -> Option<Guess> {
    let configured = load_balancer.filter(|_| side == Side::Client);
    if let Some(LoadBalancer { name, idle_timeout }) = configured
        && let Some(timeout) = idle_timeout.filter(|timeout| is_near(quiet, *timeout))
    {
        let name = name.as_deref().unwrap_or("the load balancer in front");
        let suspect = Suspect {
            hop: format!("possibly {name}"),
            timer: format!(
                "its idle timeout of {} (load_balancer.idle_timeout)",
                format_duration(timeout)
            ),
        };
        return Some(Guess::new(side, suspect, true));
    }
    let (quiet, lasted) = (silences_near(quiet), lifetimes_near(lasted));
    let is_idle = !quiet.is_empty();
    let (found, what) = match is_idle {
        true => (quiet, "idle timeout"),
        false => (lasted, "limit on a whole connection"),
    };
    let (_, time) = found.first()?;
    let timer = format!("{what} of {}", format_duration(*time));
    let hops: Vec<_> = found.iter().map(|(hop, _)| hop.as_str()).collect();
    let hops = hops.join(", ");
    let place = match side {
        Side::Client => "a hop in front",
        Side::Upstream => "a hop between the proxy and the upstream",
    };
    let suspect = Suspect {
        hop: format!("possibly {place}, such as {hops}"),
        timer,
    };
    Some(Guess::new(side, suspect, is_idle))
}

/// The hops that end a tunnel after about this much silence, each with its exact timeout.
fn silences_near(time: Duration) -> Vec<(String, Duration)> {
    near(time, |habit| matches!(habit, Habit::Idle(_)))
}

/// The hops that end every tunnel at about this age.
fn lifetimes_near(time: Duration) -> Vec<(String, Duration)> {
    near(time, |habit| matches!(habit, Habit::Lifetime(_)))
}

fn near(time: Duration, is_wanted: impl Fn(Habit) -> bool) -> Vec<(String, Duration)> {
    let usual = HOPS.iter().map(|hop| (hop.label.to_owned(), hop.habit));
    let others = HOPS.iter().flat_map(|hop| {
        let named = |(where_, habit): &(&str, Habit)| (format!("{} ({where_})", hop.label), *habit);
        hop.others.iter().map(named)
    });
    usual
        .chain(others)
        .filter(|(_, habit)| is_wanted(*habit) && is_near(time, habit.time()))
        .map(|(hop, habit)| (hop, habit.time()))
        .collect()
}

fn is_near(time: Duration, timer: Duration) -> bool {
    time.abs_diff(timer) <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: f64) -> Duration {
        Duration::from_secs_f64(secs)
    }

    #[test]
    fn a_lone_end_at_a_known_timer_points_to_a_hop() {
        for (side, quiet, lasted, expected) in [
            (
                Side::Client,
                60.3,
                500.0,
                Some(("AWS ALB", "idle timeout of 1m")),
            ),
            (
                Side::Client,
                58.0,
                500.0,
                Some(("nginx", "idle timeout of 1m")),
            ),
            (Side::Client, 57.9, 500.0, None),
            (Side::Client, 62.1, 500.0, None),
            (
                Side::Client,
                351.0,
                351.0,
                Some(("AWS NLB", "idle timeout of 5m 50s")),
            ),
            (
                Side::Client,
                1.0,
                30.5,
                Some(("GCP", "limit on a whole connection of 30s")),
            ),
            (Side::Client, 1.0, 14_401.0, Some(("Front Door", "4h"))),
            (
                Side::Upstream,
                60.0,
                80.0,
                Some(("between the proxy and the upstream", "1m")),
            ),
            (Side::Client, 0.1, 12.0, None),
        ] {
            let found = suspect(side, secs(quiet), secs(lasted), None).map(|guess| guess.suspect);
            match (&found, expected) {
                (None, None) => {}
                (Some(found), Some((hop, timer))) => {
                    assert!(
                        found.hop.starts_with("possibly ") && found.hop.contains(hop),
                        "{found:?}"
                    );
                    assert!(found.timer.contains(timer), "{found:?}");
                }
                _ => panic!("{side:?} {quiet} {lasted}: {found:?}"),
            }
        }
    }

    #[test]
    fn every_timer_of_the_table_is_suspected_at_its_time() {
        for hop in HOPS {
            let others = hop.others.iter().map(|(_, habit)| habit);
            for habit in others.chain([&hop.habit]) {
                let found = match habit {
                    Habit::Idle(_) => suspect(Side::Client, habit.time(), secs(1e6), None),
                    Habit::Lifetime(_) => suspect(Side::Client, secs(1.0), habit.time(), None),
                    // The time at which it ends a tunnel is not published.
                    Habit::Heartbeat(_) => continue,
                };
                let found = found.map(|guess| guess.suspect.hop);
                assert!(
                    found.is_some_and(|words| words.contains(hop.label)),
                    "{}",
                    hop.name
                );
            }
        }
    }

    #[test]
    fn hops_with_one_timer_count_the_same_time() {
        for hop in HOPS {
            let times = silences_near(hop.habit.time())
                .into_iter()
                .map(|(_, time)| time);
            let times: std::collections::BTreeSet<_> = times.collect();
            assert!(times.len() <= 1, "{times:?}: only the first is told");
        }
    }

    #[test]
    fn the_configured_load_balancer_comes_first() {
        let balancer = LoadBalancer {
            name: Some("edge".to_owned()),
            idle_timeout: Some(secs(60.0)),
        };
        let found = suspect(Side::Client, secs(61.0), secs(61.0), Some(&balancer))
            .unwrap()
            .suspect;
        assert_eq!(found.hop, "possibly edge");
        assert!(found.timer.contains("load_balancer.idle_timeout"));
        let other = suspect(Side::Client, secs(100.0), secs(500.0), Some(&balancer))
            .unwrap()
            .suspect;
        assert!(other.hop.contains("Cloudflare"));
        let inner = suspect(Side::Upstream, secs(61.0), secs(500.0), Some(&balancer))
            .unwrap()
            .suspect;
        assert!(inner.hop.contains("between"));
    }
    #[test]
    fn the_remedy_is_about_the_timer() {
        for (side, quiet, lasted, remedy) in [
            (
                Side::Client,
                60.0,
                80.0,
                "`routes[].websocket.ping.interval`",
            ),
            (
                Side::Upstream,
                60.0,
                80.0,
                "let the application send something",
            ),
            (Side::Client, 1.0, 3600.0, "Pings do not prevent it"),
            (Side::Upstream, 1.0, 3600.0, "Pings do not prevent it"),
        ] {
            let guess = suspect(side, secs(quiet), secs(lasted), None).unwrap();
            for part in [remedy, &guess.suspect.hop, &guess.suspect.timer] {
                assert!(guess.hint.contains(part), "{guess:?}");
            }
        }
    }
}
