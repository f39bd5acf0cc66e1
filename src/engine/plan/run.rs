//! Runs a plan: rules, bodies and patterns. Each rule is worked out once in an evaluation.
//!
//! Gives only what the interpreter gives without an error; anything else is [`Halt::Doubt`]. Knows neither syntax nor
//! requests.

mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use regorus::Value;

use crate::engine::veil;

use super::code::{Clause, Code, Definition, Each, Every, Kind, Otherwise, Pattern, RuleCode, RuleId, Statement};

/// Steps between two looks at the clock.
const CHECK_INTERVAL: u32 = 64;

/// Steps that a call of a builtin counts for: with large operands it takes long.
const STEPS_OF_BUILTIN: u32 = 8;

/// Why a run gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// This is no ordinary answer: ask the interpreter.
    Doubt,
    /// Time ran out.
    Late,
}

/// The variables of one definition.
type Frame = Vec<Value>;

/// What is done with each solution of a body. There is no stopping at the first: a later one may be in doubt, and the
/// interpreter goes on to it.
type Then<'t, 'p> = dyn FnMut(&mut Run<'p>, &mut Frame) -> Result<(), Halt> + 't;

/// One evaluation.
pub(super) struct Run<'p> {
    code: &'p Code,
    constants: &'p [Value],
    input: &'p Value,
    data: &'p Value,
    strict: bool,
    deadline: Option<Instant>,
    /// Steps since the last look at the clock.
    ticks: u32,
    /// Whether looks at veiled values are noted.
    watch: bool,
    /// Values of rules, once they are known.
    known: Vec<Option<Value>>,
}

impl<'p> Run<'p> {
    pub(super) fn new(
        code: &'p Code,
        constants: &'p [Value],
        input: &'p Value,
        data: &'p Value,
        strict: bool,
        deadline: Option<Instant>,
    ) -> Self {
        let known = vec![None; code.rules.len()];
        Self { code, constants, input, data, strict, deadline, ticks: 0, watch: veil::watching(), known }
    }

    /// The value of a rule; `Undefined` without one.
    pub(super) fn rule(&mut self, id: RuleId) -> Result<Value, Halt> {
        if let Some(Some(value)) = self.known.get(id) {
            return Ok(value.clone());
        }
        let value = match self.code.rules.get(id) {
            None => return Err(Halt::Doubt),
            Some(rule) => match rule.kind {
                Kind::Complete => self.complete(rule)?,
                Kind::Set => self.set(rule)?,
                Kind::Object => self.object(rule)?,
            },
        };
        if let Some(known) = self.known.get_mut(id) {
            *known = Some(value.clone());
        }
        Ok(value)
    }

    fn constant(&self, id: usize) -> Value {
        self.constants.get(id).cloned().unwrap_or(Value::Undefined)
    }

    fn complete(&mut self, rule: &'p RuleCode) -> Result<Value, Halt> {
        let mut found = Value::Undefined;
        for definition in &rule.definitions {
            let mut frame = vec![Value::Undefined; definition.slots];
            let value = self.value_of(definition, &mut frame, rule.default.is_some())?;
            found = agree(found, value)?;
        }
        match rule.default {
            Some(default) if found == Value::Undefined => Ok(self.constant(default)),
            _ => Ok(found),
        }
    }

    /// The value of a function for operands that are all defined.
    fn function(&mut self, id: RuleId, operands: &[Value]) -> Result<Value, Halt> {
        self.tick()?;
        let Some(rule) = self.code.rules.get(id) else { return Err(Halt::Doubt) };
        let mut found = Value::Undefined;
        for definition in &rule.definitions {
            let mut frame = vec![Value::Undefined; definition.slots];
            let mut fits = definition.parameters.len() == operands.len();
            for (pattern, operand) in definition.parameters.iter().zip(operands) {
                fits = fits && self.matches(pattern, operand, &mut frame)?;
            }
            if fits {
                let value = self.value_of(definition, &mut frame, false)?;
                found = agree(found, value)?;
            }
        }
        Ok(found)
    }

