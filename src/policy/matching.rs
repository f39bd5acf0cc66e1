//! Which requests a policy is about: the exact semantics of a checked `match` block.

use serde::Deserialize;
use serde_json::Value;

use crate::admission::{Operation, Request};
use crate::policy::gatekeeper::ConstraintMatch;
use crate::policy::kinds::{TEMPLATE_KINDS, TemplateKind};
use crate::policy::selector::{LabelSelector, glob_matches};

/// Which scope a rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Scope {
    /// Both.
    #[default]
    #[serde(rename = "*")]
    Any,
    /// Cluster-scoped objects; Namespaces are.
    Cluster,
    /// Objects in a namespace.
    Namespaced,
}

/// One rule, as in a webhook configuration (`admissionregistration.k8s.io/v1` RuleWithOperations), except that
/// `pods` and `*` also take `pods/ephemeralcontainers` and `pods/resize`, which change a Pod's spec too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// API groups, or `*`.
    pub api_groups: Vec<String>,
    /// API versions, or `*`.
    pub api_versions: Vec<String>,
    /// `pods`, `pods/exec`, `*`, `*/*`, `pods/*`, `*/scale`.
    pub resources: Vec<String>,
    /// Operations.
    pub operations: Vec<Operation>,
    /// Scope.
    pub scope: Scope,
}

/// A parsed `match` block. Invariant: at least one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Any of them must take the request.
    pub rules: Vec<Rule>,
    /// Names or globs; empty takes every namespace and the objects in none.
    pub namespaces: Vec<String>,
    /// Names or globs that are left out.
    pub excluded_namespaces: Vec<String>,
    /// Names or globs of objects; empty takes every one.
    pub names: Vec<String>,
    /// On the labels of the request's namespace.
    pub namespace_selector: Option<LabelSelector>,
    /// On the labels of the object, or of the old object.
    pub label_selector: Option<LabelSelector>,
    /// Whether workloads are judged through their Pod template.
    pub pod_templates: bool,
    /// Whether the policy is about Pods by name (not only through a wildcard).
    pub on_pods: bool,
    /// The block of a constraint: what it says, by Gatekeeper's semantics, counts beside the rules.
    pub constraint: Option<Box<ConstraintMatch>>,
}

/// How a policy takes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// As it was sent.
    AsIs,
    /// Through the Pod template of a workload.
    Template(&'static TemplateKind),
}

/// The subresources of Pods that change a Pod's spec.
pub(super) const POD_SPEC_SUBRESOURCES: [&str; 2] = ["ephemeralcontainers", "resize"];

/// The subresources of the core group that only CONNECT is on.
pub(super) const CONNECT_SUBRESOURCES: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

impl Default for Match {
    /// Takes every request, as a policy without a `match` block does.
    fn default() -> Self {
        let all = || vec!["*".to_owned()];
        Self {
            rules: vec![Rule {
                api_groups: all(),
                api_versions: all(),
                resources: vec!["*/*".to_owned()],
                operations: Operation::ALL.to_vec(),
                scope: Scope::Any,
            }],
            namespaces: Vec::new(),
            excluded_namespaces: Vec::new(),
            names: Vec::new(),
            namespace_selector: None,
            label_selector: None,
            pod_templates: false,
            on_pods: false,
            constraint: None,
        }
    }
}

impl Match {
    /// What a constraint takes; `rules` say which operations and resources it is asked about.
    #[must_use]
    pub fn of_constraint(block: ConstraintMatch, rules: Vec<Rule>) -> Self {
        let namespace_selector = block.namespace_selector.clone();
        Self { rules, namespace_selector, constraint: Some(Box::new(block)), ..Self::default() }
    }

    /// Whether the policy takes `request` at all, but for the namespace selector: the first of its [`ways`](Self::ways).
    #[must_use]
    pub fn takes(&self, request: &Request) -> Option<Taken> {
        self.ways(request).first().copied()
    }

    /// Every way in which the policy takes `request`, but for the namespace selector: as it is, and, for a workload,
    /// once more through its Pod template.
    #[must_use]
    pub fn ways(&self, request: &Request) -> Vec<Taken> {
        if let Some(constraint) = &self.constraint {
            return if constraint.takes(request, &self.rules) { vec![Taken::AsIs] } else { Vec::new() };
        }
        if !self.takes_namespace(request) || !self.takes_name(request) {
            return Vec::new();
        }
        let as_is = self.rules.iter().any(|r| r.takes(request)).then_some(Taken::AsIs);
        let template = self.template_of(request).map(Taken::Template);
        as_is.into_iter().chain(template).filter(|taken| self.takes_labels(request, *taken)).collect()
    }

    /// Whether the namespace selector takes any of the label sets. For a request about a Namespace these are the
    /// labels before and after: leaving a selection must be judged too.
    #[must_use]
    pub fn selects_namespace(&self, labels: &[&Value]) -> bool {
        self.namespace_selector.as_ref().is_none_or(|s| labels.iter().any(|l| s.selects(l)))
    }

