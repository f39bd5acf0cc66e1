//! One recorded decision judged again: its input veiled, its world as it was read, its policy set from beside the log or
//! a candidate. Knows records and kept sets; what is compared is `compare`'s and `changes`' business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use uuid::Uuid;

use super::compare::{self, Recorded};
use super::unveil::{self, Veiled};
use super::{Replayed, Status};
use crate::admission::{Request, decode};
use crate::decisions::body::Body;
use crate::decisions::{BodyState, DecisionRecord, PolicySets, SetError, SetId};
use crate::engine::{
    Cause, Context, Decision, Endpoint, ErrorCode, FailureMode, FailureModes, HttpDoor, HttpFault, HttpRequest,
    HttpResponse, Inventory, NamespaceMetadata, Namespaces, Snapshot, Verdict, decide,
};
use crate::policy::{Digest, Enforcement};

/// Compiled sets that are held: a period has few, and each takes some megabytes.
pub const MOST_SNAPSHOTS: usize = 8;

/// What a policy that cannot be said anything of is called where it is any of them.
pub(super) const ANY: &str = "*";

/// Policies that are tried out on what was recorded.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The policies.
    pub snapshot: Arc<Snapshot>,
    /// Namespaces where the record has none, since the policies of then did not look at them.
    pub namespaces: Arc<BTreeMap<String, NamespaceMetadata>>,
    /// What their failures come to.
    pub failure: FailureModes,
}

/// Under what a record is judged again.
#[derive(Clone, Copy)]
pub(super) enum Under<'c> {
    /// The policies of then.
    Recorded(&'c Arc<Snapshot>),
    /// Others, at an endpoint of their own.
    Tried(&'c Candidate, Endpoint),
}

/// Makes decisions again. May be shared by threads; each should have a large stack.
pub struct Judge {
    sets: PolicySets,
    compiled: Mutex<Vec<(SetId, Compiled)>>,
}

/// A set that was compiled, or why it cannot be.
type Compiled = Result<Arc<Snapshot>, SetError>;

/// A decision of now, with what is not certain of it.
pub(super) struct Judged {
    pub decision: Decision,
    /// What could have mattered, by policy.
    pub unseen: BTreeMap<String, Vec<String>>,
    /// What was judged.
    pub request: Arc<Request>,
}

impl Judged {
    /// Whether nothing is said of what a policy finds.
    pub(super) fn is_uncertain(&self, policy: &str) -> bool {
        self.unseen.contains_key(policy) || self.unseen.contains_key(ANY)
    }

    /// Whether anything is uncertain.
    pub(super) fn has_doubts(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// The verdict, where what is certain decides it.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        if self.unseen.contains_key(ANY) {
            return None;
        }
        let decision = &self.decision;
        if !self.has_doubts() {
            return Some(decision.verdict);
        }
        let denies = |policy: &str, enforcement| enforcement == Enforcement::Deny && !self.is_uncertain(policy);
        if decision.violations.iter().any(|v| denies(&v.policy, v.enforcement)) {
            return Some(Verdict::Deny);
        }
        let open = decision.runs.iter().any(|r| r.enforcement == Enforcement::Deny && self.is_uncertain(&r.policy));
        let failed = decision.failures.iter().any(|f| denies(&f.policy, f.enforcement));
        (!open && !failed).then_some(Verdict::Allow)
    }
}

impl Judge {
    /// For the log that `sets` stand beside.
    #[must_use]
    pub fn new(sets: PolicySets) -> Self {
        Self { sets, compiled: Mutex::default() }
    }

    /// Makes a decision again under the policies that made it.
    #[must_use]
    pub fn replay(&self, record: &DecisionRecord, body: &BodyState) -> Replayed {
        let replayed = |status, differences, unseen, now| Replayed {
            decision_id: record.decision_id.clone(),
            status,
            recorded: record.verdict,
            replayed: now,
            differences,
            unseen,
        };
        let unknown = |why: String| {
            replayed(Status::Indeterminate, Vec::new(), BTreeMap::from([(ANY.to_owned(), vec![why])]), None)
        };
        if let Some(why) = not_judged(record) {
            return replayed(Status::NotJudged, vec![why], BTreeMap::new(), None);
        }
        let body = match content(body) {
            Ok(body) => body,
            Err(Lost::Altered(why)) => return replayed(Status::Different, vec![why], BTreeMap::new(), None),
            Err(Lost::Gone(why)) => return unknown(why),
        };
        let id = SetId { policy_set: record.policy_set, data_digest: record.data_digest };
        let snapshot = match self.compiled(id) {
            Ok(snapshot) => snapshot,
            Err(e @ SetError::Altered(_)) => {
                let why = format!("the policy set {}: {e}", record.policy_set);
                return replayed(Status::Different, vec![why], BTreeMap::new(), None);
            }
            Err(e) => return unknown(format!("the policy set {}: {e}", record.policy_set)),
        };
        match judge(Under::Recorded(&snapshot), record, &body) {
            Err(why) => unknown(why),
            Ok(judged) => {
                let recorded = Recorded { record, body: &body };
                let differences = compare::differences(&recorded, &judged);
                let status = match (differences.is_empty(), judged.has_doubts()) {
                    (false, _) => Status::Different,
                    (true, true) => Status::Indeterminate,
                    (true, false) => Status::Identical,
                };
                let verdict = judged.verdict();
                replayed(status, differences, judged.unseen, verdict)
            }
        }
    }

