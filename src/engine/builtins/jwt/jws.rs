//! JSON Web Signatures (RFC 7515, compact) for others in the house: what `io.jwt.*` knows of keys and schemes, without
//! anything of a policy language. Bundles are signed with them.

use serde_json::Value;

use super::super::call::CallError;
use super::super::crypto::keys::PrivateKey;
use super::super::encoding::{base64url, pem, to_base64url};
use super::jwk::{self, SigningKey, VerificationKey, verification_keys};
use super::sign::signature;
use super::{Token, scheme};

/// Why a key or a token is refused; made to stand after what it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// The text is no key.
    #[error("is no key: {0}")]
    Key(String),
    /// The token is malformed, or of an algorithm that is not known.
    #[error("is malformed: {0}")]
    Token(String),
    /// Nobody with the key has signed it.
    #[error("is not of the given key (algorithm `{alg}`)")]
    Signature {
        /// What the token says of itself.
        alg: String,
    },
}

impl JwsError {
    fn key(e: impl Into<CallError>) -> Self {
        Self::Key(e.into().to_string())
    }

    fn token(e: impl std::fmt::Display) -> Self {
        Self::Token(e.to_string())
    }
}

/// What verifies signatures: public keys, or a shared secret. What kind of key it is settles which algorithms are
/// taken, so a token cannot choose to be checked by another.
#[derive(Debug, Clone)]
pub struct JwsKey(Vec<VerificationKey>);

impl JwsKey {
    /// PEM (`PUBLIC KEY`, `CERTIFICATE`), a JWK or a set of them (RFC 7517), or else a shared secret: all of the text
    /// without the line feeds at its end.
    ///
    /// # Errors
    /// PEM or a JWK that cannot be read, or that holds a private key; an empty secret.
    pub fn read(text: &str) -> Result<Self, JwsError> {
        let trimmed = text.trim_end_matches(['\r', '\n']);
        if trimmed.contains("-----BEGIN ") {
            let private = pem(trimmed).is_some_and(|(block, _)| block.label.contains("PRIVATE"));
            if private {
                return Err(JwsError::Key("it is a private key; give the public one".to_owned()));
            }
            return verification_keys(trimmed).map(Self).map_err(JwsError::key);
        }
        if trimmed.trim_start().starts_with('{') {
            let keys = verification_keys(trimmed).map_err(JwsError::key)?;
            return if keys.is_empty() { Err(JwsError::Key("the set is empty".to_owned())) } else { Ok(Self(keys)) };
        }
        if trimmed.is_empty() {
            return Err(JwsError::Key("it is empty".to_owned()));
        }
        Ok(Self(vec![VerificationKey::secret(trimmed)]))
    }

    /// Header and payload of a token that this key has signed.
    ///
    /// # Errors
    /// It has not, or the token cannot be read.
    pub fn verify(&self, token: &str) -> Result<(Value, Vec<u8>), JwsError> {
        let parts = Token::parse(token).map_err(JwsError::token)?;
        let header = base64url(parts.header).map_err(JwsError::token)?;
        let header: Value = serde_json::from_slice(&header).map_err(JwsError::token)?;
        if header.get("crit").is_some() {
            return Err(JwsError::Token("its header has `crit`, of which nothing is understood here".to_owned()));
        }
        let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default().to_owned();
        let scheme = scheme(&alg).ok_or_else(|| JwsError::Token(format!("the algorithm `{alg}` is not known")))?;
        let signature = base64url(parts.signature).map_err(JwsError::token)?;
        let fits = |key: &&VerificationKey| key.alg.is_empty() || key.alg == alg;
        if self.0.iter().filter(fits).any(|k| k.key.verifies(scheme, parts.signed.as_bytes(), &signature)) {
            let payload = base64url(parts.payload).map_err(JwsError::token)?;
            Ok((header, payload))
        } else {
            Err(JwsError::Signature { alg })
        }
    }
}

/// What signs.
pub struct JwsSigningKey(SigningKey);

impl JwsSigningKey {
    /// PEM of a private key (PKCS #1, PKCS #8, SEC 1), a private JWK, or else a shared secret, as [`JwsKey::read`].
    ///
    /// # Errors
    /// PEM or a JWK that cannot be read or is no private key; an empty secret.
    pub fn read(text: &str) -> Result<Self, JwsError> {
        let trimmed = text.trim_end_matches(['\r', '\n']);
        if let Some((block, _)) = pem(trimmed) {
            let key = PrivateKey::from_pem(block.label, &block.content)
                .ok_or_else(|| JwsError::Key(format!("`{}` is not a private key", block.label)))?;
            return key.map(|k| Self(SigningKey::Private(k))).map_err(JwsError::key);
        }
        if trimmed.trim_start().starts_with('{') {
            return jwk::signing_key(trimmed).map(Self).map_err(JwsError::key);
        }
        if trimmed.is_empty() || trimmed.contains("-----BEGIN ") {
            return Err(JwsError::Key("it is empty or broken PEM".to_owned()));
        }
        Ok(Self(SigningKey::Secret(trimmed.as_bytes().to_vec())))
    }

    /// The algorithm for this kind of key where nobody asks for another.
    #[must_use]
    pub fn default_algorithm(&self) -> &'static str {
        match &self.0 {
            SigningKey::Secret(_) => "HS256",
            SigningKey::Private(key) => key.algorithm(),
        }
    }

    /// A token of this header and payload. The same input gives the same token.
    ///
    /// # Errors
    /// The header's `alg` is not one that this key signs with.
    pub fn sign(&self, header: &Value, payload: &[u8]) -> Result<String, JwsError> {
        let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let scheme = scheme(alg).ok_or_else(|| JwsError::Token(format!("the algorithm `{alg}` is not known")))?;
        let signed = format!("{}.{}", to_base64url(header.to_string().as_bytes()), to_base64url(payload));
        let signature = signature(&self.0, scheme, signed.as_bytes()).map_err(JwsError::key)?;
        Ok(format!("{signed}.{}", to_base64url(&signature)))
    }
}

impl std::fmt::Debug for JwsSigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwsSigningKey")
    }
}
