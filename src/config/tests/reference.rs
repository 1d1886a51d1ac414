//! The keys against docs/configuration.md.

use std::collections::BTreeSet;

use super::super::key::{AnyKey, DefaultValue, Form, Shape};
use super::super::paths::{self, resolves};
use super::*;

#[test]
fn the_defaults_of_the_reference_are_the_ones_in_use() {
    let written_out = files("valid")
        .into_iter()
        .find(|(name, _)| name == "defaults.yaml")
        .unwrap()
        .1;
    for (path, key) in paths::keys() {
        let DefaultValue::Value(default) = key.default() else {
            continue;
        };
        let default = match &default {
            serde_json::Value::Array(items) if !items.is_empty() => {
                format!("[{}]", written(&default))
            }
            default => written(default),
        };
        let is_writable = match path.as_str() {
            // An empty list of app ids is refused: it says nothing.
            "routes[].websocket.wechat_app_ids" => false,
            // By default there is no mapping that it could stand in.
            "routes[].websocket.ping.timeout"
            | "listeners[].tls.client_auth.mode"
            | "upstreams.*.health_check.interval"
            | "upstreams.*.health_check.timeout" => false,
            // They would be warned of, because HTTP/2 is off by default.
            path if path.starts_with("listeners[].http2.") => false,
            path if path.starts_with("admin.") => false,
            path if path.starts_with("routes[].http.") => false,
            path if path.starts_with("routes[].respond.") => false,
            _ => default != "{}",
        };
        if is_writable {
            let line = format!("{}: {default}", key.name());
            assert!(
                written_out.lines().any(|found| found.trim_start() == line),
                "{path}: {line}"
            );
        }
    }
    let debug = |name| format!("{:?}", valid(name));
    assert_eq!(debug("defaults.yaml"), debug("shortest.yaml"));
}

#[test]
fn key_paths_resolve() {
    let keys = paths::keys();
    assert!(keys.len() > 30);
    for (path, _) in &keys {
        assert!(resolves(path), "{path}");
    }
    for path in [
        "trusted_proxies[]",
        "upstreams.*",
        "listeners[]",
        "routes[].websocket",
        "routes[].websocket.ping",
        "routes[].websocket.ping.interval",
    ] {
        assert!(resolves(path), "{path}");
    }
    for path in [
        "",
        "listener",
        "listeners.address",
        "listeners[].tls[].certificates",
        "listeners[].tls.certificates.cert",
        "listeners[].tls.alpn[].h2",
        "routes[].websocket.pong",
        "routes[].websocket.ping[].interval",
        "upstreams.app.connect_timeout",
        "upstreams.connect_timeout",
        "upstreams[]",
        "limits.connections.x",
        "limits.connections[]",
        "limits.",
        "trusted_proxies[].x",
        "log.level ",
    ] {
        assert!(!resolves(path), "{path}");
    }
}

/// The row that `docs/configuration.md` has for a key.
fn row(path: &str, key: &dyn AnyKey) -> String {
    let kind = match key.shape() {
        Shape::Value(value) => value.words(),
        Shape::Section(Form::Mapping | Form::OptionalMapping, _) => "mapping".to_owned(),
        Shape::Section(Form::MappingOrOff, _) => "mapping or `off`".to_owned(),
        Shape::Section(Form::List | Form::OptionalList, _) => "list of mappings".to_owned(),
        Shape::Section(Form::Named, _) => "mapping from names to mappings".to_owned(),
    };
    let default = match key.default() {
        DefaultValue::Required => "required".to_owned(),
        DefaultValue::Word(word) => word.to_owned(),
        DefaultValue::Value(value) => format!("`{}`", written(&value)),
    };
    format!("| `{path}` | {kind} | {default} | {} |", key.about())
}

/// How a default is written.
fn written(value: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) if !items.is_empty() => {
            let items: Vec<_> = items.iter().map(written).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let expected: BTreeSet<_> = paths::keys()
        .iter()
        .map(|(path, key)| row(path, *key))
        .collect();
    let found: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect();
    for row in &found {
        let path = row.split('`').nth(1).unwrap();
        assert!(resolves(path), "{path}");
    }
    let missing: Vec<_> = expected.difference(&found).cloned().collect();
    let outdated: Vec<_> = found.difference(&expected).cloned().collect();
    assert!(
        missing.is_empty(),
        "missing:\n{}\nthere:\n{}",
        missing.join("\n"),
        outdated.join("\n")
    );
    assert!(outdated.is_empty(), "{}", outdated.join("\n"));
}

#[test]
fn the_examples_of_the_reference_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let examples: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert_eq!(lines_of(example), Vec::<String>::new(), "{example}");
    }
}

#[test]
fn the_report_of_the_reference_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let report: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("proxy.yaml:"))
        .collect();
    assert!(!report.is_empty());
    let faulty = shortest()
        .replace("origins:", "orgins:")
        .replace("upstream: app", "upstream: ap")
        .replace("http://127", "127");
    assert_eq!(report, lines_of(&faulty));
}
