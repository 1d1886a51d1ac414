//! Typing mistakes, and files in another format: causes of errors that YAML itself does not name.

use super::syntax::Refusal;

/// Lines above a syntax error in which its cause is looked for: a plain text may have several lines.
const LINES_ABOVE: usize = 4;

/// Lines after the beginning of a list, mapping or quote in which the cause of its missing end is looked for: finding each of
/// them means counting from the top.
const MOST_LINES: usize = 200;

/// The lines that mark a merge conflict.
const CONFLICT: [&str; 3] = ["<<<<<<<", "|||||||", ">>>>>>>"];

/// The first marker of a merge conflict.
pub(super) fn merge_conflict(text: &str) -> Option<Refusal> {
    conflict_at(text.lines().position(|line| is_marker(line, &CONFLICT))?)
}

/// The first line that may be a marker: indented, or the line between the two versions. Only for a `text` that can't be used.
pub(super) fn possible_conflict(text: &str) -> Option<Refusal> {
    let is_possible =
        |line: &str| is_marker(line.trim_start(), &CONFLICT) || is_marker(line, &["======="]);
    conflict_at(text.lines().position(is_possible)?)
}

fn is_marker(line: &str, markers: &[&str]) -> bool {
    let rest = markers.iter().find_map(|marker| line.strip_prefix(marker));
    rest.is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(' '))
}

fn conflict_at(index: usize) -> Option<Refusal> {
    Some(
        Refusal::new((index + 1, 1), "found a marker of a merge conflict")
            .help("keep one of the two versions and delete the lines <<<<<<<, ======= and >>>>>>>"),
    )
}

/// The column, from 1, where a comment of JSON5 begins after something else in `line`.
pub(super) fn comment_behind(line: &str) -> Option<usize> {
    let mut quote = None;
    // The previous character, and the last one before it that is not white space.
    let (mut before, mut word) = (' ', None);
    let mut chars = line.chars().enumerate().peekable();
    while let Some((index, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let is_apart = before.is_whitespace() || ",{}[]".contains(before);
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '#' && before.is_whitespace() => return None,
            // After a colon or a dash it is a value, such as a path.
            None if c == '/'
                && matches!(next, Some('/' | '*'))
                && is_apart
                && word.is_some_and(|word| !":-".contains(word)) =>
            {
                return Some(index + 1);
            }
            None => {}
        }
        before = c;
        if !c.is_whitespace() {
            word = Some(c);
        }
    }
    None
}

/// The format of `text`, if it looks like one other than YAML. Only for a `text` that can't be used.
pub(super) fn other_format(text: &str) -> Option<Refusal> {
    text.lines().enumerate().find_map(|(index, line)| {
        let (what, help) = format_of(line)?;
        let column = line.chars().take_while(|c| c.is_whitespace()).count() + 1;
        let refusal = Refusal::new((index + 1, column), format!("found {what}, expected YAML"));
        Some(refusal.help(help))
    })
}

/// The format that has such a line, if YAML does not.
fn format_of(line: &str) -> Option<(&'static str, &'static str)> {
    const TOML: (&str, &str) = (
        "TOML",
        "write `key: value` instead of `key = value`, and a list below its key, each item after `- `",
    );
    let line = line.trim();
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let table = line
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(name) = table {
        let name = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        return word(name).then_some(TOML);
    }
    if line
        .split_once('=')
        .is_some_and(|(key, _)| word(key.trim().trim_matches('"')))
    {
        return Some(TOML);
    }
    if line.starts_with("//") || line.starts_with("/*") {
        return Some(("a comment of JSON5", "start a comment with #"));
    }
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_nginx = (line.ends_with(';') || line.ends_with('{')) && word(first) && line != first;
    let is_haproxy = matches!(
        first,
        "frontend" | "backend" | "bind" | "default_backend" | "mode"
    ) && line.split_whitespace().count() > 1
        && !line.contains(": ");
    if is_nginx || is_haproxy {
        return Some((
            "the syntax of another proxy",
            "nginx, HAProxy and Caddy files can't be read: start from the example in docs/configuration.md",
        ));
    }
    None
}

/// A character that looks like another one, or is invisible, and its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LookAlike {
    found: char,
    meant: Option<char>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl LookAlike {
    /// The first one in `line`, outside comments.
    pub fn in_line(text: &str, line: usize) -> Option<Self> {
        Self::all_in_line(text, line).next()
    }

    /// The one in `line` that `message` is about.
    pub fn in_message(text: &str, line: usize, message: &str) -> Option<Self> {
        Self::all_in_line(text, line).find(|slip| slip.is_in(message))
    }

    fn all_in_line(text: &str, line: usize) -> impl Iterator<Item = Self> {
        let content = line
            .checked_sub(1)
            .and_then(|index| text.lines().nth(index));
        let mut before = ' ';
        let chars = content.unwrap_or_default().chars().enumerate();
        let uncommented = chars.take_while(move |(_, found)| {
            let is_comment = *found == '#' && before.is_whitespace();
            before = *found;
            !is_comment
        });
        uncommented.filter_map(move |(index, found)| {
            let meant = meant_by(found)?;
            let column = index + 1;
            Some(Self {
                found,
                meant,
                line,
                column,
            })
        })
    }

    /// The one that probably caused a syntax error at `line`: the nearest at or above it, or else the first one after
    /// `opened`, the line where the list, mapping or quote with the error begins.
    pub fn above(text: &str, line: usize, opened: Option<usize>) -> Option<Self> {
        let first = line.saturating_sub(LINES_ABOVE);
        let in_line = |line| Self::in_line(text, line);
        let near = (first..=line).rev().find_map(in_line);
        near.or_else(|| (opened?..first).take(MOST_LINES).find_map(in_line))
    }

    /// Whether `message` is about a text that has it.
    fn is_in(&self, message: &str) -> bool {
        message.contains(self.found) || message.contains(&self.found.escape_default().to_string())
    }

    /// What it is and what to type.
    pub fn words(&self) -> String {
        let code = u32::from(self.found);
        match self.meant {
            None => format!("found an invisible character (U+{code:04X}); delete it"),
            Some(' ') => {
                format!("found an unusual space (U+{code:04X}); type an ordinary space")
            }
            Some(meant) => format!(
                "found {} (U+{code:04X}), which only looks like {meant}; type {meant}",
                self.found
            ),
        }
    }
}

