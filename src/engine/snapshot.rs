//! A compiled policy set: immutable, shared by every review that began under it.

use std::collections::BTreeMap;
use std::sync::Arc;

use regorus::Value;

use crate::admission::Request;
use crate::engine::check::Definitions;
use crate::engine::constraints::Places;
use crate::engine::evaluate::Unit;
use crate::engine::exceptions::Exceptions;
use crate::engine::health::Health;
use crate::engine::select::select;
use crate::engine::{Endpoint, ExceptionSummary, NamespaceMetadata, Obstacle, Way};
use crate::policy::gatekeeper::{self, ExpansionTemplate, Generated};
use crate::policy::kinds::{TEMPLATE_KINDS, TemplateKind};
use crate::policy::{Budget, Digest, Enforcement, Match, MatchIndex, OnUpdate, Severity, Taken};

/// What is loaded, for people and `policy_set`. Made by [`compile`](crate::engine::compile).
pub struct Snapshot {
    /// Sorted by policy name.
    pub(crate) bound: Vec<Bound>,
    pub(crate) selection: Selection,
    pub(crate) policy_set: Digest,
    pub(crate) data_digest: Digest,
    pub(crate) namespaces: BTreeMap<String, NamespaceMetadata>,
    pub(crate) mask_pointers: Vec<String>,
    pub(crate) summaries: Vec<PolicySummary>,
    pub(crate) expansions: Vec<ExpansionTemplate>,
    pub(crate) exceptions: Exceptions,
}

/// A binding, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingSummary {
    /// `metadata.name`.
    pub name: String,
    /// The policy that it binds.
    pub policy: String,
    /// What violations do where it counts, after the ceiling.
    pub enforcement: Enforcement,
}

/// One policy, for lists and messages.
#[derive(Debug, Clone)]
pub struct PolicySummary {
    /// Policy name: the package, without a leading `portcullis.`.
    pub name: Arc<str>,
    /// From METADATA.
    pub title: Option<String>,
    /// From METADATA.
    pub description: Option<String>,
    /// What its violations do, after bindings and the ceiling (the strictest of its bindings).
    pub enforcement: Enforcement,
    /// From METADATA.
    pub severity: Option<Severity>,
    /// From METADATA.
    pub controls: Arc<[String]>,
    /// Digest of its content.
    pub digest: Digest,
    /// The first of its files.
    pub file: String,
    /// Where it takes part.
    pub endpoints: Vec<Endpoint>,
    /// What it takes.
    pub matching: Match,
    /// How updates are measured.
    pub on_update: OnUpdate,
    /// What keeps it on the interpreter; without one it is run by a plan.
    pub obstacle: Option<Obstacle>,
}

impl PolicySummary {
    /// How it is run.
    #[must_use]
    pub fn way(&self) -> Way {
        if self.obstacle.is_some() { Way::Interpreter } else { Way::Plan }
    }
}

/// A policy, compiled once, bound at least once.
pub(crate) struct Policy {
    pub name: Arc<str>,
    pub title: Option<String>,
    pub digest: Digest,
    pub severity: Option<Severity>,
    pub controls: Arc<[String]>,
    pub matching: Match,
    pub dialect: Dialect,
    pub unit: Arc<Unit>,
    /// Rules that are read, with their definitions.
    pub rules: BTreeMap<String, Definitions>,
    pub endpoints: Vec<Endpoint>,
    pub reads_namespace: bool,
    pub reads_user_namespace: bool,
    pub budget: Budget,
    /// Shared with the same policy of the policy set that was in force before.
    pub health: Arc<Health>,
}

/// How a policy sees a request, and how its results are read.
#[derive(Debug, Clone)]
pub(crate) enum Dialect {
    /// `input` is the AdmissionReview.
    Opa,
    /// The same, and the result is a whole AdmissionReview: `data.system.main`.
    Main,
    /// `input.review` is the request: a constraint of Gatekeeper. The places are those of its template's Rego.
    Gatekeeper(Arc<Places>),
}

/// The ways in which one policy is used, the first that takes a request counts.
pub(crate) struct Bound {
    pub policy: Arc<Policy>,
    pub uses: Vec<Use>,
}

/// Parameters, enforcement and scope of one use of a policy.
pub(crate) struct Use {
    /// The binding that it comes from; `None`: the policy as it stands.
    pub binding: Option<String>,
    /// Narrows the policy's own match.
    pub narrowed: Option<Match>,
    pub parameters: Value,
    pub enforcement: Enforcement,
    pub on_update: OnUpdate,
}

/// Finds the policies that may take a request. Made of the very list that it holds places of.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    by_endpoint: BTreeMap<Endpoint, MatchIndex>,
    /// Whether any constraint looks at namespaces.
    constraints_look: bool,
}

