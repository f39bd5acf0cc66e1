//! Keys of tokens: PEM certificates and public keys, JSON Web Keys and sets of them (RFC 7517, RFC 7518, RFC 8037).

use serde_json::Value;

use super::super::call::{CallError, at_most};
use super::super::crypto::keys::PrivateKey;
use super::super::crypto::signature::{Curve, PublicKey};
use super::super::encoding::{base64url, pem, trimmed};

/// Keys of a set.
const MAX_KEYS: usize = 100;

/// A key with what it says of its use.
#[derive(Debug, Clone)]
pub(super) struct VerificationKey {
    pub key: PublicKey,
    /// Empty if it does not say.
    pub alg: String,
    /// Empty if it does not say.
    pub kid: String,
}

impl VerificationKey {
    pub(super) fn secret(text: &str) -> Self {
        Self { key: PublicKey::Secret(text.as_bytes().to_vec()), alg: String::new(), kid: String::new() }
    }
}

/// The keys of a PEM block, a JWK or a set.
pub(super) fn verification_keys(text: &str) -> Result<Vec<VerificationKey>, CallError> {
    if let Some((block, rest)) = pem(text) {
        if !rest.is_empty() {
            return Err("extra data after a PEM certificate block".into());
        }
        let key = match block.label {
            "CERTIFICATE" => {
                use x509_parser::prelude::FromDer as _;
                let (_, certificate) = x509_parser::prelude::X509Certificate::from_der(&block.content)
                    .map_err(|_| "failed to parse a PEM certificate")?;
                PublicKey::from_spki(certificate.tbs_certificate.subject_pki.raw)
            }
            "PUBLIC KEY" => PublicKey::from_spki(&block.content),
            _ => return Err("failed to extract a Key from the PEM certificate".into()),
        };
        let key = key.ok_or("failed to parse a PEM public key")?;
        return Ok(vec![VerificationKey { key, alg: String::new(), kid: String::new() }]);
    }
    let mut keys = Vec::new();
    for jwk in set(text)? {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = public(&jwk).ok_or("failed to parse a JWK key (set)")?;
        let alg = text("alg");
        // Keys of algorithms that are not known are passed over.
        if alg.is_empty() || super::scheme(&alg).is_some() {
            keys.push(VerificationKey { key, alg, kid: text("kid") });
        }
    }
    Ok(keys)
}

/// The key that signs: the first of a set.
pub(super) fn signing_key(text: &str) -> Result<SigningKey, CallError> {
    let keys = set(text)?;
    let jwk = keys.first().ok_or("no keys found in JWK set")?;
    signing(jwk).ok_or_else(|| "failed to parse the JWK that signs: it needs all parameters of its type".into())
}

/// A private key or a secret.
pub(super) enum SigningKey {
    Secret(Vec<u8>),
    Private(PrivateKey),
}

fn set(text: &str) -> Result<Vec<Value>, CallError> {
    let document: Value = serde_json::from_str(text).map_err(|e| format!("failed to parse a JWK key (set): {e}"))?;
    match document.get("keys") {
        Some(Value::Array(keys)) => {
            at_most(keys.len(), MAX_KEYS, "keys")?;
            Ok(keys.clone())
        }
        Some(_) => Err("failed to parse a JWK key (set): `keys` must be an array".into()),
        None => Ok(vec![document]),
    }
}

fn bytes(jwk: &Value, name: &str) -> Option<Vec<u8>> {
    base64url(jwk.get(name)?.as_str()?).ok()
}

/// A coordinate or scalar, as long as the curve's.
fn padded(jwk: &Value, name: &str, curve: Curve) -> Option<Vec<u8>> {
    let bytes = bytes(jwk, name)?;
    let bytes = trimmed(&bytes);
    let mut padded = vec![0; curve.size().checked_sub(bytes.len())?];
    padded.extend_from_slice(bytes);
    Some(padded)
}

fn public(jwk: &Value) -> Option<PublicKey> {
    Some(match jwk.get("kty")?.as_str()? {
        "RSA" => {
            let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
            PublicKey::Rsa { n: trimmed(&n).to_vec(), e: trimmed(&e).to_vec() }
        }
        "EC" => {
            let curve = Curve::by_name(jwk.get("crv")?.as_str()?)?;
            let point = [vec![4], padded(jwk, "x", curve)?, padded(jwk, "y", curve)?].concat();
            PublicKey::Ec { curve, point }
        }
        "OKP" if jwk.get("crv")?.as_str()? == "Ed25519" => PublicKey::Ed25519(bytes(jwk, "x")?),
        "oct" => PublicKey::Secret(bytes(jwk, "k")?),
        _ => return None,
    })
}

fn signing(jwk: &Value) -> Option<SigningKey> {
    Some(SigningKey::Private(match jwk.get("kty")?.as_str()? {
        "oct" => return bytes(jwk, "k").map(SigningKey::Secret),
        "RSA" => {
            let part = |name: &str| bytes(jwk, name).map(|b| trimmed(&b).to_vec());
            PrivateKey::Rsa([
                part("n")?,
                part("e")?,
                part("d")?,
                part("p")?,
                part("q")?,
                part("dp")?,
                part("dq")?,
                part("qi")?,
            ])
        }
        "EC" => {
            let curve = Curve::by_name(jwk.get("crv")?.as_str()?)?;
            PrivateKey::Ec { curve, d: padded(jwk, "d", curve)? }
        }
        "OKP" if jwk.get("crv")?.as_str()? == "Ed25519" => PrivateKey::Ed25519(bytes(jwk, "d")?),
        _ => return None,
    }))
}
