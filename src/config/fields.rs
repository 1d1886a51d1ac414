//! Reads a mapping with the keys of its [`Block`]. Reports unknown and missing keys, and reads each key according to
//! its description.

use super::cursor::Cursor;
use super::foreign;
use super::key::{Absent, AnyKey, Block, Form, Is, Key, Section, Shape};
use super::problem::{Complaint, akin, nearest, quoted};
use super::report::{Home, Report};
use super::value::spelled;
use super::yaml::Node;

/// The entries of a mapping whose keys were checked.
#[derive(Default)]
pub struct Fields<'t> {
    block: Option<&'static Block>,
    entries: Vec<(&'t str, Cursor<'t>)>,
    /// The keys that were probably meant by misspelt ones.
    meant: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// The value of `key`, if it is there.
    pub fn get(&self, key: &dyn AnyKey) -> Option<&Cursor<'t>> {
        let name = key.name();
        debug_assert!(
            self.block.is_none_or(|block| block.key(name).is_some()),
            "{name} is not listed in its block"
        );
        let entry = self.entries.iter().find(|(entry, _)| *entry == name);
        entry.map(|(_, cursor)| cursor)
    }

    /// Whether `key` is there, perhaps misspelt.
    pub fn is_meant(&self, key: &dyn AnyKey) -> bool {
        self.get(key).is_some() || self.meant.contains(&key.name())
    }

    /// The value of `key`, or what it means to leave it out. A value that is wrong is reported and counts as left out.
    pub fn read<T, A: Absent<T>>(&self, key: &Key<T, A>, report: &mut Report<'_>) -> A::Read {
        key.absent.outcome(self.given(key, report).flatten())
    }

    /// The value of `key`; `None` if it is not there, and `Some(None)` if it is wrong, which was reported.
    pub fn given<T, A: Absent<T>>(
        &self,
        key: &Key<T, A>,
        report: &mut Report<'_>,
    ) -> Option<Option<T>> {
        let at = self.get(key)?;
        Some(key.value.read(at, report))
    }

    /// The mapping of `section`, if there is one and it is not `off`.
    pub fn open(&self, section: &Section, report: &mut Report<'_>) -> Option<Self> {
        let at = self.get(section)?;
        match section.form {
            Form::MappingOrOff => at.fields_or_off(section.block, report),
            _ => at.fields(section.block, report),
        }
    }
}

impl<T> Key<T, Is<T>> {
    /// The default of the key.
    pub fn default(&self) -> T {
        (self.absent.0)()
    }
}

