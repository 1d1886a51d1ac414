//! Lists of values.

use serde_json::Value as Json;

use super::super::cursor::Cursor;
use super::super::report::Report;
use super::{Value, ValueType};

/// A list, each item of the type `item`.
#[derive(Debug)]
pub struct List<V> {
    item: V,
    needs_item: bool,
}

impl<V: Value> List<V> {
    /// A list that may be empty.
    pub const fn any(item: V) -> Self {
        Self {
            item,
            needs_item: false,
        }
    }

    /// A list with at least one item.
    pub const fn some(item: V) -> Self {
        Self {
            item,
            needs_item: true,
        }
    }

    /// The items at `at` that can be read, each with its place; `None`: it is not a list, or it lacks an item.
    pub fn items<'t>(
        &self,
        at: &Cursor<'t>,
        report: &mut Report<'_>,
    ) -> Option<Vec<(Cursor<'t>, V::Read)>> {
        let expected = self.item.expected();
        let items = match self.needs_item {
            true => at.some_items(&expected, report)?,
            false => at.items(&expected, report)?,
        };
        let read = |item: Cursor<'t>| {
            let value = self.item.read(&item, report)?;
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

    fn choices(&self) -> Vec<Json> {
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
