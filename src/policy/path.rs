//! Paths: compared as raw bytes; what can be read in two ways is refused.

use std::fmt;

/// How much of a path is compared in the search for the nearest route, and with how many routes: a peer chooses
/// the path, so the work for an unknown one is bounded.
const COMPARED_BYTES: usize = 256;
const COMPARED_ROUTES: usize = 64;

/// `routes[].path`: exact bytes, or everything below a prefix that ends at a segment boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// Without the `*`: a prefix ends with `/`.
    text: String,
    is_prefix: bool,
}

impl PathPattern {
    /// Parses `/exact/path` or `/prefix/*`; a character outside ASCII is written percent-encoded.
    ///
    /// # Errors
    /// What is wrong with `text` and what to write instead, in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(match text.split_once("://") {
                Some((_, rest)) => {
                    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
                    format!("{text:?} is a URL: write only its path, {path}")
                }
                None if text.starts_with('^') => format!(
                    "{text:?} is a regular expression, and every character of a path stands for itself: write the exact \
                     path, or a prefix such as /public/*"
                ),
                None => format!("{text:?} does not start with a slash: write /{text}"),
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
                "{text:?} has a query or fragment, which takes no part in matching: write {before}"
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
                "{text:?} has braces, and a path has no parameters: write the exact path, or a prefix such as /public/*"
            ));
        }
        if path.contains("/<") && path.contains('>') {
            return Err(format!(
                "{text:?} has angle brackets, and a path has no parameters: write the exact path, or a prefix such as /public/*"
            ));
        }
        if path.contains(['"', '<', '>', '`']) {
            return Err(format!(
                "{text:?} has a character that clients send percent-encoded: write %22, %3C, %3E or %60"
            ));
        }
        if let Some(what) = ambiguity(path.as_bytes()) {
            return Err(format!(
                "{text:?} can be read in two ways, it has {what}: write the plain path"
            ));
        }
        Ok(Self {
            text: path.to_owned(),
            is_prefix,
        })
    }

    /// Whether the pattern ends with `/*`.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// Whether `path` matches, byte by byte. Check [`ambiguity`] first: a prefix takes any bytes below it.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.is_prefix {
            path.starts_with(self.text.as_bytes())
        } else {
            path == self.text.as_bytes()
        }
    }

    /// Whether every path of `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self.is_prefix, other.is_prefix) {
            (true, _) => other.text.starts_with(&self.text),
            (false, true) => false,
            (false, false) => self == other,
        }
    }

    /// What a client must change in `path` for it to match, if that is only letter case or one trailing slash.
    ///
    /// A prefix without its slash is no near miss: `/public/*` is a boundary that `/public` lies outside of.
    pub(super) fn near_miss(&self, path: &[u8]) -> Option<String> {
        let own = self.text.as_bytes();
        let theirs = if self.is_prefix {
            path.get(..own.len())?
        } else {
            path
        };
        let own_bare = own.strip_suffix(b"/").unwrap_or(own);
        let theirs_bare = theirs.strip_suffix(b"/").unwrap_or(theirs);
        let slash = match (own.ends_with(b"/"), theirs.ends_with(b"/")) {
            (true, false) if self.is_prefix => return None,
            (true, false) => Some("add the trailing slash"),
            (false, true) => Some("drop the trailing slash"),
            (true, true) | (false, false) => None,
        };
        if !own_bare.eq_ignore_ascii_case(theirs_bare) {
            return None;
        }
        let case = (own_bare != theirs_bare).then_some("use the route's letter case");
        let changes: Vec<_> = case.into_iter().chain(slash).collect();
        (!changes.is_empty()).then(|| changes.join(" and "))
    }

    /// How far `path` is from matching, smaller for nearer; `None` if it is nowhere near.
    fn distance(&self, path: &[u8]) -> Option<(bool, usize)> {
        let own = first(self.text.as_bytes(), COMPARED_BYTES);
        let theirs = first(
            path,
            if self.is_prefix {
                own.len()
            } else {
                COMPARED_BYTES
            },
        );
        let longest = own.len().max(theirs.len());
        // The difference in length is the least number of edits, so hopeless pairs cost nothing.
        if own.len().abs_diff(theirs.len()) * 4 <= longest {
            let edits = strsim::levenshtein(
                &String::from_utf8_lossy(own),
                &String::from_utf8_lossy(theirs),
            );
            if edits * 4 <= longest {
                return Some((false, edits));
            }
        }
        let common = own.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        (common > 1 && common * 2 >= own.len())
            .then(|| (true, COMPARED_BYTES.saturating_sub(common)))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

/// The pattern that `path` most resembles, if it resembles one: fewest edits, else the longest common beginning.
pub(super) fn nearest<'p>(
    patterns: impl Iterator<Item = &'p PathPattern>,
    path: &[u8],
) -> Option<&'p PathPattern> {
    patterns
        .take(COMPARED_ROUTES)
        .filter_map(|pattern| Some((pattern.distance(path)?, pattern)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, pattern)| pattern)
}

