//! `crypto.*`: digests, MACs, certificates, keys. Nothing is generated, nothing is random.

mod chain;
mod hash;
pub(super) mod keys;
pub(super) mod signature;
mod x509;

use super::call::Builtin;

pub(super) const BUILTINS: &[&[Builtin]] = &[hash::BUILTINS, keys::BUILTINS, x509::BUILTINS, chain::BUILTINS];
