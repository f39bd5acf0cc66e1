//! What can be seen in a policy's syntax tree: rules, references, calls. Used at load time only.
//!
//! Reads regorus' tree (pinned version) and turns it into plain data; knows nothing of METADATA or requests.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Import, Literal, Module, Query, Ref, Rule, RuleBody, RuleHead, Span};

use crate::engine::Location;
use crate::engine::rewrite::Places;

/// A reference such as `input.request.object[i].name`: its root and its steps; a step that is not a constant is `None`.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// Variable it starts from, import aliases already replaced.
    pub root: String,
    /// Steps after the root.
    pub steps: Vec<Option<String>>,
    /// Where it stands.
    pub at: Location,
}

/// A call such as `startswith(x, "a")`.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Dotted name as written, import aliases replaced.
    pub name: String,
    /// How many arguments it has.
    pub arguments: usize,
    /// Where it stands.
    pub at: Location,
}

/// One rule of a module.
#[derive(Debug, Clone)]
pub(crate) struct RuleInfo {
    /// First name of the rule below its package (`deny`).
    pub name: String,
    /// The name with the constant steps after it: `[limits, cpu]` of `limits.cpu := 1`.
    pub path: Vec<String>,
    /// Whether it is a function.
    pub is_function: bool,
    /// Where its head stands.
    pub at: Location,
    /// All references in it, also those inside others.
    pub references: Vec<Reference>,
    /// All calls in it.
    pub calls: Vec<Call>,
    /// Names bound in it, which hide rules of the same name.
    pub locals: BTreeSet<String>,
    /// Plain variables of the head that stand nowhere in the body.
    pub head_only: Vec<(String, Location)>,
    /// String constants in it: messages and their formats among them.
    pub strings: Vec<String>,
}

/// One module.
#[derive(Debug, Clone)]
pub(crate) struct ModuleInfo {
    /// Package path below `data`.
    pub package: Vec<String>,
    /// Rules in the order of the file, defaults included.
    pub rules: Vec<RuleInfo>,
    /// Targets of `import data...`.
    pub imports: Vec<Reference>,
    /// Names that imports stand under.
    pub aliases: BTreeSet<String>,
}

impl ModuleInfo {
    fn locations(&mut self) -> impl Iterator<Item = &mut Location> {
        let of_rules = self.rules.iter_mut().flat_map(|rule| {
            let references = rule.references.iter_mut().map(|r| &mut r.at);
            let calls = rule.calls.iter_mut().map(|c| &mut c.at);
            let head = rule.head_only.iter_mut().map(|(_, at)| at);
            references.chain(calls).chain(head).chain([&mut rule.at])
        });
        of_rules.chain(self.imports.iter_mut().map(|i| &mut i.at))
    }
}

/// Reads a parsed module. All places are those of the author's text.
pub(crate) fn module_info(module: &Module, places: &Places) -> ModuleInfo {
    let mut info = info(module);
    info.locations().for_each(|at| places.place(at));
    info
}

/// The path of a module's package.
pub(crate) fn package(module: &Module) -> Vec<String> {
    match flatten(&module.package.refr) {
        Some((root, steps)) => std::iter::once(root).chain(steps.into_iter().flatten()).collect(),
        None => Vec::new(),
    }
}

fn info(module: &Module) -> ModuleInfo {
    let aliases = aliases(&module.imports);
    let package = package(module);
    let rules = module.policy.iter().filter_map(|r| rule_info(r, &aliases)).collect();
    let imports = aliases.iter().map(|a| a.target.clone()).collect();
    let aliases = aliases.into_iter().map(|a| a.name).collect();
    ModuleInfo { package, rules, imports, aliases }
}

/// The first name of a rule's head below its package, with its place.
pub(crate) fn rule_name(head: &Ref<Expr>) -> Option<(String, Location)> {
    let (name, _) = flatten(head)?;
    Some((name, start(head)))
}

struct Alias {
    name: String,
    target: Reference,
}

