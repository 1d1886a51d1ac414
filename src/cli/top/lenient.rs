//! Values of a document that nobody vouches for: whatever stands there is read, made safe to show, and bounded. A value of
//! another type counts as absent.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::cells::safe;

/// The most characters of a text.
const LONGEST: usize = 1024;

/// The most elements of a list, and fields of an object of unknown shape.
const MOST: usize = 1000;

/// Any value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// The visits that a visitor takes for "absent".
macro_rules! absent {
    ($value:expr; $($visit:ident $kind:ty),*) => {
        $(fn $visit<E>(self, _: $kind) -> Result<Self::Value, E> {
            Ok($value)
        })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactVisitor)
    }
}

struct FactVisitor;

impl<'de> Visitor<'de> for FactVisitor {
    type Value = Fact;

    absent!(Fact::Nothing;);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Fact, E> {
        Ok(Fact::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Fact, E> {
        Ok(Fact::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Fact, E> {
        Ok(Fact::Number(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole numbers are shown, and too large ones become the largest"
    )]
    fn visit_f64<E>(self, value: f64) -> Result<Fact, E> {
        Ok(Fact::Number(value as i64))
    }

    fn visit_str<E>(self, value: &str) -> Result<Fact, E> {
        Ok(Fact::Text(safe(value, LONGEST)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Fact, A::Error> {
        let mut list = Vec::new();
        while list.len() < MOST {
            match seq.next_element()? {
                Some(fact) => list.push(fact),
                None => return Ok(Fact::List(list)),
            }
        }
        while let Some(IgnoredAny) = seq.next_element()? {}
        Ok(Fact::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fact, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<Text>()? {
            match fields.len() < MOST {
                true => fields.push((name.0, map.next_value()?)),
                false => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(Fact::Object(fields))
    }
}

impl Fact {
    /// A field of an object.
    pub(super) fn at(&self, name: &str) -> Option<&Self> {
        let mut fields = self.fields().iter();
        let (_, value) = fields.find(|(field, _)| field == name)?;
        Some(value)
    }

    /// The fields of an object, in order.
    pub(super) fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self, name: &str) -> &[Self] {
        match self.at(name) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    /// A field that is a text; empty if it is absent.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.at(name) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    /// A field that is a number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.at(name) {
            Some(Self::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => {
                for (index, item) in list.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "; " };
                    write!(f, "{gap}{item}")?;
                }
                Ok(())
            }
            Self::Object(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    let gap = if index == 0 { "" } else { " " };
                    write!(f, "{gap}{name}={value}")?;
                }
                Ok(())
            }
        }
    }
}

/// A text that may be shown; empty if it is absent. A number is its digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(String);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fact = Fact::deserialize(deserializer)?;
        Ok(Self(match fact {
            Fact::Text(text) => text,
            Fact::Number(number) => number.to_string(),
            _ => String::new(),
        }))
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number(pub Option<i64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fact = Fact::deserialize(deserializer)?;
        Ok(Self(match fact {
            Fact::Number(number) => Some(number),
            Fact::Text(text) => text.parse().ok(),
            _ => None,
        }))
    }
}

impl Number {
    /// The number, or 0.
    pub(super) fn or_zero(self) -> i64 {
        self.0.unwrap_or(0)
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub Option<bool>);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fact = Fact::deserialize(deserializer)?;
        Ok(Self(match fact {
            Fact::Flag(flag) => Some(flag),
            _ => None,
        }))
    }
}

/// Numbers by name, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(pub Vec<(String, i64)>);

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fact = Fact::deserialize(deserializer)?;
        let mut counts = Vec::new();
        for (name, value) in fact.fields() {
            if let Fact::Number(count) = value {
                counts.push((name.clone(), *count));
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(Self(counts))
    }
}

impl Counts {
    /// All of them together.
    pub(super) fn sum(&self) -> i64 {
        let counts = self.0.iter().map(|(_, count)| *count);
        counts.fold(0, i64::saturating_add)
    }
}

/// A list, with its first elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    absent!(List::default(); visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while list.len() < MOST {
            match seq.next_element()? {
                Some(item) => list.push(item),
                None => return Ok(List(list)),
            }
        }
        while let Some(IgnoredAny) = seq.next_element()? {}
        Ok(List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<T>, A::Error> {
        while let Some((IgnoredAny, IgnoredAny)) = map.next_entry()? {}
        Ok(List::default())
    }
}

/// An object of a known shape, all of whose fields may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part<T>(pub T);

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor(PhantomData))
    }
}

struct PartVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for PartVisitor<T> {
    type Value = Part<T>;

    absent!(Part::default(); visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Part<T>, A::Error> {
        while let Some(IgnoredAny) = seq.next_element()? {}
        Ok(Part::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Part)
    }
}
