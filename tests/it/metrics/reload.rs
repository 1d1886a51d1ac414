use std::fs;

use super::until;
use crate::harness::scrape::Scrape;
use crate::harness::services::{get, probes};
use crate::harness::{Client, Proxy, Setup, eventually, frames, handshake};

fn at_path(path: &str) -> Setup {
    Setup {
        path: path.to_owned(),
        extra: "probes: { address: '127.0.0.1:0' }\nadmin: { address: '127.0.0.1:0' }\n".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    }
}

/// Starts a proxy whose listener and services are bound.
fn start(setup: &Setup) -> Proxy {
    Proxy::spawn(setup.folder(), None, 3)
}

fn open(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake(path, &[])).response().status, 101);
    frames::echoes(&mut client, "open");
    client
}

/// The generation of each tunnel is shown until its last tunnel ends; a removed route disappears.
#[test]
fn generations_come_and_go() {
    const TUNNELS: &str = "wsgate_tunnels_open";
    let proxy = start(&at_path("/one"));
    let mut old = [open(&proxy, "/one"), open(&proxy, "/one")];
    proxy.reload(&at_path("/two"));
    let mut new = open(&proxy, "/two");
    let scrape = until(
        &proxy,
        TUNNELS,
        &[("route", "/two"), ("generation", "2")],
        1.0,
    );
    assert_eq!(
        scrape.sum(TUNNELS, &[("route", "/one"), ("generation", "1")]),
        2.0
    );
    assert_eq!(scrape.sum(TUNNELS, &[]), 3.0);
    assert_eq!(scrape.one("wsgate_config_generation"), 2.0);
    for client in &mut old {
        client.finish();
    }
    until(&proxy, TUNNELS, &[], 1.0);
    let scrape = until(&proxy, TUNNELS, &[("generation", "1")], 0.0);
    let family = scrape.family(TUNNELS);
    assert!(!family.contains("/one"), "{family}");
    new.finish();
    until(&proxy, TUNNELS, &[], 0.0);
    proxy.stop();
}

/// Also if nobody connects any more.
#[test]
fn a_route_that_is_gone_is_told_no_more() {
    let proxy = start(&at_path("/one"));
    let is_told = |path: &str| get(probes(&proxy), "/metrics").1.contains(path);
    open(&proxy, "/one").finish();
    proxy.reload(&at_path("/two"));
    eventually("the end of the old route", || {
        (is_told("/two") && !is_told("/one")).then_some(())
    });
    proxy.stop();
}

#[test]
fn outcomes_are_counted_and_a_refusal_stands_until_it_is_mended() {
    const RELOADS: &str = "wsgate_config_reloads_total";
    const GOOD: &str = "wsgate_config_last_reload_successful";
    let proxy = start(&at_path("/one"));
    proxy.write("listeners: [");
    proxy.signal("HUP");
    proxy.event("reload_refused");
    let scrape: Scrape = until(&proxy, RELOADS, &[("outcome", "refused")], 1.0);
    assert_eq!(scrape.one(GOOD), 0.0);
    proxy.write(&at_path("/one").yaml());
    proxy.event("reload_unchanged");
    let scrape = until(&proxy, GOOD, &[], 1.0);
    assert_eq!(scrape.sum(RELOADS, &[("outcome", "applied")]), 0.0);
    proxy.reload(&at_path("/two"));
    let scrape = until(&proxy, RELOADS, &[("outcome", "applied")], 1.0);
    assert_eq!(
        (scrape.one(GOOD), scrape.one("wsgate_config_generation")),
        (1.0, 2.0)
    );
    proxy.stop();
}

/// A bad certificate is counted as long as it is bad, and so in both ways in which that ends.
#[test]
fn certificates_that_are_refused_are_told_until_they_are_mended() {
    const REFUSED: &str = "wsgate_certificates_refused";
    let setup = Setup {
        extra: at_path("/").extra,
        ..Setup::tls("\"builtin:echo\"")
    };
    let proxy = start(&setup);
    let file = proxy.folder().join("good.pem");
    let good = fs::read(&file).unwrap();
    until(&proxy, REFUSED, &[], 0.0);
    fs::write(&file, "nonsense").unwrap();
    proxy.event("certificate_refused");
    until(&proxy, REFUSED, &[], 1.0);
    // A configuration that is also refused changes nothing.
    proxy.write("listeners: [");
    proxy.event("reload_refused");
    until(&proxy, REFUSED, &[], 1.0);
    proxy.write(&setup.yaml());
    proxy.event("reload_unchanged");
    until(&proxy, REFUSED, &[], 1.0);
    fs::write(&file, &good).unwrap();
    until(&proxy, REFUSED, &[], 0.0);
    fs::write(&file, "nonsense").unwrap();
    until(&proxy, REFUSED, &[], 1.0);
    // Both at once.
    fs::write(&file, &good).unwrap();
    proxy.reload(&Setup {
        path: "/other".to_owned(),
        ..setup
    });
    until(&proxy, REFUSED, &[], 0.0);
    proxy.stop();
}
