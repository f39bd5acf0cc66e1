//! The value of an expression; `Undefined` without one.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{BinOp, BoolOp, comparison, numbers, sets};
use regorus::{LimitError, Value};

use super::super::code::{BuiltinCall, Callee, Comprehension, Expr, Member, Step};
use super::{Frame, Halt, Run, STEPS_OF_BUILTIN, looked_through_if};
use crate::engine::{builtins, veil};

impl<'p> Run<'p> {
    pub(super) fn term(&mut self, expr: &'p Expr, frame: &mut Frame) -> Result<Value, Halt> {
        Ok(match expr {
            Expr::Constant(id) => self.constant(*id),
            Expr::Slot(slot) => frame.get(*slot).cloned().unwrap_or(Value::Undefined),
            Expr::Input => self.input.clone(),
            Expr::Data => self.data.clone(),
            Expr::Rule(id) => return self.rule(*id),
            Expr::Ref(root, steps) => return self.follow(root, steps, frame),
            Expr::Call(id, operands) => match self.operands(operands, frame)? {
                Some(operands) => return self.function(*id, &operands),
                None => Value::Undefined,
            },
            Expr::Builtin(call) => match self.operands(&call.operands, frame)? {
                Some(operands) => return self.builtin(call, &operands),
                None => Value::Undefined,
            },
            Expr::Array(items) => self.terms(items, frame)?.map_or(Value::Undefined, Value::from),
            Expr::Set(items) => match self.terms(items, frame)? {
                Some(items) => {
                    let mut set = BTreeSet::new();
                    for item in items {
                        if self.watch {
                            veil::insert(&set, &item);
                        }
                        set.insert(item);
                    }
                    Value::from(set)
                }
                None => Value::Undefined,
            },
            Expr::Object(fields) => return self.fields(fields, frame),
            Expr::Compare(op, operands) => match self.pair(operands, frame)? {
                Some((a, b)) => {
                    match op {
                        BoolOp::Eq | BoolOp::Ne => self.compare(&a, &b),
                        _ if self.watch => veil::rank(&a, &b),
                        _ => {}
                    }
                    comparison::compare(op, &a, &b).map_err(|_| Halt::Doubt)?
                }
                None => Value::Undefined,
            },
            Expr::Arithmetic(operation) => match self.pair(&operation.operands, frame)? {
                Some((a, b)) => {
                    if self.watch {
                        veil::combine(&a, &b);
                    }
                    let (lhs, rhs) = &operation.syntax;
                    let of_sets = matches!(a, Value::Set(_)) || matches!(b, Value::Set(_));
                    let result = match operation.op {
                        regorus::unstable::ArithOp::Sub if of_sets => sets::difference(lhs, rhs, a, b),
                        ref op => numbers::arithmetic_operation(&operation.span, op, lhs, rhs, a, b, self.strict),
                    };
                    result.map_err(|_| Halt::Doubt)?
                }
                None => Value::Undefined,
            },
            Expr::Sets(operation) => match self.pair(&operation.operands, frame)? {
                Some((a, b)) => {
                    if self.watch {
                        veil::combine(&a, &b);
                    }
                    let (lhs, rhs) = &operation.syntax;
                    let result = match operation.op {
                        BinOp::Union => sets::union(lhs, rhs, a, b),
                        BinOp::Intersection => sets::intersection(lhs, rhs, a, b),
                    };
                    result.map_err(|_| Halt::Doubt)?
                }
                None => Value::Undefined,
            },
            Expr::Member(member) => return self.member(member, frame),
            Expr::ArrayOf(comprehension) => {
                let mut items = Vec::new();
                self.comprehension(comprehension, frame, |_, value| {
                    items.push(value);
                    Ok(())
                })?;
                Value::from(items)
            }
            Expr::SetOf(comprehension) => {
                let mut items = BTreeSet::new();
                let watch = self.watch;
                self.comprehension(comprehension, frame, |_, value| {
                    if watch {
                        veil::insert(&items, &value);
                    }
                    items.insert(value);
                    Ok(())
                })?;
                Value::from(items)
            }
            Expr::ObjectOf(comprehension) => {
                let mut items: BTreeMap<Value, Value> = BTreeMap::new();
                let watch = self.watch;
                self.comprehension(comprehension, frame, |key, value| {
                    looked_through_if(watch, &key);
                    match items.get(&key) {
                        Some(before) if *before != value => Err(Halt::Doubt),
                        _ => {
                            items.insert(key, value);
                            Ok(())
                        }
                    }
                })?;
                Value::from(items)
            }
        })
    }