    /// Whether it looks at the object's name.
    #[must_use]
    pub fn selects_by_name(&self) -> bool {
        !self.names.is_empty() || self.constraint.as_ref().is_some_and(|c| !c.name.is_empty())
    }

    /// Whether the block covers `request`, but for the namespace selector: as [`takes`](Self::takes), but the labels
    /// must be on the object itself, and those of an old object count for nothing. What refuses looks wide, what lets
    /// pass looks narrow.
    #[must_use]
    pub fn covers(&self, request: &Request) -> bool {
        self.ways(request).into_iter().any(|taken| self.takes_labels_of(request.subject(), taken))
    }

    fn takes_name(&self, request: &Request) -> bool {
        self.names.is_empty() || self.names.iter().any(|g| glob_matches(g, name_of_object(request)))
    }

    fn takes_namespace(&self, request: &Request) -> bool {
        let namespace = namespace_of(request);
        let fits = |globs: &[String]| globs.iter().any(|g| glob_matches(g, namespace));
        (self.namespaces.is_empty() || fits(&self.namespaces)) && !fits(&self.excluded_namespaces)
    }

    fn takes_labels(&self, request: &Request, taken: Taken) -> bool {
        let mut objects = [request.object(), request.old_object()].into_iter().filter(|o| !o.is_null());
        self.label_selector.is_none() || objects.any(|o| self.takes_labels_of(o, taken))
    }

    /// Of a workload judged through its template the labels are the template's: those its Pods will have.
    fn takes_labels_of(&self, object: &Value, taken: Taken) -> bool {
        let Some(selector) = &self.label_selector else { return true };
        match taken {
            Taken::AsIs => selector.selects(object.pointer("/metadata/labels").unwrap_or(&Value::Null)),
            Taken::Template(kind) => {
                let template = kind.path.iter().try_fold(object, |o, step| o.get(step));
                selector.selects(template.and_then(|t| t.pointer("/metadata/labels")).unwrap_or(&Value::Null))
            }
        }
    }

    fn template_of(&self, request: &Request) -> Option<&'static TemplateKind> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !self.pod_templates || !request.sub_resource.is_empty() || !writes {
            return None;
        }
        let template = TEMPLATE_KINDS
            .iter()
            .find(|t| t.group == request.resource.group && t.resource == request.resource.resource)?;
        // A template is judged when a Pod made from it would be: its rule must take the operation on Pods.
        self.rules.iter().any(|r| r.takes_pods(request.operation)).then_some(template)
    }
}

impl Rule {
    /// Whether the rule takes the request.
    #[must_use]
    pub fn takes(&self, request: &Request) -> bool {
        let cluster_scoped = request.namespace.is_empty() || request.is_on_namespace();
        let scope = match self.scope {
            Scope::Any => true,
            Scope::Cluster => cluster_scoped,
            Scope::Namespaced => !cluster_scoped,
        };
        scope
            && self.operations.contains(&request.operation)
            && has(&self.api_groups, &request.resource.group)
            && has(&self.api_versions, &request.resource.version)
            && self.resources.iter().any(|r| takes_resource(r, &request.resource.resource, &request.sub_resource))
    }

    /// Whether the rule takes `operation` on Pods themselves.
    #[must_use]
    pub fn takes_pods(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
            && has(&self.api_groups, "")
            && has(&self.api_versions, "v1")
            && self.scope != Scope::Cluster
            && self.resources.iter().any(|r| takes_resource(r, "pods", ""))
    }
}

/// The namespace that a request is in, or the one that it is on.
pub(super) fn namespace_of(request: &Request) -> &str {
    if request.is_on_namespace() { name_of_object(request) } else { &request.namespace }
}

/// The name of the object that a request is on. With `generateName` the request has none: the object has it once
/// it is made (validation), and before that (mutation) the prefix is all there is.
fn name_of_object(request: &Request) -> &str {
    let text = |pointer: &str| request.subject().pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty());
    let of_object = || text("/metadata/name").or_else(|| text("/metadata/generateName"));
    Some(request.name.as_str()).filter(|name| !name.is_empty()).or_else(of_object).unwrap_or_default()
}

pub(super) fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|x| x == "*" || x == value)
}

