//! One snapshot as plain text, for pipes and tickets.

use super::cells::{cut, span};
use super::document::Document;
use super::paint::Paint;
use super::ui::{Tab, Ui};
use super::wanted::Wanted;
use super::{head, panes};
use crate::text::Language;

/// The columns of a line.
const COLUMNS: usize = 120;

/// The most tunnels, and the most records.
const MOST: usize = 20;

/// Everything that the panes show, without what only a terminal needs. The first line begins with the state.
pub(super) fn text(document: &Document, language: Language, wanted: Wanted) -> String {
    let mut ui = Ui::new(language, wanted, "", Paint { is_coloured: false });
    ui.width = COLUMNS;
    let pick = |en: &'static str, zh: &'static str| language.pick(en, zh);
    let mut lines = Vec::new();
    for (at, line) in head::lines(document, &ui, 10).into_iter().enumerate() {
        let line = line.to_string();
        // The code as it stands in the document, so that a script finds it.
        lines.push(match (at, line.trim_start().split_once(' ')) {
            (0, Some((_, rest))) => format!("{} {}", cut(&document.state, 16), rest.trim_start()),
            _ => line,
        });
    }
    let up = document
        .ago(&document.started)
        .map_or_else(String::new, span);
    let words = match language {
        Language::En => format!(
            "wsgate {} {}, {}, up {up}, at {}",
            &*document.version, &*document.instance, &*document.phase, &*document.time
        ),
        Language::Zh => format!(
            "wsgate {} {}，{}，已运行 {up}，{}",
            &*document.version, &*document.instance, &*document.phase, &*document.time
        ),
    };
    lines.push(cut(&words, COLUMNS));
    let filters = ui.wanted.shown();
    if !filters.is_empty() {
        lines.push(format!("{}: {}", pick("filter", "筛选"), filters.join(" ")));
    }
    let panes = [
        (Tab::Overview, pick("OVERVIEW", "概览"), usize::MAX),
        (Tab::Failures, pick("FAILURES", "失败"), MOST),
        (Tab::Tunnels, pick("TUNNELS", "隧道"), MOST),
        (Tab::System, pick("SYSTEM", "系统"), usize::MAX),
    ];
    for (tab, name, most) in panes {
        ui.tab = tab;
        lines.push(String::new());
        lines.push(name.to_owned());
        lines.extend(panes::heading(&ui));
        let rows = panes::rows(document, &ui);
        let more = rows.len().saturating_sub(most);
        lines.extend(rows.into_iter().take(most).map(|row| row.line.to_string()));
        if more > 0 {
            lines.push(match language {
                Language::En => format!("and {more} more"),
                Language::Zh => format!("还有 {more} 条"),
            });
        }
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
