//! The files of `tests/config/` and what they must lead to.

use super::*;

#[test]
fn every_invalid_file_gets_exactly_its_lines() {
    let files = files("invalid");
    assert!(files.len() >= 30, "only {} files", files.len());
    for (name, text) in files {
        assert!(text.contains("# expect: "), "{name} expects nothing");
        let outcome = parse(&text, Path::new(&name), &environment);
        assert_lines(&name, &text, &outcome);
        let has_errors = outcome
            .problems
            .iter()
            .any(|p| p.severity == Severity::Error);
        assert_eq!(outcome.config.is_none(), has_errors, "{name}");
    }
}

#[test]
fn ten_faults_are_reported_at_once() {
    let (name, text) = files("invalid")
        .into_iter()
        .find(|(name, _)| name == "ten_faults.yaml")
        .unwrap();
    assert_eq!(
        parse(&text, Path::new(&name), &environment).problems.len(),
        10
    );
}

#[test]
fn every_valid_file_is_read_and_gets_no_other_warnings_than_its_own() {
    let files = files("valid");
    assert!(files.len() >= 5, "only {} files", files.len());
    for (name, text) in files {
        let outcome = parse(&text, Path::new(&name), &environment);
        assert_lines(&name, &text, &outcome);
        assert!(outcome.config.is_some(), "{name}");
        assert_eq!(
            name.starts_with("warn_"),
            !outcome.problems.is_empty(),
            "{name}"
        );
    }
}

/// Compares the report on `outcome` with the lines `# expect: ` of the file.
fn assert_lines(name: &str, text: &str, outcome: &Outcome) {
    let expected: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# expect: "))
        .collect();
    let found = lines(outcome);
    // Not assert_eq: a report is easier to read as lines.
    assert!(
        expected == found,
        "{name}\nexpected:\n{}\nfound:\n{}",
        expected.join("\n"),
        found.join("\n")
    );
}

#[test]
fn shipped_files_get_no_warning() {
    let environment = |name: &str| {
        let value = match name {
            "LISTEN" => "0.0.0.0:8080",
            "PROBES" => "127.0.0.1:9900",
            "PORT" => "80",
            "APP_PORT" => "3000",
            "WX_APP_ID" => "wx0123456789abcdef",
            _ => return None,
        };
        Some(value.to_owned())
    };
    for name in [
        "proxy.yaml",
        "deploy/proxy.yaml",
        "deploy/express/proxy.yaml",
        "deploy/one-image/proxy.yaml",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let outcome = parse(&fs::read_to_string(&path).unwrap(), &path, &environment);
        assert_eq!(lines(&outcome), Vec::<String>::new());
        assert!(outcome.config.is_some(), "{name}");
    }
}

#[test]
fn problems_come_by_line() {
    for (name, text) in files("invalid") {
        let problems = parse(&text, Path::new(&name), &environment).problems;
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
    }
}

#[test]
fn certificates_are_listed_whatever_else_is_wrong() {
    let text = shortest()
        .replace("routes:", "rotues:")
        .replace("0.0.0.0:8443", "nowhere");
    let outcome = parse_text(&text);
    assert!(outcome.config.is_none());
    assert_eq!(outcome.certificates.len(), 1);
    assert_eq!(
        outcome.certificates[0].cert,
        Path::new("certs/fullchain.pem")
    );
}
