//! The seam to regorus: one policy as a unit that takes an input and gives a JSON result or a fault.
//!
//! The interpreter is the reference, and can run every policy. Where a policy can be compiled to a plan, the plan is
//! run first and the interpreter is asked only where that gives no ordinary answer. Knows nothing of requests,
//! enforcement or failure modes.

mod json;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use regorus::{Engine, LimitError, Value};

use crate::engine::plan::{self, Halt, Obstacle, Plan};
use crate::engine::rewrite::{MOCKS, Originals, Places, wrappers};
use crate::engine::{Endpoint, ErrorCode, Location, Way, Ways};
use crate::engine::{builtins, meter, prints, veil, wording};
use crate::memory;
use crate::policy::{Budget, RegoVersion};

/// Work units between two looks at the clock: a loop is stopped within well under a millisecond.
const CHECK_INTERVAL: NonZeroU32 = match NonZeroU32::new(64) {
    Some(n) => n,
    None => NonZeroU32::MIN,
};

/// Package of the generated entry rules. It cannot be written as an identifier of a user's package by chance.
const ENTRY_PACKAGE: &str = "__portcullis_entry__";

/// What an evaluation may know of the world.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct World {
    /// What `time.now_ns()` gives.
    pub now_ns: i64,
    /// Seed of the random builtins.
    pub seed: u64,
}

thread_local! {
    static WORLD: Cell<World> = const { Cell::new(World { now_ns: 0, seed: 0 }) };
}

/// The world of the evaluation that runs on this thread.
pub(crate) fn world() -> World {
    WORLD.get()
}

/// Sets the world for evaluations that do not go through a [`Unit`], with the budget that policies have by default.
pub(crate) fn set_world(world: World) {
    WORLD.set(world);
    meter::begin(&Budget::default());
}

/// Why an evaluation gave nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    /// What kind of fault.
    pub code: ErrorCode,
    /// For the policy's author.
    pub msg: String,
    /// Where, if the engine says.
    pub location: Option<Location>,
}

/// A file of a unit.
pub(crate) struct UnitModule<'a> {
    pub path: &'a str,
    pub places: &'a Arc<Places>,
    pub version: RegoVersion,
}

/// One policy, ready to run. Invariant: `engine` is prepared, so a clone costs little.
pub(crate) struct Unit {
    engine: Engine,
    originals: Originals,
    entries: BTreeMap<Endpoint, String>,
    plan: Result<Plan, Obstacle>,
}

/// Values of the rules of an endpoint, with the way they came by.
pub(crate) struct Found {
    /// `{rule: value}` with only the rules that are defined.
    pub values: serde_json::Value,
    /// How they were found.
    pub way: Way,
}

/// How a unit is compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnitOptions {
    /// Whether errors of builtins end the evaluation.
    pub strict: bool,
    /// The ways it may be run.
    pub ways: Ways,
}

