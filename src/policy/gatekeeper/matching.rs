//! The `match` block of a constraint, with Gatekeeper's semantics: it looks at objects, the new one or the old one.

use serde::Deserialize;
use serde_json::Value;

use crate::admission::{Origin, Request};
use crate::policy::{LabelSelector, Rule, Scope};

/// Whose objects are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Source {
    /// All.
    #[default]
    All,
    /// Those that a controller would make, by an ExpansionTemplate.
    Generated,
    /// Those that a client wrote.
    Original,
}

/// A `match` block. Whatever is empty takes everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConstraintMatch {
    /// Any of them must take the object.
    pub kinds: Vec<KindsRule>,
    /// `*`, `Cluster` or `Namespaced`; anything else takes both, as in Gatekeeper.
    pub scope: String,
    /// Names of namespaces; `*` at the beginning and at the end of a name stands for any characters.
    pub namespaces: Vec<String>,
    /// Names that are left out.
    pub excluded_namespaces: Vec<String>,
    /// On the object's labels.
    pub label_selector: Option<LabelSelector>,
    /// On the labels of the object's namespace, or of the object if it is a Namespace.
    pub namespace_selector: Option<LabelSelector>,
    /// Name of the object, with `*` as in namespaces.
    pub name: String,
    /// Whose objects.
    pub source: Source,
}

/// API groups and kinds; `*` and an empty list take all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KindsRule {
    /// API groups; the core group is the empty string.
    pub api_groups: Vec<String>,
    /// Kinds.
    pub kinds: Vec<String>,
}

impl ConstraintMatch {
    /// Whether the constraint takes `request`, but for the labels of the namespace that it is in. `rules` say which
    /// operations and resources it is asked about; they bind requests that clients made.
    #[must_use]
    pub fn takes(&self, request: &Request, rules: &[Rule]) -> bool {
        let asked = request.origin == Origin::Standing
            || rules
                .iter()
                .any(|r| if request.generated { r.operations.contains(&request.operation) } else { r.takes(request) });
        let source = match self.source {
            Source::All => true,
            Source::Generated => request.generated,
            Source::Original => !request.generated,
        };
        asked
            && source
            && [request.object(), request.old_object()]
                .into_iter()
                .filter(|o| o.is_object())
                .any(|o| self.takes_object(o, &request.namespace))
    }

    /// Whether it takes an object of a kind at all: whatever else it says.
    #[must_use]
    pub fn takes_kind(&self, group: &str, kind: &str) -> bool {
        let has = |list: &[String], value: &str| list.is_empty() || list.iter().any(|x| x == "*" || x == value);
        self.kinds.is_empty() || self.kinds.iter().any(|k| has(&k.kinds, kind) && has(&k.api_groups, group))
    }

    fn takes_object(&self, object: &Value, request_namespace: &str) -> bool {
        let names = ObjectNames::of(object, request_namespace);
        let ObjectNames { group, kind, name, namespace, is_namespace } = names;
        let scope = match self.scope() {
            Scope::Any => true,
            Scope::Cluster => is_namespace || namespace.is_empty(),
            Scope::Namespaced => !is_namespace && !namespace.is_empty(),
        };
        let listed = |globs: &[String]| globs.iter().any(|g| wildcard(g, namespace));
        let labels = object.pointer("/metadata/labels").unwrap_or(&Value::Null);
        scope
            && self.takes_kind(group, kind)
            // What is in no namespace is not left out by names of namespaces.
            && (self.namespaces.is_empty() || namespace.is_empty() || listed(&self.namespaces))
            && (namespace.is_empty() || !listed(&self.excluded_namespaces))
            && self.label_selector.as_ref().is_none_or(|s| s.selects(labels))
            && self.namespace_selector.as_ref().is_none_or(|s| !is_namespace || s.selects(labels))
            && (self.name.is_empty() || wildcard(&self.name, name) || self.takes_generate_name(text(object, "/metadata/generateName")))
    }

    fn takes_generate_name(&self, generate_name: &str) -> bool {
        // A generated name has an end that nobody knows, so only a pattern with an open end can be told to fit.
        self.name.ends_with('*') && wildcard(&self.name, generate_name)
    }

