//! What can be told of a policy set without running it: which packages belong together, calls of unknown functions,
//! missing rules, recursion, and what a policy reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Location;
use crate::engine::builtins;
use crate::engine::compile::{Parsed, RULES};
use crate::engine::syntax::{Reference, RuleInfo};
use crate::policy::{LoadError, Metadata, nearest};

/// All modules of one package.
pub(crate) struct Package<'a> {
    pub path: Vec<String>,
    pub modules: Vec<&'a Parsed<'a>>,
}

/// Groups modules by package.
pub(crate) fn packages<'a>(parsed: &'a [Parsed<'a>]) -> BTreeMap<Vec<String>, Package<'a>> {
    let mut packages: BTreeMap<Vec<String>, Package<'a>> = BTreeMap::new();
    for module in parsed {
        let path = module.info.package.clone();
        let new = || Package { path: path.clone(), modules: Vec::new() };
        packages.entry(path.clone()).or_insert_with(new).modules.push(module);
    }
    for package in packages.values_mut() {
        package.modules.sort_by(|a, b| a.source.path.cmp(&b.source.path));
    }
    packages
}

impl<'a> Package<'a> {
    /// Whether it has rules that are read; `system` packages configure, they do not judge.
    pub(crate) fn is_policy(&self) -> bool {
        self.path.first().is_some_and(|p| p != "system") && !self.entry_rules().is_empty()
    }

    /// The rules that are read, with the place of the first definition of each.
    pub(crate) fn entry_rules(&self) -> BTreeMap<String, Location> {
        let read = |name: &str| RULES.iter().any(|(_, rules)| rules.contains(&name));
        let mut found = BTreeMap::new();
        for rule in self.rules().filter(|r| !r.is_function && read(&r.name)) {
            found.entry(rule.name.clone()).or_insert_with(|| rule.at.clone());
        }
        found
    }

    /// The METADATA of the package, from whichever file has it.
    pub(crate) fn metadata(&self) -> Option<&'a Metadata> {
        self.modules.iter().find_map(|m| m.metadata.as_ref())
    }

    /// The first file.
    pub(crate) fn file(&self) -> &'a str {
        self.modules.first().map_or("", |m| m.source.path.as_str())
    }

    fn rules(&self) -> impl Iterator<Item = &'a RuleInfo> {
        self.modules.iter().flat_map(|m| m.info.rules.iter())
    }

    fn has_rule(&self, name: &str) -> bool {
        self.rules().any(|r| r.name == name)
    }

    fn data_references(&self) -> impl Iterator<Item = &'a Reference> {
        let of_rules = self.rules().flat_map(|r| r.references.iter());
        let imports = self.modules.iter().flat_map(|m| m.info.imports.iter());
        of_rules.chain(imports).filter(|r| r.root == "data")
    }
}

/// The package with all packages it refers to, directly or not.
pub(crate) fn closure<'p, 'a>(
    package: &'p Package<'a>,
    packages: &'p BTreeMap<Vec<String>, Package<'a>>,
) -> Vec<&'p Package<'a>> {
    let mut needed: BTreeMap<&[String], &Package<'a>> = BTreeMap::from([(package.path.as_slice(), package)]);
    let mut open = vec![package];
    while let Some(current) = open.pop() {
        let calls = current.rules().flat_map(|r| r.calls.iter()).filter_map(|c| c.name.strip_prefix("data."));
        let called: Vec<Vec<Option<String>>> =
            calls.map(|c| c.split('.').map(|s| Some(s.to_owned())).collect()).collect();
        let referred = current.data_references().map(|r| &r.steps).chain(called.iter());
        for steps in referred {
            for other in packages.values().filter(|p| may_reach(steps, &p.path)) {
                if needed.insert(other.path.as_slice(), other).is_none() {
                    open.push(other);
                }
            }
        }
    }
    needed.into_values().collect()
}

