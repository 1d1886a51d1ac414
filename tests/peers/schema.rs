//! The JSON Schema: a validator compares it with the existing files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wsgate::config;

use crate::harness::proxy::SHIPPED;
use crate::tools::programs::{file, tool};

/// Files in `tests/config/invalid` whose fault is a key, a type or a word: all that a schema can detect.
const SEEN: &[&str] = &[
    "addresses",
    "app_ids",
    "count_as_text",
    "counts",
    "durations",
    "empty_inner_lists",
    "empty_lists",
    "endpoints",
    "foreign_key_names",
    "key_in_the_wrong_place",
    "log_words",
    "missing_keys",
    "missing_top_level_keys",
    "not_a_mapping",
    "nothing_behind_keys",
    "proxy_protocol",
    "remedies",
    "respond_values",
    "service_words",
    "sizes",
    "ten_faults",
    "text_without_quotes",
    "tls_values",
    "tunnel_settings",
    "unknown_key",
    "unknown_top_level_key",
    "upstream_name",
    "upstream_settings",
    "websocket_words",
    "wrong_kinds",
];

/// The faults that a validator finds in each document.
fn validated(documents: BTreeMap<String, Value>) -> BTreeMap<String, Vec<String>> {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string("proxy.schema.json").unwrap()).unwrap();
    let asked = json!({ "schema": schema, "documents": documents }).to_string();
    let mut python = Command::new(tool("WSGATE_PYTHON"))
        .arg(file("schema.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads everything before it writes.
    python
        .stdin
        .take()
        .unwrap()
        .write_all(asked.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let wrong: BTreeMap<String, Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(wrong.len(), documents.len());
    wrong
}

/// A file as an editor or a pipeline parses it, if it is YAML.
fn document(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::from_str(&text).ok()
}

fn documents(folder: &str) -> BTreeMap<String, Value> {
    let folder = Path::new("tests/config").join(folder);
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = paths.filter_map(|path| {
        let name = path.file_stem()?.to_str()?.to_owned();
        Some((name, document(&path)?))
    });
    named.collect()
}

#[test]
fn every_file_that_the_proxy_reads_passes() {
    let mut all = documents("valid");
    assert!(all.len() > 20, "only {} files", all.len());
    for shipped in SHIPPED {
        all.insert(shipped.to_owned(), document(Path::new(shipped)).unwrap());
    }
    for (name, wrong) in validated(all) {
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

#[test]
fn a_file_with_a_wrong_key_kind_or_word_fails() {
    let all = documents("invalid");
    for name in SEEN {
        assert!(all.contains_key(*name), "{name} is not there");
    }
    for (name, wrong) in validated(all) {
        let is_seen = SEEN.contains(&name.as_str());
        assert!(!is_seen || !wrong.is_empty(), "{name} passes");
    }
}

#[test]
fn single_values_are_told_apart() {
    let with = |more: Value| {
        let mut document = document(Path::new("tests/config/valid/shortest.yaml")).unwrap();
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        document
    };
    let good = [
        json!({ "limits": { "close_wait": "1m 30s", "header_bytes": "64 KiB", "connections": "${MOST}" } }),
        json!({ "limits": { "close_wait": "${WAIT}s", "header_bytes": 16384, "connections_per_client": "off" } }),
        json!({ "shutdown": { "delay": 0, "spread": "0s", "close_code": 4000, "grace_period": "off" } }),
        json!({ "shutdown": { "delay": "1.5s", "close_code": "1001" } }),
        json!({ "admin": { "address": "[::1]:9901" }, "probes": { "address": "0.0.0.0:${PROBES}" } }),
        json!({ "trusted_proxies": [] }),
        json!({ "shutdown": { "delay": "0.0s", "spread": "0s 0ms" } }),
        json!({ "limits": { "header_bytes": "64 KiB ", "close_wait": " 1.5s" } }),
        json!({ "admin": { "address": "[fe80::1%2]:9901" }, "probes": { "address": "0.0.0.0:65535" } }),
    ];
    let bad = [
        json!({ "limits": { "close_wait": 10 } }),
        json!({ "limits": { "close_wait": "10" } }),
        json!({ "limits": { "close_wait": "0s" } }),
        json!({ "limits": { "close_wait": "10S" } }),
        json!({ "limits": { "close_wait": "off" } }),
        json!({ "limits": { "close_wait": "10sec" } }),
        json!({ "limits": { "close_wait": "10us" } }),
        json!({ "limits": { "close_wait": "${WAIT" } }),
        json!({ "limits": { "header_bytes": "64KB" } }),
        json!({ "limits": { "connections": 0 } }),
        json!({ "limits": { "connections": 1.5 } }),
        json!({ "limits": { "connections": "off" } }),
        json!({ "limits": null }),
        json!({ "shutdown": { "delay": "off" } }),
        json!({ "shutdown": { "close_code": 1006 } }),
        json!({ "shutdown": { "grace": "30s" } }),
        json!({ "admin": { "address": "localhost:9901" } }),
        json!({ "admin": { "address": "127.0.0.1:65536" } }),
        json!({ "admin": { "address": "127.0.0.1:99999" } }),
        json!({ "log": { "level": "trace" } }),
        json!({ "upstreams": {} }),
        json!({ "routes": [] }),
    ];
    // The proxy itself agrees.
    for (values, is_good) in [(&good[..], true), (&bad[..], false)] {
        for value in values {
            let file = serde_json::to_string(&with(value.clone())).unwrap();
            let variable = |name: &str| match name {
                "PROBES" | "MOST" => Some("9900".to_owned()),
                "WAIT" => Some("5".to_owned()),
                _ => None,
            };
            let outcome = config::parse(&file, Path::new("proxy.yaml"), &variable);
            assert_eq!(
                outcome.config.is_some(),
                is_good,
                "{value} {:?}",
                outcome.problems
            );
        }
    }
    let named =
        |kind: &str, index: usize, value: &Value| (format!("{kind} {index}"), with(value.clone()));
    let all = good
        .iter()
        .enumerate()
        .map(|(at, value)| named("good", at, value));
    let all = all.chain(
        bad.iter()
            .enumerate()
            .map(|(at, value)| named("bad", at, value)),
    );
    for (name, wrong) in validated(all.collect()) {
        assert_eq!(
            wrong.is_empty(),
            name.starts_with("good"),
            "{name}: {wrong:?}"
        );
    }
}
