//! The webhook configurations that a policy set needs, derived from what its policies take.
//!
//! Source: `admissionregistration.k8s.io/v1`. Two entries each: `enforce` fails closed and leaves the system
//! namespaces out; `observe` fails open and takes them, with the objects a cluster needs to mend itself.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};

use crate::admission::Operation;
use crate::engine::{Endpoint, PolicySummary};
use crate::policy::kinds::{TEMPLATE_KINDS, is_cluster_scoped, of_resource};
use crate::policy::{Match, Rule, Scope};

/// How the API server finds and treats the webhook.
#[derive(Debug, Clone)]
pub struct RegistrationOptions {
    /// `metadata.name` of both configurations.
    pub name: String,
    /// Where the webhook is.
    pub target: Target,
    /// PEM of the certificate authority that the API server must trust.
    pub ca_bundle: Option<Vec<u8>>,
    /// Namespaces that the `enforce` entries leave out beside the system's: Portcullis' own.
    pub excluded_namespaces: Vec<String>,
    /// `failurePolicy` of the `enforce` entries: `Fail` or `Ignore`.
    pub failure_policy: String,
    /// Seconds the API server waits, 1 to 30.
    pub timeout_seconds: i32,
}

/// Where the webhook is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A Service, on port 443.
    Service {
        /// Name.
        name: String,
        /// Namespace.
        namespace: String,
    },
    /// A base URL such as `https://127.0.0.1:8443`.
    Url(String),
}

const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// Cluster-scoped objects a cluster needs to mend itself: seen by `observe`, never held up by `enforce`.
const OBSERVED: [(&str, &[&str]); 8] = [
    ("", &["nodes", "nodes/proxy", "persistentvolumes"]),
    // What operators, and nodes among them, need to come back.
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("certificates.k8s.io", &["certificatesigningrequests", "certificatesigningrequests/approval"]),
    // Without nodes nothing runs, we neither.
    ("eks.amazonaws.com", &["nodeclasses"]),
    ("karpenter.sh", &["nodeclaims", "nodepools"]),
    // The API server does not start when it cannot make its own, and we come back with one of ours.
    ("rbac.authorization.k8s.io", &["clusterrolebindings", "clusterroles"]),
    ("snapshot.storage.k8s.io", &["volumesnapshotcontents"]),
    // Without these no volume is attached, our own included.
    ("storage.k8s.io", &["csinodes", "storageclasses", "volumeattachments"]),
];

/// The ValidatingWebhookConfiguration for the policies that have validating rules; `None` when none has.
#[must_use]
pub fn validating(policies: &[PolicySummary], options: &RegistrationOptions) -> Option<ValidatingWebhookConfiguration> {
    let rules = rules(policies, Endpoint::Validate);
    if rules.is_empty() {
        return None;
    }
    let webhook = |entry: Entry| ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config(options, "/v1/validate"),
        failure_policy: Some(entry.failure_policy(options)),
        match_conditions: Some(entry.match_conditions()),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("{}.validate.portcullis.io", entry.name()),
        namespace_selector: Some(entry.namespace_selector(options)),
        rules: Some(entry.rules(&rules, true)),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(options.timeout_seconds),
        ..ValidatingWebhook::default()
    };
    Some(ValidatingWebhookConfiguration {
        metadata: metadata(options),
        webhooks: Some(vec![webhook(Entry::Enforce), webhook(Entry::Observe)]),
    })
}

