//! The inputs that a policy's tests give it: what stands after `with input as`, as it is when the test runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde_json::Value as Json;

use crate::engine::evaluate::{self, UnitModule, World, rego_path};
use crate::engine::parse::{Parsed, parse_all};
use crate::engine::rewrite::Places;
use crate::engine::syntax;
use crate::policy::{RegoVersion, Sources};

/// Put around an input, hands it on and keeps a copy.
const KEEP: &str = "portcullis_kept_input";

/// No single test runs longer.
const BUDGET: Duration = Duration::from_secs(2);

/// Inputs kept of one set of policies.
const MOST_KEPT: usize = 5_000;

/// The inputs, each with the package of its test. A test that fails or cannot be loaded gives none.
pub(super) fn inputs_of_tests(sources: &Sources, now_ns: i64) -> Vec<(Vec<String>, Json)> {
    let parsed = parse_all(sources.modules.iter(), &sources.rego_versions, &mut Vec::new());
    let kept: Arc<Mutex<Vec<Value>>> = Arc::default();
    let Some(mut engine) = engine(&parsed, sources, &kept) else { return Vec::new() };
    let check_interval = std::num::NonZeroU32::MIN.saturating_add(63);
    engine.set_execution_timer_config(ExecutionTimerConfig { limit: BUDGET, check_interval });
    let mut found = Vec::new();
    for module in &parsed {
        let package = &module.info.package;
        for rule in module.info.rules.iter().filter(|r| r.name.starts_with("test_") && !r.is_function) {
            evaluate::set_world(World { now_ns, seed: 0 });
            // What a failing test saw was an input too.
            let _ = evaluate::caught(|| {
                engine.eval_rule(format!("{}.{}", rego_path(package), rule.name)).map_err(|e| evaluate::fault(&e))
            });
            let values = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
            found.extend(values.iter().filter_map(|v| Some((package.clone(), serde_json::to_value(v).ok()?))));
        }
    }
    found.sort_by_cached_key(|(package, input)| (package.clone(), input.to_string()));
    found.dedup();
    found.truncate(MOST_KEPT);
    found
}

fn engine(parsed: &[Parsed<'_>], sources: &Sources, kept: &Arc<Mutex<Vec<Value>>>) -> Option<Engine> {
    let texts: Vec<&str> = parsed.iter().map(|m| m.places.text()).collect();
    let mut engine = evaluate::new_engine(false, &texts).ok()?;
    let kept = Arc::clone(kept);
    let keep = move |mut values: Vec<Value>| {
        let value = values.pop().unwrap_or(Value::Undefined);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push(value.clone());
        }
        Ok(value)
    };
    engine.add_extension(KEEP.to_owned(), 1, Box::new(keep)).ok()?;
    for module in parsed {
        let watched = watched(module);
        let texts = watched.iter().map(|text| Arc::new(Places::same(text))).chain([Arc::clone(&module.places)]);
        let mut added = texts.map(|places| {
            let unit = UnitModule { path: &module.source.path, places: &places, version: module.version };
            evaluate::add_module(&mut engine, &unit)
        });
        // The text as it is, if it does not parse with our call in it.
        added.find_map(Result::ok)?;
    }
    engine.set_rego_v0(false);
    engine.add_data(Value::from(Json::Object(sources.data.clone()))).ok()?;
    Some(engine)
}

/// The text with our call around every input.
fn watched(module: &Parsed<'_>) -> Option<String> {
    if !module.source.is_test() {
        return None;
    }
    let mut engine = evaluate::empty_engine();
    engine.set_rego_v0(module.version == RegoVersion::V0);
    engine.add_policy(module.source.path.clone(), module.places.text().to_owned()).ok()?;
    let mut places = Vec::new();
    engine.get_modules().iter().for_each(|m| inputs_in(m, &mut places));
    places.sort_unstable();
    let mut text = module.places.text().to_owned();
    for (start, end) in places.into_iter().rev() {
        text.get(start..end)?;
        text.insert(end, ')');
        text.insert_str(start, &format!("{KEEP}("));
    }
    Some(text)
}

fn inputs_in(module: &Ref<Module>, places: &mut Vec<(usize, usize)>) {
    for rule in &module.policy {
        if let Rule::Spec { bodies, .. } = rule.as_ref() {
            bodies.iter().for_each(|b| of_query(&b.query, places));
        }
    }
}

fn of_query(query: &Query, places: &mut Vec<(usize, usize)>) {
    for statement in &query.stmts {
        if let Literal::Every { query, .. } = &statement.literal {
            of_query(query, places);
        }
        for modifier in &statement.with_mods {
            if syntax::plain_path(&modifier.refr).as_deref() == Some("input") {
                let (mut start, mut end) = (u32::MAX, 0);
                extent(&modifier.r#as, &mut start, &mut end);
                places.extend(usize::try_from(start).ok().zip(usize::try_from(end).ok()));
            }
        }
    }
}

/// From where to where an expression goes: the span of a reference begins at its last dot or bracket.
fn extent(expr: &Ref<Expr>, start: &mut u32, end: &mut u32) {
    let span = expr.span();
    (*start, *end) = ((*start).min(span.start), (*end).max(span.end));
    match expr.as_ref() {
        Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => extent(refr, start, end),
        Expr::Call { fcn, .. } => extent(fcn, start, end),
        Expr::BinExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
            extent(lhs, start, end);
            extent(rhs, start, end);
        }
        _ => {}
    }
}
