//! The fast way: a policy, compiled to a plan in which every name is resolved, run without the interpreter.
//!
//! A plan takes the part of Rego in which nothing is left open; [`compile`] refuses the rest by name and place, and
//! the policy stays on the interpreter, which is the reference. A run never guesses either: whatever is no ordinary
//! answer (an error of a builtin, conflicting values, an odd collection) is [`Halt::Doubt`], and the interpreter is
//! asked. So a plan can give a decision sooner, and no other. The engine's own bytecode machine is not used: it
//! swallows errors and lets statements pass that have no value, where no gate on the source could see it.
//!
//! Knows regorus' syntax tree, values and functions; must not know requests, enforcement or where policies come from.

mod code;
mod depth;
mod lower;
mod run;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use regorus::Value;
use regorus::unstable::{Module, Ref};

use crate::engine::{Endpoint, Location};
use code::{Code, RuleId};
pub(crate) use run::Halt;

/// Why a policy cannot be compiled to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The construct, as in "`with`" or "a negation that iterates".
    pub reason: String,
    /// Where it stands.
    pub at: Option<Location>,
}

impl Obstacle {
    /// The same with its place as `place` has it.
    pub(crate) fn at_place(self, place: impl FnOnce(Location) -> Location) -> Self {
        Self { at: self.at.map(place), ..self }
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// A policy as a plan.
#[derive(Debug)]
pub(crate) struct Plan {
    code: Arc<Code>,
    constants: Vec<Value>,
    data: Value,
    strict: bool,
    entries: BTreeMap<Endpoint, Vec<(String, RuleId)>>,
    id: u64,
}

/// Compiles the rules of `package` that `rules` names by endpoint, with all they need of `modules`. `data` is the base
/// document; `strict` says whether errors of builtins count.
///
/// # Errors
/// The first construct that a plan does not take.
pub(crate) fn compile(
    modules: &[Ref<Module>],
    data: &Value,
    package: &[String],
    rules: &BTreeMap<Endpoint, Vec<String>>,
    strict: bool,
) -> Result<Plan, Obstacle> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let lowered = lower::lower(modules, data, package, rules)?;
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let lower::Lowered { code, constants, entries } = lowered;
    Ok(Plan { code: Arc::new(code), constants, data: data.clone(), strict, entries, id })
}

impl Plan {
    /// The values of the rules of `endpoint` that have one, in the order of their names.
    pub(crate) fn run(
        &self,
        endpoint: Endpoint,
        input: &Value,
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Value)>, Halt> {
        let constants = self.constants_of_this_thread();
        let mut run = run::Run::new(&self.code, &constants, input, &self.data, self.strict, deadline);
        let mut found = Vec::new();
        for (name, rule) in self.entries.get(&endpoint).into_iter().flatten() {
            let value = run.rule(*rule)?;
            if value != Value::Undefined {
                found.push((name.clone(), value));
            }
        }
        Ok(found)
    }

    /// A copy of the constants that no other thread counts references to.
    fn constants_of_this_thread(&self) -> Rc<[Value]> {
        type Copies = BTreeMap<u64, (Weak<Code>, Rc<[Value]>)>;
        thread_local! {
            static COPIES: RefCell<Copies> = const { RefCell::new(BTreeMap::new()) };
        }
        COPIES.with_borrow_mut(|copies| {
            if let Some((_, constants)) = copies.get(&self.id) {
                return Rc::clone(constants);
            }
            // A new plan is the time to let go of those whose policy set is gone.
            copies.retain(|_, (code, _)| code.strong_count() > 0);
            let constants: Rc<[Value]> = self.constants.iter().map(own_copy).collect();
            copies.insert(self.id, (Arc::downgrade(&self.code), Rc::clone(&constants)));
            constants
        })
    }
}

/// The same value in memory of its own.
fn own_copy(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(text.as_ref()),
        Value::Array(items) => Value::from(items.iter().map(own_copy).collect::<Vec<_>>()),
        Value::Set(items) => Value::from(items.iter().map(own_copy).collect::<std::collections::BTreeSet<_>>()),
        Value::Object(map) => {
            Value::from(map.iter().map(|(k, v)| (own_copy(k), own_copy(v))).collect::<BTreeMap<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined => value.clone(),
    }
}
