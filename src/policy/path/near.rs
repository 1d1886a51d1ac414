//! How near a path comes to a pattern that it does not match.
//!
//! A path is near if it differs only in letter case, in slashes, or by a few edits: at most [`MOST_EDITS`], and at most
//! a quarter of the length of the longer path. An edit inserts, deletes or replaces one byte, so two swapped letters
//! are two edits.

use super::PathPattern;

/// The most edits of a path that is still near.
const MOST_EDITS: usize = 2;

/// One in this many bytes of the longer path may be edited.
const BYTES_PER_EDIT: usize = 4;

/// The most work for one path, because a peer chooses it. Each pattern costs [`EACH`] and as much as its beginning has
/// in common with the path; the remaining patterns are not compared.
const BUDGET: usize = 64 * 1024;
const EACH: usize = 8;

/// How a path differs from one that matches a pattern. A smaller value is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Near {
    edits: usize,
    slashes: Slashes,
    has_other_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slashes {
    Same,
    /// The last slash is superfluous.
    Trailing,
    /// The last slash is missing.
    Untrailed,
    /// The slashes are elsewhere, or there are more or fewer.
    Moved,
    /// The last slash of a prefix is missing, and so is the path below it.
    Above,
}

impl Near {
    /// What must change, in words that follow "in the client's URL".
    pub fn change(self) -> String {
        let case = self.has_other_case.then_some("use the route's letter case");
        let slashes = match self.slashes {
            Slashes::Same => None,
            Slashes::Trailing => Some("drop the trailing slash"),
            Slashes::Untrailed => Some("add the trailing slash"),
            Slashes::Moved => Some("use the route's slashes"),
            Slashes::Above => Some("add the slash and what follows it"),
        };
        let edits = (self.edits > 0).then_some("correct the spelling");
        let changes: Vec<_> = case.into_iter().chain(slashes).chain(edits).collect();
        changes.join(" and ")
    }

    /// Whether the path is a prefix without its slash, which lies outside the boundary that the prefix sets.
    pub fn is_above(self) -> bool {
        self.slashes == Slashes::Above
    }
}

impl PathPattern {
    /// How `path` differs, if that is only letter case or one trailing slash.
    ///
    /// A prefix without its slash does not count: `/public` lies outside the boundary that `/public/*` sets.
    pub(in crate::policy) fn respelled(&self, path: &[u8]) -> Option<Near> {
        let own = self.text.as_bytes();
        let theirs = if self.is_prefix {
            path.get(..own.len())?
        } else {
            path
        };
        let own_bare = own.strip_suffix(b"/").unwrap_or(own);
        let theirs_bare = theirs.strip_suffix(b"/").unwrap_or(theirs);
        let slashes = match (own.ends_with(b"/"), theirs.ends_with(b"/")) {
            (true, false) if self.is_prefix => return None,
            (true, false) => Slashes::Untrailed,
            (false, true) => Slashes::Trailing,
            (true, true) | (false, false) => Slashes::Same,
        };
        if !own_bare.eq_ignore_ascii_case(theirs_bare) {
            return None;
        }
        let has_other_case = own_bare != theirs_bare;
        (has_other_case || slashes != Slashes::Same).then_some(Near {
            edits: 0,
            slashes,
            has_other_case,
        })
    }

    /// How `path` differs, if it is near; also `None` if it matches.
    pub(in crate::policy) fn near(&self, path: &[u8]) -> Option<Near> {
        if self.matches(path) || !path.starts_with(b"/") {
            return None;
        }
        self.respelled(path)
            .or_else(|| self.slashed(path))
            .or_else(|| self.edited(path))
    }

    /// How `path` differs, if that is only letter case or slashes.
    fn slashed(&self, path: &[u8]) -> Option<Near> {
        let own = self.text.as_bytes();
        let mut letters = path.iter().enumerate().filter(|(_, byte)| **byte != b'/');
        let (mut end, mut has_other_case) = (0, false);
        for byte in own.iter().filter(|byte| **byte != b'/') {
            let (at, theirs) = letters.next()?;
            if !byte.eq_ignore_ascii_case(theirs) {
                return None;
            }
            has_other_case |= byte != theirs;
            end = at + 1;
        }
        let slashes = match (self.is_prefix, path.get(end..).unwrap_or_default()) {
            // Every path is below `/*`, so that makes no path near.
            _ if end == 0 => return None,
            (true, []) => Slashes::Above,
            (true, [b'/', ..]) => Slashes::Moved,
            (false, rest) if rest.iter().all(|byte| *byte == b'/') => Slashes::Moved,
            _ => return None,
        };
        Some(Near {
            edits: 0,
            slashes,
            has_other_case,
        })
    }

