//! What the documents promise about each other and about the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[track_caller]
fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The fenced blocks of a page, with their language.
fn blocks(page: &str) -> Vec<&str> {
    let mut fences = page.split("```").skip(1);
    let mut found = Vec::new();
    while let Some(block) = fences.next() {
        found.push(block);
        fences.next().expect("a fence is closed");
    }
    found
}

/// A page without its blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The targets of a page's links, in order.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    prose
        .split("](")
        .skip(1)
        .filter_map(|after| after.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

fn headings(page: &str) -> Vec<usize> {
    let prose = prose(page);
    prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.chars().take_while(|c| *c == '#').count())
        .collect()
}

/// The words in backticks, outside of fenced blocks.
fn quoted(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    prose
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_two_readmes_say_the_same() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    assert_eq!(headings(&english), headings(&chinese));
    assert_eq!(blocks(&english), blocks(&chinese));
    assert_eq!(quoted(&english), quoted(&chinese));
    // The links except those between the two pages; each language may order them differently.
    let of = |page: &str, other: &str| -> BTreeSet<String> {
        let mut links: BTreeSet<_> = links(page).into_iter().collect();
        assert!(links.remove(other), "no link to {other}");
        links
    };
    assert_eq!(of(&english, "README.zh-CN.md"), of(&chinese, "README.md"));
    let rows = |page: &str| page.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows(&english), rows(&chinese));
}

#[test]
fn links_lead_somewhere() {
    let mut pages = vec!["deploy/README.md".to_owned()];
    for folder in [".", "docs"] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path.display().to_string());
            }
        }
    }
    assert!(pages.len() > 12, "{pages:?}");
    for page in pages {
        for link in links(&read(&page)) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => Path::new(&page).to_owned(),
                file => Path::new(&page).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{page}: {link}");
            let has = |text: String| {
                prose(&text)
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| slug(line) == anchor)
            };
            assert!(
                anchor.is_empty() || has(fs::read_to_string(&target).unwrap()),
                "{page}: {link}"
            );
        }
    }
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| {
            if c == ' ' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let reasons = read("tests/it/reasons.rs");
    let mut named = 0;
    for name in quoted(&read("SECURITY.md")) {
        if name.starts_with("tests/") {
            assert!(Path::new(&name).exists(), "{name}");
        }
        let Some((module, function)) = name.rsplit_once("::") else {
            continue;
        };
        let text: String = ["it", "peers"]
            .map(|suite| format!("tests/{suite}/{}.rs", module.replace("::", "/")))
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        let is_test = text.contains(&format!("#[test]\nfn {function}("));
        let is_provoked = text.contains(&format!("\npub fn {function}("))
            && reasons.contains(&format!(": {name},\n"));
        assert!(is_test || is_provoked, "{name} is not a test");
        named += 1;
    }
    assert!(named > 60, "{named}");
}
