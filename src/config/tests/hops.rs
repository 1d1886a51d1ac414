//! The table of hops, and what docs/idle-timeouts.md says of them.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::hops::{HOPS, Habit, Hop, known};

fn names(text: &str) -> Vec<&'static str> {
    known(text).iter().map(|hop| hop.name).collect()
}

#[test]
fn a_hop_is_known_by_the_names_that_people_give_it() {
    for (name, expected) in [
        ("AWS ALB", "AWS ALB"),
        ("aws_alb", "AWS ALB"),
        ("prod-aws-alb-1", "AWS ALB"),
        ("腾讯云 CLB", "腾讯云 CLB"),
        ("腾讯云CLB(上海)", "腾讯云 CLB"),
        ("Tencent Cloud CLB", "腾讯云 CLB"),
        ("微信云托管", "微信云托管"),
        ("NGINX", "nginx"),
        ("our nginx", "nginx"),
        ("ingress-nginx", "ingress-nginx"),
        ("nginx-ingress-controller", "ingress-nginx"),
        ("Cloudflare", "Cloudflare"),
        ("GCP Cloud Run", "Google Cloud Run"),
        (
            "GCP load balancer",
            "Google Cloud Application Load Balancer",
        ),
        ("GKE Ingress", "Google Cloud Application Load Balancer"),
        ("Cloud Run", "Google Cloud Run"),
        ("Alibaba Cloud CLB", "阿里云 CLB"),
        ("阿里云负载均衡", "阿里云 CLB"),
        ("Azure Application Gateway v2", "Azure Application Gateway"),
    ] {
        assert_eq!(names(name), [expected], "{name}");
    }
    assert_eq!(names("nginx behind Cloudflare"), ["Cloudflare", "nginx"]);
    assert_eq!(
        names("AWS ALB, then ingress-nginx"),
        ["AWS ALB", "ingress-nginx"]
    );
    // Two vendors have an ALB, two a CLB; and a gateway may be anything.
    for name in [
        "",
        "edge-1",
        "gateway",
        "alb",
        "CLB",
        "nginxless",
        "lb",
        "gcp",
        "GCP Network Load Balancer",
    ] {
        assert!(known(name).is_empty(), "{name}");
    }
}

#[test]
fn every_hop_is_known_by_its_own_name() {
    for hop in HOPS {
        let found = hop.aliases.iter().chain([&hop.name]);
        for name in found {
            assert_eq!(names(name), [hop.name], "{name}");
        }
        assert!(!hop.habit.time().is_zero());
        assert!(hop.label.is_ascii(), "{}", hop.label);
    }
}

/// The row that docs/idle-timeouts.md has for a hop.
fn row(hop: &Hop) -> String {
    let time = humantime::format_duration(hop.habit.time());
    let told = |habit: Habit| {
        let time = humantime::format_duration(habit.time());
        match habit {
            Habit::Lifetime(_) => format!("{time} after the start"),
            Habit::Idle(_) | Habit::Heartbeat(_) => format!("{time} of silence"),
        }
    };
    let mut habit = match hop.habit {
        Habit::Heartbeat(_) => format!("not published; asks for a heartbeat every {time}"),
        known => told(known),
    };
    for (part, other) in hop.others {
        habit += &format!("; {part}: {}", told(*other));
    }
    let aliases: Vec<_> = hop
        .aliases
        .iter()
        .map(|alias| format!("`{alias}`"))
        .collect();
    let source = hop
        .source
        .map_or_else(|| "reports of users".to_owned(), |url| format!("<{url}>"));
    let keeps = hop.keeps.map_or_else(
        || "unknown".to_owned(),
        |time| humantime::format_duration(time).to_string(),
    );
    format!(
        "| {} | {habit} | {keeps} | {} | {source} |",
        hop.name,
        aliases.join(", ")
    )
}

#[test]
fn the_page_on_idle_timeouts_has_every_hop_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/idle-timeouts.md");
    let text = std::fs::read_to_string(path).unwrap();
    let expected: BTreeSet<_> = HOPS.iter().map(row).collect();
    let found: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Hop |"))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = expected.difference(&found).cloned().collect();
    let outdated: Vec<_> = found.difference(&expected).cloned().collect();
    assert!(
        missing.is_empty() && outdated.is_empty(),
        "missing:\n{}\nthere:\n{}",
        missing.join("\n"),
        outdated.join("\n")
    );
}
