use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tools::programs::tool;

/// A crate: its name and version.
type Crate = (String, String);

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The output of `scripts/supply.py`.
#[track_caller]
fn supply(what: &str) -> String {
    said(
        Command::new(tool("WSGATE_PYTHON"))
            .args(["scripts/supply.py", what])
            .env("SOURCE_DATE_EPOCH", "1750000000"),
    )
}

/// The crates that Cargo would build for the program, found in another way than the script's.
fn built(edges: &str) -> BTreeSet<Crate> {
    let mut crates = BTreeSet::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let lines = said(Command::new(env!("CARGO")).args([
            "tree",
            "--locked",
            "--package=wsgate",
            "--target",
            target,
            "--edges",
            edges,
            "--prefix=none",
        ]));
        for line in lines.lines() {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            let version = words.next().unwrap().trim_start_matches('v').to_owned();
            crates.insert((name, version));
        }
    }
    assert!(crates.len() > 90, "{crates:?}");
    crates
}

/// Checksums by crate.
fn locked() -> BTreeMap<Crate, String> {
    let text = fs::read_to_string("Cargo.lock").unwrap();
    let mut found = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{key} = ")));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        found.insert((value("name"), value("version")), value("checksum"));
    }
    found
}

fn crate_of(component: &Value) -> Crate {
    let text = |key: &str| component[key].as_str().unwrap().to_owned();
    (text("name"), text("version"))
}

#[test]
fn the_licences_are_current_and_name_every_crate_of_the_program() {
    let written = fs::read_to_string("THIRD-PARTY-LICENSES").unwrap();
    assert!(
        written == supply("licences"),
        "old: run `python3 scripts/supply.py licences > THIRD-PARTY-LICENSES`"
    );
    let bill: Value = serde_json::from_str(&supply("sbom")).unwrap();
    let components = bill["components"].as_array().unwrap();
    let helping: BTreeSet<_> = components
        .iter()
        .filter(|component| component["scope"] == "excluded")
        .map(crate_of)
        .collect();
    let mut named = 0;
    for (name, version) in built("normal") {
        let is_named = written.contains(&format!("\n  {name} {version} ("));
        let is_own = name == "wsgate";
        let helps = helping.contains(&(name.clone(), version.clone()));
        assert_eq!(is_named, !is_own && !helps, "{name} {version}");
        named += usize::from(is_named);
    }
    assert!(named > 90, "{named}");
    // Other licences than the Apache License are included in full, and so is that of the project inside a crate.
    for text in [
        "Permission is hereby granted, free of charge",
        "Jason Evans",
        "AWS-LC is a fork of BoringSSL",
        "fiat-crypto authors",
        "GNU C Library",
    ] {
        assert!(written.contains(text), "{text}");
    }
}

#[test]
fn the_bill_of_materials_is_valid() {
    const VALIDATE: &str = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())\n\
        sys.exit(str(found) if found else 0)";
    let validate = |bill: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wsgate.cdx.json");
        fs::write(&file, bill).unwrap();
        Command::new(tool("WSGATE_PYTHON"))
            .args(["-c", VALIDATE])
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap()
    };
    let bill = supply("sbom");
    let output = validate(&bill);
    assert!(output.status.success(), "{output:?}");
    // The validator must be able to reject something.
    assert!(
        !validate(&bill.replace("\"CycloneDX\"", "\"Cyclone\""))
            .status
            .success()
    );
    assert!(
        !validate(&bill.replace("\"scope\"", "\"scoop\""))
            .status
            .success()
    );
}

#[test]
fn the_bill_of_materials_has_every_crate_with_its_checksum() {
    let text = supply("sbom");
    assert_eq!(text, supply("sbom"), "the same commit gives the same bill");
    let bill: Value = serde_json::from_str(&text).unwrap();
    let main = crate_of(&bill["metadata"]["component"]);
    assert_eq!(main.1, env!("CARGO_PKG_VERSION"));
    let components = bill["components"].as_array().unwrap();
    let mut listed: BTreeSet<_> = components.iter().map(crate_of).collect();
    assert_eq!(listed.len(), components.len(), "a crate stands twice");
    listed.insert(main);
    assert_eq!(listed, built("normal,build"));

    let locked = locked();
    for component in components {
        let checksum = &locked[&crate_of(component)];
        assert_eq!(component["hashes"][0]["content"], **checksum, "{component}");
        assert!(component["licenses"][0]["expression"].is_string());
    }
    // Every reference points to a component, and each component can be reached from the program.
    let mut needs = BTreeMap::new();
    for entry in bill["dependencies"].as_array().unwrap() {
        let on: Vec<_> = entry["dependsOn"]
            .as_array()
            .unwrap()
            .iter()
            .map(|on| on.as_str().unwrap())
            .collect();
        needs.insert(entry["ref"].as_str().unwrap(), on);
    }
    let mut reached = BTreeSet::new();
    let mut next = vec![bill["metadata"]["component"]["bom-ref"].as_str().unwrap()];
    while let Some(reference) = next.pop() {
        if reached.insert(reference) {
            next.extend(&needs[reference]);
        }
    }
    assert_eq!(reached.len(), listed.len());
}

#[test]
fn the_release_is_built_to_record_its_panics() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    let release = release.split("\n[").next().unwrap();
    for setting in ["panic = \"unwind\"", "lto = \"thin\"", "codegen-units = 1"] {
        assert!(release.contains(setting), "{setting}");
    }
    assert!(!release.contains("strip = \"symbols\"") && !release.contains("strip = true"));
}

/// docs/release.md lists the places that contain the version; all must have the same one.
#[test]
fn one_version_is_named_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let guide = fs::read_to_string("docs/release.md").unwrap();
    for (file, part) in [
        ("Cargo.toml", format!("\nversion = \"{version}\"\n")),
        (
            "deploy/Dockerfile",
            format!("org.opencontainers.image.version=\"{version}\""),
        ),
    ] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&part), "{file} has no {part}");
        assert!(guide.contains(&format!("`{file}`")), "{file}");
    }
    let changes = fs::read_to_string("CHANGELOG.md").unwrap();
    assert!(
        changes.contains("## Unreleased") || changes.contains(&format!("## {version}")),
        "{version}"
    );
    assert!(Path::new("Cargo.lock").exists());
}
