//! `graphql.*`: parsing and validation of GraphQL documents (October 2021 specification). Pure text: no schema is
//! fetched, no query is run.

mod document;
mod fields;
mod lexer;
mod parse;
mod parse_schema;
mod schema;
mod validate;
mod values;

use regorus::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Builtin, CallError, Outcome, operand, string, wrong};
use super::encoding::json;
use document::{QueryDocument, SchemaDocument};
use schema::Schema;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "graphql.is_valid",
        arity: 2,
        call: |args| answer(verified(args), |_| Ok(true.into()), false.into()),
    },
    Builtin { name: "graphql.parse", arity: 2, call: |args| verified(args).and_then(|d| pair(&d).map(Value::from)) },
    Builtin { name: "graphql.parse_and_verify", arity: 2, call: parse_and_verify },
    Builtin { name: "graphql.parse_query", arity: 1, call: |args| shown(&parse::query(string(args, 0)?)?) },
    Builtin { name: "graphql.parse_schema", arity: 1, call: |args| shown(&parse_schema::schema(string(args, 0)?)?) },
    Builtin {
        name: "graphql.schema_is_valid",
        arity: 1,
        call: |args| {
            let schema = document(args, 0, parse_schema::schema).and_then(|d: SchemaDocument| Schema::new(&d));
            answer(schema, |_| Ok(true.into()), false.into())
        },
    },
];

/// A document that is text, or one that was parsed before.
fn document<D: DeserializeOwned>(
    args: &[Value],
    n: usize,
    parse: fn(&str) -> Result<D, CallError>,
) -> Result<D, CallError> {
    match operand(args, n)? {
        Value::String(text) => parse(text),
        value @ Value::Object(_) => Ok(serde_json::from_str(&json(value)?).map_err(|e| e.to_string())?),
        other => Err(wrong(n, "one of {string, object}", other)),
    }
}

fn shown(document: &impl Serialize) -> Outcome {
    Ok(Value::from(serde_json::to_value(document).map_err(|e| e.to_string())?))
}

fn verified(args: &[Value]) -> Result<(QueryDocument, SchemaDocument), CallError> {
    let query = document(args, 0, parse::query)?;
    let schema = document(args, 1, parse_schema::schema)?;
    validate::validate(&Schema::new(&schema)?, &query)?;
    Ok((query, schema))
}

fn pair((query, schema): &(QueryDocument, SchemaDocument)) -> Result<Vec<Value>, CallError> {
    Ok(vec![shown(query)?, shown(schema)?])
}

/// What is malformed or invalid gives the other answer; a bound that is met stays an error.
fn answer<T>(result: Result<T, CallError>, good: impl Fn(T) -> Outcome, otherwise: Value) -> Outcome {
    match result {
        Ok(value) => good(value),
        Err(CallError::Operand(_)) => Ok(otherwise),
        Err(other) => Err(other),
    }
}

fn parse_and_verify(args: &[Value]) -> Outcome {
    let unverified = Value::from(vec![false.into(), Value::new_object(), Value::new_object()]);
    let good = |documents| {
        let mut all = vec![Value::from(true)];
        all.extend(pair(&documents)?);
        Ok(Value::from(all))
    };
    answer(verified(args), good, unverified)
}
