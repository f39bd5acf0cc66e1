//! Builtins that read the world: time, randomness, the process. All of it is the evaluation's own
//! [`World`](crate::engine::evaluate::World).

use regorus::Value;
use sha2::{Digest as _, Sha256};

use super::call::{Builtin, Outcome, integer, object, string};
use crate::engine::evaluate::world;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "opa.runtime", arity: 0, call: |_| Ok(runtime()) },
    Builtin { name: "rand.intn", arity: 2, call: rand_intn },
    Builtin { name: "time.now_ns", arity: 0, call: |_| Ok(Value::from(world().now_ns)) },
    Builtin { name: "uuid.rfc4122", arity: 1, call: uuid_rfc4122 },
];

/// Nothing of the process: neither environment nor configuration.
fn runtime() -> Value {
    object([
        ("version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("env", Value::new_object()),
        ("config", Value::new_object()),
    ])
}

/// The same number for the same key and bound within one decision, as OPA has it within one query.
fn rand_intn(args: &[Value]) -> Outcome {
    let key = string(args, 0)?;
    let bound = integer(args, 1)?.unsigned_abs();
    if bound == 0 {
        return Ok(Value::from(0u64));
    }
    let bytes = seeded(&[b"rand.intn", key.as_bytes(), &bound.to_be_bytes()]);
    let number = bytes.first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
    Ok(Value::from(number % bound))
}

/// A version 4 UUID (RFC 9562), the same for the same key within one decision.
fn uuid_rfc4122(args: &[Value]) -> Outcome {
    let bytes = seeded(&[b"uuid.rfc4122", string(args, 0)?.as_bytes()]);
    let number = bytes.first_chunk().map_or(0, |b| u128::from_be_bytes(*b));
    let number = number & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(Value::from(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))))
}

fn seeded(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(world().seed.to_be_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
