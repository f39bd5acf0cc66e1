//! What a builtin is: its name, its arity, its function; and how it reads its operands and fails.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;

use crate::engine::meter::Exceeded;

/// A builtin of ours.
#[derive(Debug)]
pub(crate) struct Builtin {
    /// Dotted name.
    pub name: &'static str,
    /// Number of operands.
    pub arity: u8,
    /// What it does.
    pub call: fn(&[Value]) -> Outcome,
}

/// What a call gives. `Value::Undefined` is an ordinary answer.
pub(crate) type Outcome = Result<Value, CallError>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// An operand the builtin cannot work with: undefined, unless errors of builtins are strict.
    #[error("{0}")]
    Operand(String),
    /// A bound was met: always an error, so that no `not f(x)` becomes true because of it.
    #[error("{0}")]
    Limit(String),
    /// Not done here whatever the operands; always an error, for the same reason.
    #[error("{0}")]
    Unsupported(String),
}

impl From<String> for CallError {
    fn from(msg: String) -> Self {
        Self::Operand(msg)
    }
}

impl From<&str> for CallError {
    fn from(msg: &str) -> Self {
        Self::Operand(msg.to_owned())
    }
}

impl From<anyhow::Error> for CallError {
    fn from(e: anyhow::Error) -> Self {
        Self::Operand(e.to_string())
    }
}

impl From<Exceeded> for CallError {
    fn from(exceeded: Exceeded) -> Self {
        Self::Limit(exceeded.0)
    }
}

/// Operand `n` (from 0), whatever it is.
pub(super) fn operand(args: &[Value], n: usize) -> Result<&Value, CallError> {
    args.get(n).ok_or_else(|| CallError::Operand(format!("operand {} is missing", n + 1)))
}

/// Operand `n` as a string.
pub(super) fn string(args: &[Value], n: usize) -> Result<&str, CallError> {
    match operand(args, n)? {
        Value::String(s) => Ok(s),
        other => Err(wrong(n, "string", other)),
    }
}

/// Operand `n` as a whole number that fits 64 bits.
pub(super) fn integer(args: &[Value], n: usize) -> Result<i64, CallError> {
    let value = operand(args, n)?;
    match value {
        Value::Number(number) => {
            number.as_i64().ok_or_else(|| format!("operand {} must be an integer number", n + 1).into())
        }
        other => Err(wrong(n, "number", other)),
    }
}

/// A number as the nearest float, whatever it is inside.
pub(super) fn float(number: &Value) -> Option<f64> {
    match number {
        Value::Number(n) => n.as_f64().or_else(|| n.format_decimal().parse().ok()),
        _ => None,
    }
}

/// Operand `n` as a collection: the items of an array or a set, in order.
pub(super) fn items(args: &[Value], n: usize) -> Result<Vec<&Value>, CallError> {
    match operand(args, n)? {
        Value::Array(items) => Ok(items.iter().collect()),
        Value::Set(items) => Ok(items.iter_sorted().collect()),
        other => Err(wrong(n, "one of {array, set}", other)),
    }
}

/// The bound: `count` must not pass `most`.
pub(super) fn at_most(count: usize, most: usize, what: &str) -> Result<(), CallError> {
    if count <= most {
        return Ok(());
    }
    Err(CallError::Limit(format!("{count} {what} are more than the {most} that are allowed")))
}

/// The error of an operand of the wrong type.
pub(super) fn wrong(n: usize, wanted: &str, got: &Value) -> CallError {
    CallError::Operand(format!("operand {} must be {wanted} but got {}", n + 1, type_name(got)))
}

/// Rego's name of a value's type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Set(_) => "set",
        Value::Object(_) => "object",
        Value::Undefined => "undefined",
    }
}

/// An object with string keys.
pub(super) fn object<K: Into<Value>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::from(pairs.into_iter().map(|(k, v)| (k.into(), v)).collect::<BTreeMap<Value, Value>>())
}

/// A set.
pub(super) fn set(items: impl IntoIterator<Item = Value>) -> Value {
    Value::from(items.into_iter().collect::<BTreeSet<Value>>())
}

/// A field of an object.
pub(super) fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(&Value::from(key)),
        _ => None,
    }
}
