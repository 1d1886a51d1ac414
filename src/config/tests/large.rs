//! Hostile and large files: what they cost, and how many problems are reported.

use std::time::Duration;

use super::*;

/// The result of `work`, and the processor's time that it takes.
fn costing<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    };
    let before = now();
    let done = work();
    (done, now() - before)
}

#[test]
fn hostile_files_end_soon_and_in_words() {
    let plain = format!("a:\n{}", "  - x\n".repeat(90_000));
    let (_, whole) = costing(|| lines_of(&plain));
    let bomb: String = (1..12)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 20].join(", ")
            )
        })
        .collect();
    let bomb = format!("a0: &a0 [x, x, x, x]\n{bomb}");
    let deep = 200_000;
    let large = 1024 * 1024;
    let directives: String = (0..50_000).map(|n| format!("%TAG !a{n}! b\n")).collect();
    let many = |line: fn(usize) -> String| (0..30_000).map(line).collect::<String>();
    let cases = [
        (bomb, "too many values"),
        ("[".repeat(10_000), "nested too deeply"),
        ("[".repeat(large), "too many for a file of this size"),
        ("[,".repeat(large / 2), "too many for a file"),
        ("[a: ".repeat(large / 4), "too many for a file"),
        ("[\n".repeat(large / 2), "too many for a file"),
        ("{a: [".repeat(large / 5), "too many for a file"),
        ("[ #]\n".repeat(large / 5), "too many for a file"),
        (
            format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
            "nested too deeply",
        ),
        (
            "[a: ".repeat(5_000) + &"a,".repeat(400_000),
            "too many for a file",
        ),
        (directives + "--- a", "more than 16 lines that start with %"),
        ("--- a\n".repeat(large / 6), "a second YAML document"),
        ("- ? ".repeat(large / 4), "as a key"),
        (
            format!(
                "a: &a {}\nb:\n{}",
                "x".repeat(large / 2),
                "- *a\n".repeat(50_000)
            ),
            "too much text",
        ),
        (
            format!(
                "a: &a [{}]\nb:\n{}",
                "x,".repeat(1_000),
                "- *a\n".repeat(50_000)
            ),
            "too many values",
        ),
        (many(|n| format!("key_{n}: 1\n")), "more problems"),
        (
            "trusted_proxies:\n".to_owned() + &many(|n| format!("  - {n}.0.0.0/240\n")),
            "more problems",
        ),
        (
            "routes:\n  - path: /a\n    websocket:\n      origins:\n".to_owned()
                + &many(|n| format!("        - https://a{n}.example\n")),
            "missing required key",
        ),
        (
            "routes:\n  - path: /a\n    websocket:\n      subprotocols:\n".to_owned()
                + &many(|n| format!("        - a{n}\n")),
            "missing required key",
        ),
        (
            format!("a: \"{}\"", "x\n ".repeat(large / 4)),
            "unknown key",
        ),
        (format!("a: {}", "x\n ".repeat(large / 4)), "unknown key"),
        (format!("a: |\n{}", " x\n".repeat(large / 4)), "unknown key"),
        ("- ".repeat(deep), "nested too deeply"),
        ("{a: ".repeat(deep / 2), "too many for a file"),
        ("{a: ".repeat(10_000), "nested too deeply"),
        ("? ".repeat(deep), "as a key"),
        ("a: &a [*a]\n".to_owned(), "nested too deeply"),
        ("!a ".repeat(deep / 2), "a YAML tag"),
        ("x: 1\n".repeat(deep / 3), "too many values"),
        ("x: 1\n".repeat(5_000), "more problems"),
        (
            format!("listeners: [{}]", "1, ".repeat(deep)),
            "too many values",
        ),
        (format!("a: {}", "*".repeat(deep)), "reads as an alias"),
        (format!("{}: 1", "k".repeat(deep)), "not valid YAML"),
        (
            format!("routes: \"{}\"", "$".repeat(deep)),
            "expected a list",
        ),
    ];
    for (text, words) in cases {
        let start = text.chars().take(20).collect::<String>();
        let (lines, cost) = costing(|| lines_of(&text));
        assert!(
            lines.iter().any(|line| line.contains(words)),
            "{start}: {lines:?}"
        );
        assert!(
            lines.len() <= 201 && lines.iter().all(|line| line.len() < 1000),
            "{start}"
        );
        assert!(
            cost < whole * 150,
            "{start}: {cost:?}, where an ordinary large file takes {whole:?}"
        );
    }
}

