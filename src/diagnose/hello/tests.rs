use super::*;

const OFFERS: [Offer; 6] = [
    Offer::Tls13,
    Offer::Tls12,
    Offer::Tls11,
    Offer::Tls10,
    Offer::Rsa,
    Offer::Ecdsa,
];

fn random() -> [u8; 96] {
    std::array::from_fn(|index| u8::try_from(index).unwrap() + 100)
}

struct Hello {
    version: u16,
    session: Vec<u8>,
    suites: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    fn body(&self, kind: u16) -> Option<&[u8]> {
        let mut all = self.extensions.iter();
        all.find(|(own, _)| *own == kind).map(|(_, body)| &body[..])
    }

    /// The entries of an extension that is a list of numbers after a length in `width` bytes.
    fn list(&self, kind: u16, width: usize) -> Vec<u16> {
        let mut reader = Reader(self.body(kind).unwrap());
        let list = pairs(reader.counted(width).unwrap());
        assert!(reader.0.is_empty());
        list
    }
}

fn pairs(bytes: &[u8]) -> Vec<u16> {
    assert_eq!(bytes.len() % 2, 0);
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

/// Reads a hello back; every length must be right to the last byte.
fn parse(bytes: &[u8]) -> Hello {
    let mut record = Reader(bytes);
    assert_eq!(record.array(), Some([HANDSHAKE, 3, 1]));
    let mut message = Reader(record.counted(2).unwrap());
    assert!(record.0.is_empty());
    assert_eq!(message.array(), Some([1]));
    let mut hello = Reader(message.counted(3).unwrap());
    assert!(message.0.is_empty());
    let version = u16::from_be_bytes(hello.array().unwrap());
    assert_eq!(hello.take(32), Some(&random()[..32]));
    let session = hello.counted(1).unwrap().to_vec();
    let suites = pairs(hello.counted(2).unwrap());
    assert_eq!(hello.counted(1), Some(&[0][..]));
    let mut rest = Reader(hello.counted(2).unwrap());
    assert!(hello.0.is_empty());
    let mut extensions: Vec<(u16, Vec<u8>)> = Vec::new();
    while !rest.0.is_empty() {
        let kind = u16::from_be_bytes(rest.array().unwrap());
        assert!(extensions.iter().all(|(other, _)| *other != kind));
        extensions.push((kind, rest.counted(2).unwrap().to_vec()));
    }
    // Some servers fail if the last extension is empty.
    assert!(extensions.last().is_some_and(|(_, body)| !body.is_empty()));
    Hello {
        version,
        session,
        suites,
        extensions,
    }
}

fn hello(offer: Offer) -> Hello {
    parse(&client_hello(offer, Some("a.example"), &random()))
}

#[test]
fn the_versions_are_those_of_the_offer() {
    let expected = [
        (Offer::Tls13, 0x0303, &[0x0304][..]),
        (Offer::Tls12, 0x0303, &[]),
        (Offer::Tls11, 0x0302, &[]),
        (Offer::Tls10, 0x0301, &[]),
        (Offer::Rsa, 0x0303, &[]),
        (Offer::Ecdsa, 0x0303, &[]),
    ];
    for (offer, version, versions) in expected {
        let hello = hello(offer);
        assert_eq!(hello.version, version, "{offer:?}");
        match versions {
            [] => {
                assert!(hello.body(SUPPORTED_VERSIONS).is_none(), "{offer:?}");
                assert!(hello.body(45).is_none() && hello.body(51).is_none());
                assert!(hello.session.is_empty());
            }
            _ => {
                assert_eq!(hello.list(SUPPORTED_VERSIONS, 1), versions);
                assert_eq!(hello.body(45), Some(&[1, 1][..]));
                let share = [&[0, 36, 0, 29, 0, 32][..], &random()[64..]].concat();
                assert_eq!(hello.body(51), Some(&share[..]));
                assert_eq!(hello.session, random()[32..64]);
                // A share must be of a listed group.
                assert!(hello.list(10, 2).contains(&29));
            }
        }
    }
}

#[test]
fn the_suites_need_the_certificate_of_the_offer() {
    let names = |offer| hello(offer).suites.into_iter().map(cipher_name);
    assert!(names(Offer::Ecdsa).all(|name| name.starts_with("TLS_ECDHE_ECDSA_")));
    assert!(names(Offer::Rsa).all(|name| name.contains("_RSA_") && !name.contains("ECDSA")));
    assert!(names(Offer::Tls13).all(|name| !name.contains("WITH")));
    assert!(names(Offer::Tls12).all(|name| name.contains("WITH")));
    // Before TLS 1.2 there is no AEAD, and no hash but SHA-1 and MD5.
    for offer in [Offer::Tls10, Offer::Tls11] {
        let mut suites = hello(offer).suites;
        assert_eq!(suites.pop(), Some(0x00FF));
        let mut names = suites.into_iter().map(cipher_name);
        assert!(names.all(|name| name.ends_with("_SHA") || name.ends_with("_MD5")));
    }
}

#[test]
fn the_signatures_are_those_of_the_offer() {
    let is_rsa = |signature: &u16| matches!(*signature, 0x0804..=0x0806) || signature & 0xFF == 1;
    assert!(hello(Offer::Rsa).list(13, 2).iter().all(is_rsa));
    let both = hello(Offer::Ecdsa).list(13, 2);
    assert!(both.iter().any(is_rsa) && !both.iter().all(is_rsa));
    for offer in [Offer::Tls10, Offer::Tls11] {
        assert!(hello(offer).body(13).is_none());
    }
    // TLS 1.3 signs neither with PKCS #1 nor with SHA-1, but needs RSA-PSS.
    assert!(hello(Offer::Tls13).list(13, 2).contains(&0x0804));
}

#[test]
fn the_extensions_are_those_of_the_age() {
    for offer in OFFERS {
        let hello = hello(offer);
        let is_old = matches!(offer, Offer::Tls10 | Offer::Tls11);
        assert_eq!(hello.body(11), Some(&[1, 0][..]));
        assert_eq!(hello.list(10, 2).contains(&29), !is_old);
        assert!(hello.list(10, 2).contains(&23));
        assert_eq!(hello.body(23), (!is_old).then_some(&[][..]));
        assert_eq!(hello.body(0xFF01), (!is_old).then_some(&[0][..]));
        assert_eq!(hello.suites.contains(&0x00FF), is_old);
        let alpn = match offer {
            Offer::Tls10 | Offer::Tls11 => None,
            _ => Some(&b"\0\x09\x08http/1.1"[..]),
        };
        assert_eq!(hello.body(ALPN), alpn, "{offer:?}");
    }
}

#[test]
fn only_a_name_is_sent_as_sni() {
    let sni = |host| {
        parse(&client_hello(Offer::Tls10, host, &random()))
            .body(0)
            .map(<[u8]>::to_vec)
    };
    let expected = b"\0\x0C\0\0\x09a.example".to_vec();
    assert_eq!(sni(Some("a.example")), Some(expected.clone()));
    assert_eq!(sni(Some("a.example.")), Some(expected));
    let long = "a".repeat(70_000);
    for host in ["", ".", "192.0.2.1", "2001:db8::1", "::1", &long] {
        assert_eq!(sni(Some(host)), None, "{host}");
    }
    assert_eq!(sni(None), None);
    assert!(sni(Some(&"a".repeat(253))).is_some());
}

/// A ServerHello as a handshake message.
fn message(version: u16, random: [u8; 32], cipher: u16, extensions: Option<&[u8]>) -> Vec<u8> {
    let body = [
        &version.to_be_bytes()[..],
        &random,
        &counted(1, &[7; 32]),
        &cipher.to_be_bytes(),
        &[0],
        &extensions.map(|all| counted(2, all)).unwrap_or_default(),
    ]
    .concat();
    [&[2][..], &counted(3, &body)].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &counted(2, content)].concat()
}

