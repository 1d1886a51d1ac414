//! The command line, and what `check` reports about certificates.

/// What `check` reports about files, and its format.
mod check;
/// Where a configuration is read from.
mod input;
/// What may be found instead of a certificate or a key.
mod pem;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tempfile::TempDir;

use crate::harness::certs::{Authority, Kind};
use crate::harness::frames::echoes;
use crate::harness::proxy::{HOST, run, shipped};
use crate::harness::terminal::Terminal;
use crate::harness::{Client, Setup, eventually, handshake};

/// A folder with a configuration that names `cert.pem` and `key.pem`, and a valid pair of these.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "\
listeners:
  - address: 127.0.0.1:0
    tls:
      certificates:
        - { cert: cert.pem, key: key.pem }
routes:
  - host: api.example.com
    path: /ws
    websocket: { origins: [https://app.example.com] }
    upstream: echo
upstreams:
  echo: { endpoints: [builtin:echo] }
";
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    put(
        folder.path(),
        Authority::shared().issue(&["api.example.com"], Kind::Good),
    );
    folder
}

fn put(folder: &Path, (certificate, key): (String, String)) {
    fs::write(folder.join("cert.pem"), certificate).unwrap();
    let mut options = fs::File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(folder.join("key.pem")).unwrap();
    file.write_all(key.as_bytes()).unwrap();
}

/// The output and the exit code of `check`.
fn check(folder: &TempDir) -> (i32, String) {
    let (code, out, err) = run(&["check"], folder.path());
    assert_eq!(err, "");
    (code, out)
}

#[test]
fn a_good_configuration_is_ok() {
    let (code, out) = check(&folder());
    assert_eq!(
        (code, out.as_str()),
        (0, "proxy.yaml: ok: 1 listener, 1 route, 1 upstream\n")
    );
}

#[test]
fn the_shipped_configuration_is_ok_and_checking_it_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy("proxy.yaml", folder.path().join("proxy.yaml")).unwrap();
    let (code, out) = check(&folder);
    assert_eq!(code, 0, "{out}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "check made a file"
    );
}

#[test]
fn warnings_about_a_certificate_leave_the_exit_code_at_0() {
    let authority = Authority::shared();
    let with = |pair: (String, String)| {
        let folder = folder();
        put(folder.path(), pair);
        check(&folder)
    };
    let site = "proxy.yaml:5:19: warning: listeners[0].tls.certificates[0].cert: ";
    let host = "proxy.yaml:7:11: warning: routes[0].host: ";
    let good = |kind| authority.issue(&["api.example.com"], kind);
    let (other, _) = Authority::new("another authority").issue(&["x.example.com"], Kind::Good);
    let disordered = {
        let (leaf, key) = good(Kind::Good);
        (format!("{leaf}{other}"), key)
    };
    for (pair, prefix, part) in [
        (good(Kind::Expired), site, "cert.pem expired on 20"),
        (
            good(Kind::NotYetValid),
            site,
            "cert.pem is not valid before 20",
        ),
        (
            disordered,
            site,
            "certificate 1 in cert.pem is not issued by certificate 2",
        ),
        (
            leaf_with_issuer_url(),
            site,
            "holds only the leaf, and its issuer (CN=issuer) is probably an intermediate",
        ),
        (
            authority.issue(&["www.example.com"], Kind::Good),
            host,
            "no certificate covers \"api.example.com\"",
        ),
        (
            authority.issue(&["*.example.org"], Kind::Good),
            host,
            "no certificate covers",
        ),
        (
            authority.issue(&[], Kind::Good),
            site,
            "has no subject alternative name",
        ),
    ] {
        let (code, out) = with(pair);
        assert_eq!(code, 0, "{out}");
        let found = out
            .lines()
            .any(|line| line.starts_with(prefix) && line.contains(part));
        assert!(found, "no {part:?} at {prefix:?} in\n{out}");
    }
    let (code, out) = with(authority.issue(&["*.example.com"], Kind::Good));
    assert_eq!(
        (code, out.lines().count()),
        (0, 1),
        "a wildcard covers the host: {out}"
    );
}

