//! What the engine's parser and evaluator read differently from OPA, put so that both read the same.
//!
//! Works on our own syntax tree, and changes no more of the text than it must: every line keeps its number, and
//! [`Places`] leads from the changed text back to the author's columns. Knows nothing of policies. What is changed:
//!
//! - a line that begins with `(` is an expression of its own, not a call of what stands before it;
//! - `rule { .. } { .. }` are two rules with one head;
//! - `not f(x.y)`: what OPA evaluates before the negation is evaluated before it (see `negation`);
//! - `a + 1 = b`: only a term may stand to the left of `=`;
//! - `f(a, x)` for `x = f(a)`, of builtins that the engine does not know by itself;
//! - `some x`, where `x` hides another name (see `scopes`);
//! - operators on values of any type (see `operators`);
//! - `x := walk(y)`, which has many values;
//! - `p.a.r`, where there is also `p[x].r` (see `heads`);
//! - constants that nest deep, which the engine's parser takes too long for;
//! - template strings (see `templates`);
//! - keywords as the first step of a reference, `if.foo` (see `keywords`);
//! - `with` on builtins that the engine does not know by itself (see `mocks`);
//! - `rego.metadata.*` (see `annotations`);
//! - names of imports (see `imports`);
//! - imports that stand after rules.

mod edits;
mod heads;
mod imports;
mod keywords;
mod mocks;
mod negation;
mod operators;
mod scopes;
mod statements;
mod templates;
mod visit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use edits::{Originals, Places, line_and_column};
pub(crate) use heads::pattern;
pub(crate) use mocks::{MOCKS, Mocks, wrappers};

use crate::engine::annotations::Annotations;
use crate::engine::rego::{self, Flaw, Module, Span};
use crate::policy::RegoVersion;
use edits::{Edit, Unflat, render};

/// What is known of all modules before one is rewritten.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// METADATA of all of them, where one asks for them.
    pub annotations: Annotations,
    /// Builtins that a `with` somewhere replaces.
    pub mocks: Mocks,
    /// Names of the rules of each package.
    pub rules: BTreeMap<Vec<String>, BTreeSet<String>>,
    /// Heads of each package that have steps which are not constant.
    pub heads: BTreeMap<Vec<String>, Vec<heads::Pattern>>,
}

/// A module as the engine should read it; several where rules stand below a keyword.
///
/// # Errors
/// What is not Rego of this version, or cannot be put so that the engine reads it.
pub(crate) fn rewrite(text: &str, version: RegoVersion, known: &Surroundings) -> Result<Vec<Arc<Places>>, Misread> {
    let misread = |flaw: Flaw| Misread::of(text, &flaw);
    let module = rego::parse_module(text, version).map_err(misread)?;
    let mut rewriter = Rewriter { version, ..Rewriter::new(text, &module, known) };
    rewriter.module(&module).map_err(misread)?;
    let unflat = visit::unflat(text, &module);
    let edits = keywords::without(&module, text, rewriter.edits.clone());
    let mut modules = vec![Arc::new(render(text, edits, &unflat))];
    for edits in keywords::split(&module, text, &rewriter.edits).map_err(misread)? {
        modules.push(Arc::new(render(text, edits, &unflat)));
    }
    Ok(modules)
}

/// The text of a query as the engine should read it.
///
/// # Errors
/// What is not Rego v1.
pub(crate) fn rewrite_query(text: &str, known: &Surroundings) -> Result<String, Misread> {
    let misread = |flaw: Flaw| Misread::of(text, &flaw);
    let body = rego::parse_query(text).map_err(misread)?;
    let mut rewriter = Rewriter::empty(text, known);
    rewriter.in_query = true;
    rewriter.body(&body).map_err(misread)?;
    Ok(render(text, rewriter.edits, &Unflat::default()).text().to_owned())
}

/// Why a text is no Rego, and where: line and column in characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misread {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl Misread {
    fn of(text: &str, flaw: &Flaw) -> Self {
        let (line, column) = line_and_column(text, flaw.at);
        Self { line, column, message: flaw.message.clone() }
    }
}

/// Goes through a tree and notes what is to be changed.
struct Rewriter<'t> {
    text: &'t str,
    known: &'t Surroundings,
    edits: Vec<Edit>,
    package: Vec<String>,
    version: RegoVersion,
    /// Names of rules and imports.
    globals: BTreeSet<String>,
    /// What the names of imports stand for.
    imports: BTreeMap<String, String>,
    /// Keywords that rules stand below.
    keyword_roots: BTreeSet<String>,
    /// Names declared in the rule at hand, which hide those of other rules.
    declared: BTreeSet<String>,
    /// What names made here begin with; nothing in the text does.
    prefix: String,
    made: usize,
    /// Types of the variables of the rule at hand, as far as they are known.
    types: BTreeMap<String, operators::Type>,
    /// Places of variables that get another name.
    renamed: BTreeSet<usize>,
    /// Where the expression at hand begins.
    expression: Option<usize>,
    /// Place of the rule at hand among the module's.
    rule: usize,
    in_query: bool,
}

