//! Messages for text that is not YAML: turns the library's errors into advice.

use std::net::Ipv6Addr;

/// Why a text could not be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line and column, from 1, where the list, mapping or quote begins in which the error is.
    pub opened: Option<(usize, usize)>,
}

impl Refusal {
    /// Without help.
    pub(super) fn new((line, column): (usize, usize), message: impl Into<String>) -> Self {
        Self {
            line,
            column,
            message: message.into(),
            help: None,
            opened: None,
        }
    }

    /// With what to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The first control character.
pub(super) fn control_character(text: &str) -> Option<Refusal> {
    let is_refused = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let (at, found) = text.char_indices().find(|(_, c)| is_refused(*c))?;
    let message = format!("found the control character U+{:04X}", u32::from(found));
    Some(Refusal::new(position(text, at), message).help("remove it"))
}

/// Most steps of the YAML library through lists and mappings in brackets: for each token it may go through all that are open.
/// This many take about a second; a file that a person reads needs some thousand.
const MOST_STEPS: usize = 200_000_000;

/// Refuses what the YAML library would take minutes for.
///
/// Only the library knows which brackets are open. So a bracket counts as open to the end of the file, unless all brackets of
/// its line are closed there and none can be in quotes, a comment or a tag. Every character that may end a token counts as
/// a token.
pub(super) fn too_many_brackets(text: &str) -> Option<Refusal> {
    let (mut opened, mut steps, mut at) = (0_usize, 0_usize, 0);
    for line in text.split_inclusive('\n') {
        let is_plain = !line.contains(['"', '\'', '#', '!']);
        let mut opened_here = 0;
        // `None`: more brackets were closed than opened.
        let mut open_here = Some(0_usize);
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => {
                    opened_here += 1;
                    open_here = open_here.map(|count| count + 1);
                }
                b']' | b'}' => open_here = open_here.and_then(|count| count.checked_sub(1)),
                _ => {}
            }
            if b"[]{},:?-\"'\n".contains(&byte) {
                steps += opened + opened_here;
            }
        }
        if !is_plain || open_here != Some(0) {
            opened += opened_here;
        }
        if steps > MOST_STEPS {
            let message = format!("found {opened} [ and {{, too many for a file of this size");
            let refusal = Refusal::new(position(text, at), message);
            let help = "write each list and mapping on separate lines, with - and indentation";
            return Some(refusal.help(help));
        }
        at += line.len();
    }
    None
}

/// Most directives: the library compares each `%TAG` with all earlier ones. A configuration does not need any.
const MOST_DIRECTIVES: usize = 16;

/// Refuses more lines that start with `%`.
pub(super) fn too_many_directives(text: &str) -> Option<Refusal> {
    let lines = text.lines().enumerate();
    let mut directives = lines.filter(|(_, line)| line.starts_with('%'));
    let (index, _) = directives.nth(MOST_DIRECTIVES)?;
    let message = format!("found more than {MOST_DIRECTIVES} lines that start with %");
    Some(Refusal::new((index + 1, 1), message).help("remove them"))
}

/// Line and column, from 1, of the byte at `offset`.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

/// Turns an error of the YAML library into words that say what to change.
pub(super) fn explain(text: &str, error: &str, at: Option<(usize, usize)>) -> Refusal {
    if error.contains("more than one document") && second_document(text).is_none() {
        let message =
            "found more after the end of the text, list or mapping that the file begins with";
        return Refusal::new(at.unwrap_or((1, 1)), message).help(
            "a file is one mapping: start each line that is not indented with a key and a colon",
        );
    }
    if error.contains("more than one document") {
        let at = second_document(text).unwrap_or((1, 1));
        let refusal = Refusal::new(at, "found a second YAML document");
        return refusal.help("remove the line ---");
    }
    if error.contains("repetition limit") {
        return Refusal::new(at.unwrap_or((1, 1)), "found too many aliases");
    }
    let (line, column) = at.unwrap_or((1, 1));
    if error.contains("scanning an alias") || error.contains("unknown anchor") {
        return alias(text, line, column);
    }
    if let Some((line, column)) = tab_in_indentation(text, line) {
        return Refusal::new((line, column), "found a tab in the indentation")
            .help("YAML allows only spaces there");
    }
    let opened = opened(error);
    // A quote that is not closed reaches the end of the file, where there is nothing to see.
    let place = match opened {
        Some(opened) if error.contains("unexpected end of stream") => opened,
        _ => (line, column),
    };
    let mut refusal = Refusal::new(place, format!("not valid YAML: {}", without_place(error)));
    refusal.opened = opened;
    match advice(text, error, line, column) {
        Some(help) => refusal.help(help),
        None => refusal,
    }
}

