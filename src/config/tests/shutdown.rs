//! `shutdown`: its times and its close code.

use super::*;

/// The shortest file with `more` at its end, and what is said of it without the place.
fn with(more: &str) -> (Option<Config>, Vec<String>) {
    let outcome = parse_text(&(shortest() + more));
    let said = |problem: &Problem| {
        let line = problem.to_string();
        line.splitn(4, ':').nth(3).unwrap().trim().to_owned()
    };
    let said = outcome.problems.iter().map(said).collect();
    (outcome.config, said)
}

#[test]
fn the_times_of_a_shutdown_fit_each_other() {
    // In milliseconds: delay, drain, spread.
    for (keys, times) in [
        ("delay: 0s", (0, 20_000, 5000)),
        ("delay: 0", (0, 20_000, 5000)),
        ("delay: 10s, spread: 0s", (10_000, 20_000, 0)),
        ("spread: 15s", (0, 20_000, 15_000)),
        ("drain: 12s", (0, 12_000, 5000)),
        // What is not written gives way.
        ("drain: 8s", (0, 8000, 3000)),
        ("drain: 5s", (0, 5000, 0)),
    ] {
        let (config, said) = with(&format!("shutdown: {{ {keys} }}\n"));
        assert_eq!(said, Vec::<String>::new(), "{keys}");
        let shutdown = config.unwrap().shutdown;
        let found = [shutdown.delay, shutdown.drain, shutdown.spread];
        let found = found.map(|time| time.as_millis());
        assert_eq!(found, [times.0, times.1, times.2], "{keys}");
    }
    for (more, line) in [
        (
            "shutdown: { spread: 21s }",
            "error: shutdown.spread: found 21s, longer than shutdown.drain (20s), after which every tunnel is cut",
        ),
        (
            "shutdown: { drain: 3s, spread: 4s }",
            "error: shutdown.spread: found 4s, longer than shutdown.drain (3s), after which every tunnel is cut",
        ),
        (
            "shutdown: { spread: 16s }",
            "warning: shutdown.spread: shutdown.spread (16s) and limits.close_wait (5s) take longer than shutdown.drain (20s), which may cut tunnels before they have answered their Close",
        ),
        (
            "shutdown: { drain: 4s }",
            "warning: shutdown.drain: shutdown.spread (0s) and limits.close_wait (5s) take longer than shutdown.drain (4s), which may cut tunnels before they have answered their Close",
        ),
        (
            "limits: { close_wait: 21s }",
            "warning: limits: shutdown.spread (0s) and limits.close_wait (21s) take longer than shutdown.drain (20s), which may cut tunnels before they have answered their Close",
        ),
        (
            "shutdown: { delay: off }",
            "error: shutdown.delay: found \"off\", expected a duration such as 10s, 500ms, 2m or 1h, or 0s; write 0s",
        ),
        (
            "shutdown: { drain: 0s, spread: 30s }",
            "error: shutdown.drain: found \"0s\", expected more than zero; write 1s",
        ),
        (
            "shutdown: { drain: 3s, spread: 5 }",
            "error: shutdown.spread: found the number 5, expected a duration such as 10s, 500ms, 2m or 1h, or 0s; write 5s",
        ),
    ] {
        let (config, said) = with(&format!("{more}\n"));
        assert_eq!(said, [line], "{more}");
        assert_eq!(config.is_some(), line.starts_with("warning"), "{more}");
    }
}

#[test]
fn close_codes_are_those_that_fit_a_shutdown() {
    let with_code = |code: &str| with(&format!("shutdown: {{ close_code: {code} }}\n"));
    for code in [1000, 1001, 1012, 1013, 3000, 4000, 4999] {
        let (config, said) = with_code(&code.to_string());
        assert_eq!(said, Vec::<String>::new(), "{code}");
        assert_eq!(config.unwrap().shutdown.close_code, code);
    }
    let wire = ", which is never sent (RFC 6455 section 7.4.1)";
    let fault = ", which means a fault, not a shutdown";
    let other = ", which programs may not send (RFC 6455 section 7.4.2)";
    for (code, why) in [
        ("1004", wire),
        ("1005", wire),
        ("1006", wire),
        ("1015", wire),
        ("1002", fault),
        ("1003", fault),
        ("1011", fault),
        ("1014", fault),
        ("0", other),
        ("999", other),
        ("1016", other),
        ("2999", other),
        ("5000", other),
        ("65536", ""),
        ("-1", ""),
    ] {
        let (config, said) = with_code(code);
        let line = format!(
            "error: shutdown.close_code: found the number {code}{why}, expected 1000, 1001, 1012, 1013 or 3000 to 4999"
        );
        assert_eq!(said, [line]);
        assert!(config.is_none());
    }
    let (_, said) = with_code("going away");
    assert!(
        said[0].contains("found \"going away\", expected 1000"),
        "{said:?}"
    );
}
