//! Requests that loop.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

use wsgate::reason::Reason;

use super::guard::Guard;
use crate::harness::upstream::field;
use crate::harness::{Client, Line, Setup, Upstream, handshake};

/// Two proxies that are each other's upstream: the loop is found after one round.
pub fn loop_detected() -> Line {
    // The first one's upstream is the second, whose address is not known yet.
    let second = Arc::new(OnceLock::new());
    let to_second = Arc::clone(&second);
    let between = Upstream::raw(move |socket| join(socket, *to_second.get().unwrap()));
    let mut proxy = Setup::plain(&between.url()).start();
    let mut back = Setup::plain(&format!("http://{}", proxy.address())).start();
    second.set(back.address()).unwrap();

    let response = Client::plain(proxy.address())
        .send(handshake("/ws", &[]))
        .response();
    assert_eq!(response.status, 508);
    assert!(response.text().starts_with("loop_detected\n"));
    assert_eq!(between.connections(), 1, "one turn");
    let line = proxy.terminal().with_detail("is hop 1 in Via");
    // On the way back it is the answer of an upstream.
    back.terminal().expect(Reason::Upstream5xx);
    proxy.terminal().expect(Reason::Upstream5xx);
    line
}

/// Copies bytes between `socket` and `address` until both have ended.
fn join(socket: TcpStream, address: SocketAddr) {
    let other = TcpStream::connect(address).unwrap();
    std::thread::scope(|scope| {
        for (mut from, mut to) in [(&socket, &other), (&other, &socket)] {
            scope.spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut piece) {
                    if to.write_all(&piece[..count]).is_err() {
                        break;
                    }
                }
                // The other side may already be gone.
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    });
}

#[test]
fn proxies_in_a_row_are_no_loop() {
    let mut guard = Guard::plain();
    let front = Setup::plain(&format!("http://{}", guard.proxy.address())).start();
    let mut client = Client::plain(front.address());
    client.send(handshake("/ws", &[("Via", "1.0 fred")]));
    let admitted = guard.outcome(client).ok().unwrap();
    let via = field(&admitted.head, "via").unwrap();
    let hops: Vec<_> = via.split(", ").collect();
    let [fred, first, second] = hops.as_slice() else {
        panic!("{via}")
    };
    assert_eq!(*fred, "1.0 fred");
    assert!(first.starts_with("1.1 wsgate-") && second.starts_with("1.1 wsgate-"));
    assert_ne!(first, second);
}

#[test]
fn a_request_through_too_many_proxies_is_refused() {
    let mut guard = Guard::plain();
    let hops = |count: usize| vec!["1.1 hop"; count].join(", ");
    guard.admit(handshake("/ws", &[("Via", &hops(16))]));
    for many in [
        vec![("Via", hops(17))],
        vec![("Via", hops(10)), ("via", hops(7))],
    ] {
        let many: Vec<_> = many
            .iter()
            .map(|(name, hops)| (*name, hops.as_str()))
            .collect();
        let refused = guard.refuse(handshake("/ws", &many), Reason::LoopDetected);
        assert_eq!(refused.response.status, 508);
        let status = refused.response.field("proxy-status").unwrap();
        assert!(status.contains("error=proxy_loop_detected"), "{status}");
        refused.line.with_detail("17 hops in Via");
    }
}
