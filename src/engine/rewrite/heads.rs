//! Heads of constant steps that stand beside heads of variables: `p.a.r contains 1` and `p[x].r contains 2`.
//!
//! Where the engine knows a rule for all the steps of a reference, it looks at no other. So what may be a case of another
//! rule is written as that one is: `p[k].r contains 1 if k := "a"`.

use crate::engine::rego::{Kind, Rule};
use crate::engine::rewrite::Rewriter;
use crate::policy::RegoVersion;

/// Steps of a head; those that are not constant are `None`.
pub(crate) type Pattern = Vec<Option<String>>;

fn steps(rule: &Rule<'_>) -> Option<Pattern> {
    let Kind::Ref(_, steps) = &rule.name.kind else { return None };
    if rule.arguments.is_some() || rule.is_default || !rule.elses.is_empty() {
        return None;
    }
    let steps = steps.iter().map(|s| s.name().map(str::to_owned));
    Some(std::iter::once(rule.name.root().map(str::to_owned)).chain(steps).collect())
}

/// The steps of a head that has variables among them.
pub(crate) fn pattern(rule: &Rule<'_>) -> Option<Pattern> {
    steps(rule).filter(|steps| steps.contains(&None))
}

impl Rewriter<'_> {
    pub(super) fn head(&mut self, rule: &Rule<'_>) {
        let Some(patterns) = self.known.heads.get(&self.package) else { return };
        let Some(mine) = steps(rule).filter(|steps| !steps.contains(&None)) else { return };
        let Kind::Ref(_, written) = &rule.name.kind else { return };
        // Without `if` it would be another kind of rule.
        if rule.bodies.len() > 1 || (self.version == RegoVersion::V0 && !rule.has_if) {
            return;
        }
        let covers = |p: &&Pattern| p.iter().zip(&mine).all(|(p, m)| p.is_none() || p == m);
        let free: Vec<usize> = patterns
            .iter()
            .filter(covers)
            .flat_map(|p| p.iter().enumerate().filter(|(_, s)| s.is_none()).map(|(n, _)| n))
            .collect();
        let mut given = String::new();
        for (place, step) in written.iter().enumerate().filter(|(n, _)| free.contains(&(n + 1))) {
            let Some(Some(constant)) = mine.get(place + 1) else { continue };
            let name = self.name();
            given.push_str(&format!("{name} := {}; ", serde_json::Value::from(constant.as_str())));
            let breaks = self.breaks(step.span());
            self.replace(step.span().clone(), format!("[{name}]{breaks}"));
        }
        let Some(given) = given.strip_suffix("; ") else { return };
        match rule.bodies.first() {
            None => self.insert(rule.head.end, format!(" if {{ {given} }}")),
            Some(body) => {
                let first = body.body.first().map_or(body.span.start, |l| l.span.start);
                self.insert(first, format!("{given}; "));
            }
        }
    }
}
