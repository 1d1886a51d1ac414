//! What may be found instead of a certificate or a key, each with its remedy.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{check, folder};
use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::program;

/// The bytes of a PEM file with one section.
fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// What `check` reports if `file` contains `bytes`.
fn check_with(file: &str, bytes: &[u8]) -> (i32, String) {
    let folder = folder();
    fs::write(folder.path().join(file), bytes).unwrap();
    check(&folder)
}

#[test]
fn each_other_form_is_named_with_how_to_convert_it() {
    let (certificate, key) = Authority::shared().issue(&["api.example.com"], Kind::Good);
    let section = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let middle = key.len() / 2;
    let broken = format!("{}-{}", &key[..middle], &key[middle..]);
    let marked = ["\u{feff}".as_bytes(), certificate.as_bytes()].concat();
    let wide: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(key.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    // The beginning of a PKCS #12 file: SEQUENCE { INTEGER 3, … } (RFC 7292 section 4).
    let pkcs12 = [&b"\x30\x82\x01\x00\x02\x01\x03\x30"[..], &[0; 252]].concat();
    for (file, bytes, part) in [
        ("cert.pem", der(&certificate), "a certificate in DER form: convert it with `openssl x509 -inform der"),
        ("key.pem", der(&key), "a private key in DER form: convert it with `openssl pkey -inform der"),
        ("cert.pem", pkcs12.clone(), "a PKCS#12 file: extract the certificates and the key"),
        ("key.pem", pkcs12, "a PKCS#12 file: extract the certificates and the key"),
        ("key.pem", section("ENCRYPTED PRIVATE KEY").into(), "its private key is encrypted"),
        (
            "key.pem",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n".into(),
            "its private key is encrypted",
        ),
        ("key.pem", section("OPENSSH PRIVATE KEY").into(), "ssh-keygen -p -m PEM"),
        ("key.pem", section("PUBLIC KEY").into(), "it is a public key"),
        ("key.pem", certificate.clone().into(), "cert and key may be swapped"),
        ("cert.pem", key.clone().into(), "cert and key may be swapped"),
        ("cert.pem", section("CERTIFICATE REQUEST").into(), "a request for a certificate"),
        ("cert.pem", section("PKCS7").into(), "openssl pkcs7 -print_certs"),
        ("cert.pem", section("TRUSTED CERTIFICATE").into(), "openssl x509 -in"),
        ("cert.pem", Vec::new(), "it is empty"),
        ("cert.pem", marked, "it begins with a byte order mark: save it without one"),
        ("key.pem", wide, "it is UTF-16"),
        ("key.pem", broken.into(), "is not base64 (found '-'); copy the file again"),
        (
            "cert.pem",
            certificate.replace("-----END CERTIFICATE-----", "").into(),
            "that begins in line 1 has no end (expected -----END CERTIFICATE-----)",
        ),
        (
            "cert.pem",
            certificate.replace("-----END CERTIFICATE", "-----END X").into(),
            "is not the end of the section CERTIFICATE that begins in line 1",
        ),
    ] {
        let (code, out) = check_with(file, &bytes);
        assert_eq!(code, 2, "{part}: {out}");
        let field = file.trim_end_matches(".pem");
        let site = format!("error: listeners[0].tls.certificates[0].{field}: ");
        assert!(
            out.lines().any(|line| line.contains(&site) && line.contains(part) && line.contains(file)),
            "no {part:?} in\n{out}"
        );
    }
}

/// A section on one line, and one with `\n` for line breaks: typical of variables and copied text.
fn squeezed(pem: &str) -> [String; 2] {
    [pem.replace('\n', ""), pem.replace('\n', "\\n")]
}

#[test]
fn nothing_of_a_key_is_printed() {
    let (_, key) = Authority::shared().issue(&["api.example.com"], Kind::Good);
    let secret = key.lines().nth(1).unwrap();
    let [one_line, escaped] = squeezed(&key);
    let small = one_line.replace("PRIVATE KEY", "private key");
    for (pem, part) in [
        (
            &one_line,
            "line 1 has more than -----BEGIN PRIVATE KEY-----: put a line break after it",
        ),
        (&escaped, "line 1 has \\n instead of line breaks"),
        (&small, "can't read key.pem: it is damaged"),
    ] {
        let (code, out) = check_with("key.pem", pem.as_bytes());
        assert_eq!(code, 2, "{out}");
        assert!(out.contains(part) && !out.contains(secret), "{out}");
    }
}

#[test]
fn a_section_that_would_be_overlooked_is_told() {
    let (certificate, _) = Authority::shared().issue(&["api.example.com"], Kind::Good);
    let issuer = Authority::shared().pem();
    let [one_line, _] = squeezed(&certificate);
    let indented = issuer.replace('\n', "\n  ");
    let line = certificate.lines().count();
    for (pem, part) in [
        (
            format!("{}{issuer}", certificate.trim_end()),
            format!("in line {line} does not begin at the start of the line"),
        ),
        (
            format!("{certificate}\u{feff}{issuer}"),
            "has a byte order mark in front of it".to_owned(),
        ),
        (
            format!("{certificate}\u{200b}{issuer}"),
            "has an invisible character in front of it".to_owned(),
        ),
        (
            format!("{certificate}  {indented}"),
            format!("in line {} is indented", line + 1),
        ),
        (
            one_line,
            "line 1 has more than -----BEGIN CERTIFICATE-----".to_owned(),
        ),
    ] {
        let (code, out) = check_with("cert.pem", pem.as_bytes());
        assert_eq!(code, 2, "{part}: {out}");
        assert!(out.contains(&part), "no {part:?} in\n{out}");
    }
}

#[test]
fn what_is_damaged_is_told_in_plain_words() {
    let (certificate, key) = Authority::shared().issue(&["api.example.com"], Kind::Good);
    let without_line = |pem: &str| {
        let lines: Vec<_> = pem
            .lines()
            .enumerate()
            .filter(|(index, _)| *index != 2)
            .map(|(_, line)| line)
            .collect();
        lines.join("\n")
    };
    for (file, pem, part) in [
        (
            "cert.pem",
            certificate,
            "certificate 1 in cert.pem is damaged; copy the file again",
        ),
        (
            "key.pem",
            key,
            "key.pem can't be used: it is damaged, or it is not a key for RSA",
        ),
    ] {
        let (code, out) = check_with(file, without_line(&pem).as_bytes());
        assert_eq!(code, 2, "{out}");
        assert!(out.contains(part), "no {part:?} in\n{out}");
    }
}

#[test]
fn keys_that_no_client_takes_are_named() {
    for (certificate, part) in [
        (
            &include_bytes!("weak/rsa1024-cert.pem")[..],
            "an RSA key of 1024 bits, and clients accept 2048 and more",
        ),
        (include_bytes!("weak/ed448-cert.pem"), "an Ed448 key"),
        (
            include_bytes!("weak/secp256k1-cert.pem"),
            "an ECDSA key on a curve other than P-256, P-384 and P-521",
        ),
        (
            include_bytes!("weak/rsa-pss-cert.pem"),
            "a key for RSA-PSS only",
        ),
        (include_bytes!("weak/dsa-cert.pem"), "a DSA key"),
    ] {
        let (code, out) = check_with("cert.pem", certificate);
        assert_eq!(code, 2);
        assert!(
            out.contains(part) && out.contains("have it reissued"),
            "{out}"
        );
    }
}

/// What `check` reports on a system that knows only one authority.
fn check_knowing(folder: &TempDir, authority: &str) -> String {
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority).unwrap();
    let output = Command::new(program())
        .arg("check")
        .current_dir(folder.path())
        .env("SSL_CERT_FILE", &roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_chain_that_ends_at_no_known_root_is_told() {
    let folder = folder();
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let out = check_knowing(&folder, &other.cert.pem());
    assert!(
        out.contains("warning: listeners[0].tls.certificates[0].cert: the chain in cert.pem does not end at a known root"),
        "{out}"
    );
    let out = check_knowing(&folder, &Authority::shared().pem());
    assert!(!out.contains("known root"), "{out}");
}
