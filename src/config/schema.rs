//! The keys as a JSON Schema (draft 2020-12), for editors and pipelines.
//!
//! It has what each key's description has: names, types, defaults. Whether keys fit together only the reader checks, so a
//! file that passes here may still be refused by `wsgate check`.

use serde_json::{Map, Value as Json, json};

use super::blocks::RootKeys;
use super::key::{AnyKey, Block, DefaultValue, Form, Shape};
use super::value::{Choice, Definition, TEXT, ValueType};

static VARIABLE: Definition = Definition {
    name: "variable",
    schema: || {
        json!({
            "description": "`${NAME}`: the value of an environment variable.",
            "type": "string",
            "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}",
        })
    },
};

/// The schema of `proxy.yaml`.
#[must_use]
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let root = object(RootKeys::BLOCK, "", &mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wsgate's proxy.yaml",
        "description": "Made by `wsgate schema`. `wsgate check` checks more: whether keys fit together, and the certificates.",
    });
    if let (Json::Object(schema), Json::Object(mut root)) = (&mut schema, root) {
        schema.append(&mut root);
        schema.insert("$defs".to_owned(), Json::Object(definitions));
    }
    schema
}

/// A mapping with the keys of `block`; `prefix` is the path of its keys up to their names.
fn object(block: &'static Block, prefix: &str, definitions: &mut Map<String, Json>) -> Json {
    let properties = block.keys.iter().map(|key| {
        let path = format!("{prefix}{}", key.name());
        (key.name().to_owned(), property(*key, &path, definitions))
    });
    let properties = Map::from_iter(properties);
    let required = Vec::from_iter(block.required());
    match required.is_empty() {
        true => json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        }),
        false => json!({
            "type": "object",
            "additionalProperties": false,
            "required": required,
            "properties": properties,
        }),
    }
}

/// A key: what it is called and means, and what may be written behind it.
fn property(key: &dyn AnyKey, path: &str, definitions: &mut Map<String, Json>) -> Json {
    let mut property = Map::new();
    property.insert("title".to_owned(), json!(path));
    property.insert("description".to_owned(), json!(key.about()));
    let default = key.default();
    let is_required = default == DefaultValue::Required;
    if let DefaultValue::Value(value) = default {
        property.insert("default".to_owned(), value);
    }
    let shape = match key.shape() {
        Shape::Value(value) => match value.item() {
            None => single(value, definitions),
            Some(item) if is_required => {
                json!({ "type": "array", "minItems": 1, "items": single(item, definitions) })
            }
            Some(item) => json!({ "type": "array", "items": single(item, definitions) }),
        },
        Shape::Section(form, block) => {
            let (suffix, _) = key.shape().below();
            let block = object(block, &format!("{path}{suffix}."), definitions);
            match form {
                Form::Mapping | Form::OptionalMapping => block,
                Form::MappingOrOff => {
                    let variable = reference(&VARIABLE, definitions);
                    json!({ "anyOf": [block, { "const": "off" }, variable] })
                }
                Form::List | Form::OptionalList => {
                    json!({ "type": "array", "minItems": 1, "items": block })
                }
                Form::Named => json!({
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": { "pattern": "^[A-Za-z0-9._-]+$" },
                    "additionalProperties": block,
                }),
            }
        }
    };
    if let Json::Object(mut shape) = shape {
        property.append(&mut shape);
    }
    Json::Object(property)
}

/// One value, which may be a variable. So may any text.
fn single(value: &dyn ValueType, definitions: &mut Map<String, Json>) -> Json {
    let is_text =
        |choice: &Choice| matches!(choice, Choice::Defined(part) if part.name == TEXT.name);
    let mut choices = value.choices();
    match choices.as_slice() {
        [only] if is_text(only) => return reference(&TEXT, definitions),
        choices if choices.iter().any(is_text) => {}
        _ => choices.push(Choice::Defined(&VARIABLE)),
    }
    let choices = choices.into_iter().map(|choice| match choice {
        Choice::Defined(part) => reference(part, definitions),
        Choice::Inline(schema) => schema,
    });
    json!({ "anyOf": Vec::from_iter(choices) })
}

/// A reference to `part`, which is added to the definitions.
fn reference(part: &Definition, definitions: &mut Map<String, Json>) -> Json {
    let name = part.name;
    definitions.entry(name).or_insert_with(part.schema);
    json!({ "$ref": format!("#/$defs/{name}") })
}
