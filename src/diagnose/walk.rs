//! One way through the stages, from the connection to the open WebSocket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dial::{Fault, Stream, dial};
use super::exchange::Request;
use super::finding::Finding;
use super::report::{Outcome, Step, millis};
use super::talk::Talk;
use super::{Options, gateway, judge};
use crate::reason::Reason;
use crate::secrets;
use crate::text::counted;
use crate::tls::chain::Described;
use crate::tls::probe::{self, Asking, Session};

/// How long the beginning of a body is waited for.
const BODY: Duration = Duration::from_millis(500);

/// How long an open WebSocket is listened to before a Ping is sent: a server that closes at once does it now.
const AT_ONCE: Duration = Duration::from_millis(200);

/// One way through the stages.
pub(super) struct Attempt {
    pub(super) finding: Finding,
    pub(super) stage: &'static str,
    pub(super) detail: String,
    /// The status, if there was an answer.
    pub(super) status: Option<u16>,
    pub(super) answered_by: Option<&'static str>,
    /// The reason that the proxy itself gave in its answer.
    pub(super) told: Option<Reason>,
}

impl Attempt {
    pub(super) fn failed(stage: &'static str, (finding, detail): Fault) -> Self {
        Self {
            finding,
            stage,
            detail,
            status: None,
            answered_by: None,
            told: None,
        }
    }

    /// How far it came.
    pub(super) fn progress(&self) -> usize {
        const STAGES: [&str; 6] = ["dns", "tcp", "tls", "http", "upgrade", "tunnel"];
        match self.finding {
            Finding::Works => STAGES.len(),
            _ => STAGES
                .iter()
                .position(|stage| *stage == self.stage)
                .unwrap_or_default(),
        }
    }
}

pub(super) struct Walk<'a> {
    pub(super) options: &'a Options,
    pub(super) watch: &'a mut dyn FnMut(&Step),
    pub(super) steps: Vec<Step>,
    pub(super) certificates: Vec<Described>,
    pub(super) connections: u32,
}

/// Where and since when a step runs.
pub(super) struct At {
    pub(super) stage: &'static str,
    pub(super) probe: &'static str,
    pub(super) address: Option<SocketAddr>,
    pub(super) begun: Instant,
}

