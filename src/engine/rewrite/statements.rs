//! The way through modules, rules and bodies, and what is changed on it that takes no more than a word.

use crate::engine::builtins;
use crate::engine::rego::{Body, Flaw, Kind, Literal, LiteralKind, Module, Part, Rule, Term, Value};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::edits::{Edit, Put};
use crate::engine::rewrite::keywords;
use crate::engine::rewrite::operators;

impl Rewriter<'_> {
    pub(super) fn module(&mut self, module: &Module<'_>) -> Result<(), Flaw> {
        self.late_imports(module);
        for (place, rule) in module.rules.iter().enumerate() {
            self.rule = place;
            self.rule(rule)?;
        }
        Ok(())
    }

    /// The engine knows imports only before all rules.
    fn late_imports(&mut self, module: &Module<'_>) {
        let Some(first) = module.rules.first().map(|r| r.span.start) else { return };
        let to = module.imports.iter().map(|i| &i.span).filter(|s| s.start < first).map(|s| s.end).max();
        let to = to.unwrap_or(module.package_span.end);
        for import in module.imports.iter().filter(|i| i.span.start > first) {
            let text = Put::Text(format!(" {}", self.text.get(import.span.clone()).unwrap_or_default()));
            self.edits.push(Edit::of(to..to, vec![text]));
            let breaks = self.breaks(&import.span);
            self.replace(import.span.clone(), breaks);
        }
    }

    fn rule(&mut self, rule: &Rule<'_>) -> Result<(), Flaw> {
        self.declared = keywords::declared(rule);
        self.types = operators::types(rule);
        self.scopes(rule);
        self.imported(rule);
        if rule.is_default {
            self.default(rule);
            return Ok(());
        }
        self.patterns(rule);
        self.head(rule);
        if keywords::root(rule).is_none() {
            self.term(&rule.name)?;
        }
        for term in rule.arguments.iter().flatten().chain(&rule.key) {
            self.term(term)?;
        }
        self.value(rule.value.as_ref())?;
        for (place, body) in rule.bodies.iter().enumerate() {
            if place > 0 {
                let mut put = vec![Put::Copy(rule.head.clone())];
                put.push(Put::Text(if rule.has_if { " if ".to_owned() } else { " ".to_owned() }));
                self.edits.push(Edit::of(body.span.start..body.span.start, put));
            }
            self.rule_body(&body.body, body.braced)?;
        }
        for branch in &rule.elses {
            self.value(branch.value.as_ref())?;
            if let Some(body) = &branch.body {
                self.rule_body(&body.body, body.braced)?;
            }
        }
        Ok(())
    }

    /// The value of a default is a constant: a template string there has no expressions.
    fn default(&mut self, rule: &Rule<'_>) {
        let Some(Value { term, .. }) = &rule.value else { return };
        if let Kind::Template(parts) = &term.kind
            && let [Part::Text(text, _)] = parts.as_slice()
        {
            let breaks = self.breaks(&term.span);
            self.replace(term.span.clone(), format!("{}{breaks}", serde_json::Value::from(text.as_str())));
        }
    }

    /// Arguments that must be evaluated are variables, and what they are stands in the body.
    fn patterns(&mut self, rule: &Rule<'_>) {
        for term in rule.arguments.iter().flatten() {
            if !matches!(term.kind, Kind::Template(_) | Kind::Infix(..) | Kind::Call(..) | Kind::In { .. }) {
                continue;
            }
            let name = self.name();
            for first in rule.bodies.iter().filter_map(|b| b.body.first()) {
                let (name, end) = (Put::Text(format!("{name} = ")), Put::Text("; ".to_owned()));
                let at = first.span.start;
                self.edits.push(Edit::of(at..at, vec![name, Put::Copy(term.span.clone()), end]));
            }
            let breaks = self.breaks(&term.span);
            self.replace(term.span.clone(), name + &breaks);
        }
    }

    fn value(&mut self, value: Option<&Value<'_>>) -> Result<(), Flaw> {
        value.map_or(Ok(()), |v| self.term(&v.term))
    }

    fn rule_body(&mut self, body: &Body<'_>, braced: bool) -> Result<(), Flaw> {
        self.body(body)?;
        // `p if not f(x.y)` has room for one expression only.
        if let (false, [literal]) = (braced, body.as_slice()) {
            let start = literal.span.start;
            let grows = |e: &Edit| e.within.is_none() && e.span == (start..start);
            if let Some(first) = self.edits.iter().position(grows) {
                self.edits.insert(first, Edit::insert(start, "{ "));
                self.insert(literal.span.end, " }");
            }
        }
        Ok(())
    }

    pub(super) fn body(&mut self, body: &Body<'_>) -> Result<(), Flaw> {
        let mut before: Option<&Literal<'_>> = None;
        for literal in body {
            if let Some(before) = before {
                let between = self.text.get(before.span.end..literal.span.start).unwrap_or_default();
                let opens = self.text.get(literal.span.start..).is_some_and(|t| t.starts_with('('));
                let code = between.lines().map(|l| l.split('#').next().unwrap_or(l));
                if opens && !code.into_iter().any(|l| l.contains(';')) {
                    self.insert(before.span.end, ";");
                }
            }
            self.literal(literal)?;
            before = Some(literal);
        }
        Ok(())
    }

    pub(super) fn literal(&mut self, literal: &Literal<'_>) -> Result<(), Flaw> {
        let around = self.expression.replace(literal.span.start);
        let result = self.parts(literal);
        self.expression = around;
        result
    }

    fn parts(&mut self, literal: &Literal<'_>) -> Result<(), Flaw> {
        if literal.negated {
            self.negation(literal);
            self.expression = None;
        }
        match &literal.kind {
            LiteralKind::Term(term) => {
                self.output_operand(term);
                self.term(term)?;
            }
            LiteralKind::Assign(left, right) => {
                self.term(left)?;
                self.term(right)?;
            }
            LiteralKind::Unify(left, right) => {
                if !literal.negated && matches!(left.kind, Kind::Infix(..) | Kind::In { .. }) {
                    self.hoist(literal, &[left]);
                }
                self.term(left)?;
                self.term(right)?;
            }
            LiteralKind::Some(_) => {}
            LiteralKind::SomeIn { key, value, collection } => {
                for term in key.iter().chain([value, collection]) {
                    self.term(term)?;
                }
            }
            LiteralKind::Every { collection, body, .. } => {
                self.term(collection)?;
                self.body(body)?;
            }
        }
        for with in &literal.with {
            self.with(with)?;
        }
        Ok(())
    }

    pub(super) fn term(&mut self, term: &Term<'_>) -> Result<(), Flaw> {
        match &term.kind {
            Kind::ArrayOf(_, body) | Kind::SetOf(_, body) | Kind::ObjectOf(_, body) => self.body(body)?,
            Kind::Template(parts) => self.template(term, parts)?,
            // The engine knows no number that begins with its point.
            Kind::Number(number) if number.trim_start_matches('-').starts_with('.') => {
                self.replace(term.span.clone(), number.replacen('.', "0.", 1));
            }
            Kind::Call(operator, operands) => {
                let walks = matches!((&operator.kind, operands.as_slice()), (Kind::Var("walk"), [_]));
                if let Some(at) = self.expression.filter(|_| walks && !self.globals.contains("walk")) {
                    self.walk(term, operands, at);
                }
                let replaced = self.metadata(term, operator, operands)? || self.mocked(operator);
                let operator = (!replaced).then_some(&**operator);
                return operator.into_iter().chain(operands).try_for_each(|t| self.term(t));
            }
            Kind::Ref(head, steps) => self.keyword(head, steps),
            Kind::Infix(operator, sides) => self.operator(term, *operator, sides),
            Kind::Array(_) | Kind::Object(_) if depth(term) > MAX_CONSTANT => {
                if let Some(json) = constant(term) {
                    let quoted = serde_json::Value::from(json.to_string()).to_string();
                    let breaks = self.breaks(&term.span);
                    self.replace(term.span.clone(), format!("json.unmarshal({quoted}){breaks}"));
                    return Ok(());
                }
            }
            _ => {}
        }
        term.children().into_iter().try_for_each(|t| self.term(t))
    }

    /// `walk` has many values: it is a statement that gives them, one after the other.
    fn walk(&mut self, term: &Term<'_>, operands: &[Term<'_>], at: usize) {
        let [operand] = operands else { return };
        let name = self.name();
        let call = Put::Text("walk(".to_owned());
        let put = vec![call, Put::Copy(operand.outer.clone()), Put::Text(format!(", {name}); "))];
        self.edits.push(Edit::of(at..at, put));
        let breaks = self.breaks(&term.span);
        self.replace(term.span.clone(), name + &breaks);
    }

    /// `rego.metadata.rule()` and `rego.metadata.chain()`.
    fn metadata(&mut self, term: &Term<'_>, operator: &Term<'_>, operands: &[Term<'_>]) -> Result<bool, Flaw> {
        let answer = match operator.path().as_deref() {
            Some(["rego", "metadata", "rule"]) => self.known.annotations.of_rule(self.text, self.rule),
            Some(["rego", "metadata", "chain"]) => self.known.annotations.chain(self.text, self.rule),
            _ => return Ok(false),
        };
        if !operands.is_empty() && operands.len() != 1 {
            return Err(Flaw::new(term.span.start, "`rego.metadata.chain` and `rego.metadata.rule` take no operands"));
        }
        let quoted = serde_json::Value::from(answer.to_string()).to_string();
        // One operand is the old way to name the result.
        let (end, put) = match operands {
            [output] => (output.outer.start, format!("json.unmarshal({quoted}) = ")),
            _ => (term.span.end, format!("json.unmarshal({quoted})")),
        };
        if let [output] = operands {
            self.replace(output.outer.end..term.span.end, " ");
        }
        self.replace(term.span.start..end, put);
        Ok(true)
    }

    /// The statement `f(a, x)` for `f(a) = x`. The engine sees it only where it knows the arity: for functions of
    /// policies and for its own builtins.
    fn output_operand(&mut self, term: &Term<'_>) {
        let Kind::Call(operator, operands) = &term.kind else { return };
        let Some(path) = operator.path() else { return };
        let hidden = path.first().is_some_and(|root| self.globals.contains(*root));
        let name = path.join(".");
        let Some(builtin) = builtins::unknown_to_engine().find(|b| b.name == name && !hidden) else { return };
        let Some((output, inputs)) = operands.split_last() else { return };
        if inputs.len() != usize::from(builtin.arity) {
            return;
        }
        let from = match inputs.last() {
            Some(last) => last.outer.end..output.outer.start,
            None => output.outer.start..output.outer.start,
        };
        let breaks = self.breaks(&from);
        self.replace(from, format!(")={breaks}"));
        let rest = output.outer.end..term.span.end;
        let breaks = self.breaks(&rest);
        self.replace(rest, format!(" {breaks}"));
    }
}

/// Constants that nest deeper are read as JSON: the engine's parser takes time exponential in the depth.
const MAX_CONSTANT: usize = 6;

fn depth(term: &Term<'_>) -> usize {
    match &term.kind {
        Kind::Array(_) | Kind::Object(_) => 1 + term.children().into_iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A constant that JSON can hold.
fn constant(term: &Term<'_>) -> Option<serde_json::Value> {
    Some(match &term.kind {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool(value) => (*value).into(),
        Kind::Number(digits) => serde_json::from_str(digits).ok()?,
        Kind::Text(text) => text.as_str().into(),
        Kind::Array(items) => items.iter().map(constant).collect::<Option<_>>()?,
        Kind::Object(pairs) => {
            let pair = |(key, value): &(Term<'_>, Term<'_>)| match &key.kind {
                Kind::Text(key) => Some((key.clone(), constant(value)?)),
                _ => None,
            };
            serde_json::Value::Object(pairs.iter().map(pair).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