#[test]
fn a_route_whose_host_no_certificate_covers_is_told() {
    let plain = "listeners:\n  - address: 127.0.0.1:0\n";
    for (host, name, plain_beside, told) in [
        ("api.example.com", "www.example.com", true, true),
        ("api.example.com", "api.example.com", true, false),
        ("'*.example.com'", "www.example.org", false, true),
        ("'*.example.com'", "example.com", true, true),
        ("'*.example.com'", "*.www.example.com", false, true),
        ("'*.example.com'", "*.example.com", false, false),
        ("'*.example.com'", "www.example.com", true, false),
    ] {
        let folder = folder();
        put(
            folder.path(),
            Authority::shared().issue(&[name], Kind::Good),
        );
        let file = folder.path().join("proxy.yaml");
        let mut yaml = fs::read_to_string(&file)
            .unwrap()
            .replace("host: api.example.com", &format!("host: {host}"));
        if plain_beside {
            yaml = yaml.replacen("listeners:\n", plain, 1);
        }
        fs::write(&file, yaml).unwrap();
        let (code, out) = check(&folder);
        assert_eq!(code, 0, "{out}");
        let message = format!("no certificate covers \"{}\"", host.trim_matches('\''));
        assert_eq!(out.contains(&message), told, "{host} by {name}: {out}");
    }
}

#[test]
fn the_dates_of_every_certificate_in_the_file_are_looked_at() {
    let now = time::OffsetDateTime::now_utc();
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer
        .distinguished_name
        .push(rcgen::DnType::CommonName, "old issuer");
    issuer.not_before = now - time::Duration::days(60);
    issuer.not_after = now - time::Duration::days(1);
    let issuer = rcgen::CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["api.example.com".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let folder = folder();
    let chain = leaf.pem() + &issuer.pem();
    put(folder.path(), (chain, key.serialize_pem()));
    let (code, out) = check(&folder);
    assert_eq!(code, 0, "{out}");
    let told = "certificate 2 (CN=old issuer) in ";
    assert!(
        out.contains(told) && out.contains("cert.pem expired on 20"),
        "{out}"
    );
}

/// A certificate that says where its issuer can be fetched, without the issuer.
fn leaf_with_issuer_url() -> (String, String) {
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer
        .distinguished_name
        .push(rcgen::DnType::CommonName, "issuer");
    let issuer = rcgen::Issuer::new(issuer, KeyPair::generate().unwrap());
    let url = b"http://ca.example/issuer.crt";
    // AuthorityInfoAccess ::= SEQUENCE { SEQUENCE { id-ad-caIssuers, [6] url } } (RFC 5280 section 4.2.2.1).
    let mut access = vec![
        0x06,
        0x08,
        0x2b,
        0x06,
        0x01,
        0x05,
        0x05,
        0x07,
        0x30,
        0x02,
        0x86,
        u8::try_from(url.len()).unwrap(),
    ];
    access.extend_from_slice(url);
    let mut content = vec![
        0x30,
        u8::try_from(access.len() + 2).unwrap(),
        0x30,
        u8::try_from(access.len()).unwrap(),
    ];
    content.extend(access);
    let mut leaf = CertificateParams::new(vec!["api.example.com".to_owned()]).unwrap();
    leaf.custom_extensions
        .push(CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 1],
            content,
        ));
    let key = KeyPair::generate().unwrap();
    (
        leaf.signed_by(&key, &issuer).unwrap().pem(),
        key.serialize_pem(),
    )
}

