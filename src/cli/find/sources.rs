//! Where the records are, in the order of time.

use std::collections::HashSet;
use std::io::{self, IsTerminal};

use super::Options;
use crate::cli::records::{Reader, Record, Source, Step};

/// Where to read, in the order of time.
pub(super) fn sources(options: &Options) -> Result<Vec<Source>, String> {
    let mut sources: Vec<_> = options.files.iter().cloned().map(Source::named).collect();
    if sources.is_empty() {
        if io::stdin().is_terminal() {
            return Err(
                "no file is named, and standard input is a terminal; name the files with the records, or pipe them in, as in \
                 `kubectl logs POD | wsgate find --failed`"
                    .to_owned(),
            );
        }
        sources.push(Source::Stdin);
    }
    if options.follow && sources.len() > 1 {
        return Err(format!(
            "--follow reads one file, but {} are named",
            sources.len()
        ));
    }
    if sources
        .iter()
        .filter(|source| **source == Source::Stdin)
        .count()
        > 1
    {
        return Err("standard input (-) is named more than once".to_owned());
    }
    let mut seen = HashSet::new();
    sources.retain(|source| seen.insert(source.name()));
    if sources.len() > 1 {
        sources.sort_by_cached_key(first_time);
    }
    Ok(sources)
}

/// The time of a file's first record; of a file without records, and of what can be read only once, a text behind all times.
fn first_time(source: &Source) -> String {
    const LAST: &str = "~";
    if !source.is_regular() {
        return LAST.to_owned();
    }
    let Ok(lines) = source.open() else {
        return LAST.to_owned();
    };
    let mut reader = Reader::new(lines);
    for _ in 0..1000 {
        match reader.step() {
            Ok(Step::Json) => {
                if let Some(record) = Record::read(reader.json()) {
                    return record.time.into_owned();
                }
            }
            Ok(Step::Foreign) => {}
            Ok(Step::End) | Err(_) => break,
        }
    }
    LAST.to_owned()
}
