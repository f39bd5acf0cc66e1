//! Case files, `cases/<policy>.yaml`: real manifests with what one policy must say to each.
//!
//! Knows the format; must not know how a policy is asked.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admission::Operation;
use crate::policy::gatekeeper::{Document, Lines};
use crate::policy::kinds::{built_in, is_cluster_scoped};
use crate::policy::{Instant, LoadError, yaml};

/// When a case happens that does not say when: a Wednesday noon.
const NOON: &str = "2026-11-18T12:00:00Z";

/// The cases of one policy. Keys that it does not know are errors: a slip must not pass for no expectation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCases {
    /// File it stands in.
    #[serde(skip)]
    pub file: String,
    /// The policy that is asked; no other one is.
    pub policy: String,
    /// Laid over the policy's parameters in every case.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The cases, in order; at least one.
    pub cases: Vec<OneCase>,
}

/// A request to one policy, and what is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneCase {
    /// Name.
    pub name: String,
    /// Line of the file.
    #[serde(skip)]
    pub line: u32,
    /// Default: a cluster administrator (`admin` of `system:masters`).
    #[serde(default)]
    pub user: Option<String>,
    /// Groups of the user, beside `system:authenticated`.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Default: CREATE, with `old` UPDATE.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// `pods/exec`, `deployments.apps/scale`, where it is not plain from the kind.
    #[serde(default)]
    pub resource: Option<String>,
    /// In place of the object's own.
    #[serde(default)]
    pub namespace: Option<String>,
    /// In place of the object's own.
    #[serde(default)]
    pub request_name: Option<String>,
    /// The object; on DELETE the one that goes.
    pub object: Value,
    /// The object before an UPDATE.
    #[serde(default)]
    pub old: Option<Value>,
    /// RFC 3339; default: a Wednesday noon, 2026-11-18T12:00:00Z.
    #[serde(default)]
    pub now: Option<String>,
    /// More manifests in `data.inventory`.
    #[serde(default)]
    pub inventory: Vec<Value>,
    /// Data in place of what is loaded, by its first key.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// Laid over those of the file.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Messages of violations with the policy's enforcement. Absent and empty: none.
    #[serde(default)]
    pub denied: BTreeSet<String>,
    /// Fields of those violations; absent: any.
    #[serde(default)]
    pub fields: Option<BTreeSet<String>>,
    /// Messages of `warn`.
    #[serde(default)]
    pub warned: BTreeSet<String>,
    /// What the mutating endpoint makes of it, instead of a verdict.
    #[serde(default)]
    pub patch: Option<Value>,
    /// Audit annotations; absent: any.
    #[serde(default)]
    pub annotations: Option<Value>,
}

impl PolicyCases {
    /// Whether a text in a folder `cases` is one: it names a policy at its top.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.lines().any(|l| l.starts_with("policy:")) && text.lines().any(|l| l.starts_with("cases:"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn read(file: &str, text: &str) -> Result<Self, LoadError> {
        let mut found: Self = yaml::parse(file, text, yaml::Offset::default())?;
        file.clone_into(&mut found.file);
        if found.cases.is_empty() {
            return Err(LoadError::new(file, "cases", format!("policy `{}` has no case", found.policy)));
        }
        let document =
            Document { file: file.to_owned(), lines_before: 0, text: text.to_owned(), value: Value::default() };
        let mut lines = Lines::new(&document);
        for case in &mut found.cases {
            case.line = lines.of_name(&case.name);
            case.time().map_err(|message| {
                LoadError::new(file, "cases", format!("case `{}`: now: {message}", case.name)).at(case.line, 1)
            })?;
        }
        Ok(found)
    }

    /// The parameters of a case: its own over those of the file.
    #[must_use]
    pub fn parameters(&self, case: &OneCase) -> Map<String, Value> {
        let mut parameters = self.parameters.clone();
        parameters.extend(case.parameters.clone());
        parameters
    }
}

impl OneCase {
    /// When it happens.
    ///
    /// # Errors
    /// `now` is no time.
    pub fn time(&self) -> Result<Instant, String> {
        Instant::parse(self.now.as_deref().unwrap_or(NOON))
    }

    /// The review that the API server would send.
    #[must_use]
    pub fn review(&self) -> Value {
        let text = |pointer: &str| self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let known = built_in(kind).into_iter().find(|k| k.group == group);
        let usual = known.map_or_else(|| plural(kind), |k| k.resource.to_owned());
        let given = self.resource.clone().unwrap_or(usual);
        let (main, subresource) = given.split_once('/').map_or((given.as_str(), None), |(main, sub)| (main, Some(sub)));
        // Options of a connection are of the core group, as is what they belong to.
        let own_group = if main == "pods" { "" } else { group };
        let (resource, resource_group) = main.split_once('.').unwrap_or((main, own_group));
        let own = match text("/metadata/namespace") {
            _ if kind == "Namespace" => text("/metadata/name"),
            "" if is_cluster_scoped(kind) || !(known.is_some() || subresource.is_some()) => "",
            "" => "default",
            given => given,
        };
        let namespace = self.namespace.as_deref().unwrap_or(own);
        let name = self.request_name.as_deref().unwrap_or_else(|| text("/metadata/name"));
        let usual = if self.old.is_some() { Operation::Update } else { Operation::Create };
        let operation = self.operation.unwrap_or(usual);
        let (new, old) = match operation {
            Operation::Delete => (Value::Null, self.object.clone()),
            Operation::Update => (self.object.clone(), self.old.clone().unwrap_or_else(|| self.object.clone())),
            Operation::Create | Operation::Connect => (self.object.clone(), Value::Null),
        };
        let mut groups = self.groups.clone().unwrap_or_else(|| match self.user {
            None => vec!["system:masters".to_owned()],
            Some(_) => Vec::new(),
        });
        groups.push("system:authenticated".to_owned());
        let gvk = json!({"group": group, "version": version, "kind": kind});
        let gvr = json!({"group": resource_group, "version": version, "resource": resource});
        let mut request = json!({
            "uid": self.name, "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
            "name": name, "namespace": namespace, "operation": operation.as_str(),
            "userInfo": {"username": self.user.as_deref().unwrap_or("admin"), "groups": groups},
            "object": new, "oldObject": old, "dryRun": false, "options": null});
        if let (Some(sub), Some(map)) = (subresource, request.as_object_mut()) {
            map.insert("subResource".to_owned(), json!(sub));
            map.insert("requestSubResource".to_owned(), json!(sub));
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
    }
}

/// The usual plural of a custom kind.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with(['s', 'x']) => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}
