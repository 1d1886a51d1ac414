//! Checks what ARCHITECTURE.md says about the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file without its tests: as many as can be read in one sitting.
const LINES: usize = 450;

/// Longer files, and why they are.
const LONGER: &[(&str, usize)] = &[
    // One table, and what is said of its entries.
    ("reason.rs", 855),
    // One check of RFC 6455 after the other.
    ("http/opening.rs", 465),
];

/// Which modules of the crate each one may name: the table of "Who may use whom".
const MAY_USE: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("moment", &[]),
    // The languages of its texts.
    ("reason", &["text"]),
    // What is counted, in the words of the records.
    ("metrics", &["reason"]),
    ("stream", &[]),
    // What of a peer's bytes may be shown.
    ("secrets", &["text"]),
    ("policy", &["reason", "secrets", "text"]),
    ("config", &["policy", "reason", "text"]),
    // A setting decides how much of an address is written.
    ("record", &["config", "metrics", "moment", "reason", "text"]),
    ("limits", &["reason", "text"]),
    ("listener", &["limits", "reason", "secrets", "stream"]),
    // The first bytes, which the listener has read.
    (
        "tls",
        &[
            "config", "listener", "policy", "reason", "record", "secrets", "stream", "text",
        ],
    ),
    ("http", &["policy", "reason", "secrets", "stream", "text"]),
    // The form of HTTP/1.1 that a request over HTTP/2 gets, and whether a broken stream is TLS's doing.
    (
        "http2",
        &["http", "policy", "reason", "secrets", "stream", "tls"],
    ),
    // The checked opening handshake that the permit is for, and how many first bytes are kept.
    (
        "upstream",
        &[
            "config", "http", "listener", "policy", "reason", "record", "secrets", "stream",
            "text", "tls",
        ],
    ),
    // Whether a broken stream is TLS's or HTTP/2's doing; where what passes is counted.
    (
        "tunnel",
        &[
            "config", "http2", "metrics", "moment", "policy", "reason", "record", "secrets",
            "stream", "tls",
        ],
    ),
    // What each route needs at run time hangs on it.
    (
        "generation",
        &["config", "metrics", "policy", "tls", "tunnel", "upstream"],
    ),
    (
        "connection",
        &[
            "config",
            "generation",
            "http",
            "http2",
            "limits",
            "listener",
            "moment",
            "policy",
            "reason",
            "record",
            "secrets",
            "stream",
            "text",
            "tls",
            "tunnel",
            "upstream",
        ],
    ),
    // Its sockets are bound as the listener's are.
    (
        "admin",
        &[
            "generation",
            "limits",
            "listener",
            "metrics",
            "reason",
            "record",
            "text",
        ],
    ),
    (
        "server",
        &[
            "admin",
            "config",
            "connection",
            "generation",
            // The name of this process in Via.
            "http",
            "limits",
            "listener",
            "policy",
            "reason",
            "record",
            "text",
            "tls",
            "upstream",
        ],
    ),
    // It checks an upstream's answer as the proxy does, and reads its frames.
    (
        "diagnose",
        &[
            "http", "reason", "secrets", "text", "tls", "tunnel", "upstream",
        ],
    ),
    // What a route serves, for the addresses that it says at its start; what takes the words of the HTTP/2 library out of
    // the log.
    (
        "cli",
        &[
            "config", "diagnose", "http2", "policy", "reason", "record", "server", "text", "tls",
        ],
    ),
];

/// Both sides of the proxy, and its services, which use plain HTTP and pass nothing on.
const HYPER: &[&str] = &["http.rs", "http/", "upstream.rs", "upstream/", "admin.rs"];

