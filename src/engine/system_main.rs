//! `data.system.main`: the whole answer to a review, as OPA's own webhook serves it.
//!
//! Such a policy is one policy, `system.main`. What it reads of other packages it judges itself, so those are no
//! policies of their own beside it. Its response is read strictly: what is not understood is an error, never "allowed".
//! Source: OPA's admission tutorial; `k8s.io/api/admission/v1` for the response.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::engine::Endpoint;
use crate::engine::check::{Definitions, Package, closure};
use crate::engine::output::Finding;
use crate::policy::LoadError;

/// The rule that is read.
pub(crate) const RULE: &str = "main";

/// The name of the policy.
pub(crate) const NAME: &str = "system.main";

/// Whether the package is the one that answers whole reviews.
pub(crate) fn is_main(package: &Package<'_>) -> bool {
    matches!(package.path.as_slice(), [only] if only == "system")
        && package.rules().any(|r| r.name == RULE && !r.is_function)
}

/// Where `main` is read. It takes part in mutation only if something that it reads says anything of patches.
pub(crate) fn by_endpoint(needed: &[&Package<'_>]) -> BTreeMap<Endpoint, Vec<String>> {
    let patches = needed.iter().flat_map(|p| p.modules.iter()).any(|m| m.source.text.contains("patch"));
    let endpoints = [Endpoint::Validate].into_iter().chain(patches.then_some(Endpoint::Mutate));
    endpoints.map(|endpoint| (endpoint, vec![RULE.to_owned()])).collect()
}

/// The packages that are policies of their own: those with rules that are read, but for what `system.main` reads
/// itself.
pub(crate) fn policies<'p, 'a>(packages: &'p BTreeMap<Vec<String>, Package<'a>>) -> Vec<&'p Package<'a>> {
    let answered = answered(packages);
    packages.values().filter(|p| p.is_policy() && !answered.contains(p.path.as_slice())).collect()
}

/// The packages whose verdicts `system.main` reads.
pub(crate) fn answered<'p>(packages: &'p BTreeMap<Vec<String>, Package<'_>>) -> BTreeSet<&'p [String]> {
    let Some(main) = packages.values().find(|p| is_main(p)) else { return BTreeSet::new() };
    let needed = closure(main, packages);
    let references = || needed.iter().flat_map(|p| p.rules()).flat_map(|r| r.references.iter());
    let read = |package: &Package<'_>, rule: &str| {
        references().filter(|r| r.root == "data" && !r.steps.is_empty()).any(|r| {
            let path = package.path.iter().map(String::as_str).chain([rule]);
            r.steps.iter().zip(path).all(|(step, name)| step.as_ref().is_none_or(|s| s == name))
        })
    };
    let others = packages.values().filter(|p| p.is_policy() && !is_main(p));
    others.filter(|p| p.entry_rules().keys().any(|rule| read(p, rule))).map(|p| p.path.as_slice()).collect()
}

/// What METADATA of packages that `system.main` answers for say in vain.
pub(crate) fn notes(packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let answered = answered(packages);
    let in_vain =
        |p: &&Package<'_>| answered.contains(p.path.as_slice()) && p.metadata().is_some_and(|m| m.is_of_policy);
    let note = |p: &Package<'_>| {
        let message = format!(
            "`{NAME}` reads package `{}` and answers for it: match and enforcement in its METADATA count for nothing",
            p.path.join(".")
        );
        LoadError::new(p.file(), NAME, message)
    };
    packages.values().filter(in_vain).map(note).collect()
}

/// Where a message may come from: the rule itself, and what it reads of the verdicts of others.
pub(crate) fn definitions(needed: &[&Package<'_>]) -> BTreeMap<String, Definitions> {
    let own = needed.iter().find(|p| is_main(p)).map(|p| p.entry_rules()).unwrap_or_default();
    let own = own.get(RULE).cloned().unwrap_or_default();
    let mut found = BTreeMap::from([("deny".to_owned(), own.clone()), ("warn".to_owned(), own)]);
    for (name, definitions) in needed.iter().filter(|p| !is_main(p)).flat_map(|p| p.entry_rules()) {
        let name = if name == "violation" { "deny" } else { name.as_str() };
        if let Some(found) = found.get_mut(name) {
            found.extend(definitions);
        }
    }
    found
}

/// A response, understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// Why it is not allowed, and warnings.
    pub findings: Vec<Finding>,
    /// `auditAnnotations`.
    pub annotations: Map<String, Value>,
    /// RFC 6902 operations.
    pub patch: Option<Value>,
}

