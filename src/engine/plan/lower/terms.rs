//! Expressions. What iterates in one is put before it as statements of its body.

use regorus::Value;
use regorus::unstable::{Expr as Syntax, Query, Ref, Span};

use super::super::Obstacle;
use super::super::code::{
    BuiltinCall, Comprehension, Each, Expr, Member, Operation, Otherwise, Pattern, Statement, Step,
};
use super::names::{Function, Target};
use super::{Definer, constant_value, declares, obstacle};

/// A reference, taken apart: what it starts from and its steps.
struct Chain<'s> {
    root: &'s Ref<Syntax>,
    steps: Vec<ChainStep<'s>>,
}

enum ChainStep<'s> {
    Field(String),
    Index(&'s Ref<Syntax>),
}

fn chain(expr: &Ref<Syntax>) -> Chain<'_> {
    match expr.as_ref() {
        Syntax::RefDot { refr, field, .. } => {
            let mut chain = chain(refr);
            chain.steps.push(ChainStep::Field(field.0.text().to_owned()));
            chain
        }
        Syntax::RefBrack { refr, index, .. } => {
            let mut chain = chain(refr);
            let text = match index.as_ref() {
                Syntax::String { value, .. } | Syntax::RawString { value, .. } => value.as_string().ok(),
                _ => None,
            };
            chain.steps.push(match text {
                Some(text) => ChainStep::Field(text.as_ref().to_owned()),
                None => ChainStep::Index(index),
            });
            chain
        }
        _ => Chain { root: expr, steps: Vec::new() },
    }
}

impl Definer<'_, '_> {
    /// Lowers an expression; `before` gets what has to run ahead of it.
    pub(super) fn term(&mut self, expr: &Ref<Syntax>, before: &mut Vec<Statement>) -> Result<Expr, Obstacle> {
        if let Some(value) = constant_value(expr) {
            return Ok(Expr::Constant(self.lowering.constant(&value)));
        }
        Ok(match expr.as_ref() {
            Syntax::Var { .. } | Syntax::RefDot { .. } | Syntax::RefBrack { .. } => {
                return self.reference(expr, before);
            }
            Syntax::Array { items, .. } => Expr::Array(self.terms(items, before)?),
            Syntax::Set { items, .. } => Expr::Set(self.terms(items, before)?),
            Syntax::Object { fields, .. } => {
                let mut pairs = Vec::new();
                for (_, key, value) in fields {
                    pairs.push((self.term(key, before)?, self.term(value, before)?));
                }
                Expr::Object(pairs)
            }
            Syntax::BoolExpr { op, lhs, rhs, .. } => {
                Expr::Compare(op.clone(), Box::new((self.term(lhs, before)?, self.term(rhs, before)?)))
            }
            Syntax::ArithExpr { span, op, lhs, rhs, .. } => {
                Expr::Arithmetic(Box::new(self.operation(op.clone(), span, lhs, rhs, before)?))
            }
            Syntax::BinExpr { span, op, lhs, rhs, .. } => {
                Expr::Sets(Box::new(self.operation(op.clone(), span, lhs, rhs, before)?))
            }
            Syntax::Membership { key, value, collection, .. } => {
                let value = self.term(value, before)?;
                let collection = self.term(collection, before)?;
                let key = key.as_ref().map(|key| self.term(key, before)).transpose()?;
                Expr::Member(Box::new(Member { key, value, collection }))
            }
            Syntax::Call { span, fcn, params, .. } => self.call(fcn, params, span, before)?,
            Syntax::ArrayCompr { term, query, .. } => Expr::ArrayOf(self.comprehension(None, term, query)?),
            Syntax::SetCompr { term, query, .. } => Expr::SetOf(self.comprehension(None, term, query)?),
            Syntax::ObjectCompr { key, value, query, .. } => {
                Expr::ObjectOf(self.comprehension(Some(key), value, query)?)
            }
            Syntax::UnaryExpr { span, expr, .. } => {
                let number = match expr.as_ref() {
                    Syntax::Number { value, span, .. } if !span.text().starts_with('-') => value,
                    _ => return Err(obstacle("a minus before what is no number", span)),
                };
                let negated = regorus::unstable::numbers::arithmetic_operation(
                    span,
                    &regorus::unstable::ArithOp::Sub,
                    expr,
                    expr,
                    Value::from(0),
                    number.clone(),
                    true,
                );
                match negated {
                    Ok(value) => Expr::Constant(self.lowering.constant(&value)),
                    Err(_) => return Err(obstacle("a number that cannot be negated", span)),
                }
            }
            Syntax::AssignExpr { span, op, .. } => {
                let sign = if declares(op) { "`:=`" } else { "`=`" };
                return Err(obstacle(&format!("{sign} inside an expression"), span));
            }
            // Constants are above.
            other => return Err(obstacle("an expression of an unknown kind", other.span())),
        })
    }

