//! Ports for programs that must know them in advance, or that open and close them again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The lowest port that is given away; well-known services are below.
const LOWEST: u16 = 10_000;

/// Each process starts at another place, this many ports from the next.
const APART: usize = 64;

/// More than a process asks for.
const ENOUGH: usize = 1000;

/// A port on which nothing listens, at any address of this machine. No other call in this process gives the same one, and
/// the kernel does not choose it for a socket of another test, as it may do with the port of a listener that was closed.
pub fn own_port() -> u16 {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let ports = not_of_the_kernel();
    let first = std::process::id() as usize * APART;
    // A port that somebody else has is passed over.
    for _ in 0..ports.len() {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let port = ports[(first + call) % ports.len()];
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("none of {} ports is free", ports.len());
}

/// The ports that the kernel does not give to sockets that ask for any port. All ports, if that leaves too few.
fn not_of_the_kernel() -> Vec<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let mut ends = range
        .split_whitespace()
        .map(|end| end.parse::<u16>().unwrap());
    let of_kernel = ends.next().unwrap()..=ends.next().unwrap();
    let all = LOWEST..=u16::MAX;
    let others: Vec<_> = all
        .clone()
        .filter(|port| !of_kernel.contains(port))
        .collect();
    match others.len() {
        ..ENOUGH => all.collect(),
        _ => others,
    }
}
