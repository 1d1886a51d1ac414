//! Paths are compared as raw bytes. A path that can be read in two ways is refused.

mod near;

use std::fmt;

pub(super) use near::{compared, nearest};

/// `routes[].path`: exact bytes, or everything below a prefix that ends at a segment boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// The text without the `*`. A prefix ends with `/`.
    text: String,
    is_prefix: bool,
}

impl PathPattern {
    /// Parses `/exact/path` or `/prefix/*`. Characters outside ASCII must be percent-encoded.
    ///
    /// # Errors
    /// What is wrong with `text` and what to write instead, in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_regular_expression(text) {
            return Err(format!(
                "{text:?} is a regular expression, but paths are compared as they are written: write the exact \
                 path, or a prefix such as /public/*"
            ));
        }
        if !text.starts_with('/') {
            return Err(match text.split_once("://") {
                Some((_, rest)) => {
                    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
                    format!("{text:?} is a URL: write only its path, {path}")
                }
                None => {
                    // In nginx, `=` marks an exact path.
                    let path = text.trim_start_matches(['=', ' ']).trim_start_matches('/');
                    format!("{text:?} does not start with a slash: write /{path}")
                }
            });
        }
        let (path, is_prefix) = match text.strip_suffix("/*") {
            Some(_) => (text.trim_end_matches('*'), true),
            None => (text, false),
        };
        if path.contains('*') {
            return Err(format!(
                "{text:?} has a * that is not a final /*: write the exact path, or a prefix such as /public/*"
            ));
        }
        if let Some((before, _)) = path.split_once(['?', '#']) {
            return Err(format!(
                "{text:?} has a query or fragment, but only the path is compared: write {before}"
            ));
        }
        if !path.is_ascii() {
            return Err(format!(
                "{text:?} is not ASCII: write it percent-encoded as clients send it, {}",
                encoded(text)
            ));
        }
        if path.contains(['{', '}']) {
            return Err(format!(
                "{text:?} has braces, but paths have no parameters: write the exact path, or a prefix such as /public/*"
            ));
        }
        if path.contains("/<") && path.contains('>') {
            return Err(format!(
                "{text:?} has angle brackets, but paths have no parameters: write the exact path, or a prefix such as /public/*"
            ));
        }
        if path.contains(['"', '<', '>', '`']) {
            return Err(format!(
                "{text:?} has a character that clients send percent-encoded: write %22, %3C, %3E or %60"
            ));
        }
        if let Some(what) = ambiguity(path.as_bytes()) {
            return Err(format!(
                "{text:?} can be read in two ways because it has {what}: write the plain path"
            ));
        }
        Ok(Self {
            text: path.to_owned(),
            is_prefix,
        })
    }

    /// Whether `path` matches, byte by byte. Check [`ambiguity`] first, because a prefix matches any bytes below it.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.is_prefix {
            path.starts_with(self.text.as_bytes())
        } else {
            path == self.text.as_bytes()
        }
    }

    /// The text before the `*` of a prefix, or the whole exact path; and whether it is a prefix.
    pub(super) fn parts(&self) -> (&str, bool) {
        (&self.text, self.is_prefix)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

/// Whether a path is certainly a pattern of another program. If it may also be a plain path, `wsgate check` only warns.
fn is_regular_expression(text: &str) -> bool {
    let has_escape = text.split('\\').skip(1).any(|rest| {
        let mut rest = rest.chars();
        match rest.next() {
            // `\data` is a folder in Windows.
            Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'b') => {
                !rest.next().is_none_or(|c| c.is_ascii_alphanumeric())
            }
            Some(c) => "./-()[]{}+*?$^".contains(c),
            None => false,
        }
    });
    text.starts_with(['^', '~'])
        || (!text.starts_with('/') && text.contains('('))
        || has_escape
        || ["(?", ")?", "/?$"].iter().any(|sign| text.contains(sign))
        || text.ends_with("/?")
}

/// What makes `path` ambiguous, in words that complete "it has"; `None` for a plain path.
///
/// Servers are known to disagree about these paths: some normalise, decode or cut them, others do not (RFC 3986
/// sections 2.3, 5.2.4 and 6.2.2). All other paths are forwarded as the same bytes. Linear in time.
#[must_use]
pub fn ambiguity(path: &[u8]) -> Option<&'static str> {
    // Each unbroken run of escaped bytes outside ASCII is checked separately.
    let mut runs = Vec::new();
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let Some((value, tail)) = escape(tail) else {
                    return Some("a % without two hexadecimal digits");
                };
                rest = tail;
                if let Some(what) = ambiguous_escape(value) {
                    return Some(what);
                }
                // An escaped ASCII byte ends a run like a plain one.
                runs.push(if value.is_ascii() { b'-' } else { value });
                continue;
            }
            b'\\' => return Some("a backslash"),
            b';' => return Some("a semicolon, which starts parameters for some servers"),
            b'#' | b'?' => return Some("a raw # or ?"),
            0..=b' ' | 0x7f => return Some("a raw control character or space"),
            0x80.. => return Some("a raw byte outside ASCII"),
            _ => {}
        }
        if !runs.is_empty() {
            runs.push(b'-');
        }
    }
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." | b".." => return Some("a dot segment"),
            // The last segment may be empty, after a trailing slash.
            b"" if segments.peek().is_some() => return Some("an empty segment (//)"),
            _ => {}
        }
    }
    let Ok(text) = str::from_utf8(&runs) else {
        return Some("escapes that are not valid UTF-8");
    };
    text.chars().find_map(ambiguous_character)
}

/// The byte of an escape, and the bytes after it; `bytes` begin after the `%`.
fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

