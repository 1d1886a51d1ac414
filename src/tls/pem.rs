//! PEM files (RFC 7468), and other formats that are found instead.

use std::io;
use std::path::Path;

use rustls_pemfile::Item;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::read_file;

/// The content of a PEM file.
#[derive(Debug)]
pub(super) struct Pem {
    /// The sections of a known kind.
    pub items: Vec<Item>,
    bytes: Vec<u8>,
}

/// Reads a PEM file. rustls-pemfile is used only here, so that it can be replaced easily.
///
/// # Errors
/// Errors of the operating system, or what is wrong with the file's sections, with the line.
pub(super) fn read(path: &Path) -> io::Result<Pem> {
    let bytes = read_file(path)?;
    // The library skips such a section, and the others would count as all.
    if let Some(words) = overlooked(&bytes) {
        return Err(io::Error::other(words));
    }
    let items = rustls_pemfile::read_all(&mut bytes.as_slice()).collect::<Result<_, _>>();
    match items {
        Ok(items) => Ok(Pem { items, bytes }),
        // The headers of an encrypted key are not base64.
        Err(_) if is_encrypted(&bytes) => Ok(Pem {
            items: Vec::new(),
            bytes,
        }),
        // The library names neither the line nor the remedy, and its words may repeat the file's content, which may be
        // a key.
        Err(_) => Err(io::Error::other(match fault(&bytes) {
            Some(words) => words,
            None => "it is damaged; copy the file again".to_owned(),
        })),
    }
}

impl Pem {
    /// What the file contains instead of a certificate or key, and how to convert it.
    pub fn instead(&self, path: &Path) -> Option<String> {
        let bytes = self.bytes.as_slice();
        let path = path.display();
        if bytes.is_empty() {
            return Some("it is empty".to_owned());
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Some("it is UTF-16: save it as ASCII or UTF-8".to_owned());
        }
        if let Some(what) = der(bytes) {
            return Some(match what {
                Der::Certificate => format!(
                    "it is a certificate in DER form: convert it with `openssl x509 -inform der -in {path} -out cert.pem`"
                ),
                Der::Key => format!(
                    "it is a private key in DER form: convert it with `openssl pkey -inform der -in {path} -out key.pem`"
                ),
                Der::Pkcs12 => format!(
                    "it is a PKCS#12 file: extract the certificates and the key with `openssl pkcs12 -in {path} -nokeys \
                     -out cert.pem` and `openssl pkcs12 -in {path} -nocerts -nodes -out key.pem`"
                ),
            });
        }
        let text = String::from_utf8_lossy(bytes);
        let labels: Vec<_> = labels(&text).map(|(_, label)| label).collect();
        let has = |label: &str| labels.contains(&label);
        let words = if has("ENCRYPTED PRIVATE KEY") || is_encrypted(bytes) {
            format!(
                "its private key is encrypted, and the proxy can't ask for the password: remove the password with \
                 `openssl pkey -in {path} -out key.pem`"
            )
        } else if has("OPENSSH PRIVATE KEY") {
            format!("it is a key for SSH: convert it with `ssh-keygen -p -m PEM -f {path}`")
        } else if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
            "it is a request for a certificate: name the certificate that the authority issued for it".to_owned()
        } else if has("PKCS7") {
            format!(
                "it is PKCS#7: extract the certificates with `openssl pkcs7 -print_certs -in {path} -out cert.pem`"
            )
        } else if has("PUBLIC KEY") || has("RSA PUBLIC KEY") {
            "it is a public key: name the private one".to_owned()
        } else if has("TRUSTED CERTIFICATE") {
            format!(
                "it has a format that only OpenSSL uses: convert it with `openssl x509 -in {path} -out cert.pem`"
            )
        } else if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
            "it holds a private key: cert and key may be swapped".to_owned()
        } else if has("CERTIFICATE") {
            "it holds a certificate: cert and key may be swapped".to_owned()
        } else {
            return None;
        };
        Some(words)
    }
}

/// Whether it has a key that is encrypted in OpenSSL's old way (RFC 1421 section 4.6.1.1).
fn is_encrypted(bytes: &[u8]) -> bool {
    const HEADER: &[u8] = b"Proc-Type: 4,ENCRYPTED";
    bytes.windows(HEADER.len()).any(|part| part == HEADER)
}

