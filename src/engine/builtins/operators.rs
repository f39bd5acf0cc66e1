//! Operators as functions, under OPA's names, and under names that no policy can hide for operators on operands of
//! types that are not known at load.

use std::cmp::Ordering;

use regorus::Value;

use super::call::{Builtin, CallError, Outcome, operand, set, type_name, wrong};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "plus", arity: 2, call: plus },
    Builtin { name: "minus", arity: 2, call: minus },
    Builtin { name: "mul", arity: 2, call: mul },
    Builtin { name: "div", arity: 2, call: div },
    Builtin { name: "rem", arity: 2, call: rem },
    Builtin { name: "and", arity: 2, call: and },
    Builtin { name: "or", arity: 2, call: or },
    Builtin { name: "equal", arity: 2, call: |args| compare(args, Ordering::is_eq) },
    Builtin { name: "neq", arity: 2, call: |args| compare(args, Ordering::is_ne) },
    Builtin { name: "lt", arity: 2, call: |args| compare(args, Ordering::is_lt) },
    Builtin { name: "lte", arity: 2, call: |args| compare(args, Ordering::is_le) },
    Builtin { name: "gt", arity: 2, call: |args| compare(args, Ordering::is_gt) },
    Builtin { name: "gte", arity: 2, call: |args| compare(args, Ordering::is_ge) },
    Builtin { name: "__rego__.plus", arity: 2, call: plus },
    Builtin { name: "__rego__.minus", arity: 2, call: minus },
    Builtin { name: "__rego__.mul", arity: 2, call: mul },
    Builtin { name: "__rego__.div", arity: 2, call: div },
    Builtin { name: "__rego__.rem", arity: 2, call: rem },
    Builtin { name: "__rego__.and", arity: 2, call: and },
    Builtin { name: "__rego__.or", arity: 2, call: or },
];

/// Both operands as numbers.
macro_rules! numbers {
    ($args:expr) => {
        match (operand($args, 0)?, operand($args, 1)?) {
            (Value::Number(left), Value::Number(right)) => (left, right),
            (Value::Number(_), other) => return Err(wrong(1, "number", other)),
            (other, _) => return Err(wrong(0, "number", other)),
        }
    };
}

fn plus(args: &[Value]) -> Outcome {
    let (left, right) = numbers!(args);
    Ok(Value::Number(left.add(right)?))
}

fn minus(args: &[Value]) -> Outcome {
    match (operand(args, 0)?, operand(args, 1)?) {
        (Value::Number(left), Value::Number(right)) => Ok(Value::Number(left.sub(right)?)),
        (Value::Set(left), Value::Set(right)) => Ok(set(left.iter().filter(|v| !right.contains(v)).cloned())),
        (Value::Number(_) | Value::Set(_), other) => Err(CallError::Operand(format!(
            "operand 2 must be {} but got {}",
            type_name(operand(args, 0)?),
            type_name(other)
        ))),
        (other, _) => Err(wrong(0, "one of {number, set}", other)),
    }
}

fn mul(args: &[Value]) -> Outcome {
    let (left, right) = numbers!(args);
    Ok(Value::Number(left.mul(right)?))
}

fn div(args: &[Value]) -> Outcome {
    let (left, right) = numbers!(args);
    if right.as_f64() == Some(0.0) {
        return Err("divide by zero".into());
    }
    Ok(Value::Number(left.clone().divide(right)?))
}

fn rem(args: &[Value]) -> Outcome {
    let (left, right) = numbers!(args);
    if !left.is_integer() || !right.is_integer() {
        return Err("modulo on floating-point number".into());
    }
    if right.as_f64() == Some(0.0) {
        return Err("modulo by zero".into());
    }
    Ok(Value::Number(left.clone().modulo(right)?))
}

/// Both operands as sets.
macro_rules! sets {
    ($args:expr) => {
        match (operand($args, 0)?, operand($args, 1)?) {
            (Value::Set(left), Value::Set(right)) => (left, right),
            (Value::Set(_), other) => return Err(wrong(1, "set", other)),
            (other, _) => return Err(wrong(0, "set", other)),
        }
    };
}

fn and(args: &[Value]) -> Outcome {
    let (left, right) = sets!(args);
    Ok(set(left.iter().filter(|v| right.contains(v)).cloned()))
}

fn or(args: &[Value]) -> Outcome {
    let (left, right) = sets!(args);
    Ok(set(left.iter().chain(right.iter()).cloned()))
}

fn compare(args: &[Value], holds: fn(Ordering) -> bool) -> Outcome {
    Ok(Value::from(holds(operand(args, 0)?.cmp(operand(args, 1)?))))
}
