//! `log`: which records are written, and how.

use super::super::fields::Fields;
use super::super::key::{Is, Key, keys};
use super::super::report::Report;
use super::super::value::{List, OneOf, Text};
use super::ROOT;
use crate::reason::Level;

/// Which records are written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is written.
    pub level: Level,
    /// JSON or text.
    pub format: LogFormat,
    /// Query parameters whose values are written.
    pub query_keep: Vec<String>,
    /// How much of a client's address is written.
    pub client_address: ClientAddress,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
}

/// How much of a client's address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// All of it.
    Full,
    /// Without the last byte (IPv4) or the last 80 bits (IPv6).
    Truncated,
    /// Not at all.
    Off,
}

keys! {
    pub(super) static LOG: LogKeys {
        /// The lowest level that is written; records below it are only counted, whatever their event. `warn` and `error`
        /// leave out the refusals that clients cause, which are `info`; `wsgate check` warns about that. The lifecycle of
        /// the process (start, reload and its certificates, drain, end) is always written.
        level: Key<Level> = &OneOf(&[
            (Level::Debug.name(), Level::Debug),
            (Level::Info.name(), Level::Info),
            (Level::Warn.name(), Level::Warn),
            (Level::Error.name(), Level::Error),
        ]), Is(|| Level::Info);
        /// `auto` is text on a terminal and JSON otherwise.
        format: Key<LogFormat> =
            &OneOf(&[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]),
            Is(|| LogFormat::Auto);
        /// Query parameters whose values are written; all other values are left out.
        query_keep: Key<Vec<String>> =
            &List::of(Text::any("query parameter", "the name of a query parameter")), Is(Vec::new);
        /// How much of a client's address is written, also in `records_suppressed`.
        client_address: Key<ClientAddress> = &OneOf(&[
            ("full", ClientAddress::Full),
            ("truncated", ClientAddress::Truncated),
            ("off", ClientAddress::Off),
        ]), Is(|| ClientAddress::Full);
    }
}

/// The settings; `top` are the fields of the file.
pub(super) fn read(top: &Fields<'_>, report: &mut Report<'_>) -> Log {
    let fields = top.open(&ROOT.log, report).unwrap_or_default();
    Log {
        level: fields.read(&LOG.level, report),
        format: fields.read(&LOG.format, report),
        query_keep: fields.read(&LOG.query_keep, report),
        client_address: fields.read(&LOG.client_address, report),
    }
}
