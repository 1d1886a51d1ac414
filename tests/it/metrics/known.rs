use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::harness::scrape::full;

const DOCS: &str = "docs/metrics.md";

/// The name, type and labels in each row.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string(DOCS).unwrap();
    let words = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, names, kind, labels, meaning, _] = cells[..] else {
            panic!("{row}");
        };
        assert!(!meaning.is_empty(), "{row}");
        let labels: BTreeSet<_> = words(labels).into_iter().collect();
        let kind = kind.to_owned();
        words(names)
            .into_iter()
            .map(move |name| (name, (kind.clone(), labels.clone())))
    })
    .collect()
}

#[test]
fn the_documentation_has_every_metric_with_its_type_and_labels() {
    let scrape = full();
    let documented = documented();
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(documented.keys().collect()),
        names(scrape.kinds.keys().collect())
    );
    for (name, (kind, labels)) in &documented {
        assert_eq!(kind, &scrape.kinds[name], "{name}");
        let mut found = scrape.labels(name);
        found.remove("le");
        let labels: BTreeSet<_> = labels.iter().map(String::as_str).collect();
        assert_eq!(found, labels, "{name}");
    }
}
