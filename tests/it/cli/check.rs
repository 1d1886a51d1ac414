//! What `check` reports about files, and its format.

use std::os::unix::fs::{PermissionsExt, symlink};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

use super::*;

/// A self-signed certificate for a name, and its key.
fn self_signed(is_ca: IsCa) -> (String, String) {
    let mut params = CertificateParams::new(vec!["api.example.com".to_owned()]).unwrap();
    params.is_ca = is_ca;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "api.example.com");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes the configuration of a folder.
fn rewrite(folder: &TempDir, change: impl FnOnce(String) -> String) {
    let path = folder.path().join("proxy.yaml");
    let yaml = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(yaml)).unwrap();
}

/// The lines of a report that are about `site`.
fn about<'o>(out: &'o str, site: &str) -> Vec<&'o str> {
    let site = format!(": {site}: ");
    out.lines().filter(|line| line.contains(&site)).collect()
}

#[test]
fn a_key_that_others_can_read_is_told_and_one_for_a_group_is_not() {
    let site = "listeners[0].tls.certificates[0].key";
    for (mode, is_told) in [
        (0o600, false),
        (0o400, false),
        (0o440, false),
        (0o640, false),
        (0o644, true),
        (0o604, true),
        (0o660, true),
        (0o666, true),
    ] {
        let folder = folder();
        set_mode(&folder.path().join("key.pem"), mode);
        let (code, out) = check(&folder);
        assert_eq!(code, 0, "{out}");
        let lines = about(&out, site);
        assert_eq!(lines.len(), usize::from(is_told), "{mode:o}: {out}");
        for line in lines {
            assert!(
                line.contains(&format!("has mode {mode:04o}"))
                    && line.ends_with("chmod 600 key.pem"),
                "{line}"
            );
        }
    }
}

/// A volume as the kubelet fills it: `key.pem` → `..data/key.pem`, `..data` → a folder with a date.
#[test]
fn a_key_in_a_volume_of_kubernetes_is_told_by_its_own_remedy() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("..2026_01_01")).unwrap();
    fs::rename(path("key.pem"), path("..2026_01_01/key.pem")).unwrap();
    symlink("..2026_01_01", path("..data")).unwrap();
    symlink("..data/key.pem", path("key.pem")).unwrap();
    let (_, out) = check(&folder);
    assert_eq!(out.lines().count(), 1, "{out}");
    set_mode(&path("..2026_01_01/key.pem"), 0o644);
    let (_, out) = check(&folder);
    assert!(
        out.contains("set defaultMode: 0400 for its volume (0440 with fsGroup)"),
        "{out}"
    );
}

#[test]
fn a_self_signed_certificate_is_told() {
    let folder = folder();
    put(folder.path(), self_signed(IsCa::NoCa));
    let (code, out) = check(&folder);
    assert_eq!(code, 0, "{out}");
    let lines = about(&out, "listeners[0].tls.certificates[0].cert");
    assert_eq!(lines.len(), 1, "{out}");
    assert!(
        lines[0].contains("is self-signed: clients refuse it"),
        "{out}"
    );
}

/// A start replaces a pair of which one part is missing or useless, so there is nothing to report.
#[test]
fn what_is_left_of_a_development_certificate_is_no_problem_as_the_start_makes_it_anew() {
    for missing in ["certs/dev-key.pem", "certs/dev.pem"] {
        let folder = folder();
        rewrite(&folder, |yaml| {
            yaml.replace(
                "certificates:\n        - { cert: cert.pem, key: key.pem }",
                "self_signed: true",
            )
        });
        let (certificate, key) = Authority::shared().issue(&["localhost"], Kind::Good);
        fs::create_dir(folder.path().join("certs")).unwrap();
        fs::write(folder.path().join("certs/dev.pem"), certificate).unwrap();
        fs::write(folder.path().join("certs/dev-key.pem"), key).unwrap();
        fs::remove_file(folder.path().join(missing)).unwrap();
        let (code, out) = check(&folder);
        assert_eq!((code, out.lines().count()), (0, 1), "{missing}: {out}");
        assert!(
            !folder.path().join(missing).exists(),
            "check made {missing}"
        );
    }
}

#[test]
fn a_clients_own_certificate_may_be_its_authority() {
    let with = |pem: &str| {
        let folder = folder();
        fs::write(folder.path().join("clients.pem"), pem).unwrap();
        rewrite(&folder, |yaml| {
            yaml.replace(
                "    tls:\n",
                "    tls:\n      client_auth: { ca: clients.pem }\n",
            )
        });
        check(&folder)
    };
    for good in [self_signed(IsCa::NoCa).0, Authority::shared().pem()] {
        let (code, out) = with(&good);
        assert_eq!((code, out.lines().count()), (0, 1), "{out}");
    }
    let (leaf, _) = Authority::shared().issue(&["api.example.com"], Kind::Good);
    let (_, out) = with(&leaf);
    let lines = about(&out, "listeners[0].tls.client_auth.ca");
    assert!(
        lines.len() == 1 && lines[0].contains("is not an authority's"),
        "{out}"
    );
}