impl Selection {
    pub(crate) fn of(bound: &[Bound]) -> Self {
        let taking_part = |endpoint| {
            let there = bound.iter().enumerate().filter(move |(_, b)| b.policy.endpoints.contains(&endpoint));
            MatchIndex::new(there.map(|(place, b)| (place, &b.policy.matching)))
        };
        let looks = |b: &Bound| b.policy.reads_namespace || b.selects_by_namespace(&[0]);
        Self {
            by_endpoint: [Endpoint::Validate, Endpoint::Mutate].into_iter().map(|e| (e, taking_part(e))).collect(),
            constraints_look: bound.iter().any(|b| b.policy.is_constraint() && looks(b)),
        }
    }
}

impl Bound {
    /// The uses that may take the request at `endpoint`, as places in `uses`, and every way it is taken. The first
    /// use counts, but for its namespace selector: where that leaves the request out, the next one counts.
    pub(crate) fn takes(&self, endpoint: Endpoint, request: &Request) -> Option<(Vec<usize>, Vec<Taken>)> {
        let policy = &self.policy;
        if !policy.endpoints.contains(&endpoint) {
            return None;
        }
        let ways = policy.matching.ways(request);
        if ways.is_empty() {
            return None;
        }
        let mut candidates = Vec::new();
        for (place, using) in self.uses.iter().enumerate() {
            if using.narrowed.as_ref().is_none_or(|m| m.takes(request).is_some()) {
                candidates.push(place);
                if using.narrowed.as_ref().is_none_or(|m| m.namespace_selector.is_none()) {
                    break;
                }
            }
        }
        (!candidates.is_empty()).then_some((candidates, ways))
    }

    /// Whether the labels of the namespace have to be known to say which of `candidates` applies, and whether any.
    pub(crate) fn selects_by_namespace(&self, candidates: &[usize]) -> bool {
        candidates.iter().filter_map(|c| self.uses.get(*c)).any(|u| u.selects_by_namespace(&self.policy))
    }
}

impl Policy {
    /// Whether it is a constraint of Gatekeeper.
    pub(crate) fn is_constraint(&self) -> bool {
        matches!(self.dialect, Dialect::Gatekeeper(_))
    }
}

impl Use {
    /// Whether the labels of the namespace have to be known to say if it applies.
    pub(crate) fn selects_by_namespace(&self, policy: &Policy) -> bool {
        policy.matching.namespace_selector.is_some()
            || self.narrowed.as_ref().is_some_and(|m| m.namespace_selector.is_some())
    }

    /// Whether the namespace selectors take the labels.
    pub(crate) fn selects(&self, policy: &Policy, labels: &[&serde_json::Value]) -> bool {
        policy.matching.selects_namespace(labels) && self.narrowed.as_ref().is_none_or(|m| m.selects_namespace(labels))
    }
}

impl Snapshot {
    /// The policies, sorted by name.
    pub fn policies(&self) -> impl Iterator<Item = &PolicySummary> {
        self.summaries.iter()
    }

