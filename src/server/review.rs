//! The way of one review: pin the policies and the world, judge within the bounds, record, answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::admission::{self, Request};
use crate::decisions::{Caller, DecisionLog, DecisionMeta, Entry, Masker};
use crate::engine::{
    Cause, Context, Decision, Ending, Endpoint, FailureModes, HealthChange, HttpDoor, Inventory, Job,
    NamespaceMetadata, Pool, Snapshot, Verdict, answer,
};
use crate::inventory::{ClusterNamespaces, Overlay};
use crate::policy::{Digest, Sources};
use crate::server::Deadlines;
use crate::telemetry::{Lookup, Metrics, Stage};

/// Where namespaces are found.
#[derive(Clone)]
pub enum World {
    /// In the data files, which come with the policies.
    Fixed,
    /// In the cluster.
    Cluster(ClusterNamespaces),
}

/// The policies in force with all that depends on them: published whole, and pinned whole by a review.
#[derive(Debug)]
pub struct InForce {
    /// The policies.
    pub snapshot: Arc<Snapshot>,
    /// What must not be recorded as it is.
    pub masker: Masker,
    /// Namespaces of the data files.
    pub namespaces: Arc<BTreeMap<String, NamespaceMetadata>>,
    /// What the snapshot was compiled from.
    pub sources: Arc<Sources>,
}

/// How a request came.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// From whom.
    pub caller: Caller,
    /// When its head had arrived.
    pub started: Instant,
    /// By when it is answered.
    pub deadlines: Deadlines,
    /// Size of its body.
    pub bytes: usize,
}

/// Bodies past this size are decoded and masked where the other tasks do not wait: it takes milliseconds.
const LARGE_BODY: usize = 128 << 10;

/// Runs `work` on a body of so many bytes without holding up the thread's other tasks.
pub(super) fn on_body<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > LARGE_BODY { tokio::task::block_in_place(work) } else { work() }
}

/// Held by every review under way; when all are gone the receiver's channel closes.
pub type Underway = mpsc::Sender<std::convert::Infallible>;

/// All that a review needs.
pub struct Reviewer {
    /// The policies in force; a review keeps those it began under.
    pub in_force: watch::Receiver<Arc<InForce>>,
    /// Where namespaces are found.
    pub world: World,
    /// Threads that judge.
    pub pool: Arc<Pool>,
    /// Where decisions are recorded.
    pub log: DecisionLog,
    /// What failures come to.
    pub failure: FailureModes,
    /// Counters.
    pub metrics: Metrics,
    /// One permit for each review that is judged. It is given back when the evaluation has ended or was given up,
    /// not when somebody stops waiting for it.
    pub in_flight: Arc<Semaphore>,
    /// Tells the drain that reviews are under way.
    pub underway: Underway,
    /// Where `http.send` goes out.
    pub http: Option<Arc<dyn HttpDoor>>,
}

impl Reviewer {
    /// Judges and records one request, and encodes the answer: always one, by its deadline.
    pub async fn review(self: Arc<Self>, endpoint: Endpoint, request: Request, arrival: Arrival) -> Vec<u8> {
        let Arrival { caller, started, deadlines, bytes } = arrival;
        let _underway = self.underway.clone();
        let id = Uuid::now_v7();
        let timestamp = jiff::Timestamp::now();
        let now_ns = i64::try_from(timestamp.as_nanosecond()).unwrap_or(i64::MAX);
        let in_force = Arc::clone(&self.in_force.borrow());
        let request = Arc::new(request);
        let context = Context {
            endpoint,
            now_ns,
            seed: id.as_u64_pair().1,
            deadline: Some(deadlines.judge),
            failure: self.failure,
            http: self.http.clone(),
        };
        let judging = Instant::now();
        let decision = self.judge(&in_force, &request, context, deadlines).await;
        let judged = judging.elapsed();
        self.metrics.staged(Stage::Evaluate, judged);
        let metrics = [("receive_ns", judging - started), ("evaluate_ns", judged)];
        let metrics = metrics.into_iter().map(|(name, took)| (name, nanos(took))).collect();
        let meta = DecisionMeta { decision_id: id, timestamp, now_ns, caller, metrics };
        let decision = self.record(&meta, &request, decision, bytes, &in_force.masker, deadlines.answer).await;
        let mut response = answer(&decision, &request.uid);
        response.audit_annotations.insert(annotation_key(&id), id.to_string());
        if let Some(checkpoint) = self.log.checkpoint() {
            response.audit_annotations.insert(CHECKPOINT_KEY.to_owned(), checkpoint.to_string());
        }
        let took = started.elapsed();
        self.metrics.answered(&request, &decision, took);
        note(&id, &request, &decision, took);
        admission::encode(&response)
    }