    /// How the letters of `path` differ; for a prefix, those of its beginning.
    fn edited(&self, path: &[u8]) -> Option<Near> {
        let own = self.text.as_bytes();
        let most = own.len() + MOST_EDITS;
        let ends = match self.is_prefix {
            false => path.len()..=path.len(),
            true => own.len().saturating_sub(MOST_EDITS)..=most.min(path.len()),
        };
        ends.filter_map(|end| path.get(..end))
            .filter(|theirs| theirs.len() <= most && (!self.is_prefix || theirs.ends_with(b"/")))
            .filter_map(|theirs| edits(own, theirs))
            .min()
            .map(|edits| Near {
                edits,
                slashes: Slashes::Same,
                has_other_case: false,
            })
    }

    /// Whether `path` continues this pattern with whole segments, or the other way round. If segments are missing, the
    /// pattern is at most twice as long.
    fn is_along(&self, path: &[u8]) -> bool {
        let own = self.text.as_bytes();
        let own = own.strip_suffix(b"/").unwrap_or(own);
        let theirs = path.strip_suffix(b"/").unwrap_or(path);
        let is_below = |long: &[u8], short: &[u8]| {
            short.len() > 1
                && long
                    .strip_prefix(short)
                    .is_some_and(|rest| rest.starts_with(b"/"))
        };
        is_below(theirs, own) || (is_below(own, theirs) && theirs.len() * 2 >= own.len())
    }

    /// How many bytes at the beginning are equal, in any letter case.
    fn common(&self, path: &[u8]) -> usize {
        common(self.text.as_bytes(), path)
    }
}

/// The patterns that `path` is compared with. The first patterns are taken until the budget is used up.
pub(in crate::policy) fn compared<'p>(
    patterns: impl Iterator<Item = &'p PathPattern>,
    path: &[u8],
) -> impl Iterator<Item = &'p PathPattern> {
    let mut left = BUDGET;
    patterns.take_while(move |pattern| {
        let cost = EACH + pattern.common(path);
        let rest = left.checked_sub(cost);
        left = rest.unwrap_or_default();
        rest.is_some()
    })
}

/// The pattern that `path` resembles most, if any: the nearest, otherwise the longest that it continues or begins.
pub(in crate::policy) fn nearest<'p>(
    patterns: impl Iterator<Item = &'p PathPattern>,
    path: &[u8],
) -> Option<&'p PathPattern> {
    let rank = |pattern: &PathPattern| match pattern.near(path) {
        Some(near) => Some((Some(near), 0)),
        None => pattern.is_along(path).then(|| (None, pattern.common(path))),
    };
    compared(patterns, path)
        .filter_map(|pattern| Some((rank(pattern)?, pattern)))
        .min_by_key(|((near, common), _)| (near.is_none(), *near, std::cmp::Reverse(*common)))
        .map(|(_, pattern)| pattern)
}

/// The smallest number of edits between both, in any letter case, if that is near.
fn edits(own: &[u8], theirs: &[u8]) -> Option<usize> {
    let most = MOST_EDITS.min(own.len().max(theirs.len()) / BYTES_PER_EDIT);
    (0..=most).find(|edits| is_within(*edits, own, theirs))
}

/// Whether at most `edits` edits separate both, in any letter case. Two edits take at most 13 walks along the shorter
/// one.
fn is_within(edits: usize, own: &[u8], theirs: &[u8]) -> bool {
    if own.len().abs_diff(theirs.len()) > edits {
        return false;
    }
    let common = common(own, theirs);
    let (own, theirs) = (after(own, common), after(theirs, common));
    if own.is_empty() || theirs.is_empty() {
        // What remains of the other path is at most the difference in length.
        return true;
    }
    let Some(fewer) = edits.checked_sub(1) else {
        return false;
    };
    is_within(fewer, after(own, 1), after(theirs, 1))
        || is_within(fewer, after(own, 1), theirs)
        || is_within(fewer, own, after(theirs, 1))
}

fn common(own: &[u8], theirs: &[u8]) -> usize {
    own.iter()
        .zip(theirs)
        .take_while(|(own, theirs)| own.eq_ignore_ascii_case(theirs))
        .count()
}

