//! The proxy itself: its configuration, endpoints, certificates, limits and versions.

use ratatui::style::Style;

use super::{Open, Row};
use crate::cli::top::cells::{count, cut, left, size, span, wrap};
use crate::cli::top::document::{Document, SCHEMA};
use crate::cli::top::lenient::Number;
use crate::cli::top::ui::Ui;
use crate::text::Language;

/// The columns of the names.
const NAMES: usize = 16;

pub(super) fn rows(document: &Document, ui: &Ui) -> Vec<Row> {
    let mut page = Page {
        ui,
        rows: Vec::new(),
    };
    let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
    page.configuration(document);
    page.title(pick("endpoints", "后端"));
    if document.upstreams.is_empty() {
        page.note(pick("none are known", "没有已知的后端"));
    }
    for upstream in document.upstreams.iter() {
        let (health, style) = match upstream.is_healthy.0 {
            Some(true) if upstream.is_checked.0 == Some(false) => {
                (pick("not checked", "未检查"), Style::new())
            }
            Some(true) => (pick("healthy", "健康"), Style::new()),
            Some(false) => (pick("UNHEALTHY", "不健康"), ui.paint.bad()),
            None => (pick("not checked", "未检查"), Style::new()),
        };
        let in_use = count(upstream.in_use.or_zero());
        let failed = count(upstream.connects_failed.or_zero());
        let line = match ui.language {
            Language::En => format!(
                "{}: {in_use} in use, {failed} connects failed",
                &*upstream.endpoint
            ),
            Language::Zh => format!(
                "{}：使用中 {in_use}，连接失败 {failed}",
                &*upstream.endpoint
            ),
        };
        let line = format!(
            "  {} {} {line}",
            left(health, 11),
            left(&upstream.upstream, 12)
        );
        page.rows.push(Row::plain(cut(&line, ui.width), style));
    }
    page.title(pick("certificates", "证书"));
    if document.certificates.is_empty() {
        page.note(pick("none", "无"));
    }
    for certificate in document.certificates.iter() {
        let (left_days, style) = match certificate.days_left.0 {
            Some(days @ ..=0) => (days, ui.paint.bad()),
            Some(days @ 1..30) => (days, ui.paint.look()),
            Some(days) => (days, Style::new()),
            None => (0, Style::new()),
        };
        let expires = certificate
            .expires
            .get(..10)
            .unwrap_or(&certificate.expires);
        let line = match (certificate.days_left.0, ui.language) {
            (None, _) => expires.to_owned(),
            (Some(..=0), Language::En) => format!("{expires}  EXPIRED"),
            (Some(..=0), Language::Zh) => format!("{expires}  已过期"),
            (Some(_), Language::En) => format!("{expires}  {left_days} days left"),
            (Some(_), Language::Zh) => format!("{expires}  还剩 {left_days} 天"),
        };
        let line = format!("  {line}  {}", &*certificate.file);
        page.rows.push(Row::plain(cut(&line, ui.width), style));
    }
    page.process(document);
    page.rows
}

struct Page<'a> {
    ui: &'a Ui,
    rows: Vec<Row>,
}