#[test]
fn an_upstreams_certificate_that_says_it_is_an_authority_is_foreseen() {
    let with = |pem: &str| {
        let folder = folder();
        fs::write(folder.path().join("app.pem"), pem).unwrap();
        rewrite(&folder, |yaml| {
            yaml.replace(
                "endpoints: [builtin:echo]",
                "endpoints: [\"https://api.example.com\"], tls: { ca: app.pem }",
            )
        });
        check(&folder)
    };
    let (code, out) = with(&self_signed(IsCa::Ca(BasicConstraints::Unconstrained)).0);
    assert_eq!(code, 0, "{out}");
    let lines = about(&out, "upstreams.echo.tls.ca");
    assert_eq!(lines.len(), 1, "{out}");
    assert!(
        lines[0].contains("basicConstraints=critical,CA:FALSE"),
        "{out}"
    );
    for good in [self_signed(IsCa::ExplicitNoCa).0, Authority::shared().pem()] {
        let (code, out) = with(&good);
        assert_eq!((code, out.lines().count()), (0, 1), "{out}");
    }
}

#[test]
fn the_files_of_upstreams_and_of_client_auth_are_looked_at_whatever_else_is_wrong() {
    let folder = folder();
    rewrite(&folder, |yaml| {
        yaml.replace(
            "    tls:\n",
            "    tls:\n      client_auth: { ca: clients.pem }\n",
        )
        .replace(
            "endpoints: [builtin:echo]",
            "endpoints: [\"https://api.example.com\"], tls: { ca: app.pem }",
        )
        .replace("path: /ws", "path: ws")
    });
    let (code, out) = check(&folder);
    assert_eq!(code, 2);
    for site in [
        "listeners[0].tls.client_auth.ca",
        "routes[0].path",
        "upstreams.echo.tls.ca",
    ] {
        assert_eq!(about(&out, site).len(), 1, "{site}: {out}");
    }
    assert!(out.ends_with("proxy.yaml: 3 errors, 0 warnings\n"), "{out}");
}

fn check_json(folder: &TempDir, more: &[&str]) -> (i32, Value) {
    let arguments = [&["check", "--format", "json"], more].concat();
    let (code, out, err) = run(&arguments, folder.path());
    assert_eq!(err, "");
    (code, serde_json::from_str(&out).unwrap())
}

#[test]
fn a_program_gets_one_document() {
    let folder = folder();
    assert_eq!(
        check_json(&folder, &[]),
        (
            0,
            json!({ "file": "proxy.yaml", "ok": true, "problems": [] })
        )
    );

    rewrite(&folder, |yaml| {
        yaml.replace("upstream: echo", "upstream: eco")
    });
    let problem = json!({
        "severity": "error",
        "line": 10,
        "column": 15,
        "path": "routes[0].upstream",
        "message": "found \"eco\", which is not in upstreams; allowed: echo; did you mean \"echo\"?",
    });
    let report = json!({ "file": "proxy.yaml", "ok": false, "problems": [problem] });
    assert_eq!(check_json(&folder, &[]), (2, report.clone()));
    assert_eq!(check_json(&folder, &["--deny-warnings"]), (2, report));

    fs::remove_file(folder.path().join("proxy.yaml")).unwrap();
    let (code, report) = check_json(&folder, &[]);
    assert_eq!((code, &report["ok"]), (2, &json!(false)));
    assert_eq!(
        report["problems"][0]["message"],
        "found no such file; name the file with --config"
    );
}

#[test]
fn warnings_are_denied_only_where_that_is_asked_for() {
    let folder = folder();
    let (code, _, _) = run(&["check", "--deny-warnings"], folder.path());
    assert_eq!(code, 0);
    set_mode(&folder.path().join("key.pem"), 0o644);
    let (code, out) = check(&folder);
    assert!(
        code == 0 && out.ends_with("proxy.yaml: ok: 1 listener, 1 route, 1 upstream; 1 warning\n"),
        "{out}"
    );
    let (code, denied, _) = run(&["check", "--deny-warnings"], folder.path());
    assert_eq!((code, denied), (1, out));
    let (code, report) = check_json(&folder, &[]);
    assert_eq!((code, &report["ok"]), (0, &json!(true)));
    assert_eq!(report["problems"][0]["severity"], "warning");
    let (code, report) = check_json(&folder, &["--deny-warnings"]);
    assert_eq!((code, &report["ok"]), (1, &json!(false)));
}

#[test]
fn the_start_prints_the_same_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = shipped() + "load_balancer: { name: nginx }\n";
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let (code, out) = check(&folder);
    assert_eq!(code, 0);
    let warning = out.lines().next().unwrap();
    assert!(
        warning.contains("the idle timeout of nginx (1m unless"),
        "{out}"
    );
    let proxy = crate::harness::Proxy::spawn(folder, None, 1);
    let said = eventually("the warning", || {
        Some(proxy.diagnostics()).filter(|said| said.contains("try it"))
    });
    assert!(
        said.contains(warning.split_once(".yaml:").unwrap().1),
        "{said}"
    );
}

/// A file with many sites gets as many lines as a person can read; finding each place takes a search through the whole
/// file.
#[test]
fn hosts_without_a_certificate_are_told_one_by_one_up_to_a_number() {
    let routes = (0..60).map(|number| {
        format!("  - {{ host: s{number}.example.com, path: /a, respond: {{ body: x }} }}\n")
    });
    let folder = folder();
    rewrite(&folder, |yaml| {
        yaml.replace(
            "routes:\n",
            &("routes:\n".to_owned() + &routes.collect::<String>()),
        )
    });
    let (code, out) = check(&folder);
    assert_eq!(code, 0, "{out}");
    let told = out
        .lines()
        .filter(|line| line.contains("no certificate covers"));
    assert_eq!(told.count(), 21, "{out}");
    let rest = about(&out, "routes");
    assert!(
        rest.len() == 1 && rest[0].contains("of 40 more routes"),
        "{out}"
    );
}
