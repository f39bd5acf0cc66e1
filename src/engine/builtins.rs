//! Builtins of ours: those of OPA that the engine lacks, and those in place of the engine's that read the world, go
//! without bounds or answer otherwise than OPA.
//!
//! Pure: the door to the network, the time and the seed come from the [`World`] of the evaluation, so a decision can be made again. An operand
//! that a builtin cannot work with makes the call undefined, or an error where the policy wants builtin errors strict;
//! a bound that is met is always an error. `docs/builtins.md` is the table for authors.

mod aws;
mod call;
mod collections;
mod crypto;
mod encoding;
mod glob;
mod graphql;
mod http;
mod json;
mod jwt;
mod metered;
mod net;
mod numbers;
mod operators;
mod regex;
mod rego;
mod sprintf;
mod strings;
mod template;
mod uri;
mod world;

use regorus::{Engine, Value};

use crate::engine::meter::{self, BudgetPart};

pub(crate) use call::Builtin;
use call::CallError;
pub(crate) use json::Nowhere;
pub use jwt::{JwsError, JwsKey, JwsSigningKey};
pub(crate) use metered::Metered;

/// Every family.
const FAMILIES: &[&[Builtin]] = &[
    aws::BUILTINS,
    collections::BUILTINS,
    glob::BUILTINS,
    graphql::BUILTINS,
    http::BUILTINS,
    json::BUILTINS,
    jwt::BUILTINS,
    net::BUILTINS,
    numbers::BUILTINS,
    operators::BUILTINS,
    regex::BUILTINS,
    rego::BUILTINS,
    sprintf::BUILTINS,
    strings::BUILTINS,
    uri::BUILTINS,
    world::BUILTINS,
];

/// All builtins that are installed here.
fn all() -> impl Iterator<Item = &'static Builtin> {
    FAMILIES.iter().chain(crypto::BUILTINS).copied().flatten()
}

/// Names of the builtins that are installed here.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|b| b.name)
}

/// The builtin of this name, if it is installed here.
pub(crate) fn named(name: &str) -> Option<&'static Builtin> {
    all().find(|b| b.name == name)
}

/// The builtin of the engine of this name, if there is a bound before it.
pub(crate) fn metered(name: &str) -> Option<&'static Metered> {
    metered::METERED.iter().find(|b| b.name == name)
}

/// How many operands a builtin that is installed here takes, its output not counted.
pub(crate) fn arity(name: &str) -> Option<u8> {
    named(name).map(|b| b.arity)
}

/// Those that the engine has no builtin of its own for.
pub(crate) fn unknown_to_engine() -> impl Iterator<Item = &'static Builtin> {
    all().filter(|b| !regorus::unstable::BUILTINS.contains_key(b.name))
}

/// Puts into an engine those that `texts` may call, and a bound before those of the engine that build something.
/// `strict` says whether an operand that a builtin cannot work with is an error. Every evaluation clones the engine
/// with all that was put into it, so what no text names stays out.
pub(crate) fn install(engine: &mut Engine, strict: bool, texts: &[&str]) -> anyhow::Result<()> {
    let named = |name: &str| texts.iter().any(|text| may_call(text, name));
    for builtin in all().filter(|b| named(b.name)) {
        let call = move |args: Vec<Value>| call_ours(builtin, &args, strict);
        engine.add_extension(builtin.name.to_owned(), builtin.arity, Box::new(call))?;
    }
    for builtin in metered::METERED.iter().filter(|b| named(b.name)) {
        let call = move |args: Vec<Value>| call_metered(builtin, &args, strict);
        engine.add_extension(builtin.name.to_owned(), builtin.arity(), Box::new(call))?;
    }
    Ok(())
}

/// An answer, counted against the policy's budget.
fn counted(outcome: call::Outcome) -> call::Outcome {
    let value = outcome?;
    meter::built(&value)?;
    Ok(value)
}