    /// Whether an expression has a value, and that is not false.
    pub(super) fn holds(&mut self, expr: &'p Expr, frame: &mut Frame) -> Result<bool, Halt> {
        let value = self.term(expr, frame)?;
        self.look(&value);
        Ok(!matches!(value, Value::Undefined | Value::Bool(false)))
    }

    /// The values of all, if all have one.
    fn terms(&mut self, exprs: &'p [Expr], frame: &mut Frame) -> Result<Option<Vec<Value>>, Halt> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            match self.term(expr, frame)? {
                Value::Undefined => return Ok(None),
                value => values.push(value),
            }
        }
        Ok(Some(values))
    }

    /// The same, but all are looked at even if one has no value: one of the rest may be in doubt, and the interpreter
    /// looks at them.
    fn operands(&mut self, exprs: &'p [Expr], frame: &mut Frame) -> Result<Option<Vec<Value>>, Halt> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push(self.term(expr, frame)?);
        }
        Ok((!values.contains(&Value::Undefined)).then_some(values))
    }

    fn pair(&mut self, exprs: &'p (Expr, Expr), frame: &mut Frame) -> Result<Option<(Value, Value)>, Halt> {
        let (a, b) = (self.term(&exprs.0, frame)?, self.term(&exprs.1, frame)?);
        Ok((a != Value::Undefined && b != Value::Undefined).then_some((a, b)))
    }

    fn fields(&mut self, fields: &'p [(Expr, Expr)], frame: &mut Frame) -> Result<Value, Halt> {
        let mut object = BTreeMap::new();
        for (key, value) in fields {
            let (key, value) = (self.term(key, frame)?, self.term(value, frame)?);
            if key == Value::Undefined || value == Value::Undefined {
                return Ok(Value::Undefined);
            }
            looked_through_if(self.watch, &key);
            object.insert(key, value);
        }
        Ok(Value::from(object))
    }

    /// Follows the steps of a reference: those that are constants by reference, without a copy.
    fn follow(&mut self, root: &'p Expr, steps: &'p [Step], frame: &mut Frame) -> Result<Value, Halt> {
        let mut at;
        let mut rest = steps;
        match root {
            Expr::Slot(slot) => {
                let from = frame.get(*slot).unwrap_or(&Value::Undefined);
                at = self.constant_steps(from, &mut rest);
            }
            Expr::Input => at = self.constant_steps(self.input, &mut rest),
            Expr::Data => at = self.constant_steps(self.data, &mut rest),
            Expr::Constant(id) => {
                let from = self.constants.get(*id).unwrap_or(&Value::Undefined);
                at = self.constant_steps(from, &mut rest);
            }
            Expr::Rule(id) => {
                // Also puts it among those that are known.
                let value = self.rule(*id)?;
                at = self.constant_steps(&value, &mut rest);
            }
            other => {
                let value = self.term(other, frame)?;
                at = self.constant_steps(&value, &mut rest);
            }
        }
        while let Some((step, after)) = rest.split_first() {
            let (Step::Value(index) | Step::BelowData(index)) = step else { break };
            let index = self.term(index, frame)?;
            if index == Value::Undefined {
                return Ok(Value::Undefined);
            }
            rest = after;
            self.look_up(&at, &index);
            let below = at[&index].clone();
            if matches!(step, Step::BelowData(_)) && below == Value::Undefined && matches!(index, Value::Number(_)) {
                return Err(Halt::Doubt);
            }
            at = self.constant_steps(&below, &mut rest);
        }
        Ok(at)
    }

    /// Goes as far as the steps are constants.
    fn constant_steps(&self, from: &Value, steps: &mut &'p [Step]) -> Value {
        let mut at = from;
        while let Some((Step::Constant(id), after)) = steps.split_first() {
            let key = self.constants.get(*id).unwrap_or(&Value::Undefined);
            self.look_up(at, key);
            at = &at[key];
            *steps = after;
        }
        at.clone()
    }

    /// Where something has no value the interpreter and OPA differ.
    fn member(&mut self, member: &'p Member, frame: &mut Frame) -> Result<Value, Halt> {
        let value = self.term(&member.value, frame)?;
        let collection = self.term(&member.collection, frame)?;
        let key = member.key.as_ref().map(|key| self.term(key, frame)).transpose()?;
        if value == Value::Undefined || collection == Value::Undefined || key == Some(Value::Undefined) {
            return Err(Halt::Doubt);
        }
        if self.watch {
            watch_member(&value, &collection, key.as_ref());
        }
        let found = match (&collection, key) {
            (Value::Array(_) | Value::Object(_), Some(key)) => collection[&key] == value,
            (Value::Array(items), None) => items.contains(&value),
            (Value::Object(fields), None) => fields.values().any(|v| *v == value),
            (Value::Set(items), None) => items.contains(&value),
            _ => false,
        };
        Ok(Value::from(found))
    }

    /// Calls `take` with the key, if there is one, and the value of every solution that has both.
    fn comprehension(
        &mut self,
        comprehension: &'p Comprehension,
        frame: &mut Frame,
        mut take: impl FnMut(Value, Value) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        self.solve(&comprehension.body, frame, &mut |run, frame| {
            let key = comprehension.key.as_ref().map_or(Ok(Value::Null), |key| run.term(key, frame))?;
            let value = run.term(&comprehension.value, frame)?;
            if key != Value::Undefined && value != Value::Undefined {
                take(key, value)?;
            }
            Ok(())
        })
    }

    /// A bound that is met is an error, and so left to the interpreter, which says where.
    fn builtin(&mut self, call: &'p BuiltinCall, operands: &[Value]) -> Result<Value, Halt> {
        self.steps(STEPS_OF_BUILTIN)?;
        if self.watch {
            veil::call(call.glance, operands);
        }
        let result = match call.callee {
            Callee::Ours(ours) => return builtins::call_ours(ours, operands, self.strict).map_err(|_| Halt::Doubt),
            Callee::Metered(metered) => {
                return builtins::call_metered(metered, operands, self.strict).map_err(|_| Halt::Doubt);
            }
            Callee::Engine(function) => function(&call.span, &call.syntax, operands, self.strict),
        };
        match result {
            Ok(value) => Ok(value),
            Err(error) if self.strict || error.downcast_ref::<LimitError>().is_some() => Err(Halt::Doubt),
            Err(_) => Ok(Value::Undefined),
        }
    }
}

/// Notes what a test for membership looks at. Something that is there to the letter is there, whatever else is hidden.
fn watch_member(value: &Value, collection: &Value, key: Option<&Value>) {
    veil::look(collection);
    match (collection, key) {
        (Value::Array(_) | Value::Object(_), Some(key)) => {
            veil::look_through(key);
            veil::compare(&collection[key], value);
        }
        (Value::Array(items), None) if !items.contains(value) => items.iter().for_each(|i| veil::compare(i, value)),
        (Value::Object(fields), None) if !fields.values().any(|v| v == value) => {
            fields.values().for_each(|v| veil::compare(v, value));
        }
        (Value::Set(items), None) if !items.contains(value) => items.iter().for_each(|i| veil::compare(i, value)),
        _ => {}
    }
}