/// Whether a reference below `data` may lead into, or hold, the package.
fn may_reach(steps: &[Option<String>], package: &[String]) -> bool {
    // A bare `data` or a first step that is not a constant would pull in everything: it reads documents then.
    matches!(steps.first(), Some(Some(_)))
        && steps.iter().zip(package).all(|(step, name)| step.as_ref().is_none_or(|s| s == name))
}

/// All findings of all packages.
pub(crate) fn check(packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let mut errors = Vec::new();
    for package in packages.values() {
        let mut with_metadata = package.modules.iter().filter(|m| m.metadata.is_some());
        if let (Some(first), Some(second)) = (with_metadata.next(), with_metadata.next()) {
            let message = format!("package METADATA stands in `{}` too; keep one", first.source.path);
            errors.push(LoadError::new(&second.source.path, "metadata", message));
        }
        for rule in package.rules() {
            errors.extend(
                rule.calls.iter().filter_map(|c| unknown_call(c.name.as_str(), &c.at, package, packages, rule)),
            );
            errors.extend(rule.references.iter().filter_map(|r| missing_rule(r, packages)));
        }
    }
    errors.extend(recursion(packages));
    errors
}

fn unknown_call(
    name: &str,
    at: &Location,
    package: &Package<'_>,
    packages: &BTreeMap<Vec<String>, Package<'_>>,
    _rule: &RuleInfo,
) -> Option<LoadError> {
    let known = match name.strip_prefix("data.") {
        Some(path) => {
            let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
            let (rule, path) = steps.split_last()?;
            packages.get(path).is_some_and(|p| p.has_rule(rule))
        }
        None => package.has_rule(name.split('.').next().unwrap_or(name)) || is_builtin(name),
    };
    if known {
        return None;
    }
    let functions = package.rules().filter(|r| r.is_function).map(|r| r.name.as_str());
    let builtins = regorus::unstable::BUILTINS.keys().map(|n| -> &str { n });
    let ours = builtins::names().map(|n| -> &str { n });
    let near = nearest(name, functions.chain(builtins).chain(ours)).map(|n| format!("; did you mean `{n}`?"));
    let message = format!("unknown function `{name}`{}", near.unwrap_or_default());
    Some(LoadError::new(&at.file, "unknown_function", message).at(at.line, at.column))
}

/// Whether the engine has the builtin.
pub(crate) fn is_builtin(name: &str) -> bool {
    name == "print" || builtins::names().any(|n| n == name) || regorus::unstable::BUILTINS.contains_key(name)
}

/// A reference into a package that is there, to a rule that is not.
fn missing_rule(reference: &Reference, packages: &BTreeMap<Vec<String>, Package<'_>>) -> Option<LoadError> {
    if reference.root != "data" {
        return None;
    }
    let names: Vec<&String> = reference.steps.iter().map_while(Option::as_ref).collect();
    // The longest package that the reference leads into.
    let package = (1..names.len())
        .rev()
        .find_map(|n| packages.get(&names.iter().take(n).map(|s| (*s).clone()).collect::<Vec<_>>()))?;
    let name = names.get(package.path.len())?;
    let below = packages.keys().any(|p| {
        p.len() > package.path.len() && p.starts_with(&package.path) && p.get(package.path.len()) == Some(*name)
    });
    if package.has_rule(name) || below {
        return None;
    }
    let near = nearest(name, package.rules().map(|r| r.name.as_str())).map(|n| format!("; did you mean `{n}`?"));
    let message = format!("no rule `{name}` in package `{}`{}", package.path.join("."), near.unwrap_or_default());
    let at = &reference.at;
    Some(LoadError::new(&at.file, "missing_rule", message).at(at.line, at.column))
}

type RuleKey<'a> = (&'a [String], &'a str);