fn aliases(imports: &[Import]) -> Vec<Alias> {
    imports
        .iter()
        .filter_map(|import| {
            let (root, steps) = flatten(&import.refr)?;
            if root != "data" && root != "input" {
                return None;
            }
            let last = steps.last().and_then(Clone::clone).unwrap_or_else(|| root.clone());
            let name = import.r#as.as_ref().map_or(last, |s| s.text().to_owned());
            Some(Alias { name, target: Reference { root, steps, at: location(&import.span) } })
        })
        .collect()
}

fn rule_info(rule: &Ref<Rule>, aliases: &[Alias]) -> Option<RuleInfo> {
    let mut walk =
        Walk { aliases, references: Vec::new(), calls: Vec::new(), locals: BTreeSet::new(), strings: Vec::new() };
    let mut in_head = Vec::new();
    let mut of_head = 0;
    let (refr, is_function) = match rule.as_ref() {
        Rule::Spec { head, bodies, .. } => {
            let (refr, is_function) = walk.head(head);
            in_head = head_variables(head);
            of_head = walk.references.len();
            for body in bodies {
                walk.body(body);
            }
            (refr, is_function)
        }
        Rule::Default { refr, args, value, .. } => {
            walk.expr(value);
            (refr, !args.is_empty())
        }
    };
    let (name, steps) = flatten(refr)?;
    // The steps of a head such as `deny[msg]` are expressions of the rule.
    if !steps.is_empty() {
        walk.indexes(refr);
    }
    let Walk { references, calls, locals, strings, .. } = walk;
    let in_body = |name: &str| locals.contains(name) || references.iter().skip(of_head).any(|r| r.root == name);
    let head_only = in_head.into_iter().filter(|(name, _)| !in_body(name)).collect();
    let path = std::iter::once(name.clone()).chain(steps.into_iter().map_while(|s| s)).collect();
    Some(RuleInfo { name, path, is_function, at: start(refr), references, calls, locals, head_only, strings })
}

/// Variables that stand for themselves in what a head gives, but for those that an index in it gives a value.
fn head_variables(head: &RuleHead) -> Vec<(String, Location)> {
    fn collect(expr: &Ref<Expr>, plain: &mut Vec<(String, Location)>, indexes: &mut BTreeSet<String>) {
        match expr.as_ref() {
            Expr::Var { span, .. } => plain.push((span.text().to_owned(), location(span))),
            Expr::RefDot { refr, .. } => collect(refr, &mut Vec::new(), indexes),
            Expr::RefBrack { refr, index, .. } => {
                if let Expr::Var { span, .. } = index.as_ref() {
                    indexes.insert(span.text().to_owned());
                }
                collect(refr, &mut Vec::new(), indexes);
                collect(index, &mut Vec::new(), indexes);
            }
            Expr::Call { params, .. } => params.iter().for_each(|p| collect(p, plain, indexes)),
            _ => children(expr).into_iter().for_each(|c| collect(c, plain, indexes)),
        }
    }
    let (mut plain, mut indexes) = (Vec::new(), BTreeSet::new());
    let given = match head {
        RuleHead::Set { key, .. } => key.as_ref(),
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref().map(|a| &a.value),
    };
    given.into_iter().for_each(|expr| collect(expr, &mut plain, &mut indexes));
    plain.retain(|(name, _)| name != "_" && !indexes.contains(name));
    plain
}

struct Walk<'a> {
    aliases: &'a [Alias],
    references: Vec<Reference>,
    calls: Vec<Call>,
    locals: BTreeSet<String>,
    strings: Vec<String>,
}

