//! HPACK (RFC 7541): an encoder that can write any field, and a decoder for what a proxy writes.

use std::collections::VecDeque;

/// A field's name and value, which need not be text.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One field as a literal that is neither indexed nor compressed, so that every byte stays as it is (RFC 7541 section
/// 6.2.2).
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        integer(&mut block, 0, 7, text.len());
        block.extend(text);
    }
    block
}

/// A whole header block of literals.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literals = fields.iter().map(|(name, value)| literal(name, value));
    literals.collect::<Vec<_>>().concat()
}

/// Writes an integer with a prefix of `bits` bits (RFC 7541 section 5.1); `pattern` are the bits before the prefix.
pub fn integer(block: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        block.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    block.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The state of one direction of a connection.
pub struct Decoder {
    /// The dynamic table, newest entry first.
    table: VecDeque<Pair>,
    /// How large the table may be, in the units of RFC 7541 section 4.1.
    limit: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            limit: 4096,
        }
    }
}

impl Decoder {
    /// The fields of a whole header block.
    ///
    /// # Panics
    /// If the block is not valid.
    pub fn decode(&mut self, mut block: &[u8]) -> Vec<Pair> {
        let mut fields = Vec::new();
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = read_integer(&mut block, 7);
                    fields.push(self.entry(index));
                }
                0x40.. => {
                    let field = self.literal(&mut block, 6);
                    self.table.push_front(field.clone());
                    self.evict();
                    fields.push(field);
                }
                0x20.. => {
                    self.limit = read_integer(&mut block, 5);
                    self.evict();
                }
                _ => fields.push(self.literal(&mut block, 4)),
            }
        }
        fields
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Pair {
        let name = match read_integer(block, bits) {
            0 => read_text(block),
            index => self.entry(index).0,
        };
        (name, read_text(block))
    }

    fn entry(&self, index: usize) -> Pair {
        let fixed = STATIC.lines().nth(index.checked_sub(1).unwrap());
        match fixed {
            Some(line) => {
                let (name, value) = line.split_once(' ').unwrap_or((line, ""));
                (name.into(), value.into())
            }
            None => self.table[index - 1 - STATIC.lines().count()].clone(),
        }
    }

    fn evict(&mut self) {
        let size = |(name, value): &Pair| name.len() + value.len() + 32;
        while self.table.iter().map(size).sum::<usize>() > self.limit {
            self.table.pop_back();
        }
    }
}

fn read_integer(block: &mut &[u8], bits: u32) -> usize {
    let most = (1 << bits) - 1;
    let mut value = usize::from(take(block, 1)[0]) & most;
    if value < most {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = usize::from(take(block, 1)[0]);
        value += (byte & 127) << shift;
        if byte < 128 {
            break;
        }
    }
    value
}

fn read_text(block: &mut &[u8]) -> Vec<u8> {
    let is_compressed = block[0] & 128 != 0;
    let length = read_integer(block, 7);
    let bytes = take(block, length);
    if is_compressed {
        decompress(bytes)
    } else {
        bytes.to_vec()
    }
}

fn take<'b>(block: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (taken, rest) = block.split_at(count);
    *block = rest;
    taken
}

/// Undoes the Huffman code (RFC 7541 appendix B). The code is canonical, so that the lengths of the codes define it.
fn decompress(bytes: &[u8]) -> Vec<u8> {
    let lengths: Vec<_> = LENGTHS.bytes().map(|letter| letter - b'A' + 5).collect();
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1)));
    let mut text = Vec::new();
    // The bits of the code so far, the first code of that length, and the number of these bits.
    let (mut code, mut first, mut length) = (0, 0, 0);
    for bit in bits {
        (code, first, length) = (code * 2 + bit, first * 2, length + 1);
        let count = lengths.iter().filter(|other| **other == length).count();
        let count = u32::try_from(count).unwrap();
        if code < first + count {
            let place = usize::try_from(code - first).unwrap();
            let mut symbols = (0..=255).filter(|byte| lengths[usize::from(*byte)] == length);
            text.push(symbols.nth(place).unwrap());
            (code, first, length) = (0, 0, 0);
        } else {
            first += count;
        }
    }
    assert!(
        length < 8 && code + 1 == 1 << length,
        "the last bits are not padding"
    );
    text
}

/// How many bits the code of each byte has: `A` means 5. Only the end of the text, which is never sent, is missing.
const LENGTHS: &str = "\
ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJB\
KABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS\
VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV";

/// The static table (RFC 7541 appendix A).
const STATIC: &str = "\
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate";

#[test]
fn blocks_are_decoded_as_the_rfc_shows_them() {
    let bytes = |hexadecimal: &str| -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        (0..hexadecimal.len()).step_by(2).map(digits).collect()
    };
    let mut decoder = Decoder {
        limit: 256,
        ..Decoder::default()
    };
    // RFC 7541 appendix C.6: Huffman codes, and a table that drops entries.
    for (block, fields) in [
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad1718\
             63c78f0b97c8e9ae82ae43d3",
            [
                (":status", "302"),
                ("cache-control", "private"),
                ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
                ("location", "https://www.example.com"),
            ],
        ),
        (
            "4883640effc1c0bf",
            [
                (":status", "307"),
                ("cache-control", "private"),
                ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
                ("location", "https://www.example.com"),
            ],
        ),
    ] {
        let fields = fields.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(decoder.decode(&bytes(block)), fields);
    }
    assert_eq!(decoder.table.len(), 4);
}

#[test]
fn literals_carry_every_byte() {
    let value: Vec<u8> = (0..=255).chain(0..=255).collect();
    let block = literal("X\r\n\0", &value);
    let fields = Decoder::default().decode(&block);
    assert_eq!(fields, [(b"X\r\n\0".to_vec(), value)]);
}
