use std::fs;
use std::path::Path;

use crate::harness::proxy::{SHIPPED, run};

/// The schema next to the shipped configuration, for editors.
const FILE: &str = "proxy.schema.json";

fn printed() -> String {
    let (code, out, err) = run(&["schema"], Path::new("."));
    assert_eq!((code, err.as_str()), (0, ""));
    out
}

#[test]
fn the_file_for_editors_is_what_the_program_prints() {
    let file = fs::read_to_string(FILE).unwrap();
    assert!(
        file == printed(),
        "{FILE} is outdated: cargo run -q -- schema > {FILE}"
    );
}

#[test]
fn shipped_files_tell_editors_where_the_schema_is() {
    let schema = fs::canonicalize(FILE).unwrap();
    for shipped in SHIPPED {
        let text = fs::read_to_string(shipped).unwrap();
        let named = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# yaml-language-server: $schema="))
            .unwrap_or_else(|| panic!("the first line of {shipped} names no schema"));
        let folder = Path::new(shipped).parent().unwrap();
        assert_eq!(fs::canonicalize(folder.join(named)).unwrap(), schema);
    }
}