fn server(version: u16, cipher: u16, alpn: Option<&str>, is_retry: bool) -> Answer {
    Answer::ServerHello {
        version,
        cipher,
        alpn: alpn.map(str::to_owned),
        is_retry,
    }
}

const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
    0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];
const H2: &[u8] = b"\x00\x17\0\0\x00\x10\0\x05\0\x03\x02h2\xFF\x01\0\x01\0";
const IS_TLS13: &[u8] = &[0, 51, 0, 2, 0, 29, 0, 43, 0, 2, 3, 4];

/// The answer, after a check of every beginning: each has the same answer or none, and none has another.
fn read(bytes: &[u8]) -> Option<Answer> {
    let answer = read_answer(bytes);
    let mut before = None;
    for end in 0..=bytes.len() {
        let now = read_answer(&bytes[..end]);
        assert!(
            before.is_none() || now == before,
            "at {end}: {before:?}, {now:?}"
        );
        assert!(now.is_none() || now == answer, "at {end}: {now:?}");
        assert!(now.is_some() || end < MOST);
        before = now;
    }
    answer
}

#[test]
fn a_server_hello_is_read() {
    let tls12 = message(0x0303, [9; 32], 0xC02F, Some(H2));
    let expected = Some(server(0x0303, 0xC02F, Some("h2"), false));
    assert_eq!(read(&record(22, &tls12)), expected);
    // The answer needs no byte after the message, and no whole record.
    let flight = record(22, &[&tls12[..], &[11; 3000]].concat());
    assert_eq!(read(&flight), expected);
    assert_eq!(read(&flight[..5 + tls12.len()]), expected);
    assert_eq!(read(&flight[..4 + tls12.len()]), None);

    let tls13 = |random| record(22, &message(0x0303, random, 0x1301, Some(IS_TLS13)));
    assert_eq!(
        read(&tls13([9; 32])),
        Some(server(0x0304, 0x1301, None, false))
    );
    assert_eq!(
        read(&tls13(RETRY)),
        Some(server(0x0304, 0x1301, None, true))
    );

    let bare = message(0x0301, [9; 32], 0x002F, None);
    let old = [&[22, 3, 1][..], &counted(2, &bare)].concat();
    assert_eq!(read(&old), Some(server(0x0301, 0x002F, None, false)));
    let empty = record(22, &message(0x0300, [9; 32], 0x0005, Some(&[])));
    assert_eq!(read(&empty), Some(server(0x0300, 0x0005, None, false)));
}

