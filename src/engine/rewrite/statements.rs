//! The way through modules, rules and bodies, and what is changed on it that takes no more than a word.

use crate::engine::builtins;
use crate::engine::rego::{Body, Flaw, Kind, Literal, LiteralKind, Module, Part, Rule, Term, Value, With};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::edits::{Edit, Put, Unflat};
use crate::engine::rewrite::keywords;

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
            self.edits.push(Edit { span: to..to, put: vec![text] });
            let breaks = self.breaks(&import.span);
            self.replace(import.span.clone(), breaks);
        }
    }

    fn rule(&mut self, rule: &Rule<'_>) -> Result<(), Flaw> {
        self.declared = keywords::declared(rule);
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
                self.edits.push(Edit { span: body.span.start..body.span.start, put });
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

    fn value(&mut self, value: Option<&Value<'_>>) -> Result<(), Flaw> {
        value.map_or(Ok(()), |v| self.term(&v.term))
    }

    fn rule_body(&mut self, body: &Body<'_>, braced: bool) -> Result<(), Flaw> {
        let before = self.edits.len();
        self.body(body)?;
        // `p if not f(x.y)` has room for one expression only.
        if let (false, [literal]) = (braced, body.as_slice()) {
            let grows = |e: &Edit| e.span == (literal.span.start..literal.span.start);
            if self.edits.iter().skip(before).any(grows) {
                self.edits.insert(before, Edit::insert(literal.span.start, "{ "));
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
        if literal.negated {
            self.negation(literal);
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
                let replaced = self.metadata(term, operator, operands)? || self.mocked(operator);
                let operator = (!replaced).then_some(&**operator);
                return operator.into_iter().chain(operands).try_for_each(|t| self.term(t));
            }
            Kind::Ref(head, steps) => self.keyword(head, steps),
            _ => {}
        }
        term.children().into_iter().try_for_each(|t| self.term(t))
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

/// What of a text cannot stand on one line as it is.
pub(super) fn unflat(text: &str, module: &Module<'_>) -> Unflat {
    let comments = module.comments.iter().map(|c| c.start..c.start + 1 + c.text.len());
    let mut unflat = Unflat { comments: comments.collect(), strings: Vec::new() };
    let mut note = |term: &Term<'_>| {
        if let Kind::Text(value) = &term.kind
            && text.get(term.span.clone()).is_some_and(|t| t.contains('\n'))
        {
            unflat.strings.push((term.span.clone(), serde_json::Value::from(value.as_str()).to_string()));
        }
    };
    module.rules.iter().for_each(|rule| each_term(rule, &mut note));
    unflat
}

/// Every term of a rule.
pub(super) fn each_term<'m, 't>(rule: &'m Rule<'t>, note: &mut impl FnMut(&'m Term<'t>)) {
    each(rule, &mut |node| {
        if let Node::Term(term) = node {
            note(term);
        }
    });
}

/// Every `with` of a rule.
pub(super) fn each_with<'m, 't>(rule: &'m Rule<'t>, note: &mut impl FnMut(&'m With<'t>)) {
    each(rule, &mut |node| {
        if let Node::With(with) = node {
            note(with);
        }
    });
}

enum Node<'m, 't> {
    Term(&'m Term<'t>),
    With(&'m With<'t>),
}

type Note<'n, 'm, 't> = &'n mut dyn FnMut(Node<'m, 't>);

fn each<'m, 't>(rule: &'m Rule<'t>, note: Note<'_, 'm, 't>) {
    let values = rule.elses.iter().map(|e| &e.value).chain([&rule.value]).flatten().map(|v| &v.term);
    let head = rule.arguments.iter().flatten().chain(&rule.key).chain([&rule.name]);
    head.chain(values).for_each(|t| in_term(t, note));
    let bodies = rule.elses.iter().filter_map(|e| e.body.as_ref()).chain(&rule.bodies);
    bodies.for_each(|b| in_body(&b.body, note));
}

fn in_body<'m, 't>(body: &'m Body<'t>, note: Note<'_, 'm, 't>) {
    body.iter().for_each(|l| in_literal(l, note));
}

fn in_literal<'m, 't>(literal: &'m Literal<'t>, note: Note<'_, 'm, 't>) {
    match &literal.kind {
        LiteralKind::Term(term) => in_term(term, note),
        LiteralKind::Assign(left, right) | LiteralKind::Unify(left, right) => {
            in_term(left, note);
            in_term(right, note);
        }
        LiteralKind::Some(names) => names.iter().for_each(|t| in_term(t, note)),
        LiteralKind::SomeIn { key, value, collection } => {
            key.iter().chain([value, collection]).for_each(|t| in_term(t, note));
        }
        LiteralKind::Every { key, value, collection, body } => {
            key.iter().chain([value, collection]).for_each(|t| in_term(t, note));
            in_body(body, note);
        }
    }
    for with in &literal.with {
        note(Node::With(with));
        in_term(&with.target, note);
        in_term(&with.value, note);
    }
}

fn in_term<'m, 't>(term: &'m Term<'t>, note: Note<'_, 'm, 't>) {
    note(Node::Term(term));
    match &term.kind {
        Kind::ArrayOf(_, body) | Kind::SetOf(_, body) | Kind::ObjectOf(_, body) => in_body(body, note),
        Kind::Template(parts) => {
            for part in parts {
                if let Part::Expression(literal) = part {
                    in_literal(literal, note);
                }
            }
        }
        _ => {}
    }
    term.children().into_iter().for_each(|t| in_term(t, note));
}
