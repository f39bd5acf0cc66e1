//! Bodies: what a decision was made of, beside the envelope, so that it can be deleted without it.
//!
//! Knows the body line and its digest; must not know files or masking. Bytes:
//! `{"decision_id":"<uuid>","salt":"<64 hex>","digest":"sha256:<64 hex>","body":<JSON>}`, in this order, so a reader
//! takes the body's bytes as they stand; the digest is over the salt's 32 bytes and then these. In the place of an erased
//! one stands `{"decision_id":"<uuid>","erased":true}`.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decisions::record::ViolationRecord;

/// What is stored of a decision beside its envelope; all of it masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Body<I = Value> {
    /// The AdmissionReview.
    pub input: I,
    /// The patch that was answered (RFC 6902).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// Details and fixes of violations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// Details cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub details_omitted: u64,
    /// Violations that had no room in the envelope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<ViolationRecord>,
    /// The policies' audit annotations.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub audit_annotations: Value,
    /// What was read of the cluster, by the paths that the envelope's `reads` have: `namespaces/<name>` is a Namespace's
    /// metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: BTreeMap<String, Value>,
}

/// What a policy said beside a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// Index of the violation, counted over envelope and body.
    pub violation: u64,
    /// `details` of the violation.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// `fix` of the violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// A body line as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyLine {
    /// UUID of the decision.
    pub decision_id: String,
    /// The salt.
    pub salt: [u8; 32],
    /// The JSON text of the [`Body`], byte for byte.
    pub body: String,
}

impl BodyLine {
    /// `SHA-256(salt || body)`.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        salted(&self.salt, self.body.as_bytes())
    }

    /// The line, without line feed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (salt, digest) = (HEXLOWER.encode(&self.salt), HEXLOWER.encode(&self.digest()));
        let mut line = Vec::with_capacity(self.body.len() + PREFIX);
        line.extend_from_slice(br#"{"decision_id":""#);
        line.extend_from_slice(self.decision_id.as_bytes());
        line.extend_from_slice(br#"","salt":""#);
        line.extend_from_slice(salt.as_bytes());
        line.extend_from_slice(br#"","digest":"sha256:"#);
        line.extend_from_slice(digest.as_bytes());
        line.extend_from_slice(br#"","body":"#);
        line.extend_from_slice(self.body.as_bytes());
        line.push(b'}');
        line
    }

    /// Reads a line (without line feed); `None` when it is not one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let BodyParts { decision_id, salt, body, .. } = BodyParts::of(line)?;
        Some(Self { decision_id: decision_id.to_owned(), salt: from_hex(salt)?, body: body.to_owned() })
    }
}

/// What stands in the place of a body that was erased.
pub(super) fn erased_line(decision_id: &str) -> String {
    format!(r#"{{"decision_id":"{decision_id}","erased":true}}"#)
}

/// The decision whose body was erased, if the line says so.
pub(super) fn erased_id(line: &str) -> Option<&str> {
    let id = line.strip_prefix(r#"{"decision_id":""#)?.strip_suffix(r#"","erased":true}"#)?;
    (!id.contains('"')).then_some(id)
}

/// The members of a body line as they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyParts<'l> {
    pub decision_id: &'l str,
    salt: &'l str,
    digest: &'l str,
    body: &'l str,
}

impl<'l> BodyParts<'l> {
    pub(super) fn of(line: &'l str) -> Option<Self> {
        let rest = line.strip_prefix(r#"{"decision_id":""#)?;
        let (decision_id, rest) = rest.split_once(r#"","salt":""#)?;
        let (salt, rest) = rest.split_once(r#"","digest":"sha256:"#)?;
        let (digest, rest) = rest.split_once(r#"","body":"#)?;
        let body = rest.strip_suffix('}')?;
        Some(Self { decision_id, salt, digest, body })
    }

    /// The JSON text of the [`Body`].
    pub(super) fn body(&self) -> &'l str {
        self.body
    }

    /// The digest of the body as it stands, and whether salt and digest are written as a server writes them.
    pub(super) fn digest(&self) -> Option<([u8; 32], bool)> {
        let (salt, exact) = match lower_hex(self.salt) {
            Some(salt) => (salt, true),
            None => (from_hex(self.salt)?, false),
        };
        let digest = salted(&salt, self.body.as_bytes());
        Some((digest, exact && lower_hex(self.digest) == Some(digest)))
    }
}

/// `SHA-256(salt || bytes)`.
pub(super) fn salted(salt: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(salt);
    hash.update(bytes);
    let mut digest = [0; 32];
    // SHA-256 gives 32 bytes.
    digest.copy_from_slice(hash.finish().as_ref());
    digest
}

/// 64 hex digits in lower case, and nothing else.
pub(super) fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

const PREFIX: usize = 256;

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn a_line_reads_back_and_its_digest_is_over_the_stored_bytes() {
        let body = r#"{"input":{"a":"},\"body\":"}}"#.to_owned();
        let line = BodyLine { decision_id: "d".to_owned(), salt: [1; 32], body };
        let text = String::from_utf8(line.encode()).expect("UTF-8");
        assert_eq!(BodyLine::parse(&text).expect("parses"), line);
        let json: Value = serde_json::from_str(&text).expect("one JSON document");
        assert_eq!(json["digest"], format!("sha256:{}", HEXLOWER.encode(&line.digest())));
        let mut hashed = vec![1; 32];
        hashed.extend_from_slice(line.body.as_bytes());
        assert_eq!(line.digest(), <[u8; 32]>::from(Sha256::digest(&hashed)));
    }
}
