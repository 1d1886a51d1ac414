//! What keys and answers do to what the user has chosen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::document::{Document, key};
use super::lenient::Part;
use super::opened::{Answer, Closing, ClosingStep, Dialog, Story, Subject, is_end};
use super::panes::{self, Open};
use super::ui::{Cursor, Tab, Ui};
use super::wanted::{Form, Outcome, Wanted};

/// What is to be done outside of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Quit,
    /// Ask again, because another question is asked now.
    Poll,
    /// Ask for all records of a connection, or of a stream.
    Look(String),
    /// Ask whether tunnels may be closed.
    MayClose(String),
    Close {
        conn: String,
        stream_id: Option<i64>,
        name: String,
    },
}

impl Ui {
    /// What can be opened in this pane, in order.
    fn opens(&self, document: &Document) -> Vec<Open> {
        let rows = panes::rows(document, self);
        rows.into_iter().filter_map(|row| row.open).collect()
    }

    /// A new document has come: what was selected stays selected. Returns what else is to be asked.
    pub(super) fn sync(&mut self, document: &Document) -> Action {
        let tab = self.tab;
        for each in Tab::ALL {
            self.tab = each;
            let ids: Vec<_> = self
                .opens(document)
                .iter()
                .map(|open| id(open, document))
                .collect();
            let cursor = self.cursor_mut();
            let Some(selected) = &cursor.id else { continue };
            match ids.iter().position(|id| id == selected) {
                Some(at) => cursor.at = at,
                None => cursor.at = cursor.at.min(ids.len().saturating_sub(1)),
            }
        }
        self.tab = tab;
        let Some(Story {
            subject: Subject::Tunnel { tunnel, is_open },
            found,
            ..
        }) = &mut self.story
        else {
            return Action::Nothing;
        };
        let mut shown = document.tunnels.shown.iter();
        if let Some(Part(open)) = shown.find(|Part(open)| open.id() == tunnel.id()) {
            **tunnel = open.clone();
            *is_open = true;
            return Action::Nothing;
        }
        // It has ended, or does not match any more, or others come before it.
        match found.iter().any(is_end) {
            true => Action::Nothing,
            false => Action::Look(tunnel.id()),
        }
    }

    /// What the proxy knows of a connection, or of a stream, that was asked for.
    pub(super) fn found(&mut self, id: &str, document: &Document) {
        let Some(story) = &mut self.story else {
            return;
        };
        if story.subject.asked() != id {
            return;
        }
        story.found = document.recent.records.to_vec();
        if let Subject::Tunnel { tunnel, is_open } = &mut story.subject {
            let mut shown = document.tunnels.shown.iter();
            let open = shown.find(|Part(open)| open.id() == id);
            *is_open = open.is_some();
            if let Some(Part(open)) = open {
                **tunnel = open.clone();
            }
        }
    }

    /// Whether the proxy lets tunnels be closed.
    pub(super) fn may_close(&mut self, id: &str, outcome: Result<(), String>) {
        let Some(Dialog::Close(closing)) = &mut self.dialog else {
            return;
        };
        if closing.id != id || closing.step != ClosingStep::Asked {
            return;
        }
        match outcome {
            Ok(()) => closing.step = ClosingStep::Name,
            Err(error) => {
                self.dialog = None;
                self.message = error;
            }
        }
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent, document: Option<&Document>) -> Action {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && matches!(key.code, KeyCode::Char('c')) {
            return Action::Quit;
        }
        self.message.clear();
        match self.dialog.take() {
            Some(Dialog::Help) => Action::Nothing,
            Some(Dialog::Filter(form)) => self.form_key(form, key),
            Some(Dialog::Close(closing)) => self.closing_key(closing, key),
            None if is_control => match key.code {
                KeyCode::Char('d') => self.step(document, self.page.div_ceil(2), true),
                KeyCode::Char('u') => self.step(document, self.page.div_ceil(2), false),
                _ => Action::Nothing,
            },
            None => self.plain_key(key.code, document),
        }
    }

    fn form_key(&mut self, mut form: Form, key: KeyEvent) -> Action {
        match form.key(key) {
            Outcome::Going => self.dialog = Some(Dialog::Filter(form)),
            Outcome::Cancelled => {}
            Outcome::Chosen(chosen) => {
                self.wanted = Wanted {
                    sort: self.wanted.sort,
                    is_all: self.wanted.is_all,
                    ..chosen
                };
                return Action::Poll;
            }
        }
        Action::Nothing
    }

    fn closing_key(&mut self, mut closing: Closing, key: KeyEvent) -> Action {
        match closing.key(key) {
            Answer::Open => self.dialog = Some(Dialog::Close(closing)),
            Answer::No => {}
            Answer::Yes => {
                closing.name.trim().clone_into(&mut self.name);
                return Action::Close {
                    conn: closing.conn,
                    stream_id: closing.stream_id,
                    name: self.name.clone(),
                };
            }
        }
        Action::Nothing
    }

