//! One review, policy by policy: who is selected, and what each comes to. Steps are independent of the thread they
//! run on, so the pool can go on with the next policy when one does not come back.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admission::{Operation, Origin, Request};
use crate::engine::asker;
use crate::engine::difference::difference;
use crate::engine::evaluate::{Fault, World, caught};
use crate::engine::input::{self, Inputs, Seen};
use crate::engine::outcome::{Outcome, Output};
use crate::engine::output::{self, Finding};
use crate::engine::select::{Selected, select};
use crate::engine::snapshot::{Bound, Dialect, Policy, Snapshot, Use};
use crate::engine::system_main;
use crate::engine::{
    BudgetPart, Context, Endpoint, ErrorCode, Inventory, Location, NamespaceMetadata, Read, Usage, http, meter, patch,
    veil,
};
use crate::policy::{Enforcement, OnUpdate, Taken};

/// What is the same for all policies of a review.
pub(crate) struct Review {
    pub snapshot: Arc<Snapshot>,
    pub request: Arc<Request>,
    pub context: Context,
    pub reads: Vec<Read>,
    pub inventory_age: Option<Duration>,
    /// The selected policies in the order of their names.
    pub steps: Vec<Step>,
    inputs: Inputs,
    user_namespace: Option<NamespaceMetadata>,
    pub(super) namespace: Namespace,
    /// What controllers would make of the object.
    pub(super) made: Vec<Made>,
}

/// An object that a controller would make.
pub(super) struct Made {
    template: String,
    enforcement: Option<Enforcement>,
    pub(super) request: Request,
    inputs: Inputs,
}

/// A selected policy.
pub(crate) struct Step {
    pub policy: Arc<Policy>,
    bound: usize,
    using: usize,
    /// Whether the labels of the namespace say which use applies, or whether any does.
    by_namespace: bool,
    taken: Taken,
    /// Which of the objects that controllers would make is judged, if it is not the request's own.
    pub(super) made: Option<usize>,
    /// Why it cannot be judged.
    prejudged: Option<Fault>,
}

pub(super) enum Namespace {
    /// The request is on no namespace.
    None,
    Known(NamespaceMetadata),
    Unknown(String),
}

impl Namespace {
    pub(super) fn metadata(&self) -> Option<&Value> {
        match self {
            Self::Known(metadata) => Some(metadata.as_ref()),
            Self::None | Self::Unknown(_) => None,
        }
    }

    /// Which of the uses that may take the request does. None of them may: the policy then has nothing to say.
    fn choose(&self, bound: &Bound, candidates: &[usize], request: &Request) -> usize {
        let uses = || candidates.iter().filter_map(|c| bound.uses.get(*c).map(|u| (*c, u)));
        let first = || candidates.first().copied();
        let chosen = match self {
            Self::None => first(),
            // The policy cannot be judged; how bad that is, the strictest use says.
            Self::Unknown(_) => {
                uses().max_by_key(|(place, u)| (u.enforcement, Reverse(*place))).map(|(place, _)| place)
            }
            Self::Known(metadata) => {
                let sets = label_sets(metadata, request);
                let sets: Vec<&Value> = sets.iter().collect();
                uses().find(|(_, u)| u.selects(&bound.policy, &sets)).map(|(place, _)| place).or_else(first)
            }
        };
        chosen.unwrap_or(0)
    }
}

/// The labels that namespace selectors look at: of a request about a Namespace those before and after.
pub(super) fn label_sets(metadata: &Value, request: &Request) -> Vec<Value> {
    let labels = |m: &'_ Value| m.get("labels").cloned().unwrap_or_default();
    let mut sets = vec![labels(metadata)];
    if request.is_on_namespace() {
        sets.extend(request.old_object().get("metadata").map(labels));
    }
    sets
}

