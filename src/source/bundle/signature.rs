//! `.signatures.json`: one JSON Web Signature over the hashes of all files, as OPA signs bundles.
//! <https://www.openpolicyagent.org/docs/management-bundles#signing>
//!
//! Files that hold JSON are hashed by what they mean and not by how they are written, so a bundle may be packed anew.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use crate::engine::{JwsKey, JwsSigningKey};
use crate::policy::yaml::{self, Offset};
use crate::source::bundle::archive::Files;

/// Where it stands in a bundle.
pub(super) const FILE: &str = ".signatures.json";

/// JSON in a signed file nests at most this deep.
const MAX_DEPTH: usize = 128;

/// What a bundle's signature must meet. With one every bundle has to be signed.
#[derive(Debug, Clone)]
pub(in crate::source) struct Verification {
    /// Who may sign.
    pub key: JwsKey,
    /// If given, a signature that names its key must name this one.
    pub key_id: Option<String>,
    /// The signature's `scope` must be this; the empty one if it is `None`.
    pub scope: Option<String>,
}

/// What a bundle is signed with.
#[derive(Debug)]
pub struct Signing {
    /// Who signs.
    pub key: JwsSigningKey,
    /// The algorithm; the usual one of the key's kind if `None`.
    pub algorithm: Option<String>,
    /// Name of the key in the signature.
    pub key_id: Option<String>,
    /// `scope` of the signature.
    pub scope: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct SignaturesFile {
    #[serde(default)]
    signatures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    files: Vec<SignedFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct SignedFile {
    name: String,
    hash: String,
    #[serde(default)]
    algorithm: String,
}

/// Checks that the files are exactly those that the key's owner has signed. Gives the name of the key, if the signature
/// has one.
///
/// # Errors
/// Why the bundle cannot be trusted, as the end of a sentence about it.
pub(super) fn verify(files: &Files, with: &Verification) -> Result<Option<String>, String> {
    let text = files.get(FILE).ok_or_else(|| format!("it is not signed: there is no `{FILE}` in it"))?;
    let file: SignaturesFile = serde_json::from_slice(text).map_err(|e| format!("`{FILE}`: {e}"))?;
    if let Some(plugin) = file.plugin.filter(|p| !p.is_empty()) {
        return Err(format!("`{FILE}`: signed by the plugin `{plugin}`, which is not known here"));
    }
    let [token] = file.signatures.as_slice() else {
        return Err(format!("`{FILE}`: {} signatures; exactly one is expected", file.signatures.len()));
    };
    let (header, payload) = with.key.verify(token).map_err(|e| format!("its signature {e}"))?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|e| format!("`{FILE}`: what is signed: {e}"))?;
    let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned).or(claims.keyid);
    if let (Some(wanted), Some(found)) = (&with.key_id, &key_id)
        && wanted != found
    {
        return Err(format!("it is signed with the key `{found}`, not with `{wanted}`"));
    }
    let (wanted, found) = (with.scope.as_deref().unwrap_or_default(), claims.scope.as_deref().unwrap_or_default());
    if wanted != found {
        return Err(format!("it is signed for the scope `{found}`, not for `{wanted}`"));
    }
    verify_files(files, &claims.files)?;
    Ok(key_id)
}

fn verify_files(files: &Files, signed: &[SignedFile]) -> Result<(), String> {
    let signed: BTreeMap<&str, &SignedFile> = signed.iter().map(|f| (f.name.trim_start_matches('/'), f)).collect();
    if let Some((name, _)) = signed.iter().find(|(name, _)| !files.contains_key(**name)) {
        return Err(format!("`{name}` is signed and not in it"));
    }
    for (path, content) in files.iter().filter(|(path, _)| *path != FILE) {
        let file = signed.get(path.as_str()).ok_or_else(|| format!("`{path}` in it is not signed"))?;
        let found = hash(&file.algorithm, &meaning(path, content)?).ok_or_else(|| {
            format!("`{path}` is hashed by `{}`, which is not taken; sign with SHA-256", file.algorithm)
        })?;
        if !found.eq_ignore_ascii_case(&file.hash) {
            return Err(format!("`{path}` in it is not what was signed"));
        }
    }
    Ok(())
}

