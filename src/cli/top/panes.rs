//! The rows of each pane.

mod overview;
mod system;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{count, cut, left, right, size, span};
use super::document::{Document, Tunnel};
use super::lenient::{Fact, Number};
use super::ui::{Tab, Ui};

/// What Enter opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// By its place in the document.
    Problem(usize),
    Tunnel(usize),
    Record(usize),
    /// The records with a reason.
    Reason(String),
    /// The record about the configuration that was refused.
    Refused,
}

/// A line of a pane.
pub(super) struct Row {
    pub line: Line<'static>,
    pub open: Option<Open>,
}

impl Row {
    fn plain(text: impl Into<String>, style: Style) -> Self {
        Self {
            line: Line::from(Span::styled(text.into(), style)),
            open: None,
        }
    }

    fn opens(mut self, open: Open) -> Self {
        self.open = Some(open);
        self
    }
}

/// The rows of the pane that is shown. Those that can be opened are selected one after the other.
pub(super) fn rows(document: &Document, ui: &Ui) -> Vec<Row> {
    match ui.tab {
        Tab::Overview => overview::rows(document, ui),
        Tab::Tunnels => tunnels(document, ui),
        Tab::Failures => failures(document, ui),
        Tab::System => system::rows(document, ui),
    }
}

/// The line above the rows, which stays while they are scrolled.
pub(super) fn heading(ui: &Ui) -> Option<String> {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    match ui.tab {
        Tab::Overview | Tab::System => None,
        Tab::Tunnels => Some(tunnel_line(
            ui.width,
            [
                pick("route", "路由"),
                pick("client", "客户端"),
                pick("age", "时长"),
                pick("silent", "静默"),
                pick("from cl.", "客户端发"),
                pick("to cl.", "发给客户端"),
                pick("msgs", "消息"),
                pick("gen", "配置"),
                pick("endpoint", "后端"),
            ]
            .map(str::to_owned),
        )),
        Tab::Failures => Some(failure_line(
            ui.width,
            [
                pick("time", "时间"),
                pick("reason", "原因码"),
                pick("by", "由谁"),
                pick("client", "客户端"),
                pick("sees", "看到"),
                pick("route", "路由"),
            ]
            .map(str::to_owned),
        )),
    }
}

fn tunnels(document: &Document, ui: &Ui) -> Vec<Row> {
    let shown = &document.tunnels.shown;
    if shown.is_empty() {
        let said = match document.tunnels.open.or_zero() {
            0 => ui.language.pick("no tunnel is open", "没有打开的隧道"),
            _ => ui.language.pick(
                "no open tunnel matches the filter",
                "没有符合筛选条件的隧道",
            ),
        };
        return vec![Row::plain(said, ui.paint.dim())];
    }
    let rows = shown.iter().enumerate().map(|(at, tunnel)| {
        let line = tunnel_line(ui.width, tunnel_cells(tunnel));
        Row::plain(line, Style::new()).opens(Open::Tunnel(at))
    });
    let mut rows: Vec<_> = rows.collect();
    let more = document
        .tunnels
        .matching
        .or_zero()
        .saturating_sub_unsigned(rows.len() as u64);
    rows.extend(more_row(more, ui));
    rows
}

/// That there are more than are shown.
fn more_row(more: i64, ui: &Ui) -> Option<Row> {
    (more > 0).then(|| {
        let said = match ui.language {
            crate::text::Language::En => format!("and {more} more; / narrows them down"),
            crate::text::Language::Zh => format!("还有 {more} 条；按 / 缩小范围"),
        };
        Row::plain(said, ui.paint.dim())
    })
}

fn tunnel_cells(tunnel: &Tunnel) -> [String; 9] {
    let number =
        |value: Number, shown: fn(i64) -> String| value.0.map_or_else(|| "-".to_owned(), shown);
    let messages = match (
        tunnel.messages_client_to_upstream.0,
        tunnel.messages_upstream_to_client.0,
    ) {
        (None, None) => Number(None),
        (a, b) => Number(Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0)))),
    };
    [
        tunnel.route.to_string(),
        tunnel.client.to_string(),
        number(tunnel.age_ms, span),
        number(tunnel.idle_ms, span),
        number(tunnel.bytes_client_to_upstream, size),
        number(tunnel.bytes_upstream_to_client, size),
        number(messages, count),
        number(tunnel.generation, |generation| generation.to_string()),
        tunnel.endpoint.to_string(),
    ]
}