impl Unit {
    /// Compiles `modules` with `data`. `rules` are, by endpoint, the rules of `package` that are read.
    pub(crate) fn compile(
        modules: &[UnitModule<'_>],
        data: &Value,
        package: &[String],
        rules: &BTreeMap<Endpoint, Vec<String>>,
        options: UnitOptions,
    ) -> Result<Self, Fault> {
        let texts: Vec<&str> = modules.iter().map(|m| m.places.text()).collect();
        let mut originals = Originals::default();
        modules.iter().for_each(|m| originals.add(m.path, m.places));
        let fault = |e: &anyhow::Error| originals.fault(fault(e));
        let mut engine = new_engine(options.strict, &texts).map_err(|e| fault(&e))?;
        for module in modules {
            let silent = prints::silenced(module.places.text(), module.version == RegoVersion::V0);
            let silent = silent.map(|text| Arc::new(module.places.alike(&text)));
            let module = UnitModule { places: silent.as_ref().unwrap_or(module.places), ..*module };
            add_module(&mut engine, &module).map_err(|e| fault(&e))?;
        }
        let plan = match options.ways {
            Ways::Auto => plan::compile(engine.get_modules(), data, package, rules, options.strict)
                .map_err(|obstacle| obstacle.at_place(|at| originals.place_of_span(at))),
            Ways::Interpreter => Err(Obstacle { reason: "the fast way is switched off".to_owned(), at: None }),
        };
        engine.set_rego_v0(false);
        engine.add_policy("entry".to_owned(), entry_module(package, rules)).map_err(|e| fault(&e))?;
        engine.add_data(data.clone()).map_err(|e| fault(&e))?;
        let entries: BTreeMap<Endpoint, String> =
            rules.keys().map(|e| (*e, format!("data.{ENTRY_PACKAGE}.{}", e.as_str()))).collect();
        for entry in entries.values() {
            engine.compile_with_entrypoint(&entry.as_str().into()).map_err(|e| fault(&e))?;
        }
        Ok(Self { engine, originals, entries, plan })
    }

    /// Why the policy is run by the interpreter alone, if it is.
    pub(crate) fn obstacle(&self) -> Option<&Obstacle> {
        self.plan.as_ref().err()
    }

    /// How it is run.
    pub(crate) fn way(&self) -> Way {
        if self.plan.is_ok() { Way::Plan } else { Way::Interpreter }
    }

    /// Runs the rules of `endpoint` on `input`, the fast way where there is one.
    ///
    /// A panic is a fault. Nothing here can be interrupted from outside: the pool's watchdog sees to that.
    pub(crate) fn run(
        &self,
        endpoint: Endpoint,
        input: &Value,
        world: World,
        budget: Duration,
    ) -> Result<Found, Fault> {
        let started = Instant::now();
        if let Some(answer) = self.run_plan(endpoint, input, world, budget) {
            return answer.map(|values| Found { values, way: Way::Plan });
        }
        let values = self.interpret_since(started, endpoint, input, world, budget)?;
        Ok(Found { values, way: Way::Interpreter })
    }

    /// Runs the plan. `None` if there is none, or if it has no ordinary answer: then it counts for nothing.
    pub(crate) fn run_plan(
        &self,
        endpoint: Endpoint,
        input: &Value,
        world: World,
        budget: Duration,
    ) -> Option<Result<serde_json::Value, Fault>> {
        let plan = self.plan.as_ref().ok()?;
        let before = meter::usage();
        let run = || {
            WORLD.set(world);
            let started = Instant::now();
            let deadline = started.checked_add(budget);
            match memory::bounded(meter::most_held(), || plan.run(endpoint, input, deadline)) {
                Err(Halt::Late) => Err(late(budget)),
                Err(Halt::Doubt) => Ok(None),
                // A bound was met: what that means, and where it was, the interpreter says.
                Ok(_) if meter::fault().is_some() => Ok(None),
                Ok(found) => given(&json::pairs_of(found), started, budget).map(Some),
            }
        };
        let answer = caught(run).transpose();
        if answer.is_none() {
            meter::go_back(before);
        }
        answer
    }

    /// Runs the interpreter, whatever the plan.
    pub(crate) fn interpret(
        &self,
        endpoint: Endpoint,
        input: &Value,
        world: World,
        budget: Duration,
    ) -> Result<serde_json::Value, Fault> {
        self.interpret_since(Instant::now(), endpoint, input, world, budget)
    }

    /// Runs the interpreter in what is left of the budget, which began to count at `started`.
    fn interpret_since(
        &self,
        started: Instant,
        endpoint: Endpoint,
        input: &Value,
        world: World,
        budget: Duration,
    ) -> Result<serde_json::Value, Fault> {
        let Some(entry) = self.entries.get(&endpoint) else {
            return Ok(serde_json::Value::Object(serde_json::Map::new()));
        };
        // What the interpreter looks at is not known.
        if veil::watching() {
            veil::look_through(input);
        }
        let run = || {
            WORLD.set(world);
            let mut engine = self.engine.clone();
            let limit = budget.saturating_sub(started.elapsed());
            engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval: CHECK_INTERVAL });
            engine.set_input(input.clone());
            let result = memory::bounded(meter::most_held(), || engine.eval_rule(entry.clone()));
            let value = within_budget(result).map_err(|f| match f.code {
                // The engine's own words count nanoseconds.
                ErrorCode::Budget if meter::fault().is_none() => Fault { location: f.location, ..late(budget) },
                _ => f,
            })?;
            given(&value, started, budget)
        };
        caught(run).map_err(|fault| self.originals.fault(fault))
    }
}

/// What the rules gave as JSON, if that and the time it took are within the budget. `pairs`: a set of `[rule, value]`.
fn given(pairs: &Value, started: Instant, budget: Duration) -> Result<serde_json::Value, Fault> {
    meter::output(pairs).map_err(|e| budget_fault(e.0))?;
    // What took too long counts as such even if it came to an end: where builtin errors are undefined, the engine lets a
    // limit inside a function pass as one of them.
    if started.elapsed() >= budget {
        return Err(late(budget));
    }
    match pairs {
        Value::Undefined => Ok(serde_json::Value::Object(serde_json::Map::new())),
        pairs => json::of_pairs(pairs).map_err(|e| output_fault(&e)),
    }
}

