//! What a constraint has to be asked about: operations and resources, derived from its kinds and its template.
//!
//! Gatekeeper asks about all of them in one registration; ours is derived, and what is not asked about is not judged:
//! else a policy on deletions would have every constraint judge deletions as well.

use serde_json::Value;

use crate::admission::Operation;
use crate::policy::Rule;
use crate::policy::gatekeeper::{Constraint, ConstraintMatch, ExpansionTemplate, Source, Template};
use crate::policy::kinds::built_in;

/// Kinds that are sent to a subresource, with the group and resource of that.
const SUBRESOURCES: [(&str, &str, &str); 11] = [
    ("PodExecOptions", "", "pods/exec"),
    ("PodAttachOptions", "", "pods/attach"),
    ("PodPortForwardOptions", "", "pods/portforward"),
    ("PodProxyOptions", "", "pods/proxy"),
    ("ServiceProxyOptions", "", "services/proxy"),
    ("NodeProxyOptions", "", "nodes/proxy"),
    ("Eviction", "", "pods/eviction"),
    ("Binding", "", "pods/binding"),
    ("TokenRequest", "", "serviceaccounts/token"),
    ("EphemeralContainers", "", "pods/ephemeralcontainers"),
    ("Scale", "*", "*/scale"),
];

/// The subresources that a constraint on all kinds is asked about beside the resources themselves, as Gatekeeper's is.
const WITH_ALL: [&str; 10] = [
    "*/scale",
    "nodes/proxy",
    "pods/attach",
    "pods/binding",
    "pods/eviction",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
    "services/proxy",
    "services/status",
];

/// The rules. `strings` are the constants in the template's Rego; what the expansions make is asked about as well.
pub(crate) fn rules(
    template: &Template,
    constraint: &Constraint,
    strings: &[&str],
    expansions: &[ExpansionTemplate],
) -> Vec<Rule> {
    let (matching, parameters) = (&constraint.matching, &constraint.parameters);
    let connects = matching.kinds.iter().flat_map(|k| &k.kinds).any(|k| k.ends_with("Options"));
    let names = |o: Operation| strings.contains(&o.as_str()) || holds(parameters, o.as_str());
    let operations: Vec<Operation> = match template.operations.as_slice() {
        [] => Operation::ALL
            .into_iter()
            .filter(|o| match o {
                Operation::Create | Operation::Update => true,
                // A template that means deletions and connections names them.
                Operation::Delete => names(*o),
                Operation::Connect => connects || names(*o),
            })
            .collect(),
        given => given.to_vec(),
    };
    let rule = |(groups, resources): (Vec<String>, Vec<String>)| Rule {
        api_groups: groups,
        api_versions: all(),
        resources,
        operations: operations.clone(),
        scope: matching.scope(),
    };
    if matching.kinds.is_empty() {
        return vec![rule((all(), everything()))];
    }
    let own = matching.kinds.iter().flat_map(|k| resources(&k.api_groups, &k.kinds));
    own.chain(expanded(matching, expansions)).map(rule).collect()
}

/// Groups and resources of the objects of which something is made that the constraint takes, directly or not.
fn expanded(matching: &ConstraintMatch, expansions: &[ExpansionTemplate]) -> Vec<(Vec<String>, Vec<String>)> {
    if matching.source == Source::Original {
        return Vec::new();
    }
    let mut leading: Vec<&ExpansionTemplate> = Vec::new();
    while let Some(next) = expansions.iter().find(|e| {
        let made = &e.generated;
        let leads = |l: &&ExpansionTemplate| l.takes(&made.group, &made.version, &made.kind);
        !leading.iter().any(|l| l.name == e.name)
            && (matching.takes_kind(&made.group, &made.kind) || leading.iter().any(leads))
    }) {
        leading.push(next);
    }
    leading.iter().flat_map(|e| e.kinds()).flat_map(|(groups, kinds)| resources(groups, kinds)).collect()
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

fn everything() -> Vec<String> {
    std::iter::once("*").chain(WITH_ALL).map(str::to_owned).collect()
}

fn resources(groups: &[String], kinds: &[String]) -> Vec<(Vec<String>, Vec<String>)> {
    let groups = if groups.is_empty() || groups.iter().any(|g| g == "*") { all() } else { groups.to_vec() };
    if kinds.is_empty() || kinds.iter().any(|k| k == "*") {
        return vec![(groups, everything())];
    }
    let takes = |group: &str| groups.iter().any(|g| g == "*" || g == group);
    let mut found = Vec::new();
    for kind in kinds {
        let known: Vec<_> = built_in(kind).into_iter().filter(|k| takes(k.group)).collect();
        let of_subresource: Vec<_> = SUBRESOURCES.iter().filter(|(name, ..)| name == kind).collect();
        found.extend(
            of_subresource.iter().map(|(_, group, resource)| (vec![(*group).to_owned()], vec![(*resource).to_owned()])),
        );
        // In other groups than the known ones, the name of the resource is anybody's guess.
        let others: Vec<String> =
            groups.iter().filter(|g| !known.iter().any(|k| k.group == g.as_str())).cloned().collect();
        let any_group = others.iter().any(|g| g == "*");
        if known.is_empty() || !any_group {
            if !others.is_empty() && (of_subresource.is_empty() || !any_group) {
                found.push((others, all()));
            }
            found.extend(known.iter().map(|k| (vec![k.group.to_owned()], vec![k.resource.to_owned()])));
        } else {
            found.extend(known.iter().map(|k| (all(), vec![k.resource.to_owned()])));
        }
    }
    found
}

fn holds(value: &Value, word: &str) -> bool {
    match value {
        Value::String(text) => text == word,
        Value::Array(items) => items.iter().any(|i| holds(i, word)),
        Value::Object(map) => map.values().any(|v| holds(v, word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(groups: &[&str], kinds: &[&str]) -> Vec<String> {
        let owned = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let text = |(g, r): &(Vec<String>, Vec<String>)| format!("{}:{}", g.join(","), r.join(","));
        resources(&owned(groups), &owned(kinds)).iter().map(text).collect()
    }

    #[test]
    fn kinds_become_resources() {
        assert_eq!(of(&[""], &["Pod"]), [":pods"]);
        assert_eq!(of(&["*"], &["Ingress"]), ["*:ingresses"]);
        assert_eq!(
            of(&["extensions", "networking.k8s.io"], &["Ingress"]),
            ["extensions:*", "networking.k8s.io:ingresses"]
        );
        assert_eq!(of(&["example.com"], &["Widget"]), ["example.com:*"]);
        assert_eq!(of(&["*"], &["Widget"]), ["*:*"]);
        assert_eq!(of(&["*"], &["PodExecOptions"]), [":pods/exec"]);
        assert!(of(&[], &["*"])[0].starts_with("*:*,*/scale,"));
    }

    #[test]
    fn words_in_parameters_are_found() {
        let parameters = serde_json::json!({"operations": [["DELETE"]], "n": 5});
        assert!(holds(&parameters, "DELETE") && !holds(&parameters, "CONNECT"));
    }
}
