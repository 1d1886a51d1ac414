//! Which endpoint a client gets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::config::{HealthCheck, OnAbort, UpstreamTls};

fn group(endpoints: &[&str], balance: Balance, max_tunnels: Option<usize>) -> Arc<Group> {
    let endpoint = |host: &&str| Endpoint::Http {
        host: (*host).to_owned(),
        port: 80,
    };
    let settings = Upstream {
        name: "app".to_owned(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        balance,
        max_tunnels,
        tls: UpstreamTls::default(),
        // Without health checks, their results do not count.
        health_check: Some(HealthCheck {
            path: "/health".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }),
        connect_timeout: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(1),
        on_abort: OnAbort::CloseFrame,
    };
    Group::new(
        Arc::new(settings),
        None,
        Duration::from_secs(1),
        Names::default(),
    )
}

fn v4(last: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + last).into()
}

/// The hosts of the candidates for a client.
fn hosts(group: &Group, client: IpAddr) -> Vec<String> {
    hosts_at(group, client, Instant::now())
}

fn hosts_at(group: &Group, client: IpAddr, now: Instant) -> Vec<String> {
    let members = group.candidates_at(client, now).unwrap();
    let hosts = members.iter().map(|member| {
        let (host, _) = member.endpoint.address().unwrap();
        host.to_owned()
    });
    hosts.collect()
}

#[test]
fn each_endpoint_has_its_turn_and_the_others_follow() {
    let group = group(&["a", "b", "c"], Balance::RoundRobin, None);
    for expected in [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]] {
        assert_eq!(hosts(&group, v4(1)), expected);
    }
}

#[test]
fn what_can_not_be_dialled_does_not_burden_its_neighbour() {
    let group = group(&["a", "b", "c"], Balance::RoundRobin, None);
    group.members()[0].set_healthy(false);
    let firsts: Vec<_> = (0..4).map(|_| hosts(&group, v4(1)).remove(0)).collect();
    assert_eq!(firsts, ["b", "c", "b", "c"]);
    group.members()[0].set_healthy(true);
    group.members()[2].connected(false);
    let orders: Vec<_> = (0..2).map(|_| hosts(&group, v4(1))).collect();
    assert_eq!(orders, [["a", "b", "c"], ["b", "a", "c"]]);
}

#[test]
fn a_failure_is_forgotten_by_time_or_by_success() {
    let group = group(&["a", "b"], Balance::ClientIp, None);
    let order = hosts(&group, v4(7));
    let is_first = |member: &&Arc<Member>| member.endpoint.address() == Some((&order[0], 80));
    let first = group.members().iter().find(is_first).unwrap();
    let swapped: Vec<_> = order.iter().rev().cloned().collect();
    first.connected(false);
    let failed = first.failed().unwrap();
    let almost = failed + SHUNNED - Duration::from_millis(1);
    assert_eq!(hosts_at(&group, v4(7), almost), swapped);
    assert_eq!(hosts_at(&group, v4(7), failed + SHUNNED), order);
    first.connected(true);
    assert_eq!(hosts(&group, v4(7)), order);
}

#[test]
fn the_fewest_connections_come_first_and_equals_take_turns() {
    let group = group(&["a", "b", "c"], Balance::LeastConnections, None);
    let _on_a = [group.members()[0].busy(), group.members()[0].busy()];
    let on_b = group.members()[1].busy();
    assert_eq!(hosts(&group, v4(1)), ["c", "b", "a"]);
    drop(on_b);
    let mut firsts: Vec<_> = (0..6).map(|_| hosts(&group, v4(1)).remove(0)).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts, ["b", "c"]);
}

#[test]
fn a_client_keeps_its_endpoint_and_loses_only_one_that_is_gone() {
    let whole = group(&["a", "b", "c", "d"], Balance::ClientIp, None);
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for client in 0..400 {
        let order = hosts(&whole, v4(client));
        assert_eq!(hosts(&whole, v4(client)), order);
        *shares.entry(order[0].clone()).or_default() += 1;
        whole.members()[1].set_healthy(false);
        let others: Vec<_> = order.into_iter().filter(|host| host != "b").collect();
        assert_eq!(hosts(&whole, v4(client)), others);
        whole.members()[1].set_healthy(true);
    }
    assert_eq!(shares.len(), 4);
    assert!(shares.values().all(|share| *share > 60), "{shares:?}");
}

#[test]
fn clients_of_one_network_are_one_client() {
    let group = group(&["a", "b", "c", "d", "e", "f"], Balance::ClientIp, None);
    let order = hosts(&group, "2001:db8:1:2::1".parse().unwrap());
    for last in 0..50_u16 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, last, 2, 3, 4);
        assert_eq!(hosts(&group, address.into()), order);
    }
    let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
    let plain = hosts(&group, Ipv4Addr::new(192, 0, 2, 7).into());
    assert_eq!(hosts(&group, mapped.into()), plain);
}

#[test]
fn without_a_healthy_endpoint_there_is_none() {
    let group = group(&["a", "b"], Balance::RoundRobin, None);
    for member in group.members() {
        member.set_healthy(false);
    }
    let failure = group.candidates(v4(1)).unwrap_err();
    assert_eq!(failure.reason, Reason::UpstreamNoneHealthy);
}

#[test]
fn places_are_counted_and_given_back() {
    let group = group(&["a"], Balance::RoundRobin, Some(2));
    let first = group.slot().unwrap();
    let _second = group.slot().unwrap();
    let failure = group.slot().unwrap_err();
    assert_eq!(failure.reason, Reason::UpstreamTunnelLimit);
    assert_eq!(group.tunnels(), 2);
    drop(first);
    let _third = group.slot().unwrap();
    assert_eq!(group.tunnels(), 2);
}

#[test]
fn guards_are_small() {
    assert_eq!(size_of::<InUse>(), 2 * size_of::<usize>());
}