impl<'t> Cursor<'t> {
    /// A mapping with the keys of `block`: other keys and missing ones are reported.
    pub fn fields(&self, block: &'static Block, report: &mut Report<'_>) -> Option<Fields<'t>> {
        if !matches!(self.node, Node::Map(_)) {
            let allowed = allowed(block);
            let message = format!("{}, expected a mapping; {allowed}", self.found());
            let may_be_empty = !block.needs_key && block.required().next().is_none();
            let name = self.site.rsplit('.').next().unwrap_or_default();
            let help = (*self.node == Node::Null && may_be_empty)
                .then(|| format!("write {name}: {{}} to use the defaults"));
            self.error(report, Complaint::new(message).maybe(help));
            return None;
        }
        let entries = self.named(report)?;
        let mut meant = Vec::new();
        let mut misspelt = Vec::new();
        for (name, cursor) in &entries {
            if block.key(name).is_none()
                && let Some(near) = cursor.unknown(name, block, report)
            {
                meant.push(near.name());
                if near.shape().fits(cursor.node) {
                    misspelt.push((near.name(), cursor.clone()));
                }
            }
        }
        let is_there = |name| entries.iter().any(|(entry, _)| *entry == name);
        // A merge key was meant to bring the other keys.
        if is_there("<<") {
            meant.extend(block.names());
        }
        for name in block.required() {
            // A misspelt key is reported once, not again as missing.
            if !is_there(name) && !meant.contains(&name) {
                self.error(report, format!("missing required key \"{name}\""));
            }
        }
        // The value of a misspelt key is read as the value of the key that was meant, so its faults are reported too.
        let mut read = Vec::new();
        for (near, cursor) in misspelt {
            if is_there(near) || read.iter().any(|(name, _)| *name == near) {
                cursor.stray(near, None, report);
            } else {
                read.push((near, cursor));
            }
        }
        Some(Fields {
            block: Some(block),
            entries: entries.into_iter().chain(read).collect(),
            meant,
        })
    }

    /// A mapping with the keys of `block`, or `off`.
    fn fields_or_off(&self, block: &'static Block, report: &mut Report<'_>) -> Option<Fields<'t>> {
        if matches!(self.node, Node::Map(_)) {
            return self.fields(block, report);
        }
        let expected = format!("a mapping or off; {}", allowed(block));
        let found = spelled(self, &expected, report)?;
        if found.text != "off" {
            self.accept::<()>(Err(found.but_expected(&expected)), report);
        }
        None
    }

    /// Reports the key `name`, and returns the key that was probably meant.
    fn unknown(
        &self,
        name: &str,
        block: &'static Block,
        report: &mut Report<'_>,
    ) -> Option<&'static dyn AnyKey> {
        let allowed = allowed(block);
        let message = format!("unknown key {}; {allowed}", quoted(name));
        match Meant::by(name, &self.site, block, report.home) {
            Meant::Other(help) => {
                self.key_error(report, Complaint::new(message).help(help));
                None
            }
            Meant::Elsewhere(home) => {
                let help = format!("\"{name}\" belongs in {home}");
                self.key_error(report, Complaint::new(message).help(help));
                self.stray(name, Some(home), report);
                None
            }
            Meant::Here(near) => {
                let help = near.map(|near| format!("did you mean \"{near}\"?"));
                self.key_error(report, Complaint::new(message).maybe(help));
                block.key(near?)
            }
        }
    }
}

/// What was probably meant by an unknown key.
enum Meant {
    /// This key of the same mapping, if any.
    Here(Option<&'static str>),
    /// The key of this name in another mapping.
    Elsewhere(String),
    /// Something else, for which there is this help.
    Other(&'static str),
}

impl Meant {
    fn by(name: &str, site: &str, block: &Block, home: Home) -> Self {
        if name == "<<" {
            return Self::Other("merge keys are not supported, repeat the keys");
        }
        if let Some(help) = foreign::there(name, block.foreign) {
            return Self::Other(help);
        }
        let akin = || akin(name, block.names());
        let mut near = nearest(name, block.names());
        if let Some(help) = foreign::anywhere(name) {
            // A word of another program is not a typing mistake, unless the key that does the same is in this mapping.
            let does_the_same = |near: &str| {
                let mut segments = help.split([' ', ',', ':', ';', '.']);
                segments.any(|segment| segment.trim_end_matches("[]") == near)
            };
            near = near.or_else(akin);
            if !near.is_some_and(does_the_same) {
                return Self::Other(help);
            }
        }
        match near {
            None => home(name, site).map_or_else(|| Self::Here(akin()), Self::Elsewhere),
            near => Self::Here(near),
        }
    }
}

fn allowed(block: &Block) -> String {
    format!("allowed: {}", Vec::from_iter(block.names()).join(", "))
}

impl Shape {
    /// Whether `node` could have been written as the value of such a key, even if it is wrong.
    fn fits(self, node: &Node) -> bool {
        match self {
            // One item is often written without the list.
            Self::Value(value) if value.item().is_some() => {
                matches!(node, Node::List(_) | Node::Text(_))
            }
            Self::Value(_) => !matches!(node, Node::Null | Node::List(_) | Node::Map(_)),
            Self::Section(Form::List | Form::OptionalList, _) => {
                matches!(node, Node::List(_) | Node::Map(_))
            }
            Self::Section(..) => matches!(node, Node::Map(_)),
        }
    }
}
