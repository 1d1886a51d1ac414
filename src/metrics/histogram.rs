//! Histograms of durations.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::text::Family;

/// Counts of durations by upper bound.
#[derive(Debug)]
pub(super) struct Histogram {
    /// In milliseconds, ascending.
    bounds: &'static [u64],
    /// One for each bound, and one for everything above the last.
    counts: Box<[AtomicU64]>,
    /// In milliseconds.
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

    /// Each bucket includes the smaller ones, as the format requires; the last one is the total count.
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

/// Milliseconds as seconds, always with a fraction: the bounds are labels, and Prometheus 3 normalises them in this
/// form.
fn seconds(ms: u64) -> String {
    let fraction = format!("{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{}.{fraction}", ms / 1000)
}
