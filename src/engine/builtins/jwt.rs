//! `io.jwt.*`: JSON Web Tokens in the compact serialization (RFC 7519, RFC 7515).
//!
//! The time is the evaluation's. A token that cannot be read is an error of an operand; one that does not verify is
//! an answer.

mod jwk;
mod jws;
mod sign;

use regorus::Value;

use super::call::{Builtin, CallError, Outcome, at_most, field, float, operand, string, wrong};
use super::crypto::signature::{Hash, Scheme};
use super::encoding::{base64url, to_hex};
use crate::engine::evaluate::world;
use jwk::{VerificationKey, verification_keys};
pub use jws::{JwsError, JwsKey, JwsSigningKey};

macro_rules! verifiers {
    ($($name:literal => $scheme:expr),* $(,)?) => {
        &[
            $(Builtin { name: $name, arity: 2, call: |args| verify(args, $scheme) },)*
            Builtin { name: "io.jwt.decode", arity: 1, call: |args| decode(string(args, 0)?) },
            Builtin { name: "io.jwt.decode_verify", arity: 2, call: decode_verify },
            Builtin { name: "io.jwt.encode_sign", arity: 3, call: sign::encode_sign },
            Builtin { name: "io.jwt.encode_sign_raw", arity: 3, call: sign::encode_sign_raw },
        ]
    };
}

pub(super) const BUILTINS: &[Builtin] = verifiers! {
    "io.jwt.verify_eddsa" => Scheme::Ed25519,
    "io.jwt.verify_es256" => Scheme::EcdsaFixed(Hash::Sha256),
    "io.jwt.verify_es384" => Scheme::EcdsaFixed(Hash::Sha384),
    "io.jwt.verify_es512" => Scheme::EcdsaFixed(Hash::Sha512),
    "io.jwt.verify_hs256" => Scheme::Hmac(Hash::Sha256),
    "io.jwt.verify_hs384" => Scheme::Hmac(Hash::Sha384),
    "io.jwt.verify_hs512" => Scheme::Hmac(Hash::Sha512),
    "io.jwt.verify_ps256" => Scheme::RsaPss(Hash::Sha256),
    "io.jwt.verify_ps384" => Scheme::RsaPss(Hash::Sha384),
    "io.jwt.verify_ps512" => Scheme::RsaPss(Hash::Sha512),
    "io.jwt.verify_rs256" => Scheme::RsaPkcs1(Hash::Sha256),
    "io.jwt.verify_rs384" => Scheme::RsaPkcs1(Hash::Sha384),
    "io.jwt.verify_rs512" => Scheme::RsaPkcs1(Hash::Sha512),
};

/// Tokens inside one another.
const MAX_NESTED: usize = 8;

/// The scheme of a header's `alg` (RFC 7518 section 3.1).
fn scheme(alg: &str) -> Option<Scheme> {
    Some(match alg {
        "EdDSA" => Scheme::Ed25519,
        "ES256" => Scheme::EcdsaFixed(Hash::Sha256),
        "ES384" => Scheme::EcdsaFixed(Hash::Sha384),
        "ES512" => Scheme::EcdsaFixed(Hash::Sha512),
        "HS256" => Scheme::Hmac(Hash::Sha256),
        "HS384" => Scheme::Hmac(Hash::Sha384),
        "HS512" => Scheme::Hmac(Hash::Sha512),
        "PS256" => Scheme::RsaPss(Hash::Sha256),
        "PS384" => Scheme::RsaPss(Hash::Sha384),
        "PS512" => Scheme::RsaPss(Hash::Sha512),
        "RS256" => Scheme::RsaPkcs1(Hash::Sha256),
        "RS384" => Scheme::RsaPkcs1(Hash::Sha384),
        "RS512" => Scheme::RsaPkcs1(Hash::Sha512),
        _ => return None,
    })
}

/// The three parts of a token, still encoded.
struct Token<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// What is signed: header, point, payload.
    signed: &'a str,
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> Result<Self, CallError> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [header, payload, signature] => {
                let signed = text.get(..header.len() + 1 + payload.len()).unwrap_or_default();
                Ok(Self { header, payload, signature, signed })
            }
            [_] => Err("encoded JWT had no period separators".into()),
            other => Err(format!("encoded JWT must have 3 sections, found {}", other.len()).into()),
        }
    }

    fn header(&self) -> Outcome {
        let header = json_object(&text(self.header, "header")?).map_err(|e| format!("bad JWT header: {e}"))?;
        if field(&header, "enc").is_some() {
            return Err("JWT is a JWE object, which is not supported".into());
        }
        Ok(header)
    }
}

