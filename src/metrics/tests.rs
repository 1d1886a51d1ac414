use std::collections::BTreeSet;

use super::*;

fn page(metrics: &Metrics, generation: u64, routes: &[(&str, bool)]) -> Vec<String> {
    let routes = routes
        .iter()
        .map(|(name, has_tunnels)| ((*name).to_owned(), *has_tunnels))
        .collect();
    let mut text = Text::default();
    metrics.write(&mut text, generation, &routes);
    let text = text.into_string();
    text.lines().map(str::to_owned).collect()
}

fn of(lines: &[String], name: &str) -> Vec<String> {
    let own = lines.iter().filter_map(|line| line.strip_prefix(name));
    let own = own.filter(|rest| rest.starts_with(['{', ' ']));
    own.map(str::to_owned).collect()
}

#[test]
fn the_places_of_reasons_are_their_discriminants() {
    for (place, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, place, "{reason}");
    }
    let metrics = Metrics::default();
    for reason in Reason::ALL {
        metrics.failed(Failed::Connection, "", *reason, By::Network);
        metrics.failed(Failed::Handshake, "", *reason, By::Client);
        metrics.failed(Failed::Request(Some(404)), "", *reason, By::Upstream);
        metrics.closed("", 1, (*reason, By::Proxy, None), 0);
        metrics.suppressed(*reason);
    }
    for reason in Reason::ALL {
        assert_eq!(metrics.total(*reason), 4, "{reason}");
    }
    let lines = page(&metrics, 1, &[]);
    for (name, by) in [
        ("wsgate_connections_refused_total", "network"),
        ("wsgate_requests_failed_total", "upstream"),
    ] {
        let mut expected = Reason::ALL.iter();
        for line in of(&lines, name) {
            let reason = expected.next().unwrap();
            assert_eq!(line, format!("{{reason=\"{reason}\",by=\"{by}\"}} 1"));
        }
        assert!(expected.next().is_none(), "{name}");
    }
}

#[test]
fn close_codes_that_a_peer_chooses_make_no_more_than_a_few_series() {
    let metrics = Metrics::default();
    for code in 0..=u16::MAX {
        let end = (Reason::ClientClose, By::Client, Some(code));
        metrics.closed("/ws", 1, end, 0);
    }
    metrics.closed("/ws", 1, (Reason::InternalAborted, By::Proxy, None), 0);
    let lines = of(&page(&metrics, 1, &[]), "wsgate_tunnels_ended_total");
    let label = |line: &String| {
        let (_, rest) = line.split_once("close_code=\"").unwrap();
        let (label, count) = rest.split_once("\"} ").unwrap();
        (label.to_owned(), count.parse::<u64>().unwrap())
    };
    let counts: Vec<_> = lines.iter().map(label).collect();
    let one = counts.iter().filter(|(_, count)| *count == 1);
    let known: BTreeSet<_> = one.map(|(label, _)| label.as_str()).collect();
    let registered = [
        "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011",
        "1012", "1013", "1014", "1015", "3000", "3003", "3008", "unknown",
    ];
    assert_eq!(known, BTreeSet::from(registered));
    for (label, expected) in [
        ("3xxx", 1000 - 3),
        ("4xxx", 1000),
        ("other", 65536 - 2000 - 15),
    ] {
        assert!(counts.contains(&(label.to_owned(), expected)), "{counts:?}");
    }
    assert_eq!(counts.len(), 22);
}

#[test]
fn buckets_hold_what_lies_under_their_bound_and_are_counted_up() {
    let metrics = Metrics::default();
    for ms in [0, 1, 2, 3, 10_000, 10_001, 4] {
        metrics.took(Step::Tls, ms);
    }
    let lines = page(&metrics, 1, &[]);
    let buckets = of(&lines, "wsgate_stage_duration_seconds_bucket");
    let tls: Vec<_> = buckets
        .iter()
        .filter(|line| line.contains("\"tls\""))
        .collect();
    for (place, expected) in [
        (0, "{stage=\"tls\",le=\"0.001\"} 2"),
        (1, "{stage=\"tls\",le=\"0.002\"} 3"),
        (2, "{stage=\"tls\",le=\"0.005\"} 5"),
        (9, "{stage=\"tls\",le=\"1.0\"} 5"),
        (12, "{stage=\"tls\",le=\"10.0\"} 6"),
        (13, "{stage=\"tls\",le=\"+Inf\"} 7"),
    ] {
        assert_eq!(tls[place], expected);
    }
    let sums = of(&lines, "wsgate_stage_duration_seconds_sum");
    assert_eq!(sums[0], "{stage=\"tls\"} 20.011");
    let counts = of(&lines, "wsgate_stage_duration_seconds_count");
    assert_eq!(counts[0], "{stage=\"tls\"} 7");
    assert_eq!(counts.len(), Step::ALL.len());
    assert!(counts[1..].iter().all(|line| line.ends_with(" 0")));
}