fn takes_resource(pattern: &str, resource: &str, sub_resource: &str) -> bool {
    match pattern.split_once('/') {
        Some((main, sub)) => (main == "*" || main == resource) && (sub == "*" || sub == sub_resource),
        None => {
            let pods_spec = resource == "pods" && POD_SPEC_SUBRESOURCES.contains(&sub_resource);
            (pattern == "*" || pattern == resource) && (sub_resource.is_empty() || pods_spec)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::decode;
    use crate::policy::match_spec::MatchSpec;
    use serde_json::json;

    fn request(operation: &str, group: &str, resource: &str, namespace: &str) -> Request {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let labels = json!({"metadata": {"labels": {"app": "web"}}});
        let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "u", "kind": {"group": group, "version": "v1", "kind": "X"},
            "resource": {"group": group, "version": "v1", "resource": resource}, "subResource": sub,
            "name": "n", "namespace": namespace, "operation": operation, "userInfo": {}, "object": labels}});
        decode(review.to_string().as_bytes()).expect("decodes")
    }

    fn block(yaml: &str) -> Match {
        serde_saphyr::from_str::<MatchSpec>(yaml).expect("parses").check().expect("checks")
    }

    #[test]
    fn pods_mean_all_that_changes_a_pod_spec() {
        let pods = block("kinds: [Pod]");
        for (resource, taken) in [
            ("pods", true),
            ("pods/ephemeralcontainers", true),
            ("pods/resize", true),
            ("pods/status", false),
            ("pods/binding", false),
            ("pods/eviction", false),
            ("pods/exec", false),
        ] {
            assert_eq!(pods.takes(&request("UPDATE", "", resource, "a")).is_some(), taken, "{resource}");
        }
        assert_eq!(pods.takes(&request("DELETE", "", "pods", "a")), None);
        assert!(pods.on_pods && pods.pod_templates);
    }

    #[test]
    fn templates_are_taken_by_policies_on_pods() {
        let pods = block("kinds: [Pod]");
        for t in &TEMPLATE_KINDS {
            assert_eq!(pods.takes(&request("CREATE", t.group, t.resource, "a")), Some(Taken::Template(t)));
        }
        assert_eq!(pods.takes(&request("UPDATE", "apps", "deployments/scale", "a")), None);
        assert_eq!(
            block("kinds: [Pod]\npodTemplates: false").takes(&request("CREATE", "apps", "deployments", "a")),
            None
        );
        let only_create = block("kinds: [Pod]\noperations: [CREATE]");
        assert_eq!(only_create.takes(&request("UPDATE", "apps", "deployments", "a")), None);
    }

    #[test]
    fn wildcards_follow_webhook_rules() {
        let star = block("rules: [{resources: ['*']}]");
        assert!(star.takes(&request("CREATE", "apps", "deployments", "a")).is_some());
        assert!(star.takes(&request("UPDATE", "apps", "deployments/scale", "a")).is_none());
        assert!(star.takes(&request("UPDATE", "", "pods/resize", "a")).is_some());
        let sub = block("rules: [{resources: ['*/scale'], operations: ['*']}]");
        assert!(sub.takes(&request("UPDATE", "apps", "deployments/scale", "a")).is_some());
        assert!(sub.takes(&request("UPDATE", "apps", "deployments", "a")).is_none());
        assert!(Match::default().takes(&request("CONNECT", "", "pods/exec", "a")).is_some());
    }

    #[test]
    fn namespaces_scopes_and_labels() {
        let m = block(
            "{rules: [{resources: ['*'], scope: Namespaced}], namespaces: ['tenant-*'], excludedNamespaces: [tenant-x]}",
        );
        assert!(m.takes(&request("CREATE", "", "secrets", "tenant-b")).is_some());
        assert!(m.takes(&request("CREATE", "", "secrets", "tenant-x")).is_none());
        assert!(m.takes(&request("CREATE", "", "secrets", "other")).is_none());
        assert!(m.takes(&request("CREATE", "", "namespaces", "tenant-b")).is_none());
        let names = block("{rules: [{resources: ['*']}], names: ['web-*', n]}");
        assert!(names.takes(&request("CREATE", "", "secrets", "a")).is_some());
        assert!(block("{kinds: [Secret], names: [m]}").takes(&request("CREATE", "", "secrets", "a")).is_none());
        let labels = block("{kinds: [Secret], labelSelector: {matchLabels: {app: db}}}");
        assert!(labels.takes(&request("CREATE", "", "secrets", "a")).is_none());
    }

    #[test]
    fn faults_are_named() {
        let fault =
            |yaml: &str| serde_saphyr::from_str::<MatchSpec>(yaml).expect("parses").check().expect_err("faulty");
        assert!(fault("kinds: [Pods]").contains("did you mean `Pod`"));
        assert!(fault("{kinds: [Pod], operations: [PATCH]}").contains("unknown operation `PATCH`"));
        assert!(fault("{kinds: [Pod], rules: []}").contains("both"));
        assert!(fault("kinds: []").contains("takes nothing"));
        // What could never take a request is no match: nobody would see that it judges nothing.
        assert!(fault("{kinds: [Pod], operations: [CONNECT]}").contains("name them"));
        assert!(fault("rules: [{resources: [pods/exec]}]").contains("operations: [CONNECT]"));
        assert!(fault("rules: [{resources: [pods], operations: [CONNECT]}]").contains("pods/exec"));
        assert!(fault("rules: [{resources: [Pods]}]").contains("lower case"));
        assert!(fault("rules: [{apiGroups: [''], resources: [pod]}]").contains("did you mean `pods`"));
        assert!(fault("{kinds: [Secret], podTemplates: true}").contains("podTemplates"));
        assert!(
            fault("{kinds: [Pod], labelSelector: {matchExpressions: [{key: k, operator: In}]}}")
                .contains("need values")
        );
    }
}