/// Whether the last step of the name stands in the text, or could by an escape in brackets (`io["\u006awt"]`). A name
/// of one step stands before its operands.
fn may_call(text: &str, name: &str) -> bool {
    if !name.contains('.') || name.starts_with("__rego__.") {
        return text.match_indices(name).any(|(at, _)| text.get(at + name.len()..).is_some_and(|t| t.starts_with('(')));
    }
    text.contains("\\u") || name.rsplit('.').next().is_some_and(|step| text.contains(step))
}

/// Calls a builtin of ours and counts what it gives; see [`install`].
pub(crate) fn call_ours(builtin: &Builtin, args: &[Value], strict: bool) -> anyhow::Result<Value> {
    answer(builtin.name, counted((builtin.call)(args)), strict)
}

/// Calls a builtin of the engine's with the bound before it; see [`install`].
pub(crate) fn call_metered(builtin: &Metered, args: &[Value], strict: bool) -> anyhow::Result<Value> {
    answer(builtin.name, builtin.call(args, strict), strict)
}

fn answer(name: &str, outcome: call::Outcome, strict: bool) -> anyhow::Result<Value> {
    match outcome {
        Ok(value) => Ok(value),
        Err(CallError::Operand(_)) if !strict => Ok(Value::Undefined),
        Err(error) => {
            let msg = format!("`{}`: {error}", name.trim_start_matches("__rego__."));
            if matches!(error, CallError::Limit(_)) {
                // Inside a function the engine may take an error for undefined; a bound stays one.
                meter::exceed(BudgetPart::Value, &msg);
            }
            Err(anyhow::Error::msg(msg))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TABLE: &str = include_str!("../../docs/builtins.md");

    /// Names of the table's rows in this state.
    fn rows(state: &str) -> BTreeSet<&'static str> {
        let cells = TABLE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        cells.filter(|(_, rest)| rest.starts_with(&format!("{state} |"))).map(|(name, _)| name).collect()
    }

    #[test]
    fn the_table_says_what_is_there() {
        assert_eq!(rows("here"), names().filter(|n| !n.starts_with("__rego__.")).collect());
        let infix = ["print"];
        let engine = regorus::unstable::BUILTINS.keys().copied().filter(|n| !n.starts_with("__"));
        let engine: BTreeSet<&str> = engine.filter(|n| names().all(|ours| ours != *n)).chain(infix).collect();
        assert_eq!(rows("engine"), engine);
        assert!(rows("no").iter().all(|n| !regorus::unstable::BUILTINS.contains_key(n)));
    }

    #[test]
    fn no_name_stands_twice() {
        assert_eq!(names().count(), names().collect::<BTreeSet<_>>().len());
    }

    /// Any operand gives an answer or an error: a panic would cost the policy its evaluation.
    #[test]
    fn no_operand_makes_a_builtin_panic() {
        const TEXTS: [&str; 18] = [
            "",
            "a",
            "é%",
            "%*d%!",
            "[",
            "{{",
            "{{.a",
            "\\",
            "a.b.c",
            "e30.e30.",
            "-----BEGIN CERTIFICATE-----\n-----END",
            "1e9e9",
            "-.e+5Ki",
            "10.0.0.0/8",
            "::/0",
            "{a{b}",
            "query{a(b:\"\\u12",
            "http://[::1",
        ];
        let texts = TEXTS.into_iter().map(Value::from);
        let documents = ["null", "true", "-1", "1.5", "1e300", "[]", "[[], {}]", "{}", "{\"keys\": [{}]}"];
        let documents = documents.into_iter().map(|d| Value::from_json_str(d).expect("JSON"));
        let values: Vec<Value> = texts.chain(documents).chain([Value::new_set()]).collect();
        for builtin in all() {
            let arity = u32::from(builtin.arity);
            // All combinations of two; a spread of those of more.
            let stride = if arity > 2 { 37 } else { 1 };
            for number in (0..values.len().pow(arity)).step_by(stride) {
                let digit = |n: u32| number / values.len().pow(n) % values.len();
                let args: Vec<Value> = (0..arity).map(|n| values[digit(n)].clone()).collect();
                let outcome = std::panic::catch_unwind(|| (builtin.call)(&args));
                assert!(outcome.is_ok(), "`{}` panics on {args:?}", builtin.name);
            }
        }
    }
}
