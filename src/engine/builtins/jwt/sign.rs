//! `io.jwt.encode_sign` and `io.jwt.encode_sign_raw`. Deterministic: the same input gives the same token, so a
//! decision can be made again. ECDSA is RFC 6979's or like it; RSASSA-PSS (`PS*`), which needs randomness, is refused.

use p256::ecdsa::signature::hazmat::{PrehashSigner as _, RandomizedPrehashSigner as _};
use p521::elliptic_curve::rand_core::{CryptoRng, RngCore};
use regorus::Value;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature as rsa;

use super::super::call::{CallError, Outcome, string};
use super::super::crypto::keys::PrivateKey;
use super::super::crypto::signature::{Curve, Hash, Scheme};
use super::super::encoding::{json, to_base64url};
use super::jwk::{SigningKey, signing_key};
use super::scheme;

pub(super) fn encode_sign(args: &[Value]) -> Outcome {
    let part = |n: usize| args.get(n).map_or_else(|| Ok(String::new()), json);
    sign(&part(0)?, &part(1)?, &part(2)?)
}

pub(super) fn encode_sign_raw(args: &[Value]) -> Outcome {
    sign(string(args, 0)?, string(args, 1)?, string(args, 2)?)
}

fn sign(header: &str, payload: &str, key: &str) -> Outcome {
    let key = signing_key(key)?;
    let document: serde_json::Value =
        serde_json::from_str(header).map_err(|e| format!("missing or invalid 'alg' header: {e}"))?;
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    let alg = text("alg").ok_or("missing or invalid 'alg' header")?;
    let scheme = scheme(alg).ok_or_else(|| format!("unknown JWS algorithm: {alg}"))?;
    if matches!(text("typ"), None | Some("JWT")) && serde_json::from_str::<serde_json::Value>(payload).is_err() {
        return Err("type is JWT but payload is not JSON".into());
    }
    let signed = format!("{}.{}", to_base64url(header.as_bytes()), to_base64url(payload.as_bytes()));
    let signature = signature(&key, scheme, signed.as_bytes())?;
    Ok(Value::from(format!("{signed}.{}", to_base64url(&signature))))
}

pub(super) fn signature(key: &SigningKey, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, CallError> {
    match (key, scheme) {
        (SigningKey::Secret(key), Scheme::Hmac(hash)) => Ok(hash.hmac(key, message)),
        (SigningKey::Private(PrivateKey::Rsa(parts)), Scheme::RsaPkcs1(hash)) => rsa_signature(parts, hash, message),
        (SigningKey::Private(PrivateKey::Rsa(_)), Scheme::RsaPss(_)) => {
            Err(CallError::Unsupported("PS256, PS384 and PS512 do not sign here: they need randomness".to_owned()))
        }
        (SigningKey::Private(PrivateKey::Ec { curve, d }), Scheme::EcdsaFixed(hash)) => {
            ec_signature(*curve, d, &hash.digest(message)).ok_or_else(|| "the EC key is malformed".into())
        }
        (SigningKey::Private(PrivateKey::Ed25519(seed)), Scheme::Ed25519) => {
            let pair = rsa::Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| "the Ed25519 key is malformed")?;
            Ok(pair.sign(message).as_ref().to_vec())
        }
        _ => Err("the key is not of the kind that the algorithm needs".into()),
    }
}

fn ec_signature(curve: Curve, d: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
    macro_rules! sign {
        ($curve:ident) => {{
            let key = $curve::ecdsa::SigningKey::from_slice(d).ok()?;
            let signature: $curve::ecdsa::Signature = key.sign_prehash(digest).ok()?;
            Some(signature.to_bytes().to_vec())
        }};
    }
    match curve {
        Curve::P256 => sign!(p256),
        Curve::P384 => sign!(p384),
        Curve::P521 => {
            let key = p521::ecdsa::SigningKey::from_slice(d).ok()?;
            let mut nonces = Nonces { key: d, digest, drawn: 0 };
            let signature: p521::ecdsa::Signature = key.sign_prehash_with_rng(&mut nonces, digest).ok()?;
            Some(signature.to_bytes().to_vec())
        }
    }
}

/// Nonces that only the key's owner can know, and another for each message: HMAC-SHA-512 by the key over the message
/// and a counter. The P-521 crate has no RFC 6979; what matters of it holds.
struct Nonces<'a> {
    key: &'a [u8],
    digest: &'a [u8],
    drawn: u64,
}

impl RngCore for Nonces<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for chunk in target.chunks_mut(64) {
            self.drawn += 1;
            let block = Hash::Sha512.hmac(self.key, &[self.digest, &self.drawn.to_be_bytes()].concat());
            chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), p521::elliptic_curve::rand_core::Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for Nonces<'_> {}

fn rsa_signature(parts: &[Vec<u8>; 8], hash: Hash, message: &[u8]) -> Result<Vec<u8>, CallError> {
    let [n, e, d, p, q, dp, dq, qi] = parts;
    let components = KeyPairComponents { public_key: PublicKeyComponents { n, e }, d, p, q, dP: dp, dQ: dq, qInv: qi };
    let pair = ring::rsa::KeyPair::from_components(&components).map_err(|e| format!("the RSA key is refused: {e}"))?;
    let encoding: &'static dyn rsa::RsaEncoding = match hash {
        Hash::Sha256 => &rsa::RSA_PKCS1_SHA256,
        Hash::Sha384 => &rsa::RSA_PKCS1_SHA384,
        Hash::Sha512 => &rsa::RSA_PKCS1_SHA512,
    };
    let mut signature = vec![0; pair.public().modulus_len()];
    // RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2) is deterministic: nothing is drawn from the source of randomness.
    pair.sign(encoding, &ring::rand::SystemRandom::new(), message, &mut signature)
        .map_err(|_| "the RSA key does not sign")?;
    Ok(signature)
}