#[test]
fn routes_that_serve_are_there_from_the_start_and_others_go_with_their_last_tunnel() {
    const OPEN: &str = "wsgate_tunnels_open";
    let metrics = Metrics::default();
    let first = [("/old", true), ("/plain", false)];
    assert_eq!(
        of(&page(&metrics, 1, &first), OPEN),
        ["{route=\"/old\",generation=\"1\"} 0"]
    );
    metrics.opened("/old", 1);
    metrics.opened("/old", 1);
    metrics.route("/old").passed(
        Traffic::default(),
        Traffic {
            bytes: [7, 5],
            messages: [2, 1],
        },
    );
    // The next configuration has other routes; tunnels that are open on the old route are still shown.
    let second = [("/new", true)];
    let lines = page(&metrics, 2, &second);
    assert_eq!(
        of(&lines, OPEN),
        [
            "{route=\"/new\",generation=\"2\"} 0",
            "{route=\"/old\",generation=\"1\"} 2"
        ]
    );
    assert_eq!(
        of(&lines, "wsgate_tunnel_bytes_total")[2..],
        [
            "{route=\"/old\",direction=\"client_to_upstream\"} 7",
            "{route=\"/old\",direction=\"upstream_to_client\"} 5"
        ]
    );
    let end = (Reason::ClientClose, By::Client, Some(1000));
    metrics.closed("/old", 1, end, 0);
    assert_eq!(of(&page(&metrics, 2, &second), OPEN).len(), 2);
    metrics.closed("/old", 1, end, 0);
    let lines = page(&metrics, 2, &second);
    assert_eq!(of(&lines, OPEN), ["{route=\"/new\",generation=\"2\"} 0"]);
    assert!(!lines.iter().any(|line| line.contains("/old")), "{lines:?}");
    // A route that stays shows the tunnels of each generation separately.
    metrics.opened("/new", 2);
    metrics.opened("/new", 3);
    assert_eq!(
        of(&page(&metrics, 3, &second), OPEN),
        [
            "{route=\"/new\",generation=\"2\"} 1",
            "{route=\"/new\",generation=\"3\"} 1"
        ]
    );
}

#[test]
fn a_route_that_somebody_counts_on_is_kept() {
    let metrics = Metrics::default();
    let held = metrics.route("/gone");
    page(&metrics, 1, &[]);
    assert!(Arc::ptr_eq(&held, &metrics.route("/gone")));
    drop(held);
    metrics.served("/gone", Some(204));
    let lines = page(&metrics, 1, &[("/gone", false)]);
    assert_eq!(
        of(&lines, "wsgate_requests_total"),
        ["{route=\"/gone\",status=\"2xx\"} 1"]
    );
    page(&metrics, 1, &[]);
    let lines = page(&metrics, 1, &[("/gone", false)]);
    assert!(of(&lines, "wsgate_requests_total").is_empty());
}

#[test]
fn statuses_are_counted_by_their_class() {
    let metrics = Metrics::default();
    for status in [200, 299, 301, 404, 503, 99, 600, 0] {
        metrics.served("", Some(status));
    }
    metrics.served("", None);
    assert_eq!(
        of(&page(&metrics, 1, &[]), "wsgate_requests_total"),
        [
            "{route=\"\",status=\"2xx\"} 2",
            "{route=\"\",status=\"3xx\"} 1",
            "{route=\"\",status=\"4xx\"} 1",
            "{route=\"\",status=\"5xx\"} 1",
            "{route=\"\",status=\"none\"} 4",
        ]
    );
}

#[test]
fn text_of_the_operator_is_escaped() {
    let metrics = Metrics::default();
    metrics.opened("/a\"b\\c\nd", 1);
    assert_eq!(
        of(&page(&metrics, 1, &[]), "wsgate_tunnels_open"),
        ["{route=\"/a\\\"b\\\\c\\nd\",generation=\"1\"} 1"]
    );
}

#[test]
fn reloads_are_counted_and_the_last_one_is_told() {
    let metrics = Metrics::default();
    let told = |metrics: &Metrics| {
        let lines = page(metrics, 1, &[]);
        let loaded = of(&lines, "wsgate_config_loaded_timestamp_seconds").remove(0);
        let successful = of(&lines, "wsgate_config_last_reload_successful").remove(0);
        let loaded: f64 = loaded.trim().parse().unwrap();
        (
            of(&lines, "wsgate_config_reloads_total"),
            successful,
            loaded,
        )
    };
    let (counts, successful, started) = told(&metrics);
    assert_eq!(
        counts,
        ["{outcome=\"applied\"} 0", "{outcome=\"refused\"} 0"]
    );
    assert_eq!(successful, " 1");
    metrics.reloaded(Reload::Refused);
    let (counts, successful, loaded) = told(&metrics);
    assert_eq!(
        counts,
        ["{outcome=\"applied\"} 0", "{outcome=\"refused\"} 1"]
    );
    assert_eq!((successful.as_str(), loaded), (" 0", started));
    metrics.reloaded(Reload::Unchanged);
    let (counts, successful, loaded) = told(&metrics);
    assert_eq!(
        counts,
        ["{outcome=\"applied\"} 0", "{outcome=\"refused\"} 1"]
    );
    assert_eq!((successful.as_str(), loaded), (" 1", started));
    metrics.reloaded(Reload::Applied);
    let (counts, successful, loaded) = told(&metrics);
    assert_eq!(
        counts,
        ["{outcome=\"applied\"} 1", "{outcome=\"refused\"} 1"]
    );
    assert_eq!(successful, " 1");
    assert!(loaded >= started);
}
