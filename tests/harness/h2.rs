//! A client that writes HTTP/2 frames by hand (RFC 9113), so that it can send what no library sends.

/// The bytes that arrive in a stream.
mod body;
/// The numbers of RFC 9113, and one frame.
pub mod frame;
/// The compression of fields.
pub mod hpack;
#[cfg(test)]
mod tests;
/// Flow control.
mod windows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use ::h2::Reason;

use super::proxy::{HOST, ORIGIN};
use super::{Client, PATIENCE, Response, client, frames};
use frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use hpack::Decoder;
use windows::Windows;

pub use body::Body;

/// The first bytes of a client.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most bytes of DATA in one frame, unless the peer allows more.
const FRAME: usize = 16384;

/// A connection. What it reads for one stream, it keeps until that stream is asked for.
pub struct Raw {
    pub client: Client,
    /// Whether SETTINGS and PING are answered. These and WINDOW_UPDATE are then not given to the test.
    is_polite: bool,
    decoder: Decoder,
    /// Frames that have arrived and that the test has not taken.
    waiting: VecDeque<Frame>,
    /// Parts of bodies that [`Body`] has not given yet.
    rests: BTreeMap<u32, Vec<u8>>,
    /// Streams whose body has been read to its end.
    over: BTreeSet<u32>,
    /// The settings of the server, once they have come.
    settings: Option<BTreeMap<u16, u32>>,
    /// What the server lets us send, and what we let it send.
    theirs: Windows,
    ours: Windows,
}

impl Raw {
    /// A connection with TLS for [`HOST`] that has chosen `h2` and sent nothing yet.
    pub fn connect(address: SocketAddr) -> Self {
        let mut config = client::trusting();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let client = Client::tls_with(address, HOST, config).unwrap();
        if let Client::Tls(stream) = &client {
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        }
        Self::over(client)
    }

    /// The same over any connection, on which nothing was sent.
    pub fn over(client: Client) -> Self {
        Self {
            client,
            is_polite: false,
            decoder: Decoder::default(),
            waiting: VecDeque::new(),
            rests: BTreeMap::new(),
            over: BTreeSet::new(),
            settings: None,
            theirs: Windows::default(),
            ours: Windows::default(),
        }
    }