impl Review {
    /// Selects. Cheap: no policy is run.
    pub(crate) fn new(snapshot: Arc<Snapshot>, inventory: &Inventory, request: Arc<Request>, context: Context) -> Self {
        let made = Made::of(&snapshot, &request, context.endpoint);
        let objects = made.as_ref().map(|made| made.iter().map(|m| &m.request).collect());
        let found = select(&snapshot, &request, context.endpoint, objects);
        let bound_of = |s: &Selected| snapshot.bound.get(s.bound);
        let excepts = |b: &Bound| snapshot.exceptions.look_at_namespace(&b.policy.name);
        let needed = found.iter().any(|s| {
            let looks = |b: &Bound| b.policy.reads_namespace || b.selects_by_namespace(&s.candidates) || excepts(b);
            bound_of(s).is_some_and(looks)
        });
        let (namespace, mut reads, inventory_age) = namespace_of(&request, inventory, needed);
        let asks = found.iter().any(|s| bound_of(s).is_some_and(|b| b.policy.reads_user_namespace));
        let asker = asks.then(|| asker::user_namespace(&request, inventory)).flatten();
        reads.extend(asker.as_ref().map(|(_, read)| read.clone()).filter(|r| !reads.contains(r)));
        let user_namespace = asker.map(|(metadata, _)| metadata);
        let steps = found
            .into_iter()
            .filter_map(|s| {
                let b = bound_of(&s)?;
                let using = namespace.choose(b, &s.candidates, &request);
                let by_namespace = b.selects_by_namespace(&s.candidates);
                let Selected { bound, taken, made, prejudged, .. } = s;
                Some(Step { policy: Arc::clone(&b.policy), bound, using, by_namespace, taken, made, prejudged })
            })
            .collect();
        let seen = Seen { namespace: namespace.metadata(), user_namespace: user_namespace.as_deref() };
        let inputs = Inputs::new(&request, None, seen);
        Self {
            snapshot,
            request,
            context,
            reads,
            inventory_age,
            steps,
            inputs,
            namespace,
            user_namespace,
            made: made.unwrap_or_default(),
        }
    }

    /// What a violation that a step finds does.
    pub(crate) fn enforcement(&self, step: &Step) -> Enforcement {
        let implied = step.made.and_then(|m| self.made.get(m)).and_then(|m| m.enforcement);
        implied.or_else(|| self.using(step).map(|u| u.enforcement)).unwrap_or(Enforcement::Deny)
    }

    /// The message of a finding, as users read it: for an object that would be made, with the reason to look at it.
    pub(crate) fn message(&self, step: &Step, msg: &str) -> String {
        match step.made.and_then(|m| self.made.get(m)) {
            Some(made) => format!("[Implied by {}] {msg}", made.template),
            None => msg.to_owned(),
        }
    }

    /// The time that step `index` may take from now on.
    pub(crate) fn budget(&self, step: &Step, now: Instant) -> Duration {
        let left = self.context.deadline.map_or(Duration::MAX, |d| d.saturating_duration_since(now));
        step.policy.budget.time.min(left)
    }

    /// Runs step `index` on the object as the steps before left it. Never panics, may never return.
    pub(crate) fn run(&self, step: &Step, object: Option<&Arc<Value>>) -> Outcome {
        let started = Instant::now();
        meter::begin(&step.policy.budget);
        veil::begin(self.request.veiled);
        let ran = Cell::new(false);
        let until = started.checked_add(self.budget(step, started)).unwrap_or(started);
        let judged = || caught(|| self.judge(step, object, started, &ran));
        let (result, reads) = http::with_door(self.context.http.as_ref(), until, judged);
        let result = result.map_err(|fault| self.blame_deadline(fault));
        let mut usage = meter::usage();
        if usage.exceeded.is_none() && result.as_ref().is_err_and(|f| f.code == ErrorCode::Budget) {
            usage.exceeded = Some(BudgetPart::Time);
        }
        if self.request.veiled {
            step.policy.look_at_change(&self.request, step.taken, self.context.endpoint);
        }
        let touched = veil::end();
        Outcome { result, usage, ran: ran.get(), change: None, took: started.elapsed(), reads, touched }
    }

