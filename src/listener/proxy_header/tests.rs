use proptest::prelude::*;

use super::*;

const FIXED: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A version 2 header.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = FIXED.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend_from_slice(block);
    header
}

/// A block with 192.0.2.1:51234 as the source, 192.0.2.2:443 as the destination, and `extensions`.
fn ipv4(extensions: &[u8]) -> Vec<u8> {
    let mut block = vec![192, 0, 2, 1, 192, 0, 2, 2, 0xc8, 0x22, 0x01, 0xbb];
    block.extend_from_slice(extensions);
    block
}

fn ipv6() -> Vec<u8> {
    let ip: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let mut block = [ip.octets(), ip.octets()].concat();
    block.extend([0xc8, 0x22, 0x01, 0xbb]);
    block
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// A header with `extensions` and a checksum, to which `wrong` is added.
fn summed(extensions: &[u8], wrong: u32) -> Vec<u8> {
    let blank = [extensions, &tlv(CHECKSUM, &[0; 4])].concat();
    let mut header = v2(0x21, 0x11, &ipv4(&blank));
    let sum = crc32c(header.iter().copied()).wrapping_add(wrong);
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header
}

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

/// The header must be found, also with bytes after it, and every beginning of it must be partial.
#[track_caller]
fn expect_whole(header: &[u8], source: Source, secure: bool) {
    let whole = Ok(Progress::Whole {
        told: Told { source, secure },
        length: header.len(),
    });
    for more in ["", "\x16\x03\x01", "GET / HTTP/1.1\r\n", "PROXY "] {
        let bytes = [header, more.as_bytes()].concat();
        assert_eq!(parse(&bytes), whole, "{}", bytes.escape_ascii());
    }
    for end in 0..header.len() {
        assert_eq!(parse(&header[..end]), Ok(Progress::Partial), "{end} bytes");
    }
}

#[test]
fn every_kind_of_header_is_read() {
    let longest = format!("PROXY UNKNOWN{}\r\n", " f".repeat(46));
    assert_eq!(longest.len(), LONGEST_V1);
    for (header, source) in [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 51234 443\r\n",
            client("192.0.2.1:51234"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            client("255.255.255.255:65535"),
        ),
        (
            "PROXY TCP6 2001:db8::7 ::1 0 443\r\n",
            client("[2001:db8::7]:0"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("PROXY UNKNOWN\r\n", Source::Unnamed),
        ("PROXY UNKNOWN whatever 1 2 3\r\n", Source::Unnamed),
        (&longest, Source::Unnamed),
    ] {
        expect_whole(header.as_bytes(), source, false);
    }
    let from = client("192.0.2.1:51234");
    for (header, source) in [
        (v2(0x21, 0x11, &ipv4(b"")), from),
        (v2(0x21, 0x12, &ipv4(b"")), from),
        (v2(0x21, 0x21, &ipv6()), client("[2001:db8::7]:51234")),
        (v2(0x21, 0x22, &ipv6()), client("[2001:db8::7]:51234")),
        (v2(0x21, 0x31, &[b'/'; 216]), Source::Unnamed),
        (v2(0x21, 0x32, &[0; 216]), Source::Unnamed),
        (v2(0x21, 0x00, b""), Source::Unnamed),
        (v2(0x21, 0x00, b"ignored"), Source::Unnamed),
        (v2(0x20, 0x00, b""), Source::Hop),
        // What a hop says about its own connection must be ignored.
        (v2(0x20, 0x11, &ipv4(b"")), Source::Hop),
        (v2(0x20, 0x99, b"ignored"), Source::Hop),
        (v2(0x21, 0x11, &ipv4(&tlv(0x04, b""))), from),
        (
            v2(0x21, 0x11, &ipv4(&tlv(0x04, &[0; LONGEST_BLOCK - 15]))),
            from,
        ),
        (v2(0x21, 0x11, &ipv4(&tlv(0xee, b"of someone's own"))), from),
        (summed(b"", 0), from),
        (summed(&tlv(0x02, b"api.example.com"), 0), from),
    ] {
        expect_whole(&header, source, false);
    }
}

#[test]
fn tls_at_the_hop_is_told() {
    for (value, secure) in [
        (&[0x01, 0, 0, 0, 0][..], true),
        (&[0x07, 0, 0, 0, 1], true),
        (&[0x00, 0, 0, 0, 0], false),
        (&[0x06, 0, 0, 0, 0], false),
        (b"\x01\0\0\0\0\x21\0\x07TLSv1.3", true),
    ] {
        let header = v2(0x21, 0x11, &ipv4(&tlv(SSL, value)));
        expect_whole(&header, client("192.0.2.1:51234"), secure);
    }
}

#[test]
fn every_fault_is_named() {
    let too_long = format!("PROXY UNKNOWN{}\r\n", " ".repeat(LONGEST_V1));
    for (header, fault) in [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\n",
            "version 1: the line ends without a carriage return",
        ),
        (
            &too_long,
            "version 1: the line does not end within 107 bytes",
        ),
        (
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
            "version 1: the protocol is UDP4, allowed: TCP4, TCP6, UNKNOWN",
        ),
        (
            "PROXY \r\n",
            "version 1: the protocol is an unknown value, allowed: TCP4, TCP6, UNKNOWN",
        ),
        (
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n",
            "version 1: the protocol is tcp4, allowed: TCP4, TCP6, UNKNOWN",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 443\r\n",
            "version 1: found 3 values after the protocol, expected two addresses and two ports",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 443 \r\n",
            "version 1: found 5 values after the protocol, expected two addresses and two ports",
        ),
        (
            "PROXY TCP4\r\n",
            "version 1: found 0 values after the protocol, expected two addresses and two ports",
        ),
        (
            "PROXY TCP4 2001:db8::7 192.0.2.2 1 443\r\n",
            "version 1: the source address is not IPv4",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.02.2 1 443\r\n",
            "version 1: the destination address is not IPv4",
        ),
        (
            "PROXY TCP6 192.0.2.1 ::1 1 443\r\n",
            "version 1: the source address is not IPv6",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "version 1: the port is 65536, expected 0 to 65535",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 +443\r\n",
            "version 1: the port is +443, expected 0 to 65535",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n",
            "version 1: the port is 01, expected 0 to 65535",
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2  443\r\n",
            "version 1: the port is nothing, expected 0 to 65535",
        ),
    ] {
        assert_eq!(parse(header.as_bytes()), Err(fault.to_owned()), "{header}");
    }
    let right = tlv(SSL, &[1, 0, 0, 0, 0]);
    let twice = [tlv(CHECKSUM, &[0; 4]), tlv(CHECKSUM, &[0; 4])].concat();
    for (header, fault) in [
        (
            v2(0x11, 0x11, &ipv4(b"")),
            "found the version 1, expected 2",
        ),
        (
            v2(0x22, 0x11, &ipv4(b"")),
            "found the command 2, expected 0 or 1",
        ),
        (
            v2(0x21, 0x13, &ipv4(b"")),
            "found the family and transport 0x13",
        ),
        (
            v2(0x21, 0x10, &ipv4(b"")),
            "found the family and transport 0x10",
        ),
        (
            v2(0x21, 0x41, &ipv4(b"")),
            "found the family and transport 0x41",
        ),
        (
            v2(0x21, 0x11, &[0; 11]),
            "found 11 bytes for the addresses, expected 12",
        ),
        (
            v2(0x21, 0x21, &[0; 35]),
            "found 35 bytes for the addresses, expected 36",
        ),
        (
            v2(0x21, 0x31, &[0; 215]),
            "found 215 bytes for the addresses, expected 216",
        ),
        (
            v2(0x21, 0x11, &[0; 4097]),
            "it announces 4097 bytes, more than 4096",
        ),
        (
            v2(0x20, 0x00, &[0; 65535]),
            "it announces 65535 bytes, more than 4096",
        ),
        (
            v2(0x21, 0x11, &ipv4(b"\x04")),
            "the extension 0x04 is cut off",
        ),
        (
            v2(0x21, 0x11, &ipv4(b"\x04\0")),
            "the extension 0x04 is cut off",
        ),
        (
            v2(0x21, 0x11, &ipv4(b"\x20\0\x05\x01\0\0\0")),
            "the extension 0x20 is cut off",
        ),
        (
            v2(0x21, 0x11, &ipv4(&tlv(SSL, &[1, 0, 0, 0]))),
            "found 4 bytes about TLS",
        ),
        (
            v2(0x21, 0x11, &ipv4(&tlv(CHECKSUM, b"abc"))),
            "found a checksum of 3 bytes",
        ),
        (
            v2(0x21, 0x11, &ipv4(&[right.as_slice(), b"\x05\0"].concat())),
            "the extension 0x05 is cut off",
        ),
    ] {
        let fault = format!("version 2: {fault}");
        assert_eq!(parse(&header), Err(fault), "{}", header.escape_ascii());
    }
    let fault = parse(&summed(b"", 1)).unwrap_err();
    assert!(
        fault.starts_with("version 2: found the checksum "),
        "{fault}"
    );
    // Both would have to be right, which is impossible.
    assert!(parse(&v2(0x21, 0x11, &ipv4(&twice))).is_err());
    let (first, rest) = (summed(b"", 0), tlv(0x04, b""));
    // The checksum also covers what comes after it, and the length.
    let longer = [&first[..14], &[0, 22], &first[16..], &rest].concat();
    assert!(parse(&longer).unwrap_err().contains("checksum"));
}

#[test]
fn what_is_no_header_is_told_as_soon_as_it_can_be() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01",
        b"POST",
        b"PROXY\t",
        b"proxy ",
        b"\r\n\r\nGET",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\0",
    ] {
        assert_eq!(
            parse(bytes),
            Ok(Progress::Absent),
            "{}",
            bytes.escape_ascii()
        );
    }
    for bytes in [&b""[..], b"P", b"PROXY", b"\r\n", FIXED] {
        assert_eq!(
            parse(bytes),
            Ok(Progress::Partial),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

/// Bytes that often get past the first checks.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let text = "PROXY (TCP4|TCP6|UNKNOWN|X)( [0-9a-f:.]{0,20}){0,5}(\r\n|\n|\r)?";
    let families = prop::sample::select(vec![0x00_u8, 0x11, 0x12, 0x21, 0x31, 0x13]);
    let binary = (
        0x1f_u8..=0x23,
        families,
        any::<u8>(),
        0_u8..18,
        any::<Vec<u8>>(),
    )
        .prop_map(|(command, family, low, high, rest)| {
            let mut header = FIXED.to_vec();
            header.extend([command, family, high, low]);
            header.extend(rest);
            header
        });
    prop_oneof![any::<Vec<u8>>(), text.prop_map(String::into_bytes), binary]
}

proptest! {
    /// The parser does not panic, its requests for more bytes are bounded, and more bytes never change a result.
    #[test]
    fn arbitrary_bytes_are_read_once_and_for_all(bytes in likely(), more in any::<Vec<u8>>()) {
        let progress = parse(&bytes);
        let all = [bytes.as_slice(), &more].concat();
        match progress {
            Ok(Progress::Partial) => prop_assert!(bytes.len() < FIXED_V2 + LONGEST_BLOCK),
            Ok(Progress::Whole { length, .. }) => {
                prop_assert!((1..=bytes.len()).contains(&length));
                prop_assert!(parse(&bytes[..length - 1]) == Ok(Progress::Partial));
                prop_assert_eq!(parse(&all), progress);
            }
            Ok(Progress::Absent) | Err(_) => prop_assert_eq!(parse(&all), progress),
        }
    }
}
