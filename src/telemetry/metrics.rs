//! The metrics. Labels come from closed enums, from policy names, or are digests of which one is set at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use crate::admission::Request;
use crate::engine::{BudgetPart, Cause, Decision, Ending, Endpoint, Snapshot, Verdict, Way};
use crate::policy::{Enforcement, Instant};
use crate::telemetry::registry::{counter, counters, float, gauge, gauges, histograms};
use crate::telemetry::{AnchorMetrics, HandshakeFailure, KindClass, Lookup, Poll, Reload, Stage};

/// All metrics, in a registry of their own.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    raising: Arc<Mutex<()>>,
    requests: IntCounterVec,
    duration: HistogramVec,
    stages: HistogramVec,
    shed: IntCounterVec,
    bad_requests: IntCounterVec,
    evaluations: IntCounterVec,
    evaluation_errors: IntCounterVec,
    evaluation_duration: HistogramVec,
    violations: IntCounterVec,
    budget_exceeded: IntCounterVec,
    value_bytes: IntGaugeVec,
    output_bytes: IntGaugeVec,
    quarantined: IntGaugeVec,
    mutation_conflicts: IntCounterVec,
    exceptions: IntGaugeVec,
    exception_hits: IntCounterVec,
    policy_set: IntGaugeVec,
    policies: IntGaugeVec,
    policies_by_way: IntGaugeVec,
    evaluations_by_way: IntCounterVec,
    lookups: IntCounterVec,
    handshake_failures: IntCounterVec,
    reloads: IntCounterVec,
    polls: IntCounterVec,
    /// What became of checkpoints outside the log.
    pub anchors: AnchorMetrics,
    /// When the policies in force were loaded, seconds since the epoch.
    pub reload_last_success: Gauge,
    /// 1 while what is at the policies' places is not what is in force, because it cannot be loaded.
    pub reload_failing: IntGauge,
    /// Reviews under way.
    pub in_flight: IntGauge,
    /// The bound of `in_flight`.
    pub in_flight_limit: IntGauge,
    /// Reviews that wait for a thread.
    pub evaluation_queue: IntGauge,
    /// Threads given up because a policy did not come back.
    pub abandoned_threads: IntGauge,
    /// Open connections.
    pub connections: IntGauge,
    /// Connections refused at the bound.
    pub connections_refused: IntCounter,
    /// When the serving certificate ends, seconds since the epoch.
    pub certificate_expiry: IntGauge,
    /// Decisions recorded.
    pub log_appended: IntCounter,
    /// Decisions that could not be recorded.
    pub log_failed: IntCounter,
    /// Times the disk did not confirm what it was given.
    pub log_sync_failures: IntCounter,
    /// Records that went to keep the log within its bound.
    pub log_pruned: IntCounter,
    /// Records that wait to be written.
    pub log_queued: IntGauge,
    /// Age of the oldest record that is not written yet, seconds.
    pub log_lag: Gauge,
    /// Size of the log, bytes.
    pub log_bytes: IntGauge,
    /// Records missing since the log was last writable.
    pub log_gap: IntGauge,
    /// Records that no checkpoint covers yet.
    pub log_unsigned: IntGauge,
    /// 1 when the log can be written.
    pub log_writable: IntGauge,
    /// Seconds since the cluster's namespaces were last heard of.
    pub namespaces_age: Gauge,
    /// 1 when the namespaces are complete.
    pub namespaces_synced: IntGauge,
    /// 1 when requests are taken.
    pub ready: IntGauge,
}

