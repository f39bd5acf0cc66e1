//! `ExpansionTemplate` of `expansion.gatekeeper.sh`: the objects that a controller would make of a workload.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::policy::gatekeeper::Document;
use crate::policy::{Enforcement, LoadError};

/// Expansions of expansions are followed this deep, as Gatekeeper does.
const MAX_DEPTH: usize = 30;

/// How objects of some kinds are expanded.
#[derive(Debug, Clone)]
pub struct ExpansionTemplate {
    /// `metadata.name`.
    pub name: String,
    /// File it stands in.
    pub file: String,
    /// Line it begins at.
    pub line: u32,
    /// What violations of the made objects do, in place of the constraint's action.
    pub enforcement: Option<Enforcement>,
    /// Kind of the objects that are made.
    pub generated: GeneratedKind,
    /// `spec`, for digests.
    pub document: Value,
    applies_to: Vec<AppliesTo>,
    source: Vec<String>,
}

/// Group, version and kind of the objects that are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratedKind {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AppliesTo {
    groups: Vec<String>,
    versions: Vec<String>,
    kinds: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Spec {
    apply_to: Vec<AppliesTo>,
    template_source: String,
    #[serde(rename = "generatedGVK")]
    generated: GeneratedKind,
    enforcement_action: Option<String>,
}

/// An object that a controller would make.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Name of the expansion.
    pub template: String,
    /// What its violations do, in place of the constraint's action.
    pub enforcement: Option<Enforcement>,
    /// The object.
    pub object: Value,
}

impl AppliesTo {
    fn takes(&self, group: &str, version: &str, kind: &str) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|x| x == value);
        has(&self.groups, group) && has(&self.versions, version) && has(&self.kinds, kind)
    }
}

impl ExpansionTemplate {
    /// Reads an expansion.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(document: &Document) -> Result<Self, LoadError> {
        let name = document.name();
        let fault = |path: &[&str], message: String| {
            document.fault_at("expansion", path, format!("expansion `{name}`: {message}"))
        };
        if name.is_empty() || name.len() > 63 {
            return Err(fault(&["metadata"], "`metadata.name` must have 1 to 63 characters".to_owned()));
        }
        let spec = document.at(&["spec"]).cloned().unwrap_or_else(|| json!({}));
        let parsed: Spec = serde_path_to_error::deserialize(&spec)
            .map_err(|e| fault(&["spec"], format!("`spec.{}`: {}", e.path(), e.inner())))?;
        if parsed.template_source.is_empty() {
            return Err(fault(&["spec"], "`spec.templateSource` is missing".to_owned()));
        }
        if parsed.generated == GeneratedKind::default() {
            return Err(fault(&["spec"], "`spec.generatedGVK` is missing".to_owned()));
        }
        if parsed.apply_to.is_empty() {
            return Err(fault(&["spec"], "`spec.applyTo` is missing".to_owned()));
        }
        let made = &parsed.generated;
        if parsed.apply_to.iter().any(|a| a.takes(&made.group, &made.version, &made.kind)) {
            return Err(fault(
                &["spec", "applyTo"],
                format!("it makes `{}` of `{}`, without end", made.kind, made.kind),
            ));
        }
        let enforcement = match parsed.enforcement_action.as_deref() {
            None | Some("") => None,
            Some("deny") => Some(Enforcement::Deny),
            Some("warn") => Some(Enforcement::Warn),
            Some("dryrun") => Some(Enforcement::Dryrun),
            Some(other) => {
                let message = format!("unknown `enforcementAction: {other}`; write deny, warn or dryrun");
                return Err(fault(&["spec", "enforcementAction"], message));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            file: document.file.clone(),
            line: document.first_line(),
            enforcement,
            generated: parsed.generated,
            document: spec,
            applies_to: parsed.apply_to,
            source: parsed.template_source.split('.').map(str::to_owned).collect(),
        })
    }

    /// Whether objects of a kind are expanded.
    #[must_use]
    pub fn takes(&self, group: &str, version: &str, kind: &str) -> bool {
        self.applies_to.iter().any(|a| a.takes(group, version, kind))
    }

    /// Steps from the object to what is made an object of.
    pub(crate) fn source(&self) -> impl Iterator<Item = &str> {
        self.source.iter().map(String::as_str)
    }

    /// Groups and kinds of the objects that are expanded.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&[String], &[String])> {
        self.applies_to.iter().map(|a| (a.groups.as_slice(), a.kinds.as_slice()))
    }

    fn make(&self, object: &Value, namespace: &str) -> Result<Value, String> {
        let source = self.source.iter().try_fold(object, |value, key| value.get(key));
        let Some(Value::Object(source)) = source else {
            return Err(format!("expansion `{}`: there is no object at `{}`", self.name, self.source.join(".")));
        };
        let mut made = source.clone();
        let GeneratedKind { group, version, kind } = &self.generated;
        let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        made.insert("apiVersion".to_owned(), Value::from(api_version));
        made.insert("kind".to_owned(), Value::from(kind.as_str()));
        let mut metadata = match made.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let namespace = if namespace.is_empty() { text("/metadata/namespace") } else { namespace };
        if !namespace.is_empty() {
            metadata.insert("namespace".to_owned(), Value::from(namespace));
        }
        let parent = text("/metadata/name");
        metadata.insert("name".to_owned(), Value::from(format!("{parent}-{kind}").to_lowercase()));
        if !parent.is_empty() {
            let owner = json!({"apiVersion": text("/apiVersion"), "kind": text("/kind"), "name": parent, "uid": ""});
            match metadata.get_mut("ownerReferences") {
                Some(Value::Array(owners)) => owners.push(owner),
                _ => drop(metadata.insert("ownerReferences".to_owned(), json!([owner]))),
            }
        }
        made.insert("metadata".to_owned(), Value::Object(metadata));
        Ok(Value::Object(made))
    }
}

