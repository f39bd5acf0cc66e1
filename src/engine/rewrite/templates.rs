//! Template strings: `$"a {x}"` is `__rego__.template_string(["a ", {v | v := x}])`, as in OPA's own compiler.
//!
//! An expression without a value gives an empty set, which is printed as `<undefined>`.

use crate::engine::rego::{Flaw, Kind, LiteralKind, Part, Term};
use crate::engine::rewrite::Rewriter;

impl Rewriter<'_> {
    pub(super) fn template(&mut self, term: &Term<'_>, parts: &[Part<'_>]) -> Result<(), Flaw> {
        // What the text before an expression leaves to be closed after it.
        let mut close = "";
        for (place, part) in parts.iter().enumerate() {
            let Part::Text(text, span) = part else { continue };
            let mut put = String::new();
            if place == 0 {
                put.push_str("__rego__.template_string([");
            } else {
                put.push_str(close);
            }
            if !text.is_empty() || parts.len() == 1 {
                let comma = if place > 0 { "," } else { "" };
                put.push_str(comma);
                put.push_str(&serde_json::Value::from(text.as_str()).to_string());
            }
            match parts.get(place + 1) {
                Some(Part::Expression(literal)) => {
                    if place > 0 || !text.is_empty() {
                        put.push(',');
                    }
                    put.push_str(&self.breaks(span));
                    close = if is_scalar(&literal.kind) {
                        ""
                    } else {
                        let name = self.name();
                        put.push_str(&format!("{{{name} | {name} := "));
                        "}"
                    };
                    self.literal(literal)?;
                }
                _ => {
                    put.push_str("])");
                    put.push_str(&self.breaks(span));
                }
            }
            self.replace(span.clone(), put);
        }
        debug_assert!(!parts.is_empty(), "{term:?}");
        Ok(())
    }
}

fn is_scalar(kind: &LiteralKind<'_>) -> bool {
    let LiteralKind::Term(term) = kind else { return false };
    matches!(term.kind, Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_))
}