fn ambiguous_escape(value: u8) -> Option<&'static str> {
    match value {
        b'/' => Some("an encoded slash (%2F)"),
        b'\\' => Some("an encoded backslash (%5C)"),
        b'.' => Some("an encoded dot (%2E)"),
        b'%' => Some("an encoded percent sign (%25), which makes a second layer of encoding"),
        b';' => Some("an encoded semicolon (%3B)"),
        0..=b' ' | 0x7f => Some("an encoded control character or space"),
        _ if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'_' | b'~') => {
            Some("a needlessly encoded letter, digit, -, _ or ~")
        }
        _ => None,
    }
}

/// Finds characters that a server may trim, or fold to one of those above (compatibility forms and look-alikes).
fn ambiguous_character(c: char) -> Option<&'static str> {
    match c {
        '\u{2024}'..='\u{2026}' | '\u{fe52}' | '\u{ff0e}' => Some("an encoded look-alike of a dot"),
        '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{ff0f}' => {
            Some("an encoded look-alike of a slash")
        }
        '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}' | '\u{ff3c}' => {
            Some("an encoded look-alike of a backslash")
        }
        '\u{037e}' | '\u{fe54}' | '\u{ff1b}' => Some("an encoded look-alike of a semicolon"),
        '\u{fe6a}' | '\u{ff05}' => Some("an encoded look-alike of a percent sign"),
        _ if c.is_control() || c.is_whitespace() => Some("an encoded control character or space"),
        _ => None,
    }
}

/// `text` with all characters outside ASCII percent-encoded.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn a_path_pattern_reads_back_as_written() {
        for text in [
            "/",
            "/*",
            "/a",
            "/a/",
            "/a/*",
            "/a.b/~c/-_",
            "/%E4%BD%A0",
            "/...",
            "/a:b@c",
        ] {
            assert_eq!(pattern(text).to_string(), text);
            assert_eq!(pattern(text).is_prefix, text.ends_with('*'));
        }
    }

    #[test]
    fn a_bad_path_pattern_is_explained() {
        for (text, words) in [
            ("", "write /"),
            ("api/stream", "write /api/stream"),
            ("*", "does not start with a slash"),
            (
                "wss://api.example.com/stream",
                "write only its path, /stream",
            ),
            ("https://api.example.com", "write only its path, /"),
            ("/public*", "a prefix such as /public/*"),
            ("/public/**", "a prefix such as /public/*"),
            ("/*/stream", "a prefix such as /public/*"),
            ("/public/*/", "a prefix such as /public/*"),
            ("/stream?token=x", "write /stream"),
            ("/stream#top", "write /stream"),
            ("= /stream", "write /stream"),
            (r"/room/\d+", "is a regular expression"),
            (r"/\.well-known", "is a regular expression"),
            (r"/room\data", "a backslash"),
            ("/stream/?$", "is a regular expression"),
            ("/stream(/.*)?", "is a regular expression"),
            ("/(?i)stream", "is a regular expression"),
            ("regexp(/stream)", "is a regular expression"),
            ("/你/*", "/%E4%BD%A0/*"),
            ("/a/../b", "a dot segment"),
            ("/a//b", "an empty segment"),
            ("/a//*", "an empty segment"),
            ("/a/./*", "a dot segment"),
            ("/a%2Fb", "an encoded slash"),
            ("/a b", "control character or space"),
            ("/a;b", "a semicolon"),
            ("/a\\b", "a backslash"),
            ("/rooms/{id}", "paths have no parameters"),
            ("/a`b", "write %22, %3C, %3E or %60"),
            ("/%zz", "two hexadecimal digits"),
        ] {
            let problem = PathPattern::parse(text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary() {
        for (text, path, expected) in [
            ("/public/*", "/public/", true),
            ("/public/*", "/public/a/b", true),
            ("/public/*", "/public", false),
            ("/public/*", "/publicadmin", false),
            ("/public/*", "/Public/a", false),
            ("/*", "/", true),
            ("/*", "/a", true),
            ("/*", "", false),
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/%E4%BD%A0", "/%E4%BD%A0", true),
            ("/%E4%BD%A0", "/%e4%bd%a0", false),
        ] {
            assert_eq!(
                pattern(text).matches(path.as_bytes()),
                expected,
                "{text} {path}"
            );
        }
    }

    #[test]
    fn only_escapes_that_mean_one_thing_pass() {
        // sub-delims, ":" and "@" (RFC 3986 section 3.3), and characters that must be escaped in a target.
        let plain = b"!\"#$&'()*+,:<=>?@[]^`{|}";
        for byte in 0..=u8::MAX {
            for path in [
                format!("/public/%{byte:02X}"),
                format!("/public/a%{byte:02x}b"),
            ] {
                assert_eq!(
                    ambiguity(path.as_bytes()).is_none(),
                    plain.contains(&byte),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn runs_of_escapes_are_utf8_each_on_their_own() {
        for (path, expected) in [
            ("/%E4%BD%A0%E5%A5%BD", true),
            ("/%E4%BD%A0/%E5%A5%BD.txt", true),
            ("/%F0%9F%98%80", true),
            ("/%E4a%BD%A0", false),
            ("/%E4%3A%BD%A0", false),
            ("/%E4/%BD%A0", false),
            ("/%ED%A0%80", false),
            ("/%F4%90%80%80", false),
            ("/%80", false),
            ("/%C2%85", false),
            ("/%C2%A0", false),
            ("/%E3%80%80", false),
        ] {
            assert_eq!(ambiguity(path.as_bytes()).is_none(), expected, "{path}");
        }
    }
}
