//! An open WebSocket: a Ping, a message, silence and a Close.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use flate2::{Decompress, FlushDecompress};

use super::dial::{Fault, Stream};
use super::finding::Finding;
use crate::reason::codes::may_be_sent;
use crate::reason::{Reason, Stage};
use crate::text::{counted, peer_text};
use crate::tunnel::frame::{
    self, CLOSE, CONTINUATION, Close, Event, Extensions, Header, PING, PONG, Reader, Sender, close,
    control,
};

/// The longest message that is kept to compare it with an echo.
const LONGEST: usize = 64 * 1024;

/// What a Ping carries, and its Pong too.
const PAYLOAD: &[u8] = b"wsgate";

/// How much a message may decompress to. After a larger one nothing is known of the compression.
const MOST_INFLATED: u64 = 16 << 20;

/// An open WebSocket.
pub struct Talk<'s> {
    stream: &'s mut Stream,
    frames: Reader,
    /// What was read last, and how much of it has been looked at.
    bytes: Vec<u8>,
    taken: usize,
    /// The beginning of the current message.
    message: Vec<u8>,
    /// Whether it is compressed (RFC 7692 section 6).
    is_compressed: bool,
    is_text: bool,
    /// The payload of the current control frame.
    control: Vec<u8>,
    frame: Option<Header>,
    /// How many frames have come, without a Close.
    came: usize,
    /// The reason that a Close frame names.
    told: Option<Reason>,
    /// The state that compressed messages share.
    inflater: Decompress,
    /// Whether a compressed message was not read in full, so that this state is unknown.
    is_blind: bool,
}

/// How a time went in which nothing was sent.
#[derive(Debug)]
pub struct Silence {
    /// How the connection ended, if it did.
    pub end: Option<Fault>,
    /// How many frames the server sent by itself.
    pub frames: usize,
    /// The longest time without a frame.
    pub longest: Duration,
    /// The time without a frame at the end.
    pub last: Duration,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Pong,
    /// A text or binary message, or a part of one.
    Data(Vec<u8>),
    Other,
    Close(Close),
}

impl<'s> Talk<'s> {
    /// After a verified 101 with these extensions; `rest` came right after it.
    pub fn new(stream: &'s mut Stream, extensions: &[String], rest: Vec<u8>) -> Self {
        let extensions = Extensions::agreed(extensions.iter().map(String::as_str));
        Self {
            stream,
            frames: Reader::new(Sender::Server, extensions),
            bytes: rest,
            taken: 0,
            message: Vec::new(),
            is_compressed: false,
            is_text: false,
            control: Vec::new(),
            frame: None,
            came: 0,
            told: None,
            inflater: Decompress::new(false),
            is_blind: false,
        }
    }

    /// The reason that a Close frame gave, if it is more precise than the finding.
    pub fn told(&self) -> Option<Reason> {
        self.told
    }

