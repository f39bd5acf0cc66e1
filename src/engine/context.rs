//! What a decision depends on beside policies and request. Time, randomness and the world are arguments,
//! so a decision can be made again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::{Endpoint, HttpDoor};

/// What to answer when something of ours fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureMode {
    /// Refuse (fail closed).
    #[default]
    Deny,
    /// Let pass (fail open).
    Allow,
}

/// The four failure modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FailureModes {
    /// A `deny` policy could not be judged.
    pub policy_error: FailureMode,
    /// The request's time ran out.
    pub deadline: FailureMode,
    /// Too many requests at once.
    pub overload: FailureMode,
    /// The decision log could not be written.
    pub log: FailureMode,
}

impl FailureModes {
    /// All four the same.
    #[must_use]
    pub fn all(mode: FailureMode) -> Self {
        Self { policy_error: mode, deadline: mode, overload: mode, log: mode }
    }
}

/// The circumstances of one decision.
#[derive(Debug, Clone)]
pub struct Context {
    /// Which rules are read.
    pub endpoint: Endpoint,
    /// Nanoseconds since the Unix epoch: what `time.now_ns()` gives.
    pub now_ns: i64,
    /// Seed of `rand.intn` and `uuid.rfc4122`, from the decision id.
    pub seed: u64,
    /// When the answer is due. `None`: policies have only their own budgets.
    pub deadline: Option<Instant>,
    /// What failures come to.
    pub failure: FailureModes,
    /// Where `http.send` goes out. `None`: nowhere.
    pub http: Option<Arc<dyn HttpDoor>>,
}

/// Metadata of a Namespace as policies see it: `{name, labels, annotations, uid, resourceVersion, ...}`.
pub type NamespaceMetadata = Arc<Value>;

/// Where namespaces are looked up. Implemented by maps here, by the cluster's reflector in `inventory`.
pub trait Namespaces: Send + Sync {
    /// The `metadata` of namespace `name`, or `None` when it is not known.
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata>;
}

impl Namespaces for BTreeMap<String, NamespaceMetadata> {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        self.get(name).cloned()
    }
}

/// One view of the cluster, the same for the whole of a review.
#[derive(Clone)]
pub struct Inventory {
    /// Namespace metadata.
    pub namespaces: Arc<dyn Namespaces>,
    /// How old the view is; `None` for files.
    pub age: Option<Duration>,
}

impl Inventory {
    /// A view of fixed namespaces.
    #[must_use]
    pub fn fixed(namespaces: BTreeMap<String, NamespaceMetadata>) -> Self {
        Self { namespaces: Arc::new(namespaces), age: None }
    }
}

impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory").field("age", &self.age).finish_non_exhaustive()
    }
}