/// Everything that would be made of `object`, and of what is made of it, in the order of the expansions.
///
/// # Errors
/// Why something cannot be told.
pub fn expand(templates: &[ExpansionTemplate], object: &Value, namespace: &str) -> Result<Vec<Generated>, String> {
    let mut found = Vec::new();
    descend(templates, object, namespace, 0, &mut found)?;
    Ok(found)
}

fn descend(
    templates: &[ExpansionTemplate],
    object: &Value,
    namespace: &str,
    depth: usize,
    found: &mut Vec<Generated>,
) -> Result<(), String> {
    if depth >= MAX_DEPTH {
        return Err(format!("expansions nest more than {MAX_DEPTH} deep"));
    }
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    for template in templates.iter().filter(|t| t.takes(group, version, text("kind"))) {
        let made = template.make(object, namespace)?;
        descend(templates, &made, namespace, depth + 1, found)?;
        found.push(Generated { template: template.name.clone(), enforcement: template.enforcement, object: made });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(name: &str, from: &str, to: &str) -> ExpansionTemplate {
        let value = json!({"apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate", "metadata": {"name": name},
            "spec": {"applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": [from]}], "templateSource": "spec.template",
                     "generatedGVK": {"group": if to == "Pod" { "" } else { "apps" }, "version": "v1", "kind": to}}});
        ExpansionTemplate::read(&Document { file: "e.yaml".into(), lines_before: 0, text: String::new(), value })
            .expect("reads")
    }

    #[test]
    fn a_deployment_makes_what_its_template_says() {
        let templates = [template("rs", "Deployment", "ReplicaSet"), template("pod", "ReplicaSet", "Pod")];
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "Web"}, "spec": {"template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {"containers": []}}}}}});
        let made = expand(&templates, &deployment, "shop").expect("expands");
        let names: Vec<(&str, &Value)> =
            made.iter().map(|g| (g.template.as_str(), &g.object["metadata"]["name"])).collect();
        assert_eq!(names, [("pod", &json!("web-replicaset-pod")), ("rs", &json!("web-replicaset"))]);
        assert_eq!(made[0].object["apiVersion"], "v1");
        assert_eq!(made[1].object["metadata"]["namespace"], "shop");
        assert_eq!(made[1].object["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(made[1].object["metadata"]["ownerReferences"][0]["name"], "Web");
        assert_eq!(expand(&templates, &json!({"apiVersion": "v1", "kind": "Pod"}), "").expect("expands"), []);
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {}});
        let error = expand(&[template("pod", "Deployment", "Pod")], &deployment, "").expect_err("no template");
        assert_eq!(error, "expansion `pod`: there is no object at `spec.template`");
    }
}
