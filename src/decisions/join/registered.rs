//! What the registered webhooks should have been asked. Knows webhook configurations
//! (`admissionregistration.k8s.io/v1`) and audit events; must not know decisions.
//!
//! An audit event does not carry all that a registration looks at. Where it does not, the answer is
//! [`Expected::Perhaps`], never a guess.

use serde::Deserialize;
use thiserror::Error;

use super::AuditEvent;
use crate::engine::Endpoint;

/// A webhook configuration that cannot be used.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// Not a webhook configuration.
    #[error("`{0}` is neither a ValidatingWebhookConfiguration nor a MutatingWebhookConfiguration")]
    Kind(String),
    /// Its fields are not what they should be.
    #[error("the webhook configuration cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// More webhooks of which it is not known whose they are than [`MOST_DOUBTFUL`].
    #[error(
        "more than {MOST_DOUBTFUL} webhooks of others; name ours alone (`kubectl get .. -l app.kubernetes.io/name=portcullis`)"
    )]
    Many,
}

/// Whether an endpoint should have been asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// No registered rule takes it.
    No,
    /// The event does not say: a selector on labels, a condition, a deletion that may have had nothing to delete.
    Perhaps,
    /// Yes.
    Yes,
}

/// The webhooks that are registered: ours, and those of which only the audit log can say whose they are.
#[derive(Debug, Clone, Default)]
pub struct Registered {
    hooks: Vec<Hook>,
    /// Neither their names nor their configurations' labels are ours. No more than [`MOST_DOUBTFUL`].
    doubtful: Vec<Hook>,
    /// Names of the configurations that hold webhooks of ours.
    configurations: Vec<String>,
}

#[derive(Debug, Clone)]
struct Hook {
    endpoint: Endpoint,
    wire: WireHook,
}

#[derive(Debug, Deserialize)]
struct WireConfiguration {
    #[serde(default)]
    metadata: WireMetadata,
    #[serde(default)]
    webhooks: Vec<WireHook>,
}

#[derive(Debug, Default, Deserialize)]
struct WireMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHook {
    name: String,
    #[serde(default)]
    rules: Vec<WireRule>,
    namespace_selector: Option<Selector>,
    object_selector: Option<Selector>,
    #[serde(default)]
    match_conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRule {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    operations: Vec<String>,
    scope: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    match_labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, Deserialize)]
struct Requirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    name: String,
    #[serde(default)]
    expression: String,
}

/// How `portcullis webhook config` names webhooks, and labels what holds them.
const OUR_NAMES: &str = ".portcullis.io";
const OUR_LABEL: (&str, &str) = ("app.kubernetes.io/name", "portcullis");

/// Webhooks of others that a registration may hold: one bit each.
pub(super) const MOST_DOUBTFUL: usize = 62;

/// Every namespace carries its name under this key (KEP-2161).
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Registered webhooks are never asked about these (`admissionregistration.k8s.io`: so that they can be mended).
pub(super) const NEVER_SENT: &str = "admissionregistration.k8s.io";

/// Subresources by which one connects.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

impl Registered {
    /// Adds the webhooks of a configuration.
    ///
    /// # Errors
    /// [`RegistrationError`] when the document is none.
    pub fn add(&mut self, configuration: &serde_json::Value) -> Result<(), RegistrationError> {
        let kind = configuration.get("kind").and_then(serde_json::Value::as_str).unwrap_or_default();
        let endpoint = match kind {
            "ValidatingWebhookConfiguration" => Endpoint::Validate,
            "MutatingWebhookConfiguration" => Endpoint::Mutate,
            other => return Err(RegistrationError::Kind(other.to_owned())),
        };
        let wire: WireConfiguration = serde_json::from_value(configuration.clone())?;
        let labelled = wire.metadata.labels.get(OUR_LABEL.0).is_some_and(|value| value == OUR_LABEL.1);
        if !wire.metadata.name.is_empty() && (labelled || wire.webhooks.iter().any(|w| w.name.ends_with(OUR_NAMES))) {
            self.configurations.push(wire.metadata.name);
        }
        for wire in wire.webhooks {
            let ours = labelled || wire.name.ends_with(OUR_NAMES);
            let hook = Hook { endpoint, wire };
            if ours { self.hooks.push(hook) } else { self.doubtful.push(hook) }
        }
        if self.doubtful.len() > MOST_DOUBTFUL { Err(RegistrationError::Many) } else { Ok(()) }
    }

