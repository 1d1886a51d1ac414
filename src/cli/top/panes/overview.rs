//! What happens now and how often: the problems, the last hour, and the reasons.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Open, Row};
use crate::cli::top::cells::{count, cut, left, right};
use crate::cli::top::document::{Document, Minute, Problem};
use crate::cli::top::lenient::{Counts, Part};
use crate::cli::top::ui::Ui;
use crate::text::Language;

/// The most minutes that are drawn.
const MINUTES: usize = 60;

/// The steps of a bar.
const BARS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The columns before and behind the bars: names, and three numbers.
const NAMES: usize = 10;
const NUMBERS: usize = 21;

pub(super) fn rows(document: &Document, ui: &Ui) -> Vec<Row> {
    let mut rows = Vec::new();
    // The head says the first problem.
    let is_well = &*document.state == "well";
    if document.problems.len() > 1 || (is_well && !document.problems.is_empty()) {
        rows.push(title(
            ui,
            "problems, the most important first",
            "问题，最重要的在前",
        ));
    }
    for (at, problem) in document.problems.iter().enumerate() {
        rows.push(problem_row(problem, document, ui).opens(Open::Problem(at)));
    }
    chart(document, ui, &mut rows);
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let totals = &document.totals;
    let tables = [
        (pick("handshakes refused", "被拒绝的握手"), &totals.refused),
        (
            pick("connections without a request", "没有请求的连接"),
            &totals.unread,
        ),
        (
            pick("plain requests that failed", "失败的普通请求"),
            &totals.requests,
        ),
        (pick("ends of tunnels", "隧道的结束"), &totals.ended),
    ];
    for (name, counts) in tables {
        table(name, counts, true, ui, &mut rows);
    }
    let sees = pick(
        "what clients saw at the end (close codes)",
        "客户端在结束时看到的关闭码",
    );
    table(sees, &totals.client_sees, false, ui, &mut rows);
    rows
}

fn title(ui: &Ui, en: &'static str, zh: &'static str) -> Row {
    Row::plain(cut(ui.language.pick(en, zh), ui.width), ui.paint.strong())
}

fn problem_row(problem: &Problem, document: &Document, ui: &Ui) -> Row {
    let what = match problem.subject.is_empty() {
        true => problem.code.to_string(),
        false => format!("{} {}", &*problem.code, &*problem.subject),
    };
    let since = document.clock(&problem.since);
    let recent = problem.recent.0.map(count);
    let how_often = match (recent, ui.language) {
        (Some(recent), Language::En) => format!("{recent} in the last minute, since {since}"),
        (Some(recent), Language::Zh) => format!("最近一分钟 {recent} 次，始于 {since}"),
        (None, Language::En) => format!("since {since}"),
        (None, Language::Zh) => format!("始于 {since}"),
    };
    let colon = ui.language.pick(": ", "：");
    let line = format!("{} {what}{colon}{how_often}", left(&problem.severity, 4));
    Row::plain(cut(&line, ui.width), ui.paint.of(&problem.severity))
}

/// Whether the end of a tunnel is an ordinary one.
fn is_ordinary(reason: &str) -> bool {
    matches!(
        reason,
        "client_close" | "client_going_away" | "upstream_close"
    )
}

