//! `wsgate diagnose`: the report of a diagnosis on a terminal or as JSON.

mod recorded;
mod screen;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::screen::Screen;
use super::records::safe;
use super::{FAILED, OK, WRONG, say, timeout};
use crate::diagnose::{self, Comparison, Options as Wanted, Report, Request, Target, wechat};
use crate::text::{Language, is_token};
use crate::tls::probe::Trusted;

/// The command line of `diagnose`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The URL, such as wss://api.example.com/stream.
    #[arg(value_name = "URL", required_unless_present = "from_record")]
    url: Option<String>,
    /// The Origin to send, or none; without this option, that of a page on the same host.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// A field to add, such as 'Authorization: Bearer …'; its value is never shown. May be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// A subprotocol to offer. May be repeated.
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// Connect to this address instead of those of the host.
    #[arg(long, value_name = "IP:PORT")]
    connect_to: Option<SocketAddr>,
    /// The name for TLS, if it is not the host.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Trust the authorities in this file too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send what a WeChat mini program with this app id sends, on each platform.
    #[arg(long, value_name = "APPID")]
    wechat: Option<String>,
    /// Repeat what a client did: a file, of which the last record with a host is taken, or the conn of a record on standard
    /// input (over HTTP/2 also CONN-STREAM).
    #[arg(long, value_name = "FILE-OR-CONN")]
    from_record: Option<String>,
    /// Send this text and expect it back.
    #[arg(long, value_name = "TEXT")]
    echo: Option<String>,
    /// Stay silent in the open WebSocket for this long, to find a timer that cuts it off.
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    idle: Option<Duration>,
    /// How long each step may take.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    timeout: Duration,
    /// Diagnose this URL too, which leads to the backend directly, and say where the two ways part.
    #[arg(long, value_name = "URL")]
    compare: Option<String>,
    /// Only one walk: one address, and nothing changed.
    #[arg(long)]
    quick: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The language of the report: en or zh; without this option, that of the locale.
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

/// Diagnoses a URL. Returns 0 if the WebSocket works, 1 if a stage failed, 2 if the command line is wrong.
pub(super) fn run(options: &Options) -> u8 {
    let (wanted, notes) = match wanted(options) {
        Ok(wanted) => wanted,
        Err(problem) => {
            say(io::stderr(), &format!("error: {problem}\n"));
            return WRONG;
        }
    };
    let language = options.lang.unwrap_or_else(of_locale);
    let direct = match options.compare.as_deref().map(Target::parse).transpose() {
        Ok(direct) => direct.map(|target| Wanted {
            target,
            connect_to: None,
            sni: None,
            ..wanted.clone()
        }),
        Err(problem) => {
            say(io::stderr(), &format!("error: --compare: {problem}\n"));
            return WRONG;
        }
    };
    for what in &notes {
        say(io::stderr(), &safe(&format!("note: {what}\n")));
    }
    let screen = Screen::new(options.json, options.wechat.is_some(), language);
    let report = screen.diagnose(&wanted);
    let Some(direct) = direct else {
        if options.json {
            print(&report.json(language));
        }
        return code(&report);
    };
    let direct = screen.diagnose(&direct);
    let comparison = Comparison::of(&report, &direct);
    match options.json {
        true => print(&serde_json::json!({
            "schema": diagnose::SCHEMA,
            "comparison": comparison.id(),
            "words": comparison.words(language),
            "report": report.json(language),
            "direct": direct.json(language),
        })),
        false => say(io::stdout(), &screen.comparison(comparison, &report)),
    }
    code(&report)
}

fn print(json: &serde_json::Value) {
    say(io::stdout(), &safe(&format!("{json:#}\n")));
}

fn code(report: &Report) -> u8 {
    if report.verdict.works() { OK } else { FAILED }
}

/// The language of the environment (POSIX: LC_ALL, LC_MESSAGES, LANG).
fn of_locale() -> Language {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    match set {
        Some(value) if value.starts_with("zh") => Language::Zh,
        _ => Language::En,
    }
}

