//! What other clients would get from a TLS server: ClientHellos that imitate them, and the server's first answer.
//!
//! Nothing after the first answer is read, so no keys are needed, and random bytes stand for a key share.

use std::borrow::Cow;
use std::net::IpAddr;

/// The most bytes that an answer needs: one TLS record of full size.
pub const MOST: usize = 16 * 1024 + 5;

/// Record types.
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// Extensions that are sent and read.
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// X25519, P-256, P-384 and P-521.
const GROUPS: [u16; 4] = [29, 23, 24, 25];
/// Clients older than TLS 1.2 do not know X25519.
const GROUPS_OLD: [u16; 3] = [23, 24, 25];
const SUITES_TLS13: [u16; 3] = [0x1301, 0x1302, 0x1303];
/// TLS 1.2 with an ECDSA certificate.
const SUITES_ECDSA: [u16; 7] = [0xC02B, 0xC02C, 0xCCA9, 0xC023, 0xC024, 0xC009, 0xC00A];
/// TLS 1.2 with an RSA certificate: ECDHE, DHE, and RSA key exchange.
const SUITES_RSA: [u16; 20] = [
    0xC02F, 0xC030, 0xCCA8, 0x009E, 0x009F, 0xC027, 0xC028, 0xC013, 0xC014, 0x0067, 0x006B, 0x0033,
    0x0039, 0x009C, 0x009D, 0x003C, 0x003D, 0x002F, 0x0035, 0x000A,
];
/// TLS 1.0 and 1.1 as in Java 7 and Android 4. The last one stands for `renegotiation_info` (RFC 5746 section 3.3).
const SUITES_OLD: [u16; 18] = [
    0xC00A, 0xC014, 0xC009, 0xC013, 0x0039, 0x0033, 0x0035, 0x002F, 0xC007, 0xC011, 0x0005, 0xC008,
    0xC012, 0x0016, 0x000A, 0x0032, 0x0004, 0x00FF,
];

const SIGN_TLS13: [u16; 9] = [
    0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0603, 0x0806, 0x0601,
];
/// Clients without TLS 1.3 usually lack RSA-PSS, and still have SHA-1.
const SIGN_TLS12: [u16; 7] = [0x0403, 0x0401, 0x0503, 0x0501, 0x0601, 0x0203, 0x0201];
const SIGN_RSA: [u16; 7] = [0x0804, 0x0401, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201];

/// How the names of suites begin, one for each column of [`CIPHERS`]. TLS 1.3 names no key exchange.
const BEGINNINGS: &str = "\
    TLS_ TLS_ECDHE_ECDSA_WITH_ TLS_ECDHE_RSA_WITH_ TLS_DHE_RSA_WITH_ TLS_RSA_WITH_ TLS_DHE_DSS_WITH_";
/// How the names end, and the numbers of the suites in IANA's registry.
const CIPHERS: &str = "\
    AES_128_GCM_SHA256       0x1301 0xC02B 0xC02F 0x009E 0x009C 0x00A2
    AES_256_GCM_SHA384       0x1302 0xC02C 0xC030 0x009F 0x009D 0x00A3
    CHACHA20_POLY1305_SHA256 0x1303 0xCCA9 0xCCA8 0xCCAA - -
    AES_128_CBC_SHA          - 0xC009 0xC013 0x0033 0x002F 0x0032
    AES_256_CBC_SHA          - 0xC00A 0xC014 0x0039 0x0035 0x0038
    AES_128_CBC_SHA256       - 0xC023 0xC027 0x0067 0x003C 0x0040
    AES_256_CBC_SHA256       - - - 0x006B 0x003D 0x006A
    AES_256_CBC_SHA384       - 0xC024 0xC028 - - -
    3DES_EDE_CBC_SHA         - 0xC008 0xC012 0x0016 0x000A 0x0013
    RC4_128_SHA              - 0xC007 0xC011 - 0x0005 -
    RC4_128_MD5              - - - - 0x0004 -";

/// Which client is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// TLS 1.3 and nothing older.
    Tls13,
    /// TLS 1.2, with certificates of both kinds.
    Tls12,
    /// TLS 1.1 at most.
    Tls11,
    /// TLS 1.0 at most.
    Tls10,
    /// TLS 1.2, with RSA certificates only.
    Rsa,
    /// TLS 1.2, with ECDSA certificates only.
    Ecdsa,
}