    /// The value of the first clause that has one.
    fn value_of(&mut self, definition: &'p Definition, frame: &mut Frame, default: bool) -> Result<Value, Halt> {
        let alone = definition.clauses.len() == 1 && !default;
        for clause in &definition.clauses {
            let (mut found, mut missing) = (Value::Undefined, false);
            self.solve(&clause.body, frame, &mut |run, frame| {
                let value = run.term(&clause.value, frame)?;
                if value == Value::Undefined {
                    missing = true;
                    return Ok(());
                }
                found = agree(std::mem::replace(&mut found, Value::Undefined), value)?;
                Ok(())
            })?;
            // A body that holds beside a value that is not there: what that means depends on the rest.
            if missing && (!alone || found != Value::Undefined) {
                return Err(Halt::Doubt);
            }
            if found != Value::Undefined {
                return Ok(found);
            }
        }
        Ok(Value::Undefined)
    }

    fn set(&mut self, rule: &'p RuleCode) -> Result<Value, Halt> {
        let mut items = BTreeSet::new();
        let watch = self.watch;
        self.contributions(rule, |_, value| {
            if watch {
                veil::insert(&items, &value);
            }
            items.insert(value);
            Ok(())
        })?;
        Ok(Value::from(items))
    }

    fn object(&mut self, rule: &'p RuleCode) -> Result<Value, Halt> {
        let mut items: BTreeMap<Value, Value> = BTreeMap::new();
        let watch = self.watch;
        self.contributions(rule, |key, value| {
            looked_through_if(watch, &key);
            match items.get(&key) {
                Some(before) if *before != value => Err(Halt::Doubt),
                _ => {
                    items.insert(key, value);
                    Ok(())
                }
            }
        })?;
        Ok(Value::from(items))
    }

    /// Calls `take` with the key, if there is one, and the value of every solution of every definition.
    fn contributions(
        &mut self,
        rule: &'p RuleCode,
        mut take: impl FnMut(Value, Value) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        for definition in &rule.definitions {
            let mut frame = vec![Value::Undefined; definition.slots];
            for Clause { body, key, value } in &definition.clauses {
                self.solve(body, &mut frame, &mut |run, frame| {
                    let found = run.term(value, frame)?;
                    let key = key.as_ref().map_or(Ok(Value::Null), |key| run.term(key, frame))?;
                    if found == Value::Undefined || key == Value::Undefined {
                        return Err(Halt::Doubt);
                    }
                    take(key, found)
                })?;
            }
        }
        Ok(())
    }

    /// Runs `then` for every solution of a body.
    fn solve(&mut self, statements: &'p [Statement], frame: &mut Frame, then: &mut Then<'_, 'p>) -> Result<(), Halt> {
        let mut rest = statements;
        while let Some((first, after)) = rest.split_first() {
            let holds = match first {
                Statement::Each(each) => return self.each(each, after, frame, then),
                Statement::Test(expr) => self.holds(expr, frame)?,
                Statement::Bind(pattern, expr) => {
                    let value = self.term(expr, frame)?;
                    value != Value::Undefined && self.matches(pattern, &value, frame)?
                }
                Statement::Not(body) => !self.has_solution(body, frame)?,
                Statement::Every(every) => self.every(every, frame)?,
            };
            if !holds {
                return Ok(());
            }
            rest = after;
        }
        then(self, frame)
    }

    fn has_solution(&mut self, body: &'p [Statement], frame: &mut Frame) -> Result<bool, Halt> {
        let mut found = false;
        self.solve(body, frame, &mut |_, _| {
            found = true;
            Ok(())
        })?;
        Ok(found)
    }

