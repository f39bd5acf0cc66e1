//! What one policy of a review came to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::engine::evaluate::Fault;
use crate::engine::health::{Conduct, HealthChange};
use crate::engine::output::Finding;
use crate::engine::{Ending, ErrorCode, Read, Usage, Way};

/// What one policy came to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub result: Result<Output, Fault>,
    pub usage: Usage,
    /// Whether the policy was run at all.
    pub ran: bool,
    /// What the run meant for the policy's being run.
    pub change: Option<HealthChange>,
    pub took: Duration,
    /// What the policy itself asked for.
    pub reads: Vec<Read>,
    /// Veiled values that it looked at.
    pub touched: Vec<String>,
}

/// What a policy that could be judged gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub findings: Vec<Finding>,
    pub annotations: BTreeMap<String, String>,
    /// The object after this policy, when it changed it.
    pub object: Option<Arc<Value>>,
    /// What it changed, from the object as it was before this policy.
    pub patch: Option<json_patch::Patch>,
    /// How it was run, if it was.
    pub way: Option<Way>,
}

impl Outcome {
    /// How the policy was run, if it was.
    pub(crate) fn way(&self) -> Option<Way> {
        self.result.as_ref().ok().and_then(|output| output.way)
    }

    /// How the policy went, as far as quarantine goes.
    pub(crate) fn conduct(&self) -> Conduct {
        match &self.result {
            Err(Fault { code: ErrorCode::Budget | ErrorCode::Panic | ErrorCode::Stuck, .. }) => Conduct::Bad,
            Err(Fault { code: ErrorCode::Deadline, .. }) => Conduct::Unclear,
            Err(_) | Ok(_) => Conduct::Good,
        }
    }

    /// How the run ended, for metrics.
    pub(crate) fn ending(&self) -> Ending {
        match &self.result {
            Err(fault) => Ending::Fail(fault.code),
            Ok(output) if output.object.is_some() => Ending::Patch,
            Ok(output) if !output.findings.is_empty() => Ending::Violate,
            Ok(_) => Ending::Pass,
        }
    }
}
