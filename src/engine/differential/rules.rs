//! Both ways on single rules of any modules: for conformance cases, which are no policies.

use std::collections::BTreeMap;

use regorus::Value;

use super::BUDGET;
use crate::engine::compile::on_large_stack;
use crate::engine::evaluate::{self, Fault, World, rego_path};
use crate::engine::parse::{Parsed, parse_all};
use crate::engine::plan;
use crate::engine::query::evaluate_term;
use crate::engine::{Endpoint, Query, QueryInput};
use crate::policy::LoadError;

/// What came of the rules of some modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleComparison {
    /// Rules in which both ways answered.
    pub compared: usize,
    /// Rules whose answer the fast way left to the interpreter.
    pub left: usize,
    /// Rules that cannot be run the fast way.
    pub refused: usize,
    /// Rules whose answers differ, with both.
    pub differing: Vec<String>,
}

/// Holds the ways against one another on every rule of `query`'s modules; its text is not looked at.
///
/// # Errors
/// What keeps a module from being loaded.
pub fn compare_rules(query: &Query<'_>) -> Result<RuleComparison, Vec<LoadError>> {
    let mut errors = Vec::new();
    let parsed = parse_all(query.modules.iter(), &BTreeMap::new(), &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    on_large_stack(|| {
        let found = evaluate::caught(|| compare(query, &parsed));
        found.map_err(|fault| vec![LoadError::new("", fault.code.as_str(), &fault.msg)])
    })
}

fn compare(query: &Query<'_>, parsed: &[Parsed<'_>]) -> Result<RuleComparison, Fault> {
    let fault = |e: anyhow::Error| evaluate::fault(&e);
    let texts: Vec<&str> = parsed.iter().map(|m| m.places.text()).collect();
    let mut engine = evaluate::new_engine(query.strict, &texts).map_err(fault)?;
    for module in parsed {
        evaluate::add_module(&mut engine, &module.unit()).map_err(fault)?;
    }
    let data = Value::from(query.data.clone());
    engine.add_data(data.clone()).map_err(fault)?;
    let world = World { now_ns: query.now_ns, seed: query.seed };
    evaluate::set_world(world);
    let input = match &query.input {
        QueryInput::Absent => Value::Undefined,
        QueryInput::Json(input) => Value::from(input.clone()),
        QueryInput::Term(term) => evaluate_term(term).map_err(fault)?,
    };
    if input != Value::Undefined {
        engine.set_input(input.clone());
    }
    let mut names: Vec<(&[String], &str)> = parsed
        .iter()
        .flat_map(|p| {
            p.info.rules.iter().filter(|r| !r.is_function).map(|r| (p.info.package.as_slice(), r.name.as_str()))
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut found = RuleComparison::default();
    for (package, name) in names {
        // Each has a budget of its own.
        evaluate::set_world(world);
        let rules = BTreeMap::from([(Endpoint::Validate, vec![name.to_owned()])]);
        let Ok(plan) = plan::compile(engine.get_modules(), &data, package, &rules, query.strict) else {
            found.refused += 1;
            continue;
        };
        let Ok(answer) = plan.run(Endpoint::Validate, &input, std::time::Instant::now().checked_add(BUDGET)) else {
            found.left += 1;
            continue;
        };
        let plan = answer.into_iter().next().map_or(Value::Undefined, |(_, value)| value);
        let path = format!("{}.{name}", rego_path(package));
        // What the engine does not load is run neither way.
        let mut engine = engine.clone();
        if engine.compile_with_entrypoint(&path.as_str().into()).is_err() {
            found.refused += 1;
            continue;
        }
        let interpreted = engine.eval_rule(path);
        found.compared += 1;
        match interpreted {
            Ok(value) if value == plan => {}
            other => {
                let other = other.map_or_else(|e| evaluate::fault(&e).msg, |v| v.to_string());
                found.differing.push(format!("{}.{name}: interpreter {other}, plan {plan}", package.join(".")));
            }
        }
    }
    Ok(found)
}