/// The MutatingWebhookConfiguration for the policies that have mutating rules; `None` when none has.
#[must_use]
pub fn mutating(policies: &[PolicySummary], options: &RegistrationOptions) -> Option<MutatingWebhookConfiguration> {
    let rules = rules(policies, Endpoint::Mutate);
    if rules.is_empty() {
        return None;
    }
    let webhook = |entry: Entry| MutatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config(options, "/v1/mutate"),
        failure_policy: Some(entry.failure_policy(options)),
        match_conditions: Some(entry.match_conditions()),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("{}.mutate.portcullis.io", entry.name()),
        namespace_selector: Some(entry.namespace_selector(options)),
        // What another webhook adds later gets its defaults too.
        reinvocation_policy: Some("IfNeeded".to_owned()),
        rules: Some(entry.rules(&rules, false)),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(options.timeout_seconds),
        ..MutatingWebhook::default()
    };
    Some(MutatingWebhookConfiguration {
        metadata: metadata(options),
        webhooks: Some(vec![webhook(Entry::Enforce), webhook(Entry::Observe)]),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Enforce,
    Observe,
}

impl Entry {
    fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }

    fn failure_policy(self, options: &RegistrationOptions) -> String {
        match self {
            Self::Enforce => options.failure_policy.clone(),
            Self::Observe => "Ignore".to_owned(),
        }
    }

    fn namespace_selector(self, options: &RegistrationOptions) -> LabelSelector {
        let system = SYSTEM_NAMESPACES.iter().map(|n| (*n).to_owned());
        let requirement = LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: if self == Self::Enforce { "NotIn" } else { "In" }.to_owned(),
            values: Some(system.chain(options.excluded_namespaces.iter().cloned()).collect()),
        };
        LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
    }

    fn match_conditions(self) -> Vec<MatchCondition> {
        let condition =
            |name: &str, expression: &str| MatchCondition { name: name.to_owned(), expression: expression.to_owned() };
        let mut conditions = vec![
            // The control plane's heartbeat and its own questions. A token request (serviceaccounts/token) is of the
            // core group and is sent.
            condition(
                "not-leases",
                r#"!(request.resource.group == "coordination.k8s.io" && request.resource.resource == "leases")"#,
            ),
            condition(
                "not-events",
                r#"!(request.resource.group in ["", "events.k8s.io"] && request.resource.resource == "events")"#,
            ),
            condition(
                "not-reviews",
                r#"!(request.resource.group in ["authentication.k8s.io", "authorization.k8s.io"])"#,
            ),
        ];
        if self == Self::Enforce {
            let observed: Vec<String> = OBSERVED
                .iter()
                .map(|(group, resources)| {
                    let main: Vec<String> =
                        resources.iter().filter(|r| !r.contains('/')).map(|r| format!("\"{r}\"")).collect();
                    format!(
                        "(request.resource.group == \"{group}\" && request.resource.resource in [{}])",
                        main.join(", ")
                    )
                })
                .collect();
            conditions.push(condition("not-observed", &format!("!({})", observed.join(" || "))));
        }
        conditions
    }

    fn rules(self, rules: &[Rule], validating: bool) -> Vec<RuleWithOperations> {
        let mut mine: Vec<Rule> = match self {
            Self::Enforce => rules.to_vec(),
            Self::Observe => rules.iter().flat_map(in_namespaces).collect(),
        };
        if self == Self::Observe && validating {
            mine.extend(OBSERVED.iter().map(|(group, resources)| Rule {
                api_groups: vec![(*group).to_owned()],
                api_versions: vec!["*".to_owned()],
                resources: resources.iter().map(|r| (*r).to_owned()).collect(),
                operations: Operation::ALL.to_vec(),
                scope: Scope::Cluster,
            }));
        }
        merge(mine).iter().map(wire_rule).collect()
    }
}

/// The part of a rule that concerns namespaces and what is in them; the rest of the cluster is not observed.
fn in_namespaces(rule: &Rule) -> Vec<Rule> {
    let on_namespaces = |r: &String| r == "namespaces" || r.starts_with("namespaces/");
    let inside = (rule.scope != Scope::Cluster).then(|| Rule { scope: Scope::Namespaced, ..rule.clone() });
    let core = has_core(&rule.api_groups);
    let themselves = (rule.scope != Scope::Namespaced && core).then(|| {
        let wildcard = |r: &String| r.starts_with('*');
        let resources: Vec<String> = if rule.resources.iter().any(wildcard) {
            vec!["namespaces".to_owned(), "namespaces/*".to_owned()]
        } else {
            rule.resources.iter().filter(|r| on_namespaces(r)).cloned().collect()
        };
        Rule { api_groups: vec![String::new()], resources, scope: Scope::Cluster, ..rule.clone() }
    });
    inside
        .into_iter()
        .filter(|r| !r.resources.iter().all(on_namespaces))
        .chain(themselves.into_iter().filter(|r| !r.resources.is_empty()))
        .collect()
}