fn late(budget: Duration) -> Fault {
    budget_fault(format!("the policy took longer than its {} ms", budget.as_millis()))
}

fn output_fault(error: &serde_json::Error) -> Fault {
    Fault { code: ErrorCode::Output, msg: error.to_string(), location: None }
}

/// What an evaluation gave. A bound that was met counts whatever came of it: where builtin errors are undefined, the
/// engine takes an error inside a function for one of them.
pub(crate) fn within_budget<T>(result: anyhow::Result<T>) -> Result<T, Fault> {
    match (meter::fault(), result) {
        (None, result) => result.map_err(|e| fault(&e)),
        (Some(msg), Ok(_)) => Err(budget_fault(msg)),
        (Some(msg), Err(e)) => Err(Fault { location: fault(&e).location, ..budget_fault(msg) }),
    }
}

fn budget_fault(msg: String) -> Fault {
    Fault { code: ErrorCode::Budget, msg, location: None }
}

/// Runs what may panic; a panic is a fault.
pub(crate) fn caught<T>(run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Fault { code: ErrorCode::Panic, msg: format!("the evaluation panicked: {text}"), location: None })
    })
}

/// Lines of a policy may be this wide: certificates and tokens stand in one line.
const MAX_COLUMN: NonZeroU32 = NonZeroU32::MIN.saturating_add((1 << 18) - 1);

/// Bytes of a policy file.
const MAX_FILE: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 20) - 1);

/// Lines of a policy file.
const MAX_LINES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(20_000 - 1);

/// An engine that can parse, with our limits of size and no builtins of ours.
pub(crate) fn empty_engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_rego_v0(false);
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: MAX_COLUMN,
        max_file_bytes: MAX_FILE,
        max_lines: MAX_LINES,
    });
    engine
}

/// An engine for modules of these texts, with our builtins in place of those that read the world or go without bounds.
pub(crate) fn new_engine(strict: bool, texts: &[&str]) -> anyhow::Result<Engine> {
    let mut engine = empty_engine();
    engine.set_strict_builtin_errors(strict);
    engine.set_gather_prints(true);
    builtins::install(&mut engine, strict, texts)?;
    if let Some(module) = wrappers(texts) {
        engine.add_policy(MOCKS.to_owned(), module)?;
    }
    Ok(engine)
}

/// Adds a module that parses, written as the engine takes it.
pub(crate) fn add_module(engine: &mut Engine, module: &UnitModule<'_>) -> anyhow::Result<()> {
    let v0 = module.version == RegoVersion::V0;
    engine.set_rego_v0(v0);
    engine.add_policy(module.path.to_owned(), module.places.text().to_owned())?;
    Ok(())
}

fn entry_module(package: &[String], rules: &BTreeMap<Endpoint, Vec<String>>) -> String {
    use std::fmt::Write as _;
    let mut text = format!("package {ENTRY_PACKAGE}\n");
    let path = rego_path(package);
    for (endpoint, rules) in rules {
        for rule in rules {
            let _ = writeln!(text, "{} contains [\"{rule}\", {path}.{rule}]", endpoint.as_str());
        }
    }
    text
}

/// `data["a"]["b"]`: also right for names that are no identifiers.
pub(crate) fn rego_path(package: &[String]) -> String {
    package.iter().fold("data".to_owned(), |path, step| {
        let step = serde_json::Value::from(step.as_str());
        format!("{path}[{step}]")
    })
}

/// Takes an error of regorus apart: its messages are a picture of the source with the message at the end.
pub(crate) fn fault(error: &anyhow::Error) -> Fault {
    let text = error.to_string();
    let limit = error.chain().any(<dyn std::error::Error>::is::<LimitError>);
    let location = text.lines().find_map(|line| {
        let place = line.trim_start().strip_prefix("--> ")?;
        let mut parts = place.rsplitn(3, ':');
        let column = parts.next()?.trim().parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        Some(Location { file: parts.next()?.to_owned(), line, column })
    });
    let msg = text.lines().rev().find_map(|l| l.trim_start().strip_prefix("error: ")).unwrap_or(text.trim());
    Fault {
        code: if limit { ErrorCode::Budget } else { ErrorCode::Evaluation },
        msg: wording::plain(msg),
        location: location.filter(|l| l.file != "entry"),
    }
}