    /// The use of the policy that a step runs.
    pub(crate) fn using(&self, step: &Step) -> Option<&Use> {
        self.snapshot.bound.get(step.bound).and_then(|b: &Bound| b.uses.get(step.using))
    }

    /// A budget that the deadline cut short is the deadline's doing.
    fn blame_deadline(&self, fault: Fault) -> Fault {
        let late = self.context.deadline.is_some_and(|d| Instant::now() >= d) && meter::usage().exceeded.is_none();
        if late && fault.code == ErrorCode::Budget {
            return Fault { code: ErrorCode::Deadline, ..fault };
        }
        fault
    }

    /// `ran` is set when the policy is about to be run.
    fn judge(
        &self,
        step: &Step,
        object: Option<&Arc<Value>>,
        started: Instant,
        ran: &Cell<bool>,
    ) -> Result<Output, Fault> {
        let policy = &step.policy;
        if let Some(fault) = &step.prejudged {
            return Err(fault.clone());
        }
        let Some(using) = self.using(step) else { return Ok(Output::default()) };
        if !self.selects(step, using)? {
            return Ok(Output::default());
        }
        let budget = self.budget(step, started);
        if budget.is_zero() {
            return Err(fault(ErrorCode::Deadline, "the request's time ran out before the policy could be judged"));
        }
        policy.health.admit(started).map_err(|msg| fault(ErrorCode::Quarantined, &msg))?;
        ran.set(true);
        let input = self.input(step, using, object);
        let found =
            policy.unit.run(self.context.endpoint, &input, self.world(), budget).map_err(|f| policy.in_file(f))?;
        let output = match self.context.endpoint {
            Endpoint::Mutate => self.mutated(policy, &found.values, object),
            Endpoint::Validate => self.validated(step, using, &found.values, &input, started),
        };
        output.map(|output| Output { way: Some(found.way), ..output })
    }

    /// What the policy of a step sees, with `object` in place of the request's own.
    fn input(&self, step: &Step, using: &Use, object: Option<&Arc<Value>>) -> regorus::Value {
        let policy = &step.policy;
        let namespace = self.namespace.metadata();
        let seen = Seen { namespace, user_namespace: self.user_namespace.as_deref() };
        match (object, step.taken) {
            (None, _) if policy.is_constraint() => {
                let inputs = step.made.and_then(|m| self.made.get(m)).map_or(&self.inputs, |m| &m.inputs);
                inputs.of_constraint(namespace.filter(|_| policy.reads_namespace), &using.parameters)
            }
            (Some(object), _) => Inputs::new(&self.request, Some(object), seen).as_is(&using.parameters),
            (None, Taken::AsIs) => self.inputs.as_is(&using.parameters),
            (None, Taken::Template(kind)) => self.inputs.of_template(kind, &using.parameters),
        }
    }

    /// What each selected policy would see, with its place in the snapshot.
    pub(crate) fn inputs_of_steps(&self) -> impl Iterator<Item = (usize, regorus::Value)> {
        self.steps.iter().filter_map(|s| Some((s.bound, self.input(s, self.using(s)?, None))))
    }

    fn world(&self) -> World {
        World { now_ns: self.context.now_ns, seed: self.context.seed }
    }

    fn selects(&self, step: &Step, using: &Use) -> Result<bool, Fault> {
        let policy = &step.policy;
        if !step.by_namespace && !policy.reads_namespace {
            return Ok(true);
        }
        match &self.namespace {
            // Selectors on namespaces take every object that is in none, as in webhook configurations.
            Namespace::None => Ok(true),
            // For what nobody sent, an unknown namespace is just absent to policies that may look at it.
            Namespace::Unknown(_) if !step.by_namespace && self.request.origin == Origin::Standing => Ok(true),
            Namespace::Unknown(name) => {
                let msg = format!("the labels of namespace `{name}` are not known");
                Err(fault(ErrorCode::UnknownNamespace, &msg))
            }
            Namespace::Known(metadata) => {
                let sets = label_sets(metadata, &self.request);
                Ok(using.selects(policy, &sets.iter().collect::<Vec<_>>()))
            }
        }
    }

