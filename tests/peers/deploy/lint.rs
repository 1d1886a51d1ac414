use std::fs;
use std::path::Path;
use std::process::Command;

use super::python_tool;

/// Runs a linter, which must not report anything.
#[track_caller]
fn clean(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "{command:?}: {}\n{said}",
        output.status
    );
}

/// The files in these folders that begin with `#!`, and shell files without it.
fn scripts() -> Vec<String> {
    let mut found = Vec::new();
    for folder in [
        ".",
        ".ci",
        "deploy",
        "deploy/one-image",
        "fuzz",
        "scripts",
        "tests",
    ] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_script = path.is_file()
                && fs::read(&path)
                    .unwrap()
                    .split(|byte| *byte == b'\n')
                    .next()
                    .is_some_and(|line| {
                        line.starts_with(b"#!") || line.starts_with(b"# shellcheck shell=")
                    });
            if is_script {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn dockerfiles_are_clean() {
    for folder in ["deploy", "deploy/express", "deploy/one-image"] {
        let file = Path::new(folder).join("Dockerfile");
        let mut hadolint = Command::new(python_tool("hadolint"));
        clean(hadolint.args(["--failure-threshold", "style"]).arg(file));
    }
}

#[test]
fn yaml_files_are_clean() {
    let mut yamllint = Command::new(python_tool("yamllint"));
    clean(yamllint.args(["--strict", "deploy", "proxy.yaml", ".yamllint.yaml"]));
}

#[test]
fn shell_scripts_are_clean() {
    let scripts = scripts();
    for known in [
        "./run",
        "deploy/build",
        "deploy/one-image/entrypoint",
        "tests/image",
    ] {
        assert!(
            scripts.iter().any(|script| script == known),
            "no {known}: {scripts:?}"
        );
    }
    clean(
        Command::new("shellcheck")
            .arg("--external-sources")
            .args(scripts),
    );
}

#[test]
fn a_linter_that_finds_something_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    fs::write(&file, "FROM debian\nRUN cd /tmp\n").unwrap();
    let hadolint = Command::new(python_tool("hadolint"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(!hadolint.status.success());
    let file = folder.path().join("a.yaml");
    fs::write(&file, "a: {b: 1}\n").unwrap();
    let yamllint = Command::new(python_tool("yamllint"))
        .args(["--config-file", ".yamllint.yaml"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(!yamllint.status.success());
}
