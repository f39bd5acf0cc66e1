//! What names stand for: packages and their rules, imports, the base document, functions.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{Expr as Syntax, Import, Module, Ref, Rule, RuleHead, Span};

use super::super::Obstacle;
use super::super::code::{Callee, RuleId};
use super::{Definer, obstacle};
use crate::engine::veil::Glance;
use crate::engine::{Location, builtins, syntax};

/// Package and name.
pub(super) type RuleName = (Vec<String>, String);

/// What an import's name stands for: a root and the path below it.
pub(super) type Aliases = BTreeMap<String, (String, Vec<String>)>;

/// Builtins that look at more than their operands or leave a trace of their own.
const NOT_TAKEN: [&str; 6] = ["http.send", "opa.runtime", "print", "rego.parse_module", "trace", "walk"];

/// One definition of a rule with what the names in it mean.
pub(super) struct Source {
    pub rule: Ref<Rule>,
    pub package: Vec<String>,
    pub aliases: Aliases,
}

/// All rules of all modules.
pub(super) struct Library<'d> {
    rules: BTreeMap<RuleName, Vec<Source>>,
    packages: BTreeSet<Vec<String>>,
    data: &'d Value,
}

impl<'d> Library<'d> {
    pub(super) fn new(modules: &[Ref<Module>], data: &'d Value) -> Result<Self, Obstacle> {
        let mut library = Self { rules: BTreeMap::new(), packages: BTreeSet::new(), data };
        for module in modules {
            let package = path_of(&module.package.refr)
                .map(|(first, rest)| std::iter::once(first).chain(rest).collect::<Vec<_>>())
                .ok_or_else(|| obstacle("a package whose name is computed", &module.package.span))?;
            let aliases = aliases(&module.imports);
            library.packages.insert(package.clone());
            for rule in &module.policy {
                let refr = match rule.as_ref() {
                    Rule::Default { refr, .. } => refr,
                    Rule::Spec { head, .. } => match head {
                        RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => refr,
                    },
                };
                let Some((name, _)) = syntax::rule_name(refr) else {
                    return Err(obstacle("a rule whose name is computed", refr.span()));
                };
                if aliases.contains_key(&name) {
                    return Err(obstacle(&format!("`{name}`, which is a rule and an import"), refr.span()));
                }
                let source = Source { rule: rule.clone(), package: package.clone(), aliases: aliases.clone() };
                library.rules.entry((package.clone(), name)).or_default().push(source);
            }
        }
        Ok(library)
    }

    pub(super) fn definitions(&self, name: &RuleName) -> &[Source] {
        self.rules.get(name).map_or(&[], Vec::as_slice)
    }

    fn has(&self, name: &RuleName) -> bool {
        self.rules.contains_key(name)
    }

    fn is_function(&self, name: &RuleName) -> bool {
        self.definitions(name).iter().any(|s| match s.rule.as_ref() {
            Rule::Spec { head, .. } => matches!(head, RuleHead::Func { .. }),
            Rule::Default { args, .. } => !args.is_empty(),
        })
    }

    /// The base document has a value where the rule's would be, which the engine prefers, or one on the way there that
    /// is no object, which is an error.
    pub(super) fn is_overlaid(&self, name: &RuleName) -> bool {
        let mut at = self.data;
        for step in name.0.iter().chain([&name.1]) {
            match at {
                Value::Object(_) => at = &at[step.as_str()],
                other => return *other != Value::Undefined,
            }
        }
        *at != Value::Undefined
    }

    /// Where a rule is defined first.
    pub(super) fn place_of(&self, name: &RuleName) -> Option<Location> {
        self.definitions(name).first().map(|source| match source.rule.as_ref() {
            Rule::Spec { span, .. } | Rule::Default { span, .. } => syntax::location(span),
        })
    }
}

/// Names a rule that the base document has a value for.
pub(super) fn overlaid(rule: &str) -> String {
    format!("rule `{rule}`, which the data has too")
}

fn aliases(imports: &[Import]) -> Aliases {
    let of = |import: &Import| {
        let (root, path) = path_of(&import.refr)?;
        if root != "data" && root != "input" {
            return None;
        }
        let last = path.last().unwrap_or(&root).clone();
        let name = import.r#as.as_ref().map_or(last, |s| s.text().to_owned());
        Some((name, (root, path)))
    };
    imports.iter().filter_map(of).filter(|(name, (root, path))| name != root || !path.is_empty()).collect()
}

/// Root and steps of a reference whose steps are all written out as names or strings.
pub(super) fn path_of(expr: &Ref<Syntax>) -> Option<(String, Vec<String>)> {
    match expr.as_ref() {
        Syntax::Var { span, .. } => Some((span.text().to_owned(), Vec::new())),
        Syntax::RefDot { refr, field, .. } => {
            let (root, mut path) = path_of(refr)?;
            path.push(field.0.text().to_owned());
            Some((root, path))
        }
        Syntax::RefBrack { refr, index, .. } => {
            let (root, mut path) = path_of(refr)?;
            let (Syntax::String { value, .. } | Syntax::RawString { value, .. }) = index.as_ref() else { return None };
            path.push(value.as_string().ok()?.as_ref().to_owned());
            Some((root, path))
        }
        _ => None,
    }
}

