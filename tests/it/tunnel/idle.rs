//! The cost of an idle tunnel.

use std::fs;
use std::time::Duration;

use crate::harness::frames::{BINARY, masked, plain};
use crate::harness::{Setup, Upstream, eventually};

use super::tunnel;

/// How often the threads of a process have gone to sleep.
fn sleeps(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let counts = threads.map(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    });
    counts.sum()
}

#[test]
fn an_idle_tunnel_is_not_woken() {
    const TUNNELS: usize = 20;
    let upstream = Upstream::echo();
    let setup = Setup {
        // If the tunnels checked these limits periodically, each would wake its thread ten times a second.
        limits: "write_stall: 100ms, close_wait: 100ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let proxy = setup.start();
    let clients: Vec<_> = (0..TUNNELS)
        .map(|_| {
            let mut client = tunnel(&proxy, true);
            client.send(masked(BINARY, [7; 16 * 1024]));
            let back = plain(BINARY, [7; 16 * 1024]);
            assert!(client.receive(back.len()) == back);
            client
        })
        .collect();
    let window = Duration::from_secs(1);
    // The writing thread checks its counters once a second; everything else must first become idle.
    let most = 10;
    eventually("rest", || {
        let before = sleeps(proxy.id());
        std::thread::sleep(window);
        let woken = sleeps(proxy.id()) - before;
        (woken < most).then_some(())
    });
    drop(clients);
}