/// A name, and the only files that may contain it: files, or folders with a slash at the end.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rustls", &["tls.rs", "tls/", "stream.rs"]),
    ("tokio_rustls", &["tls.rs", "tls/", "stream.rs"]),
    ("rustls_pemfile", &["tls/identity.rs", "tls/pem.rs"]),
    ("x509_parser", &["tls.rs", "tls/"]),
    ("rcgen", &["tls.rs", "tls/"]),
    (
        "rustls_native_certs",
        &["tls/client.rs", "tls/probe.rs", "tls/roots.rs"],
    ),
    ("hyper", HYPER),
    ("hyper_util", HYPER),
    ("h2::", &["http2.rs", "http2/", "stream/http2.rs"]),
    ("tokio_tungstenite", &["upstream/echo.rs"]),
    ("serde_yaml", &["config/yaml.rs"]),
    ("clap", &["cli.rs", "cli/"]),
    ("ratatui", &["cli/top/"]),
    ("unicode_width", &["cli/top/cells.rs"]),
    ("println", &[]),
    ("eprintln", &[]),
    ("process::exit", &["cli/signals.rs"]),
    ("dns_lookup", &["upstream/names.rs"]),
    ("TcpListener", &["listener.rs", "listener/inherited.rs"]),
    ("listenfd", &["listener/inherited.rs"]),
    ("sd_notify", &["server/notify.rs"]),
];

/// Names of the network and the clock, which pure modules must not use.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "Instant",
    "SystemTime",
    "thread",
];

/// A file of `src`.
struct Source {
    /// Relative to `src`.
    name: String,
    /// Without tests and without comments.
    code: Vec<String>,
    /// Without tests.
    lines: usize,
}

impl Source {
    /// The module of the crate's root that it belongs to.
    fn module(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.ends_with('/') {
            true => self.name.starts_with(place),
            false => self.name == *place,
        })
    }

    /// The names after `use super::`, of modules and of what is in them.
    fn siblings(&self) -> Vec<String> {
        let code = self.code.join("\n");
        let statements = code.split("use super::").skip(1);
        let names = statements.filter_map(|rest| rest.split(';').next());
        names
            .flat_map(|names| names.split([',', '{', '}']))
            .filter_map(|path| path.trim().split("::").next())
            .map(str::to_owned)
            .collect()
    }

    /// The first line of code that has `name` as a whole word, or a path that begins with it if it ends with `::`.
    fn naming(&self, name: &str) -> Option<&str> {
        let is_word = |at: Option<char>| at.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let stands = |line: &str| {
            line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], &line[at + name.len()..]);
                let ends = name.ends_with("::") || !is_word(after.chars().next());
                !is_word(before.chars().last()) && ends
            })
        };
        self.code
            .iter()
            .map(String::as_str)
            .find(|line| stands(line))
    }
}

/// The Rust files below a folder.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// All of `src`, except what is compiled only for tests.
fn sources() -> Vec<Source> {
    let is_tests = |path: &PathBuf| {
        path.iter()
            .any(|part| part == "tests" || part == "tests.rs")
    };
    let files = rust_files("src").into_iter();
    let sources: Vec<_> = files.filter(|path| !is_tests(path)).collect();
    assert!(sources.len() > 40, "the source was not found");
    sources.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let own = without_tests(&text);
    let lines = own.len();
    let code = own
        .into_iter()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned())
        .collect();
    Source {
        name: path.strip_prefix("src").unwrap().display().to_string(),
        code,
        lines,
    }
}

/// The lines of a file without items that are compiled only for tests. An item with a body ends with a brace that has
/// the same indentation as its first line; any other ends with a semicolon.
fn without_tests(text: &str) -> Vec<&str> {
    const WITHOUT_BODY: &[&str] = &["const", "static", "type", "use"];
    let mut own = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.strip_suffix("#[cfg(test)]") else {
            own.push(line);
            continue;
        };
        let closing = format!("{indent}}}");
        let first = lines.find(|line| !line.trim_start().starts_with("#["));
        let first = first.expect("an item behind its attributes");
        let words = first.trim_start().trim_start_matches("pub ").split(' ');
        let has_body = !words.take(1).any(|word| WITHOUT_BODY.contains(&word));
        let is_over = first.ends_with(';')
            || lines.any(|line| match has_body {
                true => line == closing,
                false => line.ends_with(';'),
            });
        assert!(is_over, "an item of tests has no end: {first}");
    }
    own
}

