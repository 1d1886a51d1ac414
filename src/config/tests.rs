//! Tests of the configuration, by subject, and what several of them need.

mod files;
mod hops;
mod large;
mod reference;
mod schema;
mod shutdown;
mod source;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// The environment that the files of `tests/config/` are read with.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "8443",
        "HOST" => "app.example.com",
        "IDLE" => "90s",
        "MOST" => "500",
        "KIB" => "32",
        "EMPTY" => "",
        "INJECTED" => "app\n    websocket: {}",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The files of a folder, by name; at least one.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no file", folder.display());
    files
}

/// The report on `outcome`.
fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.problems.iter().map(ToString::to_string).collect()
}

fn parse_text(text: &str) -> Outcome {
    parse(text, Path::new("proxy.yaml"), &environment)
}

fn lines_of(text: &str) -> Vec<String> {
    lines(&parse_text(text))
}

/// A file that reads, to be changed for a test.
fn shortest() -> String {
    let (_, text) = files("valid")
        .into_iter()
        .find(|(name, _)| name == "shortest.yaml")
        .unwrap();
    text
}

fn valid(name: &str) -> Config {
    let path = Path::new("/etc/wsgate").join(name);
    let text = files("valid")
        .into_iter()
        .find(|(file, _)| file == name)
        .unwrap()
        .1;
    parse(&text, &path, &environment).config.unwrap()
}