/// What a path below `data` leads to, with how many of its steps that takes.
pub(super) enum Target {
    Rule(RuleId, usize),
    Base,
}

/// What is called.
pub(super) enum Function {
    Rule(RuleId, usize),
    Builtin(Callee, usize, Glance),
}

impl Definer<'_, '_> {
    /// The rule of this package that a name stands for.
    pub(super) fn own_rule(&mut self, name: &str, at: &Span) -> Result<Option<RuleId>, Obstacle> {
        let name = (self.package.to_vec(), name.to_owned());
        if self.lowering.library.has(&name) { self.value_rule(&name, at).map(Some) } else { Ok(None) }
    }

    fn value_rule(&mut self, name: &RuleName, at: &Span) -> Result<RuleId, Obstacle> {
        if self.lowering.library.is_function(name) {
            return Err(obstacle("a function that is not called", at));
        }
        self.any_rule(name, at)
    }

    fn any_rule(&mut self, name: &RuleName, at: &Span) -> Result<RuleId, Obstacle> {
        if self.lowering.library.is_overlaid(name) {
            return Err(obstacle(&overlaid(&name.1), at));
        }
        let id = self.lowering.rule_id(name);
        self.needs(id);
        Ok(id)
    }

    /// Resolves the steps below `data`, as far as they are written out; `whole` says whether that is all of them.
    pub(super) fn below_data(&mut self, path: &[String], whole: bool, at: &Span) -> Result<Target, Obstacle> {
        let packages = &self.lowering.library.packages;
        let longest = (1..path.len()).rev().find(|n| path.get(..*n).is_some_and(|p| packages.contains(p)));
        if let Some(length) = longest
            && let (Some(package), Some(name)) = (path.get(..length), path.get(length))
        {
            let name = (package.to_vec(), name.clone());
            if self.lowering.library.has(&name) {
                return Ok(Target::Rule(self.value_rule(&name, at)?, length + 1));
            }
        }
        // What a package has below it comes together from rules and data.
        let meets = |p: &Vec<String>| p.iter().zip(path).all(|(a, b)| a == b) && (p.len() >= path.len() || !whole);
        let inside = |p: &Vec<String>| path.len() >= p.len() && path.starts_with(p);
        if path.is_empty() || packages.iter().any(|p| meets(p) || inside(p)) {
            return Err(obstacle("a reference to a package as a document", at));
        }
        Ok(Target::Base)
    }

    pub(super) fn function(&mut self, callee: &Ref<Syntax>) -> Result<Function, Obstacle> {
        let at = callee.span();
        let Some((root, path)) = path_of(callee) else { return Err(obstacle("a call of something computed", at)) };
        let mut steps = match self.aliases.get(&root) {
            Some((target, below)) if target == "data" => below.iter().chain(&path).cloned().collect(),
            _ if root == "data" => path.clone(),
            _ if path.is_empty() => self.package.iter().chain([&root]).cloned().collect(),
            _ => Vec::new(),
        };
        let found = steps.pop().map(|name| (steps, name));
        if let Some(name) = found.filter(|n| self.lowering.library.has(n)) {
            return self.rule_function(&name, at);
        }
        let name = std::iter::once(root).chain(path).collect::<Vec<_>>().join(".");
        self.builtin(&name, at)
    }

    fn rule_function(&mut self, name: &RuleName, at: &Span) -> Result<Function, Obstacle> {
        let library = self.lowering.library;
        let mut arity = None;
        for source in library.definitions(name) {
            let Rule::Spec { head: RuleHead::Func { args, .. }, .. } = source.rule.as_ref() else {
                return Err(obstacle(&format!("a call of `{}`, which is no plain function", name.1), at));
            };
            if *arity.get_or_insert(args.len()) != args.len() {
                return Err(obstacle(&format!("function `{}` of several arities", name.1), at));
            }
        }
        Ok(Function::Rule(self.any_rule(name, at)?, arity.unwrap_or_default()))
    }

    fn builtin(&self, name: &str, at: &Span) -> Result<Function, Obstacle> {
        if NOT_TAKEN.contains(&name) || name.starts_with("rego.metadata.") {
            return Err(obstacle(&format!("`{name}`"), at));
        }
        let glance = Glance::of(name);
        if let Some(ours) = builtins::named(name) {
            return Ok(Function::Builtin(Callee::Ours(ours), usize::from(ours.arity), glance));
        }
        if let Some(metered) = builtins::metered(name) {
            return Ok(Function::Builtin(Callee::Metered(metered), usize::from(metered.arity()), glance));
        }
        match regorus::unstable::BUILTINS.get(name) {
            Some((call, arity)) if !name.starts_with("__") => {
                Ok(Function::Builtin(Callee::Engine(*call), usize::from(*arity), glance))
            }
            _ => Err(obstacle(&format!("`{name}`, which is no function"), at)),
        }
    }
}