/// Reads the AdmissionReview that `main` gave for the request `uid`.
pub(crate) fn read(result: &Value, uid: &str) -> Result<Answer, String> {
    let Some(main) = result.get(RULE) else {
        return Err("`data.system.main` is undefined: there is no answer".to_owned());
    };
    let review = object(main, "data.system.main")?;
    if let Some(kind) = review.get("kind").filter(|k| *k != "AdmissionReview") {
        return Err(format!("`data.system.main`: `kind` must be `AdmissionReview`, not `{kind}`"));
    }
    let version = review.get("apiVersion").filter(|v| v.as_str().is_none_or(|v| !v.starts_with("admission.k8s.io/")));
    if let Some(version) = version {
        return Err(format!("`data.system.main`: `apiVersion` must be of admission.k8s.io, not `{version}`"));
    }
    let response = review.get("response").ok_or("`data.system.main` has no `response`")?;
    let response = object(response, "data.system.main.response")?;
    if let Some(other) = response.get("uid").filter(|u| *u != uid && *u != "") {
        return Err(format!("`data.system.main`: the response is to request `{other}`, not to `{uid}`"));
    }
    let allowed = match response.get("allowed") {
        Some(Value::Bool(allowed)) => *allowed,
        Some(other) => return Err(format!("`data.system.main`: `allowed` must be true or false, not `{other}`")),
        None => return Err("`data.system.main`: the response does not say whether it is `allowed`".to_owned()),
    };
    let mut findings = Vec::new();
    if !allowed {
        findings.push(finding("deny", message(response)?));
    }
    findings.extend(warnings(response)?.into_iter().map(|w| finding("warn", w)));
    let annotations = match response.get("auditAnnotations") {
        None | Some(Value::Null) => Map::new(),
        Some(annotations) => object(annotations, "auditAnnotations")?.clone(),
    };
    let patch = if allowed { patch(response)? } else { None };
    Ok(Answer { findings, annotations, patch })
}

fn finding(rule: &'static str, msg: String) -> Finding {
    Finding { rule, msg, field: None, details: None, fix: None }
}

fn object<'v>(value: &'v Value, name: &str) -> Result<&'v Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("`{name}` must be an object, not `{value}`"))
}

/// `status.message`, else `status.reason`, as older policies have it.
fn message(response: &Map<String, Value>) -> Result<String, String> {
    let status = match response.get("status") {
        None | Some(Value::Null) => return Ok("denied".to_owned()),
        Some(status) => object(status, "status")?,
    };
    for key in ["message", "reason"] {
        match status.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => return Ok(text.clone()),
            Some(other) => return Err(format!("`status`: `{key}` must be a string, not `{other}`")),
        }
    }
    Ok("denied".to_owned())
}

fn warnings(response: &Map<String, Value>) -> Result<Vec<String>, String> {
    let items = match response.get("warnings") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(format!("`warnings` must be a list of strings, not `{other}`")),
    };
    let text = |item: &Value| {
        item.as_str().map(str::to_owned).ok_or_else(|| format!("`warnings` must be a list of strings, not of `{item}`"))
    };
    items.iter().map(text).collect()
}

/// Base64 of a JSON list of operations. Both alphabets, padded or not: policies use `base64url.encode` for it too.
fn patch(response: &Map<String, Value>) -> Result<Option<Value>, String> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let encoded = match response.get("patch") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => return Err(format!("`patch` must be a JSON patch in base64, not `{other}`")),
    };
    match response.get("patchType") {
        Some(Value::String(kind)) if kind == "JSONPatch" => {}
        Some(other) => return Err(format!("`patchType` must be `JSONPatch`, not `{other}`")),
        None => return Err("`patch` comes without `patchType`; write `JSONPatch`".to_owned()),
    }
    let engine = |alphabet| GeneralPurpose::new(alphabet, CONFIG);
    let bytes = engine(&alphabet::STANDARD)
        .decode(encoded)
        .or_else(|_| engine(&alphabet::URL_SAFE).decode(encoded))
        .map_err(|e| format!("`patch` is not base64: {e}"))?;
    let operations: Value = serde_json::from_slice(&bytes).map_err(|e| format!("`patch` is not JSON: {e}"))?;
    if !operations.is_array() {
        return Err(format!("`patch` must hold a list of operations, not `{operations}`"));
    }
    Ok(Some(operations))
}