fn text(part: &str, what: &str) -> Result<String, CallError> {
    let invalid = || CallError::Operand(format!("JWT {what} had invalid encoding"));
    String::from_utf8(base64url(part).map_err(|_| invalid())?).map_err(|_| invalid())
}

fn json_object(text: &str) -> Outcome {
    match Value::from_json_str(text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err("decoded JSON type was not an Object".into()),
        Err(e) => Err(format!("invalid JSON: {e}").into()),
    }
}

/// `[header, payload, signature in hex]`, of the innermost token.
fn decode(token: &str) -> Outcome {
    let mut token = token.to_owned();
    for _ in 0..MAX_NESTED {
        let parts = Token::parse(&token)?;
        let header = parts.header()?;
        let payload = text(parts.payload, "payload")?;
        if field(&header, "cty") == Some(&Value::from("JWT")) {
            // Some issuers put the inner token in quotes.
            token = payload.trim_matches(['"', '\'']).to_owned();
            continue;
        }
        let signature = base64url(parts.signature).map_err(|_| "JWT signature had invalid encoding")?;
        return Ok(Value::from(vec![header, json_object(&payload)?, Value::from(to_hex(&signature))]));
    }
    at_most(MAX_NESTED + 1, MAX_NESTED, "nested tokens")?;
    Ok(Value::Undefined)
}

/// What of a header decides (RFC 7515 section 4).
struct Header {
    alg: String,
    kid: String,
    cty: String,
    /// Whether a parameter that must be understood is not.
    critical: bool,
}

impl Header {
    fn read(header: &Value) -> Result<Self, CallError> {
        const UNDERSTOOD: [&str; 5] = ["alg", "kid", "typ", "cty", "crit"];
        let text = |key: &str| match field(header, key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.as_ref().to_owned()),
            Some(_) => Err(CallError::Operand(format!("{key}: must be a string"))),
        };
        text("typ")?;
        let critical = match field(header, "crit") {
            None => false,
            Some(Value::Array(names)) if names.iter().any(|n| matches!(n, Value::String(_))) => {
                names.iter().any(|name| match name {
                    Value::String(name) => !UNDERSTOOD.contains(&name.as_ref()) && field(header, name).is_some(),
                    _ => false,
                })
            }
            Some(Value::Array(_)) => return Err("crit: must be a nonempty list".into()),
            Some(_) => return Err("crit: must be a list".into()),
        };
        Ok(Self { alg: text("alg")?, kid: text("kid")?, cty: text("cty")?, critical })
    }
}

/// Whether one of the keys signed it. A key with the token's `kid` decides alone; one with an `alg` only where it is
/// the token's.
fn signed_by(keys: &[VerificationKey], header: &Header, scheme: Scheme, token: &Token<'_>, signature: &[u8]) -> bool {
    let verifies = |key: &VerificationKey| key.key.verifies(scheme, token.signed.as_bytes(), signature);
    if let Some(key) = keys.iter().find(|k| !header.kid.is_empty() && k.kid == header.kid) {
        return verifies(key);
    }
    keys.iter().filter(|k| k.alg.is_empty() || k.alg == header.alg).any(verifies)
}

fn verify(args: &[Value], scheme: Scheme) -> Outcome {
    let token = Token::parse(string(args, 0)?)?;
    let key = string(args, 1)?;
    let signature = || base64url(token.signature);
    if let Scheme::Hmac(_) = scheme {
        let key = VerificationKey::secret(key);
        return Ok(key.key.verifies(scheme, token.signed.as_bytes(), &signature()?).into());
    }
    let keys = verification_keys(key)?;
    let signature = signature()?;
    let header = Header::read(&token.header()?)?;
    Ok(signed_by(&keys, &header, scheme, &token, &signature).into())
}

/// What a token must meet.
#[derive(Default)]
struct Constraints {
    keys: Option<Vec<VerificationKey>>,
    secret: String,
    alg: String,
    iss: String,
    aud: String,
    /// Nanoseconds since 1970.
    time: f64,
}