    async fn judge(
        &self,
        in_force: &InForce,
        request: &Arc<Request>,
        context: Context,
        deadlines: Deadlines,
    ) -> Decision {
        let endpoint = context.endpoint;
        let snapshot = &in_force.snapshot;
        let shed = |cause| Decision::shed(endpoint, cause, &self.failure, snapshot);
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            return shed(Cause::Overload);
        };
        let inventory = self.inventory(in_force, endpoint, request, deadlines.judge).await;
        let (sender, receiver) = oneshot::channel();
        let job = Job {
            snapshot: Arc::clone(snapshot),
            inventory,
            request: Arc::clone(request),
            context,
            reply: self.reply(sender, permit),
        };
        if self.pool.submit(job).is_err() {
            return shed(Cause::Overload);
        }
        match tokio::time::timeout_at(deadlines.give_up.into(), receiver).await {
            Ok(Ok(decision)) => decision,
            // Late, or the thread is gone with the reply: either way nobody judged in time.
            Ok(Err(_)) | Err(_) => shed(Cause::Deadline),
        }
    }

    fn reply(
        &self,
        sender: oneshot::Sender<Decision>,
        permit: OwnedSemaphorePermit,
    ) -> Box<dyn FnOnce(Decision) + Send> {
        let metrics = self.metrics.clone();
        Box::new(move |decision| {
            metrics.evaluated(&decision);
            note_health(&decision);
            drop(permit);
            // Nobody waits any more: the answer has left without it.
            let _ = sender.send(decision);
        })
    }

    /// One view for the whole review. A namespace that the view does not have is read live.
    async fn inventory(
        &self,
        in_force: &InForce,
        endpoint: Endpoint,
        request: &Request,
        deadline: Instant,
    ) -> Inventory {
        let cluster = match &self.world {
            World::Fixed => {
                return Inventory { namespaces: Arc::clone(&in_force.namespaces) as _, age: None };
            }
            World::Cluster(cluster) => cluster,
        };
        let view = Inventory { namespaces: Arc::new(cluster.clone()), age: Some(cluster.age()) };
        if !in_force.snapshot.needs_namespace(endpoint, request) {
            return view;
        }
        let name = &request.namespace;
        if view.namespaces.metadata(name).is_some() {
            self.metrics.looked_up(Lookup::View);
            return view;
        }
        match cluster.read(name, deadline).await {
            Ok(Some(metadata)) => {
                self.metrics.looked_up(Lookup::Live);
                let overlay = Overlay { name: name.clone(), metadata, below: view.namespaces };
                Inventory { namespaces: Arc::new(overlay), age: view.age }
            }
            Ok(None) => {
                self.metrics.looked_up(Lookup::Missing);
                view
            }
            Err(error) => {
                self.metrics.looked_up(Lookup::Failed);
                tracing::warn!(namespace = %name, error = %error, "a namespace could not be read");
                view
            }
        }
    }

    /// Writes the record; when that fails the failure mode of the log speaks.
    async fn record(
        &self,
        meta: &DecisionMeta,
        request: &Request,
        decision: Decision,
        bytes: usize,
        masker: &Masker,
        deadline: Instant,
    ) -> Decision {
        let recording = Instant::now();
        let entry = on_body(bytes, || Entry::decision(meta, request, &decision, masker));
        let written = self.log.append(entry, deadline).await;
        self.metrics.staged(Stage::Record, recording.elapsed());
        match written {
            Ok(_) => decision,
            Err(error) => {
                tracing::error!(decision_id = %meta.decision_id, error = %error, "a decision could not be recorded");
                decision.log_failed(self.failure.log)
            }
        }
    }
}

/// The annotation with the log's latest checkpoint: the API server's audit log holds what the log cannot take back.
const CHECKPOINT_KEY: &str = "checkpoint";

/// Keys are write-once in the API server's audit event, and a retried request calls again: each call has its own.
fn annotation_key(id: &Uuid) -> String {
    let digest = Digest::of(id.to_string().as_bytes()).hex();
    format!("decision-id.{}", digest.get(..8).unwrap_or_default())
}

/// Policies that went into quarantine or came out of it.
fn note_health(decision: &Decision) {
    for run in &decision.runs {
        let policy = &*run.policy;
        match (run.change, run.ending) {
            (Some(HealthChange::Quarantined), Ending::Fail(code)) => {
                tracing::error!(policy, last = code.as_str(), "the policy is quarantined: its failure mode answers");
            }
            (Some(HealthChange::Quarantined), _) => tracing::error!(policy, "the policy is quarantined"),
            (Some(HealthChange::Released), _) => tracing::warn!(policy, "the policy is out of quarantine"),
            (None, _) => {}
        }
    }
}

/// Says what was decided, without a word of what was in the object or in the policies' messages.
fn note(id: &Uuid, request: &Request, decision: &Decision, took: Duration) {
    let policies: std::collections::BTreeSet<&str> = decision.violations.iter().map(|v| v.policy.as_ref()).collect();
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                $level,
                decision_id = %id,
                uid = %request.uid,
                endpoint = decision.endpoint.as_str(),
                operation = request.operation.as_str(),
                resource = %request.resource_path(),
                namespace = %request.namespace,
                cause = decision.cause.as_str(),
                policies = ?policies,
                failures = decision.failures.len(),
                took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                "{}",
                if decision.allowed() { "allowed" } else { "denied" },
            )
        };
    }
    for conflict in &decision.conflicts {
        let (first, second) = (&conflict.first, &conflict.second);
        tracing::warn!(decision_id = %id, path = %conflict.path, %first, %second, "mutations conflict; the second counts");
    }
    match (decision.verdict, decision.cause) {
        (Verdict::Allow, Cause::None) => event!(tracing::Level::DEBUG),
        (_, Cause::None | Cause::Policy) => event!(tracing::Level::INFO),
        (_, Cause::PolicyError | Cause::Deadline | Cause::Overload | Cause::Log) => event!(tracing::Level::WARN),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_key_is_one_the_api_server_takes() {
        let id = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);
        let key = annotation_key(&id);
        assert_eq!(key, format!("decision-id.{}", &Digest::of(id.to_string().as_bytes()).hex()[..8]));
        assert!(key.len() <= 63 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    }
}
