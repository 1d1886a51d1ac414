//! Colours and weights: the 16 colours of the terminal, and never the only sign of anything.

use ratatui::style::{Color, Modifier, Style};

/// Whether colours are used. Bold, dim and reversed are used in any case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub is_coloured: bool,
}

impl Paint {
    fn colour(self, colour: Color) -> Style {
        match self.is_coloured {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    /// For failures.
    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// For what is worth a look. Yellow can't be read on white.
    pub(super) fn look(self) -> Style {
        self.colour(Color::Magenta)
    }

    /// For a severity, or for the level of a record.
    pub(super) fn of(self, word: &str) -> Style {
        match word {
            "bad" | "error" => self.bad(),
            "look" | "warn" => self.look(),
            _ => Style::new(),
        }
    }

    /// For the state, on a background of its own.
    pub(super) fn badge(self, state: &str) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if !self.is_coloured {
            return bold.add_modifier(Modifier::REVERSED);
        }
        match state {
            "bad" => bold.fg(Color::White).bg(Color::Red),
            "look" => bold.fg(Color::Black).bg(Color::Yellow),
            "well" => bold.fg(Color::Black).bg(Color::Green),
            _ => bold.add_modifier(Modifier::REVERSED),
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "all styles are asked for in the same way"
    )]
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    #[expect(
        clippy::unused_self,
        reason = "all styles are asked for in the same way"
    )]
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    #[expect(
        clippy::unused_self,
        reason = "all styles are asked for in the same way"
    )]
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
