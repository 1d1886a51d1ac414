//! The signals that end the process, even if the rest of it is stuck.
//!
//! They are handled on a thread with a runtime of its own. The ordered shutdown runs on the threads of the connections,
//! and all of these may be blocked, for example by writing to a standard error that nobody reads. If the process has
//! not ended at the deadline, this thread ends it.

use std::future::pending;
use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep_until};

use super::{FAILED, OK};
use crate::server::ENDING;

/// How many signals may wait to be handled. A third signal means no more than the second.
const WAITING: usize = 4;

/// How long the last message on standard error may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The names of the signals as they arrive.
pub(super) struct Signals {
    names: Receiver<&'static str>,
    is_loaded: Arc<AtomicBool>,
    patience: Arc<OnceLock<Grace>>,
}

type Grace = Box<dyn Fn() -> Duration + Send + Sync>;

impl Signals {
    /// Handles the signals from now on; otherwise the kernel ignores them for process 1 of a container.
    ///
    /// Until [`Signals::loaded`], a signal ends the process at once with status 0. After that, [`Signals::next`] gives
    /// the signals. If the process has not ended [`ENDING`] after the second signal, or [`ENDING`] and the time from
    /// [`Signals::allow`] after the first one, it is ended with status 1.
    ///
    /// # Errors
    /// If no descriptor or thread is left.
    pub fn take() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut ends = {
            let _inside = runtime.enter();
            Ends::new()?
        };
        let (sender, names) = channel(WAITING);
        let patience: Arc<OnceLock<Grace>> = Arc::default();
        let allowed = Arc::clone(&patience);
        let is_loaded: Arc<AtomicBool> = Arc::default();
        let is_taken_up = Arc::clone(&is_loaded);
        let watch = async move {
            let mut until: Option<Instant> = None;
            loop {
                let name = tokio::select! {
                    name = ends.next() => name,
                    () = passed(until) => leave(FAILED, || {
                        tracing::error!(
                            "the process did not end before its deadline; the last records are missing"
                        );
                    }),
                };
                if !is_taken_up.load(Relaxed) {
                    leave(OK, move || {
                        tracing::info!(
                            "{name} arrived before the configuration was read; nothing was served"
                        );
                    });
                }
                let end = Instant::now() + ENDING;
                until = Some(match until {
                    Some(until) => until.min(end),
                    None => end + allowed.get().map(|allowed| allowed()).unwrap_or_default(),
                });
                // If the queue is full, the waiting signals are enough.
                let _ = sender.try_send(name);
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(watch))?;
        Ok(Self {
            names,
            is_loaded,
            patience,
        })
    }

    /// The configuration has been read.
    pub fn loaded(&self) {
        self.is_loaded.store(true, Relaxed);
    }

    /// Sets how long a shutdown may take; `patience` is called when the first signal arrives.
    pub fn allow(&self, patience: impl Fn() -> Duration + Send + Sync + 'static) {
        // This is called only once.
        let _ = self.patience.set(Box::new(patience));
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        match self.names.recv().await {
            Some(name) => name,
            // The thread never ends.
            None => pending().await,
        }
    }
}

async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

/// Ends the process immediately.
fn leave(status: u8, say: impl FnOnce() + Send + 'static) -> ! {
    // Standard error may be blocked, so the message is written by another thread.
    let (said, is_said) = std::sync::mpsc::channel();
    let saying = thread::Builder::new().spawn(move || {
        say();
        // If it took too long, nobody waits any more.
        let _ = said.send(());
    });
    if saying.is_ok() {
        let _ = is_said.recv_timeout(LAST_WORDS);
    }
    process::exit(status.into())
}

/// SIGTERM, SIGINT and SIGQUIT; other proxies use SIGQUIT for a graceful end.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Ends {
    /// Must be called inside a runtime.
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}
