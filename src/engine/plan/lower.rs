//! Syntax to [`Code`]: which rules are needed, and what their definitions are. A construct that a plan does not take
//! ends the work with its name and place.

mod names;
mod statements;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{AssignOp, Expr as Syntax, Module, Ref, Rule, RuleBody, RuleHead, Span};

use super::Obstacle;
use super::code::{Clause, Code, ConstantId, Definition, Expr, Kind, Otherwise, RuleCode, RuleId};
use super::depth;
use crate::engine::{Endpoint, syntax};
use names::{Aliases, Library, RuleName};

/// What lowering gives.
pub(super) struct Lowered {
    pub code: Code,
    pub constants: Vec<Value>,
    pub entries: BTreeMap<Endpoint, Vec<(String, RuleId)>>,
}

pub(super) fn lower(
    modules: &[Ref<Module>],
    data: &Value,
    package: &[String],
    rules: &BTreeMap<Endpoint, Vec<String>>,
) -> Result<Lowered, Obstacle> {
    let library = Library::new(modules, data)?;
    let mut lowering = Lowering {
        library: &library,
        ids: BTreeMap::new(),
        waiting: Vec::new(),
        constants: Vec::new(),
        needs: BTreeMap::new(),
    };
    let mut entries = BTreeMap::new();
    for (endpoint, names) in rules {
        let mut found = Vec::new();
        for name in names {
            let rule = (package.to_vec(), name.clone());
            if library.is_overlaid(&rule) {
                return Err(Obstacle { reason: names::overlaid(name), at: library.place_of(&rule) });
            }
            let id = lowering.rule_id(&rule);
            found.push((name.clone(), id));
        }
        found.sort();
        entries.insert(*endpoint, found);
    }
    let mut lowered: BTreeMap<RuleId, RuleCode> = BTreeMap::new();
    while let Some((id, name)) = lowering.waiting.pop() {
        let rule = lowering.rule(id, &name)?;
        lowered.insert(id, rule);
    }
    lowering.check_depth(&lowered)?;
    let code = Code { rules: lowered.into_values().collect() };
    Ok(Lowered { code, constants: lowering.constants, entries })
}

/// The work in hand.
struct Lowering<'l> {
    library: &'l Library<'l>,
    /// In the order of their first mention; each is lowered once.
    ids: BTreeMap<RuleName, RuleId>,
    waiting: Vec<(RuleId, RuleName)>,
    constants: Vec<Value>,
    /// The rules that a rule needs.
    needs: BTreeMap<RuleId, BTreeSet<RuleId>>,
}

impl Lowering<'_> {
    fn rule_id(&mut self, name: &RuleName) -> RuleId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.ids.len();
        self.ids.insert(name.clone(), id);
        self.waiting.push((id, name.clone()));
        id
    }

    fn constant(&mut self, value: &Value) -> ConstantId {
        // Values that are equal are not always the same: 1 and 1.0.
        if let Value::String(_) = value
            && let Some(known) = self.constants.iter().position(|c| c == value)
        {
            return known;
        }
        self.constants.push(value.clone());
        self.constants.len() - 1
    }

    fn rule(&mut self, id: RuleId, name: &RuleName) -> Result<RuleCode, Obstacle> {
        let mut kind = None;
        let mut default = None;
        let mut definitions = Vec::new();
        for source in self.library.definitions(name) {
            match source.rule.as_ref() {
                Rule::Default { args, value, refr, .. } => {
                    if !args.is_empty() {
                        return Err(obstacle("a default of a function", refr.span()));
                    }
                    let value =
                        constant_value(value).ok_or_else(|| obstacle("a default that is computed", value.span()))?;
                    default = Some(self.constant(&value));
                }
                Rule::Spec { head, bodies, span } => {
                    let head = Head::of(head)?;
                    if *kind.get_or_insert(head.kind) != head.kind {
                        return Err(obstacle("a rule that is defined in two ways", span));
                    }
                    let mut scope = Definer::new(self, id, &source.package, &source.aliases);
                    definitions.push(scope.definition(&head, bodies)?);
                }
            }
        }
        Ok(RuleCode { kind: kind.unwrap_or(Kind::Complete), default, definitions })
    }

    /// The plan runs on the stack of its thread.
    fn check_depth(&self, lowered: &BTreeMap<RuleId, RuleCode>) -> Result<(), Obstacle> {
        fn deep(
            id: RuleId,
            lowered: &BTreeMap<RuleId, RuleCode>,
            needs: &BTreeMap<RuleId, BTreeSet<RuleId>>,
            known: &mut BTreeMap<RuleId, Option<usize>>,
        ) -> Option<usize> {
            if let Some(depth) = known.get(&id) {
                return *depth;
            }
            // While it is looked at: a circle has no depth.
            known.insert(id, None);
            let mut below = 0;
            for next in needs.get(&id).into_iter().flatten() {
                below = below.max(deep(*next, lowered, needs, known)?);
            }
            let own = lowered.get(&id).map_or(0, depth::of_rule);
            let depth = Some(below + own).filter(|d| *d <= depth::MOST_LEVELS);
            known.insert(id, depth);
            depth
        }
        let mut known = BTreeMap::new();
        for id in lowered.keys() {
            if deep(*id, lowered, &self.needs, &mut known).is_none() {
                return Err(Obstacle { reason: "rules that need one another very deep".to_owned(), at: None });
            }
        }
        Ok(())
    }
}

