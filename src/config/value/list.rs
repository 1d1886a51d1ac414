//! Lists of values.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::super::cursor::Cursor;
use super::super::problem::{Complaint, quoted};
use super::super::report::Report;
use super::{Choice, Value, ValueType};

/// A list of values of one type.
#[derive(Debug)]
pub struct List<V> {
    item: V,
    needs_item: bool,
    is_distinct: bool,
}

impl<V: Value> List<V> {
    /// Any list of such items.
    pub const fn of(item: V) -> Self {
        Self {
            item,
            needs_item: false,
            is_distinct: false,
        }
    }

    /// An empty list is an error.
    pub const fn not_empty(mut self) -> Self {
        self.needs_item = true;
        self
    }

    /// An item that is there twice is an error.
    pub const fn distinct(mut self) -> Self {
        self.is_distinct = true;
        self
    }

    /// The items at `at` that can be read, each with its place; `None`: it is not a list, or it lacks an item.
    pub fn items<'t>(
        &self,
        at: &Cursor<'t>,
        report: &mut Report<'_>,
    ) -> Option<Vec<(Cursor<'t>, V::Read)>> {
        let expected = self.item.expected();
        let items = at.items(&expected, self.needs_item, report)?;
        let mut seen = HashSet::new();
        let read = |item: Cursor<'t>| {
            let value = self.item.read(&item, report)?;
            if let Json::String(text) = self.item.written(&value)
                && self.is_distinct
                && !seen.insert(text.clone())
            {
                let message = format!("found {} a second time", quoted(&text));
                item.error(report, Complaint::new(message).help("remove it"));
                return None;
            }
            Some((item, value))
        };
        Some(items.into_iter().filter_map(read).collect())
    }
}

impl<V: Value> ValueType for List<V> {
    fn words(&self) -> String {
        format!("list: {}", self.item.words())
    }

    fn expected(&self) -> String {
        format!("a list, each item {}", self.item.expected())
    }

    fn choices(&self) -> Vec<Choice> {
        self.item.choices()
    }

    fn item(&self) -> Option<&dyn ValueType> {
        Some(&self.item)
    }
}

impl<V: Value> Value for List<V> {
    type Read = Vec<V::Read>;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<Vec<V::Read>> {
        let items = self.items(at, report)?;
        Some(items.into_iter().map(|(_, value)| value).collect())
    }

    fn written(&self, values: &Vec<V::Read>) -> Json {
        values
            .iter()
            .map(|value| self.item.written(value))
            .collect()
    }
}