    /// Whether there is none, neither ours nor anybody's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.doubtful.is_empty()
    }

    /// Whether none is known to be ours.
    #[must_use]
    pub fn has_none_of_ours(&self) -> bool {
        self.hooks.is_empty()
    }

    /// Names of the configurations that hold webhooks of ours.
    pub(super) fn configurations(&self) -> impl Iterator<Item = &str> {
        self.configurations.iter().map(String::as_str)
    }

    /// Whether a webhook of this name is ours.
    #[must_use]
    pub fn is_ours(&self, webhook: &str) -> bool {
        webhook.ends_with(OUR_NAMES) || self.hooks.iter().any(|h| h.wire.name == webhook)
    }

    /// The endpoints of the webhooks of this name: one name may stand in both configurations. Of one that is not
    /// registered its name decides.
    pub(super) fn endpoints(&self, webhook: &str) -> Vec<Endpoint> {
        let named = self.hooks.iter().chain(&self.doubtful).filter(|h| h.wire.name == webhook);
        let found: Vec<Endpoint> = named.map(|h| h.endpoint).collect();
        match found.is_empty() {
            true if webhook.contains("mutat") => vec![Endpoint::Mutate],
            true => vec![Endpoint::Validate],
            false => found,
        }
    }

    /// The webhooks of which it is not known whose they are, in the order of their bits.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = (&str, Endpoint)> {
        self.doubtful.iter().map(|h| (h.wire.name.as_str(), h.endpoint))
    }

    /// What each of them should have been asked of `event`.
    pub(super) fn doubtful_expect(&self, event: &AuditEvent) -> impl Iterator<Item = Expected> {
        self.doubtful.iter().map(|h| expected_of(std::iter::once(h), event))
    }

    /// Takes those of this name for ours, since the API server heard decisions of them.
    pub(super) fn adopt(&mut self, webhook: &str) {
        let (named, others) = self.doubtful.drain(..).partition(|h| h.wire.name == webhook);
        self.doubtful = others;
        self.hooks.extend::<Vec<Hook>>(named);
    }

    /// Whether `endpoint` should have been asked about the request of `event`.
    #[must_use]
    pub fn expects(&self, endpoint: Endpoint, event: &AuditEvent) -> Expected {
        expected_of(self.hooks.iter().filter(|h| h.endpoint == endpoint), event)
    }
}

fn expected_of<'h>(hooks: impl Iterator<Item = &'h Hook>, event: &AuditEvent) -> Expected {
    let Some(operation) = operation(event) else { return Expected::No };
    if event.done() != Some(true) || event.forbidden || event.resource.is_empty() || event.group == NEVER_SENT {
        return Expected::No;
    }
    let expected = hooks.map(|h| h.wire.expects(operation, event)).max().unwrap_or(Expected::No);
    // A collection may have been empty.
    if event.verb == "deletecollection" { expected.min(Expected::Perhaps) } else { expected }
}

impl WireHook {
    fn expects(&self, operation: &str, event: &AuditEvent) -> Expected {
        if !self.rules.iter().any(|r| r.takes(operation, event)) {
            return Expected::No;
        }
        let namespace = self.namespace_selector.as_ref().map_or(Expected::Yes, |s| s.takes_namespace(event));
        let object = match &self.object_selector {
            Some(s) if !s.match_labels.is_empty() || !s.match_expressions.is_empty() => Expected::Perhaps,
            _ => Expected::Yes,
        };
        let conditions = self.match_conditions.iter().map(|c| c.holds(event)).min().unwrap_or(Expected::Yes);
        namespace.min(object).min(conditions)
    }
}

impl WireRule {
    fn takes(&self, operation: &str, event: &AuditEvent) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|x| x == "*" || x == value);
        let clustered = event.namespace.is_empty() || event.resource == "namespaces";
        let scope = match self.scope.as_deref() {
            Some("Cluster") => clustered,
            Some("Namespaced") => !clustered,
            _ => true,
        };
        let resource = |pattern: &String| match pattern.split_once('/') {
            Some((main, sub)) => (main == "*" || main == event.resource) && (sub == "*" || sub == event.subresource),
            None => (pattern == "*" || *pattern == event.resource) && event.subresource.is_empty(),
        };
        scope
            && has(&self.operations, operation)
            && has(&self.api_groups, &event.group)
            && self.resources.iter().any(resource)
    }
}

