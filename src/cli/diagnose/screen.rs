//! The report on a terminal: colours, lines that fit, and what is waited for.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

use crate::cli::records::safe;
use crate::cli::say;
use crate::diagnose::{self, Comparison, Options as Wanted, Outcome, Report, Step, device_error};
use crate::text::{Language, counted};

/// A terminal that says that it is narrower does not know its width.
const NARROWEST: usize = 40;
const USUAL: usize = 100;

/// The columns in front of the text of a step, and of a line of the verdict.
const STEP: usize = 25;
const VERDICT: usize = 15;

/// How long a step may take before the screen says that it is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the report goes, and how it looks there.
pub(super) struct Screen {
    /// The columns of the terminal; `None`: it is a file or a pipe.
    width: Option<usize>,
    is_coloured: bool,
    /// Whether nothing is said until the end.
    is_quiet: bool,
    is_wechat: bool,
    language: Language,
}

impl Screen {
    /// Standard output.
    pub(super) fn new(is_quiet: bool, is_wechat: bool, language: Language) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
        Self {
            width: is_terminal.then_some(match columns {
                0..NARROWEST => USUAL,
                columns => columns,
            }),
            is_coloured: is_terminal && std::env::var_os("NO_COLOR").is_none(),
            is_quiet,
            is_wechat,
            language,
        }
    }

    /// Diagnoses a URL and says each step when it is over.
    pub(super) fn diagnose(&self, wanted: &Wanted) -> Report {
        if self.is_quiet {
            return diagnose::diagnose(wanted, &mut |_| {});
        }
        let most = wanted.most_connections();
        let url = wanted.target.shown();
        let head = match self.language {
            Language::En => format!("{url}: at most {}\n", counted(most, "connection")),
            Language::Zh => format!("{url}：最多 {most} 个连接\n"),
        };
        say(io::stdout(), &safe(&head));
        let waiting = self.width.map(|_| Waiting::begin(self.language));
        let report = diagnose::diagnose(wanted, &mut |step| {
            let text = self.step(step);
            match &waiting {
                Some(waiting) => waiting.say(&text),
                None => say(io::stdout(), &text),
            }
        });
        drop(waiting);
        say(io::stdout(), &self.verdict(&report));
        report
    }

    /// Says where two ways part.
    pub(super) fn comparison(&self, comparison: Comparison, report: &Report) -> String {
        let stage = match comparison {
            Comparison::Hop => format!(" ({})", report.verdict.stage),
            _ => String::new(),
        };
        let words = comparison.words(self.language);
        format!("\n{}{stage}\n", self.colour("1", words))
    }

    /// Text that may be shown, in lines that fit behind an indent of `indent` columns.
    fn wrapped(&self, text: &str, indent: usize) -> String {
        let text = safe(text).replace('\n', " ");
        let Some(width) = self.width else {
            return text;
        };
        let room = width.saturating_sub(indent + 1).max(20);
        let mut wrapped = String::new();
        let mut column = 0;
        for word in text.split(' ') {
            let columns = columns(word);
            if column > 0 && column + 1 + columns > room {
                wrapped.push('\n');
                wrapped.push_str(&" ".repeat(indent));
                column = 0;
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += columns;
        }
        wrapped
    }

    fn colour(&self, code: &str, text: &str) -> String {
        match self.is_coloured {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    fn mark(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Ok => self.colour("32", "ok  "),
            Outcome::Note => self.colour("33", "note"),
            Outcome::Failed => self.colour("31", "FAIL"),
        }
    }

    fn step(&self, step: &Step) -> String {
        let probe = match step.probe {
            "walk" => String::new(),
            probe => format!("{probe}: "),
        };
        let what = match step.finding {
            Some(finding) if step.detail.is_empty() => finding.to_owned(),
            Some(finding) => format!("{finding}: {}", step.detail),
            None => step.detail.clone(),
        };
        let address = match (&step.address, step.stage) {
            (Some(address), "tcp") => format!("{address} "),
            _ => String::new(),
        };
        // Only this program's own colours may reach the terminal.
        let what = self.wrapped(&format!("{address}{probe}{what}"), STEP);
        format!(
            "  {} {:<7} {:>5} ms  {what}\n",
            self.mark(step.outcome),
            step.stage,
            step.ms
        )
    }

    fn verdict(&self, report: &Report) -> String {
        let verdict = &report.verdict;
        let pick = |en: &'static str, zh: &'static str| self.language.pick(en, zh);
        let head = match verdict.works() {
            true => self.colour("1;32", pick("works", "正常")),
            false => self.colour("1;31", pick("does not work", "不正常")),
        };
        let cause = self.wrapped(verdict.cause(self.language), VERDICT);
        let colon = pick(": ", "：");
        let mut text = format!("\n{head}{colon}{cause}\n");
        let mut say = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!("  {name}{}\n", self.wrapped(value, VERDICT)));
            }
        };
        let reason = verdict.reason().map_or("", |reason| reason.code());
        say(pick("finding:     ", "结论：      "), verdict.finding.id());
        say(pick("reason:      ", "原因码：    "), reason);
        say(pick("stage:       ", "阶段：      "), verdict.stage);
        say(pick("detail:      ", "详情：      "), &verdict.detail);
        say(
            pick("answered by: ", "应答者：    "),
            verdict.answered_by.unwrap_or_default(),
        );
        let shown = device_error(verdict.finding, verdict.stage);
        say(
            pick("WeChat shows:", "微信显示： "),
            &shown
                .filter(|_| self.is_wechat)
                .map(|shown| format!(" {shown}"))
                .unwrap_or_default(),
        );
        say(
            pick("what to do:  ", "处理办法：  "),
            verdict.fix(self.language),
        );
        text
    }
}