/// A rule's head, taken apart.
struct Head<'h> {
    kind: Kind,
    parameters: &'h [Ref<Syntax>],
    key: Option<&'h Ref<Syntax>>,
    value: Option<&'h Ref<Syntax>>,
}

impl<'h> Head<'h> {
    fn of(head: &'h RuleHead) -> Result<Self, Obstacle> {
        let name = |refr: &'h Ref<Syntax>| match refr.as_ref() {
            Syntax::Var { .. } => Ok(()),
            other => Err(obstacle("a rule whose name is a path", other.span())),
        };
        Ok(match head {
            RuleHead::Func { refr, args, assign, .. } => {
                name(refr)?;
                Self { kind: Kind::Complete, parameters: args, key: None, value: assign.as_ref().map(|a| &a.value) }
            }
            RuleHead::Set { refr, key: Some(key), .. } => {
                name(refr)?;
                Self { kind: Kind::Set, parameters: &[], key: None, value: Some(key) }
            }
            RuleHead::Set { refr, key: None, .. } => match refr.as_ref() {
                Syntax::RefBrack { refr, index, .. } => {
                    name(refr)?;
                    Self { kind: Kind::Set, parameters: &[], key: None, value: Some(index) }
                }
                other => return Err(obstacle("a rule whose name is a path", other.span())),
            },
            RuleHead::Compr { refr, assign, .. } => {
                let value = assign.as_ref().map(|a| &a.value);
                match refr.as_ref() {
                    Syntax::RefBrack { refr, index, .. } => {
                        name(refr)?;
                        if constant_value(index).is_some() {
                            return Err(obstacle("a rule whose name is a path", index.span()));
                        }
                        Self { kind: Kind::Object, parameters: &[], key: Some(index), value }
                    }
                    _ => {
                        name(refr)?;
                        Self { kind: Kind::Complete, parameters: &[], key: None, value }
                    }
                }
            }
        })
    }
}

/// A local variable.
#[derive(Debug, Clone, Copy)]
struct Variable {
    slot: usize,
    bound: bool,
}

/// One body and the variables it brings.
#[derive(Debug, Clone)]
struct Scope {
    id: usize,
    variables: BTreeMap<String, Variable>,
}

/// Lowers one definition.
struct Definer<'d, 'l> {
    lowering: &'d mut Lowering<'l>,
    rule: RuleId,
    package: &'d [String],
    aliases: &'d Aliases,
    scopes: Vec<Scope>,
    slots: usize,
    next_scope: usize,
    /// Variables that no one declared, with the scopes they stand in: if an outer body has one of that name too, the
    /// two are one, and the inner body would have had to wait for it.
    undeclared: Vec<(String, Vec<usize>)>,
    /// Names that stood for rules or imports here already.
    outside: BTreeSet<String>,
    /// Statements looked at.
    attempts: usize,
    /// What iterating over a value that is no collection means here.
    otherwise: Otherwise,
}

