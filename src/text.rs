//! Text for people: makes text from others safe to print, and writes lists and numbers in words.

use std::fmt::{Display, Write as _};
use std::str::FromStr;

/// Longest text and longest list from a peer, in bytes.
const LONGEST: usize = 256;

/// Room for most addresses with a port, and for most endpoints.
const SHORT: usize = 48;

/// A language for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Simplified Chinese.
    Zh,
}

impl Language {
    /// One of two texts.
    #[must_use]
    pub const fn pick<'t>(self, en: &'t str, zh: &'t str) -> &'t str {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }
}

impl FromStr for Language {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "en" => Ok(Self::En),
            "zh" | "zh-CN" | "zh-cn" => Ok(Self::Zh),
            _ => Err("expected en or zh"),
        }
    }
}

/// Whether a byte is a `tchar` (RFC 9110 section 5.6.2).
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
            | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
    )
}

/// Whether a text has the form of a pattern, in which each `*` stands for any text.
#[must_use]
pub fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A number of things: `1 connection`, `2 connections`.
#[must_use]
pub fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// An address or another short value as text, for which memory is asked only once. Text that grows costs more than what
/// is written.
#[must_use]
pub fn short(value: &impl Display) -> String {
    let mut text = String::with_capacity(SHORT);
    // Writing to a string fails only if the value itself fails.
    let _ = write!(text, "{value}");
    text
}

/// The items separated by commas, or `none`. After 256 bytes only the number of the remaining items follows.
pub fn enumerated(items: impl IntoIterator<Item = String>) -> String {
    let mut items = items.into_iter();
    let mut text = items.next().unwrap_or_else(|| "none".to_owned());
    while let Some(item) = items.next() {
        if text.len() > LONGEST {
            let more = 1 + items.count();
            text.push_str(&format!(" and {more} more"));
            break;
        }
        text.push_str(", ");
        text.push_str(&item);
    }
    text
}

/// A peer's bytes as printable ASCII; all other bytes become `\xNN`. After 256 bytes only their number follows.
///
/// So a peer can't forge a line, move the cursor or reverse the reading direction.
#[must_use]
pub fn peer_text(bytes: &[u8]) -> String {
    let shown = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut text = String::with_capacity(shown.len());
    for &byte in shown {
        if byte == b' ' || byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if bytes.len() > shown.len() {
        let _ = write!(text, "...({} bytes)", bytes.len());
    }
    text
}

/// Several values of a peer, made safe like in [`peer_text`] and separated by `separator`: at most 256 bytes of text,
/// and the number of values that were left out.
pub fn peer_list<'a>(values: impl Iterator<Item = &'a [u8]>, separator: &str) -> String {
    let mut values = values;
    let mut text = String::new();
    let mut taken = 0;
    while let Some(value) = values.next() {
        let value = peer_text(value);
        if taken > 0 && text.len() + separator.len() + value.len() > LONGEST {
            let _ = write!(text, "{separator}...({} more)", 1 + values.count());
            break;
        }
        if taken > 0 {
            text.push_str(separator);
        }
        text.push_str(&value);
        taken += 1;
    }
    text
}

/// `text` on one line, cut after `most` characters. What a terminal would interpret is escaped, so a file or a server
/// can't forge a report.
#[must_use]
pub fn shown(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    for (index, c) in text.chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character is invisible or changes the order of the text around it.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        for (count, words) in [(0, "0 days"), (1, "1 day"), (2, "2 days")] {
            assert_eq!(counted(count, "day"), words);
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_cut() {
        assert_eq!(enumerated([]), "none");
        assert_eq!(enumerated(["a", "b"].map(str::to_owned)), "a, b");
        let many = enumerated((0..1000).map(|n| format!("https://{n}.example.com")));
        assert!(many.len() < 300 && many.ends_with(" more"), "{many}");
    }

    #[test]
    fn peer_text_is_printable_and_bounded() {
        assert_eq!(
            peer_text(b"a\x1b[31m\r\n\xe2\x80\xae"),
            "a\\x1b[31m\\x0d\\x0a\\xe2\\x80\\xae"
        );
        assert_eq!(
            peer_text(&[b'x'; 300]),
            format!("{}...(300 bytes)", "x".repeat(256))
        );
    }

    #[test]
    fn lists_of_a_peer_are_bounded() {
        let list = |values: &[&[u8]]| peer_list(values.iter().copied(), " | ");
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[b"a", b"", b"c\n"]), "a |  | c\\x0a");
        let long = [b'x'; 100];
        assert_eq!(
            list(&[&long, &long, &long, b"y"]),
            format!("{0} | {0} | ...(2 more)", "x".repeat(100))
        );
        assert_eq!(
            list(&[&[b'x'; 300], b"y"]),
            format!("{}...(300 bytes) | ...(1 more)", "x".repeat(256))
        );
        assert!(list(&[&b"v"[..]; 10_000]).len() < 300);
    }

    #[test]
    fn the_characters_of_tokens_are_those_of_the_rfc() {
        for byte in 0..=u8::MAX {
            let is_tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(byte), is_tchar, "{byte:02x}");
        }
    }
}