fn after(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(count..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn respelled_paths_differ_by_letter_case_or_one_slash() {
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
            let change = pattern(text).respelled(path.as_bytes()).map(Near::change);
            assert_eq!(change.as_deref(), expected, "{text} {path}");
        }
    }

    #[test]
    fn near_is_letter_case_slashes_or_two_edits_of_a_quarter_of_the_length() {
        const SPELLING: Option<&str> = Some("correct the spelling");
        const SLASHES: Option<&str> = Some("use the route's slashes");
        for (text, path, expected) in [
            ("/a/b", "/a/b/", Some("drop the trailing slash")),
            ("/A/b", "/a/b", Some("use the route's letter case")),
            // Any number of slashes.
            ("/a/b/c/d/e", "/abcde", SLASHES),
            ("/abcde", "/a/b/c/d/e", SLASHES),
            ("/a/b/c/d/e/*", "/abcde/x", SLASHES),
            ("/a/b", "//a//b//", SLASHES),
            (
                "/a/b/c/d",
                "/AB/cd",
                Some("use the route's letter case and use the route's slashes"),
            ),
            ("/a/b", "/ab/c", None),
            // One edit of each kind.
            ("/stream", "/strem", SPELLING),
            ("/stream", "/streams", SPELLING),
            ("/stream", "/strean", SPELLING),
            ("/stream", "/xtream", SPELLING),
            // Two edits, also as two swapped letters.
            ("/stream/1", "/straem/1", SPELLING),
            ("/stream/1", "/srtream", None),
            ("/stream/1", "/stem/1", SPELLING),
            ("/stream/1", "/sttream/12", SPELLING),
            ("/stream/1", "/Strom/1", SPELLING),
            (
                "/api/realtime-voice/stream",
                "/api/realtim-voice/strem",
                SPELLING,
            ),
            // Three edits.
            ("/stream/12345", "/strem/124", None),
            ("/stream/12345", "/strxxx/12345", None),
            ("/stream/12345", "/stream/12345678", None),
            // More than a quarter of the length.
            ("/nodns", "/nope", None),
            ("/ws", "/wx", None),
            ("/ws", "/w", None),
            ("/ws", "/", None),
            ("/ws", "/wss", SPELLING),
            ("/wss", "/ws", SPELLING),
            ("/stream", "/stram1", None),
            ("/stream12", "/srteam12", SPELLING),
            // Prefixes: only their own length is compared.
            ("/public/*", "/pubic/x/y/z", SPELLING),
            ("/public/*", "/publicc/x", SPELLING),
            ("/public/*", "/puplik/x", SPELLING),
            ("/public/*", "/pxxxic/x", None),
            ("/public/*", "/publicadmin", None),
            ("/public/*", "/publi", None),
            ("/public/*", "/pubic", None),
            ("/ws/*", "/ws", Some("add the slash and what follows it")),
            (
                "/ws/*",
                "/WS",
                Some("use the route's letter case and add the slash and what follows it"),
            ),
            ("/ws/*", "/w/x", SPELLING),
            ("/ws/*", "/v1/x", None),
            ("/ws/*", "/ws/x", None),
            ("/*", "x", None),
            ("/", "/a", None),
            ("/a", "/", None),
        ] {
            let change = pattern(text).near(path.as_bytes()).map(Near::change);
            assert_eq!(change.as_deref(), expected, "{text} {path}");
        }
    }

    /// Compares with the library, whose time is the product of both lengths.
    #[test]
    fn edits_are_those_of_levenshtein() {
        let words: Vec<String> = (0..3_u32.pow(6))
            .map(|number| {
                let letter = |place| match number / 3_u32.pow(place) % 3 {
                    0 => "a",
                    1 => "b",
                    _ => "",
                };
                (0..6).map(letter).collect()
            })
            .collect();
        for own in words.iter().step_by(7) {
            for theirs in &words {
                let distance = strsim::levenshtein(own, theirs);
                let most = own.len().max(theirs.len()) / 4;
                let expected = (distance <= 2 && distance <= most).then_some(distance);
                let found = edits(own.as_bytes(), theirs.as_bytes());
                assert_eq!(found, expected, "{own} {theirs}");
            }
        }
    }

    #[test]
    fn the_nearest_route_is_near_or_along_the_same_way() {
        let patterns = [
            "/api/realtime-voice/stream",
            "/api/realtime-text/stream",
            "/public/*",
            "/ws",
            "/nodns",
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
            ("/api/realtime-text/", Some("/api/realtime-text/stream")),
            ("/public", Some("/public/*")),
            ("/pubic/x/y/z", Some("/public/*")),
            ("/wss", Some("/ws")),
            ("/ws/chat", Some("/ws")),
            ("/w", None),
            ("/api", None),
            ("/publicadmin", None),
            ("/nope", None),
            ("/", None),
            ("", None),
            ("/.env", None),
            ("/index.php", None),
        ] {
            let found = nearest(patterns.iter(), path.as_bytes()).map(ToString::to_string);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        let rooms = ["/rooms/17", "/rooms/127", "/rooms/12/a"].map(pattern);
        let found = nearest(rooms.iter(), b"/rooms/12a").map(ToString::to_string);
        assert_eq!(found.as_deref(), Some("/rooms/12/a"), "slashes come first");
        let found = nearest(rooms.iter(), b"/rooms/128").map(ToString::to_string);
        assert_eq!(
            found.as_deref(),
            Some("/rooms/127"),
            "fewer edits come first"
        );
    }

    #[test]
    fn a_path_is_compared_as_far_as_its_budget_goes() {
        let long = "/".to_owned() + &"a".repeat(1000);
        let alike = vec![pattern(&long); 100_000];
        let count = |path: &str| compared(alike.iter(), path.as_bytes()).count();
        assert_eq!(count(&(long.clone() + "bcd")), BUDGET / (EACH + 1001));
        assert_eq!(count("/bcd"), BUDGET / (EACH + 1));
        assert_eq!(count(&long.repeat(100)), BUDGET / (EACH + 1001));
        assert!(nearest(alike.iter(), (long + "/b").as_bytes()).is_some());
    }
}
