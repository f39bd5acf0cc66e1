//! Bodies: statements, the variables they bring, and patterns.

use std::collections::BTreeSet;

use regorus::unstable::{BoolOp, Expr as Syntax, Literal, LiteralStmt, Query, Ref, Span};

use super::super::Obstacle;
use super::super::code::{Each, Every, Expr, Otherwise, Pattern, Slot, Statement};
use super::names::Function;
use super::{Definer, Scope, Variable, constant_value, declares, obstacle};

/// Statements that are looked at for one definition, again and again where they wait for one another.
const MOST_ATTEMPTS: usize = 20_000;

/// What was known before a statement was looked at.
struct Mark {
    scopes: Vec<Scope>,
    undeclared: usize,
    outside: BTreeSet<String>,
}

impl Definer<'_, '_> {
    pub(super) fn open(&mut self) {
        self.scopes.push(Scope { id: self.next_scope, variables: Default::default() });
        self.next_scope += 1;
    }

    pub(super) fn close(&mut self) {
        self.scopes.pop();
    }

    pub(super) fn new_slot(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    pub(super) fn variable(&self, name: &str) -> Option<Variable> {
        self.scopes.iter().rev().find_map(|s| s.variables.get(name)).copied()
    }

    fn path(&self) -> Vec<usize> {
        self.scopes.iter().map(|s| s.id).collect()
    }

    /// Brings a variable into the body at hand.
    fn bring(&mut self, name: &str, bound: bool, at: &Span) -> Result<Slot, Obstacle> {
        if self.variable(name).is_some() {
            return Err(obstacle(&format!("variable `{name}`, which hides another one"), at));
        }
        if self.outside.contains(name) {
            return Err(obstacle(&format!("variable `{name}`, which is something else before"), at));
        }
        let path = self.path();
        if self.undeclared.iter().any(|(n, inner)| n == name && inner.len() > path.len() && inner.starts_with(&path)) {
            return Err(obstacle(&format!("variable `{name}`, which an inner body uses before"), at));
        }
        let slot = self.new_slot();
        if let Some(scope) = self.scopes.last_mut() {
            scope.variables.insert(name.to_owned(), Variable { slot, bound });
        }
        Ok(slot)
    }

    pub(super) fn parameter(&mut self, pattern: &Ref<Syntax>) -> Result<Pattern, Obstacle> {
        self.declared(pattern)
    }

    /// A pattern whose variables are all new: of `:=`, `some .. in` and parameters.
    fn declared(&mut self, pattern: &Ref<Syntax>) -> Result<Pattern, Obstacle> {
        match pattern.as_ref() {
            Syntax::Var { span, .. } if span.text() == "_" => Ok(Pattern::Ignore),
            Syntax::Var { span, .. } => match self.own(span.text()) {
                Some(variable) if !variable.bound => self.fill(span.text(), span),
                _ => Ok(Pattern::Slot(self.bring(span.text(), true, span)?)),
            },
            Syntax::Array { items, .. } => {
                items.iter().map(|i| self.declared(i)).collect::<Result<_, _>>().map(Pattern::Array)
            }
            Syntax::Object { fields, .. } if constant_value(pattern).is_none() => self.fields(fields, Self::declared),
            other => match constant_value(pattern) {
                Some(value) => Ok(Pattern::Equal(Expr::Constant(self.lowering.constant(&value)))),
                None => Err(obstacle("a pattern that is no variable, array or constant", other.span())),
            },
        }
    }

    /// The variable of the body at hand.
    fn own(&self, name: &str) -> Option<Variable> {
        self.scopes.last().and_then(|s| s.variables.get(name)).copied()
    }

    /// Gives a variable that has none its value here.
    fn fill(&mut self, name: &str, at: &Span) -> Result<Pattern, Obstacle> {
        match self.scopes.last_mut().and_then(|s| s.variables.get_mut(name)) {
            Some(variable) => {
                variable.bound = true;
                Ok(Pattern::Slot(variable.slot))
            }
            None => Err(obstacle(&format!("variable `{name}`, which an inner body gives its value"), at)),
        }
    }

    /// Whether an expression holds a variable that has no value yet, where it would get one.
    pub(super) fn is_free(&self, expr: &Ref<Syntax>) -> bool {
        match expr.as_ref() {
            Syntax::Var { span, .. } => {
                let name = span.text();
                let known = ["input", "data"].contains(&name) || self.aliases.contains_key(name);
                match self.variable(name) {
                    Some(variable) => !variable.bound,
                    None => !known && !self.names_rule(name),
                }
            }
            Syntax::Array { items, .. } | Syntax::Set { items, .. } => items.iter().any(|i| self.is_free(i)),
            Syntax::Object { fields, .. } => fields.iter().any(|(_, k, v)| self.is_free(k) || self.is_free(v)),
            _ => false,
        }
    }

    pub(super) fn names_rule(&self, name: &str) -> bool {
        !self.lowering.library.definitions(&(self.package.to_vec(), name.to_owned())).is_empty()
    }

    /// A pattern that fills the variables that have no value and compares the rest.
    pub(super) fn pattern(&mut self, expr: &Ref<Syntax>, before: &mut Vec<Statement>) -> Result<Pattern, Obstacle> {
        if !self.is_free(expr) {
            return Ok(Pattern::Equal(self.term(expr, before)?));
        }
        match expr.as_ref() {
            Syntax::Var { span, .. } if span.text() == "_" => Ok(Pattern::Ignore),
            Syntax::Var { span, .. } => match self.variable(span.text()) {
                Some(_) => self.fill(span.text(), span),
                None => {
                    let name = span.text();
                    let slot = self.bring(name, true, span)?;
                    self.undeclared.push((name.to_owned(), self.path()));
                    Ok(Pattern::Slot(slot))
                }
            },
            Syntax::Array { items, .. } => {
                let items = items.iter().map(|i| self.pattern(i, before)).collect::<Result<_, _>>()?;
                Ok(Pattern::Array(items))
            }
            Syntax::Object { fields, .. } => self.fields(fields, |definer, field| definer.pattern(field, before)),
            other => Err(obstacle("variables without a value inside a set", other.span())),
        }
    }

    /// The pattern of an object whose keys are written out.
    fn fields(
        &mut self,
        fields: &[(Span, Ref<Syntax>, Ref<Syntax>)],
        mut of: impl FnMut(&mut Self, &Ref<Syntax>) -> Result<Pattern, Obstacle>,
    ) -> Result<Pattern, Obstacle> {
        let mut patterns = Vec::new();
        for (_, key, value) in fields {
            let constant = constant_value(key);
            let constant = constant.ok_or_else(|| obstacle("a pattern whose keys are computed", key.span()))?;
            let key = self.lowering.constant(&constant);
            patterns.push((key, of(self, value)?));
        }
        Ok(Pattern::Object(patterns))
    }

    /// Lowers the statements of a body in their order; one that needs a variable which a later one gives its value has
    /// to wait for that.
    pub(super) fn query(&mut self, query: &Query, into: &mut Vec<Statement>) -> Result<(), Obstacle> {
        let mut waiting: Vec<&LiteralStmt> = query.stmts.iter().collect();
        while !waiting.is_empty() {
            let mut first = None;
            let mut lowered = None;
            for (place, statement) in waiting.iter().enumerate() {
                self.attempts += 1;
                if self.attempts > MOST_ATTEMPTS {
                    return Err(obstacle("bodies in an order that takes too long to find", &query.span));
                }
                let (before, length) = (self.mark(), into.len());
                match self.statement(statement, into) {
                    Ok(()) => {
                        lowered = Some(place);
                        break;
                    }
                    Err(found) => {
                        into.truncate(length);
                        self.back_to(before);
                        first.get_or_insert(found);
                    }
                }
            }
            match (lowered, first) {
                (Some(place), _) => drop(waiting.remove(place)),
                (None, Some(found)) => return Err(found),
                (None, None) => break,
            }
        }
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark { scopes: self.scopes.clone(), undeclared: self.undeclared.len(), outside: self.outside.clone() }
    }

    /// Forgets the variables that came since. Slots, constants and needs that are not used do no harm.
    fn back_to(&mut self, mark: Mark) {
        self.scopes = mark.scopes;
        self.undeclared.truncate(mark.undeclared);
        self.outside = mark.outside;
    }

    fn statement(&mut self, statement: &LiteralStmt, into: &mut Vec<Statement>) -> Result<(), Obstacle> {
        if let Some(modifier) = statement.with_mods.first() {
            return Err(obstacle("`with`", &modifier.span));
        }
        match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                for var in vars {
                    self.bring(var.text(), false, var)?;
                }
            }
            Literal::SomeIn { key, value, collection, .. } => {
                let over = self.term(collection, into)?;
                let key = key.as_ref().map(|key| self.declared(key)).transpose()?.unwrap_or(Pattern::Ignore);
                let value = self.declared(value)?;
                into.push(Statement::Each(Box::new(Each { over, key, value, otherwise: Otherwise::Doubt })));
            }
            Literal::Expr { expr, .. } => self.expression(expr, into)?,
            Literal::NotExpr { expr, .. } => {
                self.open();
                let mut body = Vec::new();
                self.expression(expr, &mut body)?;
                self.close();
                if body.iter().any(|s| matches!(s, Statement::Each(_))) {
                    return Err(obstacle("a negation that iterates", expr.span()));
                }
                into.push(Statement::Not(body));
            }
            Literal::Every { key, value, domain, query, .. } => {
                let over = self.term(domain, into)?;
                self.open();
                let key = match key {
                    Some(key) if key.text() != "_" => Some(self.bring(key.text(), true, key)?),
                    _ => None,
                };
                let value = match value.text() {
                    "_" => self.new_slot(),
                    name => self.bring(name, true, value)?,
                };
                let mut body = Vec::new();
                self.open();
                self.query(query, &mut body)?;
                self.close();
                self.close();
                into.push(Statement::Every(Box::new(Every { over, key, value, body })));
            }
        }
        Ok(())
    }

    fn expression(&mut self, expr: &Ref<Syntax>, into: &mut Vec<Statement>) -> Result<(), Obstacle> {
        match expr.as_ref() {
            Syntax::AssignExpr { op, lhs, rhs, .. } if declares(op) => {
                let value = self.term(rhs, into)?;
                let pattern = self.declared(lhs)?;
                into.push(Statement::Bind(pattern, value));
            }
            Syntax::AssignExpr { lhs, rhs, span, .. } => self.unification(lhs, rhs, span, into)?,
            Syntax::Call { fcn, params, span, .. } => {
                let arity = match self.function(fcn)? {
                    Function::Rule(_, arity) | Function::Builtin(_, arity, _) => arity,
                };
                match params.split_last() {
                    // The old way to name a result.
                    Some((output, operands)) if params.len() == arity + 1 && self.is_free(output) => {
                        let value = self.call(fcn, operands, span, into)?;
                        let pattern = self.pattern(output, into)?;
                        into.push(Statement::Bind(pattern, value));
                    }
                    _ => {
                        let value = self.call(fcn, params, span, into)?;
                        into.push(Statement::Test(value));
                    }
                }
            }
            _ => {
                let value = self.term(expr, into)?;
                into.push(Statement::Test(value));
            }
        }
        Ok(())
    }

    fn unification(
        &mut self,
        lhs: &Ref<Syntax>,
        rhs: &Ref<Syntax>,
        span: &Span,
        into: &mut Vec<Statement>,
    ) -> Result<(), Obstacle> {
        let (pattern, value) = match (self.is_free(lhs), self.is_free(rhs)) {
            (true, true) => return Err(obstacle("`=` with variables without a value on both sides", span)),
            (false, false) => {
                let operands = (self.term(lhs, into)?, self.term(rhs, into)?);
                into.push(Statement::Test(Expr::Compare(BoolOp::Eq, Box::new(operands))));
                return Ok(());
            }
            (true, false) => (lhs, rhs),
            (false, true) => (rhs, lhs),
        };
        // In the order of the interpreter: the value, then what it is held against.
        let value = self.term(value, into)?;
        let pattern = self.pattern(pattern, into)?;
        into.push(Statement::Bind(pattern, value));
        Ok(())
    }
}
