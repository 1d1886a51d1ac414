//! `wsgate find`: answers the questions of an incident from the records.

mod behind;
mod counter;
mod left;
mod printer;
mod report;
mod sources;
mod summary;
mod top;
mod wanted;
mod when;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use self::behind::Behind;
use self::left::Left;
use self::printer::Printer;
use self::report::Report;
use self::sources::sources;
use self::summary::Summary;
use self::top::Top;
use self::wanted::Wanted;
use super::records::{Lines, Reader, Record, Source, Step, safe};
use super::{FAILED, OK, WRONG, say};
use crate::record::{SCHEMA, line};
use crate::text::shown;

/// The command line of `find`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Files with records, in any order; gzip and zstd are recognised, and - is standard input (the default).
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    filters: Filters,
    /// Count the records by this field instead of printing them.
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["summary", "follow"])]
    top: Option<Field>,
    /// How many values --top and --summary name; by default 10 and 3.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Say what went wrong, how often, since when, for whom, and what to do.
    #[arg(long, conflicts_with = "follow")]
    summary: bool,
    /// Wait for more records at the end of the file, and go on with the next one when it is rotated.
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// How records are printed: as text or as JSON.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Which records are wanted.
#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Not before this time: 20:38, 2026-01-02T20:38+08:00, or how long ago, such as 15m; without an offset it is UTC.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Not after this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// From this client: an address or a prefix, such as 203.0.113.0/24.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// With an Origin that contains this text.
    #[arg(long, value_name = "TEXT")]
    origin: Option<String>,
    /// With a path that contains this text.
    #[arg(long, value_name = "TEXT")]
    path: Option<String>,
    /// With this reason; several are separated by commas, and * stands for any text, as in 'origin_*'.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    reason: Vec<String>,
    /// Of this route, as the field route shows it.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// All records of the connection with this conn, request_id or trace_id; over HTTP/2 of the stream with this request_id,
    /// trace_id or CONN-STREAM.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// With a User-Agent that contains this text.
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Only refusals, tunnels that did not end with an ordinary Close, plain requests that broke off, and problems.
    #[arg(long)]
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What `--top` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Field {
    Reason,
    Client,
    Origin,
    Path,
}

/// Finds records. Returns 0 if there were any, 1 if there were none, 2 if the command line is wrong or a file could not be
/// read.
pub(super) fn find(options: &Options) -> u8 {
    if options.limit.is_some() && options.top.is_none() && !options.summary {
        return wrong("--limit is for --top and --summary; to see the first records, use `| head`");
    }
    let mut wanted = match Wanted::parse(&options.filters, SystemTime::now()) {
        Ok(wanted) => wanted,
        Err(problem) => return wrong(&problem),
    };
    let sources = match sources(options) {
        Ok(sources) => sources,
        Err(problem) => return wrong(&problem),
    };
    let mut search = Search::new(options);
    let searched = match sources.as_slice() {
        [source] if options.follow => source
            .follow()
            .and_then(|lines| search.all(lines, &mut wanted))
            .map_err(|error| unreadable(source, &error, &mut search)),
        _ => search.files(&sources, &mut wanted),
    };
    search.finish(&wanted, searched.is_ok())
}

fn wrong(problem: &str) -> u8 {
    say(io::stderr(), &format!("error: {problem}\n"));
    WRONG
}

/// Says that a source could not be read to its end.
fn unreadable(source: &Source, error: &io::Error, search: &mut Search) {
    if let Purpose::Print(printer) = &mut search.purpose {
        // Records that were found come first. What is broken is told at the end.
        let _ = printer.settle();
    }
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let remedy = match error.kind() {
        InvalidData | InvalidInput | UnexpectedEof => {
            "; the file is cut or damaged at this point, and everything before it was read"
        }
        _ => "",
    };
    let text = format!(
        "error: {}: {}{remedy}\n",
        source.name(),
        shown(&error.to_string(), 256)
    );
    say(io::stderr(), &text);
}

