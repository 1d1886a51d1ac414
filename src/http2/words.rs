//! Why the HTTP/2 library refused a stream. It tells nobody but its own log, so the words are taken from there: they decide
//! which reason a record gets. If the log says nothing that is known here, the record says only what the client got.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::tap::Refused;
use crate::reason::{Failure, Reason};
use crate::stream::code_name;

/// The parts of the library that say why they refuse something, and the level at which they say it.
const SPEAKERS: [(&str, Level); 5] = [
    ("h2::frame::headers", Level::TRACE),
    ("h2::codec::framed_read", Level::DEBUG),
    ("h2::proto::streams::recv", Level::DEBUG),
    ("h2::proto::streams::streams", Level::DEBUG),
    ("h2::server", Level::DEBUG),
];

/// The most sentences that are kept for streams whose reset has not been sent.
const KEPT: usize = 256;

/// The library's answer to a head that is too large (RFC 6585 section 5).
const TOO_LARGE: u16 = 431;

/// The error code of a stream that may be tried again (RFC 9113 section 8.7).
const REFUSED_STREAM: u32 = 7;

thread_local! {
    /// What the library says while it is polled on this thread. `None`: nobody listens.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Takes the library's words out of its log. It has to be a layer of the program's subscriber.
pub fn listener<S: Subscriber + for<'s> LookupSpan<'s>>() -> impl Layer<S> {
    Listen.with_filter(filter_fn(is_heard).with_max_level_hint(LevelFilter::TRACE))
}

struct Listen;

impl<S: Subscriber> Layer<S> for Listen {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard.as_mut().filter(|heard| heard.len() < KEPT) {
                let mut message = Message(String::new());
                event.record(&mut message);
                heard.push(message.0);
            }
        });
    }
}

/// Sentences with other fields report every frame.
fn is_heard(metadata: &Metadata<'_>) -> bool {
    let speaks =
        |(target, level): &(&str, Level)| metadata.target() == *target && metadata.level() == level;
    metadata.is_event()
        && SPEAKERS.iter().any(speaks)
        && metadata
            .fields()
            .iter()
            .all(|field| field.name() == "message")
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// What the library said about the streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Words {
    said: VecDeque<Said>,
    /// The last sentence about the connection.
    last: Option<String>,
}

/// A sentence, and the stream that it is about if it says so.
#[derive(Debug)]
struct Said {
    stream: Option<u32>,
    words: String,
}

impl Words {
    /// Polls the library, and keeps what it says.
    pub fn listen<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        HEARD.set(Some(Vec::new()));
        let polled = poll();
        let mut cause = None;
        for sentence in HEARD.take().unwrap_or_default() {
            if sentence.starts_with("loading headers") {
                continue;
            }
            let words = without_peer(&sentence);
            if let Some(sentence) = sentence.strip_prefix("connection error") {
                let error = sentence
                    .split_once("err=")
                    .map(|(_, error)| last_name(error));
                self.last = Some(match error {
                    Some(error) => format!("{} ({error})", in_plain_words(&words)),
                    None => in_plain_words(&words).to_owned(),
                });
                continue;
            }
            let stream = number_of_stream(&sentence);
            if stream.is_none() && !sentence.starts_with("malformed headers") {
                // What follows has the number of the stream, but is less exact.
                cause.get_or_insert(words);
                continue;
            }
            if self.said.len() == KEPT {
                self.said.pop_front();
            }
            self.said.push_back(Said {
                stream,
                words: cause.take().unwrap_or(words),
            });
        }
        polled
    }

    /// The last words about the connection.
    pub fn last(&mut self) -> Option<String> {
        self.last.take()
    }

    /// Why a stream was refused.
    pub fn failure(&mut self, refused: Refused) -> Failure {
        let is_meant = |said: &Said| said.stream.is_none_or(|stream| stream == refused.stream);
        let said = self.said.iter().position(is_meant);
        let said = said.and_then(|index| self.said.remove(index));
        let code = match refused.code {
            None => {
                let detail = "the fields are longer than SETTINGS_MAX_HEADER_LIST_SIZE allows";
                return Failure::new(Reason::HttpTooLarge, detail).with_status(TOO_LARGE);
            }
            Some(REFUSED_STREAM) => return Reason::H2StreamLimit.into(),
            Some(code) => code_name(code),
        };
        let Some(Said { words, .. }) = said else {
            let detail = format!("the client got RST_STREAM with {code}");
            return Failure::new(Reason::H2MalformedRequest, detail);
        };
        let has = |part: &str| words.contains(part);
        if has("connection level header") {
            let detail = "Connection, Transfer-Encoding, Upgrade, Keep-Alive or Proxy-Connection";
            return Failure::new(Reason::H2ConnectionHeader, detail);
        }
        if has("TE header not set") {
            let detail = "TE with another value than trailers";
            return Failure::new(Reason::H2ConnectionHeader, detail);
        }
        if has("cannot use :protocol") {
            let detail = "an extended CONNECT, which this connection does not announce";
            return Failure::new(Reason::H2WsUnsupported, detail);
        }
        let words = in_plain_words(&words);
        let detail = format!("{words}; the client got RST_STREAM with {code}");
        Failure::new(Reason::H2MalformedRequest, detail)
    }
}

