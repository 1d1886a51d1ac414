//! Words for people.

/// A number of things in words: `1 connection`, `2 connections`.
#[must_use]
pub fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
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
}