/// Finds the connections and streams of the wanted id.
fn learn(lines: Lines, wanted: &mut Wanted) -> io::Result<()> {
    let mut reader = Reader::new(lines);
    loop {
        match reader.step()? {
            Step::Json => {
                if wanted.may_have_id(reader.json())
                    && let Some(record) = Record::read(reader.json())
                {
                    let _ = wanted.learn(&record);
                }
            }
            Step::Foreign => {}
            Step::End => return Ok(()),
        }
    }
}

/// What is done with the records.
enum Purpose {
    Print(Printer),
    Report(Report),
}

struct Search {
    purpose: Purpose,
    has_found: bool,
    /// Whether nothing more can be written.
    is_broken: bool,
    behind: Behind,
    /// Whether a wanted connection or stream may have had earlier records that were forgotten.
    may_miss: bool,
    /// Whether the current source was not read before, to find the connections and streams of an id.
    is_read_once: bool,
    records: u64,
    /// The times of the first and the last record.
    span: Option<(String, String)>,
    foreign: u64,
    left: Left,
    newest_schema: u32,
}

impl Search {
    fn new(options: &Options) -> Self {
        let limit = |usual| usize::from(options.limit.unwrap_or(usual));
        let is_json = options.format == Format::Json;
        let layout = match io::stdout().is_terminal() {
            true => line::Layout::Terminal,
            false => line::Layout::OneLine,
        };
        let purpose = match (options.top, options.summary) {
            (Some(field), _) => Purpose::Report(Report::Top(Top::new(field, limit(10), is_json))),
            (None, true) => Purpose::Report(Report::Summary(Summary::new(limit(3), is_json))),
            (None, false) => Purpose::Print(Printer::start(options.format, layout)),
        };
        Self {
            purpose,
            has_found: false,
            is_broken: false,
            behind: Behind::default(),
            may_miss: false,
            is_read_once: true,
            records: 0,
            span: None,
            foreign: 0,
            left: Left::default(),
            newest_schema: 0,
        }
    }

    /// Reads all sources. A source that can't be read is told, and does not stop the others.
    fn files(&mut self, sources: &[Source], wanted: &mut Wanted) -> Result<(), ()> {
        let mut outcome = Ok(());
        let mut fail = |source: &Source, error: &io::Error, search: &mut Self| {
            unreadable(source, error, search);
            outcome = Err(());
        };
        if wanted.is_story() {
            for source in sources.iter().filter(|source| source.is_regular()) {
                // The second reading tells what is wrong.
                let _ = source.open().and_then(|lines| learn(lines, wanted));
            }
        }
        for source in sources {
            self.is_read_once = !source.is_regular();
            let lines = source.open();
            if let Err(error) = lines.and_then(|lines| self.all(lines, wanted)) {
                fail(source, &error, self);
            }
            if self.is_broken {
                break;
            }
        }
        outcome
    }

