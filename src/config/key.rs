//! What a key of `proxy.yaml` is. Each has one description, from which come its reading, the words of messages, the
//! reference in `docs/configuration.md` and the JSON Schema.

use serde_json::{Value as Json, json};

use super::value::{Value, ValueType};

/// Declares the keys of a mapping: a type with a key for each entry, its only value, and the [`Block`] that lists them. The
/// doc comment of an entry is its line in the reference; the parts behind `=` are the arguments of [`Key::new`] or
/// [`Section::new`].
macro_rules! keys {
    (
        $vis:vis static $KEYS:ident: $Keys:ident {
            $($(#[doc = $about:literal])+ $name:ident: $Key:ty = $($part:expr),+;)+
        }
        $(with $rest:expr)?
    ) => {
        $vis struct $Keys {
            $($(#[doc = $about])+ $vis $name: $Key,)+
        }

        $vis static $KEYS: $Keys = $Keys {
            $($name: <$Key>::new(
                stringify!($name),
                concat!($($about),+).trim_ascii_start(),
                $($part),+
            ),)+
        };

        impl $Keys {
            $vis const BLOCK: &'static $crate::config::key::Block = &$crate::config::key::Block {
                keys: &[$(&$KEYS.$name),+],
                ..keys!(@rest $($rest)?)
            };
        }
    };
    (@rest) => { $crate::config::key::Block::EMPTY };
    (@rest $rest:expr) => { $rest };
}
pub(super) use keys;

/// A key with a value. `A` says what it means to leave the key out.
pub struct Key<T: 'static, A = Is<T>> {
    /// As written in the file.
    pub name: &'static str,
    /// The type of its value.
    pub value: &'static dyn Value<Read = T>,
    /// What it means to leave the key out.
    pub absent: A,
    /// One line for the reference.
    pub about: &'static str,
}

/// A key with a mapping, or with several.
pub struct Section {
    /// As written in the file.
    pub name: &'static str,
    /// How the mapping is written.
    pub form: Form,
    /// The keys of the mapping.
    pub block: &'static Block,
    /// One line for the reference.
    pub about: &'static str,
}

/// How the mappings of a [`Section`] are written, and what it means to leave them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A mapping; without it all its keys have their defaults.
    Mapping,
    /// A mapping; if it is left out, the setting is absent.
    OptionalMapping,
    /// A mapping, or `off`, which is the default.
    MappingOrOff,
    /// A list of mappings, which is required.
    List,
    /// A list of mappings; if it is left out, the setting is absent.
    OptionalList,
    /// A mapping from names of the operator's choice to mappings, which is required.
    Named,
}

/// The keys that a mapping may have.
pub struct Block {
    /// In the order of the reference.
    pub keys: &'static [&'static dyn AnyKey],
    /// Names of other programs, separated by spaces, with what to say about them in this mapping.
    pub foreign: &'static [(&'static str, &'static str)],
    /// Whether `{}` is an error, although no key is required.
    pub needs_key: bool,
}

/// What it means to leave a key with a value out.
pub trait Absent<T>: Sync {
    /// What the key is read as.
    type Read;

    /// What a key is read as whose value is `given`; `None`: it is missing or wrong.
    fn outcome(&self, given: Option<T>) -> Self::Read;

    /// The description of the default.
    fn default(&self, value: &dyn Value<Read = T>) -> DefaultValue;
}

/// Leaving it out is an error.
pub struct Required;

/// Leaving it out sets nothing; the reference has this word for it.
pub struct Nothing(pub &'static str);

/// Leaving it out sets this value.
pub struct Is<T>(pub fn() -> T);

/// The description of a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// There is no default.
    Required,
    /// The default can't be written; the reference has this word for it.
    Word(&'static str),
    /// The default, as it could be written.
    Value(Json),
}

/// What may be written as the value of a key.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A value, or a list of values.
    Value(&'static dyn ValueType),
    /// Mappings.
    Section(Form, &'static Block),
}

/// A [`Key`] or a [`Section`].
pub trait AnyKey: Sync {
    /// As written in the file.
    fn name(&self) -> &'static str;

    /// One line for the reference.
    fn about(&self) -> &'static str;

    /// What it means to leave the key out.
    fn default(&self) -> DefaultValue;

    /// What is behind it.
    fn shape(&self) -> Shape;
}

impl<T, A> Key<T, A> {
    /// A key called `name`; `about` is its line in the reference.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        value: &'static dyn Value<Read = T>,
        absent: A,
    ) -> Self {
        Self {
            name,
            about,
            value,
            absent,
        }
    }
}

impl Section {
    /// A key called `name`; `about` is its line in the reference.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        form: Form,
        block: &'static Block,
    ) -> Self {
        Self {
            name,
            about,
            form,
            block,
        }
    }
}

impl<T: 'static, A: Absent<T>> AnyKey for Key<T, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn default(&self) -> DefaultValue {
        self.absent.default(self.value)
    }

    fn shape(&self) -> Shape {
        Shape::Value(self.value)
    }
}

impl AnyKey for Section {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn default(&self) -> DefaultValue {
        match self.form {
            Form::List | Form::Named => DefaultValue::Required,
            Form::OptionalMapping | Form::OptionalList => DefaultValue::Word("none"),
            Form::Mapping => DefaultValue::Value(json!({})),
            Form::MappingOrOff => DefaultValue::Value(json!("off")),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Section(self.form, self.block)
    }
}

impl<T> Absent<T> for Required {
    type Read = Option<T>;

    fn outcome(&self, given: Option<T>) -> Option<T> {
        given
    }

    fn default(&self, _: &dyn Value<Read = T>) -> DefaultValue {
        DefaultValue::Required
    }
}

impl<T> Absent<T> for Nothing {
    type Read = Option<T>;

    fn outcome(&self, given: Option<T>) -> Option<T> {
        given
    }

    fn default(&self, _: &dyn Value<Read = T>) -> DefaultValue {
        DefaultValue::Word(self.0)
    }
}

impl<T> Absent<T> for Is<T> {
    type Read = T;

    fn outcome(&self, given: Option<T>) -> T {
        given.unwrap_or_else(self.0)
    }

    fn default(&self, value: &dyn Value<Read = T>) -> DefaultValue {
        DefaultValue::Value(value.written(&(self.0)()))
    }
}

impl Shape {
    /// How the path of a key below this one continues, and which keys are allowed there.
    pub fn below(self) -> (&'static str, Option<&'static Block>) {
        match self {
            Self::Value(value) if value.item().is_some() => ("[]", None),
            Self::Value(_) => ("", None),
            Self::Section(Form::List | Form::OptionalList, block) => ("[]", Some(block)),
            Self::Section(Form::Named, block) => (".*", Some(block)),
            Self::Section(_, block) => ("", Some(block)),
        }
    }
}

impl Block {
    /// A mapping without keys, as a base for others.
    pub const EMPTY: Self = Self {
        keys: &[],
        foreign: &[],
        needs_key: false,
    };

    /// The key called `name`.
    pub fn key(&self, name: &str) -> Option<&'static dyn AnyKey> {
        self.keys.iter().copied().find(|key| key.name() == name)
    }

    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name())
    }

    /// The keys that must be there.
    pub fn required(&self) -> impl Iterator<Item = &'static str> {
        let is_required = |key: &&&dyn AnyKey| key.default() == DefaultValue::Required;
        self.keys.iter().filter(is_required).map(|key| key.name())
    }
}
