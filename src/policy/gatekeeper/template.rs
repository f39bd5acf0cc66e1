//! `ConstraintTemplate` of `templates.gatekeeper.sh`: a constraint kind, the schema of its parameters, and Rego.

use serde_json::Value;

use crate::admission::Operation;
use crate::policy::gatekeeper::schema::Schema;
use crate::policy::gatekeeper::{Document, TARGET};
use crate::policy::{LoadError, RegoVersion};

/// A template that can be run.
#[derive(Debug, Clone)]
pub struct Template {
    /// `metadata.name`: the kind in lower case.
    pub name: String,
    /// Kind of the constraints it defines.
    pub kind: String,
    /// File it stands in.
    pub file: String,
    /// Line it begins at.
    pub line: u32,
    /// Annotation `metadata.gatekeeper.sh/title`.
    pub title: Option<String>,
    /// Annotation `description`.
    pub description: Option<String>,
    /// The rules' module.
    pub rego: EmbeddedRego,
    /// The library's modules, below `data.lib`.
    pub libs: Vec<EmbeddedRego>,
    /// Language of all modules.
    pub version: RegoVersion,
    /// `targets[].operations`: what it wants to be asked about. Empty: not said.
    pub operations: Vec<Operation>,
    /// Schema of `spec.parameters`; `None` takes none.
    pub parameters: Option<Schema>,
    /// `spec`, for digests.
    pub spec: Value,
}

/// Rego inside a YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedRego {
    /// The text.
    pub text: String,
    /// Its first line in the file, from 1, and the columns of its indentation; `None` where that cannot be told.
    pub place: Option<(u32, u32)>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it; a template without Rego is refused.
    pub fn read(document: &Document) -> Result<Self, LoadError> {
        let fault = |path: &[&str], message: String| Err(document.fault_at("template", path, message));
        if !["v1", "v1beta1", "v1alpha1"].contains(&document.version()) {
            let message =
                format!("ConstraintTemplate of `{}` is not known; write v1", document.string(&["apiVersion"]));
            return fault(&["apiVersion"], message);
        }
        let kind = document.string(&["spec", "crd", "spec", "names", "kind"]);
        let name = document.name();
        if kind.is_empty() {
            return fault(&["spec", "crd"], format!("template `{name}`: `spec.crd.spec.names.kind` is missing"));
        }
        if name != kind.to_lowercase() {
            let wanted = kind.to_lowercase();
            let message = format!("template `{name}` defines `{kind}`, so its name must be `{wanted}`");
            return fault(&["metadata", "name"], message);
        }
        let targets = document.at(&["spec", "targets"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let [target] = targets else {
            let message = format!("template `{name}` must have one target in `spec.targets`, not {}", targets.len());
            return fault(&["spec", "targets"], message);
        };
        let target_name = target.get("target").and_then(Value::as_str).unwrap_or_default();
        if target_name != TARGET {
            let message = format!("template `{name}`: the target `{target_name}` is not known; write {TARGET}");
            return fault(&["spec", "targets", "target"], message);
        }
        let source = source(document, name, target)?;
        let annotation = |key: &str| document.at(&["metadata", "annotations", key]).and_then(Value::as_str);
        Ok(Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            file: document.file.clone(),
            line: document.first_line(),
            title: annotation("metadata.gatekeeper.sh/title").map(str::to_owned),
            description: annotation("description").map(|d| d.trim().to_owned()),
            rego: embedded(document, &source.rego),
            libs: source.libs.iter().map(|lib| embedded(document, lib)).collect(),
            version: source.version,
            operations: operations(document, name, target)?,
            parameters: parameters(document, name)?,
            spec: document.at(&["spec"]).cloned().unwrap_or_default(),
        })
    }
}

fn embedded(document: &Document, text: &str) -> EmbeddedRego {
    EmbeddedRego { text: text.to_owned(), place: document.place_of_block(text) }
}

struct RegoSource {
    rego: String,
    libs: Vec<String>,
    version: RegoVersion,
}

