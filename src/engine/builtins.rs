//! Builtins of ours in place of the engine's: those that read the world take it from the [`World`] of the
//! evaluation, so a decision can be made again; `sprintf` never makes a message vanish.

mod sprintf;

use regorus::{Engine, Value};
use sha2::{Digest as _, Sha256};

use crate::engine::evaluate::world;

/// Names of the builtins that are installed here.
pub(crate) const NAMES: [&str; 5] = ["opa.runtime", "rand.intn", "sprintf", "time.now_ns", "uuid.rfc4122"];

/// Puts them into an engine.
pub(crate) fn install(engine: &mut Engine) -> anyhow::Result<()> {
    engine.add_extension("time.now_ns".to_owned(), 0, Box::new(|_| Ok(Value::from(world().now_ns))))?;
    engine.add_extension("rand.intn".to_owned(), 2, Box::new(|args| rand_intn(&args)))?;
    engine.add_extension("uuid.rfc4122".to_owned(), 1, Box::new(|args| uuid_rfc4122(&args)))?;
    engine.add_extension("opa.runtime".to_owned(), 0, Box::new(|_| Ok(runtime())))?;
    engine.add_extension("sprintf".to_owned(), 2, Box::new(|args| sprintf::sprintf(&args)))?;
    Ok(())
}

/// Nothing of the process: neither environment nor configuration.
fn runtime() -> Value {
    let mut value = Value::new_object();
    if let Ok(object) = value.as_object_mut() {
        object.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        object.insert("env".into(), Value::new_object());
        object.insert("config".into(), Value::new_object());
    }
    value
}

/// The same number for the same key and bound within one decision, as OPA has it within one query.
fn rand_intn(args: &[Value]) -> anyhow::Result<Value> {
    let [Value::String(key), bound] = args else {
        anyhow::bail!("`rand.intn` takes a string and a number");
    };
    let bound = bound.as_i64()?.unsigned_abs();
    if bound == 0 {
        return Ok(Value::from(0u64));
    }
    let bytes = seeded(&[b"rand.intn", key.as_bytes(), &bound.to_be_bytes()]);
    let number = bytes.first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
    Ok(Value::from(number % bound))
}

/// A version 4 UUID (RFC 9562), the same for the same key within one decision.
fn uuid_rfc4122(args: &[Value]) -> anyhow::Result<Value> {
    let [Value::String(key)] = args else {
        anyhow::bail!("`uuid.rfc4122` takes a string");
    };
    let bytes = seeded(&[b"uuid.rfc4122", key.as_bytes()]);
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
