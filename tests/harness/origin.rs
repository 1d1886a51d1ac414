//! Upstreams that answer plain requests, several per connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::upstream::field;
use super::{Upstream, eventually};

/// An upstream whose requests are answered by a function of the test.
pub struct Origin {
    upstream: Upstream,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A request whose head was read.
pub struct Ask {
    pub socket: TcpStream,
    /// As received, including the empty line.
    pub head: String,
    /// The number of its connection, and its number on that connection, both from 0.
    pub place: (usize, usize),
    is_over: bool,
}

impl Origin {
    /// Calls `handle` with each request until it or the proxy ends the connection.
    pub fn start(handle: impl Fn(&mut Ask) + Send + Sync + 'static) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let connections = AtomicUsize::new(0);
        let upstream = Upstream::raw(move |mut socket| {
            let connection = connections.fetch_add(1, Ordering::SeqCst);
            for number in 0.. {
                let Some(head) = read_head(&mut socket) else {
                    return;
                };
                kept.lock().unwrap().push(head.clone());
                let mut ask = Ask {
                    socket,
                    head,
                    place: (connection, number),
                    is_over: false,
                };
                handle(&mut ask);
                if ask.is_over {
                    return;
                }
                socket = ask.socket;
            }
        });
        Self { upstream, heads }
    }

    /// Answers each request with 200 and its own body.
    pub fn echo() -> Self {
        Self::start(|ask| {
            let body = ask.body();
            ask.ok(body);
        })
    }

    /// Answers each request with these bytes after its body has arrived.
    pub fn answering(bytes: &'static str) -> Self {
        Self::start(move |ask| {
            ask.body();
            ask.write(bytes);
        })
    }

    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The head of the only request so far.
    #[track_caller]
    pub fn head(&self) -> String {
        let heads = self.heads();
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads[0].clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.upstream.connections()
    }

    /// Waits until the proxy has ended all connections.
    #[track_caller]
    pub fn all_ended(&self) {
        self.upstream.all_ended();
    }

    /// Waits for a number of requests.
    #[track_caller]
    pub fn asked(&self, count: usize) {
        eventually("requests at the upstream", || {
            (self.heads().len() >= count).then_some(())
        });
    }
}

impl Ask {
    /// A field's value in the request.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Reads the body as its framing says; if the stream ends early, gives what arrived.
    ///
    /// # Panics
    /// If the framing is ambiguous.
    pub fn body(&mut self) -> Vec<u8> {
        let length = self.field("content-length").map(str::to_owned);
        match (length, self.field("transfer-encoding")) {
            (None, None) => Vec::new(),
            (Some(length), None) => {
                let mut body = Vec::new();
                let most = length.parse().unwrap();
                let _ = (&mut self.socket).take(most).read_to_end(&mut body);
                body
            }
            (None, Some("chunked")) => self.chunks().0,
            framing => panic!("{framing:?}"),
        }
    }

    /// Reads a chunked body and its trailer section, including the empty line.
    pub fn chunks(&mut self) -> (Vec<u8>, String) {
        let mut body = Vec::new();
        loop {
            let Some(line) = read_line(&mut self.socket) else {
                return (body, "cut".to_owned());
            };
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            if self.socket.read_exact(&mut chunk).is_err() {
                return (body, "cut".to_owned());
            }
            body.extend_from_slice(&chunk[..size]);
        }
        let mut trailers = String::new();
        while let Some(line) = read_line(&mut self.socket) {
            trailers += &line;
            if line == "\r\n" {
                break;
            }
        }
        (body, trailers)
    }

    /// Writes; a proxy that is already gone is not an error.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.socket.write_all(bytes.as_ref());
        self
    }

    /// Answers 200 with this body.
    pub fn ok(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        self.write([head.as_bytes(), body].concat());
    }

    /// Reads until the proxy ends the connection, and closes it.
    pub fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.socket.read_to_end(&mut all);
        self.is_over = true;
        all
    }

    /// Closes the connection cleanly.
    pub fn close(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        self.is_over = true;
    }

    /// Ends the connection with RST.
    pub fn reset(&mut self) {
        socket2::SockRef::from(&self.socket)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        self.is_over = true;
    }
}

fn read_line(socket: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(line).unwrap())
}

fn read_head(socket: &mut TcpStream) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &read_line(socket)?;
    }
    Some(head)
}
