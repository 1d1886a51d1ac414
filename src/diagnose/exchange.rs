//! The opening handshake on the wire: the request as a browser sends it, and the head of the answer.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, response};

use super::dial::{Fault, Stream};
use super::finding::Finding;
use super::target::Target;
use crate::http::opening::accept_value;
use crate::reason::{Failure, Reason};
use crate::secrets;
use crate::text::{counted, peer_text};
use crate::upstream::answer::{self, Offered};

/// The longest head that is read.
const LONGEST_HEAD: usize = 64 * 1024;

/// How much is read at once.
const PIECE: usize = 4096;

/// How many interim answers are skipped.
const MOST_INTERIM: usize = 10;

/// How much of a body is read, to recognise a page and the words of a gateway.
const LONGEST_BODY: usize = 4 * 1024;

/// What a request offers and says.
#[derive(Clone, Debug)]
pub struct Request {
    /// The Origin.
    pub origin: Option<String>,
    /// The subprotocols.
    pub subprotocols: Vec<String>,
    /// Whether `permessage-deflate` is offered, as browsers do.
    pub deflate: bool,
    /// The User-Agent, unless the fields have one.
    pub user_agent: String,
    /// Further fields; their values may be secrets.
    pub fields: Vec<(String, String)>,
    /// Whether it asks for an upgrade at all.
    pub upgrade: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: response::Parts,
    /// What came after the head.
    pub rest: Vec<u8>,
    accept: String,
}

impl Request {
    /// Whether it has a further field with this name.
    pub fn has(&self, name: &str) -> bool {
        self.fields
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// The text of the request, and the Accept that belongs to its key.
    fn text(&self, target: &Target, key: [u8; 16]) -> (String, String) {
        let key = STANDARD.encode(key);
        let accept = accept_value(key.as_bytes());
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n",
            target.path,
            target.authority()
        );
        let mut add = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        match self.upgrade {
            true => {
                add("Connection", "Upgrade");
                add("Upgrade", "websocket");
                add("Sec-WebSocket-Version", "13");
                add("Sec-WebSocket-Key", &key);
            }
            false => add("Connection", "close"),
        }
        if let Some(origin) = &self.origin {
            add("Origin", origin);
        }
        if !self.subprotocols.is_empty() {
            add("Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        if self.deflate && self.upgrade {
            add(
                "Sec-WebSocket-Extensions",
                "permessage-deflate; client_max_window_bits",
            );
        }
        if !self.has("user-agent") {
            add("User-Agent", &self.user_agent);
        }
        for (name, value) in &self.fields {
            add(name, value);
        }
        text.push_str("\r\n");
        (text, accept)
    }

    /// Sends the request and reads the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, stream: &mut Stream, target: &Target) -> Result<Answer, Fault> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)
            .map_err(|error| (Finding::NotHttp, format!("no random numbers: {error}")))?;
        let (text, accept) = self.text(target, key);
        // A server that refuses may close before it has read everything; its answer says more than the error.
        let sent = stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.flush());
        let mut seen = Vec::new();
        let mut interim = 0;
        // Read again only at the end of a head or when twice as much has come, so that small pieces cost no more.
        let mut due = 0;
        loop {
            let head = match seen.len() >= due || ends_head(&seen) {
                true => {
                    due = seen.len().saturating_mul(2);
                    parse(&seen)?
                }
                false => None,
            };
            match head {
                // Other answers may come before the one that counts (RFC 9110 section 15.2).
                Some((head, length))
                    if head.status.is_informational()
                        && head.status != StatusCode::SWITCHING_PROTOCOLS
                        && interim < MOST_INTERIM =>
                {
                    interim += 1;
                    seen.drain(..length.min(seen.len()));
                    due = 0;
                    continue;
                }
                Some((head, length)) => {
                    let rest = seen.get(length..).unwrap_or_default().to_vec();
                    return Ok(Answer { head, rest, accept });
                }
                None if seen.len() > LONGEST_HEAD => {
                    return Err((
                        Finding::NotHttp,
                        format!("the head is longer than {LONGEST_HEAD} bytes"),
                    ));
                }
                None => {}
            }
            let mut piece = [0; PIECE];
            let error = match stream.read(&mut piece) {
                Ok(0) => None,
                Ok(read) => {
                    seen.extend_from_slice(piece.get(..read).unwrap_or_default());
                    continue;
                }
                Err(error) => Some(error),
            };
            let (finding, so_far) = unanswered(&seen, error.or_else(|| sent.err()));
            let so_far = match interim {
                0 => so_far,
                _ => format!("after {}: {so_far}", counted(interim, "interim answer")),
            };
            return Err((finding, so_far));
        }
    }

    /// Checks a 101 as the proxy does.
    ///
    /// # Errors
    /// The first rule that it violates.
    pub fn verify(&self, answer: &Answer) -> Result<(), Failure> {
        let extensions = match self.deflate {
            true => vec!["permessage-deflate".to_owned()],
            false => Vec::new(),
        };
        let offered = Offered {
            accept: &answer.accept,
            subprotocols: &self.subprotocols,
            extensions: &extensions,
            allowed: &[],
        };
        answer::verify(&answer.head, b"HTTP/1.0 101", offered)?;
        answer::check_early(&answer.rest)
    }
}

/// Whether the last line that came may be the end of a head.
fn ends_head(seen: &[u8]) -> bool {
    let recent = seen.len().saturating_sub(PIECE + 4);
    let recent = seen.get(recent..).unwrap_or_default();
    memchr::memmem::find(recent, b"\n\r\n").is_some()
        || memchr::memmem::find(recent, b"\n\n").is_some()
}

