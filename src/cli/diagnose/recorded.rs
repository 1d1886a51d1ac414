//! `--from-record`: what a recorded client did, as far as its record knows it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::records::{Reader, Record, Source, Step};
use crate::record::id;
use crate::text::shown;

/// What is known of the client's request.
#[derive(Debug)]
pub(super) struct Recorded {
    pub url: String,
    pub origin: Option<String>,
    pub user_agent: Option<String>,
    pub sni: Option<String>,
    /// What the record does not say.
    pub missing: Vec<String>,
}

#[derive(Deserialize)]
struct Fields {
    conn: Option<String>,
    stream_id: Option<u32>,
    host: Option<String>,
    path: Option<String>,
    origin: Option<String>,
    user_agent: Option<String>,
    sni: Option<String>,
    tls_version: Option<String>,
}

/// Finds the record that `named` means: the last one of a file, or the last one on standard input with this conn
/// or, over HTTP/2, CONN-STREAM.
///
/// # Errors
/// Why there is none, with what is expected.
pub(super) fn find(named: &str) -> Result<Recorded, String> {
    let name = shown(named, 200);
    let (source, asked) = match Path::new(named).exists() {
        true => (Source::File(PathBuf::from(named)), None),
        false => (Source::Stdin, Some(named)),
    };
    let unreadable = |error| format!("--from-record {name}: {error}");
    let mut reader = Reader::new(source.open().map_err(unreadable)?);
    let mut last = None;
    loop {
        match reader.step().map_err(unreadable)? {
            Step::Json => {
                let fields = Record::read(reader.json())
                    .and_then(|_| serde_json::from_str::<Fields>(reader.json()).ok());
                let is_named = |fields: &Fields, id| {
                    let conn = fields.conn.as_deref().unwrap_or_default();
                    id::names(id, conn, fields.stream_id)
                };
                let is_meant = |fields: &Fields| {
                    fields.host.is_some() && asked.is_none_or(|id| is_named(fields, id))
                };
                last = fields.filter(is_meant).or(last);
            }
            Step::Foreign => {}
            Step::End => break,
        }
    }
    match last {
        Some(fields) => Ok(repeated(fields)),
        None => Err(match asked {
            Some(_) => format!(
                "--from-record {name}: there is no such file, and no record on standard input with this conn and a host"
            ),
            None => format!("--from-record {name}: no record in it has a host"),
        }),
    }
}

fn repeated(fields: Fields) -> Recorded {
    let is_tls = fields.tls_version.is_some();
    let scheme = if is_tls { "wss" } else { "ws" };
    let host = fields.host.unwrap_or_default();
    let path = fields.path.unwrap_or_else(|| "/".to_owned());
    let mut missing = vec![
        "records don't have cookies, other fields and the subprotocols that were offered; add them with --header and --subprotocol"
            .to_owned(),
    ];
    if path.contains("=*") {
        missing.push(
            "the values of the query are * in the record; give the whole URL as an argument if the server needs them".to_owned(),
        );
    }
    if !is_tls {
        missing.push(
            "the client came without TLS, perhaps from a hop that terminates it; give the URL that clients use as an argument"
                .to_owned(),
        );
    }
    Recorded {
        url: format!("{scheme}://{host}{path}"),
        origin: fields.origin,
        user_agent: fields.user_agent,
        sni: fields.sni,
        missing,
    }
}
