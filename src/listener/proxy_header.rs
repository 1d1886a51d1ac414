//! The PROXY protocol header, versions 1 and 2: who connected to the hop in front (haproxy's proxy-protocol.txt,
//! section 2).
//!
//! [`parse`] is a pure parser for the beginning of a connection. [`read`] reads exactly the header from a socket and
//! fails with the `proxy_protocol_…` reasons. Details do not contain addresses, because a setting decides how much of
//! an address may be written.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::first_bytes::{FIRST_BYTES, FirstBytes, Looks, PROXY_V2, classify, first_bytes};
use crate::reason::{Failure, Reason};
use crate::secrets;

/// The beginning of a text header (section 2.1).
const PROXY_V1: &[u8] = b"PROXY ";

/// Longest line of version 1, including its end (section 2.1).
const LONGEST_V1: usize = 107;

/// Signature, version and command, family, length (section 2.2).
const FIXED_V2: usize = 16;

/// Most bytes after the fixed part. The format allows 64 KiB, but addresses take at most 216 and what hops add (names,
/// checksums, the subject of a certificate) some hundred.
const LONGEST_BLOCK: usize = 4096;

/// How much is read from the socket at once; this is enough for nearly every header.
const PIECE: usize = 256;

/// PP2_TYPE_CRC32C: a checksum of the whole header (section 2.2.3).
const CHECKSUM: u8 = 0x03;

/// PP2_TYPE_SSL, and the bit in its first byte that means that the client used TLS (section 2.2.6).
const SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// The content of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whose connection the hop forwards.
    pub source: Source,
    /// Whether that connection uses TLS up to the hop.
    pub secure: bool,
}

/// Whose connection the hop in front forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The hop's own connection, such as a health check (version 2: LOCAL).
    Hop,
    /// A connection without an IP address, or with an unknown one (UNKNOWN, AF_UNSPEC, AF_UNIX).
    Unnamed,
    /// The connection of a client with this address and port.
    Client(SocketAddr),
}

/// What was found at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not a header.
    Absent,
    /// The beginning of a header; more bytes are needed.
    Partial,
    /// A complete header.
    Whole {
        /// Its content.
        told: Told,
        /// How many bytes it takes; what follows belongs to the connection.
        length: usize,
    },
}

/// Reads the header at the beginning of `bytes`, which may end anywhere.
///
/// # Errors
/// A description of what is wrong.
pub fn parse(bytes: &[u8]) -> Result<Progress, String> {
    let begins = |signature: &[u8]| {
        let common = signature.len().min(bytes.len());
        bytes.get(..common) == signature.get(..common)
    };
    if begins(PROXY_V2) {
        parse_v2(bytes).map_err(|fault| format!("version 2: {fault}"))
    } else if begins(PROXY_V1) {
        parse_v1(bytes).map_err(|fault| format!("version 1: {fault}"))
    } else {
        Ok(Progress::Absent)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Progress, String> {
    let within = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        return match within.len() {
            LONGEST_V1 => Err(format!("the line does not end within {LONGEST_V1} bytes")),
            _ => Ok(Progress::Partial),
        };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or("the line ends without a carriage return")?;
    let mut words = line.split(|&byte| byte == b' ').skip(1);
    let protocol = words.next().unwrap_or_default();
    let source = match protocol {
        // The rest of the line must be ignored.
        b"UNKNOWN" => Source::Unnamed,
        b"TCP4" => Source::Client(addresses_v1::<Ipv4Addr>(words, "IPv4")?),
        b"TCP6" => Source::Client(addresses_v1::<Ipv6Addr>(words, "IPv6")?),
        other => {
            let found = secrets::known([other], &[&["UDP4", "UDP6", "UNIX", "TCP4", "TCP6"]]);
            return Err(format!(
                "the protocol is {found}, allowed: TCP4, TCP6, UNKNOWN"
            ));
        }
    };
    let told = Told {
        source,
        secure: false,
    };
    Ok(Progress::Whole {
        told,
        length: end + 1,
    })
}

/// The source in `SOURCE DESTINATION SOURCE_PORT DESTINATION_PORT`; all four are checked.
fn addresses_v1<'a, A>(
    words: impl Iterator<Item = &'a [u8]>,
    family: &str,
) -> Result<SocketAddr, String>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let words: Vec<_> = words.collect();
    let [source, destination, source_port, destination_port] = words.as_slice() else {
        let count = words.len();
        return Err(format!(
            "found {count} values after the protocol, expected two addresses and two ports"
        ));
    };
    let address = |word: &[u8], whose| {
        let text = std::str::from_utf8(word).ok();
        let address = text.and_then(|text| text.parse::<A>().ok());
        address.ok_or_else(|| format!("the {whose} address is not {family}"))
    };
    let ip = address(source, "source")?.into();
    address(destination, "destination")?;
    let source = SocketAddr::new(ip, port(source_port)?);
    port(destination_port)?;
    Ok(source)
}

