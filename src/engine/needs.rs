//! Which rules need which: chains that end where they begin or go too deep, and what a rule comes to look at. Knows rules
//! and references; runs nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Location;
use crate::engine::check::Package;
use crate::engine::syntax::RuleInfo;
use crate::policy::LoadError;

/// Rules may need one another this deep. Each takes about 6 KiB of stack, and no budget stops a thread that has none
/// left.
const MAX_RULE_CHAIN: usize = 500;

/// Package and path of a rule.
type RuleKey<'a> = (&'a [String], &'a [String]);

/// Rules that need themselves, or one another too deep. The engine would run out of stack on some of them, which no
/// budget stops.
pub(super) fn recursion(packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let edges = edges(packages);
    let mut places: BTreeMap<RuleKey<'_>, &Location> = BTreeMap::new();
    for package in packages.values() {
        for rule in package.rules() {
            places.entry((package.path.as_slice(), rule.path.as_slice())).or_insert(&rule.at);
        }
    }
    let mut depths = BTreeMap::new();
    let mut errors = Vec::new();
    for start in edges.keys() {
        let (key, message) = match depth(*start, &edges, &mut Vec::new(), &mut depths) {
            Ok(_) => continue,
            Err(Chain::Circle(rules)) => {
                let names: Vec<String> = rules.iter().map(|(_, path)| path.join(".")).collect();
                (rules.first().copied(), format!("recursion: {}", names.join(" -> ")))
            }
            Err(Chain::TooDeep(rule)) => {
                (Some(rule), format!("rules need one another more than {MAX_RULE_CHAIN} deep"))
            }
        };
        if let Some(at) = key.and_then(|k| places.get(&k)) {
            errors.push(LoadError::new(&at.file, "recursion", message).at(at.line, at.column));
        }
    }
    errors
}

/// The rules that each rule needs.
fn edges<'p>(packages: &'p BTreeMap<Vec<String>, Package<'_>>) -> BTreeMap<RuleKey<'p>, BTreeSet<RuleKey<'p>>> {
    let mut edges: BTreeMap<RuleKey<'_>, BTreeSet<RuleKey<'_>>> = BTreeMap::new();
    for package in packages.values() {
        for rule in package.rules() {
            let to = edges.entry((package.path.as_slice(), rule.path.as_slice())).or_default();
            let calls = rule.calls.iter().map(|c| c.name.split('.').map(str::to_owned).collect::<Vec<_>>());
            let references = rule.references.iter().map(|r| {
                std::iter::once(r.root.clone()).chain(r.steps.iter().map_while(Clone::clone)).collect::<Vec<_>>()
            });
            for path in calls.chain(references) {
                to.extend(targets(&path, package, packages, rule));
            }
        }
    }
    edges
}

/// Where the rule `name` of a package looks at `input`: itself, or by a rule that it needs.
pub(crate) fn look_at_input<'p>(
    package: &Package<'_>,
    name: &str,
    packages: &'p BTreeMap<Vec<String>, Package<'_>>,
) -> Option<&'p Location> {
    let edges = edges(packages);
    let starts = |key: &&RuleKey<'p>| *key.0 == *package.path && key.1.first().is_some_and(|first| first == name);
    let mut open: Vec<RuleKey<'p>> = edges.keys().filter(starts).copied().collect();
    let mut known: BTreeSet<RuleKey<'p>> = open.iter().copied().collect();
    while let Some(key) = open.pop() {
        let rules = packages.get(key.0).into_iter().flat_map(Package::rules).filter(|r| *r.path == *key.1);
        if let Some(reference) = rules.flat_map(|r| r.references.iter()).find(|r| r.root == "input") {
            return Some(&reference.at);
        }
        open.extend(edges.get(&key).into_iter().flatten().filter(|next| known.insert(**next)));
    }
    None
}

/// The rules that a reference may lead to: those below it, and those that hold what it names.
fn targets<'p>(
    path: &[String],
    package: &'p Package<'_>,
    packages: &'p BTreeMap<Vec<String>, Package<'_>>,
    rule: &RuleInfo,
) -> Vec<RuleKey<'p>> {
    let overlap = |a: &[String], b: &[String]| a.iter().zip(b).all(|(x, y)| x == y);
    let of = |p: &'p Package<'_>, below: &[String]| {
        let rules = p.modules.iter().flat_map(|m| m.info.rules.iter()).filter(|r| overlap(&r.path, below));
        rules.map(|r| (p.path.as_slice(), r.path.as_slice())).collect::<Vec<_>>()
    };
    match path.split_first() {
        None => Vec::new(),
        Some((first, rest)) if first == "data" => {
            let reached = packages.values().filter(|p| overlap(&p.path, rest));
            reached.flat_map(|p| of(p, rest.get(p.path.len()..).unwrap_or_default())).collect()
        }
        Some((first, _)) if rule.locals.contains(first) => Vec::new(),
        Some(_) => of(package, path),
    }
}

/// What is wrong with a chain of rules.
enum Chain<'a> {
    /// It ends where it begins.
    Circle(Vec<RuleKey<'a>>),
    /// It is too long from this rule on.
    TooDeep(RuleKey<'a>),
}

/// How deep the rules go that a rule needs. `path` is the way to it, `depths` what is known already.
fn depth<'a>(
    at: RuleKey<'a>,
    edges: &BTreeMap<RuleKey<'a>, BTreeSet<RuleKey<'a>>>,
    path: &mut Vec<RuleKey<'a>>,
    depths: &mut BTreeMap<RuleKey<'a>, usize>,
) -> Result<usize, Chain<'a>> {
    if let Some(start) = path.iter().position(|k| *k == at) {
        return Err(Chain::Circle(path.iter().skip(start).copied().chain([at]).collect()));
    }
    if let Some(known) = depths.get(&at) {
        return Ok(*known);
    }
    // Known while it is looked at, so each chain is reported once.
    depths.insert(at, 0);
    path.push(at);
    let mut deepest = 0;
    for next in edges.get(&at).into_iter().flatten() {
        if path.len() > MAX_RULE_CHAIN {
            return Err(Chain::TooDeep(at));
        }
        deepest = deepest.max(depth(*next, edges, path, depths)?);
        if deepest >= MAX_RULE_CHAIN {
            return Err(Chain::TooDeep(at));
        }
    }
    path.pop();
    depths.insert(at, deepest + 1);
    Ok(deepest + 1)
}
