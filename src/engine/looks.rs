//! What the core itself looks at after a policy has run on values that are not known: what its result says, and what
//! exceptions go by. Knows results and exceptions; how a look is noted is [`veil`]'s business.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::output::Finding;
use crate::engine::review::{Review, Step};
use crate::engine::snapshot::{Dialect, Policy};
use crate::engine::veil;
use crate::policy::container_of;

impl Review {
    /// Notes what the result of a policy is read by, and says.
    pub(super) fn look_at(&self, policy: &Policy, result: &Value) {
        if !self.request.veiled {
            return;
        }
        match policy.dialect {
            Dialect::Main => veil::results::look_through(result),
            Dialect::Opa | Dialect::Gatekeeper(_) => veil::results::findings(result),
        }
    }

    /// Notes the containers by which an exception takes findings.
    pub(super) fn look_at_containers(&self, step: &Step, findings: &[Finding]) {
        if !self.request.veiled {
            return;
        }
        let keys: BTreeSet<&str> = self.exceptions(step).flat_map(|e| e.looks_at(&step.policy.name)).collect();
        for field in findings.iter().filter_map(|f| f.field.as_deref()).filter(|_| !keys.is_empty()) {
            let container = container_of(field, self.request.subject(), &mut veil::results::look);
            let said = container.map(|c| keys.iter().filter_map(|key| c.get(key)));
            said.into_iter().flatten().for_each(veil::results::look);
        }
    }
}
