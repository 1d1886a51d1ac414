//! The JSON Schema against the keys that it is made from.

use super::super::{paths, schema};

#[test]
fn the_schema_has_every_key_with_its_description_and_its_default() {
    let text = schema().to_string();
    for (path, key) in paths::keys() {
        let title = format!(
            "\"title\":{},\"description\":{}",
            quoted(&path),
            quoted(key.about())
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