impl Walk<'_> {
    pub(super) fn say(
        &mut self,
        at: &At,
        outcome: Outcome,
        finding: Option<Finding>,
        detail: &str,
    ) {
        let step = Step {
            stage: at.stage,
            probe: at.probe,
            address: at.address.map(|address| address.to_string()),
            outcome,
            finding: finding.map(Finding::id),
            detail: self.options.without_secrets(detail),
            ms: millis(at.begun.elapsed()),
        };
        (self.watch)(&step);
        self.steps.push(step);
    }

    pub(super) fn fail(&mut self, at: &At, (finding, detail): &Fault) {
        self.say(at, Outcome::Failed, Some(*finding), detail);
    }

    /// Goes through all stages once. Only the first walk says what it finds in an open WebSocket.
    pub(super) fn walk(
        &mut self,
        probe: &'static str,
        address: SocketAddr,
        request: &Request,
        is_main: bool,
    ) -> Attempt {
        let options = self.options;
        let mut stream = match self.connect(probe, address, is_main) {
            Ok(stream) => stream,
            Err(attempt) => return attempt,
        };
        let at = At {
            stage: "http",
            probe,
            address: Some(address),
            begun: Instant::now(),
        };
        stream.allow(options.timeout);
        let mut answer = match request.ask(&mut stream, &options.target) {
            Ok(answer) => answer,
            Err(fault) => {
                self.fail(&at, &fault);
                return Attempt::failed("http", fault);
            }
        };
        let status = Some(answer.status());
        if answer.status() != 101 {
            stream.allow(BODY.min(options.timeout));
            answer.read_body(&mut stream);
            let answered_by = gateway::answered_by(&answer);
            let fault = judge::refused(&answer, answered_by);
            let (outcome, finding) = match (is_main, request.upgrade) {
                (true, _) => (Outcome::Failed, Some(fault.0)),
                (false, true) => (Outcome::Note, Some(fault.0)),
                // A plain request has no finding: this is how it should be answered.
                (false, false) => (Outcome::Note, None),
            };
            self.say(&at, outcome, finding, &fault.1);
            return Attempt {
                status,
                answered_by,
                told: gateway::our_reason(&answer, answered_by),
                ..Attempt::failed("http", fault)
            };
        }
        let answered_by = gateway::answered_by(&answer);
        let named = gateway::naming(&answer).join(", ");
        let names = if named.is_empty() {
            String::new()
        } else {
            format!(", {named}")
        };
        self.say(&at, Outcome::Ok, None, &format!("101{names}"));
        let at = At {
            stage: "upgrade",
            begun: Instant::now(),
            ..at
        };
        if let Err(failure) = request.verify(&answer) {
            let fault = judge::invalid(&failure);
            self.fail(&at, &fault);
            return Attempt {
                status,
                answered_by,
                ..Attempt::failed("upgrade", fault)
            };
        }
        let extensions = answer.extensions();
        let chosen = answer.field("sec-websocket-protocol");
        let agreed = match (chosen, extensions.as_slice()) {
            (None, []) => "valid, without a subprotocol and without extensions".to_owned(),
            (Some(chosen), []) => format!("valid, subprotocol {}", secrets::name(&chosen)),
            (None, names) => format!("valid, {}", names.join(", ")),
            (Some(chosen), names) => {
                format!(
                    "valid, subprotocol {}, {}",
                    secrets::name(&chosen),
                    names.join(", ")
                )
            }
        };
        self.say(&at, Outcome::Ok, None, &agreed);
        let (fault, told) = match is_main {
            true => {
                let mut talk = Talk::new(&mut stream, &extensions, answer.rest);
                let fault = self.talk(&mut talk, address);
                (fault, talk.told())
            }
            false => (None, None),
        };
        Attempt {
            status,
            answered_by,
            told,
            ..match fault {
                None => Attempt::failed("tunnel", (Finding::Works, String::new())),
                Some(fault) => Attempt::failed("tunnel", fault),
            }
        }
    }

    /// Connects, and shakes hands for TLS.
    pub(super) fn connect(
        &mut self,
        probe: &'static str,
        address: SocketAddr,
        is_main: bool,
    ) -> Result<Stream, Attempt> {
        let options = self.options;
        let at = At {
            stage: "tcp",
            probe,
            address: Some(address),
            begun: Instant::now(),
        };
        self.connections += 1;
        let socket = match dial(address, options.timeout) {
            Ok(socket) => socket,
            Err(fault) => {
                self.fail(&at, &fault);
                return Err(Attempt::failed("tcp", fault));
            }
        };
        if is_main {
            self.say(&at, Outcome::Ok, None, "connected");
        }
        if !options.target.is_tls {
            return Ok(Stream::Plain(socket));
        }
        let at = At {
            stage: "tls",
            begun: Instant::now(),
            ..at
        };
        let asking = Asking {
            host: options.name(),
            sni: true,
            alpn: &["http/1.1"],
        };
        match probe::connect(socket, &asking, &options.trusted) {
            Err(failure) => {
                let fault = judge::insecure(&failure);
                self.fail(&at, &fault);
                Err(Attempt::failed("tls", fault))
            }
            Ok((stream, session)) => {
                let fault = self.certificate(&at, session, is_main);
                match fault {
                    // Fields may hold secrets, which a server without a valid certificate must not get.
                    Some(fault) => Err(Attempt::failed("tls", fault)),
                    None => Ok(Stream::Secured(Box::new(stream))),
                }
            }
        }
    }

    /// Says what a handshake agreed on, and what is wrong with the certificate.
    pub(super) fn certificate(
        &mut self,
        at: &At,
        session: Session,
        is_main: bool,
    ) -> Option<Fault> {
        let mut faults = session
            .faults
            .into_iter()
            .map(|(fault, detail)| (judge::of_chain(&fault), detail));
        let first = faults.next();
        if is_main {
            let alpn = session.alpn.as_deref().unwrap_or("no ALPN");
            let agreed = format!(
                "TLS {}, {}, {}, {alpn}",
                session.version, session.cipher, session.group
            );
            self.say(at, Outcome::Ok, None, &agreed);
            if let Some(leaf) = session.chain.first() {
                let sent = counted(session.chain.len(), "certificate");
                let names = crate::text::enumerated(leaf.names.iter().take(5).cloned());
                let detail = format!(
                    "{sent} sent; {names}; {}, {}; valid until {}; issued by {}",
                    leaf.key, leaf.signature, leaf.expires, leaf.issuer
                );
                let outcome = if first.is_none() {
                    Outcome::Ok
                } else {
                    Outcome::Note
                };
                self.say(at, outcome, None, &detail);
            }
            for (_, detail) in &session.doubts {
                self.say(at, Outcome::Note, None, detail);
            }
            self.certificates = session.chain;
        }
        if let Some(fault) = &first {
            self.fail(at, fault);
            for other in faults {
                self.fail(at, &other);
            }
        }
        first
    }

    /// What an open WebSocket does.
    pub(super) fn talk(&mut self, talk: &mut Talk<'_>, address: SocketAddr) -> Option<Fault> {
        let options = self.options;
        let mut at = At {
            stage: "tunnel",
            probe: "ping",
            address: Some(address),
            begun: Instant::now(),
        };
        let ended = talk.stay_silent(AT_ONCE.min(options.timeout)).end;
        let pinged = ended.map_or_else(|| talk.ping(options.timeout), Err);
        if let Err(fault) = pinged {
            self.fail(&at, &fault);
            return Some(fault);
        }
        self.say(&at, Outcome::Ok, None, "the Ping was answered");
        if let Some(text) = &options.echo {
            (at.probe, at.begun) = ("echo", Instant::now());
            if let Err(fault) = talk.echo(text, options.timeout) {
                self.fail(&at, &fault);
                return Some(fault);
            }
            self.say(&at, Outcome::Ok, None, "the message came back");
        }
        if let Some(time) = options.idle {
            (at.probe, at.begun) = ("idle", Instant::now());
            let silence = talk.stay_silent(time);
            if let Some(fault) = judge::cut(&silence) {
                self.fail(&at, &fault);
                return Some(fault);
            }
            let (outcome, detail) = match silence.frames {
                0 => (
                    Outcome::Ok,
                    format!("{} s of silence survived", time.as_secs()),
                ),
                frames => (
                    Outcome::Note,
                    format!(
                        "the server itself sent {} in {} s, so only {} s of silence were tried",
                        counted(frames, "frame"),
                        time.as_secs(),
                        silence.longest.as_secs()
                    ),
                ),
            };
            self.say(&at, outcome, None, &detail);
        }
        (at.probe, at.begun) = ("close", Instant::now());
        match talk.close(options.timeout) {
            Ok(code) => {
                let detail = format!("the Close was answered with {code}");
                self.say(&at, Outcome::Ok, None, &detail);
                None
            }
            Err(fault) => {
                self.fail(&at, &fault);
                Some(fault)
            }
        }
    }
}
