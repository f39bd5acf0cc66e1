//! Metrics of the decision log's sinks. Labels are names of sinks, which the configuration bounds, and reasons of a closed
//! list.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Counters and gauges by sink.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    /// Records that were taken.
    pub delivered: IntCounterVec,
    /// Tries that failed, by reason.
    pub failures: IntCounterVec,
    /// Records that the service would not take.
    pub refused: IntCounterVec,
    /// Records that the log deleted before they were sent.
    pub lost: IntCounterVec,
    /// Records that wait.
    pub lag_records: IntGaugeVec,
    /// How old the oldest of them is, seconds.
    pub lag_seconds: GaugeVec,
    /// When records were taken last, at first when the sink was started; seconds since the Unix epoch.
    pub last_success: GaugeVec,
}

impl SinkMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// They are there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = |name: &str, help: &str| Opts::new(format!("portcullis_sink_{name}"), help);
        let found = Self {
            delivered: IntCounterVec::new(name("delivered_total", "Records that the sink took"), &["sink"])?,
            failures: IntCounterVec::new(name("failures_total", "Tries that failed"), &["sink", "reason"])?,
            refused: IntCounterVec::new(name("refused_total", "Records that the service would not take"), &["sink"])?,
            lost: IntCounterVec::new(name("lost_total", "Records deleted before they were delivered"), &["sink"])?,
            lag_records: IntGaugeVec::new(name("lag_records", "Records that wait for the sink"), &["sink"])?,
            lag_seconds: GaugeVec::new(name("lag_seconds", "Age of the oldest record that waits"), &["sink"])?,
            last_success: GaugeVec::new(
                name("last_success_timestamp_seconds", "When records were taken last"),
                &["sink"],
            )?,
        };
        registry.register(Box::new(found.delivered.clone()))?;
        registry.register(Box::new(found.failures.clone()))?;
        registry.register(Box::new(found.refused.clone()))?;
        registry.register(Box::new(found.lost.clone()))?;
        registry.register(Box::new(found.lag_records.clone()))?;
        registry.register(Box::new(found.lag_seconds.clone()))?;
        registry.register(Box::new(found.last_success.clone()))?;
        Ok(found)
    }
}
