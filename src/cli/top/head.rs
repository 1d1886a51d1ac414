//! The first lines: is it well, since when not, who is affected, and what to do first.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{count, cut, span, width, wrap};
use super::document::{Document, Frequent, Problem};
use super::lenient::{List, Part};
use super::ui::Ui;
use crate::reason::{Reason, Trouble};
use crate::text::Language;

/// The first lines, of which the last may take up to `most` lines.
pub(super) fn lines(document: &Document, ui: &Ui, most: usize) -> Vec<Line<'static>> {
    let mut lines = vec![state(document, ui)];
    let first = document
        .problems
        .first()
        .filter(|_| &*document.state != "well");
    let Some(Part(problem)) = first else {
        lines.push(said(ui, "", &activity(document, ui), Style::new()));
        return lines;
    };
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    lines.push(said(
        ui,
        pick("what", "现象"),
        &what(problem, ui),
        Style::new(),
    ));
    lines.push(said(
        ui,
        pick("who", "影响"),
        &who(problem, ui.language),
        Style::new(),
    ));
    let (fix, _) = remedy(&problem.code, &problem.hint, ui.language);
    let label = pick("do", "处理");
    let room = ui.width.saturating_sub(LABEL);
    let mut wrapped = wrap(&fix, room);
    if wrapped.len() > most {
        let rest = wrapped.split_off(most.saturating_sub(1)).join(" ");
        wrapped.push(cut(&rest, room));
    }
    for (at, text) in wrapped.iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        lines.push(said(ui, label, text, ui.paint.strong()));
    }
    lines
}

/// The columns of a label.
const LABEL: usize = 6;

fn said(ui: &Ui, label: &str, text: &str, style: Style) -> Line<'static> {
    let room = ui.width.saturating_sub(LABEL);
    if label.is_empty() && style == Style::new() {
        return Line::from(cut(text, ui.width));
    }
    Line::from(vec![
        Span::styled(super::cells::left(label, LABEL), ui.paint.dim()),
        Span::styled(cut(text, room), style),
    ])
}

/// The state, in a code that is the same in all languages, and in words.
fn state(document: &Document, ui: &Ui) -> Line<'static> {
    let language = ui.language;
    let since = document.clock(&document.since);
    let ago = document.ago(&document.since).map_or_else(String::new, span);
    let first = document.problems.first();
    let what = first.map_or_else(String::new, |problem| match problem.subject.is_empty() {
        true => problem.code.to_string(),
        false => format!("{} {}", &*problem.code, &*problem.subject),
    });
    let more = document.problems.len().saturating_sub(1);
    let words = match (&*document.state, language) {
        ("well", Language::En) => match document.problems.len() {
            0 => "no problems".to_owned(),
            1 => "no problems; 1 thing to know".to_owned(),
            notes => format!("no problems; {notes} things to know"),
        },
        ("well", Language::Zh) => match document.problems.len() {
            0 => "没有问题".to_owned(),
            notes => format!("没有问题；{notes} 条提示"),
        },
        _ => trouble(&since, &ago, &what, more, language),
    };
    let badge = format!(" {} ", cut(&document.state, 8).to_uppercase());
    let room = ui.width.saturating_sub(width(&badge) + 1);
    Line::from(vec![
        Span::styled(badge, ui.paint.badge(&document.state)),
        Span::raw(" "),
        Span::styled(cut(&words, room), ui.paint.strong()),
    ])
}

/// Since when, what, and how much more. A condition such as a full proxy does not say since when.
fn trouble(since: &str, ago: &str, what: &str, more: usize, language: Language) -> String {
    let around = |before: &str, text: &str, after: &str| match text.is_empty() {
        true => String::new(),
        false => format!("{before}{text}{after}"),
    };
    let (since, colon) = match language {
        Language::En => (around("since ", since, "") + &around(" (", ago, ")"), ": "),
        Language::Zh => (around("始于 ", since, "") + &around("（", ago, "）"), "："),
    };
    let more = match (more, language) {
        (0, _) => String::new(),
        (_, Language::En) => format!(" and {more} more"),
        (_, Language::Zh) => format!("，另有 {more} 个"),
    };
    format!("{}{what}{more}", around("", &since, colon))
}

/// What happens while nothing is wrong.
fn activity(document: &Document, ui: &Ui) -> String {
    let totals = &document.totals;
    let opened = count(totals.opened.or_zero());
    let refused = count(totals.refused.sum());
    let ended = count(totals.ended.sum());
    let minutes = document.minutes.len();
    let span = match minutes {
        1 => "minute".to_owned(),
        _ => format!("{minutes} minutes"),
    };
    match ui.language {
        Language::En => format!(
            "in the last {span} {opened} handshakes opened, {refused} refused, {ended} tunnels ended"
        ),
        Language::Zh => format!(
            "最近 {minutes} 分钟：打开 {opened} 个握手，拒绝 {refused} 个，结束 {ended} 个隧道"
        ),
    }
}

