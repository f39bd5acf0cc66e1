//! Builtins of ours: those of OPA that the engine lacks, and those in place of the engine's that read the world, go
//! without bounds or answer otherwise than OPA.
//!
//! Pure: the time and the seed come from the [`World`] of the evaluation, so a decision can be made again. An operand
//! that a builtin cannot work with makes the call undefined, or an error where the policy wants builtin errors strict;
//! a bound that is met is always an error. `docs/builtins.md` is the table for authors.

mod aws;
mod call;
mod collections;
mod crypto;
mod encoding;
mod glob;
mod graphql;
mod json;
mod jwt;
mod net;
mod numbers;
mod regex;
mod sprintf;
mod strings;
mod template;
mod uri;
mod world;

use regorus::{Engine, Value};

pub(crate) use call::Builtin;
use call::CallError;
pub use jwt::{JwsError, JwsKey, JwsSigningKey};

/// Every family.
const FAMILIES: &[&[Builtin]] = &[
    aws::BUILTINS,
    collections::BUILTINS,
    glob::BUILTINS,
    graphql::BUILTINS,
    json::BUILTINS,
    jwt::BUILTINS,
    net::BUILTINS,
    numbers::BUILTINS,
    regex::BUILTINS,
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

/// How many operands a builtin that is installed here takes, its output not counted.
pub(crate) fn arity(name: &str) -> Option<u8> {
    all().find(|b| b.name == name).map(|b| b.arity)
}

/// Those that the engine has no builtin of its own for.
pub(crate) fn unknown_to_engine() -> impl Iterator<Item = &'static Builtin> {
    all().filter(|b| !regorus::unstable::BUILTINS.contains_key(b.name))
}

/// Puts into an engine those that `texts` may call. `strict` says whether an operand that a builtin cannot work with
/// is an error. Every evaluation clones the engine with all that was put into it, so what no text names stays out.
pub(crate) fn install(engine: &mut Engine, strict: bool, texts: &[&str]) -> anyhow::Result<()> {
    for builtin in all().filter(|b| texts.iter().any(|text| may_call(text, b.name))) {
        let call = move |args: Vec<Value>| answer(builtin, &args, strict);
        engine.add_extension(builtin.name.to_owned(), builtin.arity, Box::new(call))?;
    }
    Ok(())
}

/// Whether the last step of the name stands in the text, or could by an escape in brackets (`io["\u006awt"]`).
fn may_call(text: &str, name: &str) -> bool {
    text.contains("\\u") || name.rsplit('.').next().is_some_and(|step| text.contains(step))
}

fn answer(builtin: &Builtin, args: &[Value], strict: bool) -> anyhow::Result<Value> {
    match (builtin.call)(args) {
        Ok(value) => Ok(value),
        Err(CallError::Operand(_)) if !strict => Ok(Value::Undefined),
        Err(error) => anyhow::bail!("`{}`: {error}", builtin.name),
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
        assert_eq!(rows("here"), names().collect());
        let infix = ["and", "or", "minus", "print"];
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