    /// The bindings, sorted by name.
    #[must_use]
    pub fn bindings(&self) -> Vec<BindingSummary> {
        let uses = self.bound.iter().flat_map(|b| b.uses.iter().map(move |u| (b, u)));
        let summary = |(b, u): (&Bound, &Use)| {
            let (name, policy) = (u.binding.clone()?, b.policy.name.to_string());
            Some(BindingSummary { name, policy, enforcement: u.enforcement })
        };
        let mut found: Vec<BindingSummary> = uses.filter_map(summary).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The exceptions, sorted by name.
    #[must_use]
    pub fn exceptions(&self) -> Vec<ExceptionSummary> {
        self.exceptions.summaries()
    }

    /// Digest over policies, bindings, exceptions and the ceiling of enforcement.
    #[must_use]
    pub fn policy_set(&self) -> Digest {
        self.policy_set
    }

    /// Digest over the data documents.
    #[must_use]
    pub fn data_digest(&self) -> Digest {
        self.data_digest
    }

    /// Namespaces that came with the data files.
    #[must_use]
    pub fn fixed_namespaces(&self) -> BTreeMap<String, NamespaceMetadata> {
        self.namespaces.clone()
    }

    /// JSON pointers below the decision event that `data.system.log.mask` names (`/input/request/object/...`).
    #[must_use]
    pub fn mask_pointers(&self) -> &[String] {
        &self.mask_pointers
    }

    /// The objects that controllers would make of the request's object, by the expansions.
    pub(crate) fn generated(&self, request: &Request) -> Result<Vec<Generated>, String> {
        if self.expansions.is_empty() || !request.sub_resource.is_empty() || !request.subject().is_object() {
            return Ok(Vec::new());
        }
        gatekeeper::expand(&self.expansions, request.subject(), &request.namespace)
    }

    /// Whether a policy at `endpoint` takes `request`, but for the labels of its namespace.
    #[must_use]
    pub fn takes(&self, endpoint: Endpoint, request: &Request) -> bool {
        !select(self, request, endpoint, Ok(Vec::new())).is_empty()
    }

    /// Whether the names of objects say which policies, bindings or exceptions count.
    #[must_use]
    pub fn selects_by_name(&self) -> bool {
        let of_uses = |b: &Bound| b.uses.iter().filter_map(|u| u.narrowed.as_ref()).any(Match::selects_by_name);
        self.bound.iter().any(|b| b.policy.matching.selects_by_name() || of_uses(b)) || self.exceptions.select_by_name()
    }

    /// Where in the object of `request` something stands that policies are selected by: the object itself, its Pod
    /// template, and what expansions make objects of. JSON pointers below the object, that of the object being empty.
    #[must_use]
    pub fn places_of_objects(&self, request: &Request) -> Vec<String> {
        /// Expansions of expansions are followed this deep.
        const DEPTH: usize = 3;
        let pointer = |steps: &mut dyn Iterator<Item = &str>| steps.map(|s| format!("/{s}")).collect::<String>();
        let resource = &request.resource;
        let is_kind = |t: &&TemplateKind| t.group == resource.group && t.resource == resource.resource;
        let template = TEMPLATE_KINDS.iter().find(is_kind).map(|t| pointer(&mut t.path.iter().copied()));
        let mut places: Vec<String> = std::iter::once(String::new()).chain(template).collect();
        let text = |key: &str| request.subject().get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        let first = self.expansions.iter().filter(|e| e.takes(group, version, text("kind")));
        let mut made: Vec<String> = first.map(|e| pointer(&mut e.source())).collect();
        for _ in 0..DEPTH {
            let deeper = |at: &String| {
                let at = at.clone();
                self.expansions.iter().map(move |e| format!("{at}{}", pointer(&mut e.source())))
            };
            let next = made.iter().flat_map(deeper).collect();
            places.append(&mut made);
            made = next;
        }
        places.sort();
        places.dedup();
        places
    }

    /// The policies at `endpoint` that may take `request`, with their places; whether one does, [`Bound::takes`] says.
    pub(crate) fn candidates(&self, endpoint: Endpoint, request: &Request) -> impl Iterator<Item = (usize, &Bound)> {
        let index = self.selection.by_endpoint.get(&endpoint);
        let places = index.map(|i| i.candidates(request)).unwrap_or_default();
        places.into_iter().filter_map(|place| Some((place, self.bound.get(place)?)))
    }

    /// Names of the policies that are not run for now, sorted.
    pub fn quarantined(&self) -> impl Iterator<Item = &str> {
        self.bound.iter().filter(|b| b.policy.health.quarantined()).map(|b| &*b.policy.name)
    }

    /// Takes over what is known of the policies that are the same as in `old`: a reload does not let a policy out of
    /// quarantine that it has not changed. To be called before the snapshot is shared.
    pub fn inherit_health(&mut self, old: &Self) {
        for bound in &mut self.bound {
            let same = |b: &&Bound| b.policy.name == bound.policy.name && b.policy.digest == bound.policy.digest;
            if let Some(before) = old.bound.iter().find(same)
                && let Some(policy) = Arc::get_mut(&mut bound.policy)
            {
                policy.health = Arc::clone(&before.policy.health);
            }
        }
    }

    /// Whether any policy at `endpoint` that may take `request` looks at its namespace.
    #[must_use]
    pub fn needs_namespace(&self, endpoint: Endpoint, request: &Request) -> bool {
        if request.namespace.is_empty() || request.is_on_namespace() {
            return false;
        }
        let looks = |b: &Bound| {
            let taken = b.takes(endpoint, request);
            taken.is_some_and(|(uses, _)| {
                b.policy.reads_namespace
                    || b.selects_by_namespace(&uses)
                    || self.exceptions.look_at_namespace(&b.policy.name)
            })
        };
        // What is made of the object may be taken by any constraint; whether it is comes out later.
        self.candidates(endpoint, request).any(|(_, b)| looks(b))
            || self.selection.constraints_look && !self.generated(request).is_ok_and(|g| g.is_empty())
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("policy_set", &self.policy_set).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CompileOptions, compile};
    use crate::policy::{SourceFile, Sources};

    fn snapshot(files: &[(&str, &str)]) -> Snapshot {
        let file = |(name, text): &(&str, &str)| {
            let text = format!("package {name}\n\ndeny contains \"{text}\" if false\n");
            SourceFile { path: format!("{name}.rego"), text }
        };
        let sources = Sources { modules: files.iter().map(file).collect(), ..Sources::default() };
        compile(&sources, CompileOptions::default()).expect("compiles").snapshot
    }

    fn health(snapshot: &Snapshot, name: &str) -> Arc<Health> {
        let bound = snapshot.bound.iter().find(|b| *b.policy.name == *name).expect("is there");
        Arc::clone(&bound.policy.health)
    }

    #[test]
    fn a_quarantine_ends_with_a_change_of_the_policy_and_not_with_a_reload() {
        let before = snapshot(&[("a", "1"), ("b", "1")]);
        for name in ["a", "b"] {
            health(&before, name).got_stuck(true);
        }
        let mut after = snapshot(&[("a", "1"), ("b", "2"), ("c", "1")]);
        after.inherit_health(&before);
        let quarantined = |name: &str| health(&after, name).quarantined();
        assert_eq!(["a", "b", "c"].map(quarantined), [true, false, false]);
        // A thread of the old set that ends after all is counted for the new one.
        health(&before, "a").came_back();
        assert!(!quarantined("a"));
    }
}