impl Constraints {
    fn read(args: &[Value]) -> Result<Self, CallError> {
        let given = operand(args, 1)?;
        let Value::Object(fields) = given else { return Err(wrong(1, "object", given)) };
        #[expect(clippy::cast_precision_loss, reason = "as OPA compares times")]
        let mut constraints = Self { time: world().now_ns as f64, ..Self::default() };
        for (key, value) in fields.iter() {
            let Value::String(key) = key else { return Err("unknown token validation constraint".into()) };
            let text = || match value {
                Value::String(text) => Ok(text.as_ref().to_owned()),
                _ => Err(CallError::Operand(format!("{key} constraint: must be a string"))),
            };
            match key.as_ref() {
                "cert" => constraints.keys = Some(verification_keys(&text()?)?),
                "secret" => constraints.secret = text()?,
                "alg" => constraints.alg = text()?,
                "iss" => constraints.iss = text()?,
                "aud" => constraints.aud = text()?,
                "time" => {
                    constraints.time = float(value)
                        .filter(|t| *t >= 0.0)
                        .ok_or("token time constraint: must be a number that is not negative")?;
                }
                other => return Err(format!("unknown token validation constraint: {other}").into()),
            }
        }
        match (&constraints.keys, constraints.secret.is_empty()) {
            (None, true) => Err("no key constraint".into()),
            (Some(_), false) => Err("duplicate key constraints".into()),
            _ => Ok(constraints),
        }
    }

    fn keys(&self) -> Vec<VerificationKey> {
        match &self.keys {
            Some(keys) => keys.clone(),
            None => vec![VerificationKey::secret(&self.secret)],
        }
    }

    /// The claims that are registered (RFC 7519 section 4.1).
    fn met_by(&self, claims: &Value) -> Result<bool, CallError> {
        let is = |value: &Value, wanted: &str| matches!(value, Value::String(text) if text.as_ref() == wanted);
        if !self.iss.is_empty() && !field(claims, "iss").is_some_and(|iss| is(iss, &self.iss)) {
            return Ok(false);
        }
        let audience = match field(claims, "aud") {
            Some(Value::Array(all)) => all.iter().any(|aud| is(aud, &self.aud)),
            Some(aud) => is(aud, &self.aud),
            None => self.aud.is_empty(),
        };
        let time = |key: &str| match field(claims, key) {
            None => Ok(None),
            Some(time @ Value::Number(_)) => Ok(float(time)),
            Some(_) => Err(CallError::Operand(format!("{key} value must be a number"))),
        };
        let now = self.time / 1e9;
        Ok(audience && time("exp")?.is_none_or(|exp| now < exp) && time("nbf")?.is_none_or(|nbf| now >= nbf))
    }
}

/// `[true, header, payload]`, or `[false, {}, {}]` where the signature or a constraint is not met.
fn decode_verify(args: &[Value]) -> Outcome {
    let constraints = Constraints::read(args)?;
    let keys = constraints.keys();
    let unverified = || Value::from(vec![false.into(), Value::new_object(), Value::new_object()]);
    let mut token = string(args, 0)?.to_owned();
    for _ in 0..MAX_NESTED {
        let parts = Token::parse(&token)?;
        let document = parts.header()?;
        let header = Header::read(&document)?;
        if header.alg.is_empty() || header.critical {
            return Ok(unverified());
        }
        if !constraints.alg.is_empty() && constraints.alg != header.alg {
            return Ok(unverified());
        }
        let signature = base64url(parts.signature)?;
        let verified = scheme(&header.alg).is_some_and(|s| signed_by(&keys, &header, s, &parts, &signature));
        if !verified {
            return Ok(unverified());
        }
        let payload = text(parts.payload, "payload")?;
        if header.cty.eq_ignore_ascii_case("JWT") {
            token = payload;
            continue;
        }
        let claims = json_object(&payload)?;
        let met = constraints.met_by(&claims)?;
        return Ok(if met { Value::from(vec![true.into(), document, claims]) } else { unverified() });
    }
    at_most(MAX_NESTED + 1, MAX_NESTED, "nested tokens")?;
    Ok(Value::Undefined)
}
