//! The tables of keys as a JSON Schema (draft 2020-12), for editors and pipelines.
//!
//! It says what each table says, in the words of its types: names, kinds, alternatives, defaults. What keys say about each
//! other is the reader's alone, so that a file which passes here may still be refused by `wsgate check`.

use crate::config::scalar::UNITS;
use serde_json::{Map, Value, json};

use super::{Block, Key, Kind, ROOT};

/// The schema of `proxy.yaml`.
#[must_use]
pub fn schema() -> Value {
    let mut root = object(&ROOT, "");
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
    schema.insert("$defs".to_owned(), definitions());
    Value::Object(schema)
}

/// What the types of the tables are made of.
fn definitions() -> Value {
    // Up to 65535.
    const PORT: &str =
        "([0-9]{1,4}|[1-5][0-9]{4}|6([0-4][0-9]{3}|5([0-4][0-9]{2}|5([0-2][0-9]|3[0-5]))))";
    let units = UNITS.join("|");
    json!({
        "variable": {
            "description": "`${NAME}`: the value of an environment variable.",
            "type": "string",
            "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}",
        },
        "duration": {
            "description": "A duration such as `500ms`, `10s`, `2m` or `1h`; not zero, at most 365d.",
            "type": "string",
            "pattern": format!(r"^\s*([0-9]+(\.[0-9]+)?\s*({units})\s*)+$"),
            "not": { "pattern": r"^[^1-9]*$" },
        },
        "zero": {
            "description": "`0s`: no time at all.",
            "anyOf": [{ "const": 0 }, { "type": "string", "pattern": r"^\s*(0+|([0.]+\s*[a-z]+\s*)+)$" }],
        },
        "size": {
            "description": "A number of bytes, or a size such as `64KiB`, `1MiB` or `1GiB`.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": r"^[0-9]+\s*(B|KiB|MiB|GiB)?\s*$", "not": { "pattern": "^[^1-9]*$" } },
            ],
        },
        "count": {
            "description": "A whole number, at least 1.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^0*[1-9][0-9]*$" },
            ],
        },
        "address": {
            "description": "An IP address and a port such as `0.0.0.0:8443` or `[::]:8443`.",
            "type": "string",
            "pattern": format!(r"^([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):{PORT}$"),
        },
        "endpoint": {
            "description": "`http://host:port`, `https://host:port`, `unix:/path` or `builtin:echo`.",
            "type": "string",
            "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://[^@?#]+|unix:.+|builtin:echo)$",
        },
        "app_id": {
            "description": "`wx` and 16 hexadecimal digits in lower case.",
            "type": "string",
            "pattern": "^wx[0-9a-f]{16}$",
        },
        "text": { "type": "string", "minLength": 1 },
    })
}

/// A mapping with the keys of `block`; `prefix` is the path of its keys up to their names.
fn object(block: &'static Block, prefix: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("additionalProperties".to_owned(), json!(false));
    let required = block.keys.iter().filter(|key| key.required);
    let required: Vec<_> = required.map(|key| key.name).collect();
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    let keys = block.keys.iter();
    let properties: Map<_, _> = keys
        .map(|key| (key.name.to_owned(), property(key, prefix)))
        .collect();
    object.insert("properties".to_owned(), Value::Object(properties));
    object
}

