//! `with` on builtins, and builtins as what `with` puts in place of a function.
//!
//! The engine replaces only what it knows as a function: its own builtins and functions of policies. So a builtin that
//! some module replaces, or puts in place of another, and that needs it, is called through a function: `io.jwt.decode`
//! is `data.__builtins__.f_io__jwt__decode`, in all modules, and [`wrappers`] is the module that holds it.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::builtins;
use crate::engine::rego::{Flaw, Module, Term, With};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::visit::each_with;

/// The package of the functions that stand for builtins.
pub(crate) const MOCKS: &str = "__builtins__";

/// Names of builtins that are called through a function.
#[derive(Debug, Default)]
pub(crate) struct Mocks(BTreeSet<String>);

impl Mocks {
    /// Notes what a module replaces.
    pub(crate) fn note(&mut self, module: &Module<'_>) {
        let mut note = |with: &With<'_>| {
            if let Some(name) = with.target.path().map(|p| p.join(".")).filter(|n| is_ours(n)) {
                self.0.insert(name);
            }
        };
        module.rules.iter().for_each(|rule| each_with(rule, &mut note));
    }
}

/// Whether the engine does not know the builtin by itself.
fn is_ours(name: &str) -> bool {
    builtins::unknown_to_engine().any(|b| b.name == name)
}

fn arity(name: &str) -> Option<u8> {
    builtins::arity(name).or_else(|| regorus::unstable::BUILTINS.get(name).map(|(_, arity)| *arity))
}

/// The function that stands for a builtin. Its name is not the builtin's, which it would hide.
fn function(name: &str) -> String {
    format!("data.{MOCKS}.f_{}", name.replace('.', "__"))
}

/// The module of the functions that texts call for builtins.
pub(crate) fn wrappers(texts: &[&str]) -> Option<String> {
    let prefix = format!("data.{MOCKS}.f_");
    let names: BTreeSet<String> = texts
        .iter()
        .flat_map(|text| text.split(&prefix).skip(1))
        .map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or(rest))
        .map(str::to_owned)
        .collect();
    let mut text = format!("package {MOCKS}\n");
    let known: BTreeMap<String, &str> = builtins::names()
        .chain(regorus::unstable::BUILTINS.keys().map(|n| -> &str { n }))
        .map(|n| (n.replace('.', "__"), n))
        .collect();
    for name in &names {
        let Some(builtin) = known.get(name) else { continue };
        let operands: Vec<String> = (0..arity(builtin).unwrap_or(0)).map(|n| format!("x{n}")).collect();
        let operands = operands.join(", ");
        text.push_str(&format!("f_{name}({operands}) := {builtin}({operands})\n"));
    }
    (!names.is_empty()).then_some(text)
}

impl Rewriter<'_> {
    /// Calls a builtin through its function, if some module replaces it.
    pub(super) fn mocked(&mut self, operator: &Term<'_>) -> bool {
        let Some(name) = operator.path().map(|p| p.join(".")).filter(|n| self.known.mocks.0.contains(n)) else {
            return false;
        };
        if self.hides(operator) {
            return false;
        }
        self.replace(operator.span.clone(), function(&name));
        true
    }

    fn hides(&self, name: &Term<'_>) -> bool {
        name.root().is_some_and(|root| self.globals.contains(root) || self.declared.contains(root))
    }

    pub(super) fn with(&mut self, with: &With<'_>) -> Result<(), Flaw> {
        if !self.mocked(&with.target) {
            self.term(&with.target)?;
        }
        let document = with.target.root() == Some("input");
        let builtin = with.value.path().map(|p| p.join(".")).filter(|n| arity(n).is_some());
        match builtin {
            // The engine evaluates a function without operands where it is named.
            Some(name) if !document && arity(&name) == Some(0) => {
                self.replace(with.value.span.clone(), format!("{name}()"));
                Ok(())
            }
            Some(name) if !document && !self.hides(&with.value) => {
                self.replace(with.value.span.clone(), function(&name));
                Ok(())
            }
            _ => self.term(&with.value),
        }
    }
}
