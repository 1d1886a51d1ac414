//! ClientHellos made by hand, for what current TLS libraries no longer offer.

use std::io::{ErrorKind, Read};

use crate::harness::Client;
use crate::harness::proxy::HOST;

pub const TLS12: u16 = 0x0303;
pub const TLS13: u16 = 0x0304;

pub const AES_128_GCM_1_3: u16 = 0x1301;
pub const AES_128_CCM_1_3: u16 = 0x1304;
pub const ECDHE_ECDSA_AES_128_GCM: u16 = 0xc02b;
pub const ECDHE_RSA_AES_128_GCM: u16 = 0xc02f;
pub const ECDHE_RSA_AES_128_CBC: u16 = 0xc013;
pub const RSA_AES_128_CBC: u16 = 0x002f;

pub const X25519: u16 = 0x001d;
pub const X448: u16 = 0x001e;
pub const P256: u16 = 0x0017;
pub const FFDHE2048: u16 = 0x0100;

pub const ECDSA_P256_SHA256: u16 = 0x0403;
pub const RSA_PSS_SHA256: u16 = 0x0804;
pub const RSA_PKCS1_SHA256: u16 = 0x0401;

/// The content of a hello (RFC 8446 section 4.1.2); `None` omits the extension.
#[derive(Clone)]
pub struct Hello {
    pub legacy_version: u16,
    pub versions: Option<Vec<u16>>,
    pub suites: Vec<u16>,
    pub groups: Option<Vec<u16>>,
    pub schemes: Option<Vec<u16>>,
    pub sni: Option<String>,
    pub alpn: Option<Vec<String>>,
    /// A key share for X25519; if it is empty, the server asks for it.
    pub key_share: Option<Vec<u8>>,
    /// Bytes in an unknown extension.
    pub padding: usize,
}

impl Hello {
    /// The offer of a client that supports only TLS 1.2.
    pub fn tls12() -> Self {
        Self {
            legacy_version: TLS12,
            versions: None,
            suites: vec![ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM],
            groups: Some(vec![X25519, P256]),
            schemes: Some(vec![ECDSA_P256_SHA256, RSA_PSS_SHA256, RSA_PKCS1_SHA256]),
            sni: Some(HOST.to_owned()),
            alpn: None,
            key_share: None,
            padding: 0,
        }
    }

    /// The offer of a client that supports TLS 1.3 and 1.2, without a key share.
    pub fn tls13() -> Self {
        Self {
            versions: Some(vec![TLS13, TLS12]),
            suites: vec![
                AES_128_GCM_1_3,
                ECDHE_ECDSA_AES_128_GCM,
                ECDHE_RSA_AES_128_GCM,
            ],
            key_share: Some(Vec::new()),
            ..Self::tls12()
        }
    }

    /// The offer of clients before TLS 1.2.
    pub fn old(version: u16) -> Self {
        Self {
            legacy_version: version,
            suites: vec![ECDHE_RSA_AES_128_CBC, RSA_AES_128_CBC],
            schemes: None,
            ..Self::tls12()
        }
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut add = |kind: u16, content: Vec<u8>| {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(with_length16(&content));
        };
        if let Some(name) = &self.sni {
            let entry = [vec![0], with_length16(name.as_bytes())].concat();
            add(0, with_length16(&entry));
        }
        if let Some(groups) = &self.groups {
            add(10, with_length16(&numbers(groups)));
            // Only uncompressed points.
            add(11, vec![1, 0]);
        }
        if let Some(schemes) = &self.schemes {
            add(13, with_length16(&numbers(schemes)));
        }
        if let Some(protocols) = &self.alpn {
            let list: Vec<u8> = protocols
                .iter()
                .flat_map(|protocol| with_length8(protocol.as_bytes()))
                .collect();
            add(16, with_length16(&list));
        }
        if let Some(versions) = &self.versions {
            add(43, with_length8(&numbers(versions)));
        }
        if let Some(share) = &self.key_share {
            let mut entry = Vec::new();
            if !share.is_empty() {
                entry.extend(X25519.to_be_bytes());
                entry.extend(with_length16(share));
            }
            add(51, with_length16(&entry));
        }
        if self.padding > 0 {
            add(0xfe00, vec![0; self.padding]);
        }
        let body = [
            self.legacy_version.to_be_bytes().to_vec(),
            vec![7; 32],
            // An empty session id.
            vec![0],
            with_length16(&numbers(&self.suites)),
            // No compression.
            vec![1, 0],
            with_length16(&extensions),
        ]
        .concat();
        message(1, &body)
    }

    /// The hello in records of at most `size` bytes.
    pub fn in_records(&self, size: usize) -> Vec<u8> {
        self.message()
            .chunks(size)
            .flat_map(|piece| record(HANDSHAKE, piece))
            .collect()
    }

    /// The hello as it is sent, in the largest possible records.
    pub fn bytes(&self) -> Vec<u8> {
        self.in_records(16 * 1024)
    }
}

pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;

/// A record (RFC 8446 section 5.1).
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [vec![kind, 3, 3], with_length16(content)].concat()
}

/// A handshake message (RFC 8446 section 4).
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// An unencrypted fatal alert.
pub fn alert(description: u8) -> Vec<u8> {
    record(ALERT, &[2, description])
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

fn with_length16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&length[..], content].concat()
}

fn with_length8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

/// Everything that a client still receives, and whether the end was a reset.
#[track_caller]
pub fn ending(client: &mut Client) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => (bytes, false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, true),
        Err(error) => panic!("{error} after {} bytes", bytes.len()),
    }
}

/// The unencrypted fatal alert that `bytes` must be.
#[track_caller]
pub fn only_alert(bytes: &[u8]) -> u8 {
    match bytes {
        [ALERT, 3, 1 | 3, 0, 2, 2, description] => *description,
        _ => panic!("no fatal alert, but {bytes:02x?}"),
    }
}