/// Reads a head; the second value is its length. `None` if it is not complete.
fn parse(seen: &[u8]) -> Result<Option<(response::Parts, usize)>, Fault> {
    if seen.is_empty() {
        return Ok(None);
    }
    // Each field has a line, so there are enough.
    let lines = memchr::memchr_iter(b'\n', seen).count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut response = httparse::Response::new(&mut fields);
    let not_http = |why: String| {
        let finding = match seen {
            [0x15, 3, ..] => Finding::TlsOnPlainPort,
            [0, _, _, 4, ..] => Finding::OnlyHttp2,
            _ => Finding::NotHttp,
        };
        (finding, format!("{why}; {}", secrets::first_bytes(seen)))
    };
    let length = match response.parse(seen) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(not_http(error.to_string())),
    };
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| not_http("a status that is not one".to_owned()))?;
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.version = match response.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let mut all = HeaderMap::new();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            all.append(name, value);
        }
    }
    head.headers = all;
    Ok(Some((head, length)))
}

/// The content of the chunks that have come so far (RFC 9112 section 7.1).
fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', body) {
        let (line, after) = body.split_at_checked(end + 1).unwrap_or((body, &[]));
        let line = String::from_utf8_lossy(line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else {
            break;
        };
        let (chunk, rest) = after.split_at_checked(size).unwrap_or((after, &[]));
        content.extend_from_slice(chunk);
        body = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    content
}

/// Why no head came.
fn unanswered(seen: &[u8], error: Option<io::Error>) -> Fault {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
    let so_far = match seen {
        [] => "nothing came".to_owned(),
        seen => secrets::first_bytes(seen),
    };
    if let [0x15, 3, ..] = seen {
        return (Finding::TlsOnPlainPort, so_far);
    }
    let refused = error.as_ref().and_then(crate::tls::refused_late);
    if let Some(detail) = refused.and_then(|refused| refused.detail) {
        let finding = match detail.contains("certificate") {
            true => Finding::ClientCertificate,
            false => Finding::TlsFailed,
        };
        return (finding, detail);
    }
    match error {
        Some(error) if error.kind() == TimedOut => (Finding::NoAnswer, so_far),
        Some(error) if matches!(error.kind(), ConnectionReset | BrokenPipe) && seen.is_empty() => {
            (Finding::ClosedBeforeAnswer, format!("reset; {so_far}"))
        }
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            (Finding::ClosedBeforeAnswer, so_far)
        }
        Some(error) => (Finding::ClosedBeforeAnswer, format!("{error}; {so_far}")),
        None => (Finding::ClosedBeforeAnswer, so_far),
    }
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// A field as text.
    pub fn field(&self, name: &str) -> Option<String> {
        let value = self.head.headers.get(name)?;
        Some(peer_text(value.as_bytes()))
    }

    /// Reads the beginning of the body, as far as it comes.
    pub fn read_body(&mut self, stream: &mut Stream) {
        let wanted = self
            .field("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(LONGEST_BODY)
            .min(LONGEST_BODY);
        let coding = self.field("transfer-encoding").unwrap_or_default();
        let is_chunked = coding.eq_ignore_ascii_case("chunked");
        let mut piece = [0; 1024];
        while self.rest.len() < wanted && !(is_chunked && self.rest.ends_with(b"0\r\n\r\n")) {
            match stream.read(&mut piece) {
                Ok(read @ 1..) => {
                    self.rest
                        .extend_from_slice(piece.get(..read).unwrap_or_default());
                }
                Ok(_) | Err(_) => break,
            }
        }
        if is_chunked {
            self.rest = without_chunks(&self.rest);
        }
    }

    /// Whether the body is a page.
    pub fn is_page(&self) -> bool {
        let kind = self.field("content-type").unwrap_or_default();
        kind.to_ascii_lowercase().contains("html")
    }

    /// The first line of a body that is not a page: often the server says there what it misses.
    pub fn says(&self) -> Option<String> {
        let kind = self.field("content-type").unwrap_or_default();
        let is_text = ["text/plain", "application/json"]
            .iter()
            .any(|known| kind.to_ascii_lowercase().starts_with(known));
        let body = self.rest.trim_ascii();
        let line = body.split(|byte| matches!(byte, b'\r' | b'\n')).next();
        // What is answered with success may be data, such as a token.
        let line = line.filter(|line| is_text && self.status() >= 400 && !line.is_empty())?;
        let is_around = |c: char| c.is_whitespace() || "\"'`:,;{}()[]<>=&?/".contains(c);
        let line = crate::text::shown(&peer_text(line), 100);
        let words = line.split_inclusive(is_around).map(|word| {
            let bare = word.trim_end_matches(is_around);
            match secrets::is_token_like(bare.as_bytes()) {
                true => word.replacen(bare, "*", 1),
                false => word.to_owned(),
            }
        });
        Some(words.collect())
    }

    /// The body in small letters, for words that gateways use.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&self.rest).to_ascii_lowercase()
    }

    /// The reason that a record would have for a status other than 101.
    pub fn reason(&self) -> Option<Reason> {
        Reason::of_answer(self.status())
    }

    /// The names of the extensions that were agreed on.
    pub fn extensions(&self) -> Vec<String> {
        answer::extensions(&self.head.headers)
    }
}
