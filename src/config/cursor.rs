//! A place in the YAML tree. Each error there is added to the report, and reading continues.

use super::problem::{Complaint, Severity, quoted, shown};
use super::report::{Finding, Remark, Report, Stray};
use super::yaml::{Aim, Node};

/// A place in the tree.
#[derive(Clone, Debug)]
pub struct Cursor<'t> {
    pub(super) node: &'t Node,
    /// The place in words, such as `routes[0].path`.
    pub site: String,
    path: Vec<usize>,
    /// Whether the last step went through a mapping's entry, which has a key to point at.
    is_keyed: bool,
}

impl<'t> Cursor<'t> {
    /// The root of a tree.
    pub fn root(node: &'t Node) -> Self {
        Self {
            node,
            site: String::new(),
            path: Vec::new(),
            is_keyed: false,
        }
    }

    /// The place that `site` names, or the deepest place on the way there that exists.
    pub fn find(node: &'t Node, site: &str) -> Self {
        let mut here = Self::root(node);
        while let Some(next) = here.step_towards(site) {
            here = next;
        }
        here
    }

    fn step_towards(&self, site: &str) -> Option<Self> {
        // A list may be long: only the item that is meant is visited.
        if let Node::List(items) = self.node {
            let rest = site.strip_prefix(self.site.as_str())?.strip_prefix('[')?;
            let index = rest.split_once(']')?.0.parse().ok()?;
            return Some(self.item(index, items.get(index)?));
        }
        let leads = |next: &Self| {
            let rest = site.strip_prefix(next.site.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        // A name may contain dots, so two entries may fit: the longer name is meant.
        let next = self.children().into_iter().filter(leads);
        next.max_by_key(|next| next.site.len())
    }

    fn children(&self) -> Vec<Self> {
        match self.node {
            Node::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| self.item(index, node))
                .collect(),
            Node::Map(entries) => entries
                .iter()
                .enumerate()
                .map(|(index, (name, node))| self.entry(index, name, node))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn item(&self, index: usize, node: &'t Node) -> Self {
        Self {
            node,
            site: format!("{}[{index}]", self.site),
            path: self.path_with(index),
            is_keyed: false,
        }
    }

    fn entry(&self, index: usize, name: &str, node: &'t Node) -> Self {
        let name = shown(name, 80);
        let dot = if self.site.is_empty() { "" } else { "." };
        Self {
            node,
            site: format!("{}{dot}{name}", self.site),
            path: self.path_with(index),
            is_keyed: true,
        }
    }

    fn path_with(&self, index: usize) -> Vec<usize> {
        let mut path = self.path.clone();
        path.push(index);
        path
    }

    /// Steps and aim for this place: the key, if there is no value to point at.
    pub fn target(&self) -> (&[usize], Aim) {
        let is_key = self.is_keyed && *self.node == Node::Null;
        (&self.path, if is_key { Aim::Key } else { Aim::Value })
    }

    fn add(
        &self,
        report: &mut Report<'_>,
        severity: Severity,
        aim: Aim,
        complaint: impl Into<Complaint>,
    ) {
        let Complaint { message, help } = complaint.into();
        report.findings.push(Finding {
            severity,
            path: self.path.clone(),
            aim,
            site: self.site.clone(),
            message,
            help,
        });
    }

    /// An error at the value.
    pub fn error(&self, report: &mut Report<'_>, complaint: impl Into<Complaint>) {
        self.add(report, Severity::Error, self.target().1, complaint);
    }

    /// An error at the key.
    pub fn key_error(&self, report: &mut Report<'_>, complaint: impl Into<Complaint>) {
        self.add(report, Severity::Error, Aim::Key, complaint);
    }

    /// A warning at the value.
    pub fn warning(&self, report: &mut Report<'_>, complaint: impl Into<Complaint>) {
        self.add(report, Severity::Warning, self.target().1, complaint);
    }

    /// A warning at the key.
    pub fn key_warning(&self, report: &mut Report<'_>, complaint: impl Into<Complaint>) {
        self.add(report, Severity::Warning, Aim::Key, complaint);
    }

    /// The value, or an error at it.
    pub fn accept<T>(&self, read: Result<T, Complaint>, report: &mut Report<'_>) -> Option<T> {
        read.map_err(|complaint| self.error(report, complaint)).ok()
    }

    /// Words that explain an error at the value. If there is no error, they are a warning if `is_warning`, and are dropped
    /// otherwise.
    pub fn remark(&self, report: &mut Report<'_>, words: String, is_warning: bool) {
        report.remark(Remark {
            path: self.path.clone(),
            site: self.site.clone(),
            words,
            is_warning,
        });
    }

    /// Leaves the value for [`super::strays::examine`].
    pub fn stray(&self, name: &str, home: Option<String>, report: &mut Report<'_>) {
        report.strays.push(Stray {
            path: self.path.clone(),
            site: self.site.clone(),
            home,
            name: name.to_owned(),
        });
    }

    /// The found value in words.
    pub fn found(&self) -> String {
        match self.node {
            Node::Null => "found nothing".to_owned(),
            Node::Bool(value) => format!("found the boolean {value}"),
            Node::Number(text) => format!("found the number {text}"),
            Node::Text(text) if text.is_empty() => "found an empty text".to_owned(),
            Node::Text(text) => format!("found {}", quoted(text)),
            Node::List(items) if items.is_empty() => "found an empty list".to_owned(),
            Node::List(_) => "found a list".to_owned(),
            Node::Map(_) => "found a mapping".to_owned(),
        }
    }

    /// How many items a list has, and 0 for anything else.
    pub fn item_count(&self) -> usize {
        match self.node {
            Node::List(items) => items.len(),
            _ => 0,
        }
    }

    /// Whether this is a list with items that is itself an item of a list.
    pub fn is_list_in_list(&self) -> bool {
        let is_item = !self.is_keyed && !self.path.is_empty();
        is_item && matches!(self.node, Node::List(items) if !items.is_empty())
    }

    /// The entries of a mapping, each name once.
    pub fn named(&self, report: &mut Report<'_>) -> Option<Vec<(&'t str, Self)>> {
        let Node::Map(entries) = self.node else {
            self.error(report, format!("{}, expected a mapping", self.found()));
            return None;
        };
        let mut named: Vec<(&str, Self)> = Vec::with_capacity(entries.len());
        let mut seen = std::collections::HashSet::new();
        for (index, (name, node)) in entries.iter().enumerate() {
            let cursor = self.entry(index, name, node);
            if seen.insert(name.as_str()) {
                named.push((name, cursor));
            } else {
                let message = format!("found the key {} a second time", quoted(name));
                cursor.key_error(report, Complaint::new(message).help("keep one of them"));
            }
        }
        Some(named)
    }

    /// The items of a list; `what` says what each of them is. If `needs_item`, an empty list is an error.
    pub fn items(
        &self,
        what: &str,
        needs_item: bool,
        report: &mut Report<'_>,
    ) -> Option<Vec<Self>> {
        let as_list = |text: &str| Some(format!("write [{}]", items_in(text)));
        self.list(what, needs_item, as_list, report)
    }

    /// The items of a list of mappings; an empty list is an error.
    pub fn mappings(&self, report: &mut Report<'_>) -> Option<Vec<Self>> {
        self.list("a mapping", true, |_| None, report)
    }

    fn list(
        &self,
        what: &str,
        needs_item: bool,
        instead_of_text: fn(&str) -> Option<String>,
        report: &mut Report<'_>,
    ) -> Option<Vec<Self>> {
        let help = match self.node {
            Node::List(items) if items.is_empty() && needs_item => {
                self.error(report, "found an empty list, expected at least one item");
                return None;
            }
            Node::List(_) => return Some(self.children()),
            Node::Text(text) if !text.is_empty() => instead_of_text(text),
            Node::Map(_) => Some("start each item with \"- \"".to_owned()),
            _ => None,
        };
        let message = format!("{}, expected a list, each item {what}", self.found());
        self.error(report, Complaint::new(message).maybe(help));
        None
    }
}

/// The items of a list that was written as one text.
fn items_in(text: &str) -> String {
    let is_around = |c: char| matches!(c, '[' | ']' | '"' | '\'');
    let parts = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
    let parts = parts.map(|part| part.trim_matches(is_around));
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).map(quoted).collect();
    match parts.is_empty() {
        true => quoted(text),
        false => parts.join(", "),
    }
}