/// A decimal port without leading zeros.
fn port(word: &[u8]) -> Result<u16, String> {
    let is_plain = word.iter().all(u8::is_ascii_digit) && (word == b"0" || !word.starts_with(b"0"));
    let text = std::str::from_utf8(word).ok().filter(|_| is_plain);
    let port = text.and_then(|text| text.parse().ok());
    port.ok_or_else(|| {
        let found = secrets::number(word);
        format!("the port is {found}, expected 0 to 65535")
    })
}

fn parse_v2(bytes: &[u8]) -> Result<Progress, String> {
    let Some(&[.., command, family, high, low]) = bytes.first_chunk::<FIXED_V2>() else {
        return Ok(Progress::Partial);
    };
    let version = command >> 4;
    if version != 2 {
        return Err(format!("found the version {version}, expected 2"));
    }
    let is_local = match command & 0x0f {
        0 => true,
        1 => false,
        other => return Err(format!("found the command {other}, expected 0 or 1")),
    };
    let block = usize::from(u16::from_be_bytes([high, low]));
    if block > LONGEST_BLOCK {
        return Err(format!(
            "it announces {block} bytes, more than {LONGEST_BLOCK}"
        ));
    }
    // The length of both addresses and ports, for each family and transport. For a hop's own connection even these must
    // be ignored.
    let addresses = match family {
        _ if is_local => 0,
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        other => return Err(format!("found the family and transport {other:#04x}")),
    };
    if block < addresses {
        return Err(format!(
            "found {block} bytes for the addresses, expected {addresses}"
        ));
    }
    let length = FIXED_V2 + block;
    let Some(header) = bytes.get(..length) else {
        return Ok(Progress::Partial);
    };
    let unextended = |source| {
        let secure = false;
        Ok(Progress::Whole {
            told: Told { source, secure },
            length,
        })
    };
    if is_local {
        return unextended(Source::Hop);
    }
    if family == 0x00 {
        return unextended(Source::Unnamed);
    }
    let (addresses, extensions) = header
        .get(FIXED_V2..)
        .unwrap_or_default()
        .split_at(addresses);
    Ok(Progress::Whole {
        told: Told {
            source: source_v2(addresses),
            secure: is_secure(header, extensions)?,
        },
        length,
    })
}

/// The source address and port; the length of the block determines the family.
fn source_v2(addresses: &[u8]) -> Source {
    if let Ok([a, b, c, d, _, _, _, _, high, low, _, _]) = <[u8; 12]>::try_from(addresses) {
        let port = u16::from_be_bytes([high, low]);
        return Source::Client(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port));
    }
    if addresses.len() == 36
        && let Some((ip, rest)) = addresses.split_first_chunk::<16>()
        && let Some(&[high, low, _, _]) = rest.last_chunk()
    {
        let port = u16::from_be_bytes([high, low]);
        return Source::Client(SocketAddr::new(Ipv6Addr::from(*ip).into(), port));
    }
    Source::Unnamed
}

