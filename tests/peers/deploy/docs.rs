//! The examples of docs/deploy.md.

use std::fs;

use serde_json::Value;

use super::certificate;
use super::kubernetes::manifest;
use crate::harness::proxy::knowing_the_authority;

/// The page's YAML blocks.
fn blocks() -> Vec<String> {
    let text = fs::read_to_string("docs/deploy.md").unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").unwrap().0.to_owned())
        .collect()
}

#[test]
fn whole_configurations_pass_their_check() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "app.example.com");
    let all = blocks();
    let whole: Vec<_> = all
        .iter()
        .filter(|block| block.starts_with("listeners:"))
        .collect();
    // The other one is for the metrics adapter.
    assert_eq!((whole.len(), all.len()), (3, 4));
    for yaml in whole {
        fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        let output = knowing_the_authority()
            .arg("check")
            .current_dir(folder.path())
            .env("PORT", "8080")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        // A warning would come before it.
        assert!(
            said.starts_with("proxy.yaml: ok: 1 listener, "),
            "{said}{yaml}"
        );
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_adapter_brings_the_metric_that_is_scaled_by() {
    let rule = blocks()
        .into_iter()
        .find(|block| block.starts_with("rules:"));
    let rule: Value = serde_yaml::from_str(&rule.unwrap()).unwrap();
    let rule = &rule["rules"][0];
    let metric = &manifest("hpa")["spec"]["metrics"][0]["pods"]["metric"]["name"];
    assert_eq!(&rule["name"]["as"], metric);
    let metric = metric.as_str().unwrap();
    let series = rule["seriesQuery"].as_str().unwrap();
    assert!(series.starts_with(&format!("{metric}{{")), "{series}");
}
