//! Counts records for the metrics: each once, whether its line is written, suppressed or lost.

use super::{Event, Record, Wanted};
use crate::metrics::{Failed, Metrics, Reload, Step};
use crate::reason::By;

/// Counts a record.
pub(super) fn count(metrics: &Metrics, record: &Record) {
    let route = record.route.as_deref().unwrap_or_default();
    let generation = record.generation.unwrap_or_default();
    // A record with a reason always has this field: it comes from the reason or from the stage.
    let by = record.by.unwrap_or(By::Proxy);
    match (record.event, record.reason) {
        (Event::Opened, _) => metrics.opened(route, generation),
        (Event::Closed, Some(reason)) => {
            let end = (reason, by, record.client_sees);
            let lasted = record.lasted_ms.unwrap_or_default();
            // Its steps were counted when it opened.
            return metrics.closed(route, generation, end, lasted);
        }
        (Event::Request, None) => metrics.served(route, record.status),
        (Event::Request, Some(reason)) => {
            metrics.failed(Failed::Request(record.status), route, reason, by);
        }
        (Event::Refused, Some(reason)) => {
            let what = match record.wanted {
                Wanted::Unknown => Failed::Connection,
                Wanted::Tunnel => Failed::Handshake,
                Wanted::Answer => Failed::Request(record.status),
            };
            metrics.failed(what, route, reason, by);
        }
        (Event::Reloaded, _) => return metrics.reloaded(Reload::Applied),
        (Event::ReloadRefused, _) => return metrics.reloaded(Reload::Refused),
        (Event::ReloadUnchanged, _) => return metrics.reloaded(Reload::Unchanged),
        // Terminal records without a reason do not exist. Events of the process are counted where they happen.
        (
            Event::Refused
            | Event::Closed
            | Event::Listening
            | Event::CertificateReloaded
            | Event::CertificateRefused
            | Event::CertificateExpiring
            | Event::UpstreamHealth
            | Event::UntrustedProxy
            | Event::Draining
            | Event::Drained
            | Event::Stopped
            | Event::RecordsSuppressed
            | Event::RecordsDropped,
            _,
        ) => return,
    }
    for (step, ms) in [
        (Step::Tls, record.tls_ms),
        (Step::Head, record.head_ms),
        (Step::Policy, record.policy_ms),
        (Step::Connect, record.connect_ms),
        (Step::Handshake, record.handshake_ms),
        (Step::Response, record.response_ms),
    ] {
        if let Some(ms) = ms {
            metrics.took(step, ms);
        }
    }
}
