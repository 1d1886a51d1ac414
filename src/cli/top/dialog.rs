//! The boxes that lie over a pane: help, the filters, and the closing of a tunnel.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear};

use super::cells::{cut, left, safe, width, wrap};
use super::known::Known;
use super::opened::{Closing, ClosingStep, Dialog};
use super::ui::Ui;
use super::wanted::Form;

/// The columns inside of a box.
const COLUMNS: u16 = 54;

/// The columns of the names of fields.
const NAMES: usize = 9;

/// Lines, and where the cursor stands: line and column.
type Content = (Vec<Line<'static>>, Option<(usize, usize)>);

/// Draws the dialog, if there is one.
pub(super) fn draw(frame: &mut Frame<'_>, known: &Known, ui: &Ui) {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let (title, (lines, cursor)) = match &ui.dialog {
        None => return,
        Some(Dialog::Help) => (pick(" keys ", " 按键 "), help(ui)),
        Some(Dialog::Filter(form)) => (pick(" filter ", " 筛选 "), filter(form, known, ui)),
        Some(Dialog::Close(closing)) => {
            (pick(" close a tunnel ", " 关闭隧道 "), close(closing, ui))
        }
    };
    let area = frame.area();
    let height = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2)
        .min(area.height);
    let columns = (COLUMNS + 2).min(area.width);
    let place = Rect::new(
        area.x + (area.width - columns) / 2,
        area.y + (area.height - height) / 2,
        columns,
        height,
    );
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(title);
    let inside = block.inner(place);
    frame.render_widget(block, place);
    for (line, y) in lines.into_iter().zip(inside.y..inside.bottom()) {
        frame.render_widget(line, Rect::new(inside.x, y, inside.width, 1));
    }
    if let Some((line, column)) = cursor {
        let line = u16::try_from(line).unwrap_or(0);
        let column = u16::try_from(column).unwrap_or(0);
        let x = inside
            .x
            .saturating_add(column)
            .min(inside.right().saturating_sub(1));
        let y = inside
            .y
            .saturating_add(line)
            .min(inside.bottom().saturating_sub(1));
        frame.set_cursor_position(Position::new(x, y));
    }
}

fn help(ui: &Ui) -> Content {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let keys = [
        ("Tab 1-4 ← →", pick("another pane", "切换页面")),
        ("↑ ↓ j k", pick("select, or scroll", "选择或滚动")),
        ("Enter", pick("open: the whole story", "打开：全部经过")),
        ("Esc", pick("back", "返回")),
        (
            "/",
            pick(
                "filter: route, reason, client, minutes",
                "筛选：路由、原因码、客户端、分钟",
            ),
        ),
        ("s", pick("another order of the tunnels", "隧道的排序")),
        (
            "a",
            pick(
                "also ordinary ends, or only failures",
                "包括正常结束，或只看失败",
            ),
        ),
        ("p", pick("pause, and go on", "暂停或继续")),
        ("c", pick("close the selected tunnel", "关闭所选隧道")),
        ("q Ctrl-C", pick("quit", "退出")),
    ];
    let line = |(key, what)| {
        Line::from(vec![
            Span::styled(left(key, 14), ui.paint.strong()),
            Span::raw(what),
        ])
    };
    (keys.into_iter().map(line).collect(), None)
}

/// The end of a text that is being typed.
fn tail(text: &str, columns: usize) -> String {
    let mut rest = text.chars();
    while width(rest.as_str()) > columns {
        rest.next();
    }
    rest.as_str().to_owned()
}

fn filter(form: &Form, known: &Known, ui: &Ui) -> Content {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let room = usize::from(COLUMNS).saturating_sub(NAMES + 1);
    let names = [
        pick("route", "路由"),
        pick("reason", "原因码"),
        pick("client", "客户端"),
        pick("minutes", "分钟"),
    ];
    let mut lines = Vec::new();
    let mut cursor = None;
    for (at, (name, value)) in names.into_iter().zip(&form.values).enumerate() {
        let shown = tail(&safe(value, usize::MAX), room);
        let style = match at == form.at {
            true => {
                cursor = Some((at, NAMES + width(&shown)));
                ui.paint.strong()
            }
            false => Style::new(),
        };
        lines.push(Line::from(vec![
            Span::styled(left(name, NAMES), ui.paint.dim()),
            Span::styled(shown, style),
        ]));
    }
    let hint = match form.at {
        0 => {
            let document = known.document.as_deref();
            let routes = document
                .into_iter()
                .flat_map(|document| document.routes.iter());
            let routes: Vec<_> = routes.map(|route| &**route).collect();
            format!(
                "{}: {}",
                pick("exactly one of", "其中之一"),
                routes.join("  ")
            )
        }
        1 => pick(
            "a code, or several with commas; * stands for any text, as in upstream_*",
            "一个原因码，或用逗号分隔的几个；* 代表任意文本，如 upstream_*",
        )
        .to_owned(),
        2 => pick(
            "203.0.113.7, or 203.0.113.0/24, or the beginning 203.0.113.",
            "203.0.113.7、203.0.113.0/24，或开头部分 203.0.113.",
        )
        .to_owned(),
        _ => pick("only the last 1 to 60 minutes", "只看最近 1 到 60 分钟").to_owned(),
    };
    let mut hint = wrap(&hint, usize::from(COLUMNS));
    hint.truncate(2);
    hint.resize(2, String::new());
    let style = if form.is_wrong && form.at == 3 {
        ui.paint.bad()
    } else {
        Style::new()
    };
    lines.extend(
        hint.into_iter()
            .map(|line| Line::from(Span::styled(line, style))),
    );
    let keys = pick(
        "Enter apply  Tab next  Ctrl-U empty  Esc cancel",
        "回车 应用  Tab 下一项  Ctrl-U 清空  Esc 取消",
    );
    lines.push(Line::from(Span::styled(keys, ui.paint.dim())));
    (lines, cursor)
}

fn close(closing: &Closing, ui: &Ui) -> Content {
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    let columns = usize::from(COLUMNS);
    let mut lines: Vec<_> = wrap(&closing.what, columns)
        .into_iter()
        .take(3)
        .map(Line::from)
        .collect();
    let mut cursor = None;
    let keys = match closing.step {
        ClosingStep::Asked => {
            let said = pick("asking whether this is allowed", "正在询问是否允许");
            lines.push(Line::from(said));
            pick("Esc cancel", "Esc 取消")
        }
        ClosingStep::Name => {
            let label = pick("your name: ", "你的名字：");
            let name = tail(&closing.name, columns.saturating_sub(width(label) + 1));
            cursor = Some((lines.len(), width(label) + width(&name)));
            lines.push(Line::from(format!("{label}{name}")));
            pick("Enter next  Esc cancel", "回车 下一步  Esc 取消")
        }
        ClosingStep::Confirm => {
            let name = cut(&closing.name, 30);
            lines.push(Line::from(match ui.language {
                crate::text::Language::En => format!("close it, as {name}?"),
                crate::text::Language::Zh => format!("以 {name} 的名义关闭？"),
            }));
            pick("y close it  n leave it open", "y 关闭  n 保持打开")
        }
    };
    lines.push(Line::from(Span::styled(keys, ui.paint.strong())));
    (lines, cursor)
}
