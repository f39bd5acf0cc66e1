//! What a candidate would have done with a recorded request. Knows records and what they say of a request's mutation; how
//! it is judged is `judge`'s business, what is held against the record `changes`'.
//!
//! A request has a record for each endpoint that the API server asked. What mutates is judged by the records of `mutate`;
//! a request that was not sent there has none, and goes the whole way in one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use json_patch::Patch;

use super::changes::{self, Change, ChangeKind};
use super::compare::Recorded;
use super::judge::{Candidate, Judge, Judged, Lost, Under, content, judge, not_judged};
use crate::admission::Operation;
use crate::decisions::body::Body;
use crate::decisions::{BodyState, DecisionRecord, SetId};
use crate::engine::{Endpoint, Snapshot, Verdict};

impl Judge {
    /// What a candidate would have done otherwise than what is on record; `twice` says that what mutates the request has a
    /// record of its own.
    #[must_use]
    pub fn impact(&self, candidate: &Candidate, record: &DecisionRecord, body: &BodyState, twice: bool) -> Change {
        if let Some(why) = not_judged(record) {
            return Change::not_judged(why);
        }
        let body = match content(body) {
            Ok(body) => body,
            Err(Lost::Altered(why) | Lost::Gone(why)) => return Change::unknown(why),
        };
        let case = Case { candidate, record, body: &body };
        let judged = match case.judged(record.endpoint, &body) {
            Err(why) => return Change::unknown(why),
            Ok(judged) => judged,
        };
        let mut change = case.against(&judged);
        self.name_mutations(&mut change, record, &body);
        if record.endpoint == Endpoint::Mutate || !candidate.snapshot.takes(Endpoint::Mutate, &judged.request) {
            return change;
        }
        let mutated = match case.judged(Endpoint::Mutate, &body) {
            Err(why) => return Change::unknown(why),
            Ok(mutated) => mutated,
        };
        let then = self.compiled(SetId { policy_set: record.policy_set, data_digest: record.data_digest });
        match &then {
            Ok(then) if !twice && !then.takes(Endpoint::Mutate, &judged.request) => case.all_the_way(&mutated),
            // It is judged by a record of its own. Here it may be in the way.
            Ok(then) => case.unless_in_the_way(change, &mutated, Some(then)),
            Err(_) => Change { not_mutated: true, ..case.unless_in_the_way(change, &mutated, None) },
        }
    }

    /// A record does not say which policies changed the object: the set of then does, where it is kept.
    fn name_mutations(&self, change: &mut Change, record: &DecisionRecord, body: &Body) {
        let Some(gone) = change.changes.get_mut(&ChangeKind::NoLongerMutated) else { return };
        let id = SetId { policy_set: record.policy_set, data_digest: record.data_digest };
        let then = self.compiled(id).ok().and_then(|s| judge(Under::Recorded(&s), record, body).ok());
        let then = then.filter(|judged| !judged.has_doubts());
        let names: Vec<String> =
            then.into_iter().flat_map(|j| j.decision.mutations).map(|m| m.policy.to_string()).collect();
        if let Some(says) = (!names.is_empty()).then(|| gone.remove(changes::UNNAMED)).flatten() {
            gone.extend(names.into_iter().map(|name| (name, says.clone())));
        }
    }
}

/// Which requests have a record of `mutate` before that of `validate`. Reviews of one request have nothing in common that
/// says so (each has a uid of its own), so it is known by what is asked, by whom, and when.
#[derive(Debug, Default)]
pub struct Pairs {
    mutated: HashMap<Asked, VecDeque<Timestamp>>,
    count: usize,
}

/// What both reviews of a request say of it.
type Asked = (String, String, Operation, String);

/// How long after its mutation a request is validated at the most: a webhook has 30 seconds.
const APART: SignedDuration = SignedDuration::from_secs(60);
/// Mutations that are remembered before old ones are looked for.
const MANY: usize = 10_000;