fn ended(minute: &Minute, is_wanted: fn(&str) -> bool) -> i64 {
    let ends = minute.ended.0.iter();
    let wanted = ends.filter(|(reason, _)| is_wanted(reason));
    wanted.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// One line of bars for each outcome.
fn chart(document: &Document, ui: &Ui, rows: &mut Vec<Row>) {
    let room = ui.width.saturating_sub(NAMES + NUMBERS).min(MINUTES);
    let minutes = &document.minutes;
    let shown = minutes
        .get(minutes.len().saturating_sub(room)..)
        .unwrap_or_default();
    if room < 10 || shown.is_empty() {
        return;
    }
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let name = match ui.language {
        Language::En => format!("per minute, the last {}", shown.len()),
        Language::Zh => format!("每分钟，最近 {} 分钟", shown.len()),
    };
    let numbers: String = [
        pick("sum", "合计"),
        pick("most", "最多"),
        pick("now", "现在"),
    ]
    .map(|name| right(name, NUMBERS / 3))
    .concat();
    let head = format!("{}{numbers}", left(&name, NAMES + room));
    rows.push(Row::plain(head, ui.paint.strong()));
    type Of = fn(&Minute) -> i64;
    let lines: [(&str, Of, Style); 6] = [
        (
            pick("opened", "打开"),
            |minute| minute.opened.or_zero(),
            Style::new(),
        ),
        (
            pick("refused", "拒绝"),
            |minute| minute.refused.sum(),
            ui.paint.look(),
        ),
        (
            pick("unread", "无请求"),
            |minute| minute.unread.sum(),
            ui.paint.look(),
        ),
        (
            pick("requests", "普通请求"),
            |minute| minute.requests.sum(),
            ui.paint.look(),
        ),
        (
            pick("closed", "正常结束"),
            |minute| ended(minute, is_ordinary),
            Style::new(),
        ),
        (
            pick("broken", "异常结束"),
            |minute| ended(minute, |reason| !is_ordinary(reason)),
            ui.paint.look(),
        ),
    ];
    for (name, of, style) in lines {
        let values: Vec<_> = shown.iter().map(|Part(minute)| of(minute).max(0)).collect();
        let sum = values
            .iter()
            .fold(0_i64, |sum, value| sum.saturating_add(*value));
        let most = values.iter().max().copied().unwrap_or(0);
        let last = values.last().copied().unwrap_or(0);
        let bars: String = values.iter().map(|value| bar(*value, most)).collect();
        let numbers: String = [sum, most, last]
            .map(|number| right(&count(number), NUMBERS / 3))
            .concat();
        // A problem that does not occur needs no attention.
        let style = if sum == 0 { ui.paint.dim() } else { style };
        rows.push(Row {
            line: Line::from(vec![
                Span::styled(left(name, NAMES), style),
                Span::styled(left(&bars, room), style),
                Span::styled(numbers, style),
            ]),
            open: None,
        });
    }
}

/// A value as a part of the largest one. A small value is still seen.
fn bar(value: i64, most: i64) -> &'static str {
    let steps = BARS.len() - 1;
    let part = i128::from(value.max(0)) * steps as i128;
    let step = (part + i128::from(most) - 1) / i128::from(most.max(1));
    let step = usize::try_from(step).unwrap_or(0).min(steps);
    BARS.get(step).copied().unwrap_or(" ")
}

fn table(name: &str, counts: &Counts, is_of_reasons: bool, ui: &Ui, rows: &mut Vec<Row>) {
    if counts.0.is_empty() {
        return;
    }
    let sum = counts.sum();
    let colon = ui.language.pick(": ", "：");
    let head = format!("{name}{colon}{}", count(sum));
    rows.push(Row::plain(cut(&head, ui.width), ui.paint.strong()));
    for (code, times) in &counts.0 {
        let percent = i128::from(*times) * 100 / i128::from(sum.max(1));
        let bars = usize::try_from(percent / 5).unwrap_or(0).min(20);
        let line = format!(
            "  {} {} {:>3}% {}",
            left(code, 36),
            right(&count(*times), 7),
            percent.clamp(0, 100),
            "▇".repeat(bars)
        );
        let row = Row::plain(cut(line.trim_end(), ui.width), Style::new());
        rows.push(match is_of_reasons {
            true => row.opens(Open::Reason(code.clone())),
            false => row,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_a_little_is_not_nothing() {
        for (value, most, expected) in [
            (0, 0, " "),
            (0, 9, " "),
            (1, 1000, "▁"),
            (500, 1000, "▄"),
            (1000, 1000, "█"),
            (-5, 10, " "),
            (i64::MAX, i64::MAX, "█"),
            (i64::MIN, i64::MIN, " "),
        ] {
            assert_eq!(bar(value, most), expected, "{value} of {most}");
        }
    }
}