/// Whether the TLVs at the end of `header` say that the client used TLS. If there is a checksum, it must be right.
fn is_secure(header: &[u8], extensions: &[u8]) -> Result<bool, String> {
    let mut secure = false;
    let mut is_summed = false;
    let mut rest = extensions;
    while let Some((&kind, behind)) = rest.split_first() {
        let cut = || format!("the extension {kind:#04x} is cut off");
        let (length, behind) = behind.split_first_chunk::<2>().ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, behind) = behind.split_at_checked(length).ok_or_else(cut)?;
        match kind {
            CHECKSUM if is_summed => return Err("found two checksums".to_owned()),
            CHECKSUM => {
                let sum = value.try_into().ok().map(u32::from_be_bytes);
                let sum = sum.ok_or_else(|| format!("found a checksum of {length} bytes"))?;
                let at = header.len() - behind.len() - value.len();
                let summed = header.iter().enumerate().map(|(index, &byte)| {
                    let is_own = (at..at + value.len()).contains(&index);
                    if is_own { 0 } else { byte }
                });
                let right = crc32c(summed);
                if sum != right {
                    return Err(format!(
                        "found the checksum {sum:08x}, expected {right:08x}"
                    ));
                }
                is_summed = true;
            }
            SSL => {
                let flags = value.first().filter(|_| length >= 5);
                let flags = flags.ok_or_else(|| format!("found {length} bytes about TLS"))?;
                secure = flags & CLIENT_SSL != 0;
            }
            _ => {}
        }
        rest = behind;
    }
    Ok(secure)
}

/// CRC-32C (Castagnoli; RFC 3720 appendix B.4), bit by bit: headers are short and checksums rare.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let sum = bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            let low = sum & 1;
            (sum >> 1) ^ (POLYNOMIAL * low)
        })
    });
    !sum
}

/// Reads the header from the beginning of a connection, and not a byte more. `is_trusted`: the peer may speak for
/// others.
///
/// # Errors
/// `proxy_protocol_missing`, `proxy_protocol_invalid` and `proxy_protocol_untrusted`; for connections without a byte those of
/// [`first_bytes`].
pub async fn read(
    socket: &mut TcpStream,
    is_trusted: bool,
    deadline: Instant,
) -> Result<Told, Failure> {
    if !is_trusted {
        let first = first_bytes(socket, deadline).await?;
        let detail = first.describe();
        return Err(Failure::new(Reason::ProxyProtocolUntrusted, detail));
    }
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let taken = bytes.len();
        let partial = |how| {
            let detail = format!("{how} after {taken} bytes of it");
            Failure::new(Reason::ProxyProtocolInvalid, detail)
        };
        let count = match timeout_at(deadline, socket.peek(&mut piece)).await {
            Ok(Ok(count @ 1..)) => count,
            Ok(Ok(_)) if bytes.is_empty() => return Err(Reason::TcpProbe.into()),
            Ok(Ok(_)) => return Err(partial("the peer closed")),
            Ok(Err(error)) => return Err(reset(&error)),
            Err(_) if bytes.is_empty() => return Err(Reason::TcpFirstByteTimeout.into()),
            Err(_) => return Err(partial("the deadline passed")),
        };
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        let progress =
            parse(&bytes).map_err(|fault| Failure::new(Reason::ProxyProtocolInvalid, fault))?;
        let (own, told) = match progress {
            Progress::Absent => {
                let detail = beginning(bytes).describe();
                return Err(Failure::new(Reason::ProxyProtocolMissing, detail));
            }
            Progress::Partial => (count, None),
            Progress::Whole { told, length } => (length.saturating_sub(taken), Some(told)),
        };
        // The bytes were already peeked at, so this does not wait.
        let own = piece.get_mut(..own).unwrap_or_default();
        socket
            .read_exact(own)
            .await
            .map_err(|error| reset(&error))?;
        if let Some(told) = told {
            return Ok(told);
        }
    }
}

fn reset(error: &io::Error) -> Failure {
    Failure::new(Reason::TcpResetBeforeRequest, error.to_string())
}

/// Describes what arrived instead of a header.
fn beginning(mut bytes: Vec<u8>) -> FirstBytes {
    bytes.truncate(FIRST_BYTES);
    let looks = classify(&bytes).unwrap_or(Looks::Other);
    FirstBytes { bytes, looks }
}

#[cfg(test)]
mod tests;
