//! What can be told of a policy set without running it: which packages belong together, calls of unknown functions,
//! missing rules, recursion, and what a policy reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::engine::Location;
use crate::engine::builtins;
use crate::engine::compile::{RULES, policy_name};
use crate::engine::needs;
use crate::engine::parse::Parsed;
use crate::engine::rewrite::MOCKS;
use crate::engine::syntax::{Call, Reference, RuleInfo};
use crate::engine::system_main;
use crate::policy::{LoadError, Metadata, glob_matches, nearest};

/// All modules of one package.
pub(crate) struct Package<'a> {
    pub path: Vec<String>,
    pub modules: Vec<&'a Parsed<'a>>,
}

/// Where a rule is defined, with the string constants of each definition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definitions(Vec<(Location, Vec<String>)>);

impl Definitions {
    /// Takes the definitions of another rule too, after its own.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The definition that most likely gave `msg`: the one with the longest constant that is the message, or is a
    /// format that could have made it. Without a sign the first one.
    pub(crate) fn of_message(&self, msg: &str) -> Option<&Location> {
        let fit = |strings: &[String]| strings.iter().filter(|s| may_print(s, msg)).map(String::len).max();
        let best = self.0.iter().rev().max_by_key(|(_, strings)| fit(strings));
        best.map(|(at, _)| at)
    }
}

