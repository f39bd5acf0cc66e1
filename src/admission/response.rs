//! [`Response`] to bytes. Knows the wire form of an answer; must not know how it was reached.

use std::collections::BTreeMap;

use serde::Serialize;

/// `status` of an answer (`meta.k8s.io/v1` Status, the part that the API server shows).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// HTTP status code the client sees: 403, 500 or 503.
    pub code: u16,
    /// Machine-readable reason, such as `Forbidden`.
    pub reason: &'static str,
    /// What the user reads.
    pub message: String,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The request's uid.
    pub uid: String,
    /// The verdict.
    pub allowed: bool,
    /// Why not, on a deny; a note on an allow that met a failure.
    pub status: Option<Status>,
    /// Shown to the user by kubectl, also on an allow.
    pub warnings: Vec<String>,
    /// RFC 6902 operations; absent when nothing changes.
    pub patch: Option<json_patch::Patch>,
    /// Go into the API server's audit event as `<webhook name>/<key>`.
    pub audit_annotations: BTreeMap<String, String>,
}

/// Encodes the AdmissionReview that carries `response`.
#[must_use]
pub fn encode(response: &Response) -> Vec<u8> {
    let patch = response.patch.as_ref().filter(|p| !p.0.is_empty());
    let wire = WireReview {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: WireResponse {
            uid: &response.uid,
            allowed: response.allowed,
            status: response.status.as_ref(),
            patch: patch.map(base64_json),
            patch_type: patch.map(|_| "JSONPatch"),
            warnings: &response.warnings,
            audit_annotations: &response.audit_annotations,
        },
    };
    // Maps with string keys and plain fields: serialisation has no way to fail.
    serde_json::to_vec(&wire).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: WireResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'a BTreeMap<String, String>,
}

fn base64_json(patch: &json_patch::Patch) -> String {
    use base64::Engine as _;
    let json = serde_json::to_vec(patch).unwrap_or_default();
    base64::engine::general_purpose::STANDARD.encode(json)
}
