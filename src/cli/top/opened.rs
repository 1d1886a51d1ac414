//! What is opened from a pane, and what lies over it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::cells::is_plain;
use super::document::{Problem, Tunnel};
use super::lenient::Fact;
use super::wanted::Form;

/// The longest name of who closes a tunnel.
pub(super) const LONGEST_NAME: usize = 64;

/// A record, a tunnel or a problem, from begin to end.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub subject: Subject,
    /// The records with the id of [`Subject::asked`] that the proxy remembers, the newest first.
    pub found: Vec<Fact>,
    /// The first line that is shown.
    pub scroll: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Subject {
    Problem(Box<Problem>),
    Record(Fact),
    Tunnel {
        tunnel: Box<Tunnel>,
        /// Whether it was open when the proxy was asked last.
        is_open: bool,
    },
}

impl Subject {
    /// The id that the proxy is asked about; empty if there is none. A record is shown with the others of its connection,
    /// also if these are of other streams.
    pub(super) fn asked(&self) -> String {
        match self {
            Self::Problem(problem) => problem.id(),
            Self::Record(record) => record.text("conn").to_owned(),
            Self::Tunnel { tunnel, .. } => tunnel.id(),
        }
    }
}

/// Whether a record is the end of a tunnel.
pub(super) fn is_end(record: &Fact) -> bool {
    record.text("event") == "closed"
}

/// What lies over everything else.
#[derive(Clone, Debug)]
pub(super) enum Dialog {
    Help,
    Filter(Form),
    Close(Closing),
}

/// A tunnel that is to be closed.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub conn: String,
    /// Only over HTTP/2.
    pub stream_id: Option<i64>,
    /// Both of them.
    pub id: String,
    /// What is closed, for people.
    pub what: String,
    pub name: String,
    pub step: ClosingStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosingStep {
    /// Whether the proxy allows it is being asked.
    Asked,
    Name,
    Confirm,
}

/// What a key made of the question whether to close a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is none yet.
    Open,
    No,
    Yes,
}

impl Closing {
    pub(super) fn key(&mut self, key: KeyEvent) -> Answer {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (self.step, key.code) {
            (_, KeyCode::Esc) | (ClosingStep::Confirm, KeyCode::Char('n' | 'N' | 'q')) => {
                Answer::No
            }
            (ClosingStep::Confirm, KeyCode::Char('y' | 'Y')) => Answer::Yes,
            (ClosingStep::Name, KeyCode::Enter) if !self.name.trim().is_empty() => {
                self.step = ClosingStep::Confirm;
                Answer::Open
            }
            (ClosingStep::Name, KeyCode::Backspace) => {
                self.name.pop();
                Answer::Open
            }
            (ClosingStep::Name, KeyCode::Char('u')) if is_control => {
                self.name.clear();
                Answer::Open
            }
            (ClosingStep::Name, KeyCode::Char(c))
                if is_plain(c) && !is_control && self.name.chars().count() < LONGEST_NAME =>
            {
                self.name.push(c);
                Answer::Open
            }
            _ => Answer::Open,
        }
    }
}