/// Sentences of the library that only its authors understand, by their beginnings, and what they mean.
const PLAIN_WORDS: &[(&str, &str)] = &[
    (
        "failed HPACK decoding",
        "a header block can't be decoded: its compression is not valid, or a name has upper case or another byte that \
         is not allowed, or a value has CR, LF, NUL or another control character",
    ),
    ("id", "a stream has a lower number than one before it"),
    (
        "recv_data: stream not found",
        "DATA came on a stream that was never opened",
    ),
    (
        "recv_headers: received frame on idle",
        "HEADERS came on a stream that was never opened",
    ),
    (
        "recv_headers: trailers frame was not EOS",
        "the trailers do not end the stream",
    ),
    (
        "recv_headers with END_STREAM",
        "Content-Length announces a body, and none follows",
    ),
    (
        "could not parse content-length",
        "Content-Length is not a number",
    ),
    (
        "conflicting content-length",
        "Content-Length is repeated with different numbers",
    ),
    (
        "pseudo not at head of block",
        "a pseudo field comes after another field",
    ),
    ("repeated pseudo", "a pseudo field is repeated"),
    ("missing method", ":method is missing"),
    ("missing scheme", ":scheme is missing"),
    ("missing path", ":path is missing or empty"),
    ("malformed authority", ":authority is not valid"),
    ("malformed scheme", ":scheme is not valid"),
    ("malformed path", ":path is not valid"),
    ("cannot use :status", ":status is not allowed in a request"),
    (
        ":protocol on non-CONNECT",
        ":protocol is only allowed with CONNECT",
    ),
    (
        "error building request",
        ":scheme, :authority and :path do not make a URL",
    ),
];

/// A sentence of the library, or what it means.
fn in_plain_words(sentence: &str) -> &str {
    let mut known = PLAIN_WORDS.iter();
    let is_meant = |beginning: &str| match beginning.len() < 3 {
        true => sentence == beginning,
        false => sentence.starts_with(beginning),
    };
    known
        .find(|(beginning, _)| is_meant(beginning))
        .map_or(sentence, |(_, words)| words)
}

/// The number in `stream=StreamId(5)`.
fn number_of_stream(sentence: &str) -> Option<u32> {
    let (_, rest) = sentence.split_once("StreamId(")?;
    let (digits, _) = rest.split_once(')')?;
    digits.parse().ok()
}

/// The beginning of a sentence, in which nothing of the peer is repeated, without the library's own classification.
fn without_peer(sentence: &str) -> String {
    let sentence = sentence.strip_prefix("load_hpack; ").unwrap_or(sentence);
    let end = sentence.find([';', '(']).unwrap_or(sentence.len());
    let words = sentence.get(..end).unwrap_or_default();
    let words = words.rsplit_once(" -- ").map_or(words, |(_, last)| last);
    let words = words.trim_end_matches([' ', ':']);
    words.trim_start_matches("malformed headers: ").to_owned()
}

/// The name of an error inside its categories, as in `Hpack(InvalidUtf8)`.
fn last_name(text: &str) -> &str {
    let mut names = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_category = |name: &&str| matches!(*name, "Hpack" | "");
    names.find(|name| !is_category(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_peer_is_repeated() {
        for (sentence, words) in [
            (
                "malformed headers: malformed path (b\"/secret\"): invalid uri character",
                "malformed path",
            ),
            ("malformed headers: missing method", "missing method"),
            (
                "stream error PROTOCOL_ERROR -- malformed header block; stream=StreamId(5)",
                "malformed header block",
            ),
            (
                "load_hpack; header malformed -- repeated pseudo",
                "repeated pseudo",
            ),
            (
                "load_hpack; TE header not set to trailers; val=\"secret\"",
                "TE header not set to trailers",
            ),
        ] {
            assert_eq!(without_peer(sentence), words, "{sentence}");
        }
        assert_eq!(number_of_stream("a; stream=StreamId(5);"), Some(5));
        assert_eq!(number_of_stream("a"), None);
    }
}