#[test]
fn a_certificate_or_key_that_cannot_be_used_is_an_error() {
    let good = || Authority::shared().issue(&["api.example.com"], Kind::Good);
    let (certificate, key) = good();
    let (_, other_key) = good();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAECAwQ=\n-----END CERTIFICATE-----\n";
    for (pair, field, part) in [
        (
            (certificate.clone(), other_key.clone()),
            "key",
            "is not the key of the first certificate in",
        ),
        (
            (certificate.clone(), encrypted.to_owned()),
            "key",
            "holds no private key",
        ),
        (
            (certificate, format!("{key}{other_key}")),
            "key",
            "holds 2 private keys; keep one",
        ),
        ((key.clone(), key.clone()), "cert", "holds no certificate"),
        ((String::new(), key.clone()), "cert", "holds no certificate"),
        ((garbage.to_owned(), key), "cert", "certificate 1 in"),
    ] {
        let folder = folder();
        put(folder.path(), pair);
        let (code, out) = check(&folder);
        assert_eq!(code, 2, "{out}");
        let site = format!("error: listeners[0].tls.certificates[0].{field}: ");
        assert!(
            out.lines()
                .any(|line| line.contains(&site) && line.contains(part)),
            "no {part:?} in\n{out}"
        );
        let (code, out, err) = run(&["run"], folder.path());
        assert_eq!(
            (code, out.as_str()),
            (2, ""),
            "a bad certificate keeps the proxy from starting"
        );
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn problems_of_the_file_and_of_certificates_come_together_in_the_order_of_lines() {
    let folder = folder();
    fs::remove_file(folder.path().join("cert.pem")).unwrap();
    let path = folder.path().join("proxy.yaml");
    let yaml = fs::read_to_string(&path)
        .unwrap()
        .replace("upstream: echo", "upstream: eco")
        .replace("address", "adress");
    fs::write(&path, yaml).unwrap();
    let (code, out) = check(&folder);
    assert_eq!(code, 2);
    let lines: Vec<_> = out.lines().collect();
    assert!(
        lines[0].contains("2:5: error: listeners[0].adress: unknown key"),
        "{out}"
    );
    assert!(
        lines[1].contains("5:19: error: listeners[0].tls.certificates[0].cert: can't read"),
        "{out}"
    );
    assert!(
        lines[2].contains("10:15: error: routes[0].upstream")
            && lines[2].contains("did you mean \"echo\""),
        "{out}"
    );
    assert_eq!(lines[3], "proxy.yaml: 3 errors, 0 warnings");
}

#[test]
fn a_wrong_command_line_is_explained_and_exits_with_2() {
    let folder = folder();
    for (arguments, part) in [
        (&["serve"][..], "unrecognized subcommand 'serve'"),
        (&["--confg", "x"], "unexpected argument '--confg'"),
        (&["run", "--config"], "a value is required"),
        (
            &["--config", "missing.yaml"],
            "missing.yaml:1:1: error: found no such file",
        ),
        (&["run", "--config", "."], "found a folder"),
        (&["--config", ".", "run"], "found a folder"),
    ] {
        let (code, out, err) = run(arguments, folder.path());
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(part), "{arguments:?}: {err}");
    }
}

#[test]
fn help_and_version_name_the_commands() {
    let folder = folder();
    let (code, out, _) = run(&["--help"], folder.path());
    assert_eq!(code, 0);
    assert!(
        ["run", "check", "explain", "--config"]
            .iter()
            .all(|word| out.contains(word)),
        "{out}"
    );
    let (code, out, _) = run(&["--version"], folder.path());
    assert_eq!(
        (code, out.trim()),
        (0, concat!("wsgate ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn the_start_says_where_it_listens_what_it_serves_and_how_to_try_it() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = shipped();
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let proxy = crate::harness::Proxy::spawn(folder, None, 1);
    let said = eventually("the start's words", || {
        Some(proxy.diagnostics()).filter(|said| said.contains("https://localhost:"))
    });
    assert!(
        said.contains(&format!("listening on wss://{}", proxy.address())),
        "{said}"
    );
    assert!(
        said.contains("route /echo to echo (builtin:echo), origins https://localhost:8443"),
        "{said}"
    );
    assert!(
        said.contains(&format!(
            "https://localhost:{}/echo",
            proxy.address().port()
        )),
        "{said}"
    );
}

/// curl prefers HTTP/2, in which the command to paste would not be a WebSocket handshake.
#[test]
fn the_start_says_which_listener_serves_http2() {
    for (alpn, more, option) in [
        ("[http/1.1]", "", Some("-i -N -m 2 --connect-to")),
        (
            "[h2, http/1.1]",
            ", with HTTP/2",
            Some("--http1.1 --connect-to"),
        ),
        ("[h2]", ", with HTTP/2 only", None),
    ] {
        let mut setup = Setup::tls("builtin:echo");
        setup.host = Some(HOST.to_owned());
        setup.tls = setup.tls.map(|tls| format!("{tls}\nalpn: {alpn}"));
        let proxy = setup.start();
        let line = format!("  listening on wss://{}{more}\n", proxy.address());
        let said = eventually("the start's words", || {
            let last = option.map_or("  route ", |_| "  curl ");
            let is_whole = |said: &String| said.contains(last) && said.ends_with('\n');
            Some(proxy.diagnostics()).filter(is_whole)
        });
        assert!(said.contains(&line), "{said}");
        let tried = said.lines().find(|line| line.trim().starts_with("curl "));
        assert_eq!(tried.is_some(), option.is_some(), "{said}");
        let has = |option| tried.is_some_and(|line| line.contains(option));
        assert!(option.is_none_or(has), "{said}");
    }
}

#[test]
fn on_one_processor_one_thread_serves_all_connections() {
    let allowed = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let one: String = allowed
        .unwrap()
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let setup = Setup {
        through: ["taskset", "-c", one.as_str()].map(str::to_owned).to_vec(),
        ..Setup::tls("builtin:echo")
    };
    let proxy = setup.start();
    let main = || {
        let times = fs::read_to_string(format!("/proc/{0}/task/{0}/schedstat", proxy.id()));
        Duration::from_nanos(times.unwrap().split(' ').next().unwrap().parse().unwrap())
    };
    let (all, before) = (proxy.processor_time(), main());
    let mut clients: Vec<_> = (0..8).map(|_| Client::tls(proxy.address())).collect();
    for client in &mut clients {
        client.send(handshake("/ws", &[]));
    }
    for client in &mut clients {
        assert_eq!(client.response_head().status, 101);
        echoes(client, "one thread");
    }
    let (all, main) = (proxy.processor_time() - all, main() - before);
    assert!(main > all / 2, "the main thread took {main:?} of {all:?}");
    drop(proxy.stop());
}

#[test]
fn limits_that_do_not_fit_the_descriptors_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = shipped();
    fs::write(folder.path().join("proxy.yaml"), &yaml).unwrap();
    let small = yaml.clone() + "\nlimits: { connections: 100 }\n";
    let larger = yaml + "\nlimits: { connections: 101 }\n";
    let proxy = crate::harness::Proxy::spawn(folder, Some(306), 1);
    let said = eventually("a warning", || {
        Some(proxy.diagnostics()).filter(|said| said.contains("or less"))
    });
    assert!(
        said.contains(
            "limits.connections is 10000, which needs 20106 descriptors, but the hard limit is 306"
        ),
        "{said}"
    );
    assert!(
        said.contains("set limits.connections to 100 or less"),
        "{said}"
    );
    for (yaml, is_told) in [(small, false), (larger, true)] {
        let line = proxy.reload_with(&yaml);
        let problems = line.0.get("problems").map(ToString::to_string);
        let told = "needs 308 descriptors, but the hard limit is 306";
        let told = problems.is_some_and(|problems| problems.contains(told));
        assert_eq!(told, is_told, "{line:?}");
    }
}

/// The first thing that anyone does: start it by hand in a terminal.
#[test]
fn on_a_terminal_it_starts_and_writes_records_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = shipped();
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let terminal = Terminal::open();
    let mut child = std::process::Command::new(crate::harness::proxy::program())
        .current_dir(folder.path())
        .stdin(terminal.end())
        .stdout(terminal.end())
        .stderr(terminal.end())
        .spawn()
        .unwrap();
    let mut asked_to_end = false;
    let shown = terminal.watch(|shown| {
        if !asked_to_end && shown.contains("try it:") {
            asked_to_end = true;
            crate::harness::signal(child.id(), "INT");
        }
    });
    assert!(child.wait().unwrap().success(), "{shown}");
    assert!(shown.contains("listening on wss://127.0.0.1:"), "{shown}");
    assert!(shown.contains(" info  listening"), "{shown}");
    assert!(shown.contains(" info  stopped"), "{shown}");
    assert!(shown.contains("\n    detail="), "{shown}");
    assert!(!shown.contains("{\"time\""), "{shown}");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = shipped();
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let program = crate::harness::proxy::program();
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -S -n 100 && ulimit -H -n 2000 && exec \"$0\" 2>&1",
            program.to_str().unwrap(),
        ])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(output).map(Result::unwrap);
    assert!(
        lines.any(|line| line.contains("\"listening\"")),
        "it ended without listening"
    );
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(
        line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(),
        ["2000", "2000"],
        "{line}"
    );
}

#[test]
fn an_endpoint_that_is_a_listener_of_this_proxy_is_an_error() {
    for (listener, endpoint, own) in [
        ("127.0.0.1:8599", "http://127.0.0.1:8599", true),
        ("0.0.0.0:8599", "http://127.0.0.1:8599", true),
        ("0.0.0.0:8599", "http://localhost:8599", true),
        ("'[::1]:8599'", "'http://[::1]:8599'", true),
        ("127.0.0.1:8599", "http://127.0.0.1:8598", false),
        ("127.0.0.1:8599", "http://127.0.0.2:8599", false),
        ("127.0.0.1:8599", "'http://[::1]:8599'", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!(
            "listeners: [{{ address: {listener} }}]\nroutes:\n  - {{ path: /ws, websocket: {{ origins: [self] }}, \
             host: a.example, upstream: app }}\nupstreams: {{ app: {{ endpoints: [{endpoint}] }} }}\n"
        );
        fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        let (code, out) = check(&folder);
        assert_eq!(code == 2, own, "{listener} {endpoint}: {out}");
        assert_eq!(
            out.contains("upstreams.app.endpoints[0]: found"),
            own,
            "{out}"
        );
    }
}
