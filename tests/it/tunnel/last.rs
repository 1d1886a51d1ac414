//! What was sent before the end still arrives, whatever the other side does.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wsgate::reason::Reason;

use super::{Open, open, switching};
use crate::harness::client::is_read;
use crate::harness::frames::{BINARY, CLOSE, Header, closing, masked, plain};
use crate::harness::proxy::is_terminal;
use crate::harness::{PATIENCE, Setup, Upstream, eventually};

/// A payload that is larger than the proxy's buffers, and smaller than what sockets hold.
const MUCH: usize = 200_000;

fn setup(upstream: &Upstream, tls: bool) -> Setup {
    if tls {
        Setup::tls(&upstream.url())
    } else {
        Setup::plain(&upstream.url())
    }
}

/// An upstream that sends a refusal and hangs up, while the client streams and reads later.
#[test]
fn a_client_that_streams_gets_the_last_words_of_an_upstream_that_hangs_up() {
    for tls in [false, true] {
        let (hang_up, told) = mpsc::channel();
        let told = Mutex::new(told);
        let upstream = switching(move |mut call| {
            call.write(plain(BINARY, vec![b'w'; MUCH]));
            call.socket.shutdown(Shutdown::Write).unwrap();
            eventually("the proxy to read", || is_read(&call.socket).then_some(()));
            // Because bytes of the client are unread, this is a reset.
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        });
        let Open { proxy, mut client } = open(&setup(&upstream, tls));
        client.send(masked(BINARY, vec![b'v'; MUCH]));
        hang_up.send(()).unwrap();
        let ended =
            |lines: &[crate::harness::Line]| lines.iter().find(|line| is_terminal(line)).cloned();
        let more = masked(BINARY, [b'v'; 94]);
        let line = loop {
            // Only a client that continues notices that the upstream is gone.
            match client.write_all(&more).and_then(|()| client.flush()) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                    ) => {}
                Err(error) => panic!("{error}"),
            }
            if let Some(line) = ended(&proxy.lines()) {
                break line;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let line = line.expect(Reason::UpstreamEofNoClose);
        let words = plain(BINARY, vec![b'w'; MUCH]);
        assert_eq!(
            line.number("bytes_upstream_to_client"),
            Some(words.len() as u64),
            "tls: {tls}"
        );
        let told = plain(CLOSE, closing(1014, "upstream_eof_no_close"));
        assert!(client.rest() == [words, told].concat(), "tls: {tls}");
    }
}

/// A client that sends its last words and leaves without reading what the upstream streams.
#[test]
fn an_upstream_that_streams_gets_the_last_words_of_a_client_that_leaves() {
    for tls in [false, true] {
        let (read_now, told) = mpsc::channel();
        let (hand_over, got) = mpsc::channel();
        let (told, hand_over) = (Mutex::new(told), Mutex::new(hand_over));
        let full = Arc::new(Mutex::new(false));
        let is_full = Arc::clone(&full);
        let upstream = switching(move |mut call| {
            // One endless frame, until nothing more fits: the proxy then has unread bytes of ours.
            let endless = Header {
                first: BINARY,
                mask: None,
                length: 1 << 40,
            };
            call.write(endless.bytes());
            let patience = Some(Duration::from_millis(200));
            call.socket.set_write_timeout(patience).unwrap();
            while call.socket.write(&[b'w'; 65536]).is_ok() {}
            call.socket.set_write_timeout(Some(PATIENCE)).unwrap();
            *is_full.lock().unwrap() = true;
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            let mut got = Vec::new();
            let mut piece = [0; 65536];
            while let Ok(read @ 1..) = call.socket.read(&mut piece) {
                got.extend_from_slice(&piece[..read]);
            }
            hand_over.lock().unwrap().send(got).unwrap();
        });
        let Open {
            mut proxy,
            mut client,
        } = open(&setup(&upstream, tls));
        eventually("full sockets", || full.lock().unwrap().then_some(()));
        let words = masked(BINARY, vec![b'v'; MUCH]);
        client.send(&words);
        // Because bytes are unread, its own end is a reset, which would destroy what it has not sent yet.
        eventually("the proxy to read", || is_read(client.tcp()).then_some(()));
        client.finish();
        drop(client);
        let line = proxy.terminal();
        assert_eq!(
            line.number("bytes_client_to_upstream"),
            Some(words.len() as u64),
            "{line:?}"
        );
        read_now.send(()).unwrap();
        let got = got.recv_timeout(PATIENCE).unwrap();
        assert!(got == words, "tls: {tls}: {} bytes", got.len());
    }
}