impl<'t> Rewriter<'t> {
    fn empty(text: &'t str, known: &'t Surroundings) -> Self {
        let mut prefix = "__arg".to_owned();
        while text.contains(&prefix) {
            prefix.push('_');
        }
        Self {
            text,
            known,
            edits: Vec::new(),
            package: Vec::new(),
            version: RegoVersion::V1,
            globals: BTreeSet::new(),
            imports: BTreeMap::new(),
            keyword_roots: BTreeSet::new(),
            declared: BTreeSet::new(),
            prefix,
            made: 0,
            types: BTreeMap::new(),
            renamed: BTreeSet::new(),
            expression: None,
            rule: 0,
            in_query: false,
        }
    }

    fn new(text: &'t str, module: &Module<'_>, known: &'t Surroundings) -> Self {
        let rules = module.rules.iter().filter_map(|r| r.name.root());
        let imports = module.imports.iter().filter_map(|i| match i.alias {
            Some(alias) => Some(alias),
            None => i.path.path()?.last().copied(),
        });
        let elsewhere = known.rules.get(&module.package).into_iter().flatten().cloned();
        let globals = rules.chain(imports).map(str::to_owned).chain(elsewhere).collect();
        let keyword_roots = module.rules.iter().filter_map(|r| keywords::root(r)).map(str::to_owned).collect();
        let imports = imports::paths(module, text);
        Self { package: module.package.clone(), globals, imports, keyword_roots, ..Self::empty(text, known) }
    }

    /// A name that nothing else has.
    fn name(&mut self) -> String {
        self.made += 1;
        format!("{}{}", self.prefix, self.made - 1)
    }

    fn replace(&mut self, span: Span, put: impl Into<String>) {
        self.edits.push(Edit::replace(span, put));
    }

    fn insert(&mut self, at: usize, put: impl Into<String>) {
        self.edits.push(Edit::insert(at, put));
    }

    /// At the begin or the end of a span: goes where the span goes.
    fn insert_within(&mut self, span: &Span, at: usize, put: impl Into<String>) {
        self.edits.push(Edit { within: Some(span.clone()), ..Edit::insert(at, put) });
    }

