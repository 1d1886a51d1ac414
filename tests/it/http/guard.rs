//! A proxy in front of an upstream that reports what reaches it, and the checks that apply to every refusal.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};

use wsgate::reason::Reason;

use crate::harness::upstream::head_bytes;
use crate::harness::{Client, Line, PATIENCE, Proxy, Response, Setup, Upstream, switching};

/// Fields that replace those of the usual handshake, in the form of `handshake`.
pub type Changes<'a> = &'a [(&'a str, &'a str)];

/// A proxy whose upstream accepts every handshake and reports its head.
pub struct Guard {
    pub proxy: Proxy,
    upstream: Upstream,
    received: Receiver<Vec<u8>>,
    is_tls: bool,
    /// How many handshakes reached the upstream.
    admitted: usize,
}

/// A handshake that was admitted; the client has closed its tunnel.
pub struct Admitted {
    pub response: Response,
    /// The head that the upstream received.
    pub head: String,
    pub opened: Line,
    pub closed: Line,
}

/// A handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    pub response: Response,
    pub line: Line,
}

impl Guard {
    /// `setup` gets the upstream's URL.
    pub fn start(setup: impl FnOnce(&str) -> Setup) -> Self {
        let (upstream, received) = accepting();
        let setup = setup(&upstream.url());
        Self {
            proxy: setup.start(),
            upstream,
            received,
            is_tls: setup.tls.is_some(),
            admitted: 0,
        }
    }

    /// The usual configuration on a TLS listener.
    pub fn tls() -> Self {
        Self::start(Setup::tls)
    }

    /// The same on a plain listener.
    pub fn plain() -> Self {
        Self::start(Setup::plain)
    }

    pub fn client(&self) -> Client {
        if self.is_tls {
            Client::tls(self.proxy.address())
        } else {
            Client::plain(self.proxy.address())
        }
    }

    /// Sends `request` on its own connection and checks what every outcome must satisfy.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Result<Admitted, Box<Refused>> {
        let mut client = self.client();
        client.send(request);
        self.outcome(client)
    }

    /// `allow`, or the code of the refusal.
    #[track_caller]
    pub fn verdict(&mut self, request: impl AsRef<[u8]>) -> String {
        match self.ask(request) {
            Ok(_) => "allow".to_owned(),
            Err(refused) => refused.line.text("reason").to_owned(),
        }
    }

    #[track_caller]
    pub fn admit(&mut self, request: impl AsRef<[u8]>) -> Admitted {
        match self.ask(request) {
            Ok(admitted) => admitted,
            Err(refused) => panic!("{:?}", refused.line),
        }
    }

    #[track_caller]
    pub fn refuse(&mut self, request: impl AsRef<[u8]>, reason: Reason) -> Refused {
        let client = self.client();
        self.refuse_on(client, request, reason)
    }

    /// The same on a connection that the test has made.
    #[track_caller]
    pub fn refuse_on(
        &mut self,
        mut client: Client,
        request: impl AsRef<[u8]>,
        reason: Reason,
    ) -> Refused {
        client.send(request);
        self.refused(client, reason)
    }

    /// The outcome for a client that has finished sending; it must be a refusal.
    #[track_caller]
    pub fn refused(&mut self, client: Client, reason: Reason) -> Refused {
        match self.outcome(client) {
            Ok(admitted) => panic!("admitted: {:?}", admitted.head),
            Err(refused) => {
                let line = refused.line.expect(reason);
                Refused { line, ..*refused }
            }
        }
    }

    /// The outcome for a client that has finished sending.
    #[track_caller]
    pub fn outcome(&mut self, mut client: Client) -> Result<Admitted, Box<Refused>> {
        let response = client.response();
        if response.status != 101 {
            let refused = refusal(&mut self.proxy, client, response);
            self.expect_untouched();
            return Err(Box::new(refused));
        }
        let head = self.received.recv_timeout(PATIENCE).unwrap();
        self.admitted += 1;
        client.finish();
        assert_eq!(client.rest(), b"");
        let closed = self.proxy.terminal().expect(Reason::ClientEofNoClose);
        let conn = closed.text("conn").to_owned();
        let opened = self.proxy.wait("the opened record", |lines| {
            let is_it = |line: &&Line| line.text("event") == "opened" && line.text("conn") == conn;
            lines.iter().find(is_it).cloned()
        });
        Ok(Admitted {
            response,
            head: String::from_utf8(head).unwrap(),
            opened,
            closed,
        })
    }

    /// The proxy connected to the upstream only for the admitted handshakes.
    #[track_caller]
    pub fn expect_untouched(&self) {
        assert_eq!(self.upstream.connections(), self.admitted);
        assert!(self.received.try_recv().is_err());
    }
}