    /// The set of these digests, compiled once.
    pub(super) fn compiled(&self, id: SetId) -> Compiled {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = compiled.iter().position(|(known, _)| *known == id) {
            // The latest used stands last.
            let found = compiled.remove(at);
            compiled.push(found);
        } else {
            if compiled.len() >= MOST_SNAPSHOTS {
                drop(compiled.remove(0));
            }
            compiled.push((id, self.sets.compile(id).map(Arc::new)));
        }
        compiled.last().map_or(Err(SetError::Gone), |(_, found)| found.clone())
    }
}

/// Why no policy decided it.
pub(super) fn not_judged(record: &DecisionRecord) -> Option<String> {
    match record.cause {
        Cause::Deadline | Cause::Overload | Cause::Log => {
            Some(format!("the cause on record is `{}`, not a policy", record.cause.as_str()))
        }
        Cause::Policy | Cause::PolicyError | Cause::None => None,
    }
}

pub(super) enum Lost {
    Gone(String),
    Altered(String),
}

pub(super) fn content(body: &BodyState) -> Result<Body, Lost> {
    let gone = |why: &str| Err(Lost::Gone(why.to_owned()));
    match body {
        BodyState::Intact(line) => {
            serde_json::from_str(&line.body).map_err(|e| Lost::Altered(format!("the body cannot be read: {e}")))
        }
        BodyState::Altered(_) => Err(Lost::Altered("the body is not the one that was recorded".to_owned())),
        BodyState::Deleted => gone("the body was deleted"),
        BodyState::Erased => gone("the body was erased"),
        BodyState::Missing => gone("the body is not there"),
    }
}

/// Judges what a record asks.
///
/// # Errors
/// Why it cannot be judged at all.
pub(super) fn judge(under: Under<'_>, record: &DecisionRecord, body: &Body) -> Result<Judged, String> {
    let (snapshot, elsewhere) = match under {
        Under::Recorded(snapshot) => (snapshot, None),
        // Namespaces that a record of other policies need not have.
        Under::Tried(candidate, _) => (&candidate.snapshot, Some(&candidate.namespaces)),
    };
    if record.input.mask_failed {
        return Err("masking failed, so everything is masked".to_owned());
    }
    let Veiled { input, pointers } = unveil::veil(body.input.clone(), &record.input.omitted);
    let (world, hidden) = World::of(record, body, elsewhere)?;
    let pointers: Vec<String> = pointers.into_iter().chain(hidden).collect();
    let text = serde_json::to_vec(&input).unwrap_or_default();
    let mut request = decode(&text).map_err(|e| format!("the request on record cannot be read: {e}"))?;
    let places = snapshot.places_of_objects(&request);
    if let Some(pointer) = pointers.iter().find(|p| unveil::decides_selection(p, &places)) {
        return Err(format!("`{pointer}` is masked, and says which policies judge"));
    }
    request.veiled = true;
    let missing = Arc::clone(&world.missing);
    let context = context(under, record)?;
    let inventory = Inventory { namespaces: Arc::new(world), age: None };
    let request = Arc::new(request);
    let decision = decide(snapshot, &inventory, &request, &context);
    let mut unseen = doubts(&decision);
    let late = record.errors.iter().filter(|e| by_time(e.code) && matches!(under, Under::Recorded(_)));
    for error in late {
        let why = format!("on record it could not be judged ({})", error.code.as_str());
        unseen.entry(error.policy.clone()).or_default().push(why);
    }
    let missing = std::mem::take(&mut *missing.lock().unwrap_or_else(PoisonError::into_inner));
    for name in missing {
        let why = format!("namespace `{name}` was not read then, and is not in the data");
        unseen.entry(ANY.to_owned()).or_default().push(why);
    }
    Ok(Judged { decision, unseen, request })
}