    fn validated(
        &self,
        step: &Step,
        using: &Use,
        result: &Value,
        input: &regorus::Value,
        started: Instant,
    ) -> Result<Output, Fault> {
        let policy = &step.policy;
        let title = policy.title.as_deref().unwrap_or(&policy.name);
        let read = |result: &Value| {
            self.look_at(policy, result);
            let found = match policy.dialect {
                Dialect::Opa => output::findings(result, title),
                Dialect::Main => system_main::read(result, &self.request.uid).map(|answer| answer.findings),
                Dialect::Gatekeeper(_) => output::constraint_findings(result),
            };
            found.map_err(|m| fault(ErrorCode::Output, &m))
        };
        let mut findings = read(result)?;
        let annotations = policy.annotations(result, &self.request.uid).map_err(|m| fault(ErrorCode::Output, &m))?;
        let update = self.request.operation == Operation::Update && !self.request.old_object().is_null();
        if update && using.on_update == OnUpdate::Ratchet && !findings.is_empty() {
            // Only a verdict on the old object takes violations away; where it cannot be had they all stand.
            let budget = self.budget(step, Instant::now()).min(policy.budget.time.saturating_sub(started.elapsed()));
            let old = input::of_old_object(input);
            if let Ok(before) = policy.unit.run(Endpoint::Validate, &old, self.world(), budget)
                && let Ok(before) = read(&before.values)
            {
                findings.retain(|f| !before.iter().any(|b| b.rule == f.rule && b.msg == f.msg && b.field == f.field));
            }
        }
        cut(&mut findings, policy.budget.violations);
        if let Taken::Template(kind) = step.taken {
            let prefix = kind.path.join(".");
            for finding in &mut findings {
                finding.field = finding.field.take().map(|field| format!("{prefix}.{field}"));
            }
        }
        self.look_at_containers(step, &findings);
        Ok(Output { findings, annotations, ..Output::default() })
    }

    fn mutated(&self, policy: &Policy, result: &Value, object: Option<&Arc<Value>>) -> Result<Output, Fault> {
        if matches!(policy.dialect, Dialect::Main) {
            self.look_at(policy, result);
        }
        let (answer, annotations) = match policy.dialect {
            Dialect::Main => {
                let wrong = |m: String| fault(ErrorCode::Output, &m);
                let annotations = policy.annotations(result, &self.request.uid).map_err(wrong)?;
                (system_main::read(result, &self.request.uid).map_err(wrong)?, annotations)
            }
            Dialect::Opa | Dialect::Gatekeeper(_) => (system_main::Answer::default(), BTreeMap::new()),
        };
        let patch = answer.patch.map(|patch| serde_json::json!({ "patch": patch }));
        let before = object.map_or_else(|| self.request.object(), |o| o.as_ref());
        let after = patch::apply(before, &self.request.sub_resource, patch.as_ref().unwrap_or(result))
            .map_err(|m| fault(ErrorCode::Patch, &m))?;
        // All patches together are made of the object as it was sent.
        veil::results::changed(self.request.object(), &after);
        let patch = difference(before, &after);
        let object = patch.is_some().then(|| Arc::new(after));
        Ok(Output { object, patch, findings: answer.findings, annotations, way: None })
    }
}

/// Leaves the first `most` findings of each rule, and one that counts the others: too many stay violations.
fn cut(findings: &mut Vec<Finding>, most: usize) {
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    findings.retain(|finding| {
        let count = seen.entry(finding.rule).or_default();
        *count += 1;
        *count <= most
    });
    findings.extend(seen.into_iter().filter(|(_, count)| *count > most).map(|(rule, count)| {
        output::plain(rule, &format!("and {} more that are not listed (`budget.violations` is {most})", count - most))
    }));
}

