//! Much data, slow readers, and exact counts.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wsgate::reason::Reason;

use super::{Open, closed, open, switching};
use crate::harness::frames::{
    BINARY, BINARY_BEGINS, MESSAGE_ENDS, masked, masked_with, plain, read,
};
use crate::harness::upstream::Call;
use crate::harness::{PATIENCE, Setup, eventually};

/// At least this many bytes in each direction, including headers.
const SIZE: usize = 8 * 1024 * 1024;

/// Pseudo-random numbers that are the same in every run (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// At least 1 and at most `most`.
    fn up_to(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap() + 1
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// Whole frames of one side with all three forms of length: messages in one piece and in two.
    fn frames(&mut self, is_client: bool) -> Vec<u8> {
        let mut all = Vec::with_capacity(SIZE + 200_000);
        while all.len() < SIZE {
            let pieces: &[u8] = match self.next() % 2 {
                0 => &[BINARY],
                _ => &[BINARY_BEGINS, MESSAGE_ENDS],
            };
            for &first in pieces {
                let most = [125, 65_535, 200_000][self.up_to(3) - 1];
                let size = self.up_to(most);
                let payload = self.bytes(size);
                let mask = (self.next() >> 32).to_le_bytes();
                let mask = [mask[0], mask[1], mask[2], mask[3]];
                all.extend(match is_client {
                    true => masked_with(mask, first, payload),
                    false => plain(first, payload),
                });
            }
        }
        all
    }
}

/// Writes in pieces of random sizes.
fn write_all(to: &mut impl Write, bytes: &[u8], numbers: &mut Numbers) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(numbers.up_to(20_000).min(rest.len()));
        to.write_all(piece).unwrap();
        rest = after;
    }
}

/// Reads to the end in pieces of random sizes, with occasional pauses.
fn read_slowly(from: &mut TcpStream, numbers: &mut Numbers) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 4000];
    let mut rest_at = 0;
    loop {
        let room = numbers.up_to(buffer.len());
        match from.read(&mut buffer[..room]).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
        if all.len() >= rest_at {
            rest_at += SIZE / 8;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn eight_mebibytes_pass_each_way_unchanged() {
    for tls in [false, true] {
        let down = Arc::new(Numbers(0x5eed_0001).frames(false));
        let up = Numbers(0x5eed_0002).frames(true);
        let arrived = Arc::new(Mutex::new(None));
        let (sent, got) = (Arc::clone(&down), Arc::clone(&arrived));
        let upstream = switching(move |call: Call| {
            let mut reading = call.socket.try_clone().unwrap();
            let reader =
                std::thread::spawn(move || read_slowly(&mut reading, &mut Numbers(0x5eed_0003)));
            let mut writing = call.socket;
            write_all(&mut writing, &sent, &mut Numbers(0x5eed_0004));
            *got.lock().unwrap() = Some(reader.join().unwrap());
        });
        let setup = if tls {
            Setup::tls(&upstream.url())
        } else {
            Setup::plain(&upstream.url())
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        // In turns, because a TLS connection can't be shared by two threads; both directions stay busy.
        let mut numbers = Numbers(0x5eed_0005);
        let (mut rest, mut received) = (up.as_slice(), Vec::new());
        while !rest.is_empty() || received.len() < down.len() {
            let (piece, after) = rest.split_at(numbers.up_to(60_000).min(rest.len()));
            client.write_all(piece).unwrap();
            client.flush().unwrap();
            rest = after;
            let room = numbers.up_to(60_000).min(down.len() - received.len());
            received.extend(client.receive(room));
        }
        client.finish();
        assert!(received == *down, "what came down differs");
        let came_up = eventually("the upstream's last byte", || {
            arrived.lock().unwrap().take()
        });
        assert!(came_up == up, "what went up differs");
        assert_eq!(client.rest(), b"");
        let line = closed(&mut proxy, Reason::ClientEofNoClose);
        assert_eq!(
            line.number("bytes_client_to_upstream"),
            Some(up.len() as u64)
        );
        assert_eq!(
            line.number("bytes_upstream_to_client"),
            Some(down.len() as u64)
        );
    }
}

#[test]
fn many_tunnels_at_once_keep_their_bytes_apart() {
    const TUNNELS: u64 = 20;
    const MESSAGES: u64 = 20;
    let upstream = crate::harness::Upstream::echo();
    let mut proxy = Setup::tls(&upstream.url()).start();
    std::thread::scope(|scope| {
        for number in 1..=TUNNELS {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = super::tunnel(proxy, true);
                let mut numbers = Numbers(number);
                for _ in 0..MESSAGES {
                    let size = numbers.up_to(10_000);
                    let bytes = numbers.bytes(size);
                    client.send(masked(BINARY, &bytes));
                    assert!(read(&mut client).unwrap() == (BINARY, bytes));
                }
                client.finish();
                assert_eq!(client.rest(), b"");
            });
        }
    });
    let mut conns = std::collections::HashSet::new();
    for _ in 0..TUNNELS {
        let line = proxy.terminal().expect(Reason::ClientEofNoClose);
        let down = line.number("bytes_upstream_to_client").unwrap();
        // Every frame is the same in both directions, except for the mask.
        assert_eq!(
            line.number("bytes_client_to_upstream"),
            Some(down + 4 * MESSAGES)
        );
        assert!(conns.insert(line.text("conn").to_owned()));
    }
    assert_eq!(
        proxy
            .stop()
            .iter()
            .filter(|line| line.text("event") == "opened")
            .count(),
        20
    );
}

#[test]
fn a_reader_that_rests_and_goes_on_loses_nothing_and_leaves_its_trace() {
    let (stalled, is_stalled) = std::sync::mpsc::channel();
    let stalled = Mutex::new(stalled);
    let upstream = switching(move |mut call: Call| {
        // If a write has blocked this long, all buffers on the way are full.
        call.socket
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let frame = plain(BINARY, [b'x'; 65536]);
        let (mut frames, mut rest) = (1, &frame[..]);
        loop {
            match call.socket.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            if rest.is_empty() {
                (frames, rest) = (frames + 1, &frame[..]);
            }
        }
        let total = frames * frame.len() as u64;
        stalled.lock().unwrap().send(total).unwrap();
        // The reader continues now, and the frame in progress is completed.
        call.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        call.socket.write_all(rest).unwrap();
        call.finish().drain();
    });
    for tls in [false, true] {
        let setup = Setup {
            upstream: ", on_abort: transparent".to_owned(),
            ..if tls {
                Setup::tls(&upstream.url())
            } else {
                Setup::plain(&upstream.url())
            }
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        let total = is_stalled.recv_timeout(PATIENCE).unwrap();
        assert_eq!(client.rest().len() as u64, total);
        client.finish();
        let line = closed(&mut proxy, Reason::UpstreamEofNoClose);
        assert_eq!(line.number("bytes_upstream_to_client"), Some(total));
        assert!(
            line.number("write_stall_client_ms") >= Some(250),
            "{line:?}"
        );
        assert!(
            line.number("write_stall_upstream_ms") < Some(250),
            "{line:?}"
        );
    }
}