/// What could have come out otherwise.
pub(super) fn doubts(decision: &Decision) -> BTreeMap<String, Vec<String>> {
    let mut unseen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut changing = false;
    for run in &decision.runs {
        if !run.touched.is_empty() {
            unseen.entry(run.policy.to_string()).or_default().extend(run.touched.iter().cloned());
            changing = true;
        } else if changing && decision.endpoint == Endpoint::Mutate {
            let why = "it works on what the policies before it make of the object".to_owned();
            unseen.entry(run.policy.to_string()).or_default().push(why);
        }
    }
    for failure in decision.failures.iter().filter(|f| by_time(f.code)) {
        let why = format!("it could not be judged now ({})", failure.code.as_str());
        unseen.entry(failure.policy.to_string()).or_default().push(why);
    }
    for reasons in unseen.values_mut() {
        reasons.sort();
        reasons.dedup();
    }
    unseen
}

/// Failures that another machine or moment would not have.
fn by_time(code: ErrorCode) -> bool {
    match code {
        ErrorCode::Budget | ErrorCode::Deadline | ErrorCode::Panic | ErrorCode::Stuck | ErrorCode::Quarantined => true,
        ErrorCode::Evaluation | ErrorCode::Output | ErrorCode::UnknownNamespace | ErrorCode::Patch => false,
    }
}

fn context(under: Under<'_>, record: &DecisionRecord) -> Result<Context, String> {
    let now: jiff::Timestamp =
        record.now.parse().map_err(|_| format!("`now` on record is no time: `{}`", record.now))?;
    let id = Uuid::try_parse(&record.decision_id).map_err(|_| "the decision's id is no UUID".to_owned())?;
    let (endpoint, failure) = match under {
        Under::Tried(candidate, endpoint) => (endpoint, candidate.failure),
        Under::Recorded(_) => {
            // The only trace that the failure mode leaves.
            let open = record.cause == Cause::PolicyError && record.verdict == Verdict::Allow;
            (record.endpoint, FailureModes::all(if open { FailureMode::Allow } else { FailureMode::Deny }))
        }
    };
    Ok(Context {
        endpoint,
        now_ns: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        seed: id.as_u64_pair().1,
        deadline: None,
        failure,
        http: Some(Arc::new(NoAnswers)),
    })
}

/// The answers of then are not on record.
#[derive(Debug)]
pub(super) struct NoAnswers;

impl HttpDoor for NoAnswers {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFault> {
        crate::engine::touch_unknown(&format!("the answer of {} {}", request.method, request.url));
        Err(HttpFault::Network("answers are not on record".to_owned()))
    }
}

/// Namespaces as they were read.
pub(super) struct World {
    read: BTreeMap<String, NamespaceMetadata>,
    elsewhere: Option<Arc<BTreeMap<String, NamespaceMetadata>>>,
    /// Asked for, and neither on record nor elsewhere.
    pub missing: Arc<Mutex<BTreeSet<String>>>,
}

impl World {
    /// Namespaces of the data alone.
    pub(super) fn of_data(namespaces: &Arc<BTreeMap<String, NamespaceMetadata>>) -> Self {
        Self { read: BTreeMap::new(), elsewhere: Some(Arc::clone(namespaces)), missing: Arc::default() }
    }

    /// What the record has, and where something of it is veiled.
    ///
    /// # Errors
    /// Something was read that is not on record.
    fn of(
        record: &DecisionRecord,
        body: &Body,
        elsewhere: Option<&Arc<BTreeMap<String, NamespaceMetadata>>>,
    ) -> Result<(Self, Vec<String>), String> {
        let (mut read, mut hidden) = (BTreeMap::new(), Vec::new());
        if record.reads_omitted > 0 {
            return Err(format!("{} of its reads had no room in the record", record.reads_omitted));
        }
        for entry in record.reads.iter().filter(|r| r.http.is_none()) {
            let Some(content) = body.reads.get(&entry.path) else {
                return Err(format!("`{}` was read, and what it was is not on record", entry.path));
            };
            let Some(name) = entry.path.strip_prefix("namespaces/") else {
                return Err(format!("`{}` was read, which this version cannot read again", entry.path));
            };
            let mut content: Value = content.clone();
            let before = hidden.len();
            let mut at = format!("/reads/{}", unveil::escape(&entry.path));
            unveil::veil_below(&mut content, &mut at, &mut hidden);
            if hidden.len() == before && Digest::of(content.to_string().as_bytes()) != entry.digest {
                return Err(format!("`{}` on record is not what was read", entry.path));
            }
            read.insert(name.to_owned(), Arc::new(content));
        }
        let world = Self { read, elsewhere: elsewhere.cloned(), missing: Arc::default() };
        Ok((world, hidden))
    }
}

impl Namespaces for World {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        if let Some(read) = self.read.get(name) {
            return Some(Arc::clone(read));
        }
        // Under the policies of then, what was asked for and is not on record was not known then.
        let elsewhere = self.elsewhere.as_ref()?;
        let found = elsewhere.get(name).cloned();
        if found.is_none() {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_no_ground_for_a_difference() {
        assert!(by_time(ErrorCode::Budget) && !by_time(ErrorCode::Evaluation));
    }
}
