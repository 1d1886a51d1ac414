//! A problem, a tunnel or a record, with everything that is known of it.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{count, left, size, span, width, wrap};
use super::document::{Document, Frequent, Problem, Tunnel, id, key};
use super::head::{cause, frequent, often, remedy};
use super::labels::{STEPS, label};
use super::lenient::{Fact, List, Number, Part};
use super::opened::{Story, Subject, is_end};
use super::ui::Ui;
use crate::reason::{NoteCode, zh};
use crate::text::Language;

/// The columns of the names.
const NAMES: usize = 16;

/// Fields that have a place of their own.
const PLACED: &[&str] = &[
    "schema",
    "version",
    "instance",
    "time",
    "event",
    "level",
    "reason",
    "by",
    "stage",
    "status",
    "detail",
    "hint",
    "suspect",
    "client_sees",
    "attempts",
    "notes",
    "problems",
    "first_close",
    "close_code_client",
    "close_reason_client",
    "close_code_upstream",
    "close_reason_upstream",
    "close_code_proxy",
    "lasted_ms",
    "idle_ms",
    "ended_at",
    "close_wait_ms",
    "bytes_client_to_upstream",
    "bytes_upstream_to_client",
    "messages_client_to_upstream",
    "messages_upstream_to_client",
];

/// A number without a unit; empty if it is absent.
fn plain(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// All lines of a story.
pub(super) fn lines(story: &Story, document: Option<&Document>, ui: &Ui) -> Vec<Line<'static>> {
    let mut page = Page {
        ui,
        lines: Vec::new(),
    };
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    match &story.subject {
        Subject::Problem(problem) => {
            page.problem(problem, document);
            let own = problem.id();
            if let Some(record) = story.found.iter().find(|found| id(found) == own) {
                page.gap();
                page.title(pick("its last record", "最近一条记录"), Style::new());
                page.record(record);
            }
        }
        Subject::Record(record) => {
            page.record(record);
            let own = key(record);
            let others = story.found.iter().filter(|other| key(other) != own);
            page.others(others);
        }
        Subject::Tunnel { tunnel, is_open } => {
            let closed = story.found.iter().find(|record| is_end(record));
            match (is_open, closed) {
                (false, Some(record)) => page.record(record),
                (true, _) => page.tunnel(tunnel, pick("an open tunnel", "打开的隧道")),
                (false, None) => page.tunnel(
                    tunnel,
                    pick(
                        "a tunnel that has ended; its record is not remembered",
                        "隧道已经结束，没有记住它的记录",
                    ),
                ),
            }
        }
    }
    page.lines
}