#[test]
fn what_is_compiled_for_tests_alone_is_left_out_and_nothing_else() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nuse b;\n\
        impl C {\n    #[cfg(test)]\n    fn d() {\n        e;\n    }\n    fn f() {}\n}\n\
        #[cfg(test)]\n#[allow(i)]\nmod more {\n    use g;\n    const J: &str = \"k\n;\";\n}\nuse h;";
    assert_eq!(
        without_tests(text),
        [
            "use a;",
            "use b;",
            "impl C {",
            "    fn f() {}",
            "}",
            "use h;"
        ]
    );
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let module = source.module().to_owned();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        for line in &source.code {
            for after in line.split("crate::").skip(1) {
                let name = after
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                assert!(
                    !name.is_empty(),
                    "{}: name modules one by one: {line}",
                    source.name
                );
                if name != module {
                    used.entry(module.clone())
                        .or_default()
                        .insert(name.to_owned());
                }
            }
        }
    }
    for (module, used) in &used {
        // Shown with `--nocapture`.
        println!(
            "{module}: {}",
            Vec::from_iter(used.iter().map(String::as_str)).join(", ")
        );
        let may = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module} is not in the table"));
        for name in used {
            assert!(
                may.contains(&name.as_str()),
                "{module} uses {name}, which does not stand below it"
            );
        }
    }
    // An edge that is allowed but not used would hide its return.
    for (module, may) in MAY_USE {
        let used = used.get(*module).cloned().unwrap_or_default();
        for name in may.iter().filter(|name| **name != "record") {
            assert!(
                used.contains(*name),
                "{module} does not use {name} any more: take it out of the table"
            );
        }
    }
}

/// Two files that need each other are one file in two places.
#[test]
fn no_two_files_of_a_folder_use_each_other() {
    let sources = sources();
    let names: BTreeSet<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let uses: BTreeSet<_> = sources
        .iter()
        .flat_map(|source| {
            let folder = source.name.rfind('/').map_or("", |at| &source.name[..=at]);
            let siblings = source.siblings().into_iter();
            siblings.map(move |module| (source.name.clone(), format!("{folder}{module}.rs")))
        })
        .filter(|(user, used)| user != used && names.contains(used.as_str()))
        .collect();
    assert!(uses.len() > 100, "the uses were not found: {}", uses.len());
    for (user, used) in &uses {
        let back = (used.clone(), user.clone());
        assert!(!uses.contains(&back), "{user} and {used} use each other");
    }
}

#[test]
fn the_table_of_uses_has_no_circle() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut placed = BTreeSet::new();
    while placed.len() < table.len() {
        let next: Vec<_> = table
            .iter()
            .filter(|(name, uses)| {
                !placed.contains(*name) && uses.iter().all(|used| placed.contains(used))
            })
            .map(|(name, _)| *name)
            .collect();
        assert!(
            !next.is_empty(),
            "the modules other than {placed:?} form a circle"
        );
        placed.extend(next);
    }
}

#[test]
fn libraries_are_named_in_their_places_only() {
    let sources = sources();
    for (name, places) in ONLY_IN {
        let mut found = false;
        for source in &sources {
            if let Some(line) = source.naming(name) {
                found = true;
                assert!(source.is_in(places), "{} names {name}: {line}", source.name);
            }
        }
        assert!(
            found || places.is_empty(),
            "nothing names {name} any more: take it out of the table"
        );
    }
}

#[test]
fn policy_and_configuration_know_no_network_and_no_clock() {
    for source in sources() {
        if matches!(source.module(), "policy" | "config" | "reason") {
            for name in IMPURE {
                let line = source.naming(name);
                assert_eq!(line, None, "{} names {name}", source.name);
            }
        }
    }
}

#[test]
fn nothing_is_unsafe() {
    for source in sources() {
        assert_eq!(source.naming("unsafe"), None, "{}", source.name);
    }
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
}