    /// The scope.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.scope.as_str() {
            "Cluster" => Scope::Cluster,
            "Namespaced" => Scope::Namespaced,
            _ => Scope::Any,
        }
    }
}

/// What a `match` block looks at in an object: its names, the empty string where it has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectNames<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    /// The namespace that it is in; of a Namespace its own name.
    pub namespace: &'a str,
    pub is_namespace: bool,
}

impl<'a> ObjectNames<'a> {
    pub(crate) fn of(object: &'a Value, request_namespace: &'a str) -> Self {
        let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        let is_namespace = kind == "Namespace" && group.is_empty();
        let namespace = match (is_namespace, request_namespace) {
            (true, _) => name,
            (false, "") => text(object, "/metadata/namespace"),
            (false, namespace) => namespace,
        };
        Self { group, kind, name, namespace, is_namespace }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Gatekeeper's wildcard: `*` counts at the beginning and at the end only.
fn wildcard(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(rest), Some(_)) => name.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(end), None) => name.ends_with(end),
        (None, Some(begin)) => name.starts_with(begin),
        (None, None) => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn takes(block: &str, object: &Value) -> bool {
        let block: ConstraintMatch = serde_saphyr::from_str(block).expect("a match block");
        block.takes(&Request::of_object(object), &[])
    }

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop-eu", "labels": {"app": "web"}}})
    }

    #[test]
    fn each_part_of_the_block() {
        let cases: &[(&str, bool)] = &[
            ("{}", true),
            ("kinds: [{apiGroups: [''], kinds: [Pod]}]", true),
            ("kinds: [{apiGroups: ['*'], kinds: ['*']}]", true),
            ("kinds: [{kinds: [Pod]}]", true),
            ("kinds: [{apiGroups: [apps], kinds: [Pod]}, {apiGroups: [''], kinds: [Service]}]", false),
            ("scope: Namespaced", true),
            ("scope: Cluster", false),
            ("scope: cluster", true),
            ("namespaces: [shop-eu]", true),
            ("namespaces: ['shop-*']", true),
            ("namespaces: ['*-eu']", true),
            ("namespaces: ['*op-e*']", true),
            ("namespaces: ['s*u']", false),
            ("excludedNamespaces: ['shop-*']", false),
            ("excludedNamespaces: ['bank-*']", true),
            ("labelSelector: {matchLabels: {app: web}}", true),
            ("labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", false),
            ("name: web-1", true),
            ("name: 'web-*'", true),
            ("name: 'db-*'", false),
            ("source: Original", true),
            ("source: Generated", false),
        ];
        for (block, taken) in cases {
            assert_eq!(takes(block, &pod()), *taken, "{block}");
        }
    }

    #[test]
    fn objects_outside_namespaces_and_namespaces_themselves() {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
        for (block, taken) in [("namespaces: [a]", true), ("excludedNamespaces: ['*']", true), ("scope: Cluster", true)]
        {
            assert_eq!(takes(block, &node), taken, "{block}");
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": {"tier": "x"}}});
        for (block, taken) in [
            ("namespaces: [a]", true),
            ("excludedNamespaces: [a]", false),
            ("scope: Cluster", true),
            ("scope: Namespaced", false),
            ("namespaceSelector: {matchLabels: {tier: x}}", true),
            ("namespaceSelector: {matchLabels: {tier: y}}", false),
        ] {
            assert_eq!(takes(block, &namespace), taken, "{block}");
        }
    }

    #[test]
    fn the_old_object_counts_as_well() {
        let block: ConstraintMatch = serde_saphyr::from_str("labelSelector: {matchLabels: {app: db}}").expect("parses");
        let mut old = pod();
        old["metadata"]["labels"]["app"] = json!("db");
        let update = Request::standing(&json!({"operation": "UPDATE", "object": pod(), "oldObject": old}));
        assert!(block.takes(&update, &[]));
        assert!(!block.takes(&Request::standing(&json!({"operation": "CONNECT"})), &[]));
    }

    #[test]
    fn names_that_are_not_made_yet() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}});
        assert!(takes("name: 'web*'", &object) && !takes("name: '*b-'", &object) && !takes("name: web-", &object));
    }
}