/// The bytes of one TLS record with a ClientHello. `host` is the name for SNI, in ASCII; an IP address is left out,
/// because SNI has only names. `random` must be random: servers reject some X25519 keys, for example zeros.
pub fn client_hello(offer: Offer, host: Option<&str>, random: &[u8; 96]) -> Vec<u8> {
    use Offer::{Ecdsa, Rsa, Tls10, Tls11, Tls12, Tls13};
    // The suites decide which kind of key the server needs. `Ecdsa` has RSA signatures too, because an RSA authority
    // may have issued the certificate.
    let (version, versions, suites, signatures): (u16, &[u16], &[&[u16]], &[u16]) = match offer {
        Tls13 => (0x0303, &[0x0304], &[&SUITES_TLS13], &SIGN_TLS13),
        Tls12 => (0x0303, &[], &[&SUITES_ECDSA, &SUITES_RSA], &SIGN_TLS12),
        Rsa => (0x0303, &[], &[&SUITES_RSA], &SIGN_RSA),
        Ecdsa => (0x0303, &[], &[&SUITES_ECDSA], &SIGN_TLS12),
        Tls11 => (0x0302, &[], &[&SUITES_OLD], &[]),
        Tls10 => (0x0301, &[], &[&SUITES_OLD], &[]),
    };
    let is_old = version < 0x0303;
    let mut parts = random.chunks(32);
    let mut part = || parts.next().unwrap_or_default();
    let (random, session, share) = (part(), part(), part());
    let mut extensions = Vec::new();
    let mut add = |kind: u16, body: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(counted(2, body));
    };
    if let Some(host) = host.and_then(server_name) {
        let entry = [&[0][..], &counted(2, host.as_bytes())].concat();
        add(0, &counted(2, &entry)); // server_name
    }
    add(11, &[1, 0]); // ec_point_formats: uncompressed
    let groups: &[u16] = if is_old { &GROUPS_OLD } else { &GROUPS };
    add(10, &counted(2, &numbers(groups))); // supported_groups
    if !is_old {
        add(23, &[]); // extended_master_secret
        add(0xFF01, &[0]); // renegotiation_info
        add(ALPN, &counted(2, &counted(1, b"http/1.1")));
        add(13, &counted(2, &numbers(signatures))); // signature_algorithms
    }
    if !versions.is_empty() {
        add(SUPPORTED_VERSIONS, &counted(1, &numbers(versions)));
        add(45, &[1, 1]); // psk_key_exchange_modes: psk_dhe_ke
        let entry = [&[0, 29][..], &counted(2, share)].concat();
        add(51, &counted(2, &entry)); // key_share
    }
    // Clients with TLS 1.3 send a session ID for the sake of middleboxes (RFC 8446 appendix D.4).
    let session = if versions.is_empty() { &[] } else { session };
    let body = [
        &version.to_be_bytes(),
        random,
        &counted(1, session),
        &counted(2, &numbers(&suites.concat())),
        &[1, 0], // no compression
        &counted(2, &extensions),
    ];
    let message = [&[1][..], &counted(3, &body.concat())].concat();
    // Some servers reject a newer version than TLS 1.0 here (RFC 8446 section 5.1).
    [&[HANDSHAKE, 3, 1][..], &counted(2, &message)].concat()
}

/// The name as SNI has it: without the dot at its end (RFC 6066 section 3).
fn server_name(host: &str) -> Option<&str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = (1..=253).contains(&host.len()) && host.parse::<IpAddr>().is_err();
    is_name.then_some(host)
}

/// The body after its length in `width` bytes.
fn counted(width: usize, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_be_bytes();
    let unused = length.len().saturating_sub(width);
    let length = length.into_iter().skip(unused);
    length.chain(body.iter().copied()).collect()
}

fn numbers(all: &[u16]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server accepts the hello.
    ServerHello {
        /// The version that it chose.
        version: u16,
        /// The cipher suite that it chose.
        cipher: u16,
        /// The protocol that it chose by ALPN, in printable ASCII. TLS 1.3 encrypts it, so it is then `None`.
        alpn: Option<String>,
        /// Whether it is a HelloRetryRequest: the server first wants a key share of another group.
        is_retry: bool,
    },
    /// The server refuses the hello with this alert.
    Alert(u8),
    /// The server speaks HTTP without TLS.
    PlainHttp,
    /// Neither TLS nor HTTP, or invalid TLS.
    NotTls,
}

/// Reads the answer from all bytes that came so far. `None` means that more are needed, which is never so from
/// [`MOST`] bytes on. More bytes do not change an answer.
pub fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let considered = bytes.get(..MOST).unwrap_or(bytes);
    let answer = http(considered).unwrap_or_else(|| tls(considered));
    answer.or_else(|| (considered.len() == MOST).then_some(Answer::NotTls))
}