    /// The finding for a Close that was not asked for.
    fn closed(&mut self, close: &Close) -> Fault {
        self.told = close.code.and_then(|code| told(code, &close.reason));
        closed(close)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame)?;
        self.stream.flush()
    }

    /// Sends a Ping and waits for its Pong.
    ///
    /// # Errors
    /// What came instead.
    pub fn ping(&mut self, patience: Duration) -> Result<(), Fault> {
        self.stream.allow(patience);
        // A failure to send shows in what is read.
        let _ = self.send(&control(PING, PAYLOAD, Some(key())));
        loop {
            match self.next(Finding::PingUnanswered) {
                Ok(Came::Pong) => return Ok(()),
                Ok(Came::Close(close)) => return Err(self.closed(&close)),
                Ok(Came::Data(_) | Came::Other) => {}
                Err((Finding::PingUnanswered, _)) if self.came > 0 => {
                    let came = counted(self.came, "frame");
                    return Err((Finding::PingUnanswered, format!("{came} came, but no Pong")));
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Sends a text and waits for the same text.
    ///
    /// # Errors
    /// What came instead.
    pub fn echo(&mut self, text: &str, patience: Duration) -> Result<(), Fault> {
        self.stream.allow(patience);
        let key = key();
        let mut payload = text
            .as_bytes()
            .get(..LONGEST)
            .unwrap_or(text.as_bytes())
            .to_vec();
        let sent = payload.clone();
        let mut message = vec![0x81];
        match u8::try_from(payload.len()) {
            Ok(length) if length < 126 => message.push(0x80 | length),
            _ => {
                message.push(0x80 | 126);
                let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
                message.extend_from_slice(&length.to_be_bytes());
            }
        }
        message.extend_from_slice(&key);
        frame::mask(&mut payload, key);
        message.extend_from_slice(&payload);
        let _ = self.send(&message);
        let mut others = 0;
        loop {
            match self.next(Finding::EchoMissing) {
                Ok(Came::Data(data)) if data == sent => return Ok(()),
                Ok(Came::Close(close)) => return Err(self.closed(&close)),
                Ok(Came::Data(_)) => others += 1,
                Ok(_) => {}
                Err((Finding::EchoMissing, _)) if others > 0 => {
                    let came = counted(others, "other message");
                    return Err((Finding::EchoMissing, format!("{came} came instead")));
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Says nothing for `time`, except that it answers Pings.
    pub fn stay_silent(&mut self, time: Duration) -> Silence {
        self.stream.allow(time);
        let before = self.came;
        let mut longest = Duration::ZERO;
        let mut since = Instant::now();
        let end = loop {
            let next = self.next(Finding::Works);
            longest = longest.max(since.elapsed());
            match next {
                Ok(Came::Close(close)) => break Some(self.closed(&close)),
                Ok(_) => since = Instant::now(),
                Err((Finding::Works, _)) => break None,
                Err(fault) => break Some(fault),
            }
        };
        Silence {
            end,
            frames: self.came - before,
            longest,
            last: since.elapsed(),
        }
    }

    /// Closes, and waits for the answer.
    ///
    /// # Errors
    /// What came instead.
    pub fn close(&mut self, patience: Duration) -> Result<u16, Fault> {
        self.stream.allow(patience);
        let _ = self.send(&close(1000, "", Some(key())));
        loop {
            match self.next(Finding::CloseUnanswered) {
                Ok(Came::Close(close)) => return Ok(close.shown()),
                Ok(_) => {}
                // An end instead of an answer is as bad for the client.
                Err((Finding::Ended | Finding::TunnelReset, detail)) => {
                    return Err((Finding::CloseUnanswered, detail));
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Reads up to the end of the next frame; `silence` is the finding if none comes in time.
    fn next(&mut self, silence: Finding) -> Result<Came, Fault> {
        loop {
            let unread = self.bytes.get(self.taken..).unwrap_or_default();
            let (taken, event) = self.frames.read(unread).map_err(|violation| {
                let detail = format!(
                    "{}; {}",
                    violation.words(),
                    crate::secrets::frame_bytes(self.frames.header())
                );
                (Finding::ProtocolError, detail)
            })?;
            let passed = unread.get(..taken).unwrap_or_default().to_vec();
            self.taken += taken;
            match event {
                Some(Event::Header(header)) => {
                    self.begin(header);
                    continue;
                }
                Some(Event::End) => {
                    self.keep(&passed);
                    return self.end();
                }
                Some(Event::Close(close)) => return Ok(Came::Close(close)),
                None => self.keep(&passed),
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err((Finding::Ended, self.last_words())),
                Ok(read) => {
                    piece
                        .get(..read)
                        .unwrap_or_default()
                        .clone_into(&mut self.bytes);
                    self.taken = 0;
                }
                Err(error) => {
                    return Err(match error.kind() {
                        io::ErrorKind::TimedOut => (silence, "nothing came".to_owned()),
                        // TLS without close_notify.
                        io::ErrorKind::UnexpectedEof => (Finding::Ended, self.last_words()),
                        _ => (Finding::TunnelReset, error.to_string()),
                    });
                }
            }
        }
    }

    fn begin(&mut self, header: Header) {
        const RSV1: u8 = 0x40;
        const TEXT: u8 = 1;
        match header.opcode {
            CONTINUATION => {}
            CLOSE..=u8::MAX => self.control.clear(),
            _ => {
                self.message.clear();
                let first = self.frames.header().first().copied().unwrap_or_default();
                self.is_compressed = first & RSV1 != 0;
                self.is_text = header.opcode == TEXT;
            }
        }
        self.frame = Some(header);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let is_control = self.frame.is_some_and(|frame| frame.opcode >= CLOSE);
        let kept = match is_control {
            true => &mut self.control,
            false => &mut self.message,
        };
        let room = LONGEST.saturating_sub(kept.len());
        kept.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
    }

    /// The current frame is complete.
    fn end(&mut self) -> Result<Came, Fault> {
        let Some(frame) = self.frame.take() else {
            return Ok(Came::Other);
        };
        self.came += 1;
        match frame.opcode {
            // Pongs may also come unasked (RFC 6455 section 5.5.3).
            PONG if self.control == PAYLOAD => Ok(Came::Pong),
            PONG => Ok(Came::Other),
            PING => {
                let payload = std::mem::take(&mut self.control);
                let _ = self.send(&control(PONG, &payload, Some(key())));
                Ok(Came::Other)
            }
            CLOSE..=u8::MAX => Ok(Came::Other),
            _ if !frame.is_final => Ok(Came::Other),
            _ if frame.message > LONGEST as u64 || self.is_compressed && self.is_blind => {
                self.is_blind |= self.is_compressed;
                Ok(Came::Other)
            }
            _ => {
                let message = std::mem::take(&mut self.message);
                let message = match self.is_compressed {
                    true => self.inflate(message)?,
                    false => message,
                };
                // Of a longer one only the beginning is known.
                let is_whole = message.len() < LONGEST;
                if self.is_text && is_whole && std::str::from_utf8(&message).is_err() {
                    let detail = "a text message is not UTF-8 (RFC 6455 section 8.1)".to_owned();
                    return Err((Finding::ProtocolError, detail));
                }
                Ok(Came::Data(message))
            }
        }
    }

    /// Decompresses a message (RFC 7692 section 7.2.2); returns its beginning.
    fn inflate(&mut self, mut message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        message.extend_from_slice(&[0, 0, 0xff, 0xff]);
        let (begun, made) = (self.inflater.total_in(), self.inflater.total_out());
        let mut beginning = None;
        loop {
            let taken = usize::try_from(self.inflater.total_in() - begun).unwrap_or(usize::MAX);
            let rest = message.get(taken..).unwrap_or_default();
            let mut piece = Vec::with_capacity(LONGEST);
            let outcome = self
                .inflater
                .decompress_vec(rest, &mut piece, FlushDecompress::Sync);
            if let Err(error) = outcome {
                return Err((Finding::DeflateBroken, error.to_string()));
            }
            let is_whole = piece.len() < LONGEST;
            let beginning = beginning.get_or_insert(piece);
            if self.inflater.total_out() - made > MOST_INFLATED {
                self.is_blind = true;
            }
            if is_whole || self.is_blind {
                return Ok(std::mem::take(beginning));
            }
        }
    }

    fn last_words(&self) -> String {
        match (self.frames.at_boundary(), self.came) {
            (false, _) => "inside a frame".to_owned(),
            (true, 0) => "before any frame".to_owned(),
            (true, _) => "after a whole frame".to_owned(),
        }
    }
}

/// The reason that a Close frame names, as those of this program do.
fn told(code: u16, words: &[u8]) -> Option<Reason> {
    let named = std::str::from_utf8(words).ok()?.parse::<Reason>().ok()?;
    // A refusal that is explained comes with 1008 or 1013.
    let is_explained = matches!(code, 1008 | 1013) && named.spec().stage != Stage::Tunnel;
    (is_explained || named.closes_with(code)).then_some(named)
}

/// The finding for a Close that was not asked for.
fn closed(close: &Close) -> Fault {
    let reason = match close.reason.as_slice() {
        [] => String::new(),
        reason => format!(" {}", peer_text(reason)),
    };
    let detail = match close.code {
        None => "a Close frame without a code".to_owned(),
        Some(code) => format!("Close {code}{reason}"),
    };
    let finding = match close.code {
        None => Finding::ClosedAtOnce,
        Some(_) if std::str::from_utf8(&close.reason).is_err() => Finding::ProtocolError,
        Some(code) if !may_be_sent(code) => Finding::ReservedCode,
        Some(code) => match Reason::of_upstream_close(code) {
            Reason::UpstreamClosePolicy => Finding::ClosedByPolicy,
            Reason::UpstreamCloseTooBig => Finding::ClosedTooBig,
            Reason::UpstreamCloseRestart => Finding::ClosedRestart,
            Reason::UpstreamClose => Finding::Closed,
            _ => Finding::ClosedWithError,
        },
    };
    (finding, detail)
}

/// A masking key. Nothing is hidden by it.
fn key() -> [u8; 4] {
    let mut key = [0x5a; 4];
    // Without random numbers any key masks as well.
    let _ = getrandom::fill(&mut key);
    key
}
