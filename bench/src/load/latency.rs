//! The row about the delay of an echo while other clients make handshakes. Messages are sent at fixed times, whether or not
//! the echoes before them have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use rustls::HandshakeKind;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection::Dialer;
use super::workers::{Echo, Handshakes, Worker};
use super::{Driver, MESSAGE, Options, PATIENCE};
use crate::Failure;

/// The tunnels take turns.
const TUNNELS: usize = 32;
/// The time from one message to the next: 4,000 in a second.
const EVERY: Duration = Duration::from_micros(250);
/// The time from one handshake to the next: 500 in a second.
const HANDSHAKE_EVERY: Duration = Duration::from_millis(2);
/// How many of the handshakes that are due must be finished when the messages end.
const ENOUGH: f64 = 0.9;
/// The clients that make handshakes give way to the messages: by how much nicer they are.
const NICE: i32 = 10;

/// Warms up, waits, measures and prints, as [`super::run`] says.
pub(super) async fn run(
    dialer: &Dialer,
    options: &Options,
    driver: &mut Driver,
) -> Result<(), Failure> {
    let tunnels = Echo::open(dialer, TUNNELS, MESSAGE).await?;
    let (tunnels, ..) = measure(tunnels, dialer, options.warm_up()).await?;
    println!("ready");
    driver.wait().await?;
    let started = Instant::now();
    let time = options.time();
    let (_tunnels, mut delays, handshakes) = measure(tunnels, dialer, time).await?;
    let elapsed = started.elapsed().as_nanos();
    let due = time.as_secs_f64() / HANDSHAKE_EVERY.as_secs_f64();
    if (handshakes as f64) < due * ENOUGH {
        return Err(format!("only {handshakes} of {due:.0} handshakes were finished").into());
    }
    delays.sort_unstable();
    let operations = delays.len();
    let p99 = delays
        .get(operations * 99 / 100)
        .ok_or("no message was sent")?;
    println!("done {operations} {elapsed} {}", p99.as_nanos());
    while driver.wait().await.is_ok() {}
    Ok(())
}

/// Sends messages for `time` while handshakes are made. Returns the delays of their echoes, and how many handshakes
/// were finished.
async fn measure(
    tunnels: Vec<Echo>,
    dialer: &Dialer,
    time: Duration,
) -> Result<(Vec<Echo>, Vec<Duration>, u64), Failure> {
    let handshakes = Handshaking::start(dialer.clone())?;
    let mut working = JoinSet::new();
    let mut turns = Vec::new();
    for tunnel in tunnels {
        let (turn, due) = unbounded_channel();
        turns.push(turn);
        working.spawn(echoes(tunnel, due));
    }
    let pacing = std::thread::Builder::new().spawn(move || pace(&turns, time))?;
    let mut tunnels = Vec::new();
    let mut delays = Vec::new();
    let all_done = async {
        while let Some(done) = working.join_next().await {
            let (tunnel, some) = done??;
            tunnels.push(tunnel);
            delays.extend(some);
        }
        Ok::<_, Failure>(())
    };
    timeout(time + PATIENCE, all_done)
        .await
        .map_err(|_| "an echo did not come")??;
    pacing.join().map_err(|_| "a thread panicked")??;
    Ok((tunnels, delays, handshakes.end().await?))
}

/// Tells the tunnels in turn when their next message was due. This is a thread, because the runtime's own timers are too
/// coarse.
fn pace(turns: &[UnboundedSender<Instant>], time: Duration) -> Result<(), Failure> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let every = Timespec {
        tv_sec: 0,
        tv_nsec: EVERY.subsec_nanos().into(),
    };
    let times = Itimerspec {
        it_interval: every,
        it_value: every,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
    let started = Instant::now();
    let all = u32::try_from(time.as_nanos() / EVERY.as_nanos())?;
    let mut sent = 0;
    let mut next = turns.iter().cycle();
    while sent < all {
        let mut expired = [0; 8];
        rustix::io::read(&timer, &mut expired)?;
        for _ in 0..u64::from_ne_bytes(expired) {
            sent += 1;
            if let Some(turn) = next.next() {
                // A tunnel that failed reports it.
                let _: Result<(), _> = turn.send(started + EVERY * sent);
            }
        }
    }
    Ok(())
}

/// Sends a message whenever one is due. A delay counts from that time, so it includes the wait for the echo before.
async fn echoes(
    mut tunnel: Echo,
    mut due: UnboundedReceiver<Instant>,
) -> Result<(Echo, Vec<Duration>), Failure> {
    let mut delays = Vec::new();
    while let Some(due) = due.recv().await {
        tunnel.operate().await?;
        delays.push(due.elapsed());
    }
    Ok((tunnel, delays))
}

/// A thread whose clients make handshakes. It has a low priority, so that it delays mostly the proxy.
struct Handshaking {
    outcome: oneshot::Receiver<Result<(), Failure>>,
    is_over: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
}

impl Handshaking {
    fn start(dialer: Dialer) -> Result<Self, Failure> {
        let is_over = Arc::new(AtomicBool::new(false));
        let finished = Arc::new(AtomicU64::new(0));
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&finished));
        let (send, outcome) = oneshot::channel();
        std::thread::Builder::new().spawn(move || {
            // Linux has a priority for each thread.
            let done = getpriority_process(None)
                .and_then(|nice| setpriority_process(Some(gettid()), nice + NICE))
                .map_err(Failure::from)
                .and_then(|()| crate::block_on(handshakes(dialer, over, count)));
            // The receiver is gone if an echo failed.
            let _: Result<(), _> = send.send(done);
        })?;
        Ok(Self {
            outcome,
            is_over,
            finished,
        })
    }

    /// Ends it, and returns how many handshakes were finished before.
    async fn end(self) -> Result<u64, Failure> {
        let finished = self.finished.load(Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
        timeout(PATIENCE, self.outcome)
            .await
            .map_err(|_| "a handshake was not finished")???;
        Ok(finished)
    }
}

async fn handshakes(
    dialer: Dialer,
    is_over: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
) -> Result<(), Failure> {
    let mut ticks = interval(HANDSHAKE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut client = Handshakes::new(dialer.clone(), HandshakeKind::Full);
        under_way.spawn(async move { client.operate().await });
        while let Some(done) = under_way.try_join_next() {
            done??;
            finished.fetch_add(1, Ordering::Relaxed);
        }
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}
