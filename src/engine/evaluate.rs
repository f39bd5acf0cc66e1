//! The seam to regorus: one policy as a unit that takes an input and gives a JSON result or a fault.
//!
//! The interpreter is the reference and the only way a policy is run. Knows nothing of requests, enforcement or
//! failure modes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use regorus::{Engine, LimitError, Value};

use crate::engine::{Endpoint, ErrorCode, Location, wording};
use crate::engine::{builtins, outputs};
use crate::policy::RegoVersion;

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

/// Sets the world for evaluations that do not go through a [`Unit`].
pub(crate) fn set_world(world: World) {
    WORLD.set(world);
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
    pub text: &'a str,
    pub version: RegoVersion,
}

/// One policy, ready to run. Invariant: `engine` is prepared, so a clone costs little.
pub(crate) struct Unit {
    engine: Engine,
    entries: BTreeMap<Endpoint, String>,
}

impl Unit {
    /// Compiles `modules` with `data`. `rules` are, by endpoint, the rules of `package` that are read.
    pub(crate) fn compile(
        modules: &[UnitModule<'_>],
        data: &Value,
        package: &[String],
        rules: &BTreeMap<Endpoint, Vec<String>>,
        strict: bool,
    ) -> Result<Self, Fault> {
        let texts: Vec<&str> = modules.iter().map(|m| m.text).collect();
        let mut engine = new_engine(strict, &texts).map_err(|e| fault(&e))?;
        for module in modules {
            add_module(&mut engine, module).map_err(|e| fault(&e))?;
        }
        engine.set_rego_v0(false);
        engine.add_policy("entry".to_owned(), entry_module(package, rules)).map_err(|e| fault(&e))?;
        engine.add_data(data.clone()).map_err(|e| fault(&e))?;
        let entries: BTreeMap<Endpoint, String> =
            rules.keys().map(|e| (*e, format!("data.{ENTRY_PACKAGE}.{}", e.as_str()))).collect();
        for entry in entries.values() {
            engine.compile_with_entrypoint(&entry.as_str().into()).map_err(|e| fault(&e))?;
        }
        Ok(Self { engine, entries })
    }

    /// Runs the rules of `endpoint` on `input`; gives `{rule: value}` with only the rules that are defined.
    ///
    /// A panic is a fault. Nothing here can be interrupted from outside: the pool's watchdog sees to that.
    pub(crate) fn run(
        &self,
        endpoint: Endpoint,
        input: Value,
        world: World,
        budget: Duration,
    ) -> Result<serde_json::Value, Fault> {
        let Some(entry) = self.entries.get(&endpoint) else {
            return Ok(serde_json::Value::Object(serde_json::Map::new()));
        };
        let run = || {
            WORLD.set(world);
            let mut engine = self.engine.clone();
            engine.set_execution_timer_config(ExecutionTimerConfig { limit: budget, check_interval: CHECK_INTERVAL });
            engine.set_input(input);
            let started = Instant::now();
            let value = engine.eval_rule(entry.clone()).map_err(|e| fault(&e))?;
            // Where builtin errors are undefined, the engine lets a limit inside a function pass as one of them.
            if started.elapsed() >= budget {
                let msg = format!("the policy took longer than its {} ms", budget.as_millis());
                return Err(Fault { code: ErrorCode::Budget, msg, location: None });
            }
            let pairs = match &value {
                Value::Undefined => Vec::new(),
                pairs => pairs_of(pairs).map_err(|e| Fault {
                    code: ErrorCode::Output,
                    msg: e.to_string(),
                    location: None,
                })?,
            };
            Ok(serde_json::Value::Object(pairs.into_iter().collect()))
        };
        caught(run)
    }
}

/// Rules with their values. JSON has no sets: a set of operations comes in the order of their paths, so that a parent is
/// written before what stands in it.
fn pairs_of(value: &Value) -> serde_json::Result<Vec<(String, serde_json::Value)>> {
    let mut pairs = Vec::new();
    for pair in value.as_set().map_err(serde::de::Error::custom)?.iter_sorted() {
        let (name, mut json): (String, serde_json::Value) = serde_json::from_value(serde_json::to_value(pair)?)?;
        let is_set = pair.as_array().is_ok_and(|p| matches!(p.get(1), Some(Value::Set(_))));
        if let (true, Some(items)) = (is_set, json.as_array_mut()) {
            items.sort_by(|a, b| {
                let path = |v: &serde_json::Value| v.get("path").and_then(serde_json::Value::as_str).map(str::to_owned);
                path(a).cmp(&path(b))
            });
        }
        pairs.push((name, json));
    }
    Ok(pairs)
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
    Ok(engine)
}

/// Adds a module that parses, written as the engine takes it.
pub(crate) fn add_module(engine: &mut Engine, module: &UnitModule<'_>) -> anyhow::Result<()> {
    let v0 = module.version == RegoVersion::V0;
    let text = outputs::rewrite(module.text, v0).unwrap_or_else(|| module.text.to_owned());
    engine.set_rego_v0(v0);
    engine.add_policy(module.path.to_owned(), text)?;
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
