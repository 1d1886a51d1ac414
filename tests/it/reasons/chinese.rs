//! The Chinese texts compared with the English ones.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use wsgate::reason::{NoteCode, Reason, zh};

use crate::harness::proxy;

/// Words in backticks: keys, commands and codes.
fn quoted(text: &str) -> Vec<&str> {
    let mut quoted: Vec<_> = text.split('`').skip(1).step_by(2).collect();
    quoted.sort_unstable();
    quoted
}

/// Numbers and names that a translation must keep: words with a digit, and names of fields and functions.
fn kept(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.()$".contains(c)))
        .map(|word| word.trim_matches(|c: char| "-.()".contains(c)))
        .filter(|word| {
            word.len() > 2
                && (word.chars().filter(char::is_ascii_digit).count() > 1
                    || word.contains(['_', '$'])
                    || word.contains("Sec-")
                    || word.starts_with("X-"))
        })
        .collect()
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

#[test]
fn every_text_names_what_the_english_one_names() {
    for reason in Reason::ALL {
        let spec = reason.spec();
        for (english, chinese) in [
            (spec.cause.to_owned(), zh::cause(*reason).to_owned()),
            (spec.fix.to_owned(), zh::fix(*reason).to_owned()),
            (reason.client_sees(), zh::client_sees(*reason)),
        ] {
            assert_eq!(
                quoted(&english),
                quoted(&chinese),
                "{reason}: {english}\n{chinese}"
            );
            let chinese_words = kept(&chinese);
            for word in kept(&english) {
                let series = word.replace("00s", "xx");
                assert!(
                    chinese_words.contains(word) || chinese.contains(&series),
                    "{reason}: {word} is lost: {english}\n{chinese}"
                );
            }
            assert!(
                is_chinese(&chinese) || english == chinese,
                "{reason}: {chinese}"
            );
        }
    }
    for note in NoteCode::ALL {
        let (english, chinese) = (note.meaning(), zh::meaning(*note));
        assert!(is_chinese(chinese), "{chinese}");
        for word in kept(english) {
            assert!(chinese.contains(word), "{word} is lost: {chinese}");
        }
    }
}

#[test]
fn no_two_reasons_share_a_text() {
    for text in [zh::cause, zh::fix] {
        let texts: HashSet<_> = Reason::ALL.iter().map(|reason| text(*reason)).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
    }
    let notes: HashSet<_> = NoteCode::ALL
        .iter()
        .map(|note| zh::meaning(*note))
        .collect();
    assert_eq!(notes.len(), NoteCode::ALL.len());
}

/// A text with both kinds of punctuation next to Chinese characters has not been proofread.
#[test]
fn punctuation_is_of_one_kind() {
    for reason in Reason::ALL {
        for text in [zh::cause(*reason), zh::fix(*reason)] {
            let letters: Vec<_> = text.chars().collect();
            for pair in letters.windows(2) {
                let beside = is_chinese(&pair[0].to_string());
                assert!(!(beside && ",;:?!(".contains(pair[1])), "{reason}: {text}");
            }
            assert!(!text.ends_with(['。', '.', ' ']), "{reason}: {text}");
        }
    }
}

#[test]
fn the_reference_is_current() {
    let (code, current, _) = proxy::run(&["explain", "--markdown", "--lang", "zh"], Path::new("."));
    assert_eq!(code, 0);
    let written = fs::read_to_string("docs/reasons.zh-CN.md").unwrap();
    assert!(
        written == current,
        "docs/reasons.zh-CN.md is old: run `wsgate explain --markdown --lang zh > docs/reasons.zh-CN.md`"
    );
}

#[test]
fn the_command_speaks_both_languages() {
    for reason in Reason::ALL {
        let (code, text, _) =
            proxy::run(&["explain", reason.code(), "--lang", "zh"], Path::new("."));
        assert_eq!(code, 0);
        for part in [
            reason.code(),
            zh::cause(*reason),
            zh::fix(*reason),
            &zh::client_sees(*reason),
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    let (code, list, _) = proxy::run(&["explain", "--lang", "zh"], Path::new("."));
    assert_eq!(code, 0);
    for reason in Reason::ALL {
        assert!(list.contains(zh::cause(*reason)), "{reason}");
    }
    let (_, note, _) = proxy::run(
        &["explain", "endpoint_skipped", "--lang", "zh-CN"],
        Path::new("."),
    );
    assert!(
        note.contains(zh::meaning(NoteCode::EndpointSkipped)),
        "{note}"
    );
    // Whatever the environment says, a pipeline gets what it asked for.
    let (code, _, error) = proxy::run(&["explain", "--lang", "fr"], Path::new("."));
    assert_eq!(code, 2);
    assert!(error.contains("fr"), "{error}");
}
