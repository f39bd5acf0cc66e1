//! Digests and HMACs (RFC 2104), as lower-case hex.

use hmac::digest::{Digest, KeyInit};
use md5::Md5;
use regorus::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::super::call::{Builtin, Outcome, string};
use super::super::encoding::to_hex;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "crypto.hmac.equal", arity: 2, call: equal },
    Builtin { name: "crypto.hmac.md5", arity: 2, call: hmac::<hmac::Hmac<Md5>> },
    Builtin { name: "crypto.hmac.sha1", arity: 2, call: hmac::<hmac::Hmac<Sha1>> },
    Builtin { name: "crypto.hmac.sha256", arity: 2, call: hmac::<hmac::Hmac<Sha256>> },
    Builtin { name: "crypto.hmac.sha512", arity: 2, call: hmac::<hmac::Hmac<Sha512>> },
    Builtin { name: "crypto.md5", arity: 1, call: digest::<Md5> },
    Builtin { name: "crypto.sha1", arity: 1, call: digest::<Sha1> },
    Builtin { name: "crypto.sha256", arity: 1, call: digest::<Sha256> },
];

fn digest<D: Digest>(args: &[Value]) -> Outcome {
    Ok(Value::from(to_hex(&D::digest(string(args, 0)?))))
}

fn hmac<M: hmac::Mac + KeyInit>(args: &[Value]) -> Outcome {
    let (message, key) = (string(args, 0)?, string(args, 1)?);
    let mut mac = <M as hmac::Mac>::new_from_slice(key.as_bytes()).map_err(|e| e.to_string())?;
    mac.update(message.as_bytes());
    Ok(Value::from(to_hex(&mac.finalize().into_bytes())))
}

/// In a time that does not tell where the two differ.
fn equal(args: &[Value]) -> Outcome {
    let (a, b) = (string(args, 0)?.as_bytes(), string(args, 1)?.as_bytes());
    let differences = a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y));
    Ok((a.len() == b.len() && std::hint::black_box(differences) == 0).into())
}