    /// A connection whose two sides have sent their preface, and that from now on answers SETTINGS and PING.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[])
    }

    /// The same with these settings.
    #[track_caller]
    pub fn open_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(address);
        raw.preface().settings(settings);
        raw.is_polite = true;
        while raw.settings.is_none() {
            raw.pull().expect("the settings of the server");
        }
        raw
    }

    /// A setting of the server, if it has sent one.
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.settings.as_ref()?.get(&id).copied()
    }

    /// How much DATA the server takes on a stream now.
    pub fn room(&mut self, stream: u32) -> usize {
        self.theirs.room(stream)
    }

    // What is sent.

    /// Any bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.client.send(bytes);
        self
    }

    /// The same if the server may already have ended the connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.client.write_all(bytes.as_ref())?;
        self.client.flush()
    }

    /// Any frame.
    pub fn send_frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: impl AsRef<[u8]>,
    ) -> &mut Self {
        self.send(frame::bytes(kind, flags, stream, payload))
    }

    pub fn preface(&mut self) -> &mut Self {
        self.send(PREFACE)
    }

    pub fn settings(&mut self, settings: &[(u16, u32)]) -> &mut Self {
        for (_, value) in settings.iter().filter(|(id, _)| *id == INITIAL_WINDOW_SIZE) {
            self.ours.initial = (*value).into();
        }
        self.send_frame(SETTINGS, 0, 0, frame::settings(settings))
    }

    /// Exactly these fields in this order; without END_HEADERS in `flags`, a CONTINUATION must follow.
    pub fn headers(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) -> &mut Self {
        self.send_frame(HEADERS, flags, stream, hpack::block(fields))
    }

    /// The next part of a header block. [`hpack::literal`] makes fields that are not text.
    pub fn continuation(&mut self, stream: u32, block: impl AsRef<[u8]>, flags: u8) -> &mut Self {
        self.send_frame(CONTINUATION, flags, stream, block)
    }

    /// One frame, whatever the window is.
    pub fn data(&mut self, stream: u32, bytes: impl AsRef<[u8]>, flags: u8) -> &mut Self {
        self.theirs.take(stream, bytes.as_ref().len());
        self.send_frame(DATA, flags, stream, bytes)
    }

    /// Sends a body as the windows of the server allow it; the last frame has `flags`.
    #[track_caller]
    pub fn upload(&mut self, stream: u32, bytes: impl AsRef<[u8]>, flags: u8) -> &mut Self {
        let mut rest = bytes.as_ref();
        loop {
            let room = self.theirs.room(stream).min(FRAME);
            if rest.len() <= room {
                return self.data(stream, rest, flags);
            }
            if room == 0 {
                self.pull().expect("a larger window");
                continue;
            }
            let (now, later) = rest.split_at(room);
            self.data(stream, now, 0);
            rest = later;
        }
    }

    pub fn reset(&mut self, stream: u32, code: Reason) -> &mut Self {
        self.send_frame(RST_STREAM, 0, stream, u32::from(code).to_be_bytes())
    }

    pub fn ping(&mut self, payload: [u8; 8]) -> &mut Self {
        self.send_frame(PING, 0, 0, payload)
    }

    pub fn window_update(&mut self, stream: u32, bytes: u32) -> &mut Self {
        self.ours.give(stream, bytes);
        self.send_frame(WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    pub fn goaway(&mut self, last: u32, code: Reason, debug: &str) -> &mut Self {
        let numbers = [last.to_be_bytes(), u32::from(code).to_be_bytes()].concat();
        self.send_frame(GOAWAY, 0, 0, [&numbers, debug.as_bytes()].concat())
    }

    /// A GET for a path of [`HOST`] with `changes`, as [`Self::request`].
    pub fn get(&mut self, stream: u32, path: &str, changes: &[(&str, &str)]) -> &mut Self {
        let changes = [&[(":path", path)], changes].concat();
        self.request(stream, &changes, END_HEADERS | END_STREAM)
    }

    /// A GET for `/` with `changes`: each replaces the field of that name, or adds it; an empty value removes it.
    pub fn request(&mut self, stream: u32, changes: &[(&str, &str)], flags: u8) -> &mut Self {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/"),
        ];
        self.headers(stream, &changed(&fields, changes), flags)
    }

    /// The extended CONNECT (RFC 8441) that [`super::Setup`] admits, with `changes` as for [`Self::request`].
    pub fn connect_ws(&mut self, stream: u32, path: &str, changes: &[(&str, &str)]) -> &mut Self {
        let fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
            ("sec-websocket-version", "13"),
            ("origin", ORIGIN),
        ];
        self.headers(stream, &changed(&fields, changes), END_HEADERS)
    }

    // What arrives.

    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.wait("a frame", |_| true)
    }

    /// Waits for the first frame that is wanted, and leaves the others for later.
    #[track_caller]
    pub fn wait(&mut self, what: &str, is_wanted: impl Fn(&Frame) -> bool) -> Frame {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.waiting.iter().position(&is_wanted) {
                return self.waiting.remove(place).unwrap();
            }
            let came = self.pull();
            let is_in_time = Instant::now() < deadline;
            assert!(
                came.is_ok() && is_in_time,
                "{what} did not come: {came:?}; these did: {:#?}",
                self.waiting
            );
        }
    }

    /// The code of the RST_STREAM that ends a stream.
    #[track_caller]
    pub fn expect_reset(&mut self, stream: u32) -> Reason {
        let wanted = |frame: &Frame| frame.kind == RST_STREAM && frame.stream == stream;
        self.wait("RST_STREAM", wanted).number(0).into()
    }

    /// The last stream, the code and the debug data of the next GOAWAY.
    #[track_caller]
    pub fn expect_goaway(&mut self) -> (u32, Reason, String) {
        let frame = self.wait("GOAWAY", |frame| frame.kind == GOAWAY);
        let debug = String::from_utf8_lossy(&frame.payload[8..]).into_owned();
        (frame.number(0), frame.number(4).into(), debug)
    }

    /// Waits for the end of the connection; gives the frames that were not taken.
    #[track_caller]
    pub fn ended(&mut self) -> Vec<Frame> {
        loop {
            if let Err(error) = self.pull() {
                let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_late, "the connection did not end: {:#?}", self.waiting);
                return self.waiting.drain(..).collect();
            }
        }
    }

    /// The status of the next response head of a stream.
    #[track_caller]
    pub fn status(&mut self, stream: u32) -> u16 {
        self.response_head(stream).status
    }

    /// The next response head of a stream. Its body is not read.
    #[track_caller]
    pub fn response_head(&mut self, stream: u32) -> Response {
        let mut fields = self.fields(stream);
        assert_eq!(fields[0].0, ":status", "{fields:?}");
        Response {
            status: fields.remove(0).1.parse().unwrap(),
            line: String::new(),
            fields,
            body: Vec::new(),
        }
    }

    /// A whole response.
    #[track_caller]
    pub fn response(&mut self, stream: u32) -> Response {
        let mut response = self.response_head(stream);
        let (body, reset) = self.rest(stream);
        assert_eq!(reset, None, "{response:?} {body:?}");
        response.body = body;
        response
    }

    /// The next header block of a stream, which may be the trailers. Each byte of a value becomes one character.
    #[track_caller]
    pub fn fields(&mut self, stream: u32) -> Vec<(String, String)> {
        let wanted =
            |frame: &Frame| frame.stream == stream && [HEADERS, RST_STREAM].contains(&frame.kind);
        let frame = self.wait("HEADERS", wanted);
        assert_eq!(frame.kind, HEADERS, "{frame:?}");
        if frame.has(END_STREAM) {
            self.over.insert(stream);
        }
        let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
        let fields = frame.fields.iter();
        fields
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    /// The body of a response, or what comes out of a tunnel. What is read is given back to the windows.
    pub fn body(&mut self, stream: u32) -> Body<'_> {
        Body { raw: self, stream }
    }

    /// The rest of a body, and the code if RST_STREAM ended it.
    #[track_caller]
    pub fn rest(&mut self, stream: u32) -> (Vec<u8>, Option<Reason>) {
        let mut bytes = Vec::new();
        let reset = match self.body(stream).read_to_end(&mut bytes) {
            Ok(_) => None,
            Err(_) => Some(self.expect_reset(stream)),
        };
        (bytes, reset)
    }

    /// The next WebSocket frame: its first byte and its payload.
    #[track_caller]
    pub fn ws_frame(&mut self, stream: u32) -> (u8, Vec<u8>) {
        frames::read(&mut self.body(stream)).unwrap()
    }

    /// All further WebSocket frames of a stream, and the code if RST_STREAM ended it.
    #[track_caller]
    pub fn ws_frames(&mut self, stream: u32) -> (Vec<(u8, Vec<u8>)>, Option<Reason>) {
        let (bytes, reset) = self.rest(stream);
        let mut bytes = &bytes[..];
        let mut found = Vec::new();
        while !bytes.is_empty() {
            found.push(frames::read(&mut bytes).unwrap());
        }
        (found, reset)
    }

    /// Sends a text through a tunnel to an upstream that echoes, and reads it back.
    #[track_caller]
    pub fn echoes(&mut self, stream: u32, text: &str) -> &mut Self {
        self.upload(stream, frames::masked(frames::TEXT, text), 0);
        let came = self.ws_frame(stream);
        assert_eq!(came, (frames::TEXT, text.into()));
        self
    }

    /// Reads one frame.
    fn pull(&mut self) -> io::Result<()> {
        let frame = Frame::read(&mut self.client, &mut self.decoder)?;
        match frame.kind {
            DATA => self.ours.spend(frame.stream, frame.size),
            WINDOW_UPDATE => self.theirs.give(frame.stream, frame.number(0)),
            SETTINGS if !frame.has(ACK) => {
                let settings = self.settings.get_or_insert_default();
                settings.extend(frame.settings());
                if let Some(size) = settings.get(&INITIAL_WINDOW_SIZE) {
                    self.theirs.initial = (*size).into();
                }
            }
            _ => {}
        }
        if !self.is_polite || ![SETTINGS, PING, WINDOW_UPDATE].contains(&frame.kind) {
            self.waiting.push_back(frame);
        } else if frame.kind != WINDOW_UPDATE && !frame.has(ACK) {
            let answer = if frame.kind == PING {
                &frame.payload[..]
            } else {
                &[]
            };
            self.try_send(frame::bytes(frame.kind, ACK, 0, answer))?;
        }
        Ok(())
    }
}

/// Fields with changes. A new pseudo field comes first, because it must come before the others.
fn changed<'f>(
    fields: &[(&'f str, &'f str)],
    changes: &[(&'f str, &'f str)],
) -> Vec<(&'f str, &'f str)> {
    let is_known = |name: &str| fields.iter().any(|(other, _)| *other == name);
    let new = changes.iter().filter(|(name, _)| !is_known(name));
    let (pseudo, usual): (Vec<_>, Vec<_>) = new.partition(|(name, _)| name.starts_with(':'));
    let mut all = pseudo;
    for field in fields {
        let before = all.len();
        all.extend(changes.iter().filter(|(name, _)| *name == field.0));
        if all.len() == before {
            all.push(*field);
        }
    }
    all.extend(usual);
    all.retain(|(_, value)| !value.is_empty());
    all
}
