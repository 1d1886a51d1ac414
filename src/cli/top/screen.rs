//! The terminal: what comes from the keys, the proxy and the system, and one frame after each of them.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::keys::Action;
use super::known::{Failure, Known};
use super::poll::{Done, Task, work};
use super::ui::Ui;
use super::view::draw;
use crate::cli::ask::Target;

/// How often the ages on the screen are counted on.
const SECOND: Duration = Duration::from_secs(1);

/// What can happen.
enum News {
    Terminal(Event),
    Done(Done),
    /// A signal, or the end of a thread, without which the view can't go on.
    End {
        has_panicked: bool,
    },
}

impl From<Done> for News {
    fn from(done: Done) -> Self {
        Self::Done(done)
    }
}

/// Says that a thread has ended, also if it panicked.
struct Ending(Sender<News>);

impl Drop for Ending {
    fn drop(&mut self) {
        // If nobody listens, the view has ended already.
        let has_panicked = thread::panicking();
        let _ = self.0.send(News::End { has_panicked });
    }
}

/// Shows the view until the user or a signal ends it. The terminal is then as it was, also after a panic.
///
/// # Errors
/// If the terminal can't be used.
pub(super) fn show(target: &Target, every: Duration, ui: Ui) -> io::Result<()> {
    let (sender, news) = mpsc::channel();
    // Before the terminal is changed: a signal that comes in between must find somebody who changes it back.
    watch_signals(sender.clone())?;
    let terminal = ratatui::try_init()?;
    let outcome = Screen::start(target, every, ui, sender)
        .map_err(Ended::from)
        .and_then(|screen| screen.run(terminal, &news));
    match outcome {
        // The panic has done so already; a second time would move the cursor back to before its message.
        Err(Ended::Panicked) => Err(io::Error::other("a part of this program panicked")),
        Err(Ended::Failed(error)) => {
            ratatui::try_restore()?;
            Err(error)
        }
        Ok(()) => ratatui::try_restore(),
    }
}

/// Why the view ended if nobody asked for that.
enum Ended {
    Panicked,
    Failed(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs something on a thread of its own, whose end ends the view.
fn spawn(
    name: &str,
    news: Sender<News>,
    run: impl FnOnce(&Sender<News>) + Send + 'static,
) -> io::Result<()> {
    let ending = Ending(news);
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || run(&ending.0)).map(|_| ())
}

/// The signals that end a program.
fn watch_signals(news: Sender<News>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    let signals = {
        let _inside = runtime.enter();
        kinds.map(signal)
    };
    let [terminate, interrupt, hangup, quit] = signals;
    let (mut terminate, mut interrupt, mut hangup, mut quit) =
        (terminate?, interrupt?, hangup?, quit?);
    spawn("signals", news, move |_| {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
                _ = quit.recv() => {}
            }
        });
    })
}

struct Screen {
    ui: Ui,
    known: Known,
    tasks: Sender<Task>,
    /// The question that is asked now.
    asked: Option<String>,
    /// When to ask next.
    due: Instant,
    /// When the last document came.
    came: Instant,
    /// When the first of the last failures came.
    failing: Option<Instant>,
    every: Duration,
}

impl Screen {
    fn start(target: &Target, every: Duration, ui: Ui, news: Sender<News>) -> io::Result<Self> {
        let (tasks, queue) = mpsc::channel();
        let (language, asked) = (ui.language, target.clone());
        spawn("poll", news.clone(), move |news| {
            work(&asked, language, &queue, news);
        })?;
        spawn("keys", news, move |news| {
            // It ends when the terminal is gone.
            while let Ok(event) = event::read() {
                if news.send(News::Terminal(event)).is_err() {
                    break;
                }
            }
        })?;
        let now = Instant::now();
        Ok(Self {
            ui,
            known: Known {
                target: target.to_string(),
                every,
                ..Known::default()
            },
            tasks,
            asked: None,
            due: now,
            came: now,
            failing: None,
            every,
        })
    }

