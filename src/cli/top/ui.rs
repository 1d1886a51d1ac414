//! What the user has chosen.

use super::cells::safe;
use super::opened::{Dialog, LONGEST_NAME, Story};
use super::paint::Paint;
use super::wanted::Wanted;
use crate::text::Language;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Tunnels,
    Failures,
    System,
}

impl Tab {
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Tunnels, Self::Failures, Self::System];

    /// The pane that is `by` steps further, round and round.
    pub(super) fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        let all = Self::ALL.iter().cycle();
        all.skip(at + by).copied().next().unwrap_or(self)
    }
}

/// Where a pane is: the selected row, or the first line that is shown if nothing can be selected.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    pub at: usize,
    /// What is selected, so that it stays so while rows come and go. `None`: the first row, whatever it is.
    pub id: Option<String>,
}

/// Everything that keys change.
#[derive(Clone, Debug)]
pub(super) struct Ui {
    pub language: Language,
    pub tab: Tab,
    cursors: [Cursor; 4],
    pub wanted: Wanted,
    pub is_paused: bool,
    pub story: Option<Story>,
    pub dialog: Option<Dialog>,
    /// What the last action came to.
    pub message: String,
    /// Who closes tunnels, until told otherwise.
    pub name: String,
    /// How many lines fit, and how far a story can be scrolled; the view says it.
    pub page: usize,
    pub most: usize,
    /// The columns of the terminal.
    pub width: usize,
    pub paint: Paint,
}

impl Ui {
    pub(super) fn new(language: Language, wanted: Wanted, name: &str, paint: Paint) -> Self {
        Self {
            language,
            tab: Tab::Overview,
            cursors: Default::default(),
            wanted,
            is_paused: false,
            story: None,
            dialog: None,
            message: String::new(),
            name: safe(name, LONGEST_NAME),
            page: 10,
            most: 0,
            width: 80,
            paint,
        }
    }

    pub(super) fn cursor(&self) -> &Cursor {
        let [overview, tunnels, failures, system] = &self.cursors;
        match self.tab {
            Tab::Overview => overview,
            Tab::Tunnels => tunnels,
            Tab::Failures => failures,
            Tab::System => system,
        }
    }

    pub(super) fn cursor_mut(&mut self) -> &mut Cursor {
        let [overview, tunnels, failures, system] = &mut self.cursors;
        match self.tab {
            Tab::Overview => overview,
            Tab::Tunnels => tunnels,
            Tab::Failures => failures,
            Tab::System => system,
        }
    }
}
