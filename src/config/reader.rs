//! A cursor over the YAML tree: every fault becomes a finding, and reading goes on.

use super::problem::{Severity, akin, nearest, quoted, shown};
use super::report::{Finding, Remark, Report};
use super::shape::{self, Block, Key, Kind};
use super::strays::Stray;
use super::yaml::{Aim, Node};

/// What each item of a list of mappings is.
const MAPPING: &str = "a mapping";

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

    /// The place that `site` names, or the deepest one on the way there.
    pub fn find(node: &'t Node, site: &str) -> Self {
        let mut here = Self::root(node);
        while let Some(next) = here.step_towards(site) {
            here = next;
        }
        here
    }

    fn step_towards(&self, site: &str) -> Option<Self> {
        // Of a long list only the item that is meant.
        if let Node::List(items) = self.node {
            let rest = site.strip_prefix(self.site.as_str())?.strip_prefix('[')?;
            let index = rest.split_once(']')?.0.parse().ok()?;
            return Some(self.item(index, items.get(index)?));
        }
        let leads = |next: &Self| {
            let rest = site.strip_prefix(next.site.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        // A name may hold dots, so that two entries can fit: the longer one is meant.
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

    /// Steps and aim for this place: where there is no value to point at, its key is.
    pub fn target(&self) -> (&[usize], Aim) {
        let is_key = self.is_keyed && *self.node == Node::Null;
        (&self.path, if is_key { Aim::Key } else { Aim::Value })
    }

    fn add(
        &self,
        report: &mut Report<'_>,
        severity: Severity,
        aim: Aim,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        report.findings.push(Finding {
            severity,
            path: self.path.clone(),
            aim,
            site: self.site.clone(),
            message: message.into(),
            help,
        });
    }

    /// An error at the value.
    pub fn error(&self, report: &mut Report<'_>, message: impl Into<String>) {
        self.error_with(report, message, None);
    }

    /// An error at the value, with what to write instead.
    pub fn error_with(
        &self,
        report: &mut Report<'_>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let (_, aim) = self.target();
        self.add(report, Severity::Error, aim, message, help);
    }

    /// An error at the key.
    pub fn key_error(
        &self,
        report: &mut Report<'_>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.add(report, Severity::Error, Aim::Key, message, help);
    }

    /// Something that explains an error at the value, if there will be one, and is a warning else if `is_warning`.
    pub fn remark(&self, report: &mut Report<'_>, words: String, is_warning: bool) {
        report.remark(Remark {
            path: self.path.clone(),
            site: self.site.clone(),
            words,
            is_warning,
        });
    }

    /// A warning at the value.
    pub fn warning(&self, report: &mut Report<'_>, message: impl Into<String>) {
        let (_, aim) = self.target();
        self.add(report, Severity::Warning, aim, message, None);
    }

    /// A warning at the key.
    pub fn key_warning(&self, report: &mut Report<'_>, message: impl Into<String>, help: &str) {
        let help = Some(help.to_owned());
        self.add(report, Severity::Warning, Aim::Key, message, help);
    }

    /// Leaves the value for [`super::strays::examine`].
    fn stray(&self, name: &str, home: Option<String>, report: &mut Report<'_>) {
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
                cursor.key_error(report, message, Some("keep one of them".to_owned()));
            }
        }
        Some(named)
    }

    /// A mapping with the keys of `shape`: other keys and missing ones are reported.
    pub fn fields(&self, shape: &'static Block, report: &mut Report<'_>) -> Option<Fields<'t>> {
        if !matches!(self.node, Node::Map(_)) {
            let message = format!(
                "{}, expected a mapping; allowed: {}",
                self.found(),
                shape.names()
            );
            // A listener's tls needs one of two keys, none of which is required.
            let may_be_empty =
                shape.keys.iter().all(|key| !key.required) && !std::ptr::eq(shape, &shape::TLS);
            let name = self.site.rsplit('.').next().unwrap_or_default();
            let help = (*self.node == Node::Null && may_be_empty)
                .then(|| format!("write {name}: {{}} to use the defaults"));
            self.error_with(report, message, help);
            return None;
        }
        let entries = self.named(report)?;
        let mut meant = Vec::new();
        let mut misspelt = Vec::new();
        for (name, cursor) in &entries {
            if shape.key(name).is_none()
                && let Some(near) = cursor.unknown(name, shape, report)
            {
                meant.push(near.name);
                if near.kind.fits(cursor.node) {
                    misspelt.push((near.name, cursor.clone()));
                }
            }
        }
        let is_there = |name| entries.iter().any(|(entry, _)| *entry == name);
        // A mapping that is meant for a later version is not held to the keys of this one.
        let is_foreign = is_there("<<") || shape.planned.iter().any(|name| is_there(name));
        if is_foreign {
            meant.extend(shape.keys.iter().map(|key| key.name));
        }
        for key in shape.keys {
            // A misspelt key is reported once, not again as missing.
            if key.required && !is_there(key.name) && !meant.contains(&key.name) {
                self.error(report, format!("missing required key \"{}\"", key.name));
            }
        }
        // The value of a misspelt key is read as that of the key it was meant to be, so that its faults are reported too.
        let mut read = Vec::new();
        for (near, cursor) in misspelt {
            if is_there(near) || read.iter().any(|(name, _)| *name == near) {
                cursor.stray(near, None, report);
            } else {
                read.push((near, cursor));
            }
        }
        let entries = entries.into_iter().chain(read).collect();
        Some(Fields { entries, meant })
    }

    /// A mapping with the keys of `shape`; `None` inside for `off`.
    pub fn fields_or_off(
        &self,
        shape: &'static Block,
        report: &mut Report<'_>,
    ) -> Option<Option<Fields<'t>>> {
        let expected = format!("a mapping or off; allowed: {}", shape.names());
        if matches!(self.node, Node::Map(_)) {
            return self.fields(shape, report).map(Some);
        }
        let spelled = self.spelled(&expected, report)?;
        if spelled.text == "off" {
            return Some(None);
        }
        self.error(report, format!("{}, expected {expected}", spelled.found()));
        None
    }

    /// Reports the key `name`, and returns the one that was probably meant.
    fn unknown(
        &self,
        name: &str,
        shape: &'static Block,
        report: &mut Report<'_>,
    ) -> Option<&'static Key> {
        let names = || shape.keys.iter().map(|key| key.name);
        let allowed = shape.names();
        if shape.planned.contains(&name) {
            let message =
                format!("key \"{name}\" is not supported by this version; allowed: {allowed}");
            self.key_error(report, message, None);
            return None;
        }
        let message = format!("unknown key {}; allowed: {allowed}", quoted(name));
        if name == "<<" {
            let help = Some("merge keys are not supported, repeat the keys".to_owned());
            self.key_error(report, message, help);
            return None;
        }
        if let Some(help) = shape.foreign(name) {
            self.key_error(report, message, Some(help.to_owned()));
            return None;
        }
        let near = nearest(name, names());
        let equivalent = shape::equivalent(name);
        // A word of another program is not a slip, unless the key that does the same is one of this mapping.
        let does_the_same = |near: &str, help: &str| {
            let mut segments = help.split([' ', ',', ':', ';', '.']);
            segments.any(|segment| segment.trim_end_matches("[]") == near)
        };
        let near = near.or_else(|| akin(name, names()).filter(|_| equivalent.is_some()));
        if let Some(help) = equivalent
            && !near.is_some_and(|near| does_the_same(near, help))
        {
            self.key_error(report, message, Some(help.to_owned()));
            return None;
        }
        if near.is_none()
            && let Some(home) = shape::home(name, &self.site)
        {
            let help = Some(format!("\"{name}\" belongs in {home}"));
            self.key_error(report, message, help);
            self.stray(name, Some(home), report);
            return None;
        }
        let near = near.or_else(|| akin(name, names()));
        let help = near.map(|near| format!("did you mean \"{near}\"?"));
        self.key_error(report, message, help);
        shape.key(near?)
    }

    /// The items of a list with at least one.
    pub fn some_items(&self, what: &str, report: &mut Report<'_>) -> Option<Vec<Self>> {
        let items = self.items(what, report)?;
        if items.is_empty() {
            self.error(report, "found an empty list, expected at least one item");
            return None;
        }
        Some(items)
    }

    /// The items of a list of mappings with at least one.
    pub fn blocks(&self, report: &mut Report<'_>) -> Option<Vec<Self>> {
        self.some_items(MAPPING, report)
    }

    /// The items of a list.
    pub fn items(&self, what: &str, report: &mut Report<'_>) -> Option<Vec<Self>> {
        match self.node {
            Node::List(_) => Some(self.children()),
            other => {
                let help = match other {
                    Node::Text(text) if !text.is_empty() && what != MAPPING => {
                        Some(format!("write [{}]", items_in(text)))
                    }
                    Node::Map(_) => Some("start each item with \"- \"".to_owned()),
                    _ => None,
                };
                let message = format!("{}, expected a list, each item {what}", self.found());
                self.error_with(report, message, help);
                None
            }
        }
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

impl Kind {
    /// Whether `node` could be a value of this kind, right or wrong.
    fn fits(self, node: &Node) -> bool {
        match self {
            Self::Value(_) => !matches!(node, Node::Null | Node::List(_) | Node::Map(_)),
            // One item is often written without the list.
            Self::Values(_) => matches!(node, Node::List(_) | Node::Text(_)),
            Self::Blocks(_) => matches!(node, Node::List(_) | Node::Map(_)),
            Self::Block(_) | Self::BlockOrOff(_) | Self::Named(_) => matches!(node, Node::Map(_)),
        }
    }
}

/// The entries of a mapping whose keys were checked.
#[derive(Debug)]
pub struct Fields<'t> {
    entries: Vec<(&'t str, Cursor<'t>)>,
    /// Keys that misspelt ones were probably meant to be.
    meant: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// The value of the key `name`, if it is there.
    pub fn get(&self, name: &str) -> Option<&Cursor<'t>> {
        let entry = self.entries.iter().find(|(entry, _)| *entry == name);
        entry.map(|(_, cursor)| cursor)
    }

    /// Whether the key `name` is there, perhaps misspelt.
    pub fn is_meant(&self, name: &str) -> bool {
        self.get(name).is_some() || self.meant.contains(&name)
    }
}