impl Walk<'_> {
    fn head<'h>(&mut self, head: &'h RuleHead) -> (&'h Ref<Expr>, bool) {
        match head {
            RuleHead::Compr { refr, assign, .. } => {
                if let Some(assign) = assign {
                    self.expr(&assign.value);
                }
                (refr, false)
            }
            RuleHead::Set { refr, key, .. } => {
                if let Some(key) = key {
                    self.expr(key);
                }
                (refr, false)
            }
            RuleHead::Func { refr, args, assign, .. } => {
                for arg in args {
                    self.bind(arg);
                }
                if let Some(assign) = assign {
                    self.expr(&assign.value);
                }
                (refr, true)
            }
        }
    }

    fn body(&mut self, body: &RuleBody) {
        if let Some(assign) = &body.assign {
            self.expr(&assign.value);
        }
        self.query(&body.query);
    }

    fn query(&mut self, query: &Ref<Query>) {
        for stmt in &query.stmts {
            match &stmt.literal {
                Literal::SomeVars { vars, .. } => {
                    self.locals.extend(vars.iter().map(|v| v.text().to_owned()));
                }
                Literal::SomeIn { key, value, collection, .. } => {
                    if let Some(key) = key {
                        self.bind(key);
                    }
                    self.bind(value);
                    self.expr(collection);
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
                Literal::Every { key, value, domain, query, .. } => {
                    self.locals.extend(key.iter().map(|k| k.text().to_owned()));
                    self.locals.insert(value.text().to_owned());
                    self.expr(domain);
                    self.query(query);
                }
            }
            for modifier in &stmt.with_mods {
                self.expr(&modifier.r#as);
            }
        }
    }

    /// A pattern that binds its variables.
    fn bind(&mut self, pattern: &Ref<Expr>) {
        if let Expr::Var { span, .. } = pattern.as_ref() {
            self.locals.insert(span.text().to_owned());
            return;
        }
        for child in children(pattern) {
            self.bind(child);
        }
    }

    fn expr(&mut self, expr: &Ref<Expr>) {
        match expr.as_ref() {
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                if let Some((root, steps)) = flatten(expr) {
                    let at = start(expr);
                    self.references.push(self.resolve(root, steps, at));
                }
                self.indexes(expr);
            }
            Expr::Call { fcn, params, .. } => {
                if let Some((root, steps)) = flatten(fcn) {
                    let resolved = self.resolve(root, steps, start(fcn));
                    let steps = resolved.steps.into_iter().map(Option::unwrap_or_default);
                    let name = std::iter::once(resolved.root).chain(steps).collect::<Vec<_>>().join(".");
                    self.calls.push(Call { name, arguments: params.len(), at: resolved.at });
                }
                for param in params {
                    self.expr(param);
                }
            }
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                if matches!(op, regorus::unstable::AssignOp::ColEq) {
                    self.bind(lhs);
                } else {
                    self.expr(lhs);
                }
                self.expr(rhs);
            }
            Expr::String { value, .. } | Expr::RawString { value, .. } => {
                self.strings.extend(value.as_string().ok().map(|s| s.as_ref().to_owned()));
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term);
                self.query(query);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.expr(key);
                self.expr(value);
                self.query(query);
            }
            _ => {
                for child in children(expr) {
                    self.expr(child);
                }
            }
        }
    }

    /// The expressions inside the brackets of a reference, and a root that is not a variable.
    fn indexes(&mut self, expr: &Ref<Expr>) {
        match expr.as_ref() {
            Expr::RefDot { refr, .. } => self.indexes(refr),
            Expr::RefBrack { refr, index, .. } => {
                self.indexes(refr);
                if !matches!(index.as_ref(), Expr::String { .. } | Expr::RawString { .. }) {
                    self.expr(index);
                }
            }
            Expr::Var { .. } => {}
            _ => self.expr(expr),
        }
    }

    fn resolve(&self, root: String, steps: Vec<Option<String>>, at: Location) -> Reference {
        match self.aliases.iter().find(|a| a.name == root && !self.locals.contains(&root)) {
            Some(alias) => Reference {
                root: alias.target.root.clone(),
                steps: alias.target.steps.iter().cloned().chain(steps).collect(),
                at,
            },
            None => Reference { root, steps, at },
        }
    }
}

