//! A name server on loopback that gives the answers of a test, or none.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// The answer for a name.
#[derive(Clone, Copy)]
pub enum Says {
    /// It has this address, and no IPv6 address.
    Address(Ipv4Addr),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// No answer, until something else is set.
    Nothing,
}

/// A name server that serves until the test process ends, on the only port that resolvers use.
pub struct NameServer {
    address: &'static str,
    socket: UdpSocket,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    says: BTreeMap<String, Says>,
    /// How often each name's address was asked for.
    asked: BTreeMap<String, usize>,
    unanswered: Vec<(Query, SocketAddr)>,
}

#[derive(Clone)]
struct Query {
    id: [u8; 2],
    /// As received: the name, its type and its class.
    question: Vec<u8>,
    name: String,
    /// Type A, class IN.
    is_ipv4: bool,
}

impl NameServer {
    /// A name server that knows no names. Needs root, and an address that no other test uses.
    pub fn start(address: &'static str) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("port 53 of a loopback address");
        let state: Arc<Mutex<State>> = Arc::default();
        let server = Self {
            address,
            socket: socket.try_clone().unwrap(),
            state: Arc::clone(&state),
        };
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((count, peer)) = socket.recv_from(&mut bytes) {
                let query = Query::read(&bytes[..count]);
                let mut state = state.lock().unwrap();
                if query.is_ipv4 {
                    *state.asked.entry(query.name.clone()).or_default() += 1;
                }
                let says = state.says.get(&query.name).copied();
                match query.answer(says.unwrap_or(Says::NoSuchName)) {
                    Some(answer) => {
                        let _ = socket.send_to(&answer, peer);
                    }
                    None => state.unanswered.push((query, peer)),
                }
            }
        });
        server
    }

    /// Sets the answer from now on, also for requests that wait.
    pub fn says(&self, name: &str, says: Says) {
        let mut state = self.state.lock().unwrap();
        state.says.insert(name.to_owned(), says);
        state.unanswered.retain(|(query, peer)| {
            let answer = match query.name == name {
                true => query.answer(says),
                false => None,
            };
            if let Some(answer) = &answer {
                let _ = self.socket.send_to(answer, peer);
            }
            answer.is_none()
        });
    }

    /// How often the address of a name was asked for.
    pub fn asked(&self, name: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.asked.get(name).copied().unwrap_or_default()
    }

    /// The files of a system that uses it: one attempt, with a timeout longer than a test waits; `more` is appended.
    pub fn system(&self, more: &str) -> Vec<(&'static str, String)> {
        let settings = format!(
            "nameserver {}\noptions timeout:30 attempts:1\n{more}",
            self.address
        );
        vec![("/etc/resolv.conf", settings)]
    }
}

impl Query {
    /// RFC 1035 section 4.1.
    fn read(bytes: &[u8]) -> Self {
        let rest = &bytes[12..];
        let (mut labels, mut at) = (Vec::new(), 0);
        while rest[at] > 0 {
            let end = at + 1 + usize::from(rest[at]);
            labels.push(String::from_utf8_lossy(&rest[at + 1..end]).into_owned());
            at = end;
        }
        let question = &rest[..at + 5];
        Self {
            id: [bytes[0], bytes[1]],
            question: question.to_vec(),
            name: labels.join("."),
            is_ipv4: question.ends_with(&[0, 1, 0, 1]),
        }
    }

    fn answer(&self, says: Says) -> Option<Vec<u8>> {
        let (code, address) = match says {
            Says::Address(address) => (0, self.is_ipv4.then_some(address)),
            Says::NoSuchName => (3, None),
            Says::Failure => (2, None),
            Says::Nothing => return None,
        };
        let mut answer = self.id.to_vec();
        answer.extend([
            0x81,
            0x80 | code,
            0,
            1,
            0,
            u8::from(address.is_some()),
            0,
            0,
            0,
            0,
        ]);
        answer.extend(&self.question);
        if let Some(address) = address {
            // The name of the question, type A, class IN, a minute, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}
