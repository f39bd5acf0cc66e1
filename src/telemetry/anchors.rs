//! The metrics of anchors and witnesses, one set for all; each configured place is a label.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::telemetry::registry::{counters, gauges};

/// What became of checkpoints outside the log.
#[derive(Debug, Clone)]
pub struct AnchorMetrics {
    time: IntGaugeVec,
    size: IntGaugeVec,
    failures: IntCounterVec,
}

impl AnchorMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            time: gauges(
                r,
                "decision_log_anchor_last_success_timestamp_seconds",
                "When a checkpoint was put there, or cosigned, last; 0: never.",
                &["anchor"],
            )?,
            size: gauges(r, "decision_log_anchor_records", "Records that checkpoint covers.", &["anchor"])?,
            failures: counters(
                r,
                "decision_log_anchor_failures_total",
                "Times a checkpoint could not be put there, or was not cosigned.",
                &["anchor"],
            )?,
        })
    }

    /// Shows an anchor or witness from zero on; there are as many as are configured.
    pub fn known(&self, anchor: &str) {
        drop(self.time.with_label_values(&[anchor]));
        drop(self.size.with_label_values(&[anchor]));
        drop(self.failures.with_label_values(&[anchor]));
    }

    /// A checkpoint of `size` records was put there, or cosigned, at this time.
    pub fn put(&self, anchor: &str, second: i64, size: u64) {
        self.time.with_label_values(&[anchor]).set(second);
        self.size.with_label_values(&[anchor]).set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// It was not.
    pub fn failed(&self, anchor: &str) {
        self.failures.with_label_values(&[anchor]).inc();
    }
}
