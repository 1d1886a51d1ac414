//! Text in the cells of a terminal: what may be shown, how wide it is, and how it is cut and wrapped.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::is_invisible;

/// What of a text from the outside may reach a terminal: one line of at most `most` characters. Everything that a terminal
/// would obey, that has no width, or that changes the order or the width of its neighbours is escaped.
pub(super) fn safe(text: &str, most: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(most));
    for (index, c) in text.chars().enumerate() {
        if index == most {
            safe.push('…');
            break;
        }
        match is_plain(c) {
            true => safe.push(c),
            false => safe.extend(c.escape_default()),
        }
    }
    safe
}

/// Whether a character stands in one or two cells of its own, from left to right.
pub(super) fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let is_settled = !c.is_control()
        && !is_invisible(c)
        && c.width().is_some_and(|width| matches!(width, 1 | 2));
    is_settled
        && !matches!(
            c,
            // Scripts that are written from right to left.
            '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}'
            // Blanks that look like nothing, and blanks of another width.
            | '\u{85}'..='\u{a0}' | '\u{115f}'..='\u{11ff}' | '\u{1680}' | '\u{2000}'..='\u{200f}' | '\u{202f}' | '\u{205f}'
            | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            // Halves of flags, and colours of the skin.
            | '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f3fb}'..='\u{1f3ff}'
            // Private use, and what is not assigned.
            | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..
        )
}

/// The columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// At most `columns` columns of a text; its last one shows that something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if taken + next + 1 > columns {
            break;
        }
        taken += next;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A text in exactly `columns` columns, at their left.
pub(super) fn left(text: &str, columns: usize) -> String {
    let mut cell = cut(text, columns);
    let room = columns.saturating_sub(width(&cell));
    cell.extend(std::iter::repeat_n(' ', room));
    cell
}

/// The same at their right.
pub(super) fn right(text: &str, columns: usize) -> String {
    let cell = cut(text, columns);
    let room = columns.saturating_sub(width(&cell));
    format!("{}{cell}", " ".repeat(room))
}

/// A text in lines of at most `columns` columns; words that are too long are broken.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut taken = 0;
    for word in text.split(' ') {
        let long = width(word);
        if taken > 0 && taken + 1 + long > columns && long <= columns {
            lines.push(std::mem::take(&mut line));
            taken = 0;
        } else if taken > 0 && taken < columns {
            line.push(' ');
            taken += 1;
        }
        for c in word.chars() {
            let next = c.width().unwrap_or(0);
            if taken + next > columns {
                lines.push(std::mem::take(&mut line));
                taken = 0;
            }
            line.push(c);
            taken += next;
        }
    }
    lines.push(line);
    lines
}

/// A duration in one or two units, such as `9m12s`.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        _ if ms < 0 => "-".to_owned(),
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A number of bytes in at most six columns.
pub(super) fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes.unsigned_abs() < 1024 {
        return bytes.to_string();
    }
    // Tenths of the unit, which are exact enough and can't overflow.
    let mut value = i128::from(bytes) * 10;
    let mut unit = "";
    for next in UNITS {
        if value.unsigned_abs() < 10_240 {
            break;
        }
        value /= 1024;
        unit = next;
    }
    match value.unsigned_abs() {
        0..1000 => format!("{}.{}{unit}", value / 10, value.unsigned_abs() % 10),
        _ => format!("{}{unit}", value / 10),
    }
}

/// A count in at most six columns.
pub(super) fn count(count: i64) -> String {
    match count.unsigned_abs() {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1000),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let hostile = "a\u{1b}[31m\r\n\u{9b}2J\u{202e}\u{200b}\u{ad}e\u{301}\u{61c}\u{feff}\u{fe0f}\u{e0041}\u{5d0}\u{7f}\u{1f1e9}";
        let shown = safe(hostile, 1000);
        assert!(shown.chars().all(is_plain), "{shown}");
        assert!(
            shown.starts_with("a\\u{1b}[31m\\r\\n\\u{9b}2J\\u{202e}"),
            "{shown}"
        );
        assert_eq!(safe("中文 ok — ü…", 100), "中文 ok — ü…");
        assert_eq!(safe("abcdef", 3), "abc…");
        // What is called plain never combines with its neighbours.
        for c in (0..0x0011_0000)
            .filter_map(char::from_u32)
            .filter(|c| is_plain(*c))
        {
            let alone = c.width().unwrap();
            assert!((1..=2).contains(&alone), "{c:?}");
            assert_eq!(width(&format!("x{c}x")), alone + 2, "{c:?}");
        }
    }

    #[test]
    fn wide_characters_keep_columns_aligned() {
        for text in ["", "ab", "中文中文中文", "a中b文c中d文"] {
            for columns in 0..12 {
                assert_eq!(width(&left(text, columns)), columns, "{text} {columns}");
                assert_eq!(width(&right(text, columns)), columns, "{text} {columns}");
                assert!(
                    wrap(text, columns)
                        .iter()
                        .all(|line| width(line) <= columns.max(2))
                );
            }
        }
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
    }

    #[test]
    fn numbers_of_any_size_have_a_short_form() {
        for (ms, words) in [
            (-1, "-"),
            (0, "0ms"),
            (999, "999ms"),
            (59_999, "59s"),
            (61_000, "1m01s"),
            (3_660_000, "1h01m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(span(ms), words);
        }
        for (bytes, words) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1_536_000, "1.4M"),
            (i64::MAX, "7.9E"),
        ] {
            assert_eq!(size(bytes), words);
        }
        for number in [i64::MIN, -1, 0, 99_999, 12_345_678, i64::MAX] {
            assert!(size(number).len() <= 6 && !span(number).is_empty());
            assert!(!count(number).is_empty());
        }
    }
}
