//! How often something took how long.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::text::Family;

/// Counts of values in milliseconds, by the bounds that they lie under.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Milliseconds, from the least on.
    bounds: &'static [u64],
    /// One for each bound, and one for what lies above all of them.
    counts: Box<[AtomicU64]>,
    /// Milliseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub fn observe(&self, ms: u64) {
        let place = self.bounds.partition_point(|bound| *bound < ms);
        if let Some(counter) = self.counts.get(place) {
            counter.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(ms, Relaxed);
    }

    /// Each bucket has what the smaller ones have, as the format wants it, and the last one is the count.
    pub fn write(&self, family: &mut Family<'_>, label: Option<(&str, &str)>) {
        let mut below = 0;
        let bounds = self.bounds.iter().map(|bound| seconds(*bound));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, counter) in bounds.zip(&self.counts) {
            below += counter.load(Relaxed);
            let labels: Vec<_> = label.into_iter().chain([("le", bound.as_str())]).collect();
            family.part("_bucket", &labels, below);
        }
        let labels: Vec<_> = label.into_iter().collect();
        family.part("_sum", &labels, seconds(self.sum.load(Relaxed)));
        family.part("_count", &labels, below);
    }
}

/// Milliseconds as seconds, with a fraction always: the bounds are labels, and Prometheus 3 spells them so.
fn seconds(ms: u64) -> String {
    let fraction = format!("{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{}.{fraction}", ms / 1000)
}
