//! Metrics, alerts and the dashboard in Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::scrape::{Scrape, full};
use crate::tools::programs::tool;

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const ALERT_TESTS: &str = "deploy/prometheus/alerts.test.yaml";
const DASHBOARD: &str = "deploy/grafana/wsgate.json";

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(tool("WSGATE_PROMTOOL"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn content(output: &Output) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{}\n{said}", output.status);
}

#[test]
fn prometheus_own_linter_has_nothing_to_say_of_a_scrape() {
    let output = promtool(&["check", "metrics"], &full().text);
    content(&output);
    assert_eq!(output.stdout, b"");
    assert_eq!(output.stderr, b"");
    // The tool must be able to report something.
    let wrong = promtool(&["check", "metrics"], "# TYPE a_total gauge\na_total 1\n");
    assert!(!wrong.status.success());
}

#[test]
fn the_alert_rules_are_valid_and_fire_when_they_should() {
    content(&promtool(&["check", "rules", "--lint-fatal", ALERTS], ""));
    content(&promtool(&["test", "rules", ALERT_TESTS], ""));
    // Each of them is tested.
    let tests = fs::read_to_string(ALERT_TESTS).unwrap();
    for (name, ..) in alerts() {
        assert!(
            tests.contains(&format!("alertname=\"{name}\"")),
            "{name} is not in {ALERT_TESTS}"
        );
    }
}

/// The name, expression and annotations of each rule.
fn alerts() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(ALERTS).unwrap();
    let mut alerts = Vec::new();
    for rule in text.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("expr: ").unwrap();
        let end = ["\n        for: ", "\n        labels:"]
            .iter()
            .filter_map(|key| rest.find(key))
            .min()
            .unwrap();
        let (expression, rest) = rest.split_at(end);
        alerts.push((name.to_owned(), expression.to_owned(), rest.to_owned()));
    }
    alerts
}

/// Every expression of the dashboard, in its panels and variables.
fn dashboard() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("expr" | "query" | "definition", Value::String(text)) => {
                            into.push(text.clone());
                        }
                        _ => collect(value, into),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            _ => {}
        }
    }
    let text = fs::read_to_string(DASHBOARD).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    collect(&value, &mut found);
    // The type of the data source has the same key.
    found.retain(|text| text != "prometheus");
    found
}

/// The words of an expression, without its strings.
fn words(expression: &str) -> Vec<&str> {
    let bare = expression.split('"').step_by(2);
    bare.flat_map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect()
}

/// Compares an expression with the scrape; gives the metrics that it names.
#[track_caller]
fn holds(scrape: &Scrape, expression: &str) -> BTreeSet<String> {
    // Labels that Prometheus or its operator adds to every series.
    const ADDED: [&str; 4] = ["job", "instance", "namespace", "pod"];
    let is_metric = |word: &&str| word.starts_with("wsgate_") || word.starts_with("process_");
    let names: BTreeSet<_> = words(expression).into_iter().filter(is_metric).collect();
    let families: BTreeSet<_> = names.iter().map(|name| scrape.family(name)).collect();
    let mut labels: BTreeSet<&str> = ADDED.into();
    for family in &families {
        assert!(
            scrape.kinds.contains_key(family),
            "no {family}: {expression}"
        );
        let own = scrape.labels(family);
        assert!(!own.is_empty() || scrape.sum(family, &[]) >= 0.0);
        labels.extend(own);
    }
    // Labels are the words before a comparison in braces, and those in the parentheses of a grouping.
    let mut named = Vec::new();
    for selector in expression.split('{').skip(1) {
        let selector = selector.split('}').next().unwrap();
        for matcher in selector.split(',') {
            named.push(
                matcher
                    .split(['=', '!', '~'])
                    .next()
                    .unwrap()
                    .trim()
                    .to_owned(),
            );
        }
    }
    for grouping in ["by (", "without (", "on (", "ignoring (", "group_left ("] {
        for list in expression.split(grouping).skip(1) {
            let list = list.split(')').next().unwrap();
            named.extend(list.split(',').map(|label| label.trim().to_owned()));
        }
    }
    for label in named.iter().filter(|label| !label.is_empty()) {
        assert!(
            labels.contains(label.as_str()),
            "no label {label} on {families:?}: {expression}"
        );
    }
    families
}

#[test]
fn alerts_and_dashboard_ask_for_what_there_is() {
    let scrape = full();
    let alerts = alerts();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for (_, expression, _) in &alerts {
        assert!(!holds(scrape, expression).is_empty() || expression.contains("up{"));
    }
    let mut shown = BTreeSet::new();
    for expression in dashboard() {
        shown.extend(holds(scrape, &expression));
    }
    for name in [
        "wsgate_handshakes_total",
        "wsgate_tunnels_open",
        "wsgate_tunnels_ended_total",
        "wsgate_stage_duration_seconds",
        "wsgate_tunnel_bytes_total",
        "wsgate_upstream_healthy",
        "wsgate_certificate_expiry_timestamp_seconds",
        "wsgate_records_suppressed_total",
        "wsgate_records_dropped_total",
        "wsgate_config_reloads_total",
    ] {
        assert!(shown.contains(name), "no panel shows {name}");
    }
}

#[test]
fn prometheus_understands_every_panel() {
    let mut rules = "groups:\n  - name: panels\n    rules:\n".to_owned();
    let mut count = 0;
    for expression in dashboard() {
        if expression.starts_with("label_values(") {
            continue;
        }
        count += 1;
        let expression = expression.replace("$__rate_interval", "5m");
        let quoted = serde_json::to_string(&expression).unwrap();
        rules += &format!("      - record: panel:{count}\n        expr: {quoted}\n");
    }
    assert!(count >= 20, "{count}");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rules).unwrap();
    content(&promtool(
        &["check", "rules", file.path().to_str().unwrap()],
        "",
    ));
}

#[test]
fn every_alert_says_what_to_do_with_commands_that_exist() {
    for (name, _, rest) in alerts() {
        for key in ["summary: ", "description: ", "action: ", "severity: "] {
            assert!(rest.contains(key), "{name} has no {key}");
        }
        let action = rest.split("action: ").nth(1).unwrap();
        assert!(
            ["wsgate ", "jq "].iter().any(|tool| action.contains(tool)),
            "{name}: {action}"
        );
        for said in action.split("wsgate explain").skip(1) {
            let code = said
                .trim_start()
                .split([' ', '`', '\n', ',', ';'])
                .next()
                .unwrap();
            // CODE stands for a code from a record.
            let known = code == "CODE" || code.parse::<wsgate::reason::Reason>().is_ok();
            assert!(known, "{name}: {code}");
        }
    }
}
