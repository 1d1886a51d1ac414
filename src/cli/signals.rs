//! The signals that end the process, and an end that nothing holds up.
//!
//! They are waited for on a thread with a runtime of its own. What ends the process in order runs where the connections
//! do, and there every thread may be stuck, such as in writing to a standard error that nobody reads. So the process ends
//! from here where it has not done so by itself in time.

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

/// Signals that may wait until they are taken up: the second one says all that signals can say.
const WAITING: usize = 4;

/// How long standard error may take for the last words.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The names of the signals that come.
pub(super) struct Signals {
    names: Receiver<&'static str>,
    is_loaded: Arc<AtomicBool>,
    patience: Arc<OnceLock<Grace>>,
}

type Grace = Box<dyn Fn() -> Duration + Send + Sync>;

impl Signals {
    /// Takes them from the kernel from now on, which ignores them for process 1 of a container. Until [`Signals::loaded`]
    /// each ends the process at once, with status 0. After it, they are there to be taken up: where the process has not
    /// ended [`ENDING`] after the second one, or after the first one and what [`Signals::allow`] said, it is ended with
    /// status 1.
    ///
    /// # Errors
    /// When the system has no descriptor or no thread for it.
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
                            "{name} before the configuration was read; nothing was served"
                        );
                    });
                }
                let end = Instant::now() + ENDING;
                until = Some(match until {
                    Some(until) => until.min(end),
                    None => end + allowed.get().map(|allowed| allowed()).unwrap_or_default(),
                });
                // Where nobody takes them up, those that wait are enough.
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

    /// Says that what is waited for at the start has been read.
    pub fn loaded(&self) {
        self.is_loaded.store(true, Relaxed);
    }

    /// Says how long a shutdown may take, which is asked when the first one comes.
    pub fn allow(&self, patience: impl Fn() -> Duration + Send + Sync + 'static) {
        // It is said once.
        let _ = self.patience.set(Box::new(patience));
    }

    /// The name of the next one.
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

/// Ends the process as it is.
fn leave(status: u8, say: impl FnOnce() + Send + 'static) -> ! {
    // Standard error may be what everything waits for.
    let (said, is_said) = std::sync::mpsc::channel();
    let saying = thread::Builder::new().spawn(move || {
        say();
        // Nobody listens any more where it took too long.
        let _ = said.send(());
    });
    if saying.is_ok() {
        let _ = is_said.recv_timeout(LAST_WORDS);
    }
    process::exit(status.into())
}

/// SIGQUIT is what other proxies are asked with to let their connections finish.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Ends {
    /// Needs a runtime.
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