/// Whether a `sprintf` of `format` may have given `msg`.
fn may_print(format: &str, msg: &str) -> bool {
    if !format.contains('%') {
        return !format.is_empty() && format == msg;
    }
    let mut glob = String::with_capacity(format.len());
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' if chars.next_if_eq(&'%').is_some() => glob.push('%'),
            '%' => {
                while chars.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
                chars.next();
                glob.push('*');
            }
            c => glob.push(c),
        }
    }
    glob != "*" && glob_matches(&glob, msg)
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
    /// Whether it has rules that are read; `system` packages configure, they do not judge, but for `system.main`.
    pub(crate) fn is_policy(&self) -> bool {
        system_main::is_main(self) || self.path.first().is_some_and(|p| p != "system") && !self.entry_rules().is_empty()
    }

    /// The rules that are read, with their definitions in the order of the files.
    pub(crate) fn entry_rules(&self) -> BTreeMap<String, Definitions> {
        let main = system_main::is_main(self);
        let read = |name: &str| match name {
            _ if main => name == system_main::RULE,
            "patches" => system_main::reads_patches(self),
            _ => RULES.iter().any(|(_, rules)| rules.contains(&name)),
        };
        let mut found: BTreeMap<String, Definitions> = BTreeMap::new();
        for rule in self.rules().filter(|r| !r.is_function && read(&r.name)) {
            let definition = (rule.at.clone(), rule.strings.clone());
            found.entry(rule.name.clone()).or_default().0.push(definition);
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

    pub(crate) fn rules(&self) -> impl Iterator<Item = &'a RuleInfo> {
        self.modules.iter().flat_map(|m| m.info.rules.iter())
    }

    /// Whether one of its modules imports something under the name.
    fn imports(&self, name: &str) -> bool {
        self.modules.iter().any(|m| m.info.aliases.contains(name))
    }

    pub(crate) fn has_rule(&self, name: &str) -> bool {
        self.rules().any(|r| r.name == name)
    }

    pub(crate) fn data_references(&self) -> impl Iterator<Item = &'a Reference> {
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
pub(crate) fn may_reach(steps: &[Option<String>], package: &[String]) -> bool {
    // A bare `data` or a first step that is not a constant would pull in everything: it reads documents then.
    matches!(steps.first(), Some(Some(_)))
        && steps.iter().zip(package).all(|(step, name)| step.as_ref().is_none_or(|s| s == name))
}

/// All findings of all packages, which stand beside the documents of `data`.
pub(crate) fn check(packages: &BTreeMap<Vec<String>, Package<'_>>, data: &Map<String, Value>) -> Vec<LoadError> {
    let mut errors = Vec::new();
    errors.extend(packages.values().flat_map(|p| hidden_by_documents(p, data)));
    errors.extend(packages.values().filter_map(without_rule));
    errors.extend(same_name(packages));
    errors.extend(packages.values().flat_map(|p| in_the_way_of_packages(p, packages)));
    for package in packages.values() {
        let mut with_metadata = package.modules.iter().filter(|m| m.metadata.is_some());
        if let (Some(first), Some(second)) = (with_metadata.next(), with_metadata.next()) {
            let message = format!("package METADATA stands in `{}` too; keep one", first.source.path);
            errors.push(LoadError::new(&second.source.path, "metadata", message));
        }
        for rule in package.rules() {
            errors.extend(unsafe_in_head(rule, package));
            errors.extend(
                rule.calls
                    .iter()
                    .filter_map(|c| unknown_call(c, package, packages).or_else(|| wrong_arity(c, package))),
            );
            errors.extend(rule.references.iter().filter_map(|r| missing_rule(r, packages, data)));
        }
    }
    errors.extend(needs::recursion(packages));
    errors
}

/// Rules that nobody would see: the engine gives the document in their place.
fn hidden_by_documents(package: &Package<'_>, data: &Map<String, Value>) -> Vec<LoadError> {
    let mut at = data;
    for step in &package.path {
        match at.get(step) {
            None => return Vec::new(),
            Some(Value::Object(inner)) => at = inner,
            Some(_) => {
                let message = format!("package `{}` stands in a document of the data files", package.path.join("."));
                return vec![LoadError::new(package.file(), "document", message)];
            }
        }
    }
    let hidden = package.rules().filter(|r| at.contains_key(&r.name));
    let error = |r: &RuleInfo| {
        let path = package.path.join(".");
        let message = format!("`data.{path}.{}` is a rule here and a document in the data files", r.name);
        LoadError::new(&r.at.file, "document", message).at(r.at.line, r.at.column)
    };
    hidden.map(error).collect()
}

/// Rules at the path of another package, or of a rule in it: the engine takes one of the two and says nothing.
fn in_the_way_of_packages(package: &Package<'_>, packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let mut errors = Vec::new();
    for rule in package.rules() {
        let path: Vec<&String> = package.path.iter().chain(&rule.path).collect();
        let same = |p: &[String], name: &[String]| p.iter().chain(name).zip(&path).all(|(a, b)| a == *b);
        let other = packages
            .values()
            .filter(|p| p.path.len() > package.path.len())
            .find(|p| same(&p.path, &[]) && (p.path.len() >= path.len() || p.rules().any(|r| same(&p.path, &r.path))));
        if let Some(other) = other {
            let message = format!("rule `{}` is in the way of package `{}`", rule.path.join("."), other.path.join("."));
            errors.push(LoadError::new(&rule.at.file, "conflict", message).at(rule.at.line, rule.at.column));
        }
    }
    errors
}

/// A package that says in METADATA what it judges, and then judges nothing.
fn without_rule(package: &Package<'_>) -> Option<LoadError> {
    if package.is_policy() || !package.metadata().is_some_and(|m| m.is_of_policy) {
        return None;
    }
    let wanted = || RULES.iter().flat_map(|(_, rules)| rules.iter().copied());
    let near = package.rules().find_map(|r| nearest(&r.name, wanted()).map(|n| (r, n)));
    let near = near.map(|(r, n)| format!("; did you mean `{n}` where it says `{}`?", r.name)).unwrap_or_default();
    let names = wanted().collect::<Vec<_>>().join("`, `");
    let message =
        format!("package `{}` has the METADATA of a policy, but none of `{names}`{near}", package.path.join("."));
    Some(LoadError::new(package.file(), "no_rule", message))
}

/// Policies that bindings and the decision log could not tell apart.
fn same_name(packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let mut named: BTreeMap<Arc<str>, &Package<'_>> = BTreeMap::new();
    let mut errors = Vec::new();
    for package in packages.values().filter(|p| p.is_policy()) {
        if let Some(first) = named.insert(policy_name(&package.path), package) {
            let (one, other) = (first.path.join("."), package.path.join("."));
            let message =
                format!("packages `{one}` and `{other}` would both be policy `{}`", policy_name(&package.path));
            errors.push(LoadError::new(package.file(), "name", message));
        }
    }
    errors
}

/// Variables of a rule's head that nothing in its body gives a value: the engine would find out on each request.
fn unsafe_in_head(rule: &RuleInfo, package: &Package<'_>) -> Vec<LoadError> {
    let bound = |name: &str| name == "input" || name == "data" || package.has_rule(name) || package.imports(name);
    let free = rule.head_only.iter().filter(|(name, _)| !bound(name));
    free.map(|(name, at)| {
        let message = format!("variable `{name}` of the head has no value: nothing in the body gives it one");
        LoadError::new(&at.file, "unsafe", message).at(at.line, at.column)
    })
    .collect()
}

fn unknown_call(
    call: &Call,
    package: &Package<'_>,
    packages: &BTreeMap<Vec<String>, Package<'_>>,
) -> Option<LoadError> {
    let (name, at) = (call.name.as_str(), &call.at);
    let known = match name.strip_prefix("data.") {
        Some(path) if path.split('.').next() == Some(MOCKS) => true,
        Some(path) => {
            let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
            let package = (1..steps.len()).rev().find_map(|n| packages.get(steps.get(..n)?));
            package.is_some_and(|p| steps.get(p.path.len()).is_some_and(|name| p.has_rule(name)))
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

/// A builtin with too few or too many arguments: where builtin errors are undefined, it would never hold.
fn wrong_arity(call: &Call, package: &Package<'_>) -> Option<LoadError> {
    let of_engine = || regorus::unstable::BUILTINS.get(call.name.as_str()).map(|(_, arity)| *arity);
    let arity = usize::from(builtins::arity(&call.name).or_else(of_engine)?);
    // One more is the old way to name the result.
    if arity == 0 || (arity..=arity + 1).contains(&call.arguments) || package.has_rule(&call.name) {
        return None;
    }
    let message = format!("`{}` takes {arity} arguments, not {}", call.name, call.arguments);
    Some(LoadError::new(&call.at.file, "arity", message).at(call.at.line, call.at.column))
}

/// Whether the engine has the builtin.
pub(crate) fn is_builtin(name: &str) -> bool {
    name == "print" || builtins::names().any(|n| n == name) || regorus::unstable::BUILTINS.contains_key(name)
}

/// A reference into a package that is there, to a rule that is not.
fn missing_rule(
    reference: &Reference,
    packages: &BTreeMap<Vec<String>, Package<'_>>,
    data: &Map<String, Value>,
) -> Option<LoadError> {
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
    let beside = package.path.iter().try_fold(data, |at, step| at.get(step)?.as_object());
    if package.has_rule(name) || below || beside.is_some_and(|d| d.contains_key(*name)) {
        return None;
    }
    let near = nearest(name, package.rules().map(|r| r.name.as_str())).map(|n| format!("; did you mean `{n}`?"));
    let message = format!("no rule `{name}` in package `{}`{}", package.path.join("."), near.unwrap_or_default());
    let at = &reference.at;
    Some(LoadError::new(&at.file, "missing_rule", message).at(at.line, at.column))
}

/// What a policy may read beside the object. Where it cannot be told, it reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reads {
    /// `input.namespace`.
    pub namespace: bool,
    /// `input.userNamespace`.
    pub user_namespace: bool,
    /// `input.request.userInfo`, or `input.userNamespace`.
    pub user: bool,
}

impl Reads {
    pub(crate) fn of(packages: &[&Package<'_>]) -> Self {
        let mut reads = Self { namespace: false, user_namespace: false, user: false };
        let references = packages.iter().flat_map(|p| p.rules().flat_map(|r| r.references.iter()));
        for reference in references.filter(|r| r.root == "input") {
            let step = |n: usize| reference.steps.get(n).map(Option::as_deref);
            match step(0) {
                None | Some(None) => reads = Self { namespace: true, user_namespace: true, user: true },
                Some(Some("namespace")) => reads.namespace = true,
                Some(Some("userNamespace")) => (reads.user_namespace, reads.user) = (true, true),
                Some(Some("request" | "parent")) => {
                    reads.user |= matches!(step(1), None | Some(None | Some("userInfo" | "request")));
                }
                Some(Some(_)) => {}
            }
        }
        reads
    }
}
