//! The findings of a TLS scanner.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::certs::{Authority, Kind};
use crate::harness::{Proxy, Setup};
use crate::tools::programs::tool;

/// The scans that are run: all except those that repeat HTTP requests and resumption.
const SCANS: [&str; 15] = [
    "certificate_info",
    "ssl_2_0_cipher_suites",
    "ssl_3_0_cipher_suites",
    "tls_1_0_cipher_suites",
    "tls_1_1_cipher_suites",
    "tls_1_2_cipher_suites",
    "tls_1_3_cipher_suites",
    "tls_compression",
    "openssl_ccs_injection",
    "tls_fallback_scsv",
    "heartbleed",
    "robot",
    "session_renegotiation",
    "elliptic_curves",
    "tls_extended_master_secret",
];

/// A proxy with certificates of these kinds and more keys of its `tls`.
fn start(kinds: &[(&str, Kind)], keys: &str) -> Proxy {
    let folder = tempfile::tempdir().unwrap();
    let mut yaml = "certificates:".to_owned();
    for (name, kind) in kinds {
        Authority::shared().write(folder.path(), name, &["localhost"], *kind);
        yaml += &format!("\n  - {{ cert: {name}.pem, key: {name}-key.pem }}");
    }
    let mut setup = Setup::plain("builtin:echo");
    setup.tls = Some(format!("{yaml}\n{keys}"));
    setup.start_in(folder)
}

/// A report of sslyze, in which an RSA key is a number with hundreds of digits.
fn report(file: &Path) -> serde_json::Result<Value> {
    const SHORTEN: &str = "import json, sys\n\
        number = lambda digits: int(digits) if len(digits) < 16 else digits\n\
        print(json.dumps(json.load(open(sys.argv[1]), parse_int=number)))";
    let output = Command::new(tool("WSGATE_PYTHON"))
        .args(["-c", SHORTEN])
        .arg(file)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
}

fn suites(scans: &Value, version: &str) -> BTreeSet<String> {
    let accepted = &scans[format!("{version}_cipher_suites")]["result"]["accepted_cipher_suites"];
    let names = accepted.as_array().unwrap().iter();
    let name = |suite: &Value| suite["cipher_suite"]["name"].as_str().unwrap().to_owned();
    names.map(name).collect()
}

/// sslyze finishes each scan, which takes hundreds of handshakes that fail as they should, and reports only that it
/// does not know the tests' authority.
#[test]
fn sslyze_completes_and_finds_nothing() {
    let (ec, rsa) = (("ec", Kind::Good), ("rsa", Kind::Rsa));
    let kinds = |names: &[&str]| -> BTreeSet<String> {
        let suites = [
            "AES_128_GCM_SHA256",
            "AES_256_GCM_SHA384",
            "CHACHA20_POLY1305_SHA256",
        ];
        let each = |name: &&str| suites.map(|suite| format!("TLS_{name}{suite}"));
        names.iter().flat_map(each).collect()
    };
    let targets = [
        (start(&[ec], ""), kinds(&["ECDHE_ECDSA_WITH_"])),
        (start(&[rsa], ""), kinds(&["ECDHE_RSA_WITH_"])),
        (
            start(&[ec, rsa], ""),
            kinds(&["ECDHE_ECDSA_WITH_", "ECDHE_RSA_WITH_"]),
        ),
        (start(&[ec], "min_version: \"1.3\""), kinds(&[])),
    ];
    let port = |proxy: &Proxy| proxy.address().port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let output = Command::new(Path::new(&tool("WSGATE_PYTHON")).with_file_name("sslyze"))
        .arg("--json_out")
        .arg(&file)
        .args(
            targets
                .iter()
                .map(|(proxy, _)| format!("localhost:{}", port(proxy))),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report = report(&file).unwrap_or_else(|error| panic!("{error}: {said}"));

    // Mozilla's current recommendations for servers.
    let complaints: Vec<_> = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("* "))
        .filter(|line| line.contains(": ") && !line.contains("certificate_path_validation"))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    assert_eq!(complaints, [""; 0], "{said}");
    let checked = said.matches("certificate_path_validation").count();
    assert_eq!(
        checked,
        targets.len(),
        "the recommendations were looked at: {said}"
    );

    for (proxy, expected) in &targets {
        let results = report["server_scan_results"].as_array().unwrap();
        let of = |result: &&Value| result["server_location"]["port"] == port(proxy);
        let result = results.iter().find(of).unwrap();
        assert_eq!(result["scan_status"], "COMPLETED", "{result}");
        let scans = &result["scan_result"];
        for scan in SCANS {
            assert_eq!(
                scans[scan]["status"], "COMPLETED",
                "{scan}: {}",
                scans[scan]
            );
        }
        for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
            assert_eq!(suites(scans, version), BTreeSet::new(), "{version}");
        }
        assert_eq!(&suites(scans, "tls_1_2"), expected);
        assert_eq!(suites(scans, "tls_1_3"), kinds(&[""]));
        let found = |scan: &str, field: &str| &scans[scan]["result"][field];
        assert_eq!(found("tls_compression", "supports_compression"), false);
        assert_eq!(
            found("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"),
            false
        );
        assert_eq!(found("tls_fallback_scsv", "supports_fallback_scsv"), true);
        assert_eq!(found("heartbleed", "is_vulnerable_to_heartbleed"), false);
        assert_eq!(
            found("robot", "robot_result"),
            "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
        );
        let renegotiation = "is_vulnerable_to_client_renegotiation_dos";
        assert_eq!(found("session_renegotiation", renegotiation), false);
        let curves = found("elliptic_curves", "supported_curves")
            .as_array()
            .unwrap();
        let curves: BTreeSet<_> = curves
            .iter()
            .map(|curve| curve["name"].as_str().unwrap())
            .collect();
        assert_eq!(curves, BTreeSet::from(["X25519", "secp256r1", "secp384r1"]));
        // One for each type of key.
        let served = found("certificate_info", "certificate_deployments");
        assert!(!served.as_array().unwrap().is_empty(), "{served}");
    }
}
