//! The answer to `GET /metrics`: the counters, and the current state of the process.

use std::collections::BTreeMap;

use super::process::Process;
use super::state::{Phase, State};
use crate::generation::Generation;
use crate::metrics::{MetricType, Text, seconds};

/// All metrics. Their number depends on the configuration and on `reason.rs`, not on what peers do.
pub(super) fn page(state: &State, process: &Process) -> String {
    let mut text = Text::default();
    let generation = state.generation();
    write_state(&mut text, state, &generation);
    let mut routes = BTreeMap::new();
    for route in generation.config.routes.iter() {
        *routes.entry(route.to_string()).or_default() |= route.websocket().is_some();
    }
    state.metrics().write(&mut text, generation.number, &routes);
    write_upstreams(&mut text, &generation);
    write_process(&mut text, state, process);
    text.into_string()
}

fn write_state(text: &mut Text, state: &State, generation: &Generation) {
    text.family(
        "wsgate_build_info",
        MetricType::Gauge,
        "Version of this build; the value is always 1.",
    )
    .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let phase = state.phase();
    text.family(
        "wsgate_ready",
        MetricType::Gauge,
        "Whether /readyz answers 200.",
    )
    .sample(&[], u8::from(phase == Phase::Ready));
    let mut family = text.family(
        "wsgate_phase",
        MetricType::Gauge,
        "State of the process: 1 for the current state, 0 for the others.",
    );
    let now = match phase {
        Phase::Ready => "ready",
        Phase::Asked | Phase::Delay => "delay",
        Phase::Draining => "draining",
        Phase::Drained(_) => "drained",
    };
    for phase in ["ready", "delay", "draining", "drained"] {
        family.sample(&[("phase", phase)], u8::from(phase == now));
    }
    text.family(
        "wsgate_connections_open",
        MetricType::Gauge,
        "Open connections that are a tunnel or may become one.",
    )
    .sample(&[], state.connections());
    text.family(
        "wsgate_connections_limit",
        MetricType::Gauge,
        "limits.connections.",
    )
    .sample(&[], generation.config.limits.connections);
    text.family(
        "wsgate_config_generation",
        MetricType::Gauge,
        "Number of the current configuration: 1 at the start, plus 1 for each that was applied.",
    )
    .sample(&[], generation.number);
    let mut family = text.family(
        "wsgate_certificate_expiry_timestamp_seconds",
        MetricType::Gauge,
        "Time at which the first certificate of a chain shown to clients or upstreams expires.",
    );
    for certificate in &generation.certificates {
        let file = certificate.file.display().to_string();
        family.sample(&[("file", &file)], seconds(certificate.expires));
    }
}

fn write_upstreams(text: &mut Text, generation: &Generation) {
    let members: BTreeMap<_, _> = generation
        .upstreams
        .iter()
        .flat_map(|(name, group)| {
            let members = group.members().iter();
            members.map(move |member| ((name, member.endpoint.to_string()), member))
        })
        .collect();
    let mut family = text.family(
        "wsgate_upstream_healthy",
        MetricType::Gauge,
        "1 if the endpoint is healthy, 0 if its health checks failed.",
    );
    for ((upstream, endpoint), member) in &members {
        let labels = [
            ("upstream", upstream.as_str()),
            ("endpoint", endpoint.as_str()),
        ];
        let group = generation.upstreams.get(*upstream);
        let is_healthy = group.is_some_and(|group| group.is_healthy(member));
        family.sample(&labels, u8::from(is_healthy));
    }
    let mut family = text.family(
        "wsgate_upstream_in_use",
        MetricType::Gauge,
        "Open tunnels, handshakes in progress and plain requests in progress at an endpoint.",
    );
    for ((upstream, endpoint), member) in &members {
        let labels = [
            ("upstream", upstream.as_str()),
            ("endpoint", endpoint.as_str()),
        ];
        family.sample(&labels, member.open());
    }
    let mut family = text.family(
        "wsgate_upstream_connects_total",
        MetricType::Counter,
        "Attempts to connect to an endpoint for a request, by outcome.",
    );
    for ((upstream, endpoint), member) in &members {
        let (connected, failed) = member.connects();
        for (outcome, count) in [("connected", connected), ("failed", failed)] {
            let labels = [
                ("upstream", upstream.as_str()),
                ("endpoint", endpoint.as_str()),
                ("outcome", outcome),
            ];
            family.sample(&labels, count);
        }
    }
    let mut family = text.family(
        "wsgate_upstream_tunnels_open",
        MetricType::Gauge,
        "Open tunnels of an upstream and handshakes in progress to it, as max_tunnels counts them.",
    );
    for (name, group) in &generation.upstreams {
        family.sample(&[("upstream", name)], group.tunnels());
    }
    let mut family = text.family(
        "wsgate_upstream_tunnels_limit",
        MetricType::Gauge,
        "The limit upstreams.*.max_tunnels, if it is set.",
    );
    for (name, group) in &generation.upstreams {
        if let Some(most) = group.settings().max_tunnels {
            family.sample(&[("upstream", name)], most);
        }
    }
}

fn write_process(text: &mut Text, state: &State, process: &Process) {
    text.family(
        "process_start_time_seconds",
        MetricType::Gauge,
        "Time at which the process started.",
    )
    .sample(&[], seconds(state.metrics().started()));
    if let Some(cpu) = process.cpu {
        text.family(
            "process_cpu_seconds_total",
            MetricType::Counter,
            "Processor time of the process.",
        )
        .sample(&[], cpu.as_secs_f64());
    }
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            process.resident,
        ),
        (
            "process_open_fds",
            "Open descriptors of the process.",
            process.open,
        ),
        (
            "process_max_fds",
            "Limit of open descriptors of the process.",
            process.most_open,
        ),
    ] {
        if let Some(value) = value {
            text.family(name, MetricType::Gauge, help)
                .sample(&[], value);
        }
    }
}
