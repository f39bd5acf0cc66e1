//! Joins the sinks of the decision log with the metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;

use crate::config::Options;
use crate::decisions::DecisionLog;
use crate::decisions::sinks::{Observer, Reason, Sinks, SinksOptions, Target};
use crate::source::is_loopback;
use crate::telemetry::{Metrics, SinkMetrics};

/// Shows in the metrics how sinks are.
struct Shown(SinkMetrics);

impl Observer for Shown {
    fn delivered(&self, sink: &str, records: u64) {
        self.0.delivered.with_label_values(&[sink]).inc_by(records);
        self.0.last_success.with_label_values(&[sink]).set(now());
    }

    fn failed(&self, sink: &str, reason: Reason) {
        self.0.failures.with_label_values(&[sink, reason.as_str()]).inc();
    }

    fn refused(&self, sink: &str, records: u64) {
        self.0.refused.with_label_values(&[sink]).inc_by(records);
    }

    fn lost(&self, sink: &str, records: u64) {
        self.0.lost.with_label_values(&[sink]).inc_by(records);
    }

    fn lag(&self, sink: &str, records: u64, age: Duration) {
        self.0.lag_records.with_label_values(&[sink]).set(i64::try_from(records).unwrap_or(i64::MAX));
        self.0.lag_seconds.with_label_values(&[sink]).set(age.as_secs_f64());
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Starts the sinks of the configuration; they follow the log from here on.
pub(super) fn start(options: &Options, log: &DecisionLog, metrics: &Metrics) -> anyhow::Result<Option<Sinks>> {
    if options.sinks.is_empty() {
        return Ok(None);
    }
    let shown = SinkMetrics::register(metrics.registry())?;
    // They are seen from the start, also those that never had anything to do.
    for spec in &options.sinks {
        let name = spec.name.as_str();
        for counter in [&shown.delivered, &shown.lost, &shown.refused] {
            counter.with_label_values(&[name]).inc_by(0);
        }
        for reason in Reason::ALL {
            shown.failures.with_label_values(&[name, reason.as_str()]).inc_by(0);
        }
        shown.last_success.with_label_values(&[name]).set(now());
        if let (Some(file), Target::Http(url) | Target::Opa { url, .. } | Target::Otlp(url)) =
            (&spec.token_file, &spec.target)
            && url.scheme() == "http"
            && !url.host_str().is_some_and(is_loopback)
        {
            tracing::warn!(sink = name, file = %file.display(), "the token is sent without TLS; write https:// if you can");
        }
        tracing::info!(sink = spec.name, to = spec.shown(), format = spec.format.as_str(), "records are sent on");
    }
    let options = SinksOptions {
        specs: options.sinks.clone(),
        log_dir: options.decision_log.clone(),
        state_dir: options.state_dir.join("sinks"),
        observer: Arc::new(Shown(shown)),
    };
    Sinks::start(&options, log).map(Some).map_err(|e| anyhow!("--sink: {e}"))
}
