//! YAML text to a tree, and places in the tree back to lines and columns.
//!
//! The only module that names the YAML library. The library's values have no positions, but an error raised at a node has:
//! [`locate`] reads the text again, walks down to one node and fails there on purpose.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};

use super::syntax::{self, Refusal};

/// Deepest nesting: a configuration needs 6 levels, and the library recurses once per level.
const MAX_DEPTH: usize = 32;

/// Most nodes with aliases followed: a few lines of aliases to aliases could otherwise fill the memory.
const MAX_NODES: usize = 100_000;

/// Most bytes of text with aliases followed.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// A value of a YAML file.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unquoted number, as text.
    Number(String),
    /// Text, quoted or not.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A mapping, in the file's order, with keys that are there twice.
    Map(Vec<(String, Self)>),
}

/// Which part of a mapping's entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// Reads one YAML document, with aliases replaced by their values.
///
/// # Errors
/// The first place where `text` is not YAML, or is too large.
pub fn parse(text: &str) -> Result<Node, Refusal> {
    // The library refuses control characters too, but does not say in which line.
    let refusal = syntax::control_character(text)
        .or_else(|| syntax::too_many_brackets(text))
        .or_else(|| syntax::too_many_directives(text));
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let budget = RefCell::new(Budget::default());
    let build = Build {
        budget: &budget,
        depth: 0,
    };
    build
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| {
            let at = error.location().map(|at| (at.line(), at.column()));
            match budget.take().refusal {
                Some(message) => Refusal::new(at.unwrap_or((1, 1)), message),
                None => syntax::explain(text, &error.to_string(), at),
            }
        })
}

/// The line and column, from 1, of the node that `path` leads to: each step is the index of a list's item or of a
/// mapping's entry. With [`Aim::Key`] the last step's key is meant.
#[must_use]
pub fn locate(text: &str, path: &[usize], aim: Aim) -> Option<(usize, usize)> {
    let walk = Walk { path, aim };
    let error = walk
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .err()?;
    let at = error.location()?;
    Some((at.line(), at.column()))
}

/// What building the tree may still use, and why it stopped.
#[derive(Default)]
struct Budget {
    nodes: usize,
    text: usize,
    refusal: Option<String>,
}

/// Builds a [`Node`].
#[derive(Clone, Copy)]
struct Build<'b> {
    budget: &'b RefCell<Budget>,
    depth: usize,
}

impl Build<'_> {
    fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    fn note(self, message: &str) {
        if let Ok(mut budget) = self.budget.try_borrow_mut() {
            budget.refusal.get_or_insert_with(|| message.to_owned());
        }
    }

    fn refuse<E: serde::de::Error>(self, message: &str) -> E {
        self.note(message);
        E::custom(message)
    }

    fn spend<E: serde::de::Error>(self) -> Result<(), E> {
        if self.depth > MAX_DEPTH {
            return Err(self.refuse("lists and mappings are nested too deeply"));
        }
        let spent = self.budget.try_borrow_mut().is_ok_and(|mut budget| {
            budget.nodes += 1;
            budget.nodes <= MAX_NODES
        });
        if spent {
            Ok(())
        } else {
            Err(self.refuse("the file has too many values, with aliases expanded"))
        }
    }
}

impl Build<'_> {
    fn text<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        let spent = self.budget.try_borrow_mut().is_ok_and(|mut budget| {
            budget.text += text.len();
            budget.text <= MAX_TEXT
        });
        if spent {
            Ok(text.to_owned())
        } else {
            Err(self.refuse("the file has too much text, with aliases expanded"))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(format!("{value:?}")))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        self.text(value).map(Node::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.deeper())? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(KeyText(self))? {
            entries.push((key, map.next_value_seed(self.deeper())?));
        }
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.refuse("found a YAML tag (!…); write the value without it"))
    }
}

/// A mapping's key, as its text: `on`, `12` and `true` are keys like any other.
struct KeyText<'b>(Build<'b>);

impl<'de> DeserializeSeed<'de> for KeyText<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let build = self.0;
        build.spend()?;
        deserializer.deserialize_str(self).inspect_err(|_| {
            // The error itself is kept, because it has the place.
            build.note("found a list or mapping as a key, expected text");
        })
    }
}

impl Visitor<'_> for KeyText<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<String, E> {
        self.0.text(value)
    }
}

/// Walks down `path` and fails at its end. Everything else is skipped, and aliases are not followed.
struct Walk<'p> {
    path: &'p [usize],
    aim: Aim,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    // Visits that are not overridden fail, which is intended for the last node of a path.
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place to report")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*first {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Walk {
            path: rest,
            aim: self.aim,
        })?;
        Err(A::Error::custom("here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*first {
            map.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        if rest.is_empty() && self.aim == Aim::Key {
            map.next_key_seed(Walk {
                path: rest,
                aim: self.aim,
            })?;
        } else {
            map.next_key::<IgnoredAny>()?;
            map.next_value_seed(Walk {
                path: rest,
                aim: self.aim,
            })?;
        }
        Err(A::Error::custom("here"))
    }
}
