//! One frame, from what is known and what the user has chosen.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{count, cut, span, width};
use super::document::Document;
use super::known::{Failure, Known};
use super::ui::{Tab, Ui};
use super::wanted::Sort;
use super::{dialog, head, panes, story};
use crate::text::Language;

/// The smallest window.
const COLUMNS: u16 = 60;
const ROWS: u16 = 15;

/// Draws everything, and tells `ui` how much there is.
pub(super) fn draw(frame: &mut Frame<'_>, known: &Known, ui: &mut Ui) {
    let area = frame.area();
    ui.width = usize::from(area.width);
    if area.width < COLUMNS || area.height < ROWS {
        too_small(frame, area, ui);
        return;
    }
    let height = usize::from(area.height);
    let mut lines = vec![first_line(known, ui)];
    let mut body = Vec::new();
    let mut selected = None;
    let mut offset = 0;
    match (&ui.story, &known.document) {
        (Some(opened), document) => {
            let document = document.as_deref();
            lines.extend(
                document.and_then(|document| head::lines(document, ui, 1).into_iter().next()),
            );
            lines.push(Line::default());
            body = story::lines(opened, document, ui);
            offset = opened.scroll;
        }
        (None, Some(document)) => {
            let most = match height {
                ..24 => 1,
                24..32 => 2,
                _ => 4,
            };
            lines.extend(head::lines(document, ui, most));
            lines.push(tabs(document, ui));
            if let Some(heading) = panes::heading(ui) {
                let heading = cut(&heading, ui.width);
                lines.push(Line::from(Span::styled(heading, ui.paint.dim())));
            }
            let rows = panes::rows(document, ui);
            let room = height.saturating_sub(lines.len() + 1);
            (selected, offset) = place(&rows, ui.cursor().at, room);
            body.extend(rows.into_iter().map(|row| row.line));
        }
        (None, None) => lines.extend(nothing_yet(known, ui)),
    }
    let room = height.saturating_sub(lines.len() + 1);
    ui.page = room.saturating_sub(1).max(1);
    ui.most = body.len().saturating_sub(room);
    if ui.story.is_some() {
        offset = offset.min(ui.most);
    }
    let chosen = ui.paint.chosen();
    for (at, line) in body.into_iter().enumerate().skip(offset).take(room) {
        lines.push(match selected == Some(at) {
            true => line.patch_style(chosen),
            false => line,
        });
    }
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(last_line(known, ui));
    for (line, y) in lines.into_iter().zip(area.y..) {
        let row = Rect::new(area.x, y, area.width, 1).intersection(area);
        frame.render_widget(line, row);
    }
    dialog::draw(frame, known, ui);
}

/// The selected row, and the first one that is shown.
fn place(rows: &[panes::Row], at: usize, room: usize) -> (Option<usize>, usize) {
    let most = rows.len().saturating_sub(room);
    let opens = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.open.is_some());
    let places: Vec<_> = opens.map(|(place, _)| place).collect();
    let Some(last) = places.len().checked_sub(1) else {
        return (None, at.min(most));
    };
    let at = at.min(last);
    let selected = places.get(at).copied();
    let middle = selected.unwrap_or(0).saturating_sub(room / 2).min(most);
    let offset = match at {
        0 if selected.is_some_and(|selected| selected < room) => 0,
        // What stands behind the last one can't be reached otherwise.
        _ if at == last && selected.is_some_and(|selected| most <= selected) => most,
        _ => middle,
    };
    (selected, offset)
}

fn too_small(frame: &mut Frame<'_>, area: Rect, ui: &Ui) {
    let said = match ui.language {
        Language::En => format!(
            "the window has {}x{}, but {COLUMNS}x{ROWS} are needed; q quits",
            area.width, area.height
        ),
        Language::Zh => format!(
            "窗口为 {}x{}，需要 {COLUMNS}x{ROWS}；按 q 退出",
            area.width, area.height
        ),
    };
    let lines = super::cells::wrap(&said, ui.width);
    for (line, y) in lines.into_iter().zip(area.y..area.bottom()) {
        frame.render_widget(Line::from(line), Rect::new(area.x, y, area.width, 1));
    }
}