/// Checks a refusal: the answer is complete, agrees with the record, and is the last one on its connection, which the
/// proxy ends cleanly.
#[track_caller]
pub fn refusal(proxy: &mut Proxy, mut client: Client, response: Response) -> Refused {
    let mut after = Vec::new();
    client
        .read_to_end(&mut after)
        .unwrap_or_else(|error| panic!("{error} after {response:?}"));
    assert_eq!(after, b"", "more than one answer");
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "refused", "{line:?}");
    let reason: Reason = line.text("reason").parse().unwrap();
    let line = line.expect(reason);
    expect_answer(&response, &line);
    Refused { response, line }
}

#[track_caller]
fn expect_answer(response: &Response, line: &Line) {
    let reason: Reason = line.text("reason").parse().unwrap();
    let status = response.status;
    assert_eq!(line.number("status"), Some(status.into()), "{line:?}");
    assert!((400..600).contains(&status), "{response:?}");
    assert_eq!(response.field("location"), None);
    let closing = if status == 426 {
        "upgrade, close"
    } else {
        "close"
    };
    assert_eq!(response.field("connection"), Some(closing), "{response:?}");
    let length = response.body.len().to_string();
    assert_eq!(response.field("content-length"), Some(&*length));
    assert_eq!(
        response.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(response.field("cache-control"), Some("no-store"));

    let id = line.text("request_id");
    assert!(!id.is_empty(), "{line:?}");
    let text = response.text();
    assert!(text.starts_with(&format!("{reason}\n")), "{text}");
    assert!(text.ends_with(&format!("\nrequest id: {id}\n")), "{text}");
    let advice = match reason {
        Reason::PlainHttpRequest => "\nuse a WebSocket client\n",
        Reason::WsVersionUnsupported => "speaks RFC 6455 (version 13)\n",
        _ => "\n",
    };
    assert!(text.contains(advice), "{text}");
    assert_eq!(response.field("x-request-id"), Some(id));
    let proxy_status = format!(
        "wsgate; error={}; details=\"{reason}\"",
        reason.spec().proxy_error
    );
    assert_eq!(response.field("proxy-status"), Some(&*proxy_status));

    let only = |status_has_it: bool, value: &'static str| status_has_it.then_some(value);
    let is_version = reason == Reason::WsVersionUnsupported;
    for (name, value) in [
        ("upgrade", only(status == 426, "websocket")),
        ("sec-websocket-version", only(is_version, "13")),
        ("allow", only(status == 405, "GET")),
    ] {
        assert_eq!(response.field(name), value, "{name} in {response:?}");
    }
    assert_eq!(response.field("retry-after").is_some(), status == 503);
}

/// An upstream that accepts every handshake and reports its head.
pub fn accepting() -> (Upstream, Receiver<Vec<u8>>) {
    let (sender, received) = channel();
    let upstream = Upstream::raw(move |mut socket| {
        let head = head_bytes(&mut socket);
        let answer = switching(&String::from_utf8_lossy(&head), "");
        sender.send(head).unwrap();
        // The client may already be gone; the record says so.
        let _ = socket.write_all(answer.as_bytes());
        let _ = socket.read_to_end(&mut Vec::new());
    });
    (upstream, received)
}