    fn plain_key(&mut self, code: KeyCode, document: Option<&Document>) -> Action {
        match code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => self.dialog = Some(Dialog::Help),
            KeyCode::Char('/') => self.dialog = Some(Dialog::Filter(Form::new(&self.wanted))),
            KeyCode::Char('p') => {
                self.is_paused = !self.is_paused;
                return match self.is_paused {
                    true => Action::Nothing,
                    false => Action::Poll,
                };
            }
            KeyCode::Char('s') => {
                self.wanted.sort = self.wanted.sort.next();
                return Action::Poll;
            }
            KeyCode::Char('a') => {
                self.wanted.is_all = !self.wanted.is_all;
                return Action::Poll;
            }
            KeyCode::Char('c') => return self.begin_closing(document),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h')
                if self.story.is_some() =>
            {
                self.story = None;
            }
            KeyCode::Down | KeyCode::Char('j') => return self.step(document, 1, true),
            KeyCode::Up | KeyCode::Char('k') => return self.step(document, 1, false),
            KeyCode::PageDown | KeyCode::Char(' ') => return self.step(document, self.page, true),
            KeyCode::PageUp => return self.step(document, self.page, false),
            KeyCode::Home | KeyCode::Char('g') => return self.step(document, usize::MAX, false),
            KeyCode::End | KeyCode::Char('G') => return self.step(document, usize::MAX, true),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') if self.story.is_none() => {
                self.tab = self.tab.step(1);
            }
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => {
                self.tab = self.tab.step(Tab::ALL.len() - 1);
            }
            KeyCode::Char(digit @ '1'..='4') => {
                let tabs = Tab::ALL.iter().zip('1'..);
                if let Some((tab, _)) = tabs.into_iter().find(|(_, number)| *number == digit) {
                    self.tab = *tab;
                    self.story = None;
                }
            }
            KeyCode::Enter if self.story.is_none() => return self.open(document),
            _ => {}
        }
        Action::Nothing
    }

    /// Moves the selection, or scrolls.
    fn step(&mut self, document: Option<&Document>, by: usize, is_down: bool) -> Action {
        let moved = |at: usize, most: usize| match is_down {
            true => at.saturating_add(by).min(most),
            false => at.min(most).saturating_sub(by),
        };
        if let Some(story) = &mut self.story {
            story.scroll = moved(story.scroll, self.most);
            return Action::Nothing;
        }
        let Some(document) = document else {
            return Action::Nothing;
        };
        let opens = self.opens(document);
        let most = match opens.len() {
            0 => self.most,
            count => count - 1,
        };
        let cursor = self.cursor_mut();
        cursor.at = moved(cursor.at, most);
        cursor.id = match cursor.at {
            0 => None,
            at => opens.get(at).map(|open| id(open, document)),
        };
        Action::Nothing
    }

    /// Opens what is selected.
    fn open(&mut self, document: Option<&Document>) -> Action {
        let Some(document) = document else {
            return Action::Nothing;
        };
        let opens = self.opens(document);
        let at = self.cursor().at.min(opens.len().saturating_sub(1));
        let subject = match opens.get(at) {
            None => return Action::Nothing,
            Some(Open::Reason(reason)) => {
                self.wanted.reason.clone_from(reason);
                self.tab = Tab::Failures;
                *self.cursor_mut() = Cursor::default();
                return Action::Poll;
            }
            Some(Open::Problem(at)) => {
                let problem = document.problems.get(*at);
                problem.map(|Part(problem)| Subject::Problem(Box::new(problem.clone())))
            }
            Some(Open::Record(at)) => {
                let record = document.recent.records.get(*at);
                record.cloned().map(Subject::Record)
            }
            Some(Open::Refused) => {
                let record = document.configuration.refused.clone();
                record.map(Subject::Record)
            }
            Some(Open::Tunnel(at)) => {
                let tunnel = document.tunnels.shown.get(*at);
                tunnel.map(|Part(tunnel)| Subject::Tunnel {
                    tunnel: Box::new(tunnel.clone()),
                    is_open: true,
                })
            }
        };
        let Some(subject) = subject else {
            return Action::Nothing;
        };
        let asked = subject.asked();
        self.story = Some(Story {
            subject,
            found: Vec::new(),
            scroll: 0,
        });
        match asked.is_empty() {
            true => Action::Nothing,
            false => Action::Look(asked),
        }
    }

    fn begin_closing(&mut self, document: Option<&Document>) -> Action {
        let opened = self.story.as_ref().map(|story| &story.subject);
        let tunnel = match (opened, document) {
            (
                Some(Subject::Tunnel {
                    tunnel,
                    is_open: true,
                }),
                _,
            ) => Some((**tunnel).clone()),
            (None, Some(document)) if self.tab == Tab::Tunnels => {
                let shown = &document.tunnels.shown;
                let at = self.cursor().at.min(shown.len().saturating_sub(1));
                shown.get(at).map(|Part(tunnel)| tunnel.clone())
            }
            _ => None,
        };
        let Some(tunnel) = tunnel.filter(|tunnel| !tunnel.conn.is_empty()) else {
            let how = self.language.pick(
                "to close a tunnel, select it under Tunnels first",
                "要关闭隧道，先在“隧道”中选择它",
            );
            how.clone_into(&mut self.message);
            return Action::Nothing;
        };
        let id = tunnel.id();
        self.dialog = Some(Dialog::Close(Closing {
            conn: tunnel.conn.to_string(),
            stream_id: tunnel.stream_id.0,
            id: id.clone(),
            what: format!("{} {} {id}", &*tunnel.route, &*tunnel.client),
            name: self.name.clone(),
            step: ClosingStep::Asked,
        }));
        Action::MayClose(id)
    }
}

/// What a row is about.
fn id(open: &Open, document: &Document) -> String {
    match open {
        Open::Problem(at) => document
            .problems
            .get(*at)
            .map_or_else(String::new, |problem| {
                format!("{} {}", &*problem.code, &*problem.subject)
            }),
        Open::Tunnel(at) => {
            let tunnel = document.tunnels.shown.get(*at);
            tunnel.map_or_else(String::new, |Part(tunnel)| tunnel.id())
        }
        Open::Record(at) => document
            .recent
            .records
            .get(*at)
            .map_or_else(String::new, key),
        Open::Reason(reason) => reason.clone(),
        Open::Refused => "refused".to_owned(),
    }
}