#[test]
fn files_can_be_read_at_a_stretch() {
    for source in sources() {
        let longer = LONGER.iter().find(|(name, _)| *name == source.name);
        let most = longer.map_or(LINES, |(_, lines)| *lines);
        assert!(
            source.lines <= most,
            "{} has {} lines, more than {most}",
            source.name,
            source.lines
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources() {
        let text = fs::read_to_string(Path::new("src").join(&source.name)).unwrap();
        assert!(text.starts_with("//! "), "{} has no header", source.name);
    }
}

#[test]
fn the_map_has_every_module() {
    let map = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for source in sources() {
        let name = &source.name;
        let by_file = map.contains(&format!("`{name}`")) || map.contains(&format!("`src/{name}`"));
        let folder = name.split_once('/').map(|(folder, _)| folder);
        let by_folder = folder.is_some_and(|folder| map.contains(&format!("`{folder}/`")));
        let by_module = map.contains(&format!("`{}`", source.module()));
        let is_root = matches!(source.module(), "lib" | "main");
        assert!(
            by_file || by_folder || by_module || is_root,
            "ARCHITECTURE.md does not know {name}"
        );
    }
    // In the other direction: every file on the map exists.
    for named in map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|named| named.ends_with(".rs"))
    {
        let places = [format!("src/{named}"), named.to_owned()];
        assert!(
            places.iter().any(|place| Path::new(place).exists()),
            "there is no {named}"
        );
    }
}

/// `cargo test` alone passes on a machine with only Rust, a C compiler and make.
#[test]
fn tests_that_need_other_programs_are_in_the_suite_for_them() {
    // The shell and coreutils, which every build needs.
    const THERE: &[&str] = &["sh", "mkfifo"];
    let files = [rust_files("tests/it"), rust_files("tests/harness")].concat();
    assert!(files.len() > 80, "the tests were not found");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let started = text.split("Command::new(\"").skip(1);
        let programs: Vec<_> = started.filter_map(|rest| rest.split('"').next()).collect();
        for name in programs {
            assert!(THERE.contains(&name), "{} starts {name}", path.display());
        }
    }
}

/// One or two words only name what is tested. They do not state the expected behaviour.
#[test]
fn names_of_tests_are_sentences() {
    let mut count = 0;
    for path in ["src", "tests/it", "tests/peers", "bench"]
        .map(rust_files)
        .concat()
    {
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().map(str::trim_start);
        while let Some(line) = lines.next() {
            if !line.starts_with("#[test]") && !line.starts_with("#[tokio::test") {
                continue;
            }
            let is_function = |line: &&str| !line.starts_with("#[");
            let function = lines.find(is_function).expect("the test");
            let (_, name) = function.split_once("fn ").expect(function);
            let name = name.split('(').next().unwrap();
            assert!(name.split('_').count() > 2, "{}: {name}", path.display());
            count += 1;
        }
    }
    assert!(count > 900, "{count}");
}

#[test]
fn what_readers_look_for_first_is_there() {
    for (file, part) in [
        ("README.md", "wsgate"),
        ("CHANGELOG.md", "## Unreleased"),
        ("CONTRIBUTING.md", "## Where things go"),
        ("ARCHITECTURE.md", "Who may use whom"),
        ("docs/records.md", "| event | meaning |"),
        ("docs/reasons.md", "internal_aborted"),
        ("docs/reasons.zh-CN.md", "internal_aborted"),
        ("SECURITY.md", "## Reporting"),
    ] {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(part), "{file} has no {part:?}");
    }
}

#[test]
fn ci_and_the_image_build_with_the_oldest_rust_that_is_promised() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let version = manifest.split("rust-version = \"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    for (file, line) in [
        ("deploy/Dockerfile", format!("FROM rust:{version}-")),
        (
            ".github/workflows/ci.yml",
            format!("image: rust:{version}-"),
        ),
        ("bench/Cargo.toml", format!("rust-version = \"{version}\"")),
        ("README.md", format!("Rust {version} or newer")),
        ("README.zh-CN.md", format!("Rust {version}")),
        ("CONTRIBUTING.md", format!("Rust {version} or newer")),
    ] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&line), "{file} does not say {line:?}");
    }
}
