//! Builtins on arrays, sets and types that the engine lacks: most of them names of Rego v0.

use regorus::Value;

use super::call::{Builtin, Outcome, items, operand, set, wrong};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "all", arity: 1, call: |args| Ok(items(args, 0)?.iter().all(|v| is_true(v)).into()) },
    Builtin { name: "any", arity: 1, call: |args| Ok(items(args, 0)?.iter().any(|v| is_true(v)).into()) },
    Builtin { name: "array.flatten", arity: 1, call: flatten },
    Builtin { name: "cast_array", arity: 1, call: |args| Ok(Value::from(owned(items(args, 0)?))) },
    Builtin { name: "cast_boolean", arity: 1, call: |args| same(args, "boolean", |v| matches!(v, Value::Bool(_))) },
    Builtin { name: "cast_null", arity: 1, call: |args| same(args, "null", |v| matches!(v, Value::Null)) },
    Builtin { name: "cast_object", arity: 1, call: |args| same(args, "object", |v| matches!(v, Value::Object(_))) },
    Builtin { name: "cast_set", arity: 1, call: |args| Ok(set(owned(items(args, 0)?))) },
    Builtin { name: "cast_string", arity: 1, call: |args| same(args, "string", |v| matches!(v, Value::String(_))) },
    Builtin { name: "set_diff", arity: 2, call: set_diff },
];

fn is_true(value: &Value) -> bool {
    matches!(value, Value::Bool(true))
}

fn owned(items: Vec<&Value>) -> Vec<Value> {
    items.into_iter().cloned().collect()
}

fn same(args: &[Value], wanted: &str, fits: fn(&Value) -> bool) -> Outcome {
    let value = operand(args, 0)?;
    if fits(value) { Ok(value.clone()) } else { Err(wrong(0, wanted, value)) }
}

/// Arrays among the items are replaced by their items, one level deep.
fn flatten(args: &[Value]) -> Outcome {
    let Value::Array(items) = operand(args, 0)? else {
        return Err(wrong(0, "array", operand(args, 0)?));
    };
    let mut flat = Vec::with_capacity(items.len());
    for item in items.iter() {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            other => flat.push(other.clone()),
        }
    }
    Ok(Value::from(flat))
}

fn set_diff(args: &[Value]) -> Outcome {
    match (operand(args, 0)?, operand(args, 1)?) {
        (Value::Set(a), Value::Set(b)) => Ok(set(a.iter().filter(|v| !b.contains(v)).cloned())),
        (Value::Set(_), other) => Err(wrong(1, "set", other)),
        (other, _) => Err(wrong(0, "set", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_flattened_one_level() {
        let nested = Value::from_json_str("[1, [2, [3]], [], \"a\"]").expect("JSON");
        assert_eq!(flatten(&[nested]).expect("flat"), Value::from_json_str("[1, 2, [3], \"a\"]").expect("JSON"));
    }

    #[test]
    fn differences_are_of_sets_only() {
        let of = |items: &[i64]| set(items.iter().map(|n| Value::from(*n)));
        assert_eq!(set_diff(&[of(&[1, 2]), of(&[2, 3])]), Ok(of(&[1])));
        assert!(set_diff(&[of(&[1]), Value::Null]).is_err());
    }
}