/// Binary formats that people mistake for PEM.
enum Der {
    Certificate,
    Key,
    Pkcs12,
}

fn der(bytes: &[u8]) -> Option<Der> {
    const SEQUENCE: u8 = 0x30;
    // A length follows the tag: in one byte, or in as many bytes as its low bits say (X.690 section 8.1.3).
    let [SEQUENCE, length, rest @ ..] = bytes else {
        return None;
    };
    if X509Certificate::from_der(bytes).is_ok() {
        return Some(Der::Certificate);
    }
    let more = match length & 0x80 {
        0 => 0,
        _ => usize::from(length & 0x7f),
    };
    // The version: 0 or 1 for a key (RFC 5958, RFC 8017, RFC 5915), 3 for a PKCS#12 file (RFC 7292).
    match rest.get(more..)? {
        [0x02, 0x01, 0x00 | 0x01, ..] => Some(Der::Key),
        [0x02, 0x01, 0x03, ..] => Some(Der::Pkcs12),
        _ => None,
    }
}

/// The lines, from 1, and labels of all section beginnings. The rest of such a line is left out, because it may be a
/// key.
fn labels(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let (label, _) = label_of(line.trim())?;
        Some((index + 1, label))
    })
}

/// The label of a section that begins at the start of `line`, and the rest of the line.
fn label_of(line: &str) -> Option<(&str, &str)> {
    let (label, rest) = line.strip_prefix(BEGIN)?.split_once("-----")?;
    let is_label = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" #.".contains(&b);
    let fits = (1..=64).contains(&label.len()) && label.bytes().all(is_label);
    fits.then_some((label, rest))
}

const BEGIN: &str = "-----BEGIN ";

/// A section that begins in the middle of a line, or whose first line has more text.
fn overlooked(bytes: &[u8]) -> Option<String> {
    const MARK: &str = "\u{feff}";
    if bytes.starts_with(MARK.as_bytes()) {
        return Some("it begins with a byte order mark: save it without one".to_owned());
    }
    let text = String::from_utf8_lossy(bytes);
    text.lines().enumerate().find_map(|(index, line)| {
        let start = line.match_indices(BEGIN).find(|(start, _)| {
            line.get(*start..).is_some_and(|rest| label_of(rest).is_some())
        });
        let (before, section) = line.split_at(start?.0);
        let (label, rest) = label_of(section)?;
        let line = index + 1;
        if !rest.trim().is_empty() {
            return Some(match rest.contains("\\n") {
                true => format!("line {line} has \\n instead of line breaks: write line breaks"),
                false => format!(
                    "line {line} has more than -----BEGIN {label}-----: put a line break after it, before \
                     -----END {label}-----, and after every 64 characters between them"
                ),
            });
        }
        let words = match before {
            "" => return None,
            before if before.ends_with(MARK) => "has a byte order mark in front of it: delete it",
            before if before.trim().is_empty() => "is indented: remove the spaces in front of its lines",
            before if !before.contains(|c: char| c.is_ascii_graphic()) => {
                "has an invisible character in front of it: delete it"
            }
            _ => "does not begin at the start of the line: put a line break in front of it",
        };
        Some(format!("-----BEGIN {label}----- in line {line} {words}"))
    })
}

/// What makes a section unreadable.
fn fault(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    for (begin, label) in labels(&text) {
        let end = format!("-----END {label}-----");
        let mut is_closed = false;
        for (index, line) in text.lines().enumerate().skip(begin) {
            let line = line.trim();
            if line == end {
                is_closed = true;
                break;
            }
            if line.starts_with("-----") {
                return Some(format!(
                    "line {} is not the end of the section {label} that begins in line {begin} (expected {end}); the \
                     file is cut off or was assembled wrongly",
                    index + 1
                ));
            }
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
            if let Some(found) = line.chars().find(|c| !is_base64(*c)) {
                return Some(format!(
                    "line {} is not base64 (found {found:?}); copy the file again",
                    index + 1
                ));
            }
        }
        if !is_closed {
            return Some(format!(
                "the section {label} that begins in line {begin} has no end (expected {end}); the file is cut off"
            ));
        }
    }
    None
}