/// How often it happens, and what it is.
fn what(problem: &Problem, ui: &Ui) -> String {
    let cause = cause(&problem.code, &problem.cause, ui.language);
    let often = often(problem, ui.language);
    match ui.language {
        _ if often.is_empty() => cause,
        Language::En => format!("{often}: {cause}"),
        Language::Zh => format!("{often}：{cause}"),
    }
}

/// How often it happened of late.
pub(super) fn often(problem: &Problem, language: Language) -> String {
    let Some(recent) = problem.recent.0 else {
        return String::new();
    };
    let recent = count(recent);
    let of = match (&*problem.of, language) {
        ("handshakes", Language::En) => "handshakes fail",
        ("handshakes", Language::Zh) => "握手",
        ("connections", Language::En) => "connections fail",
        ("ends", Language::En) => "ends of tunnels",
        ("ends", Language::Zh) => "隧道的结束",
        ("connections", Language::Zh) => "连接",
        ("requests", Language::Zh) => "普通请求",
        (of, _) => of,
    };
    match (problem.share.0, language) {
        (_, Language::En) if recent == "0" => "not in the last minute".to_owned(),
        (_, Language::Zh) if recent == "0" => "最近一分钟没有发生".to_owned(),
        (Some(share), Language::En) => format!("{share}% of all {of}, {recent} in the last minute"),
        (Some(share), Language::Zh) => format!("占全部{of}的 {share}%，最近一分钟 {recent} 次"),
        (None, Language::En) => format!("{recent} in the last minute"),
        (None, Language::Zh) => format!("最近一分钟 {recent} 次"),
    }
}

/// Who is affected: how many, what they see, where, and then the most frequent ones.
pub(super) fn who(problem: &Problem, language: Language) -> String {
    let mut parts = Vec::new();
    if let Some(clients) = problem.different_clients.0.filter(|clients| *clients > 0) {
        let is_least = problem.at_least.0 == Some(true);
        parts.push(match (language, clients, is_least) {
            (Language::En, 1, false) => "1 client".to_owned(),
            (Language::En, _, false) => format!("{clients} clients"),
            (Language::En, _, true) => format!("at least {clients} clients"),
            (Language::Zh, _, false) => format!("{clients} 个客户端"),
            (Language::Zh, _, true) => format!("至少 {clients} 个客户端"),
        });
    }
    let none = List::default();
    let origins = match problem.code.starts_with("origin_") {
        true => &problem.origins,
        false => &none,
    };
    let lists: [(&str, &List<Part<Frequent>>); 5] = [
        (language.pick("see ", "看到 "), &problem.client_sees),
        (language.pick("on ", "路由 "), &problem.routes),
        (language.pick("from pages of ", "页面 "), origins),
        (language.pick("upstream ", "上游 "), &problem.upstreams),
        (language.pick("most often ", "最常见 "), &problem.clients),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            let values: Vec<_> = list.iter().take(3).map(|item| &*item.value).collect();
            parts.push(format!("{name}{}", values.join(" ")));
        }
    }
    match parts.is_empty() {
        true => problem.subject.to_string(),
        false => parts.join(language.pick(", ", "，")),
    }
}

/// A value and how often it occurred.
pub(super) fn frequent(item: &Frequent) -> String {
    let about = if item.approximate.0 == Some(true) {
        "~"
    } else {
        ""
    };
    match item.count.0 {
        Some(times) => format!("{} ({about}{})", &*item.value, count(times)),
        None => item.value.to_string(),
    }
}

/// What is known of a code in general: the cause, and what to do.
fn meaning(code: &str, language: Language) -> Option<(&'static str, &'static str)> {
    match code.parse::<Reason>() {
        Ok(reason) => Some((reason.cause(language), reason.fix(language))),
        Err(_) => Some(code.parse::<Trouble>().ok()?.texts(language)),
    }
}

/// Why it happens: the document says it in English.
pub(super) fn cause(code: &str, english: &str, language: Language) -> String {
    match meaning(code, language) {
        Some((cause, _)) if language == Language::Zh || english.is_empty() => cause.to_owned(),
        _ => english.to_owned(),
    }
}

/// What to do; and, in Chinese, the English hint if that knows more.
pub(super) fn remedy(code: &str, hint: &str, language: Language) -> (String, String) {
    match meaning(code, language) {
        Some((_, fix)) if language == Language::Zh => {
            let usual = meaning(code, Language::En).map(|(_, fix)| fix);
            let more = if usual == Some(hint) { "" } else { hint };
            (fix.to_owned(), more.to_owned())
        }
        Some((_, fix)) if hint.is_empty() => (fix.to_owned(), String::new()),
        _ => (hint.to_owned(), String::new()),
    }
}