impl Metrics {
    /// A fresh set, all zero.
    ///
    /// # Errors
    /// Only if two metrics had one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = Registry::new();
        let build = gauges(&r, "build_info", "Version of this process.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            requests: counters(
                &r,
                "requests_total",
                "Reviews answered.",
                &["endpoint", "operation", "kind", "verdict", "cause"],
            )?,
            duration: histograms(
                &r,
                "request_duration_seconds",
                "From the request's head to its answer.",
                &["endpoint"],
            )?,
            stages: histograms(&r, "stage_duration_seconds", "Time by stage of a review.", &["stage"])?,
            shed: counters(&r, "shed_total", "Reviews not judged, by reason.", &["endpoint", "reason"])?,
            bad_requests: counters(&r, "bad_requests_total", "Requests that are no reviews, by error.", &["code"])?,
            evaluations: counters(&r, "policy_evaluations_total", "Policies run.", &["policy", "endpoint", "result"])?,
            evaluation_errors: counters(
                &r,
                "policy_errors_total",
                "Policies that could not be judged.",
                &["policy", "code"],
            )?,
            evaluation_duration: histograms(&r, "policy_duration_seconds", "Time by policy.", &["policy"])?,
            violations: counters(&r, "violations_total", "Violations found.", &["policy", "enforcement"])?,
            budget_exceeded: counters(
                &r,
                "policy_budget_exceeded_total",
                "Runs that passed a part of the policy's budget.",
                &["policy", "budget"],
            )?,
            value_bytes: gauges(&r, "policy_value_bytes_max", "Most bytes of values built by one run.", &["policy"])?,
            output_bytes: gauges(
                &r,
                "policy_output_bytes_max",
                "Most bytes that the rules gave in one run.",
                &["policy"],
            )?,
            quarantined: gauges(&r, "policy_quarantined", "1 while the policy is not run.", &["policy"])?,
            mutation_conflicts: counters(
                &r,
                "mutation_conflicts_total",
                "Values that one policy wrote over another's.",
                &["policy", "over"],
            )?,
            exceptions: gauges(&r, "exceptions", "Exceptions loaded.", &["state"])?,
            exception_hits: counters(
                &r,
                "exception_hits_total",
                "Decisions in which an exception let something pass.",
                &["exception"],
            )?,
            policy_set: gauges(&r, "policy_set_info", "Digests of what is loaded.", &["policy_set", "data"])?,
            policies: gauges(&r, "policies", "Policies loaded.", &["enforcement"])?,
            policies_by_way: gauges(&r, "policies_by_way", "Policies loaded, by how they are run.", &["way"])?,
            evaluations_by_way: counters(&r, "evaluations_by_way_total", "Policies run, by the way.", &["way"])?,
            lookups: counters(&r, "namespace_lookups_total", "Namespaces looked up.", &["result"])?,
            handshake_failures: counters(
                &r,
                "tls_handshake_failures_total",
                "TLS handshakes that failed.",
                &["reason"],
            )?,
            reloads: counters(&r, "reload_total", "Times the policies were loaded again.", &["result"])?,
            polls: counters(&r, "bundle_polls_total", "Times a server of bundles was asked.", &["result"])?,
            anchors: AnchorMetrics::new(&r)?,
            reload_last_success: float(
                &r,
                "reload_last_success_timestamp_seconds",
                "When the policies in force were loaded.",
            )?,
            reload_failing: gauge(&r, "reload_failing", "1 while changed policies cannot be loaded.")?,
            in_flight: gauge(&r, "in_flight", "Reviews under way.")?,
            in_flight_limit: gauge(&r, "in_flight_limit", "Reviews that may be under way.")?,
            evaluation_queue: gauge(&r, "evaluation_queue", "Reviews that wait for a thread.")?,
            abandoned_threads: gauge(&r, "abandoned_threads", "Threads given up that have not ended.")?,
            connections: gauge(&r, "connections", "Open connections.")?,
            connections_refused: counter(&r, "connections_refused_total", "Connections refused at the bound.")?,
            certificate_expiry: gauge(&r, "certificate_expiry_timestamp_seconds", "End of the serving certificate.")?,
            log_appended: counter(&r, "decision_log_appended_total", "Decisions recorded.")?,
            log_failed: counter(&r, "decision_log_failures_total", "Decisions that could not be recorded.")?,
            log_sync_failures: counter(&r, "decision_log_sync_failures_total", "Times the disk did not confirm.")?,
            log_pruned: counter(&r, "decision_log_pruned_total", "Records that went to keep the log in bounds.")?,
            log_queued: gauge(&r, "decision_log_queued", "Records that wait to be written.")?,
            log_lag: float(&r, "decision_log_lag_seconds", "Age of the oldest record not yet written.")?,
            log_bytes: gauge(&r, "decision_log_bytes", "Size of the decision log.")?,
            log_gap: gauge(&r, "decision_log_gap", "Records missing since the log was last writable.")?,
            log_unsigned: gauge(&r, "decision_log_unsigned", "Records that no checkpoint covers yet.")?,
            log_writable: gauge(&r, "decision_log_writable", "1 when the log can be written.")?,
            namespaces_age: float(&r, "namespaces_age_seconds", "Since the namespaces were last heard of.")?,
            namespaces_synced: gauge(&r, "namespaces_synced", "1 when the namespaces are complete.")?,
            ready: gauge(&r, "ready", "1 when requests are taken.")?,
            raising: Arc::default(),
            registry: r,
        })
    }

    /// Counts a review that was answered.
    pub fn answered(&self, request: &Request, decision: &Decision, took: Duration) {
        let endpoint = decision.endpoint.as_str();
        let kind = KindClass::of(&request.resource).as_str();
        let verdict = verdict(decision.verdict);
        let labels = [endpoint, request.operation.as_str(), kind, verdict, decision.cause.as_str()];
        self.requests.with_label_values(&labels).inc();
        self.duration.with_label_values(&[endpoint]).observe(took.as_secs_f64());
        if matches!(decision.cause, Cause::Overload | Cause::Deadline) {
            self.shed.with_label_values(&[endpoint, decision.cause.as_str()]).inc();
        }
    }

    /// Counts what the policies came to; once for each evaluation, answered or late.
    pub fn evaluated(&self, decision: &Decision) {
        let endpoint = decision.endpoint.as_str();
        for run in &decision.runs {
            self.evaluations.with_label_values(&[&run.policy, endpoint, run.ending.as_str()]).inc();
            self.policy_time(&run.policy).observe(run.took.as_secs_f64());
            if let Some(way) = run.way {
                self.evaluations_by_way.with_label_values(&[way.as_str()]).inc();
            }
            if let Ending::Fail(code) = run.ending {
                self.evaluation_errors.with_label_values(&[&run.policy, code.as_str()]).inc();
            }
            if let Some(part) = run.usage.exceeded {
                self.budget_exceeded.with_label_values(&[&run.policy, part.as_str()]).inc();
            }
            raise_to(&self.value_bytes, &run.policy, run.usage.value_bytes);
            raise_to(&self.output_bytes, &run.policy, run.usage.output_bytes);
        }
        let used: std::collections::BTreeSet<&str> =
            decision.exceptions.iter().map(|e| e.exception.name.as_str()).collect();
        for exception in used {
            self.exception_hits.with_label_values(&[exception]).inc();
        }
        for conflict in &decision.conflicts {
            self.mutation_conflicts.with_label_values(&[&conflict.second, &conflict.first]).inc();
        }
        for violation in &decision.violations {
            self.violations.with_label_values(&[&violation.policy, violation.enforcement.as_str()]).inc();
        }
    }

    fn policy_time(&self, policy: &str) -> Histogram {
        self.evaluation_duration.with_label_values(&[policy])
    }

    /// Says which of the loaded policies are not run for now.
    pub fn quarantined(&self, snapshot: &Snapshot) {
        let names: Vec<&str> = snapshot.quarantined().collect();
        for policy in snapshot.policies() {
            let now = names.binary_search(&&*policy.name).is_ok();
            self.quarantined.with_label_values(&[&policy.name]).set(i64::from(now));
        }
    }

    /// Measures a stage.
    pub fn staged(&self, stage: Stage, took: Duration) {
        let label = match stage {
            Stage::Decode => "decode",
            Stage::Evaluate => "evaluate",
            Stage::Record => "record",
        };
        self.stages.with_label_values(&[label]).observe(took.as_secs_f64());
    }

    /// Counts a request that is no review; `code` comes from a closed list.
    pub fn refused(&self, code: &'static str) {
        self.bad_requests.with_label_values(&[code]).inc();
    }

    /// Counts a handshake that came to nothing.
    pub fn handshake_failed(&self, why: HandshakeFailure) {
        let label = match why {
            HandshakeFailure::Timeout => "timeout",
            HandshakeFailure::ClientCertificate => "client_certificate",
            HandshakeFailure::RefusedByPeer => "refused_by_peer",
            HandshakeFailure::Other => "other",
        };
        self.handshake_failures.with_label_values(&[label]).inc();
    }

    /// Counts how a namespace was found.
    pub fn looked_up(&self, lookup: Lookup) {
        let label = match lookup {
            Lookup::View => "view",
            Lookup::Live => "live",
            Lookup::Missing => "missing",
            Lookup::Failed => "failed",
        };
        self.lookups.with_label_values(&[label]).inc();
    }

    /// Says what is loaded. Every policy shows up at once, with zeros.
    pub fn loaded(&self, snapshot: &Snapshot) {
        self.policy_set.reset();
        let digests = [snapshot.policy_set().hex(), snapshot.data_digest().hex()];
        self.policy_set.with_label_values(&[&digests[0], &digests[1]]).set(1);
        for enforcement in [Enforcement::Deny, Enforcement::Warn, Enforcement::Dryrun] {
            let count = snapshot.policies().filter(|p| p.enforcement == enforcement).count();
            self.policies.with_label_values(&[enforcement.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for way in [Way::Plan, Way::Interpreter] {
            let count = snapshot.policies().filter(|p| p.way() == way).count();
            self.policies_by_way.with_label_values(&[way.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
            drop(self.evaluations_by_way.with_label_values(&[way.as_str()]));
        }
        for policy in snapshot.policies() {
            drop(self.policy_time(&policy.name));
            for part in BudgetPart::ALL {
                drop(self.budget_exceeded.with_label_values(&[&policy.name, part.as_str()]));
            }
        }
        // A policy that is gone is in no quarantine.
        self.quarantined.reset();
        self.quarantined(snapshot);
        for result in ["success", "failure"] {
            drop(self.reloads.with_label_values(&[result]));
        }
        let exceptions = snapshot.exceptions();
        for name in self.counted_exceptions() {
            if !exceptions.iter().any(|e| e.exception.name == name) {
                drop(self.exception_hits.remove_label_values(&[&name]));
            }
        }
        for e in exceptions {
            // From zero on, so that one that nobody uses is seen too.
            drop(self.exception_hits.with_label_values(&[&e.exception.name]));
        }
        for endpoint in [Endpoint::Validate, Endpoint::Mutate] {
            for reason in [Cause::Overload, Cause::Deadline] {
                drop(self.shed.with_label_values(&[endpoint.as_str(), reason.as_str()]));
            }
        }
    }

    /// Counts an attempt to load the policies again.
    pub fn reloaded(&self, reload: Reload) {
        let label = match reload {
            Reload::Success => "success",
            Reload::Failure => "failure",
        };
        self.reloads.with_label_values(&[label]).inc();
    }

    /// Counts servers of bundles that were asked.
    pub fn polled(&self, poll: Poll, servers: usize) {
        let label = match poll {
            Poll::Change => "change",
            Poll::Same => "same",
            Poll::Failure => "failure",
        };
        self.polls.with_label_values(&[label]).inc_by(u64::try_from(servers).unwrap_or(u64::MAX));
    }

    /// Says how many exceptions count at `now`, and how many have ended.
    pub fn exceptions_at(&self, snapshot: &Snapshot, now: Instant) {
        let exceptions = snapshot.exceptions();
        let active = exceptions.iter().filter(|e| e.is_live(now)).count();
        for (state, count) in [("active", active), ("expired", exceptions.len() - active)] {
            self.exceptions.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The exceptions that are counted.
    fn counted_exceptions(&self) -> Vec<String> {
        let families = self.exception_hits.collect();
        let label = |m: &prometheus::proto::Metric| m.get_label().first().map(|l| l.value().to_owned());
        families.iter().flat_map(prometheus::proto::MetricFamily::get_metric).filter_map(label).collect()
    }

    /// Raises a counter whose count is kept elsewhere to `total`.
    pub fn raise(&self, counter: &IntCounter, total: u64) {
        // Two scrapes at once may both add what is new; this lets one of them.
        let _one_at_a_time = self.raising.lock().unwrap_or_else(PoisonError::into_inner);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// The text format (version 0.0.4) of all metrics.
    ///
    /// # Errors
    /// Where further metrics are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Only if a metric is inconsistent.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Two runs at once may both be the largest yet: the next one sets it right.
fn raise_to(gauge: &IntGaugeVec, policy: &str, bytes: usize) {
    let gauge = gauge.with_label_values(&[policy]);
    gauge.set(gauge.get().max(i64::try_from(bytes).unwrap_or(i64::MAX)));
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}