#[test]
fn a_split_server_hello_is_read() {
    let message = message(0x0303, [9; 32], 0xC02F, Some(H2));
    let expected = Some(server(0x0303, 0xC02F, Some("h2"), false));
    for at in 0..=message.len() {
        let (first, second) = message.split_at(at);
        let records = [record(22, first), record(22, second)].concat();
        assert_eq!(read(&records), expected, "at {at}");
    }
    for size in 1..10 {
        let records = message.chunks(size).map(|part| record(22, part));
        assert_eq!(read(&records.collect::<Vec<_>>().concat()), expected);
    }
}

#[test]
fn an_alert_is_read() {
    for code in [0, 40, 70, 80, 112, 255] {
        assert_eq!(read(&record(21, &[2, code])), Some(Answer::Alert(code)));
    }
    assert_eq!(read(&record(21, &[1, 0])), Some(Answer::Alert(0)));
    assert_eq!(read(&[21, 3, 0, 0, 2, 2, 40]), Some(Answer::Alert(40)));
    assert_eq!(read(&record(21, &[3, 40])), Some(Answer::NotTls));
    assert_eq!(read(&record(21, &[2])), Some(Answer::NotTls));
}

#[test]
fn an_unrecognized_name_is_skipped() {
    let warning = record(21, &[1, 112]);
    let hello = record(22, &message(0x0303, [9; 32], 0xC02F, None));
    let expected = Some(server(0x0303, 0xC02F, None, false));
    assert_eq!(read(&warning), None);
    assert_eq!(read(&[&warning[..], &hello].concat()), expected);
    assert_eq!(read(&[&warning[..], &warning, &hello].concat()), expected);
    let fatal = record(21, &[2, 40]);
    assert_eq!(
        read(&[&warning[..], &fatal].concat()),
        Some(Answer::Alert(40))
    );
    assert_eq!(read(&record(21, &[1, 112, 2, 40])), Some(Answer::Alert(40)));
    assert_eq!(
        read(&[&warning[..], b"HTTP/1.1"].concat()),
        Some(Answer::NotTls)
    );
}

#[test]
fn http_is_plain_http() {
    let heads = [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "http/1.0 200",
        "<html>\r\n<head><title>400 The plain",
        "<!doctype html>",
        "<HTML>",
    ];
    for head in heads {
        assert_eq!(read(head.as_bytes()), Some(Answer::PlainHttp), "{head}");
    }
    assert_eq!(read(b"HTTP"), None);
    assert_eq!(read(b""), None);
}