    fn each(
        &mut self,
        each: &'p Each,
        after: &'p [Statement],
        frame: &mut Frame,
        then: &mut Then<'_, 'p>,
    ) -> Result<(), Halt> {
        let over = self.term(&each.over, frame)?;
        self.look(&over);
        let mut step = |run: &mut Self, key: &Value, value: &Value| {
            run.tick()?;
            if run.matches(&each.key, key, frame)? && run.matches(&each.value, value, frame)? {
                run.solve(after, frame, then)?;
            }
            Ok(())
        };
        match &over {
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    step(self, &Value::from(index), value)?;
                }
            }
            Value::Set(items) => {
                for value in items.iter() {
                    step(self, value, value)?;
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields.iter() {
                    step(self, key, value)?;
                }
            }
            Value::Undefined if each.otherwise != Otherwise::DoubtAlways => {}
            _ if each.otherwise == Otherwise::Nothing => {}
            _ => return Err(Halt::Doubt),
        }
        Ok(())
    }

    fn every(&mut self, every: &'p Every, frame: &mut Frame) -> Result<bool, Halt> {
        let over = self.term(&every.over, frame)?;
        self.look(&over);
        let mut holds = |run: &mut Self, key: Value, value: &Value| {
            run.tick()?;
            if let Some(slot) = every.key {
                fill(frame, slot, key);
            }
            fill(frame, every.value, value.clone());
            run.has_solution(&every.body, frame)
        };
        match &over {
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    if !holds(self, Value::from(index), value)? {
                        return Ok(false);
                    }
                }
            }
            Value::Set(items) => {
                for value in items.iter() {
                    if !holds(self, value.clone(), value)? {
                        return Ok(false);
                    }
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields.iter() {
                    if !holds(self, key.clone(), value)? {
                        return Ok(false);
                    }
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Holds a value against a pattern, filling its slots.
    fn matches(&mut self, pattern: &'p Pattern, value: &Value, frame: &mut Frame) -> Result<bool, Halt> {
        Ok(match pattern {
            Pattern::Ignore => true,
            Pattern::Slot(slot) => {
                fill(frame, *slot, value.clone());
                true
            }
            Pattern::Equal(expr) => {
                let other = self.term(expr, frame)?;
                self.compare(&other, value);
                other != Value::Undefined && other == *value
            }
            Pattern::Array(patterns) => {
                self.look(value);
                let Value::Array(items) = value else { return Ok(false) };
                if items.len() != patterns.len() {
                    return Ok(false);
                }
                for (pattern, item) in patterns.iter().zip(items.iter()) {
                    if !self.matches(pattern, item, frame)? {
                        return Ok(false);
                    }
                }
                true
            }
            Pattern::Object(patterns) => {
                self.look(value);
                let Value::Object(fields) = value else { return Ok(false) };
                let mut found = Vec::with_capacity(patterns.len());
                for (key, pattern) in patterns {
                    match self.constants.get(*key).and_then(|key| fields.get(key)) {
                        Some(field) => found.push((pattern, field)),
                        None => return Ok(false),
                    }
                }
                for (pattern, field) in found {
                    if !self.matches(pattern, field, frame)? {
                        return Ok(false);
                    }
                }
                // Whether more fields than those named are a match: the interpreter and OPA differ.
                if fields.len() != patterns.len() {
                    return Err(Halt::Doubt);
                }
                true
            }
        })
    }

    /// Notes that a value itself is looked at.
    fn look(&self, value: &Value) {
        if self.watch {
            veil::look(value);
        }
    }

    /// Notes that something is looked up in a collection.
    fn look_up(&self, collection: &Value, key: &Value) {
        if self.watch {
            veil::index(collection, key);
        }
    }

    /// Notes that two values are compared.
    fn compare(&self, a: &Value, b: &Value) {
        if self.watch {
            veil::compare(a, b);
        }
    }

    fn tick(&mut self) -> Result<(), Halt> {
        self.steps(1)
    }

    /// Counts steps, and looks at the clock now and then.
    fn steps(&mut self, count: u32) -> Result<(), Halt> {
        self.ticks += count;
        if self.ticks < CHECK_INTERVAL {
            return Ok(());
        }
        self.ticks = 0;
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Halt::Late),
            _ => Ok(()),
        }
    }
}

/// What becomes a key, or an operand, is looked at.
fn looked_through_if(watch: bool, value: &Value) {
    if watch {
        veil::look_through(value);
    }
}

fn fill(frame: &mut Frame, slot: usize, value: Value) {
    if let Some(place) = frame.get_mut(slot) {
        *place = value;
    }
}

/// Two values of one rule must be one.
fn agree(before: Value, value: Value) -> Result<Value, Halt> {
    if before == Value::Undefined {
        return Ok(value);
    }
    if value == Value::Undefined || value == before { Ok(before) } else { Err(Halt::Doubt) }
}
