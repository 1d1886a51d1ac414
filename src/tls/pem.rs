//! PEM files (RFC 7468), and what else is found in the place of one.

use std::io;
use std::path::Path;

use rustls_pemfile::Item;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::read_file;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Pem {
    /// Its sections that are known.
    pub items: Vec<Item>,
    bytes: Vec<u8>,
}

/// Reads a PEM file. The only use of rustls-pemfile, so that it can be exchanged here alone.
///
/// # Errors
/// Those of the operating system, and what is wrong with the file's sections, with the line.
pub(super) fn read(path: &Path) -> io::Result<Pem> {
    let bytes = read_file(path)?;
    // With it the first section would not be seen, and the others would be taken for all.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(io::Error::other(
            "it begins with a byte order mark: save it without one",
        ));
    }
    let items = rustls_pemfile::read_all(&mut bytes.as_slice()).collect::<Result<_, _>>();
    match items {
        Ok(items) => Ok(Pem { items, bytes }),
        // The headers of an encrypted key are not base64.
        Err(_) if is_encrypted(&bytes) => Ok(Pem {
            items: Vec::new(),
            bytes,
        }),
        // The library names neither the line nor the remedy.
        Err(error) => Err(match fault(&bytes) {
            Some(words) => io::Error::other(words),
            None => error,
        }),
    }
}

impl Pem {
    /// What the file is, where it holds no certificate or no key, and how to make of it what is needed.
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
                    "it is a PKCS#12 file: take certificates and key out of it with `openssl pkcs12 -in {path} -nokeys \
                     -out cert.pem` and `openssl pkcs12 -in {path} -nocerts -nodes -out key.pem`"
                ),
            });
        }
        let text = String::from_utf8_lossy(bytes);
        let labels: Vec<_> = labels(&text).map(|(_, label)| label).collect();
        let has = |label: &str| labels.contains(&label);
        let words = if has("ENCRYPTED PRIVATE KEY") || is_encrypted(bytes) {
            format!(
                "its private key is encrypted, and the proxy can't ask for the password: write it without one with \
                 `openssl pkey -in {path} -out key.pem`"
            )
        } else if has("OPENSSH PRIVATE KEY") {
            format!("it is a key for SSH: convert it with `ssh-keygen -p -m PEM -f {path}`")
        } else if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
            "it is a request for a certificate: name the certificate that the authority issued for it".to_owned()
        } else if has("PKCS7") {
            format!(
                "it is PKCS#7: take the certificates out of it with `openssl pkcs7 -print_certs -in {path} -out cert.pem`"
            )
        } else if has("PUBLIC KEY") || has("RSA PUBLIC KEY") {
            "it is a public key: name the private one".to_owned()
        } else if has("TRUSTED CERTIFICATE") {
            format!(
                "it has a form of OpenSSL's own: convert it with `openssl x509 -in {path} -out cert.pem`"
            )
        } else if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
            "it holds a private key: were cert and key exchanged?".to_owned()
        } else if has("CERTIFICATE") {
            "it holds a certificate: were cert and key exchanged?".to_owned()
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

/// Binary forms that are taken for PEM.
enum Der {
    Certificate,
    Key,
    Pkcs12,
}

fn der(bytes: &[u8]) -> Option<Der> {
    const SEQUENCE: u8 = 0x30;
    // Behind the tag: a length of one byte, or of as many as its low bits say (X.690 section 8.1.3).
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
    // The version: 0 or 1 of a key (RFC 5958, RFC 8017, RFC 5915), 3 of a PKCS#12 file (RFC 7292).
    match rest.get(more..)? {
        [0x02, 0x01, 0x00 | 0x01, ..] => Some(Der::Key),
        [0x02, 0x01, 0x03, ..] => Some(Der::Pkcs12),
        _ => None,
    }
}

/// Lines, from 1, and labels of the sections that begin.
fn labels(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let label = line.trim().strip_prefix("-----BEGIN ")?;
        Some((index + 1, label.strip_suffix("-----")?))
    })
}

/// What keeps a section from being read.
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
                     file is cut off or was put together wrongly",
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