/// The columns that a text takes. Chinese characters take two.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

/// Says on a terminal that a step takes long.
struct Waiting {
    state: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    /// When the last step was over; `None`: there are no more.
    since: Option<Instant>,
    /// Whether the line about waiting is on the screen.
    is_shown: bool,
}

/// Takes the current line off the screen.
const CLEAR: &str = "\r\u{1b}[K";

impl Waiting {
    fn begin(language: Language) -> Self {
        let state = State {
            since: Some(Instant::now()),
            is_shown: false,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || watch(&shared, language));
        Self {
            state,
            thread: Some(thread),
        }
    }

    /// Says a step in place of the waiting.
    fn say(&self, text: &str) {
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if state.is_shown { CLEAR } else { "" };
        say(io::stdout(), &format!("{clear}{text}"));
        *state = State {
            since: Some(Instant::now()),
            is_shown: false,
        };
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_shown {
            say(io::stdout(), CLEAR);
        }
        state.since = None;
        drop(state);
        self.state.1.notify_all();
        // It has nothing left to do.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn watch((state, changed): &(Mutex<State>, Condvar), language: Language) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(since) = state.since {
        if since.elapsed() >= PATIENCE {
            let seconds = since.elapsed().as_secs();
            let line = match language {
                Language::En => format!("{CLEAR}  waiting for {seconds} s"),
                Language::Zh => format!("{CLEAR}  已等待 {seconds} 秒"),
            };
            say(io::stdout(), &line);
            state.is_shown = true;
        }
        let waited = changed.wait_timeout(state, PATIENCE);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_width() {
        let screen = |width| Screen {
            width,
            is_coloured: false,
            is_quiet: false,
            is_wechat: false,
            language: Language::En,
        };
        let text = "one two three four five six seven eight nine ten 一二三四五六七八九十 eleven";
        assert_eq!(screen(None).wrapped(text, 15), text);
        let wrapped = screen(Some(50)).wrapped(text, 15);
        let lines: Vec<_> = wrapped.lines().collect();
        assert!(lines.len() > 2, "{wrapped}");
        for (index, line) in lines.iter().enumerate() {
            let indent = if index == 0 { 15 } else { 0 };
            assert!(indent + columns(line) <= 50, "{line}");
        }
        let together: Vec<_> = wrapped.split_whitespace().collect();
        assert_eq!(together.join(" "), text);
        // A word that is too long is not cut.
        let long = "x".repeat(100);
        assert_eq!(screen(Some(50)).wrapped(&long, 15), long);
    }
}