#[test]
fn other_bytes_are_not_tls() {
    let hello = message(0x0303, [9; 32], 0xC02F, Some(H2));
    let with_length = |length: usize| {
        let body = &hello[4..];
        let counted = [&[2][..], &counted(3, &body[..length])].concat();
        read(&record(22, &counted))
    };
    for length in (0..hello.len() - 4).filter(|length| *length != 70) {
        assert_eq!(with_length(length), Some(Answer::NotTls), "{length}");
    }
    // Only without its extensions is it valid again.
    assert!(matches!(with_length(70), Some(Answer::ServerHello { .. })));
    let junk: [&[u8]; 12] = [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTQ",
        b"<?xml",
        // An error of SSL 2.
        &[0x80, 3, 0, 0, 1],
        &[21, 2, 0, 0, 2, 2, 40],
        &[22, 3, 5],
        &[22, 3, 3, 0x41],
        &[20, 3, 3, 0, 1, 1],
        &[23, 3, 3, 0, 1, 1],
        // A ServerHelloDone.
        &[22, 3, 3, 0, 4, 14, 0, 0, 0],
        // A session ID of 33 bytes.
        &record(
            22,
            &[&[2, 0, 0, 71, 3, 3][..], &[9; 32], &[33], &[0; 36]].concat(),
        ),
    ];
    for bytes in junk {
        assert_eq!(read(bytes), Some(Answer::NotTls), "{bytes:?}");
    }
}

#[test]
fn an_answer_has_a_bound() {
    let endless = record(22, &[]).repeat(4000);
    assert_eq!(read_answer(&endless[..MOST - 1]), None);
    assert_eq!(read_answer(&endless), Some(Answer::NotTls));
    let warnings = record(21, &[1, 112]).repeat(4000);
    assert_eq!(read_answer(&warnings), Some(Answer::NotTls));
    let long = record(22, &[&[2, 0xFF, 0xFF, 0xFF][..], &[0; 16_380]].concat());
    assert_eq!(read_answer(&long[..MOST - 1]), None);
    assert_eq!(read_answer(&long), Some(Answer::NotTls));
    // A record of full size whose first message fills it.
    let padding = [&[0, 21][..], &counted(2, &[0; 16_384 - 4 - 70 - 2 - 4])].concat();
    let full = record(22, &message(0x0303, [9; 32], 0xC02F, Some(&padding)));
    assert_eq!(full.len(), MOST);
    assert_eq!(read_answer(&full[..MOST - 1]), None);
    assert_eq!(
        read_answer(&full),
        Some(server(0x0303, 0xC02F, None, false))
    );
}

#[test]
fn a_protocol_is_shown_in_printable_ascii() {
    let alpn = b"\x00\x10\0\x05\0\x03\x02\x1B\xFF";
    let hello = record(22, &message(0x0303, [9; 32], 0xC02F, Some(alpn)));
    let expected = server(0x0303, 0xC02F, Some("\\x1b\\xff"), false);
    assert_eq!(read(&hello), Some(expected));
}

#[test]
fn no_bytes_panic() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    for _ in 0..1_000 {
        let bytes: Vec<u8> = (0..next()).map(|_| next()).collect();
        read(&bytes);
        // Bytes that get further: as a record, as a message, and as a ServerHello.
        read(&record(22, &bytes));
        read(&record(21, &bytes));
        read(&record(22, &[&[2][..], &counted(3, &bytes)].concat()));
        read(&record(22, &message(0x0303, [9; 32], 1, Some(&bytes))));
    }
    let warning = record(21, &[1, 112]);
    let hello = message(0x0303, RETRY, 0xC02F, Some(&[H2, IS_TLS13].concat()));
    let (first, second) = hello.split_at(20);
    let valid = [warning, record(22, first), record(22, second)].concat();
    for at in 0..valid.len() {
        for value in 0..=255 {
            let mut changed = valid.clone();
            changed[at] = value;
            read(&changed);
        }
    }
}

#[test]
fn names_are_those_of_the_registry() {
    assert_eq!(version_name(0x0300), "SSL 3.0");
    assert_eq!(version_name(0x0303), "TLS 1.2");
    assert_eq!(version_name(0x7F1C), "0x7F1C");
    assert_eq!(cipher_name(0xC02F), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(cipher_name(0x1303), "TLS_CHACHA20_POLY1305_SHA256");
    assert_eq!(cipher_name(0x000A), "TLS_RSA_WITH_3DES_EDE_CBC_SHA");
    assert_eq!(cipher_name(0x0004), "TLS_RSA_WITH_RC4_128_MD5");
    assert_eq!(cipher_name(0x0032), "TLS_DHE_DSS_WITH_AES_128_CBC_SHA");
    assert_eq!(
        cipher_name(0xCCAA),
        "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(cipher_name(0), "0x0000");
    assert_eq!(cipher_name(0xC0FF), "0xC0FF");
    // Each offered suite has a name.
    for offer in OFFERS {
        let mut suites = hello(offer).suites.into_iter();
        assert!(suites.all(|suite| suite == 0x00FF || cipher_name(suite).starts_with("TLS_")));
    }
}