    pub(super) fn terms(&mut self, items: &[Ref<Syntax>], before: &mut Vec<Statement>) -> Result<Vec<Expr>, Obstacle> {
        items.iter().map(|item| self.term(item, before)).collect()
    }

    fn operation<O>(
        &mut self,
        op: O,
        span: &Span,
        lhs: &Ref<Syntax>,
        rhs: &Ref<Syntax>,
        before: &mut Vec<Statement>,
    ) -> Result<Operation<O>, Obstacle> {
        let operands = (self.term(lhs, before)?, self.term(rhs, before)?);
        Ok(Operation { op, span: span.clone(), syntax: (lhs.clone(), rhs.clone()), operands })
    }

    pub(super) fn call(
        &mut self,
        callee: &Ref<Syntax>,
        params: &[Ref<Syntax>],
        span: &Span,
        before: &mut Vec<Statement>,
    ) -> Result<Expr, Obstacle> {
        let function = self.function(callee)?;
        let arity = match &function {
            Function::Rule(_, arity) | Function::Builtin(_, arity, _) => *arity,
        };
        if params.len() != arity {
            return Err(obstacle("a call with an operand too many or too few", span));
        }
        let operands = self.terms(params, before)?;
        Ok(match function {
            Function::Rule(id, _) => Expr::Call(id, operands),
            Function::Builtin(callee, _, glance) => {
                let syntax = params.to_vec();
                Expr::Builtin(Box::new(BuiltinCall { callee, glance, span: span.clone(), syntax, operands }))
            }
        })
    }

    fn comprehension(
        &mut self,
        key: Option<&Ref<Syntax>>,
        value: &Ref<Syntax>,
        query: &Query,
    ) -> Result<Box<Comprehension>, Obstacle> {
        self.open();
        let mut body = Vec::new();
        let outside = std::mem::replace(&mut self.otherwise, Otherwise::Nothing);
        self.query(query, &mut body)?;
        self.otherwise = Otherwise::DoubtAlways;
        let key = key.map(|key| self.term(key, &mut body)).transpose()?;
        let value = self.term(value, &mut body)?;
        self.otherwise = outside;
        self.close();
        Ok(Box::new(Comprehension { body, key, value }))
    }

    fn reference(&mut self, expr: &Ref<Syntax>, before: &mut Vec<Statement>) -> Result<Expr, Obstacle> {
        let Chain { root, steps } = chain(expr);
        let below_data = self.begins_with_data(root);
        let (root, taken) = self.root(root, &steps, before)?;
        let mut at = root;
        let mut path: Vec<Step> = taken.below;
        for step in steps.iter().skip(taken.steps) {
            match step {
                ChainStep::Field(name) => {
                    path.push(Step::Constant(self.lowering.constant(&Value::from(name.as_str()))));
                }
                ChainStep::Index(index) if self.is_free(index) => {
                    let over = place(at, std::mem::take(&mut path));
                    let value = self.new_slot();
                    let key = self.pattern(index, before)?;
                    let otherwise = self.otherwise;
                    before.push(Statement::Each(Box::new(Each { over, key, value: Pattern::Slot(value), otherwise })));
                    at = Expr::Slot(value);
                }
                ChainStep::Index(index) => path.push(match constant_value(index) {
                    Some(value) if !below_data || !matches!(value, Value::Number(_)) => {
                        Step::Constant(self.lowering.constant(&value))
                    }
                    _ if below_data => Step::BelowData(self.term(index, before)?),
                    _ => Step::Value(self.term(index, before)?),
                }),
            }
        }
        Ok(place(at, path))
    }

