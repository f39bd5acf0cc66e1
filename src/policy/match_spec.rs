//! A `match` block as it is written in METADATA and bindings, and its check into a [`Match`].

use serde::Deserialize;

use crate::admission::Operation;
use crate::policy::kinds;
use crate::policy::matching::{CONNECT_SUBRESOURCES, Match, Rule, Scope, has};
use crate::policy::nearest::nearest;
use crate::policy::selector::LabelSelector;

/// A `match` block as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct MatchSpec {
    rules: Option<Vec<RuleSpec>>,
    kinds: Option<Vec<String>>,
    operations: Option<Vec<String>>,
    namespaces: Vec<String>,
    excluded_namespaces: Vec<String>,
    names: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    #[serde(alias = "objectSelector")]
    label_selector: Option<LabelSelector>,
    pod_templates: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleSpec {
    #[serde(default = "any")]
    api_groups: Vec<String>,
    #[serde(default = "any")]
    api_versions: Vec<String>,
    resources: Vec<String>,
    #[serde(default = "writes")]
    operations: Vec<String>,
    #[serde(default)]
    scope: Scope,
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

fn writes() -> Vec<String> {
    vec!["CREATE".to_owned(), "UPDATE".to_owned()]
}

impl MatchSpec {
    /// Checks the block.
    ///
    /// # Errors
    /// A sentence for the policy's author.
    pub(super) fn check(self) -> Result<Match, String> {
        if self.rules.is_some() && self.kinds.is_some() {
            return Err("`match` has both `rules` and `kinds`; write one of them".to_owned());
        }
        if self.rules.is_some() && self.operations.is_some() {
            return Err("`match.operations` goes with `kinds`; rules have their own `operations`".to_owned());
        }
        for selector in [&self.namespace_selector, &self.label_selector].into_iter().flatten() {
            if let Some(fault) = selector.fault() {
                return Err(format!("`match` selector: {fault}"));
            }
        }
        let rules = match (&self.rules, &self.kinds) {
            (Some(rules), _) => rules.iter().map(RuleSpec::check).collect::<Result<_, _>>()?,
            (None, Some(kinds)) => rules_of_kinds(kinds, self.operations.as_deref())?,
            (None, None) => {
                let mut rules = Match::default().rules;
                if let (Some(operations), Some(rule)) = (&self.operations, rules.first_mut()) {
                    rule.operations = check_operations(operations)?;
                }
                rules
            }
        };
        if rules.is_empty() {
            return Err("`match` takes nothing: the list is empty".to_owned());
        }
        let names_pods =
            |r: &Rule| r.resources.iter().any(|x| x == "pods" || x.starts_with("pods/")) && has(&r.api_groups, "");
        let on_pods = rules
            .iter()
            .any(|r| names_pods(r) && [Operation::Create, Operation::Update].iter().any(|o| r.takes_pods(*o)));
        if self.pod_templates == Some(true) && !rules.iter().any(|r| Operation::ALL.iter().any(|o| r.takes_pods(*o))) {
            return Err("`match.podTemplates: true` needs a policy on Pods; no rule takes `pods`".to_owned());
        }
        Ok(Match {
            rules,
            namespaces: self.namespaces,
            excluded_namespaces: self.excluded_namespaces,
            names: self.names,
            namespace_selector: self.namespace_selector,
            label_selector: self.label_selector,
            pod_templates: self.pod_templates.unwrap_or(on_pods),
            on_pods,
            constraint: None,
        })
    }
}

impl RuleSpec {
    fn check(&self) -> Result<Rule, String> {
        if self.resources.is_empty() || self.api_groups.is_empty() || self.api_versions.is_empty() {
            return Err(
                "a rule of `match` takes nothing: `resources`, `apiGroups` or `apiVersions` is empty".to_owned()
            );
        }
        let operations = check_operations(&self.operations)?;
        for resource in &self.resources {
            self.check_resource(resource, &operations)?;
        }
        Ok(Rule {
            api_groups: self.api_groups.clone(),
            api_versions: self.api_versions.clone(),
            resources: self.resources.clone(),
            operations,
            scope: self.scope,
        })
    }

    /// Refuses what could never take a request.
    fn check_resource(&self, resource: &str, operations: &[Operation]) -> Result<(), String> {
        let (main, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let of_kind = kinds::built_in_names().find(|kind| kind.eq_ignore_ascii_case(main));
        let built_in = of_kind.map(kinds::built_in).unwrap_or_default();
        if let Some(kind) = built_in.iter().find(|k| self.api_groups.iter().all(|g| g == k.group) && k.resource != main)
        {
            return Err(format!("`{resource}` is no resource; did you mean `{}`?", kind.resource));
        }
        if resource.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(format!("`{resource}` is no resource: resources are plural and in lower case"));
        }
        let connects = operations.contains(&Operation::Connect);
        if CONNECT_SUBRESOURCES.contains(&sub) && !connects && main != "*" && has(&self.api_groups, "") {
            return Err(format!("`{resource}` is connected to: write `operations: [CONNECT]`"));
        }
        if sub.is_empty() && operations == [Operation::Connect] {
            return Err(format!("CONNECT is on subresources only: name them, such as `{resource}/exec`"));
        }
        Ok(())
    }
}

fn check_operations(names: &[String]) -> Result<Vec<Operation>, String> {
    if names.is_empty() {
        return Err("`operations` is empty".to_owned());
    }
    if names.iter().any(|n| n == "*") {
        return Ok(Operation::ALL.to_vec());
    }
    let mut operations = names
        .iter()
        .map(|name| {
            Operation::ALL
                .into_iter()
                .find(|o| o.as_str() == name)
                .ok_or_else(|| format!("unknown operation `{name}`; write CREATE, UPDATE, DELETE, CONNECT or *"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    operations.sort_unstable();
    operations.dedup();
    Ok(operations)
}

fn rules_of_kinds(names: &[String], operations: Option<&[String]>) -> Result<Vec<Rule>, String> {
    let operations = check_operations(operations.unwrap_or(&writes()))?;
    if operations == [Operation::Connect] {
        return Err("CONNECT is on subresources only: name them in `match.rules`, such as `pods/exec`".to_owned());
    }
    let mut rules: Vec<Rule> = Vec::new();
    for name in names {
        let found = kinds::built_in(name);
        if found.is_empty() {
            let near = nearest(name, kinds::built_in_names()).map(|n| format!(" (did you mean `{n}`?)"));
            return Err(format!(
                "`{name}` in `match.kinds` is not a built-in kind{}; for custom resources write `match.rules`",
                near.unwrap_or_default()
            ));
        }
        for kind in found {
            match rules.iter_mut().find(|r| r.api_groups == [kind.group]) {
                Some(rule) => rule.resources.push(kind.resource.to_owned()),
                None => rules.push(Rule {
                    api_groups: vec![kind.group.to_owned()],
                    api_versions: any(),
                    resources: vec![kind.resource.to_owned()],
                    operations: operations.clone(),
                    scope: Scope::Any,
                }),
            }
        }
    }
    Ok(rules)
}