impl Selector {
    /// Namespaces carry their names as labels; of others an event says nothing.
    fn takes_namespace(&self, event: &AuditEvent) -> Expected {
        let name = if event.resource == "namespaces" { &event.name } else { &event.namespace };
        if name.is_empty() && event.resource != "namespaces" {
            // What is in no namespace is taken by every namespace selector.
            return Expected::Yes;
        }
        let by_label = self.match_labels.iter().map(|(key, value)| match key.as_str() {
            NAMESPACE_NAME if value == name => Expected::Yes,
            NAMESPACE_NAME => Expected::No,
            _ => Expected::Perhaps,
        });
        let by_expression = self.match_expressions.iter().map(|r| match (r.key.as_str(), r.operator.as_str()) {
            (NAMESPACE_NAME, "In") if r.values.contains(name) => Expected::Yes,
            (NAMESPACE_NAME, "NotIn") if !r.values.contains(name) => Expected::Yes,
            (NAMESPACE_NAME, "Exists") => Expected::Yes,
            (NAMESPACE_NAME, _) => Expected::No,
            _ => Expected::Perhaps,
        });
        by_label.chain(by_expression).min().unwrap_or(Expected::Yes)
    }
}

impl Condition {
    /// Whether the condition holds, of those that `portcullis webhook config` writes; of others nothing is known.
    fn holds(&self, event: &AuditEvent) -> Expected {
        let (group, resource) = (event.group.as_str(), event.resource.as_str());
        let left_out = match self.name.as_str() {
            "not-leases" => group == "coordination.k8s.io" && resource == "leases",
            "not-events" => ["", "events.k8s.io"].contains(&group) && resource == "events",
            "not-reviews" => ["authentication.k8s.io", "authorization.k8s.io"].contains(&group),
            "not-observed" => match observed(&self.expression) {
                Some(observed) => observed.iter().any(|(g, resources)| *g == group && resources.contains(&resource)),
                None => return Expected::Perhaps,
            },
            _ => return Expected::Perhaps,
        };
        if left_out { Expected::No } else { Expected::Yes }
    }
}

/// Groups and resources of a condition of the form `!((request.resource.group == "" && request.resource.resource in
/// ["nodes"]) || ..)`, as `portcullis webhook config` writes it: which they are changes from version to version.
fn observed(expression: &str) -> Option<Vec<(&str, Vec<&str>)>> {
    let terms = expression.strip_prefix("!((")?.strip_suffix("))")?.split(") || (");
    let term = |term: &'_ str| -> Option<(usize, usize)> { Some((term.find("\" && ")?, term.find(" in [")?)) };
    terms
        .map(|text| {
            let (group_ends, list) = term(text)?;
            let group = text.get(..group_ends)?.strip_prefix("request.resource.group == \"")?;
            (text.get(group_ends..list)? == "\" && request.resource.resource").then_some(())?;
            let resources = text.get(list..)?.strip_prefix(" in [")?.strip_suffix(']')?.split(", ");
            Some((group, resources.map(|r| r.trim_matches('"')).collect()))
        })
        .collect()
}

