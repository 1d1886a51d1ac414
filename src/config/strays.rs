//! Values whose key is in the wrong place, or is misspelt next to the right one. They are read again as if they were in the
//! right place, so that their faults are reported in the same run.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::blocks;
use super::cursor::Cursor;
use super::problem::{Severity, shown};
use super::report::{Finding, Report, Stray};
use super::yaml::Node;

/// The errors in the values of the report's strays.
pub fn examine(tree: &Node, report: &Report<'_>) -> Vec<Finding> {
    if report.strays.is_empty() {
        return Vec::new();
    }
    let mut corrected = tree.clone();
    let mut moved: HashMap<Vec<usize>, (String, &Stray)> = HashMap::new();
    for stray in &report.strays {
        let value = at(tree, &stray.path);
        let Some((value, place)) = value.zip(Place::of(&mut corrected, stray)) else {
            continue;
        };
        // If two were meant to be the same key, the first one is read.
        if let Entry::Vacant(entry) = moved.entry(place.path) {
            *place.node = value.clone();
            entry.insert((place.site, stray));
        }
    }
    let mut second = Report::new(report.env, report.folder, report.home);
    blocks::read(&Cursor::root(&corrected), &mut Vec::new(), &mut second);
    let of_stray = |mut finding: Finding| {
        let (length, (site, stray)) = (0..=finding.path.len())
            .find_map(|length| Some((length, moved.get(finding.path.get(..length)?)?)))?;
        let below = finding.path.split_off(length);
        finding.path = [stray.path.as_slice(), &below].concat();
        finding.site = format!(
            "{}{}",
            stray.site,
            finding.site.strip_prefix(site.as_str())?
        );
        (finding.severity == Severity::Error).then_some(finding)
    };
    second.finish().into_iter().filter_map(of_stray).collect()
}

fn at<'t>(tree: &'t Node, path: &[usize]) -> Option<&'t Node> {
    path.iter().try_fold(tree, |node, step| match node {
        Node::List(items) => items.get(*step),
        Node::Map(entries) => entries.get(*step).map(|(_, node)| node),
        _ => None,
    })
}

/// A place in a tree that is being changed.
struct Place<'t> {
    node: &'t mut Node,
    path: Vec<usize>,
    site: String,
}

impl<'t> Place<'t> {
    /// Where `stray` belongs. Missing mappings are added. In a list or among named entries it is the item that has the
    /// stray, or else the first item.
    fn of(root: &'t mut Node, stray: &Stray) -> Option<Self> {
        let mut place = Self {
            node: root,
            path: Vec::new(),
            site: String::new(),
        };
        match &stray.home {
            None => {
                let (_, around) = stray.path.split_last()?;
                for step in around {
                    place = place.step(*step)?;
                }
            }
            Some(home) => {
                for segment in home.split('.') {
                    let name = segment.trim_end_matches("[]");
                    if name != "*" {
                        place = place.enter(name)?;
                    }
                    if name == "*" || name != segment {
                        let own = stray.path.strip_prefix(place.path.as_slice());
                        let own = own.and_then(<[usize]>::first).copied();
                        place = place.step(own.unwrap_or(0))?;
                    }
                }
            }
        }
        place.enter(&stray.name)
    }

    /// The entry `name`, which is added if it is missing.
    fn enter(self, name: &str) -> Option<Self> {
        if *self.node == Node::Null {
            *self.node = Node::Map(Vec::new());
        }
        let Node::Map(entries) = &mut *self.node else {
            return None;
        };
        let index = match entries.iter().position(|(entry, _)| entry == name) {
            Some(index) => index,
            None => {
                entries.push((name.to_owned(), Node::Null));
                entries.len() - 1
            }
        };
        self.step(index)
    }

    /// The item or entry at `index`.
    fn step(mut self, index: usize) -> Option<Self> {
        self.path.push(index);
        self.node = match self.node {
            Node::List(items) => {
                self.site.push_str(&format!("[{index}]"));
                items.get_mut(index)?
            }
            Node::Map(entries) => {
                let (name, node) = entries.get_mut(index)?;
                if !self.site.is_empty() {
                    self.site.push('.');
                }
                self.site.push_str(&shown(name, 80));
                node
            }
            _ => return None,
        };
        Some(self)
    }
}
