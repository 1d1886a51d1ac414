//! Routes that are never used because an earlier one matches everything they match. The time grows only with the text
//! of the routes.

use std::collections::HashMap;

use super::host::below_one_label;
use super::{HostPattern, Route};

/// The routes so far, in the order of the file.
#[derive(Debug, Default)]
pub struct Shadows<'r> {
    /// For each host, the node at which its paths begin.
    hosts: HashMap<Option<&'r HostPattern>, usize>,
    nodes: Vec<Node>,
    /// From a node and the next segment of a path to the next node.
    steps: HashMap<(usize, &'r str), usize>,
}

/// A path: the index of the first route for exactly this path, and of the first route for everything below it.
#[derive(Debug, Default)]
struct Node {
    exact: Option<usize>,
    below: Option<usize>,
}

impl<'r> Shadows<'r> {
    /// Adds the route at `index`. Returns the first route before it that already matches all its requests.
    pub fn add(&mut self, index: usize, route: &'r Route) -> Option<usize> {
        let wildcard = match &route.host {
            Some(HostPattern::Exact(name)) => {
                below_one_label(name).map(|base| HostPattern::Wildcard(base.to_owned()))
            }
            _ => None,
        };
        let mut hosts = vec![None];
        hosts.extend(route.host.as_ref().map(Some));
        hosts.extend(wildcard.as_ref().map(Some));
        let first = hosts
            .into_iter()
            .filter_map(|host| self.first(*self.hosts.get(&host)?, route))
            .min();
        self.insert(index, route);
        first
    }

    /// The first route that matches all paths of `route`, from the node `root` of a host.
    fn first(&self, root: usize, route: &Route) -> Option<usize> {
        let (text, is_prefix) = route.path.parts();
        let mut first = None;
        let mut here = root;
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            let Some(next) = self.steps.get(&(here, segment)) else {
                return first;
            };
            here = *next;
            let node = self.nodes.get(here)?;
            let taken = match segments.peek() {
                Some(_) => node.below,
                None if is_prefix => None,
                None => node.exact,
            };
            first = first.into_iter().chain(taken).min();
        }
        first
    }

    fn insert(&mut self, index: usize, route: &'r Route) {
        let (text, is_prefix) = route.path.parts();
        // Anything may follow the slash of a prefix.
        let text = match is_prefix {
            true => text.strip_suffix('/').unwrap_or(text),
            false => text,
        };
        let nodes = &mut self.nodes;
        let mut new = || {
            nodes.push(Node::default());
            nodes.len() - 1
        };
        let mut here = *self
            .hosts
            .entry(route.host.as_ref())
            .or_insert_with(&mut new);
        for segment in text.split('/') {
            here = *self.steps.entry((here, segment)).or_insert_with(&mut new);
        }
        if let Some(node) = self.nodes.get_mut(here) {
            let first = match is_prefix {
                true => &mut node.below,
                false => &mut node.exact,
            };
            first.get_or_insert(index);
        }
    }
}