/// The admission operation of a request; `None` for those that admission does not see.
pub(super) fn operation(event: &AuditEvent) -> Option<&'static str> {
    if CONNECTIONS.contains(&event.subresource.as_str())
        && matches!(event.resource.as_str(), "pods" | "services" | "nodes")
    {
        return Some("CONNECT");
    }
    match event.verb.as_str() {
        "create" => Some("CREATE"),
        // A server-side apply, or a PUT, that made the object.
        "patch" | "update" if event.code == 201 => Some("CREATE"),
        "update" | "patch" => Some("UPDATE"),
        "delete" | "deletecollection" => Some("DELETE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(verb: &str, group: &str, resource: &str, namespace: &str, code: u16) -> AuditEvent {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let text = |t: &str| t.to_owned();
        AuditEvent {
            verb: text(verb),
            group: text(group),
            resource: text(resource),
            subresource: text(subresource),
            namespace: text(namespace),
            name: text("n"),
            code,
            ..AuditEvent::default()
        }
    }

    #[test]
    fn what_should_have_been_asked() {
        let mut registered = Registered::default();
        let rule = |groups: &[&str], resources: &[&str], operations: &[&str]| json!({"apiGroups": groups, "apiVersions": ["*"], "resources": resources, "operations": operations});
        let configuration = json!({"kind": "ValidatingWebhookConfiguration", "webhooks": [{
            "name": "enforce.validate.portcullis.io",
            "namespaceSelector": {"matchExpressions":
                [{"key": NAMESPACE_NAME, "operator": "NotIn", "values": ["kube-system"]}]},
            "matchConditions": [{"name": "not-observed", "expression": "!((request.resource.group == \"\" && request.resource.resource in [\"nodes\", \"persistentvolumes\"]) || (request.resource.group == \"karpenter.sh\" && request.resource.resource in [\"nodeclaims\"]))"}],
            "rules": [rule(&["*"], &["*"], &["CREATE", "UPDATE", "DELETE"]), rule(&[""], &["pods/exec"], &["CONNECT"])]
        }]});
        registered.add(&configuration).expect("a configuration");
        for (event, expected) in [
            (event("create", "", "pods", "shop", 201), Expected::Yes),
            (event("patch", "apps", "deployments", "shop", 200), Expected::Yes),
            (event("delete", "", "namespaces", "shop", 200), Expected::Yes),
            (event("create", "", "pods/exec", "shop", 101), Expected::Yes),
            (event("get", "", "pods/exec", "shop", 101), Expected::Yes),
            (event("create", "", "pods/attach", "shop", 101), Expected::No),
            (event("update", "", "pods/status", "shop", 200), Expected::No),
            (event("create", "", "pods", "kube-system", 201), Expected::No),
            (event("get", "", "pods", "shop", 200), Expected::No),
            (event("create", "", "pods", "shop", 403), Expected::No),
            (event("update", "", "nodes", "", 200), Expected::No),
            (event("update", "karpenter.sh", "nodeclaims", "", 200), Expected::No),
            (event("update", "karpenter.sh", "nodepools", "", 200), Expected::Yes),
            (event("create", "rbac.authorization.k8s.io", "clusterroles", "", 201), Expected::Yes),
            (event("update", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "", 200), Expected::No),
            (event("deletecollection", "", "pods", "shop", 200), Expected::Perhaps),
        ] {
            assert_eq!(registered.expects(Endpoint::Validate, &event), expected, "{event:?}");
            assert_eq!(registered.expects(Endpoint::Mutate, &event), Expected::No);
        }
        let mut odd = Registered::default();
        let mut changed = configuration.clone();
        changed["webhooks"][0]["matchConditions"][0]["expression"] = json!("!(request.name == \"nodes\")");
        odd.add(&changed).expect("a configuration");
        let pod = event("create", "", "pods", "shop", 201);
        assert_eq!(odd.expects(Endpoint::Validate, &pod), Expected::Perhaps);
        let mut labelled = Registered::default();
        let mut configuration = configuration;
        configuration["webhooks"][0]["objectSelector"] = json!({"matchLabels": {"a": "b"}});
        labelled.add(&configuration).expect("a configuration");
        assert_eq!(labelled.expects(Endpoint::Validate, &pod), Expected::Perhaps);
        assert!(labelled.add(&json!({"kind": "Pod"})).is_err());
    }

    #[test]
    fn a_put_that_made_the_object_is_a_creation() {
        for (verb, code, expected) in [
            ("update", 201, "CREATE"),
            ("update", 200, "UPDATE"),
            ("patch", 201, "CREATE"),
            ("patch", 200, "UPDATE"),
            ("delete", 200, "DELETE"),
        ] {
            assert_eq!(operation(&event(verb, "", "pods", "shop", code)), Some(expected), "{verb} {code}");
        }
    }

    #[test]
    fn whose_webhooks_they_are() {
        let mut registered = Registered::default();
        let configuration = |label: &str, name: &str| {
            json!({"kind": "ValidatingWebhookConfiguration",
            "metadata": {"labels": {"app.kubernetes.io/name": label}}, "webhooks": [{"name": name, "rules": [
                {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}]}]})
        };
        registered.add(&configuration("kyverno", "validate.kyverno.svc")).expect("a configuration");
        registered.add(&configuration("", "policies.example.com")).expect("a configuration");
        let pod = event("create", "", "pods", "shop", 201);
        assert!(registered.has_none_of_ours() && !registered.is_empty());
        assert_eq!(registered.expects(Endpoint::Validate, &pod), Expected::No);
        assert_eq!(registered.doubtful_expect(&pod).collect::<Vec<_>>(), [Expected::Yes, Expected::Yes]);
        registered.adopt("policies.example.com");
        assert!(registered.is_ours("policies.example.com") && !registered.is_ours("validate.kyverno.svc"));
        assert_eq!(registered.expects(Endpoint::Validate, &pod), Expected::Yes);
        let mut renamed = Registered::default();
        renamed.add(&configuration("portcullis", "renamed.example.com")).expect("a configuration");
        assert!(renamed.is_ours("renamed.example.com"));
        let mut many = Registered::default();
        let one = configuration("", "validate.example.com");
        assert!((0..MOST_DOUBTFUL).all(|_| many.add(&one).is_ok()) && many.add(&one).is_err());
    }
}