    fn run(mut self, mut terminal: DefaultTerminal, news: &Receiver<News>) -> Result<(), Ended> {
        loop {
            self.ask();
            let now = Instant::now();
            self.known.age = now.saturating_duration_since(self.came);
            if let (Some(failure), Some(since)) = (&mut self.known.failure, self.failing) {
                failure.lasting = now.saturating_duration_since(since);
            }
            terminal.draw(|frame| draw(frame, &self.known, &mut self.ui))?;
            // Several pieces of news need one frame only.
            let mut next = match news.recv_timeout(self.pause()) {
                Ok(next) => Some(next),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            while let Some(piece) = next {
                if let News::End { has_panicked: true } = piece {
                    return Err(Ended::Panicked);
                }
                if self.is_over(piece) {
                    return Ok(());
                }
                next = news.try_recv().ok();
            }
        }
    }

    /// How long nothing changes by itself.
    fn pause(&self) -> Duration {
        let is_counting = self.known.failure.is_some() || self.ui.is_paused;
        let due = match self.asked.is_some() || self.ui.is_paused {
            true => Duration::from_secs(3600),
            false => self.due.saturating_duration_since(Instant::now()),
        };
        match is_counting {
            true => due.min(SECOND),
            false => due,
        }
    }

    /// Asks for the document, if it is time.
    fn ask(&mut self) {
        let is_due = !self.ui.is_paused && Instant::now() >= self.due;
        if self.asked.is_none() && is_due {
            self.send_poll();
        }
    }

    fn send_poll(&mut self) {
        let path = self.ui.wanted.path();
        self.asked = Some(path.clone());
        self.send(Task::Poll(path));
    }

    fn send(&self, task: Task) {
        // If the thread has ended, the view ends, too.
        let _ = self.tasks.send(task);
    }

    /// Takes a piece of news. Returns whether it is the last one.
    fn is_over(&mut self, news: News) -> bool {
        match news {
            News::End { .. } => return true,
            News::Terminal(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                let action = self.ui.key(key, self.known.document.as_deref());
                return self.does(action);
            }
            News::Terminal(_) => {}
            News::Done(done) => self.done(done),
        }
        false
    }

    /// Returns whether the user wants to leave.
    fn does(&mut self, action: Action) -> bool {
        match action {
            Action::Nothing => {}
            Action::Quit => return true,
            // An answer to an earlier question is not shown when it comes.
            Action::Poll => self.send_poll(),
            Action::Look(id) => self.send(Task::Look(id)),
            Action::MayClose(id) => self.send(Task::MayClose(id)),
            Action::Close {
                conn,
                stream_id,
                name,
            } => self.send(Task::Close {
                conn,
                stream_id,
                name,
            }),
        }
        false
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Polled(path, outcome) if self.asked.as_ref() == Some(&path) => {
                self.asked = None;
                self.due = Instant::now() + self.every;
                self.polled(outcome);
            }
            Done::Polled(..) => {}
            Done::Looked(id, document) => self.ui.found(&id, &document),
            Done::MayClose(id, outcome) => self.ui.may_close(&id, outcome),
            Done::Closed(said) => {
                self.ui.message = said;
                self.due = Instant::now();
            }
        }
    }

    fn polled(&mut self, outcome: Result<Box<super::document::Document>, String>) {
        match outcome {
            Ok(document) => {
                self.came = Instant::now();
                self.failing = None;
                self.known.failure = None;
                let action = self.ui.sync(&document);
                self.known.document = Some(document);
                self.does(action);
            }
            Err(what) => {
                self.failing.get_or_insert_with(Instant::now);
                match &mut self.known.failure {
                    Some(failure) => failure.what = what,
                    None => {
                        self.known.failure = Some(Failure {
                            what,
                            since: clock(),
                            lasting: Duration::ZERO,
                        });
                    }
                }
            }
        }
    }
}

/// The time of day (UTC).
fn clock() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.get(11..19).unwrap_or_default().to_owned()
}