fn seconds(duration: Duration) -> String {
    // Whole seconds: the tenths would change with each frame.
    span(
        i64::try_from(duration.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_mul(1000),
    )
}

/// Which proxy it is, and how old this is.
fn first_line(known: &Known, ui: &Ui) -> Line<'static> {
    let language = ui.language;
    if let Some(Failure { since, lasting, .. }) = &known.failure {
        let lasting = seconds(*lasting);
        let every = humantime::format_duration(known.every);
        let old = known
            .document
            .as_ref()
            .map(|document| document.clock(&document.time));
        let said = match (language, old) {
            (Language::En, None) => {
                format!(" NO DATA since {since} ({lasting}), retrying every {every} ")
            }
            (Language::En, Some(old)) => {
                format!(
                    " NO DATA since {since} ({lasting}), retrying every {every}; OLD data of {old} "
                )
            }
            (Language::Zh, None) => {
                format!(" 自 {since} 起没有新数据（{lasting}），每 {every} 重试 ")
            }
            (Language::Zh, Some(old)) => {
                format!(
                    " 自 {since} 起没有新数据（{lasting}），每 {every} 重试；以下是 {old} 的旧数据 "
                )
            }
        };
        return Line::from(Span::styled(cut(&said, ui.width), ui.paint.badge("bad")));
    }
    let Some(document) = &known.document else {
        return Line::from(Span::styled("wsgate top", ui.paint.strong()));
    };
    let mut parts = vec![
        format!("wsgate {}", &*document.version),
        document.instance.to_string(),
    ];
    parts.push(document.phase.to_string());
    if let Some(up) = document.ago(&document.started) {
        parts.push(format!("{} {}", language.pick("up", "运行"), span(up)));
    }
    if let Some(open) = document.connections.open.0 {
        let limit = document
            .connections
            .limit
            .0
            .map_or_else(String::new, |limit| format!("/{limit}"));
        parts.push(format!(
            "{open}{limit} {}",
            language.pick("connections", "连接")
        ));
    }
    parts.retain(|part| !part.is_empty());
    let now = match (ui.is_paused, language) {
        (true, Language::En) => format!("PAUSED for {}", seconds(known.age)),
        (true, Language::Zh) => format!("已暂停 {}", seconds(known.age)),
        (false, _) => format!("{} UTC", document.clock(&document.time)),
    };
    let now = cut(&now, ui.width / 3);
    let room = ui.width.saturating_sub(width(&now) + 1);
    // The last ones are missed least.
    while parts.len() > 1 && width(&parts.join("  ")) > room {
        parts.pop();
    }
    Line::from(vec![
        Span::raw(super::cells::left(&parts.join("  "), room)),
        Span::raw(" "),
        Span::styled(
            now,
            if ui.is_paused {
                ui.paint.chosen()
            } else {
                Style::new()
            },
        ),
    ])
}

fn nothing_yet(known: &Known, ui: &Ui) -> Vec<Line<'static>> {
    let said = match (&known.failure, ui.language) {
        (Some(failure), _) => format!("{}: {}", known.target, failure.what),
        (None, Language::En) => format!("waiting for {}", known.target),
        (None, Language::Zh) => format!("等待 {}", known.target),
    };
    let lines = super::cells::wrap(&said, ui.width);
    std::iter::once(Line::default())
        .chain(lines.into_iter().map(Line::from))
        .collect()
}

/// The names of the panes, and the filters.
fn tabs(document: &Document, ui: &Ui) -> Line<'static> {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let tunnels = document.tunnels.matching.0.or(document.tunnels.open.0);
    let names = [
        (Tab::Overview, pick("Overview", "概览"), None),
        (Tab::Tunnels, pick("Tunnels", "隧道"), tunnels),
        (
            Tab::Failures,
            pick("Failures", "失败"),
            document.recent.matching.0,
        ),
        (Tab::System, pick("System", "系统"), None),
    ];
    let mut spans = Vec::new();
    let mut taken = 0;
    for ((tab, name, number), key) in names.into_iter().zip(1..) {
        let number = number.map_or_else(String::new, |number| format!(" {}", count(number)));
        let text = format!(" {key} {name}{number} ");
        taken += width(&text);
        let style = match tab == ui.tab {
            true => ui.paint.chosen(),
            false => Style::new(),
        };
        spans.push(Span::styled(text, style));
    }
    let mut filters = ui.wanted.shown();
    if ui.wanted.is_all {
        filters.push(pick("all ends", "全部结束").to_owned());
    }
    let mut what = filters.join(" ");
    if ui.tab == Tab::Tunnels {
        let gap = if what.is_empty() { "" } else { "; " };
        what = format!("{}{gap}{what}", order(ui.wanted.sort, ui.language));
    }
    let room = ui.width.saturating_sub(taken + 1);
    spans.push(Span::raw(" "));
    spans.push(Span::styled(cut(&what, room), ui.paint.strong()));
    Line::from(spans)
}

/// What the last key did, or what the keys do.
fn last_line(known: &Known, ui: &Ui) -> Line<'static> {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    if !ui.message.is_empty() {
        return Line::from(Span::styled(cut(&ui.message, ui.width), ui.paint.strong()));
    }
    if let (Some(failure), true) = (&known.failure, known.document.is_some()) {
        let said = format!("{}: {}", known.target, failure.what);
        return Line::from(Span::styled(cut(&said, ui.width), ui.paint.bad()));
    }
    let keys = match (&ui.story, &known.document, ui.tab) {
        (_, None, _) => pick("q quit", "q 退出"),
        (Some(_), ..) => pick(
            "Esc back  ↑↓ scroll  c close the tunnel  q quit  ? help",
            "Esc 返回  ↑↓ 滚动  c 关闭隧道  q 退出  ? 帮助",
        ),
        (None, _, Tab::Tunnels) => pick(
            "Tab pane  ↑↓ Enter open  / filter  s sort  c close  p pause  q quit  ? help",
            "Tab 切换  ↑↓ 回车 打开  / 筛选  s 排序  c 关闭  p 暂停  q 退出  ? 帮助",
        ),
        (None, ..) => pick(
            "Tab pane  ↑↓ Enter open  / filter  a all  p pause  q quit  ? help",
            "Tab 切换  ↑↓ 回车 打开  / 筛选  a 全部  p 暂停  q 退出  ? 帮助",
        ),
    };
    Line::from(Span::styled(cut(keys, ui.width), ui.paint.dim()))
}

/// The order of the tunnels, in words.
fn order(sort: Sort, language: Language) -> &'static str {
    match sort {
        Sort::Newest => language.pick("newest first", "最新的在前"),
        Sort::Oldest => language.pick("oldest first", "最早的在前"),
        Sort::Idle => language.pick("longest silence first", "静默最久的在前"),
        Sort::Bytes => language.pick("most bytes first", "字节最多的在前"),
    }
}
