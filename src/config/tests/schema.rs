//! The JSON Schema against the tables that it is made from.

use super::super::shape::{self, Kind};

/// Types that a schema can say nothing of, beside that they are text.
const TEXTS: [&str; 11] = [
    "text",
    "file",
    "path",
    "host name",
    "name",
    "media type",
    "method",
    "network or address",
    "origin",
    "query parameter",
    "token",
];

#[test]
fn every_type_of_the_tables_has_a_schema() {
    for (path, key) in shape::keys() {
        let (Kind::Value(words) | Kind::Values(words)) = key.kind else {
            continue;
        };
        if TEXTS.contains(&words)
            || words == "true or false"
            || words.contains("`http://host:port`")
            || words.starts_with("`wx`")
        {
            continue;
        }
        for word in words.split(", ").flat_map(|word| word.split(" or ")) {
            let is_known = TEXTS.contains(&word)
                || word.starts_with('`')
                || word
                    .split(" to ")
                    .all(|number| number.parse::<u64>().is_ok())
                || ["duration", "size", "whole number", "IP:port"].contains(&word);
            assert!(
                is_known,
                "{path}: src/config/shape/schema.rs does not know the type {word:?}"
            );
        }
    }
}

#[test]
fn the_schema_has_every_key_with_its_description_and_its_default() {
    let text = shape::schema().to_string();
    for (path, key) in shape::keys() {
        let title = format!(
            "\"title\":{},\"description\":{}",
            quoted(&path),
            quoted(key.about)
        );
        assert!(text.contains(&title), "{title}");
    }
    for (path, default) in [
        ("limits.connections", "10000"),
        ("limits.header_bytes", "\"16KiB\""),
        ("trusted_proxies", "[]"),
        ("listeners[].redirect_to_https", "false"),
    ] {
        let (_, after) = text
            .split_once(&format!("\"title\":{}", quoted(path)))
            .unwrap();
        let (_, after) = after.split_once("\"default\":").unwrap();
        assert!(after.starts_with(default), "{path}");
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