    /// Whether a reference begins with `data` or an import of something in it.
    fn begins_with_data(&self, root: &Ref<Syntax>) -> bool {
        let Syntax::Var { span, .. } = root.as_ref() else { return false };
        let name = span.text();
        let import = self.aliases.get(name).is_some_and(|(target, _)| target == "data");
        self.variable(name).is_none() && (name == "data" || import)
    }

    /// What a reference starts from, and how much of it that takes.
    fn root(
        &mut self,
        root: &Ref<Syntax>,
        steps: &[ChainStep<'_>],
        before: &mut Vec<Statement>,
    ) -> Result<(Expr, Taken), Obstacle> {
        let Syntax::Var { span, .. } = root.as_ref() else { return Ok((self.term(root, before)?, Taken::default())) };
        let name = span.text();
        if let Some(variable) = self.variable(name) {
            return match variable.bound {
                true => Ok((Expr::Slot(variable.slot), Taken::default())),
                false => Err(obstacle(&format!("variable `{name}` before it has a value"), span)),
            };
        }
        let known = name == "input" || name == "data" || self.aliases.contains_key(name) || self.names_rule(name);
        if known {
            self.outside.insert(name.to_owned());
        }
        if name == "input" {
            return Ok((Expr::Input, Taken::default()));
        }
        if name == "data" {
            return self.data(&[], steps, span);
        }
        if let Some(rule) = self.own_rule(name, span)? {
            return Ok((Expr::Rule(rule), Taken::default()));
        }
        match self.aliases.get(name).cloned() {
            Some((target, path)) if target == "data" => self.data(&path, steps, span),
            Some((_, path)) => {
                let below =
                    path.iter().map(|s| Step::Constant(self.lowering.constant(&Value::from(s.as_str())))).collect();
                Ok((Expr::Input, Taken { below, steps: 0 }))
            }
            None => Err(obstacle(&format!("variable `{name}` before it has a value"), span)),
        }
    }

    /// `data` with the path of an import, if it comes from one.
    fn data(&mut self, import: &[String], steps: &[ChainStep<'_>], at: &Span) -> Result<(Expr, Taken), Obstacle> {
        let names = steps.iter().map_while(|s| match s {
            ChainStep::Field(name) => Some(name.clone()),
            ChainStep::Index(_) => None,
        });
        let path: Vec<String> = import.iter().cloned().chain(names).collect();
        let whole = path.len() == import.len() + steps.len();
        match self.below_data(&path, whole, at)? {
            Target::Rule(id, used) if used >= import.len() => {
                Ok((Expr::Rule(id), Taken { below: Vec::new(), steps: used - import.len() }))
            }
            Target::Rule(id, used) => {
                let below = import.iter().skip(used);
                let below = below.map(|s| Step::Constant(self.lowering.constant(&Value::from(s.as_str())))).collect();
                Ok((Expr::Rule(id), Taken { below, steps: 0 }))
            }
            Target::Base => {
                let below =
                    import.iter().map(|s| Step::Constant(self.lowering.constant(&Value::from(s.as_str())))).collect();
                Ok((Expr::Data, Taken { below, steps: 0 }))
            }
        }
    }
}

/// How much of a reference its root has used up, and what goes between the two.
#[derive(Default)]
struct Taken {
    below: Vec<Step>,
    steps: usize,
}

fn place(root: Expr, path: Vec<Step>) -> Expr {
    if path.is_empty() { root } else { Expr::Ref(Box::new(root), path) }
}
