//! Constraints of `constraints.gatekeeper.sh`: a template with parameters, a match block and an enforcement action.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::gatekeeper::schema::Finding;
use crate::policy::gatekeeper::{ConstraintMatch, Document, Template};
use crate::policy::names::is_subdomain;
use crate::policy::{Enforcement, LabelSelector, LoadError};

/// Where a decision is made; scoped enforcement actions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnforcementPoint {
    /// `validation.gatekeeper.sh`: the webhook.
    #[default]
    Webhook,
    /// `gator.gatekeeper.sh`: the command line.
    Gator,
}

impl EnforcementPoint {
    /// The name in `scopedEnforcementActions`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "validation.gatekeeper.sh",
            Self::Gator => "gator.gatekeeper.sh",
        }
    }
}

/// A constraint, checked against its template.
#[derive(Debug, Clone)]
pub struct Constraint {
    /// Kind, which its template defines.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// File it stands in.
    pub file: String,
    /// Line it begins at.
    pub line: u32,
    /// `spec.parameters` with defaults.
    pub parameters: Value,
    /// `spec.match`.
    pub matching: ConstraintMatch,
    /// The document, for digests.
    pub document: Value,
    actions: Actions,
}

#[derive(Debug, Clone)]
enum Actions {
    Everywhere(Enforcement),
    Scoped(Vec<ScopedAction>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScopedAction {
    action: Enforcement,
    #[serde(default)]
    enforcement_points: Vec<PointName>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointName {
    name: String,
}

/// Every point that Gatekeeper knows, and the one that stands for all.
const POINTS: [&str; 5] = ["validation.gatekeeper.sh", "gator.gatekeeper.sh", "audit.gatekeeper.sh", "vap.k8s.io", "*"];

const SPEC_KEYS: [&str; 4] = ["enforcementAction", "scopedEnforcementActions", "match", "parameters"];

impl Constraint {
    /// Reads a constraint of `template`.
    ///
    /// # Errors
    /// What is wrong with it; code `schema` if a value does not fit the schema, else `constraint`.
    pub fn read(document: &Document, template: &Template) -> Result<Self, LoadError> {
        let name = document.name();
        let label = format!("constraint `{}/{name}`", document.kind());
        let fault =
            |path: &[&str], message: String| document.fault_at("constraint", path, format!("{label}: {message}"));
        if document.kind() != template.kind {
            let message = format!("its kind is not `{}`, which template `{}` defines", template.kind, template.name);
            return Err(fault(&["kind"], message));
        }
        if document.group() != "constraints.gatekeeper.sh" || !["v1beta1", "v1alpha1"].contains(&document.version()) {
            let message =
                format!("`{}` is not known; write constraints.gatekeeper.sh/v1beta1", document.string(&["apiVersion"]));
            return Err(fault(&["apiVersion"], message));
        }
        if !is_subdomain(name) {
            return Err(fault(&["metadata"], "`metadata.name` is no DNS subdomain".to_owned()));
        }
        let schema_fault = |path: &[&str], message: String| LoadError { code: "schema", ..fault(path, message) };
        if name.len() > 63 {
            return Err(schema_fault(&["metadata", "name"], "`metadata.name` has more than 63 characters".to_owned()));
        }
        let empty = Map::new();
        let spec = match document.at(&["spec"]) {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(spec)) => spec,
            Some(other) => return Err(schema_fault(&["spec"], format!("`spec` must be an object, not `{other}`"))),
        };
        let parameters = parameters(spec.get("parameters"), template).map_err(|finding| match finding {
            Finding::Misfit(message) => schema_fault(&["spec", "parameters"], message),
            Finding::Unknown(path) => fault(&["spec", "parameters"], format!("unknown field `{path}`")),
        })?;
        let matching = matching(spec.get("match")).map_err(|(at_selector, message)| {
            if at_selector { fault(&["spec", "match"], message) } else { schema_fault(&["spec", "match"], message) }
        })?;
        let actions = actions(spec).map_err(|message| fault(&["spec", "enforcementAction"], message))?;
        if let Some(key) = spec.keys().find(|k| !SPEC_KEYS.contains(&k.as_str())) {
            let near = crate::policy::nearest(key, SPEC_KEYS.into_iter()).map(|n| format!("; did you mean `{n}`?"));
            return Err(fault(&["spec", key], format!("unknown field `spec.{key}`{}", near.unwrap_or_default())));
        }
        let mut stored = document.value.clone();
        if let Some(map) = stored.as_object_mut() {
            map.remove("status");
        }
        Ok(Self {
            kind: template.kind.clone(),
            name: name.to_owned(),
            file: document.file.clone(),
            line: document.first_line(),
            parameters,
            matching,
            document: stored,
            actions,
        })
    }

    /// `<Kind>/<name>`: the name of the policy.
    #[must_use]
    pub fn policy_name(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// What a violation does at `point`; `None` where the constraint is not enforced. Of several actions the strictest.
    #[must_use]
    pub fn enforcement(&self, point: EnforcementPoint) -> Option<Enforcement> {
        match &self.actions {
            Actions::Everywhere(enforcement) => Some(*enforcement),
            Actions::Scoped(actions) => {
                let here =
                    |a: &&ScopedAction| a.enforcement_points.iter().any(|p| p.name == "*" || p.name == point.as_str());
                actions.iter().filter(here).map(|a| a.action).max()
            }
        }
    }
}

/// Parameters checked and defaulted; those that are missing altogether are none.
fn parameters(given: Option<&Value>, template: &Template) -> Result<Value, Finding> {
    let Some(schema) = &template.parameters else {
        return match given {
            None => Ok(Value::Object(Map::new())),
            Some(_) => Err(Finding::Unknown("spec.parameters".to_owned())),
        };
    };
    let mut parameters = match given.or(schema.default()) {
        None => return Ok(Value::Object(Map::new())),
        Some(given) => given.clone(),
    };
    let mut findings = schema.check("spec.parameters", &parameters);
    // A value that does not fit is worse than one that is not known.
    let misfit = findings.iter().position(|f| matches!(f, Finding::Misfit(_))).unwrap_or(0);
    if misfit < findings.len() {
        return Err(findings.swap_remove(misfit));
    }
    schema.apply_defaults(&mut parameters);
    Ok(if parameters.is_null() { Value::Object(Map::new()) } else { parameters })
}

/// The match block, or whether a selector is at fault and how.
fn matching(given: Option<&Value>) -> Result<ConstraintMatch, (bool, String)> {
    let mut block = match given {
        None | Some(Value::Null) => return Ok(ConstraintMatch::default()),
        Some(block) => block.clone(),
    };
    without_nulls(&mut block);
    let matching: ConstraintMatch = serde_path_to_error::deserialize(&block).map_err(|e| {
        let unknown = e.inner().to_string().starts_with("unknown field");
        (unknown, format!("`spec.match.{}`: {}", e.path(), e.inner()))
    })?;
    let names = matching.namespaces.iter().chain(&matching.excluded_namespaces).chain([&matching.name]);
    for name in names {
        let inner = name.strip_prefix('*').unwrap_or(name);
        let inner = inner.strip_suffix('*').unwrap_or(inner);
        if !inner.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-:".contains(c)) {
            let message = format!("`{name}` in `spec.match` is no name; `*` may stand at its beginning and its end");
            return Err((false, message));
        }
    }
    let selectors = [&matching.label_selector, &matching.namespace_selector];
    let fault = selectors.into_iter().flatten().find_map(LabelSelector::fault);
    match fault {
        Some(fault) => Err((true, format!("a selector in `spec.match`: {fault}"))),
        None => Ok(matching),
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn actions(spec: &Map<String, Value>) -> Result<Actions, String> {
    let known = |text: &str| match text {
        "deny" | "" => Some(Enforcement::Deny),
        "warn" => Some(Enforcement::Warn),
        "dryrun" => Some(Enforcement::Dryrun),
        _ => None,
    };
    let action = match spec.get("enforcementAction") {
        None | Some(Value::Null) => "deny",
        Some(Value::String(action)) => action,
        Some(other) => return Err(format!("`enforcementAction` must be a string, not `{other}`")),
    };
    if action != "scoped" {
        let enforcement = known(action);
        return enforcement
            .map(Actions::Everywhere)
            .ok_or_else(|| format!("unknown `enforcementAction: {action}`; write deny, warn, dryrun or scoped"));
    }
    let Some(given) = spec.get("scopedEnforcementActions").filter(|g| !g.is_null()) else {
        return Err("`enforcementAction: scoped` needs `scopedEnforcementActions`".to_owned());
    };
    let actions: Vec<ScopedAction> = serde_path_to_error::deserialize(given)
        .map_err(|e| format!("`scopedEnforcementActions{}`: {}", e.path(), e.inner()))?;
    for point in actions.iter().flat_map(|a| &a.enforcement_points) {
        if !POINTS.contains(&point.name.as_str()) {
            return Err(format!("unknown enforcement point `{}`; write one of {}", point.name, POINTS.join(", ")));
        }
    }
    if actions.iter().any(|a| a.enforcement_points.is_empty()) {
        return Err("an entry of `scopedEnforcementActions` names no enforcement point".to_owned());
    }
    Ok(Actions::Scoped(actions))
}