/// Whether the rule `patches` of a package is read: where older policies have it in place of `patch`.
pub(crate) fn reads_patches(package: &Package<'_>) -> bool {
    let admission = package.path.iter().map(String::as_str).take(2).eq(["kubernetes", "admission"]);
    admission && !package.rules().any(|r| r.name == "patch" || r.name == "mutate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(response: Value) -> Result<Answer, String> {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        read(&json!({ RULE: review }), "u")
    }

    #[test]
    fn responses_are_understood() {
        assert_eq!(answer(json!({"uid": "u", "allowed": true})), Ok(Answer::default()));
        assert_eq!(answer(json!({"uid": "", "allowed": true, "warnings": null, "patch": null})), Ok(Answer::default()));
        for (status, wanted) in [
            (json!({"message": "no", "reason": "r"}), "no"),
            (json!({"reason": "r"}), "r"),
            (json!({"message": "", "code": 403}), "denied"),
            (json!(null), "denied"),
        ] {
            let got = answer(json!({"allowed": false, "status": status, "patch": 7})).expect("reads");
            assert_eq!(got.findings, [finding("deny", wanted.to_owned())]);
        }
        let operations = json!([{"op": "add", "path": "/a", "value": "?>?>~~"}]);
        let text = operations.to_string();
        for encoded in [
            base64::engine::general_purpose::STANDARD.encode(&text),
            base64::engine::general_purpose::URL_SAFE.encode(&text),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&text),
        ] {
            let got = answer(json!({"allowed": true, "patchType": "JSONPatch", "patch": encoded, "warnings": ["w"]}));
            let got = got.expect("reads");
            assert_eq!((got.patch.as_ref(), got.findings.len()), (Some(&operations), 1));
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (main, wanted) in [
            (json!({}), "is undefined"),
            (json!({"main": true}), "must be an object, not `true`"),
            (json!({"main": {}}), "has no `response`"),
            (json!({"main": {"kind": "Pod", "response": {"allowed": true}}}), "`kind` must be"),
            (json!({"main": {"apiVersion": "v1", "response": {"allowed": true}}}), "`apiVersion` must be"),
        ] {
            let error = read(&main, "u").expect_err("no answer");
            assert!(error.contains(wanted), "{error}");
        }
        for (response, wanted) in [
            (json!(true), "must be an object"),
            (json!({}), "whether it is `allowed`"),
            (json!({"allowed": "yes"}), "true or false"),
            (json!({"allowed": true, "uid": "other"}), "to request `\"other\"`, not to `u`"),
            (json!({"allowed": false, "status": "no"}), "`status` must be an object"),
            (json!({"allowed": false, "status": {"message": 5}}), "`message` must be a string"),
            (json!({"allowed": true, "warnings": "w"}), "list of strings"),
            (json!({"allowed": true, "warnings": [1]}), "not of `1`"),
            (json!({"allowed": true, "auditAnnotations": []}), "`auditAnnotations` must be an object"),
            (json!({"allowed": true, "patch": "W10="}), "without `patchType`"),
            (json!({"allowed": true, "patchType": "Merge", "patch": "W10="}), "must be `JSONPatch`"),
            (json!({"allowed": true, "patchType": "JSONPatch", "patch": [1]}), "in base64"),
            (json!({"allowed": true, "patchType": "JSONPatch", "patch": "%"}), "not base64"),
            (json!({"allowed": true, "patchType": "JSONPatch", "patch": "e30="}), "list of operations"),
        ] {
            let error = answer(response.clone()).expect_err("an error");
            assert!(error.contains(wanted), "{response}: {error}");
        }
    }
}