impl Page<'_> {
    fn title(&mut self, name: &str) {
        let row = Row::plain(cut(name, self.ui.width), self.ui.paint.strong());
        self.rows.push(row);
    }

    fn note(&mut self, text: &str) {
        let row = Row::plain(format!("  {text}"), self.ui.paint.dim());
        self.rows.push(row);
    }

    /// A name and its value, in as many lines as it needs.
    fn says(&mut self, name: &str, value: &str, style: Style) {
        if value.is_empty() {
            return;
        }
        let room = self.ui.width.saturating_sub(NAMES + 2);
        for (at, line) in wrap(value, room).into_iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            let row = Row::plain(format!("  {}{line}", left(name, NAMES)), style);
            self.rows.push(row);
        }
    }

    fn configuration(&mut self, document: &Document) {
        let ui = self.ui;
        let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
        let configuration = &document.configuration;
        self.title(pick("configuration", "配置"));
        if let Some(refused) = &configuration.refused {
            let said = pick(
                "the file was refused, and the earlier configuration is still in use; Enter says why",
                "文件被拒绝，仍在使用之前的配置；按回车查看原因",
            );
            let row = Row::plain(
                format!("  {}", cut(said, ui.width.saturating_sub(2))),
                ui.paint.bad(),
            );
            self.rows.push(row.opens(Open::Refused));
            for problem in refused.list("problems") {
                self.says("", &problem.to_string(), ui.paint.bad());
            }
        }
        self.says(pick("file", "文件"), &configuration.file, Style::new());
        let generation = configuration
            .generation
            .0
            .map_or_else(String::new, |generation| generation.to_string());
        self.says(pick("generation", "第几份配置"), &generation, Style::new());
        self.says(
            pick("loaded", "载入时间"),
            &configuration.loaded,
            Style::new(),
        );
        for warning in configuration.warnings.iter() {
            self.says(pick("warning", "警告"), warning, ui.paint.look());
        }
        let routes: Vec<_> = document.routes.iter().map(|route| &**route).collect();
        self.says(pick("routes", "路由"), &routes.join("  "), Style::new());
    }

    fn process(&mut self, document: &Document) {
        let ui = self.ui;
        let pick = |en: &'static str, zh: &'static str| ui.language.pick(en, zh);
        let of = |value: Number, limit: Number| match (value.0, limit.0, ui.language) {
            (None, ..) => String::new(),
            (Some(value), None, _) => value.to_string(),
            (Some(value), Some(limit), Language::En) => format!("{value} of {limit}"),
            (Some(value), Some(limit), Language::Zh) => format!("{value} / {limit}"),
        };
        let process = &document.process;
        self.title(pick("process", "进程"));
        self.says(pick("version", "版本"), &document.version, Style::new());
        if let Some(schema) = document.schema.0.filter(|schema| *schema > SCHEMA) {
            let said = match ui.language {
                Language::En => format!(
                    "schema {schema} is newer than this program ({}), which may not show everything",
                    env!("CARGO_PKG_VERSION")
                ),
                Language::Zh => format!(
                    "数据格式 {schema} 比本程序（{}）更新，可能显示不全",
                    env!("CARGO_PKG_VERSION")
                ),
            };
            self.says("", &said, ui.paint.look());
        }
        self.says(pick("instance", "实例"), &document.instance, Style::new());
        let up = document
            .ago(&document.started)
            .map_or_else(String::new, |up| format!("  ({})", span(up)));
        self.says(
            pick("started", "启动时间"),
            &format!("{}{up}", &*document.started),
            Style::new(),
        );
        self.says(pick("phase", "阶段"), &document.phase, Style::new());
        let memory = process.memory_bytes.0.map_or_else(String::new, size);
        self.says(pick("memory", "内存"), &memory, Style::new());
        let cpu = process
            .cpu_seconds
            .0
            .map_or_else(String::new, |seconds| span(seconds.saturating_mul(1000)));
        self.says(pick("CPU time", "CPU 时间"), &cpu, Style::new());
        let connections = of(document.connections.open, document.connections.limit);
        self.says(pick("connections", "连接"), &connections, Style::new());
        let descriptors = of(process.descriptors, process.descriptors_limit);
        self.says(
            pick("descriptors", "文件描述符"),
            &descriptors,
            Style::new(),
        );
        let streams = of(document.streams.open, document.streams.limit);
        self.says(pick("event streams", "事件流"), &streams, Style::new());
        let recent = &document.recent;
        let remembered =
            recent
                .remembered
                .0
                .map_or_else(String::new, |remembered| match ui.language {
                    Language::En => format!(
                        "{remembered} remembered, since {}",
                        document.clock(&recent.oldest)
                    ),
                    Language::Zh => format!(
                        "记住 {remembered} 条，始于 {}",
                        document.clock(&recent.oldest)
                    ),
                });
        self.says(pick("records", "记录"), &remembered, Style::new());
    }
}