/// The processor's time that a valid configuration takes, the least of two: other work on the machine can only add to it.
fn cost(text: &str) -> Duration {
    let measured = (0..2).map(|_| {
        let (outcome, cost) = costing(|| parse(text, Path::new("proxy.yaml"), &|_| None));
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let error = outcome.problems.iter().find(is_error);
        assert!(error.is_none(), "{error:?}");
        cost
    });
    measured.min().unwrap()
}

/// No rule holds each entry of a list against each other one: eight times as many cost eight times as much, not 64 times.
#[test]
fn a_long_list_costs_in_proportion_to_its_length() {
    const UPSTREAM: &str = "upstreams: { app: { endpoints: [http://127.0.0.1:1] } }\n";
    const LISTENER: &str = "listeners: [{ address: 127.0.0.1:0 }]\n";
    const ROUTE: &str = "routes: [{ path: /a, respond: {} }]\n";
    /// What comes before it, how many, an entry, what comes after it.
    type List = (&'static str, usize, fn(usize) -> String, &'static str);
    let lists: [List; 7] = [
        (
            "listeners:\n",
            2_000,
            |n| format!("  - address: 127.0.0.1:{}\n", n + 1),
            ROUTE,
        ),
        (
            "listeners:\n",
            2_000,
            |n| format!("  - address: 127.1.{}.{}:80\n", n / 256, n % 256),
            ROUTE,
        ),
        (
            "routes:\n",
            1_500,
            |n| format!("  - {{ path: /{n}, respond: {{}} }}\n"),
            LISTENER,
        ),
        (
            "routes:\n",
            1_500,
            |n| format!("  - {{ host: a{n}.example, path: /a, respond: {{}} }}\n"),
            LISTENER,
        ),
        (
            "trusted_proxies:\n",
            4_000,
            |n| format!("  - 10.1.{}.{}\n", n / 256, n % 256),
            "listeners: [{ address: 127.0.0.1:0 }]\nroutes: [{ path: /a, respond: {} }]\n",
        ),
        (
            "routes:\n  - path: /a\n    upstream: app\n    websocket:\n      origins:\n",
            2_000,
            |n| format!("        - https://a{n}.example\n"),
            LISTENER,
        ),
        (
            "routes:\n  - path: /a\n    upstream: app\n    http:\n      methods:\n",
            2_000,
            |n| format!("        - A{n}\n"),
            LISTENER,
        ),
    ];
    for (begin, count, entry, end) in lists {
        let text = |count| {
            let entries = (0..count).map(entry);
            UPSTREAM.to_owned() + begin + &entries.collect::<String>() + end
        };
        let (few, many) = (cost(&text(count)), cost(&text(8 * count)));
        assert!(many < few * 24, "{begin}: {few:?}, then {many:?}");
    }
}

#[test]
fn many_problems_are_counted_when_not_shown() {
    let text: String = (0..300).map(|n| format!("key_{n}: 1\n")).collect();
    let lines = lines_of(&text);
    assert_eq!(lines.len(), 201);
    // 300 unknown keys and 3 missing ones.
    assert_eq!(
        lines[200],
        "proxy.yaml:200:1: error: found 103 more problems; they are shown when these are fixed"
    );
}

#[test]
fn many_warnings_are_counted() {
    let route = |n| format!("  - {{ path: /api/{n}, respond: {{}} }}\n");
    let text = "listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { a: { endpoints: [builtin:echo] } }\nroutes:\n  - { path: /*, respond: {} }\n";
    let text: String = text.to_owned() + &(0..2000).map(route).collect::<String>();
    let outcome = parse_text(&text);
    let lines = lines(&outcome);
    assert!(
        outcome.config.is_some() && lines.len() == 201,
        "{}",
        lines.len()
    );
    // One more is about the upstream that nothing leads to.
    assert!(
        lines[200].contains("warning: found 1801 more problems"),
        "{}",
        lines[200]
    );
}