struct Page<'a> {
    ui: &'a Ui,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn pick(&self, en: &'static str, zh: &'static str) -> &'static str {
        self.ui.language.pick(en, zh)
    }

    fn gap(&mut self) {
        self.lines.push(Line::default());
    }

    fn title(&mut self, text: &str, style: Style) {
        let style = self.ui.paint.strong().patch(style);
        for line in wrap(text, self.ui.width) {
            self.lines.push(Line::from(Span::styled(line, style)));
        }
    }

    fn says(&mut self, name: &str, value: &str) {
        self.styled(name, value, Style::new());
    }

    fn styled(&mut self, name: &str, value: &str, style: Style) {
        if value.is_empty() {
            return;
        }
        // A field that this version does not know may have a long name.
        let names = width(name).clamp(NAMES, 2 * NAMES);
        let room = self.ui.width.saturating_sub(names + 1);
        for (at, line) in wrap(value, room).into_iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            self.lines.push(Line::from(vec![
                Span::styled(left(name, names), self.ui.paint.dim()),
                Span::raw(" "),
                Span::styled(line, style),
            ]));
        }
    }

    fn remedy(&mut self, code: &str, hint: &str) {
        let (fix, more) = remedy(code, hint, self.ui.language);
        let strong = self.ui.paint.strong();
        self.styled(self.pick("what to do", "处理办法"), &fix, strong);
        self.styled("", &more, Style::new());
    }

    fn problem(&mut self, problem: &Problem, document: Option<&Document>) {
        let ui = self.ui;
        let head = format!(
            "{}: {} {}",
            &*problem.severity, &*problem.code, &*problem.subject
        );
        self.title(head.trim_end(), ui.paint.of(&problem.severity));
        let cause = cause(&problem.code, &problem.cause, ui.language);
        self.says(self.pick("what happened", "发生了什么"), &cause);
        self.remedy(&problem.code, &problem.hint);
        self.gap();
        self.says(self.pick("how often", "频率"), &often(problem, ui.language));
        let total = problem
            .count
            .0
            .map_or_else(String::new, |total| total.to_string());
        self.says(self.pick("since then", "至今共计"), &total);
        let time = |time: &str| match document.and_then(|document| document.ago(time)) {
            Some(ago) if ui.language == Language::En => format!("{time} ({} ago)", span(ago)),
            Some(ago) => format!("{time}（{} 前）", span(ago)),
            None => time.to_owned(),
        };
        self.says(self.pick("since", "始于"), &time(&problem.since));
        self.says(self.pick("last", "最近一次"), &time(&problem.last));
        self.says(self.pick("caused by", "由谁引起"), &problem.by);
        let least = if problem.at_least.0 == Some(true) {
            "≥ "
        } else {
            ""
        };
        let clients = problem
            .different_clients
            .0
            .map_or_else(String::new, |clients| format!("{least}{clients}"));
        self.says(self.pick("clients", "客户端数"), &clients);
        let lists: [(&str, &List<Part<Frequent>>); 4] = [
            (self.pick("most frequent", "最常见的"), &problem.clients),
            (self.pick("routes", "路由"), &problem.routes),
            (self.pick("origins", "Origin"), &problem.origins),
            (self.pick("clients see", "客户端看到"), &problem.client_sees),
        ];
        for (name, list) in lists {
            let values: Vec<_> = list.iter().map(|Part(item)| frequent(item)).collect();
            self.says(name, &values.join("  "));
        }
        self.says(label("conn", ui.language), &problem.conn);
        self.says(label("stream_id", ui.language), &plain(problem.stream_id.0));
    }

    fn tunnel(&mut self, tunnel: &Tunnel, head: &str) {
        let ui = self.ui;
        self.title(head, Style::new());
        let number =
            |value: Number, shown: fn(i64) -> String| value.0.map_or_else(String::new, shown);
        let (age, idle) = (number(tunnel.age_ms, span), number(tunnel.idle_ms, span));
        self.says(self.pick("opened", "打开于"), &tunnel.opened_at);
        self.says(self.pick("open for", "已打开"), &age);
        self.says(self.pick("silent for", "已静默"), &idle);
        self.traffic([
            tunnel.bytes_client_to_upstream,
            tunnel.messages_client_to_upstream,
            tunnel.bytes_upstream_to_client,
            tunnel.messages_upstream_to_client,
        ]);
        self.gap();
        let generation = plain(tunnel.generation.0);
        let stream_id = plain(tunnel.stream_id.0);
        for (name, value) in [
            ("client", &*tunnel.client),
            ("route", &tunnel.route),
            ("upstream", &tunnel.upstream),
            ("endpoint", &tunnel.endpoint),
            ("host", &tunnel.host),
            ("path", &tunnel.path),
            ("origin", &tunnel.origin),
            ("user_agent", &tunnel.user_agent),
            ("generation", &generation),
            ("conn", &tunnel.conn),
            ("stream_id", &stream_id),
            ("request_id", &tunnel.request_id),
            ("trace_id", &tunnel.trace_id),
        ] {
            self.says(label(name, ui.language), value);
        }
    }

    /// Bytes and messages from the client, then to the client.
    fn traffic(&mut self, [sent, sent_messages, got, got_messages]: [Number; 4]) {
        let language = self.ui.language;
        let words = |bytes: Number, messages: Number| match (bytes.0, messages.0, language) {
            (None, ..) => String::new(),
            (Some(bytes), None, _) => size(bytes),
            (Some(bytes), Some(messages), Language::En) => {
                format!("{} in {} messages", size(bytes), count(messages))
            }
            (Some(bytes), Some(messages), Language::Zh) => {
                format!("{}，{} 条消息", size(bytes), count(messages))
            }
        };
        self.says(
            self.pick("from the client", "客户端发出"),
            &words(sent, sent_messages),
        );
        self.says(
            self.pick("to the client", "发给客户端"),
            &words(got, got_messages),
        );
    }

    fn record(&mut self, record: &Fact) {
        let ui = self.ui;
        let reason = record.text("reason");
        let head = [record.text("event"), reason].join(" ");
        self.title(head.trim_end(), ui.paint.of(record.text("level")));
        self.says(
            self.pick("what happened", "发生了什么"),
            &cause(reason, "", ui.language),
        );
        self.says(self.pick("in this case", "详情"), record.text("detail"));
        for problem in record.list("problems") {
            self.styled("", &problem.to_string(), ui.paint.bad());
        }
        self.suspect(record);
        self.remedy(reason, record.text("hint"));
        self.says(self.pick("caused by", "由谁引起"), record.text("by"));
        self.says(self.pick("stage", "阶段"), record.text("stage"));
        self.number(record, "status", |status| status.to_string());
        self.number(record, "client_sees", |code| code.to_string());
        self.gap();
        self.steps(record);
        self.closes(record);
        let number = |name| Number(record.number(name));
        self.traffic([
            number("bytes_client_to_upstream"),
            number("messages_client_to_upstream"),
            number("bytes_upstream_to_client"),
            number("messages_upstream_to_client"),
        ]);
        for note in record.list("notes") {
            self.note(note);
        }
        self.gap();
        for (name, value) in record.fields() {
            let is_placed = PLACED.contains(&name.as_str()) || STEPS.contains(&name.as_str());
            if !is_placed {
                self.says(label(name, ui.language), &value.to_string());
            }
        }
    }

    /// A guess, which is not a fact.
    fn suspect(&mut self, record: &Fact) {
        let Some(suspect) = record.at("suspect") else {
            return;
        };
        let name = self.pick("suspect", "可能的原因");
        let words = match (suspect.text("hop"), suspect.text("timer")) {
            ("", "") => suspect.to_string(),
            (hop, timer) => format!("{hop} {timer}"),
        };
        let style = self.ui.paint.look();
        self.styled(name, words.trim(), style);
    }

    fn number(&mut self, record: &Fact, name: &str, shown: fn(i64) -> String) {
        let value = record.number(name).map_or_else(String::new, shown);
        self.says(label(name, self.ui.language), &value);
    }

    /// The steps from the first byte to the end, with how long each took.
    fn steps(&mut self, record: &Fact) {
        for name in STEPS.iter().take_while(|name| **name != "handshake_ms") {
            self.number(record, name, span);
        }
        for attempt in record.list("attempts") {
            let ms = attempt.number("ms").map_or_else(String::new, span);
            let outcome = attempt.text("outcome");
            let line = format!(
                "{} {outcome} {ms}  {}",
                attempt.text("endpoint"),
                attempt.text("detail")
            );
            let style = match outcome {
                "connected" | "reused" => Style::new(),
                _ => self.ui.paint.look(),
            };
            self.styled(self.pick("attempt", "尝试连接"), line.trim(), style);
        }
        for name in STEPS.iter().skip_while(|name| **name != "handshake_ms") {
            self.number(record, name, span);
        }
        for name in ["lasted_ms", "idle_ms"] {
            self.number(record, name, span);
        }
        self.says(label("ended_at", self.ui.language), record.text("ended_at"));
        self.number(record, "close_wait_ms", span);
        self.says(self.pick("recorded", "记录于"), record.text("time"));
    }

    /// The Close frames of both sides and of the proxy.
    fn closes(&mut self, record: &Fact) {
        self.says(
            label("first_close", self.ui.language),
            record.text("first_close"),
        );
        for (name, code, reason) in [
            (
                self.pick("client's Close", "客户端的 Close"),
                "close_code_client",
                "close_reason_client",
            ),
            (
                self.pick("upstream's Close", "上游的 Close"),
                "close_code_upstream",
                "close_reason_upstream",
            ),
            (
                self.pick("proxy's Close", "代理的 Close"),
                "close_code_proxy",
                "",
            ),
        ] {
            let code = record
                .number(code)
                .map_or_else(String::new, |code| code.to_string());
            let line = format!("{code} {}", record.text(reason));
            self.says(name, line.trim());
        }
    }

    fn note(&mut self, note: &Fact) {
        let name = self.pick("note", "提示");
        let code = note.text("code");
        if code.is_empty() {
            self.says(name, &note.to_string());
            return;
        }
        let known = NoteCode::ALL.iter().find(|known| known.code() == code);
        let meaning = known.map_or("", |known| match self.ui.language {
            Language::En => known.meaning(),
            Language::Zh => zh::meaning(*known),
        });
        self.says(name, &format!("{code}: {meaning}"));
        self.says("", note.text("detail"));
    }

    /// Other records of the same connection.
    fn others<'f>(&mut self, others: impl Iterator<Item = &'f Fact>) {
        let mut is_first = true;
        for other in others {
            if std::mem::take(&mut is_first) {
                self.gap();
                let title = self.pick("other records of this connection", "同一连接的其他记录");
                self.title(title, Style::new());
            }
            let stream = match other.number("stream_id") {
                Some(id) => format!(" ({} {id})", label("stream_id", self.ui.language)),
                None => String::new(),
            };
            let line = format!(
                "{} {}{stream} {}",
                other.text("event"),
                other.text("reason"),
                other.text("detail")
            );
            self.says(
                other.text("time").get(11..23).unwrap_or_default(),
                line.trim(),
            );
        }
    }
}