/// A key: what it is called and means, and what may stand behind it.
fn property(key: &'static Key, prefix: &str) -> Value {
    let path = format!("{prefix}{}", key.name);
    let mut property = Map::new();
    property.insert("title".to_owned(), json!(path));
    property.insert("description".to_owned(), json!(key.about));
    if let Some(default) = default(key) {
        property.insert("default".to_owned(), default);
    }
    match key.kind {
        Kind::Value(words) => property.append(&mut value(words)),
        Kind::Values(words) => {
            property.insert("type".to_owned(), json!("array"));
            if key.required {
                property.insert("minItems".to_owned(), json!(1));
            }
            property.insert("items".to_owned(), Value::Object(value(words)));
        }
        Kind::Block(block) => property.append(&mut object(block, &format!("{path}."))),
        Kind::BlockOrOff(block) => {
            let block = object(block, &format!("{path}."));
            let choice = json!([block, { "const": "off" }, reference("variable")]);
            property.insert("anyOf".to_owned(), choice);
        }
        Kind::Blocks(block) => {
            property.insert("type".to_owned(), json!("array"));
            property.insert("minItems".to_owned(), json!(1));
            let block = object(block, &format!("{path}[]."));
            property.insert("items".to_owned(), Value::Object(block));
        }
        Kind::Named(block) => {
            property.insert("type".to_owned(), json!("object"));
            property.insert("minProperties".to_owned(), json!(1));
            let names = json!({ "pattern": "^[A-Za-z0-9._-]+$" });
            property.insert("propertyNames".to_owned(), names);
            let block = object(block, &format!("{path}.*."));
            property.insert("additionalProperties".to_owned(), Value::Object(block));
        }
    }
    Value::Object(property)
}

/// What leaving a key out means, where that is a value that could be written.
fn default(key: &Key) -> Option<Value> {
    match (key.default, key.kind) {
        ("" | "none" | "any" | "empty", _) => None,
        ("{}", _) => Some(json!({})),
        ("[]", _) => Some(json!([])),
        ("true", _) => Some(json!(true)),
        ("false", _) => Some(json!(false)),
        (words, Kind::Values(_)) => Some(json!(words.split(", ").collect::<Vec<_>>())),
        (words, _) => Some(match words.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(words),
        }),
    }
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}") })
}

/// What a type allows that the tables spell in words: names of types, words in back-ticks, numbers and ranges of numbers,
/// with commas and `or` between them.
fn value(words: &str) -> Map<String, Value> {
    let mut enumerated = Vec::new();
    let mut choices = Vec::new();
    match words {
        "true or false" => {
            choices.push(json!({ "type": "boolean" }));
            enumerated.extend([json!("true"), json!("false")]);
        }
        // What these say in back-ticks are patterns and parts.
        words if words.contains("`http://host:port`") => choices.push(reference("endpoint")),
        words if words.starts_with("`wx`") => choices.push(reference("app_id")),
        words => {
            for word in words.split(", ").flat_map(|word| word.split(" or ")) {
                alternative(word, &mut enumerated, &mut choices);
            }
        }
    }
    if !enumerated.is_empty() {
        choices.insert(0, json!({ "enum": enumerated }));
    }
    let text = reference("text");
    let mut value = Map::new();
    // Any text may hold a variable.
    if choices == [text.clone()] {
        value.insert("$ref".to_owned(), json!("#/$defs/text"));
        return value;
    }
    if !choices.contains(&text) {
        choices.push(reference("variable"));
    }
    value.insert("anyOf".to_owned(), json!(choices));
    value
}

/// One alternative of a type, as a word of an enumeration or as a schema of its own.
fn alternative(word: &str, enumerated: &mut Vec<Value>, choices: &mut Vec<Value>) {
    let ticked = word
        .strip_prefix('`')
        .and_then(|word| word.strip_suffix('`'));
    if ticked == Some("0s") {
        choices.push(reference("zero"));
        return;
    }
    if let Some(text) = ticked {
        enumerated.push(json!(text));
        // YAML takes 1.2 without quotes for a number, and the reader takes either.
        enumerated.extend(text.parse::<f64>().ok().map(|number| json!(number)));
        return;
    }
    if let Ok(number) = word.parse::<u64>() {
        enumerated.extend([json!(number), json!(word)]);
        return;
    }
    let range = word.split_once(" to ");
    if let Some((least, most)) = range
        .and_then(|(least, most)| Some((least.parse::<u64>().ok()?, most.parse::<u64>().ok()?)))
    {
        choices.push(json!({ "type": "integer", "minimum": least, "maximum": most }));
        choices.push(json!({ "type": "string", "pattern": "^[0-9]+$" }));
        return;
    }
    choices.push(reference(match word {
        "duration" => "duration",
        "size" => "size",
        "whole number" => "count",
        "IP:port" => "address",
        _ => "text",
    }));
}