fn has_core(groups: &[String]) -> bool {
    groups.iter().any(|g| g.is_empty() || g == "*")
}

/// The policies through which `enforce` takes every cluster-scoped object of every group: failing closed on those can
/// keep a cluster from mending itself.
#[must_use]
pub fn taking_the_cluster(policies: &[PolicySummary]) -> Vec<&PolicySummary> {
    let everything = |r: &Rule| {
        r.scope != Scope::Namespaced
            && r.api_groups.iter().any(|g| g == "*")
            && r.resources.iter().any(|r| r.starts_with('*'))
    };
    policies.iter().filter(|p| p.matching.rules.iter().any(everything)).collect()
}

fn client_config(options: &RegistrationOptions, path: &str) -> WebhookClientConfig {
    let ca_bundle = options.ca_bundle.clone().map(ByteString);
    match &options.target {
        Target::Service { name, namespace } => WebhookClientConfig {
            ca_bundle,
            service: Some(ServiceReference {
                name: name.clone(),
                namespace: namespace.clone(),
                path: Some(path.to_owned()),
                port: Some(443),
            }),
            url: None,
        },
        Target::Url(base) => {
            WebhookClientConfig { ca_bundle, service: None, url: Some(format!("{}{path}", base.trim_end_matches('/'))) }
        }
    }
}

fn metadata(options: &RegistrationOptions) -> ObjectMeta {
    let label = ("app.kubernetes.io/name".to_owned(), "portcullis".to_owned());
    ObjectMeta { name: Some(options.name.clone()), labels: Some([label].into()), ..ObjectMeta::default() }
}

/// What all policies of one endpoint take, merged.
fn rules(policies: &[PolicySummary], endpoint: Endpoint) -> Vec<Rule> {
    let of_endpoint = policies.iter().filter(|p| p.endpoints.contains(&endpoint));
    merge(of_endpoint.flat_map(|p| policy_rules(&p.matching, endpoint)).collect())
}

fn policy_rules(matching: &Match, endpoint: Endpoint) -> Vec<Rule> {
    let mut rules = Vec::new();
    for rule in &matching.rules {
        if endpoint == Endpoint::Mutate && matching.on_pods {
            // Mutations of Pods act on their creation alone.
            if rule.takes_pods(Operation::Create) {
                rules.push(named(rule, "", "pods", vec![Operation::Create]));
            }
            continue;
        }
        let mut sent = scoped(rule);
        for sent in &mut sent {
            // `pods` and `*` mean all that changes a Pod's spec; a webhook rule has to name the subresources.
            if sent.resources.iter().any(|r| r == "pods" || r == "*")
                && sent.api_groups.iter().any(|g| g.is_empty() || g == "*")
            {
                sent.resources.extend(["pods/ephemeralcontainers".to_owned(), "pods/resize".to_owned()]);
            }
        }
        rules.append(&mut sent);
        if matching.pod_templates {
            let writes = [Operation::Create, Operation::Update].into_iter().filter(|o| rule.takes_pods(*o));
            let operations: Vec<Operation> = writes.collect();
            if !operations.is_empty() {
                rules.extend(TEMPLATE_KINDS.iter().map(|t| named(rule, t.group, t.resource, operations.clone())));
            }
        }
    }
    rules
}

fn named(rule: &Rule, group: &str, resource: &str, operations: Vec<Operation>) -> Rule {
    Rule {
        api_groups: vec![group.to_owned()],
        api_versions: if group.is_empty() { rule.api_versions.clone() } else { vec!["*".to_owned()] },
        resources: vec![resource.to_owned()],
        operations,
        scope: Scope::Namespaced,
    }
}