/// A line of the table of tunnels: what does not fit into the width is left out from the end.
fn tunnel_line(width: usize, cells: [String; 9]) -> String {
    let [
        route,
        client,
        age,
        idle,
        sent,
        got,
        messages,
        generation,
        endpoint,
    ] = cells;
    // A whole IPv6 address needs 39 columns.
    let (route_columns, client_columns) = match width {
        0..80 => (10, 15),
        80..110 => (12, 15),
        110..140 => (18, 24),
        _ => (24, 39),
    };
    let mut line = left(&route, route_columns);
    let columns = [
        (client, client_columns, false),
        (age, 7, true),
        (idle, 7, true),
        (sent, 8, true),
        (got, 10, true),
        (messages, 6, true),
        (generation, 4, true),
    ];
    for (cell, columns, is_right) in columns {
        if super::cells::width(&line) + 1 + columns > width {
            return line;
        }
        line.push(' ');
        line.push_str(&match is_right {
            true => right(&cell, columns),
            false => left(&cell, columns),
        });
    }
    let room = width.saturating_sub(super::cells::width(&line) + 2);
    if room >= 10 {
        line.push_str("  ");
        line.push_str(&cut(&endpoint, room));
    }
    line
}

fn failures(document: &Document, ui: &Ui) -> Vec<Row> {
    let records = &document.recent.records;
    if records.is_empty() {
        let said = match ui.wanted.is_all {
            true => ui.language.pick("no record matches", "没有符合条件的记录"),
            false => ui.language.pick(
                "no refusal and no abnormal end; a shows ordinary ends, too",
                "没有拒绝，也没有异常结束；按 a 同时显示正常结束",
            ),
        };
        return vec![Row::plain(said, ui.paint.dim())];
    }
    let rows = records.iter().enumerate().map(|(at, record)| {
        let line = failure_line(ui.width, failure_cells(document, record));
        Row::plain(line, ui.paint.of(record.text("level"))).opens(Open::Record(at))
    });
    let mut rows: Vec<_> = rows.collect();
    let more = document
        .recent
        .matching
        .or_zero()
        .saturating_sub_unsigned(rows.len() as u64);
    rows.extend(more_row(more, ui));
    rows
}

fn failure_cells(document: &Document, record: &Fact) -> [String; 6] {
    let what = match record.text("reason") {
        "" => record.text("event"),
        reason => reason,
    };
    [
        document.clock(record.text("time")),
        what.to_owned(),
        record.text("by").to_owned(),
        who(record).to_owned(),
        sees(record),
        match record.text("route") {
            "" => record.text("detail").to_owned(),
            route => route.to_owned(),
        },
    ]
}

/// What the client was told: a Close code, or the status of a refusal.
pub(super) fn sees(record: &Fact) -> String {
    let number = match record.text("event") {
        "closed" => record.number("client_sees"),
        _ => record
            .number("status")
            .or_else(|| record.number("client_sees")),
    };
    number.map_or_else(String::new, |number| number.to_string())
}

/// Who connected.
pub(super) fn who(record: &Fact) -> &str {
    match record.text("client") {
        "" => record.text("peer"),
        client => client,
    }
}

fn failure_line(width: usize, cells: [String; 6]) -> String {
    let [time, reason, by, client, sees, route] = cells;
    let (reason_columns, client_columns) = match width {
        0..72 => (22, 15),
        72..100 => (26, 15),
        100..130 => (30, 24),
        _ => (34, 39),
    };
    let room =
        width.saturating_sub(8 + 1 + reason_columns + 1 + 8 + 1 + client_columns + 1 + 4 + 1);
    let line = format!(
        "{} {} {} {} {} {}",
        left(&time, 8),
        left(&reason, reason_columns),
        left(&by, 8),
        left(&client, client_columns),
        right(&sees, 4),
        cut(&route, room)
    );
    cut(&line, width)
}

#[cfg(test)]
mod tests {
    use super::super::cells;
    use super::*;

    #[test]
    fn the_lines_of_a_table_fit_whatever_is_in_them() {
        let long = "中文x".repeat(100);
        for width in 0..200 {
            for text in ["", "a", &long] {
                let line = tunnel_line(width, std::array::from_fn(|_| text.to_owned()));
                assert!(cells::width(&line) <= width.max(10), "{width}: {line}");
                let line = failure_line(width, std::array::from_fn(|_| text.to_owned()));
                assert!(cells::width(&line) <= width, "{width}: {line}");
            }
        }
    }
}