impl<'d, 'l> Definer<'d, 'l> {
    fn new(lowering: &'d mut Lowering<'l>, rule: RuleId, package: &'d [String], aliases: &'d Aliases) -> Self {
        Self {
            lowering,
            rule,
            package,
            aliases,
            scopes: Vec::new(),
            slots: 0,
            next_scope: 0,
            undeclared: Vec::new(),
            outside: BTreeSet::new(),
            attempts: 0,
            otherwise: Otherwise::Nothing,
        }
    }

    fn definition(&mut self, head: &Head<'_>, bodies: &[RuleBody]) -> Result<Definition, Obstacle> {
        self.open();
        let mut parameters = Vec::new();
        for parameter in head.parameters {
            parameters.push(self.parameter(parameter)?);
        }
        let mut clauses = Vec::new();
        if bodies.is_empty() {
            clauses.push(self.clause(head, None, head.value)?);
        }
        for (index, body) in bodies.iter().enumerate() {
            if (index > 0) != body.is_else || (body.is_else && head.kind != Kind::Complete) {
                return Err(obstacle("bodies in a chain", &body.span));
            }
            let own = body.assign.as_ref().map(|a| &a.value);
            let value = match (index, own) {
                (0, None) => head.value,
                (0, Some(value)) => return Err(obstacle("a body with a value of its own", value.span())),
                (_, own) => own,
            };
            clauses.push(self.clause(head, Some(body), value)?);
        }
        self.close();
        Ok(Definition { slots: self.slots, parameters, clauses })
    }

    fn clause(
        &mut self,
        head: &Head<'_>,
        body: Option<&RuleBody>,
        value: Option<&Ref<Syntax>>,
    ) -> Result<Clause, Obstacle> {
        self.open();
        let mut statements = Vec::new();
        if let Some(body) = body {
            self.query(&body.query, &mut statements)?;
        }
        let outside = std::mem::replace(&mut self.otherwise, Otherwise::DoubtAlways);
        let key = head.key.map(|key| self.term(key, &mut statements)).transpose()?;
        let value = match value {
            Some(value) => self.term(value, &mut statements)?,
            None => Expr::Constant(self.lowering.constant(&Value::from(true))),
        };
        self.otherwise = outside;
        self.close();
        Ok(Clause { body: statements, key, value })
    }

    fn needs(&mut self, rule: RuleId) {
        self.lowering.needs.entry(self.rule).or_default().insert(rule);
    }
}

/// The value of an expression that is written out.
fn constant_value(expr: &Ref<Syntax>) -> Option<Value> {
    match expr.as_ref() {
        Syntax::String { value, .. }
        | Syntax::RawString { value, .. }
        | Syntax::Number { value, .. }
        | Syntax::Bool { value, .. } => Some(value.clone()),
        Syntax::Null { .. } => Some(Value::Null),
        Syntax::Array { items, .. } => items.iter().map(constant_value).collect::<Option<Vec<_>>>().map(Value::from),
        Syntax::Set { items, .. } => items.iter().map(constant_value).collect::<Option<BTreeSet<_>>>().map(Value::from),
        Syntax::Object { fields, .. } => {
            let pair = |(_, key, value): &(Span, Ref<Syntax>, Ref<Syntax>)| {
                Some((constant_value(key)?, constant_value(value)?))
            };
            fields.iter().map(pair).collect::<Option<BTreeMap<_, _>>>().map(Value::from)
        }
        _ => None,
    }
}

fn obstacle(reason: &str, span: &Span) -> Obstacle {
    Obstacle { reason: reason.to_owned(), at: Some(syntax::location(span)) }
}

/// Whether it is `:=`.
fn declares(op: &AssignOp) -> bool {
    matches!(op, AssignOp::ColEq)
}
