//! Rego about Rego: `rego.parse_module`, and what template strings come to.

use std::fmt::Write as _;

use regorus::Value;

use crate::engine::builtins::call::{Builtin, CallError, Outcome, at_most, items, string};
use crate::engine::builtins::sprintf::opa_text;
use crate::engine::rego;
use crate::policy::RegoVersion;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "rego.parse_module", arity: 2, call: parse_module },
    Builtin { name: "__rego__.template_string", arity: 1, call: template_string },
];

/// Bytes of a text that is parsed.
const MAX_MODULE: usize = 1 << 20;

/// Bytes of a template string.
const MAX_TEXT: usize = 1 << 20;

/// The syntax tree of a Rego v1 module as OPA's JSON, without places and comments.
fn parse_module(args: &[Value]) -> Outcome {
    string(args, 0)?;
    let text = string(args, 1)?;
    at_most(text.len(), MAX_MODULE, "bytes of a module")?;
    let module = rego::parse_module(text, RegoVersion::V1).map_err(|flaw| flaw.message)?;
    Ok(Value::from(rego::json(&module)))
}

/// The parts of a template string together. An expression is a set of its value, empty where it is undefined.
fn template_string(args: &[Value]) -> Outcome {
    let mut out = String::new();
    for part in items(args, 0)? {
        match part {
            Value::Set(values) => {
                let mut values = values.iter();
                match (values.next(), values.next()) {
                    (None, _) => out.push_str("<undefined>"),
                    (Some(value), None) => print(value, &mut out)?,
                    (Some(_), Some(_)) => {
                        let message = "an expression of a template string must have one value";
                        return Err(CallError::Unsupported(message.to_owned()));
                    }
                }
            }
            value => print(value, &mut out)?,
        }
        at_most(out.len(), MAX_TEXT, "bytes of a template string")?;
    }
    Ok(Value::from(out))
}

fn print(value: &Value, out: &mut String) -> Result<(), CallError> {
    match value {
        Value::String(text) => out.push_str(text),
        other => drop(write!(out, "{}", opa_text(other)?)),
    }
    Ok(())
}