/// The rule with the scope that its built-in resources have, so equal rules are seen to be equal.
fn scoped(rule: &Rule) -> Vec<Rule> {
    let [group] = rule.api_groups.as_slice() else { return vec![rule.clone()] };
    let scope = |resource: &String| match of_resource(group, resource.split('/').next().unwrap_or(resource)) {
        Some(kind) if rule.scope == Scope::Any && is_cluster_scoped(kind.kind) => Scope::Cluster,
        Some(_) if rule.scope == Scope::Any => Scope::Namespaced,
        _ => rule.scope,
    };
    rule.resources.iter().map(|r| Rule { resources: vec![r.clone()], scope: scope(r), ..rule.clone() }).collect()
}

/// Joins rules that differ in their resources only, and leaves out what another rule takes already.
fn merge(rules: Vec<Rule>) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::new();
    for rule in rules {
        let alike = |r: &&mut Rule| {
            r.api_groups == rule.api_groups
                && r.api_versions == rule.api_versions
                && r.operations == rule.operations
                && r.scope == rule.scope
        };
        match merged.iter_mut().find(alike) {
            Some(there) => there.resources.extend(rule.resources),
            None => merged.push(rule),
        }
    }
    for rule in &mut merged {
        rule.resources.sort();
        rule.resources.dedup();
        let all = rule.resources.clone();
        rule.resources.retain(|r| !all.iter().any(|o| o != r && resource_covers(o, r)));
    }
    let all = merged.clone();
    let covered = |index: usize, rule: &Rule| {
        all.iter()
            .enumerate()
            .any(|(other, o)| other != index && covers(o, rule) && (other < index || !covers(rule, o)))
    };
    let mut kept: Vec<Rule> = merged.into_iter().enumerate().filter(|(i, r)| !covered(*i, r)).map(|(_, r)| r).collect();
    kept.sort_by(|a, b| {
        (&a.api_groups, &a.resources, &a.operations).cmp(&(&b.api_groups, &b.resources, &b.operations))
    });
    kept
}

fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let all =
        |wide: &[String], narrow: &[String]| wide.iter().any(|w| w == "*") || narrow.iter().all(|n| wide.contains(n));
    (wide.scope == Scope::Any || wide.scope == narrow.scope)
        && all(&wide.api_groups, &narrow.api_groups)
        && all(&wide.api_versions, &narrow.api_versions)
        && narrow.operations.iter().all(|o| wide.operations.contains(o))
        && narrow.resources.iter().all(|n| wide.resources.iter().any(|w| resource_covers(w, n)))
}

fn resource_covers(wide: &str, narrow: &str) -> bool {
    let (wide_main, wide_sub) = wide.split_once('/').unwrap_or((wide, ""));
    let (main, sub) = narrow.split_once('/').unwrap_or((narrow, ""));
    // The API server takes `x/*` for `x` as well; its documentation does not say so, and naming both is plain.
    let of_any = wide_main == "*" || !sub.is_empty();
    (wide_main == "*" || wide_main == main) && (wide_sub == sub || wide_sub == "*" && of_any)
}

