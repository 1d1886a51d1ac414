//! The keys as a JSON Schema (draft 2020-12), for editors and pipelines.
//!
//! It has what each key's description has: names, types, defaults. Whether keys fit together only the reader checks, so a
//! file that passes here may still be refused by `wsgate check`.

use serde_json::{Map, Value as Json, json};

use super::blocks::RootKeys;
use super::key::{AnyKey, Block, DefaultValue, Form, Shape};
use super::value::{Definition, UNITS, ValueType};

/// The schema of `proxy.yaml`.
#[must_use]
pub fn schema() -> Json {
    let mut root = object(RootKeys::BLOCK, "");
    let mut schema = Map::new();
    let words = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "wsgate's proxy.yaml"),
        (
            "description",
            "Made by `wsgate schema`. `wsgate check` checks more: whether keys fit together, and the certificates.",
        ),
    ];
    schema.extend(words.map(|(name, text)| (name.to_owned(), json!(text))));
    schema.append(&mut root);
    let definitions = Definition::ALL.map(|part| (part.name().to_owned(), definition(part)));
    schema.insert(
        "$defs".to_owned(),
        Json::Object(definitions.into_iter().collect()),
    );
    Json::Object(schema)
}

/// The schema that types of values refer to as `part`.
fn definition(part: Definition) -> Json {
    // Up to 65535.
    const PORT: &str =
        "([0-9]{1,4}|[1-5][0-9]{4}|6([0-4][0-9]{3}|5([0-4][0-9]{2}|5([0-2][0-9]|3[0-5]))))";
    let units = UNITS.join("|");
    match part {
        Definition::Variable => json!({
            "description": "`${NAME}`: the value of an environment variable.",
            "type": "string",
            "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}",
        }),
        Definition::Duration => json!({
            "description": "A duration such as `500ms`, `10s`, `2m` or `1h`; not zero, at most 365d.",
            "type": "string",
            "pattern": format!(r"^\s*([0-9]+(\.[0-9]+)?\s*({units})\s*)+$"),
            "not": { "pattern": r"^[^1-9]*$" },
        }),
        Definition::Zero => json!({
            "description": "`0s`: no time at all.",
            "anyOf": [{ "const": 0 }, { "type": "string", "pattern": r"^\s*(0+|([0.]+\s*[a-z]+\s*)+)$" }],
        }),
        Definition::Size => json!({
            "description": "A number of bytes, or a size such as `64KiB`, `1MiB` or `1GiB`.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": r"^[0-9]+\s*(B|KiB|MiB|GiB)?\s*$", "not": { "pattern": "^[^1-9]*$" } },
            ],
        }),
        Definition::Count => json!({
            "description": "A whole number, at least 1.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^0*[1-9][0-9]*$" },
            ],
        }),
        Definition::Address => json!({
            "description": "An IP address and a port such as `0.0.0.0:8443` or `[::]:8443`.",
            "type": "string",
            "pattern": format!(r"^([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):{PORT}$"),
        }),
        Definition::Endpoint => json!({
            "description": "`http://host:port`, `https://host:port`, `unix:/path` or `builtin:echo`.",
            "type": "string",
            "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://[^@?#]+|unix:.+|builtin:echo)$",
        }),
        Definition::AppId => json!({
            "description": "`wx` and 16 hexadecimal digits in lower case.",
            "type": "string",
            "pattern": "^wx[0-9a-f]{16}$",
        }),
        Definition::Text => json!({ "type": "string", "minLength": 1 }),
    }
}

/// A mapping with the keys of `block`; `prefix` is the path of its keys up to their names.
fn object(block: &'static Block, prefix: &str) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("additionalProperties".to_owned(), json!(false));
    let required = Vec::from_iter(block.required());
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    let properties = block.keys.iter().map(|key| {
        let path = format!("{prefix}{}", key.name());
        (key.name().to_owned(), Json::Object(property(*key, &path)))
    });
    object.insert("properties".to_owned(), Json::Object(properties.collect()));
    object
}

/// A key: what it is called and means, and what may be written behind it.
fn property(key: &dyn AnyKey, path: &str) -> Map<String, Json> {
    let mut property = Map::new();
    property.insert("title".to_owned(), json!(path));
    property.insert("description".to_owned(), json!(key.about()));
    let default = key.default();
    let is_required = default == DefaultValue::Required;
    if let DefaultValue::Value(value) = default {
        property.insert("default".to_owned(), value);
    }
    let mut allow = |name: &str, schema: Json| {
        property.insert(name.to_owned(), schema);
    };
    match key.shape() {
        Shape::Value(value) => match value.item() {
            None => {
                if let Json::Object(mut schema) = single(value) {
                    property.append(&mut schema);
                }
            }
            Some(item) => {
                allow("type", json!("array"));
                if is_required {
                    allow("minItems", json!(1));
                }
                allow("items", single(item));
            }
        },
        Shape::Section(Form::Mapping, block) => {
            property.append(&mut object(block, &format!("{path}.")));
        }
        Shape::Section(Form::MappingOrOff, block) => {
            let block = object(block, &format!("{path}."));
            let variable = Definition::Variable.reference();
            allow("anyOf", json!([block, { "const": "off" }, variable]));
        }
        Shape::Section(Form::List, block) => {
            allow("type", json!("array"));
            allow("minItems", json!(1));
            allow("items", Json::Object(object(block, &format!("{path}[]."))));
        }
        Shape::Section(Form::Named, block) => {
            allow("type", json!("object"));
            allow("minProperties", json!(1));
            allow("propertyNames", json!({ "pattern": "^[A-Za-z0-9._-]+$" }));
            let block = object(block, &format!("{path}.*."));
            allow("additionalProperties", Json::Object(block));
        }
    }
    property
}

/// One value, which may be a variable. So may any text.
fn single(value: &dyn ValueType) -> Json {
    let mut choices = value.choices();
    let text = Definition::Text.reference();
    if choices == [text.clone()] {
        return text;
    }
    if !choices.contains(&text) {
        choices.push(Definition::Variable.reference());
    }
    json!({ "anyOf": choices })
}