    /// Reads one source.
    fn all(&mut self, lines: Lines, wanted: &mut Wanted) -> io::Result<()> {
        let mut reader = Reader::new(lines);
        while !self.is_broken {
            if reader.may_wait()
                && let Purpose::Print(printer) = &mut self.purpose
                && printer.flush().is_err()
            {
                self.is_broken = true;
                break;
            }
            match reader.step()? {
                Step::Json => match Record::read(reader.json()) {
                    Some(record) => self.take(&record, reader.json(), wanted),
                    None => self.foreign += 1,
                },
                Step::Foreign => self.foreign += 1,
                Step::End => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &Record<'_>, json: &str, wanted: &mut Wanted) {
        self.newest_schema = self.newest_schema.max(record.schema);
        self.records += 1;
        match &mut self.span {
            Some((first, last)) => summary::extend(first, last, &record.time),
            None => self.span = Some((record.time.to_string(), record.time.to_string())),
        }
        if wanted.is_story() && wanted.learn(record) {
            self.look_behind(&record.id(), wanted);
        }
        match &*record.event {
            "records_suppressed" if wanted.may_have_suppressed(record) => {
                self.left.suppress(record);
                if let Purpose::Report(report) = &mut self.purpose
                    && !wanted.is_narrow()
                {
                    report.suppressed(record);
                }
            }
            "records_dropped" if wanted.window.has(&record.time) => {
                self.left.dropped = self.left.dropped.saturating_add(record.count);
            }
            _ => {}
        }
        match wanted.has(record) {
            true => self.show(record, json),
            false if wanted.is_story() && self.is_read_once && !record.conn.is_empty() => {
                self.behind.keep(&record.id(), json);
            }
            false => {}
        }
    }

    /// Shows the kept records of a connection, or of a stream, that is wanted after all.
    fn look_behind(&mut self, id: &str, wanted: &Wanted) {
        self.may_miss |= self.behind.has_forgotten;
        for json in self.behind.take(id) {
            if let Some(record) = Record::read(&json).filter(|record| wanted.has(record)) {
                self.show(&record, &json);
            }
        }
    }

    fn show(&mut self, record: &Record<'_>, json: &str) {
        match &mut self.purpose {
            Purpose::Report(report) => {
                self.has_found |= report.add(record);
            }
            Purpose::Print(printer) => {
                self.has_found = true;
                self.is_broken = printer.print(json).is_err();
            }
        }
    }

    /// Prints what was counted, and says what the answer does not contain.
    fn finish(mut self, wanted: &Wanted, is_complete: bool) -> u8 {
        let printed = match self.purpose {
            Purpose::Print(printer) => printer.finish(),
            Purpose::Report(report) => {
                let text = report.text(&self.left);
                self.has_found |= report.has_suppressed();
                let mut output = io::stdout();
                let written = output.write_all(safe(&text).as_bytes());
                written.and_then(|()| output.flush())
            }
        };
        // The reader of the output may have gone, which is not an error.
        if let Err(error) = printed
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return wrong(&format!("the output is not complete: {error}"));
        }
        let mut notes = String::new();
        let searched = wanted.window.words();
        if let Some((first, last)) = self.span.filter(|_| !self.has_found) {
            notes.push_str(&match self.records {
                1 => format!("note: the only record, of {first}, does not match\n"),
                more => {
                    format!("note: none of the {more} records from {first} to {last} matches\n")
                }
            });
        } else if self.records == 0 && is_complete {
            notes.push_str("note: there are no records\n");
        }
        if !searched.is_empty() && (!self.has_found || wanted.window.is_chosen()) {
            notes.push_str(&format!("note: the search was for records {searched}\n"));
        }
        if self.may_miss {
            notes.push_str(
                "note: earlier records of this connection may be missing, because a pipe can be read only once; name the file instead\n",
            );
        }
        if wanted.shortened() > 0 {
            notes.push_str(&format!(
                "note: {} of them may be of another client, because the address in the record has been shortened or ends in 0\n",
                wanted.shortened()
            ));
        }
        if self.foreign > 0 {
            let lines = match self.foreign {
                1 => "1 line is not a record and was".to_owned(),
                more => format!("{more} lines are not records and were"),
            };
            notes.push_str(&format!("note: {lines} skipped\n"));
        }
        if self.newest_schema > SCHEMA {
            notes.push_str(&format!(
                "note: there are records of schema {}, but this program knows schema {SCHEMA}; a newer one may understand them \
                 better\n",
                self.newest_schema
            ));
        }
        if wanted.is_full() {
            notes.push_str("note: more than 100000 connections or streams have this id, and not all of their records were found\n");
        }
        notes.push_str(&self.left.note(wanted.is_narrow()));
        say(io::stderr(), &notes);
        match (is_complete, self.has_found) {
            (false, _) => WRONG,
            (true, true) => OK,
            (true, false) => FAILED,
        }
    }
}