/// `None` if the bytes are not HTTP. Some servers answer bytes that they do not understand with a page and no head.
fn http(bytes: &[u8]) -> Option<Option<Answer>> {
    let beginnings = ["HTTP/", "<!DOCTYPE", "<html"].map(str::as_bytes);
    beginnings.into_iter().find_map(|beginning| {
        let seen = bytes.get(..beginning.len()).unwrap_or(bytes);
        let is_whole = seen.len() == beginning.len();
        let is_http = beginning.get(..seen.len())?.eq_ignore_ascii_case(seen);
        is_http.then(|| is_whole.then_some(Answer::PlainHttp))
    })
}

fn tls(bytes: &[u8]) -> Option<Answer> {
    // A server may split its message over records.
    let mut message = Vec::new();
    let mut rest = bytes;
    while let [kind @ (HANDSHAKE | ALERT), after @ ..] = rest {
        let (length, after) = match after {
            [3, 0..=4, high @ 0..=0x40, low, after @ ..] => ([*high, *low], after),
            [] | [3] | [3, 0..=4] | [3, 0..=4, 0..=0x40] => return None,
            _ => break,
        };
        let whole = after.split_at_checked(u16::from_be_bytes(length).into());
        let answer = if *kind == ALERT {
            alert(whole?.0)
        } else {
            // A record can hold the whole first flight, of which the first message is enough.
            message.extend_from_slice(whole.map_or(after, |(record, _)| record));
            handshake(&message)
        };
        if answer.is_some() {
            return answer;
        }
        rest = whole?.1;
    }
    (!rest.is_empty()).then_some(Answer::NotTls)
}

/// The answer in an alert record; `None` if the server goes on after it.
fn alert(record: &[u8]) -> Option<Answer> {
    record.chunks(2).find_map(|alert| match *alert {
        // A warning, unrecognized_name: the server has no such name and serves a default (RFC 6066 section 3).
        [1, 112] => None,
        [1 | 2, code] => Some(Answer::Alert(code)),
        _ => Some(Answer::NotTls),
    })
}

/// The answer in the first handshake message; `None` if more of it must come.
fn handshake(message: &[u8]) -> Option<Answer> {
    let mut reader = Reader(message);
    match reader.array()? {
        [2] => Some(server_hello(reader.counted(3)?).unwrap_or(Answer::NotTls)),
        [_] => Some(Answer::NotTls),
    }
}

/// `None` if it is invalid.
fn server_hello(body: &[u8]) -> Option<Answer> {
    let mut reader = Reader(body);
    let mut version = u16::from_be_bytes(reader.array()?);
    let random: [u8; 32] = reader.array()?;
    reader.counted(1).filter(|session| session.len() <= 32)?;
    let cipher = u16::from_be_bytes(reader.array()?);
    let [_compression] = reader.array()?;
    let mut alpn = None;
    // A server may leave out the extensions together with their length.
    let mut extensions = match reader.0 {
        [] => Reader(&[]),
        _ => Reader(reader.counted(2)?),
    };
    while !extensions.0.is_empty() {
        let kind = u16::from_be_bytes(extensions.array()?);
        let mut value = Reader(extensions.counted(2)?);
        match kind {
            SUPPORTED_VERSIONS => version = u16::from_be_bytes(value.array()?),
            ALPN => {
                let protocol = Reader(value.counted(2)?).counted(1)?;
                alpn = Some(protocol.escape_ascii().to_string());
            }
            _ => {}
        }
    }
    let is_valid = reader.0.is_empty() && version >= 0x0300;
    is_valid.then_some(Answer::ServerHello {
        version,
        cipher,
        alpn,
        // A HelloRetryRequest has a fixed random (RFC 8446 section 4.1.3), of which this is enough.
        is_retry: random.starts_with(&[0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11]),
    })
}

/// The name of a version.
pub fn version_name(version: u16) -> Cow<'static, str> {
    match version {
        0x0300 => "SSL 3.0".into(),
        0x0301 => "TLS 1.0".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        _ => format!("0x{version:04X}").into(),
    }
}

/// The name of a cipher suite in IANA's registry, or its number if it is an uncommon one.
pub fn cipher_name(suite: u16) -> Cow<'static, str> {
    let number = format!("0x{suite:04X}");
    let found = CIPHERS.lines().find_map(|line| {
        let (end, numbers) = line.trim().split_once(' ')?;
        let mut columns = BEGINNINGS.split(' ').zip(numbers.split_whitespace());
        let (beginning, _) = columns.find(|(_, own)| *own == number)?;
        Some(format!("{beginning}{end}"))
    });
    found.unwrap_or(number).into()
}

/// Bytes that are yet to be read.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// What follows its own length in `width` bytes.
    fn counted(&mut self, width: usize) -> Option<&'b [u8]> {
        let length = self.take(width)?.iter();
        self.take(length.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }
}

#[cfg(test)]
mod tests;