    /// The line breaks of a span, which stay where it is taken out.
    fn breaks(&self, span: &Span) -> String {
        "\n".repeat(self.text.get(span.clone()).unwrap_or_default().matches('\n').count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str, version: RegoVersion) -> Vec<String> {
        let modules = rewrite(text, version, &Surroundings::default()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        modules.iter().map(|m| m.text().to_owned()).collect()
    }

    fn check(version: RegoVersion, cases: &[(&str, &str)]) {
        for (from, to) in cases {
            let head = "package a\n";
            let got = rewritten(&format!("{head}{from}"), version);
            assert_eq!(got, [format!("{head}{to}")], "{from}");
        }
    }

    #[test]
    fn structure() {
        check(
            RegoVersion::V0,
            &[
                (
                    "p {\n\ta := input.b # c\n\t(1 + a) > 2\n}",
                    "p {\n\ta := input.b; # c\n\t(__rego__.plus(1 , a)) > 2\n}",
                ),
                ("p = [x | x := input.b\n(x > 2)]", "p = [x | x := input.b;\n(x > 2)]"),
                (
                    "v[{\"m\":\n m}] { # a\n m := 1\n} {\n m := 2\n} {\n m := 3\n}\nq { true }",
                    "v[{\"m\":\n m}] { # a\n m := 1\n} v[{\"m\":  m}] {\n m := 2\n} v[{\"m\":  m}] {\n m := 3\n}\nq { true }",
                ),
                ("f(x) = y {\n y := x\n} {\n y := x\n}", "f(x) = y {\n y := x\n} f(x) = y {\n y := x\n}"),
                ("p { a + 1 = b }", "p { __arg0 := __rego__.plus(a , 1); __arg0 = b }"),
                ("p = .5", "p = 0.5"),
            ],
        );
    }

    #[test]
    fn negations() {
        check(
            RegoVersion::V1,
            &[
                ("p if { not f(a, input.x[_].y) }", "p if { __arg0 := input.x[_].y; not f(a, __arg0) }"),
                (
                    "p if { not lib.f(g(q.r), \"a.b\", 5) with input as {}\n x }",
                    "p if { __arg0 := g(q.r) with input as {}; not lib.f(__arg0, \"a.b\", 5) with input as {}\n x }",
                ),
                (
                    "p if { not f(1) == 2 with input as g({}) }",
                    "p if { __arg0 := g({}); __arg1 := f(1) with input as __arg0; not __arg1 == 2 with input as __arg0 }",
                ),
                ("q = 1\np if not f(q)\nr := 2", "q = 1\np if { __arg0 := q; not f(__arg0) }\nr := 2"),
                ("p if { not f(input[\n\"a\"]) }", "p if { __arg0 := input[ \"a\"]; not f(__arg0\n) }"),
                ("p if { not input.x > 3 }", "p if { __arg0 := input.x; not __arg0 > 3 }"),
                ("p if { not f(input.x) == 1 }", "p if { __arg0 := f(input.x); not __arg0 == 1 }"),
                ("p if { not input.x == [input.y] }", "p if { __arg0 := input.y; not input.x == [__arg0] }"),
                ("p if { not input.x[input.y] }", "p if { __arg0 := input.y; not input.x[__arg0] }"),
                (
                    "p if { not input.x in (data.y) }",
                    "p if { __arg0 := input.x; __arg1 := data.y; not __arg0 in (__arg1) }",
                ),
            ],
        );
    }

    #[test]
    fn templates() {
        check(
            RegoVersion::V1,
            &[
                ("p := $\"\"", "p := __rego__.template_string([\"\"])"),
                (
                    "p := $\"a{ input.x }\\{{1}b\"",
                    "p := __rego__.template_string([\"a\",{__arg0 | __arg0 :=  input.x },\"{\",1,\"b\"])",
                ),
                (
                    "p := $`a\n{$\"{x}\"}`",
                    "p := __rego__.template_string([\"a\\n\",\n{__arg0 | __arg0 := __rego__.template_string([{__arg1 | __arg1 := x}])}])",
                ),
            ],
        );
    }

    #[test]
    fn imports_are_written_out() {
        check(
            RegoVersion::V1,
            &[
                (
                    "import data.x.b\nimport input.y as c\np if b.q(c.z, b) == c",
                    "import data.x.b\nimport input.y as c\np if data.x.b.q(input.y.z, data.x.b) == input.y",
                ),
                (
                    "import data[\"x-y\"].b\np if not b.f(input.b) with b.q as 1",
                    "import data[\"x-y\"].b\np if { __arg0 := input.b with data[\"x-y\"].b.q as 1; not data[\"x-y\"].b.f(__arg0) with data[\"x-y\"].b.q as 1 }",
                ),
                // A name of the rule's own.
                (
                    "import data.x.b\np if { b := 1; b == 1 }\nf(b) := b.c",
                    "import data.x.b\np if { b := 1; b == 1 }\nf(b) := b.c",
                ),
                (
                    "import data.x.b\np := [b | some b in input.b]",
                    "import data.x.b\np := [__arg0 | some __arg0 in input.b]",
                ),
                (
                    "import data.x.b\np := {\"b\": input.b, \"c\": $\"{b.d}\"}",
                    "import data.x.b\np := {\"b\": input.b, \"c\": __rego__.template_string([{__arg0 | __arg0 := data.x.b.d}])}",
                ),
            ],
        );
    }

    #[test]
    fn what_is_read_alike_is_left_alone() {
        for text in [
            "p if {\n\tx := f(\n\t\t(1))\n}",
            "p if {\n\tx := [a,\n\t(1)]\n}",
            "r if { true } else := 5 if { false }",
            "p if { not f(x, \"input.y\", `a.b`, _, true) }",
            "p if { not input.x.y }\nq if { x.not(input.y) }",
            "p if { not input.x == 3 }\nq if { not input.x = input.y }",
            "# not f(input.x) { } { }\np if {\n\tnot x\n}",
        ] {
            assert_eq!(rewritten(&format!("package a\n{text}"), RegoVersion::V1), [format!("package a\n{text}")]);
        }
    }

    #[test]
    fn places_lead_back() {
        let text = "package a\np if {\n\tx := $\"{input.y}\"; not f(input.z); bad(1)\n}";
        let places = rewrite(text, RegoVersion::V1, &Surroundings::default()).expect("Rego").remove(0);
        let at = |part: &str| places.of_offset(places.text().find(part).expect("it is there"));
        let original = |part: &str| edits::line_and_column(text, text.find(part).expect("it is there"));
        for part in ["x :=", "input.y", "input.z", "f(", "bad(1)"] {
            assert_eq!(at(part), original(part), "{part}");
        }
    }

    #[test]
    fn what_was_written_is_shown() {
        let text = "package a\nimport data.x.b\np if {\n\tb.c == 1 # why\n\tinput.c == b\n}";
        let places = rewrite(text, RegoVersion::V1, &Surroundings::default()).expect("Rego").remove(0);
        for (changed, written) in [
            ("data.x.b.c == 1 # why", "b.c == 1 # why"),
            ("input.c == data.x.b", "input.c == b"),
            ("input.c", "input.c"),
        ] {
            let at = places.text().rfind(changed).expect("it is there");
            assert_eq!(places.written(at..at + changed.len()), written);
        }
    }
}
