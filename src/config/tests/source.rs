//! Reading files, and the places of what was found in them.

use super::super::yaml::{self, Aim, Node};
use super::*;

#[test]
fn a_source_places_what_others_find() {
    let outcome = parse_text(&shortest());
    let at = |site: &str| {
        let problem = outcome
            .source
            .problem(Severity::Error, site, "cannot be read");
        (problem.line, problem.column)
    };
    let site = "listeners[0].tls.certificates[0]";
    assert_eq!(at(site), (5, 11));
    assert_eq!(at(&format!("{site}.cert")), (5, 19));
    assert_eq!(at(&format!("{site}.key")), (5, 45));
    assert_eq!(at(&format!("{site}.chain")), (5, 11));
    assert_eq!(at("listeners[7].tls"), (2, 3));
    assert_eq!(at("nowhere"), (1, 1));
    let problem = outcome
        .source
        .problem(Severity::Error, &format!("{site}.cert"), "is empty");
    assert_eq!(
        problem.to_string(),
        "proxy.yaml:5:19: error: listeners[0].tls.certificates[0].cert: is empty"
    );
}

#[test]
fn a_source_tells_names_with_dots_apart() {
    let text = "upstreams:\n  a: { endpoints: 1 }\n  a.b: { endpoints: 2 }\n";
    let outcome = parse_text(text);
    let problem = outcome
        .source
        .problem(Severity::Warning, "upstreams.a.b.endpoints", "");
    assert_eq!((problem.line, problem.column), (3, 21));
}

#[test]
fn locate_finds_keys_values_and_items() {
    let text = "a: 1\nb:\n  - x\n  - { c: é, d: [y, z] }\n? e\n: &n {f: 2}\ng: *n\n";
    let at = |path: &[usize], aim| yaml::locate(text, path, aim);
    assert_eq!(at(&[], Aim::Value), Some((1, 1)));
    assert_eq!(at(&[0], Aim::Key), Some((1, 1)));
    assert_eq!(at(&[0], Aim::Value), Some((1, 4)));
    assert_eq!(at(&[1], Aim::Key), Some((2, 1)));
    assert_eq!(at(&[1], Aim::Value), Some((3, 3)));
    assert_eq!(at(&[1, 0], Aim::Value), Some((3, 5)));
    assert_eq!(at(&[1, 1], Aim::Value), Some((4, 5)));
    assert_eq!(at(&[1, 1, 1], Aim::Key), Some((4, 13)));
    assert_eq!(at(&[1, 1, 1, 1], Aim::Value), Some((4, 20)));
    assert_eq!(at(&[2], Aim::Key), Some((5, 3)));
    assert_eq!(at(&[3], Aim::Key), Some((7, 1)));
    // What an alias stands for is where it was written.
    assert_eq!(at(&[3, 0], Aim::Value), Some((6, 10)));
}

#[test]
fn the_tree_keeps_what_yaml_says() {
    let text = "a: [1, -2, 1.5, true, ~, 'on', on, \"12\", 0x10, 007]\n12: {}\n";
    let number = |text: &str| Node::Number(text.to_owned());
    let word = |text: &str| Node::Text(text.to_owned());
    let list = vec![
        number("1"),
        number("-2"),
        number("1.5"),
        Node::Bool(true),
        Node::Null,
        word("on"),
        word("on"),
        word("12"),
        number("16"),
        word("007"),
    ];
    assert_eq!(
        yaml::parse(text),
        Ok(Node::Map(vec![
            ("a".to_owned(), Node::List(list)),
            ("12".to_owned(), Node::Map(Vec::new())),
        ]))
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let line = |path: &Path| {
        let outcome = read(path);
        assert!(outcome.config.is_none());
        let lines = lines(&outcome);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].replace(&format!("{}/", folder.path().display()), "")
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    assert_eq!(
        line(&folder.path().join("none.yaml")),
        "none.yaml:1:1: error: found no such file; name the file with --config"
    );
    fs::create_dir(folder.path().join("sub")).unwrap();
    assert_eq!(
        line(&folder.path().join("sub")),
        "sub:1:1: error: found a folder, expected a file; name the file in it with --config"
    );
    assert_eq!(
        line(&write("latin.yaml", b"log:\n  level: caf\xe9\n")),
        "latin.yaml:2:13: error: found a byte that is not UTF-8; save the file as UTF-8"
    );
    assert_eq!(
        line(&write("large.yaml", " ".repeat(1024 * 1024 + 1).as_bytes())),
        "large.yaml:1:1: error: found more than 1 MiB, the limit for a configuration"
    );
    assert_eq!(
        line(&write("empty.yaml", b"")),
        "empty.yaml:1:1: error: the file is empty, expected the keys listeners, routes, upstreams"
    );
}

#[test]
fn a_file_with_a_byte_order_mark_and_other_line_ends_is_read() {
    let text = format!("\u{feff}{}", shortest().replace('\n', "\r\n"));
    assert_eq!(lines_of(&text), Vec::<String>::new());
    let text = text
        .replace("origins", "orgins")
        .replace("listeners", "listener");
    let lines = lines_of(&text);
    assert!(lines[0].starts_with("proxy.yaml:1:1: "), "{lines:?}");
    assert!(lines[1].starts_with("proxy.yaml:9:7: "), "{lines:?}");
}

#[test]
fn look_alikes_are_told_in_paths_of_certificates_and_in_variables() {
    let text = shortest().replace("certs/fullchain.pem", "certs/full\u{a0}chain.pem");
    let outcome = parse_text(&text);
    let site = "listeners[0].tls.certificates[0].cert";
    let message = "can't read certs/full\u{a0}chain.pem: No such file";
    let told = outcome
        .source
        .problem(Severity::Error, site, message)
        .to_string();
    assert!(told.contains("found an unusual space (U+00A0)"), "{told}");

    let text = shortest().replace("[http://127.0.0.1:3000]", "[\"http://127.0.0.1:${PORT}\"]");
    let environment = |_: &str| Some("3000\u{200b}".to_owned());
    let outcome = parse(&text, Path::new("proxy.yaml"), &environment);
    let told = lines(&outcome).join("\n");
    assert!(
        told.contains("in environment variable PORT: found an invisible character (U+200B)"),
        "{told}"
    );
}

#[test]
fn one_module_names_the_yaml_library() {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if fs::read_to_string(&path)
                .unwrap()
                .contains(concat!("serde", "_yaml"))
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walk(&src, &mut found);
    assert_eq!(found, [src.join("config/yaml.rs")]);
}