/// Rules that need themselves. The engine would run out of stack on some of them, which no budget stops.
fn recursion(packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let mut edges: BTreeMap<RuleKey<'_>, BTreeSet<RuleKey<'_>>> = BTreeMap::new();
    let mut places: BTreeMap<RuleKey<'_>, &Location> = BTreeMap::new();
    for package in packages.values() {
        for rule in package.rules() {
            let from = (package.path.as_slice(), rule.name.as_str());
            places.entry(from).or_insert(&rule.at);
            let to = edges.entry(from).or_default();
            let calls = rule.calls.iter().map(|c| c.name.split('.').map(str::to_owned).collect::<Vec<_>>());
            let references = rule.references.iter().map(|r| {
                std::iter::once(r.root.clone()).chain(r.steps.iter().map_while(Clone::clone)).collect::<Vec<_>>()
            });
            for path in calls.chain(references) {
                if let Some(key) = target(&path, package, packages, rule) {
                    to.insert(key);
                }
            }
        }
    }
    let mut done = BTreeSet::new();
    let mut errors = Vec::new();
    for start in edges.keys() {
        let mut path = Vec::new();
        if let Some(cycle) = find_cycle(*start, &edges, &mut path, &mut done) {
            let names: Vec<&str> = cycle.iter().map(|(_, name)| *name).collect();
            if let Some(at) = cycle.first().and_then(|k| places.get(k)) {
                let message = format!("recursion: {}", names.join(" -> "));
                errors.push(LoadError::new(&at.file, "recursion", message).at(at.line, at.column));
            }
        }
    }
    errors
}

fn target<'p>(
    path: &[String],
    package: &'p Package<'_>,
    packages: &'p BTreeMap<Vec<String>, Package<'_>>,
    rule: &RuleInfo,
) -> Option<RuleKey<'p>> {
    let (first, rest) = path.split_first()?;
    if first == "data" {
        let package = (1..rest.len()).rev().find_map(|n| packages.get(rest.get(..n)?))?;
        let name = rest.get(package.path.len())?;
        let rule = package.modules.iter().flat_map(|m| m.info.rules.iter()).find(|r| r.name == *name)?;
        return Some((package.path.as_slice(), rule.name.as_str()));
    }
    if rule.locals.contains(first) {
        return None;
    }
    let rule = package.modules.iter().flat_map(|m| m.info.rules.iter()).find(|r| r.name == *first)?;
    Some((package.path.as_slice(), rule.name.as_str()))
}

fn find_cycle<'a>(
    at: RuleKey<'a>,
    edges: &BTreeMap<RuleKey<'a>, BTreeSet<RuleKey<'a>>>,
    path: &mut Vec<RuleKey<'a>>,
    done: &mut BTreeSet<RuleKey<'a>>,
) -> Option<Vec<RuleKey<'a>>> {
    if let Some(start) = path.iter().position(|k| *k == at) {
        return Some(path.iter().skip(start).copied().chain([at]).collect());
    }
    if !done.insert(at) {
        return None;
    }
    path.push(at);
    for next in edges.get(&at).into_iter().flatten() {
        if let Some(cycle) = find_cycle(*next, edges, path, done) {
            return Some(cycle);
        }
    }
    path.pop();
    None
}

/// What a policy may read beside the object. Where it cannot be told, it reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reads {
    /// `input.namespace`.
    pub namespace: bool,
    /// `input.request.userInfo`.
    pub user: bool,
}

impl Reads {
    pub(crate) fn of(packages: &[&Package<'_>]) -> Self {
        let mut reads = Self { namespace: false, user: false };
        let references = packages.iter().flat_map(|p| p.rules().flat_map(|r| r.references.iter()));
        for reference in references.filter(|r| r.root == "input") {
            let step = |n: usize| reference.steps.get(n).map(Option::as_deref);
            match step(0) {
                None | Some(None) => reads = Self { namespace: true, user: true },
                Some(Some("namespace")) => reads.namespace = true,
                Some(Some("request" | "parent")) => {
                    reads.user |= matches!(step(1), None | Some(None | Some("userInfo" | "request")));
                }
                Some(Some(_)) => {}
            }
        }
        reads
    }
}