/// A value that starts with `*`, which is how an alias starts.
fn alias(text: &str, line: usize, column: usize) -> Refusal {
    let chars: Vec<char> = nth_line(text, line).chars().collect();
    let star = chars.iter().take(column).rposition(|c| *c == '*');
    let start = star.unwrap_or_else(|| column.saturating_sub(1));
    let value: String = chars
        .iter()
        .skip(start)
        .take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}' | '#'))
        .take(60)
        .collect();
    Refusal::new(
        (line, start + 1),
        format!("found {value} without quotes, which YAML reads as an alias"),
    )
    .help(format!("write it in quotes: \"{value}\""))
}

/// The place of a tab before the first other character of `line`, or of the line before it.
fn tab_in_indentation(text: &str, line: usize) -> Option<(usize, usize)> {
    [line, line.saturating_sub(1)].into_iter().find_map(|line| {
        let content = nth_line(text, line);
        let indentation = content.chars().take_while(|c| matches!(c, ' ' | '\t'));
        let column = indentation.clone().position(|c| c == '\t')?;
        // A blank line may contain tabs.
        (indentation.count() < content.trim_end().chars().count()).then_some((line, column + 1))
    })
}

fn advice(text: &str, error: &str, line: usize, column: usize) -> Option<String> {
    let content = nth_line(text, line);
    let found = content.chars().nth(column.saturating_sub(1));
    if content.contains("${") && error.contains("flow") {
        return Some("inside [ ] and { }, write values that contain ${…} in quotes".to_owned());
    }
    let around = [line, line.saturating_sub(1)];
    if let Some(address) = around
        .into_iter()
        .find_map(|line| bare_ipv6(nth_line(text, line)))
    {
        return Some(format!(
            "[ starts a list in YAML: write the address in quotes, \"{address}\""
        ));
    }
    if error.contains("cannot start any token") {
        return found.map(|c| format!("a value that starts with {c} needs quotes"));
    }
    if error.contains("mapping values are not allowed") {
        return Some(
            "check the colons and the indentation of this line and the one before; a value that contains a colon and \
             a space needs quotes"
                .to_owned(),
        );
    }
    if error.contains("unknown escape character") {
        return Some(
            "in double quotes \\ starts an escape: use single quotes, in which it is an ordinary character; origins and paths are \
             not regular expressions"
                .to_owned(),
        );
    }
    if error.contains("found unexpected ':'") {
        return Some("write a space after the colon of each key".to_owned());
    }
    if error.contains("quoted scalar") {
        return Some("a quote is opened and not closed".to_owned());
    }
    if error.contains("flow sequence") {
        return Some("a [ is opened and not closed, or a comma is missing".to_owned());
    }
    if error.contains("flow mapping") {
        return Some("a { is opened and not closed, or a comma is missing".to_owned());
    }
    if error.contains("block mapping")
        || error.contains("block collection")
        || error.contains("expected ':'")
    {
        return Some(
            "check the colons and the indentation of this line and the one before".to_owned(),
        );
    }
    None
}

/// An IPv6 address with a port, such as `[::]:8443`, that is in `line` without quotes.
fn bare_ipv6(line: &str) -> Option<&str> {
    line.match_indices('[').find_map(|(start, _)| {
        let quoted = line.get(..start)?.ends_with(['"', '\'', '/']);
        let rest = line.get(start..)?;
        let (address, port) = rest.strip_prefix('[')?.split_once("]:")?;
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        let is_address = address.parse::<Ipv6Addr>().is_ok() && digits > 0 && !quoted;
        is_address.then(|| rest.get(..address.len() + 3 + digits))?
    })
}

/// Where the list, mapping or quote begins that the library was reading: the second of the two places in its words.
fn opened(error: &str) -> Option<(usize, usize)> {
    let (_, context) = error.split_once(", while ")?;
    let (_, place) = context.split_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    let digits = column.bytes().take_while(u8::is_ascii_digit).count();
    Some((line.parse().ok()?, column.get(..digits)?.parse().ok()?))
}

/// The library's words without the place of the error, which the report has already; a second place is kept.
fn without_place(error: &str) -> String {
    let Some(start) = error
        .find(" at line ")
        .or_else(|| error.find(" at position "))
    else {
        return error.to_owned();
    };
    let (before, place) = error.split_at(start);
    let rest = place.find(',').and_then(|comma| place.get(comma..));
    format!("{before}{}", rest.unwrap_or_default())
}

fn second_document(text: &str) -> Option<(usize, usize)> {
    let is_marker = |line: &str| line == "---" || line.starts_with("--- ");
    let is_content = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with(['#', '%'])
    };
    let mut has_content = false;
    for (index, line) in text.lines().enumerate() {
        if has_content && is_marker(line) {
            return Some((index + 1, 1));
        }
        has_content |= is_content(line);
    }
    None
}

fn nth_line(text: &str, line: usize) -> &str {
    line.checked_sub(1)
        .and_then(|index| text.lines().nth(index))
        .unwrap_or_default()
}