/// What makes `path` readable in two ways, as words that complete "it has"; `None` for a plain path.
///
/// The paths refused are those that servers are known to disagree on: one normalises, decodes or cuts where another
/// does not (RFC 3986 sections 2.3, 5.2.4 and 6.2.2). What passes is forwarded as the same bytes. Linear in time.
#[must_use]
pub fn ambiguity(path: &[u8]) -> Option<&'static str> {
    // Escapes of bytes outside ASCII, each unbroken run apart from the next.
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
                // An escaped byte of ASCII ends a run as a plain one does.
                runs.push(if value.is_ascii() { b'-' } else { value });
                continue;
            }
            b'\\' => return Some("a backslash"),
            b';' => return Some("a semicolon, which some servers take for parameters"),
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
            // The last one may be empty: a trailing slash.
            b"" if segments.peek().is_some() => return Some("an empty segment (//)"),
            _ => {}
        }
    }
    let Ok(text) = str::from_utf8(&runs) else {
        return Some("escapes that are not valid UTF-8");
    };
    text.chars().find_map(ambiguous_character)
}

/// The byte of an escape, and what follows it; `bytes` begin after the `%`.
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

/// Characters that a server may trim, or fold to one of those above (Unicode's compatibility forms, and look-alikes).
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

fn first(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

/// `text` with what lies outside ASCII percent-encoded.
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
            assert_eq!(pattern(text).is_prefix(), text.ends_with('*'));
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
            ("/你/*", "/%E4%BD%A0/*"),
            ("/a/../b", "a dot segment"),
            ("/a//b", "an empty segment"),
            ("/a//*", "an empty segment"),
            ("/a/./*", "a dot segment"),
            ("/a%2Fb", "an encoded slash"),
            ("/a b", "control character or space"),
            ("/a;b", "a semicolon"),
            ("/a\\b", "a backslash"),
            ("/rooms/{id}", "a path has no parameters"),
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
    fn near_misses_differ_by_letter_case_or_one_slash() {
        for (text, path, expected) in [
            ("/a/b", "/a/b/", Some("drop the trailing slash")),
            ("/a/b/", "/a/b", Some("add the trailing slash")),
            ("/a/b", "/A/b", Some("use the route's letter case")),
            (
                "/a/b",
                "/A/b/",
                Some("use the route's letter case and drop the trailing slash"),
            ),
            (
                "/%E4%BD%A0",
                "/%e4%bd%a0",
                Some("use the route's letter case"),
            ),
            ("/a/*", "/A/x", Some("use the route's letter case")),
            ("/a/*", "/a", None),
            ("/a/*", "/A", None),
            ("/abc/*", "/abcd", None),
            ("/a/b", "/a/b//", None),
            ("/a/b", "/a/c", None),
            ("/a/b", "/a/b", None),
        ] {
            assert_eq!(
                pattern(text).near_miss(path.as_bytes()).as_deref(),
                expected,
                "{text} {path}"
            );
        }
    }

    #[test]
    fn only_escapes_that_mean_one_thing_pass() {
        // sub-delims, ":" and "@" (RFC 3986 section 3.3) and what can't stand raw in a target.
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

    #[test]
    fn the_nearest_route_is_the_one_with_fewest_edits() {
        let patterns = [
            "/api/realtime-voice/stream",
            "/api/realtime-text/stream",
            "/public/*",
            "/ws",
        ]
        .map(pattern);
        for (path, expected) in [
            (
                "/api/realtime-voice/steam",
                Some("/api/realtime-voice/stream"),
            ),
            (
                "/api/realtime-txt/stream",
                Some("/api/realtime-text/stream"),
            ),
            (
                "/api/realtime-voice/stream/.websocket",
                Some("/api/realtime-voice/stream"),
            ),
            ("/api/realtime-voice", Some("/api/realtime-voice/stream")),
            ("/publicadmin", Some("/public/*")),
            ("/public", Some("/public/*")),
            ("/pubic/x/y/z", Some("/public/*")),
            ("/wss", Some("/ws")),
            ("/w", Some("/ws")),
            ("/", None),
            ("", None),
            ("/.env", None),
            ("/index.php", None),
        ] {
            let found = nearest(patterns.iter(), path.as_bytes()).map(ToString::to_string);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        let long = "/api/realtime-voice/stream".to_owned() + &"x".repeat(60_000);
        assert!(nearest(patterns.iter(), long.as_bytes()).is_some());
    }
}