/// What the command line asks for, and what to know about it.
fn wanted(options: &Options) -> Result<(Wanted, Vec<String>), String> {
    let mut recorded = options
        .from_record
        .as_deref()
        .map(recorded::find)
        .transpose()?;
    let url = options
        .url
        .as_deref()
        .or_else(|| Some(recorded.as_ref()?.url.as_str()));
    let target = Target::parse(url.unwrap_or_default())?;
    let mut fields = options
        .header
        .iter()
        .map(|field| header(field))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(app_id) = &options.wechat {
        if !wechat::is_app_id(app_id) {
            return Err(format!(
                "--wechat {app_id:?} is not an app id, which is wx and 16 hexadecimal digits"
            ));
        }
        if !fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("referer"))
        {
            fields.push(("Referer".to_owned(), wechat::referer(app_id)));
        }
    }
    if let (Some(recorded), false, None) = (&mut recorded, options.header.is_empty(), &options.url)
    {
        recorded.missing.push(format!(
            "the fields of --header go to {}, a host that the recorded client named",
            target.authority()
        ));
    }
    let recorded_agent = recorded
        .as_ref()
        .and_then(|recorded| recorded.user_agent.clone());
    let user_agent = match recorded_agent {
        Some(agent) if !is_value(&agent) => {
            return Err(
                "--from-record: the user_agent has characters that can't be sent".to_owned(),
            );
        }
        Some(agent) => agent,
        None if options.wechat.is_some() => wechat::USER_AGENT.to_owned(),
        None => concat!("wsgate-diagnose/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    const LONGEST_ECHO: usize = 65_535;
    if options
        .echo
        .as_ref()
        .is_some_and(|text| text.len() > LONGEST_ECHO)
    {
        return Err(format!(
            "--echo: the text is longer than {LONGEST_ECHO} bytes"
        ));
    }
    let usual = match (&recorded, &options.wechat) {
        (Some(recorded), _) => recorded.origin.clone(),
        (None, Some(_)) => Some(wechat::ORIGIN.to_owned()),
        (None, None) => Some(target.own_origin()),
    };
    let origin = match options.origin.as_deref() {
        None => usual,
        Some("none") => None,
        Some(origin) => Some(origin.to_owned()),
    };
    let is_sendable = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(origin) = origin.as_ref().filter(|origin| !is_sendable(origin)) {
        return Err(format!(
            "the Origin {origin:?} has characters that can't be sent"
        ));
    }
    let mut notes = recorded
        .as_mut()
        .map(|recorded| std::mem::take(&mut recorded.missing))
        .unwrap_or_default();
    if let Some(unusual) = origin.as_ref().filter(|origin| is_unusual(origin)) {
        notes.push(format!(
            "no browser sends {unusual} as an Origin: it is a scheme, a host and perhaps a port, as in https://app.example.com, \
             without a slash at the end"
        ));
    }
    if options.sni.is_some() && !target.is_tls {
        notes.push("--sni has no effect, because the URL is not wss".to_owned());
    }
    for name in &options.subprotocol {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!(
                "--subprotocol {name:?} is not a token (RFC 6455 section 4.1)"
            ));
        }
    }
    let wanted = Wanted {
        request: Request {
            origin,
            subprotocols: options.subprotocol.clone(),
            deflate: true,
            user_agent,
            fields,
            upgrade: true,
        },
        connect_to: options.connect_to,
        sni: options
            .sni
            .clone()
            .or_else(|| recorded.as_ref()?.sni.clone()),
        trusted: Trusted::load(options.ca.as_deref()).map_err(|error| format!("--ca: {error}"))?,
        timeout: options.timeout,
        echo: options.echo.clone(),
        idle: options.idle,
        is_quick: options.quick,
        is_wechat: options.wechat.is_some(),
        target,
    };
    Ok((wanted, notes))
}

/// Whether a text is not an Origin of a browser (RFC 6454 section 6.2).
fn is_unusual(origin: &str) -> bool {
    let host = origin.split_once("://").map(|(_, host)| host);
    // Pages in files are an exception.
    !matches!(origin, "null" | "file://")
        && host.is_none_or(|host| {
            host.is_empty()
                || host.contains('/')
                || host.bytes().any(|byte| byte.is_ascii_uppercase())
        })
}

/// Whether a value can be sent without ending its line.
fn is_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic())
}

/// Fields that the handshake itself has.
const OWN: [&str; 9] = [
    "host",
    "connection",
    "upgrade",
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
];

/// Reads a field. Messages don't have its value, which may be a secret.
fn header(field: &str) -> Result<(String, String), String> {
    let (name, value) = field
        .split_once(':')
        .ok_or("--header is not NAME: VALUE, such as 'Authorization: Bearer …'")?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || !name.bytes().all(is_token) {
        // It may be a secret without its name.
        return Err(
            "--header: what stands before the colon is not the name of a field, such as Authorization"
                .to_owned(),
        );
    }
    if !is_value(value) {
        return Err(format!(
            "--header {name}: the value has characters that can't be sent"
        ));
    }
    if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!(
            "--header {name}: the handshake has this field already; use --origin, --subprotocol or the URL"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}