fn wire_rule(rule: &Rule) -> RuleWithOperations {
    let operations = if rule.operations.len() == Operation::ALL.len() {
        vec!["*".to_owned()]
    } else {
        rule.operations.iter().map(|o| o.as_str().to_owned()).collect()
    };
    let scope = match rule.scope {
        Scope::Any => "*",
        Scope::Cluster => "Cluster",
        Scope::Namespaced => "Namespaced",
    };
    RuleWithOperations {
        api_groups: Some(rule.api_groups.clone()),
        api_versions: Some(rule.api_versions.clone()),
        operations: Some(operations),
        resources: Some(rule.resources.clone()),
        scope: Some(scope.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CompileOptions, compile};
    use crate::policy::{SourceFile, Sources};

    fn configurations(
        matching: &str,
        body: &str,
    ) -> (Option<ValidatingWebhookConfiguration>, Option<MutatingWebhookConfiguration>) {
        let text =
            format!("# METADATA\n# scope: package\n# custom:\n#   match: {matching}\npackage portcullis.p\n{body}\n");
        let sources = Sources { modules: vec![SourceFile { path: "p.rego".into(), text }], ..Sources::default() };
        let compiled = compile(&sources, CompileOptions::default()).expect("compiles");
        let policies: Vec<PolicySummary> = compiled.snapshot.policies().cloned().collect();
        let options = RegistrationOptions {
            name: "portcullis".into(),
            target: Target::Url("https://127.0.0.1:8443/".into()),
            ca_bundle: None,
            excluded_namespaces: vec!["own".into()],
            failure_policy: "Fail".into(),
            timeout_seconds: 5,
        };
        (validating(&policies, &options), mutating(&policies, &options))
    }

    fn sent(rules: &[RuleWithOperations]) -> Vec<String> {
        let join = |l: &Option<Vec<String>>| l.clone().unwrap_or_default().join(",");
        rules
            .iter()
            .map(|r| format!("{} {} {}", join(&r.api_groups), join(&r.resources), join(&r.operations)))
            .collect()
    }

    #[test]
    fn policies_on_pods_get_their_subresources_and_workloads() {
        let (validating, mutating) = configurations("{kinds: [Pod]}", "deny contains \"x\" if false");
        assert_eq!(mutating, None);
        let webhooks = validating.expect("validates").webhooks.expect("entries");
        let [enforce, observe] = webhooks.as_slice() else { panic!("two entries") };
        assert_eq!(
            sent(enforce.rules.as_deref().expect("rules")),
            [
                " pods,pods/ephemeralcontainers,pods/resize,podtemplates,replicationcontrollers CREATE,UPDATE",
                "apps daemonsets,deployments,replicasets,statefulsets CREATE,UPDATE",
                "batch cronjobs,jobs CREATE,UPDATE",
            ]
        );
        assert_eq!(enforce.client_config.url.as_deref(), Some("https://127.0.0.1:8443/v1/validate"));
        assert_eq!(
            (enforce.failure_policy.as_deref(), observe.failure_policy.as_deref()),
            (Some("Fail"), Some("Ignore"))
        );
        assert!(sent(observe.rules.as_deref().expect("rules")).iter().any(|r| r.contains("nodes")));
    }

    #[test]
    fn a_policy_on_everything_observes_namespaces_too() {
        let (validating, _) = configurations("{operations: ['*']}", "deny contains \"x\" if false");
        let webhooks = validating.expect("validates").webhooks.expect("entries");
        assert_eq!(sent(webhooks[0].rules.as_deref().expect("rules")), ["* */* *"]);
        let observed = sent(webhooks[1].rules.as_deref().expect("rules"));
        assert!(observed.contains(&"* */* *".to_owned()), "{observed:?}");
        assert!(observed.iter().any(|r| r.contains("namespaces,namespaces/*")), "{observed:?}");
    }

    #[test]
    fn mutations_of_pods_are_asked_for_on_creation_alone() {
        let (_, mutating) = configurations(
            "{kinds: [Pod]}",
            "patch contains {\"op\": \"add\", \"path\": \"/a\", \"value\": 1} if false",
        );
        let webhooks = mutating.expect("mutates").webhooks.expect("entries");
        assert_eq!(sent(webhooks[0].rules.as_deref().expect("rules")), [" pods CREATE"]);
    }

    #[test]
    fn what_a_wider_rule_takes_is_not_said_again() {
        let matching = "{rules: [{resources: ['*/*'], operations: ['*'], scope: Namespaced}, {apiGroups: [''], resources: [pods]}, {apiGroups: [''], apiVersions: [v1], resources: [namespaces]}]}";
        let (validating, _) = configurations(matching, "deny contains \"x\" if false");
        let webhooks = validating.expect("validates").webhooks.expect("entries");
        assert_eq!(sent(webhooks[0].rules.as_deref().expect("rules")), [" namespaces CREATE,UPDATE", "* */* *"]);
    }
}