/// The Rego of a target: `rego` and `libs`, or the entry of `code` for the engine `Rego`.
fn source(document: &Document, name: &str, target: &Value) -> Result<RegoSource, LoadError> {
    let fault = |path: &[&str], message: String| Err(document.fault_at("template", path, message));
    let own = target.get("rego").and_then(Value::as_str).unwrap_or_default();
    if !own.is_empty() {
        return Ok(RegoSource { rego: own.to_owned(), libs: libs(document, name, target)?, version: RegoVersion::V0 });
    }
    let code = target.get("code").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let engine = |c: &Value| c.get("engine").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(entry) = code.iter().find(|c| engine(c) == "Rego") else {
        let engines: Vec<String> = code.iter().map(|c| format!("`{}`", engine(c))).collect();
        if code.iter().any(|c| engine(c) == "K8sNativeValidation") {
            let message = format!(
                "template `{name}` carries only CEL (engine `K8sNativeValidation`), which is not run here: add its \
                 Rego, or use a ValidatingAdmissionPolicy"
            );
            return fault(&["spec", "targets", "code"], message);
        }
        let has = if engines.is_empty() { "neither `rego` nor `code`".to_owned() } else { engines.join(", ") };
        return fault(&["spec", "targets"], format!("template `{name}` has no Rego; its target has {has}"));
    };
    let source = entry.get("source").cloned().unwrap_or_default();
    let Some(rego) = source.get("rego").and_then(Value::as_str) else {
        return fault(&["spec", "targets", "code", "source"], format!("template `{name}`: `source.rego` is missing"));
    };
    let version = match source.get("version").and_then(Value::as_str) {
        Some("v1") => RegoVersion::V1,
        None | Some("" | "v0") => RegoVersion::V0,
        Some(other) => {
            let message = format!("template `{name}`: Rego `{other}` is not known; write v0 or v1");
            return fault(&["spec", "targets", "code", "source", "version"], message);
        }
    };
    Ok(RegoSource { rego: rego.to_owned(), libs: libs(document, name, &source)?, version })
}

fn libs(document: &Document, name: &str, holder: &Value) -> Result<Vec<String>, LoadError> {
    let fault = || {
        document.fault_at(
            "template",
            &["spec", "targets", "libs"],
            format!("template `{name}`: `libs` must be a list of texts"),
        )
    };
    match holder.get("libs") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|i| i.as_str().map(str::to_owned).ok_or_else(fault)).collect(),
        Some(_) => Err(fault()),
    }
}

fn operations(document: &Document, name: &str, target: &Value) -> Result<Vec<Operation>, LoadError> {
    let mut found = Vec::new();
    for item in target.get("operations").and_then(Value::as_array).into_iter().flatten() {
        match item.as_str() {
            Some("*") => return Ok(Operation::ALL.to_vec()),
            Some(text) if let Some(operation) = Operation::ALL.into_iter().find(|o| o.as_str() == text) => {
                found.push(operation);
            }
            _ => {
                let message = format!(
                    "template `{name}`: unknown operation `{item}`; write CREATE, UPDATE, DELETE, CONNECT or *"
                );
                return Err(document.fault_at("template", &["spec", "targets", "operations"], message));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn parameters(document: &Document, name: &str) -> Result<Option<Schema>, LoadError> {
    const VALIDATION: [&str; 4] = ["spec", "crd", "spec", "validation"];
    let validation = document.at(&VALIDATION);
    // Before v1, schemas needed not say all: what they do not name is let be.
    let legacy = match validation.and_then(|v| v.get("legacySchema")).and_then(Value::as_bool) {
        Some(legacy) => legacy,
        None => document.version() != "v1",
    };
    let schema = validation.and_then(|v| v.get("openAPIV3Schema")).filter(|s| !s.is_null());
    if schema.is_none() && !legacy {
        return Ok(None);
    }
    let empty = Value::Object(serde_json::Map::new());
    let schema = Schema::read(schema.unwrap_or(&empty), legacy).map_err(|message| {
        let path: Vec<&str> = VALIDATION.into_iter().chain(["openAPIV3Schema"]).collect();
        document.fault_at("template", &path, format!("template `{name}`: {message}"))
    })?;
    Ok(Some(schema))
}