/// The ASCII character that was probably meant by `c`, which a Chinese keyboard, a word processor or a web page may
/// have written instead. `Some(None)`: `c` is invisible. `None`: `c` is not such a character.
fn meant_by(c: char) -> Option<Option<char>> {
    let meant = match c {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180b}'..='\u{180e}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0000}'..='\u{e007f}'
        | '\u{e0100}'..='\u{e01ef}' => {
            return Some(None);
        }
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        // The full-width forms of ASCII, in the order of ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0)?,
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{300e}' | '\u{300f}' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{300c}' | '\u{300d}' | '\u{ab}' | '\u{bb}' => '"',
        '\u{3001}' | '\u{fe50}' | '\u{fe51}' | '\u{ff64}' => ',',
        '\u{3002}' | '\u{ff61}' | '\u{b7}' | '\u{30fb}' => '.',
        '\u{fe55}' | '\u{2236}' | '\u{a789}' => ':',
        '\u{2010}'..='\u{2015}'
        | '\u{2022}'
        | '\u{2023}'
        | '\u{25cf}'
        | '\u{25e6}'
        | '\u{2043}'
        | '\u{2212}'
        | '\u{fe63}' => '-',
        '\u{3010}' | '\u{3014}' => '[',
        '\u{3011}' | '\u{3015}' => ']',
        '\u{2044}' | '\u{2215}' => '/',
        // Greek and Cyrillic letters.
        'а' => 'a',
        'е' => 'e',
        'о' | 'ο' => 'o',
        'р' => 'p',
        'с' => 'c',
        'х' => 'x',
        'у' => 'y',
        'і' => 'i',
        'ѕ' => 's',
        _ => return None,
    };
    Some(Some(meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_alike_says_what_to_type() {
        for (line, column, words) in [
            (
                "address： x",
                8,
                "found ： (U+FF1A), which only looks like :; type :",
            ),
            (
                "[a，b]",
                3,
                "found ， (U+FF0C), which only looks like ,; type ,",
            ),
            (
                "a: “b”",
                4,
                "found “ (U+201C), which only looks like \"; type \"",
            ),
            (
                "a:\u{3000}b",
                3,
                "found an unusual space (U+3000); type an ordinary space",
            ),
            (
                "add\u{200b}ress: b",
                4,
                "found an invisible character (U+200B); delete it",
            ),
            (
                "аddress: b",
                1,
                "found а (U+0430), which only looks like a; type a",
            ),
        ] {
            let found = LookAlike::in_line(line, 1).unwrap();
            assert_eq!((found.column, found.words().as_str()), (column, words));
        }
        for line in ["a: b # “c”", "# ：", "host: 例子.example"] {
            assert_eq!(LookAlike::in_line(line, 1), None, "{line}");
        }
    }

    #[test]
    fn a_comment_of_json5_is_found_behind_something_alone() {
        for (line, column) in [
            ("upstream: app // comment", Some(15)),
            ("{ \"a\": 1, // comment", Some(11)),
            ("  ], /* comment */", Some(6)),
            ("path: //stream", None),
            ("- /*", None),
            ("origins: [https://app.example.com]", None),
            ("body: \"a // b\"", None),
            ("a: b # // c", None),
            ("// comment", None),
        ] {
            assert_eq!(comment_behind(line), column, "{line}");
        }
    }

    #[test]
    fn yaml_is_not_taken_for_another_format() {
        for line in [
            "",
            "listeners:",
            "- address: 0.0.0.0:8443",
            "body: \"a = b\"",
            "origins: [https://app.example.com]",
            "[https://app.example.com]",
            "# key = value",
            "- { cert: a.pem, key: b.pem }",
            "tls: {",
            "}",
        ] {
            assert_eq!(format_of(line), None, "{line}");
        }
        for (line, format) in [
            ("[[listeners]]", "TOML"),
            ("[log]", "TOML"),
            ("address = \"0.0.0.0:8443\"", "TOML"),
            ("  // a comment", "a comment of JSON5"),
            ("server {", "the syntax of another proxy"),
            ("    proxy_pass http://app;", "the syntax of another proxy"),
            ("    bind *:443 ssl", "the syntax of another proxy"),
        ] {
            assert_eq!(
                format_of(line).map(|(what, _)| what),
                Some(format),
                "{line}"
            );
        }
    }
}