/// Signs files: what `.signatures.json` holds.
///
/// # Errors
/// The key does not sign with the algorithm, or a file is not the JSON that its name promises.
pub(super) fn sign(files: &Files, with: &Signing) -> Result<Vec<u8>, String> {
    let mut signed = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| *path != FILE) {
        let hash = hash("SHA-256", &meaning(path, content)?).unwrap_or_default();
        signed.push(SignedFile { name: path.clone(), hash, algorithm: "SHA-256".to_owned() });
    }
    let claims = Claims { files: signed, keyid: None, scope: with.scope.clone() };
    let payload = serde_json::to_vec(&claims).map_err(|e| e.to_string())?;
    let algorithm = with.algorithm.as_deref().unwrap_or(with.key.default_algorithm());
    let mut header = json!({"alg": algorithm, "typ": "JWT"});
    if let (Some(id), Some(header)) = (&with.key_id, header.as_object_mut()) {
        header.insert("kid".to_owned(), Value::from(id.as_str()));
    }
    let token = with.key.sign(&header, &payload).map_err(|e| format!("the signing key {e}"))?;
    serde_json::to_vec_pretty(&SignaturesFile { signatures: vec![token], plugin: None }).map_err(|e| e.to_string())
}

/// In hex. SHA-1 and MD5, which OPA knows too, are not taken: two files may have one hash.
fn hash(algorithm: &str, bytes: &[u8]) -> Option<String> {
    macro_rules! hex {
        ($digest:ty) => {
            data_encoding::HEXLOWER.encode(&<$digest>::digest(bytes))
        };
    }
    Some(match algorithm {
        "SHA-224" => hex!(Sha224),
        "SHA-256" => hex!(Sha256),
        "SHA-384" => hex!(Sha384),
        "SHA-512" => hex!(Sha512),
        "SHA-512-224" => hex!(Sha512_224),
        "SHA-512-256" => hex!(Sha512_256),
        _ => return None,
    })
}

/// What is hashed of a file: its bytes, or of JSON one way to write what it means.
fn meaning<'a>(path: &str, content: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let fault = |e: &dyn std::fmt::Display| format!("`{path}` in it: {e}");
    let text = match path.rsplit('/').next().unwrap_or(path) {
        "data.json" | ".manifest" => Cow::Borrowed(content),
        // JSON is YAML too, and then it counts as it is written.
        "data.yaml" if serde_json::from_slice::<&RawValue>(content).is_ok() => Cow::Borrowed(content),
        "data.yaml" => {
            let text = std::str::from_utf8(content).map_err(|e| fault(&e))?;
            let value: Option<Value> = yaml::parse(path, text, Offset::default()).map_err(|e| fault(&e))?;
            let mut out = String::new();
            as_go_writes(&value.unwrap_or_default(), &mut out);
            Cow::Owned(out.into_bytes())
        }
        _ => return Ok(Cow::Borrowed(content)),
    };
    let value: &RawValue = serde_json::from_slice(&text).map_err(|e| fault(&e))?;
    let mut out = String::new();
    canonical(value, 0, &mut out).map_err(|e| fault(&e))?;
    Ok(Cow::Owned(out.into_bytes()))
}

/// What was YAML as Go's encoder writes it: the shortest decimal, an exponent only below 1e-6 and from 1e21.
fn as_go_writes(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            let exponent = float != 0.0 && !(1e-6..1e21).contains(&float.abs());
            out.push_str(&match exponent {
                true => format!("{float:e}").replace('e', if float.abs() < 1.0 { "e" } else { "e+" }),
                false => format!("{float}"),
            });
        }
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                as_go_writes(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                string(key, out);
                out.push(':');
                as_go_writes(item, out);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// Keys sorted, no white space, strings as Go's encoder writes them without HTML escapes, numbers as they stand.
fn canonical(raw: &RawValue, depth: usize, out: &mut String) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests more than {MAX_DEPTH} deep"));
    }
    let text = raw.get();
    match text.bytes().next() {
        Some(b'{') => {
            let map: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|e| e.to_string())?;
            out.push('{');
            for (n, (key, value)) in map.into_iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                string(&key, out);
                out.push(':');
                canonical(value, depth + 1, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let list: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| e.to_string())?;
            out.push('[');
            for (n, value) in list.into_iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                canonical(value, depth + 1, out)?;
            }
            out.push(']');
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(|e| e.to_string())?;
            string(&text, out);
        }
        _ => out.push_str(text),
    }
    Ok(())
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