impl Pairs {
    /// Takes the records in their order; says of one of `validate` whether the request has one of `mutate`.
    pub fn is_second(&mut self, record: &DecisionRecord) -> bool {
        let Ok(time) = record.timestamp.parse::<Timestamp>() else { return false };
        let r = &record.request;
        let name = r.generate_name.as_ref().map_or_else(|| r.name.clone(), |prefix| format!("{prefix}*"));
        let resource = format!("{}/{}/{}/{}", r.group, r.version, r.resource, r.subresource);
        let asked = (resource, format!("{}/{name}", r.namespace), r.operation, r.user.username.clone());
        let near = |other: &Timestamp| time.duration_since(*other).abs() <= APART;
        if record.endpoint == Endpoint::Mutate {
            self.mutated.entry(asked).or_default().push_back(time);
            self.count += 1;
            if self.count >= MANY {
                self.mutated.values_mut().for_each(|times| times.retain(near));
                self.mutated.retain(|_, times| !times.is_empty());
                // As many again, whatever is left.
                self.count = 0;
            }
            return false;
        }
        let Some(times) = self.mutated.get_mut(&asked) else { return false };
        times.retain(near);
        times.pop_front().is_some()
    }
}

/// One recorded request and who tries it.
struct Case<'c> {
    candidate: &'c Candidate,
    record: &'c DecisionRecord,
    body: &'c Body,
}

impl Case<'_> {
    fn judged(&self, endpoint: Endpoint, body: &Body) -> Result<Judged, String> {
        judge(Under::Tried(self.candidate, endpoint), self.record, body)
    }

    fn against(&self, judged: &Judged) -> Change {
        changes::against_record(&Recorded { record: self.record, body: self.body }, judged)
    }

    /// The validating policies, on the object as a patch leaves it.
    fn validated(&self, patch: Option<&Patch>) -> Result<Judged, String> {
        self.judged(Endpoint::Validate, &patched(self.body, patch)?)
    }

    /// As the API server goes: the mutating policies first, then the others on what they leave.
    fn all_the_way(&self, mutated: &Judged) -> Change {
        match mutated.verdict() {
            // What they leave is not known, nor what the others find in it.
            None => Change { unseen: mutated.unseen.clone(), ..Change::default() },
            Some(Verdict::Deny) if self.record.verdict == Verdict::Allow => changes::of_allowed(mutated),
            Some(Verdict::Deny) => Change { unseen: mutated.unseen.clone(), ..Change::default() },
            Some(Verdict::Allow) => match self.validated(mutated.decision.patch.as_ref()) {
                Err(why) => Change::unknown(why),
                Ok(validated) => {
                    let (mut change, mut first) = (self.against(&validated), changes::of_allowed(mutated));
                    if validated.verdict() == Some(Verdict::Deny) {
                        // Of what is refused nothing comes out.
                        first.changes.remove(&ChangeKind::NewlyMutated);
                    }
                    change.merge(first);
                    change
                }
            },
        }
    }

    /// `change`, unless the mutating policies would give the others another object than the recorded one, which they may
    /// judge otherwise: then nothing is certain.
    fn unless_in_the_way(&self, mut change: Change, mutated: &Judged, then: Option<&Arc<Snapshot>>) -> Change {
        let mut doubts = mutated.unseen.clone();
        // One that was in force then has made its change: it is in the object.
        doubts.retain(|policy, _| !then.is_some_and(|then| is_same(policy, then, &self.candidate.snapshot)));
        let patch = mutated.decision.patch.as_ref();
        if doubts.is_empty() && patch.is_some() {
            let other = self.validated(patch).map_or_else(Change::unknown, |judged| self.against(&judged));
            if (&other.changes, &other.unseen) != (&change.changes, &change.unseen) {
                let why = "it would change the object that the others judge, and is judged by another record";
                let names = mutated.decision.mutations.iter().map(|m| (m.policy.to_string(), vec![why.to_owned()]));
                doubts.extend(names.collect::<BTreeMap<_, _>>());
            }
        }
        if !doubts.is_empty() {
            change.changes.clear();
            change.merge(Change { unseen: doubts, ..Change::default() });
        }
        change
    }
}

/// Whether a policy is the same in both sets.
fn is_same(policy: &str, then: &Snapshot, now: &Snapshot) -> bool {
    let of = |set: &Snapshot| set.policies().find(|p| *p.name == *policy).map(|p| (p.digest, p.enforcement));
    of(then).is_some_and(|then| of(now) == Some(then))
}

/// The body with the patch applied to its object.
///
/// # Errors
/// It does not apply.
fn patched(body: &Body, patch: Option<&Patch>) -> Result<Body, String> {
    let mut body = body.clone();
    if let (Some(patch), Some(object)) = (patch, body.input.pointer_mut("/request/object")) {
        let fault = |e| format!("the patch of the mutating policies does not fit what is on record: {e}");
        json_patch::patch(object, patch).map_err(fault)?;
    }
    Ok(body)
}