impl Made {
    fn of(snapshot: &Snapshot, request: &Request, endpoint: Endpoint) -> Result<Vec<Self>, Fault> {
        if endpoint != Endpoint::Validate {
            return Ok(Vec::new());
        }
        let generated = snapshot.generated(request).map_err(|m| fault(ErrorCode::Evaluation, &m))?;
        let made = generated.into_iter().map(|g| {
            let request = request.generating(&g.object);
            Self {
                inputs: Inputs::new(&request, None, Seen::default()),
                request,
                template: g.template,
                enforcement: g.enforcement,
            }
        });
        Ok(made.collect())
    }
}

impl Step {
    /// An outcome for a step that had to be given up. Before its own budget was used up, that is the deadline's doing.
    pub(crate) fn given_up(&self, took: Duration) -> Outcome {
        let code = if took < self.policy.budget.time { ErrorCode::Deadline } else { ErrorCode::Stuck };
        let msg = format!("the policy did not stop within {} ms and was given up", took.as_millis());
        let exceeded = (code == ErrorCode::Stuck).then_some(BudgetPart::Time);
        let usage = Usage { exceeded, ..Usage::default() };
        let (reads, touched) = (Vec::new(), Vec::new());
        Outcome { result: Err(fault(code, &msg)), usage, ran: true, change: None, took, reads, touched }
    }

    /// An outcome for a step that no thread is left for.
    pub(crate) fn unjudged() -> Outcome {
        let msg = "no thread could be started to judge the policy";
        let (usage, took) = (Usage::default(), Duration::ZERO);
        let (reads, touched) = (Vec::new(), Vec::new());
        Outcome { result: Err(fault(ErrorCode::Stuck, msg)), usage, ran: false, change: None, took, reads, touched }
    }
}

impl Policy {
    /// A fault with its place as it is in the file.
    fn in_file(&self, fault: Fault) -> Fault {
        match &self.dialect {
            Dialect::Opa | Dialect::Main => fault,
            Dialect::Gatekeeper(places) => Fault { location: fault.location.map(|l| places.in_file(l)), ..fault },
        }
    }

    /// The audit annotations in a result.
    fn annotations(&self, result: &Value, uid: &str) -> Result<BTreeMap<String, String>, String> {
        match self.dialect {
            Dialect::Main => {
                let annotations = system_main::read(result, uid)?.annotations;
                output::annotations(&serde_json::json!({ "audit_annotations": annotations }))
            }
            Dialect::Opa | Dialect::Gatekeeper(_) => output::annotations(result),
        }
    }

    /// Where the rule stands that most likely gave `msg`.
    pub(crate) fn location_of(&self, rule: &str, msg: &str) -> Option<Location> {
        let at = self.rules.get(rule).and_then(|d| d.of_message(msg)).cloned()?;
        Some(match &self.dialect {
            Dialect::Opa | Dialect::Main => at,
            Dialect::Gatekeeper(places) => places.in_file(at),
        })
    }
}

fn namespace_of(request: &Request, inventory: &Inventory, needed: bool) -> (Namespace, Vec<Read>, Option<Duration>) {
    if request.is_on_namespace() {
        let own = request.subject().get("metadata").or_else(|| request.old_object().get("metadata"));
        let is_namespace = request.subject().get("kind").and_then(Value::as_str) == Some("Namespace");
        if let Some(metadata) = own.filter(|_| is_namespace) {
            return (Namespace::Known(Arc::new(metadata.clone())), Vec::new(), None);
        }
    }
    // A subresource of a Namespace that carries another object is judged by what is known of the Namespace.
    let name = if request.is_on_namespace() { &request.name } else { &request.namespace };
    if name.is_empty() || !needed {
        return (Namespace::None, Vec::new(), None);
    }
    match inventory.namespaces.metadata(name) {
        None => (Namespace::Unknown(name.clone()), Vec::new(), inventory.age),
        Some(metadata) => {
            let read = asker::read_of(name, &metadata);
            (Namespace::Known(metadata), vec![read], inventory.age)
        }
    }
}

fn fault(code: ErrorCode, msg: &str) -> Fault {
    Fault { code, msg: msg.to_owned(), location: None }
}