/// Direct parts of an expression that has no scope of its own.
fn children(expr: &Expr) -> Vec<&Ref<Expr>> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().collect(),
        Expr::Object { fields, .. } => fields.iter().flat_map(|(_, k, v)| [k, v]).collect(),
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership { key, value, collection, .. } => key.iter().chain([value, collection]).collect(),
        _ => Vec::new(),
    }
}

/// A variable or a reference of constant steps, as it could be written.
pub(crate) fn plain_path(expr: &Ref<Expr>) -> Option<String> {
    let (root, steps) = flatten(expr)?;
    steps.into_iter().try_fold(root, |path, step| Some(format!("{path}[{}]", serde_json::Value::from(step?))))
}

/// Root variable and steps of a reference; `None` when it does not start from a variable.
fn flatten(expr: &Ref<Expr>) -> Option<(String, Vec<Option<String>>)> {
    match expr.as_ref() {
        Expr::Var { span, .. } => Some((span.text().to_owned(), Vec::new())),
        Expr::RefDot { refr, field, .. } => {
            let (root, mut steps) = flatten(refr)?;
            steps.push(Some(field.0.text().to_owned()));
            Some((root, steps))
        }
        Expr::RefBrack { refr, index, .. } => {
            let (root, mut steps) = flatten(refr)?;
            steps.push(match index.as_ref() {
                Expr::String { value, .. } | Expr::RawString { value, .. } => {
                    value.as_string().ok().map(|s| s.as_ref().to_owned())
                }
                // `data[2]` is no package, whatever the packages are.
                Expr::Number { span, .. } if root == "data" && steps.is_empty() => Some(span.text().to_owned()),
                _ => None,
            });
            Some((root, steps))
        }
        _ => None,
    }
}

/// Where a reference begins: the spans of its outer parts begin at their dot or bracket.
fn start(expr: &Ref<Expr>) -> Location {
    match expr.as_ref() {
        Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => start(refr),
        other => location(other.span()),
    }
}

/// The place of a span. The column is counted in characters: the parser's own counts a tab as four.
pub(crate) fn location(span: &Span) -> Location {
    let text = span.source.contents();
    let before = usize::try_from(span.start).ok().and_then(|start| text.get(..start)).unwrap_or_default();
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Location { file: span.source.file().clone(), line: span.line, column: u32::try_from(column).unwrap_or(span.col) }
}

/// A column of the parser, which counts a tab as four, as a column in characters.
pub(crate) fn column_in(line: &str, column: u32) -> u32 {
    let mut reached = 1;
    for (index, c) in (1..).zip(line.chars()) {
        if reached >= column {
            return index;
        }
        reached += if c == '\t' { 4 } else { 1 };
    }
    column.min(u32::try_from(line.chars().count()).unwrap_or(column) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> ModuleInfo {
        let mut engine = regorus::Engine::new();
        engine.add_policy("p.rego".to_owned(), text.to_owned()).expect("parses");
        module_info(engine.get_modules().first().expect("one module"), &Places::same(text))
    }

    #[test]
    fn references_follow_import_aliases() {
        let m = info(
            "package a.b\nimport input.request as req\nimport data.lib.x\ndeny contains y if { some y in req.object.z; x.f(input.namespace) }\n",
        );
        assert_eq!(m.package, ["a", "b"]);
        let rule = m.rules.first().expect("a rule");
        assert_eq!((rule.name.as_str(), rule.is_function), ("deny", false));
        let paths: Vec<String> = rule
            .references
            .iter()
            .map(|r| {
                format!(
                    "{}.{}",
                    r.root,
                    r.steps.iter().map(|s| s.as_deref().unwrap_or("?")).collect::<Vec<_>>().join(".")
                )
            })
            .collect();
        assert!(paths.contains(&"input.request.object.z".to_owned()), "{paths:?}");
        assert!(paths.contains(&"input.namespace".to_owned()), "{paths:?}");
        assert_eq!(rule.calls.first().map(|c| c.name.as_str()), Some("data.lib.x.f"));
        assert!(rule.locals.contains("y"));
    }
}
