//! What a plan is made of. Every variable is a slot of its definition's frame, given its value in one place only;
//! every expression has one value or none; what iterates is a statement.
//!
//! Plain data: knows neither the syntax it came from nor how it is run.

use regorus::Value;
use regorus::unstable::{ArithOp, BinOp, BoolOp, Expr as Syntax, Ref, Span};

use crate::engine::builtins::{Builtin, Metered};
use crate::engine::veil::Glance;

/// Place of a rule in [`Code::rules`].
pub(super) type RuleId = usize;

/// Place of a constant in the constants of a plan.
pub(super) type ConstantId = usize;

/// Place of a variable in a frame.
pub(super) type Slot = usize;

/// All rules that the entries need. Immutable and free of values: these are in the constants, of which each thread has
/// its own, since threads that count references to the same values wait for one another.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub rules: Vec<RuleCode>,
}

/// A rule or a function with all its definitions.
#[derive(Debug)]
pub(super) struct RuleCode {
    pub kind: Kind,
    pub default: Option<ConstantId>,
    pub definitions: Vec<Definition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value; for a function, one for its operands.
    Complete,
    /// A set that definitions add to.
    Set,
    /// An object that definitions add to.
    Object,
}

/// One definition: the clauses after the first are `else`.
#[derive(Debug)]
pub(super) struct Definition {
    /// How many slots its frame has.
    pub slots: usize,
    pub parameters: Vec<Pattern>,
    pub clauses: Vec<Clause>,
}

#[derive(Debug)]
pub(super) struct Clause {
    pub body: Vec<Statement>,
    pub key: Option<Expr>,
    pub value: Expr,
}

/// A step of a body. It holds or not; `Each` may hold in many ways.
#[derive(Debug)]
pub(super) enum Statement {
    /// The value is there, and not false.
    Test(Expr),
    Bind(Pattern, Expr),
    Each(Box<Each>),
    Every(Box<Every>),
    /// The body has no solution.
    Not(Vec<Statement>),
}

/// Every item of a collection in its order.
#[derive(Debug)]
pub(super) struct Each {
    pub over: Expr,
    pub key: Pattern,
    pub value: Pattern,
    pub otherwise: Otherwise,
}

/// What it means to go over something that is no collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// There are no items.
    Nothing,
    /// The interpreter has it for an error, unless there is no value at all.
    Doubt,
    /// The interpreter has it for an error.
    DoubtAlways,
}

#[derive(Debug)]
pub(super) struct Every {
    pub over: Expr,
    pub key: Option<Slot>,
    pub value: Slot,
    pub body: Vec<Statement>,
}

/// What a value is held against, with the slots it fills.
#[derive(Debug)]
pub(super) enum Pattern {
    Ignore,
    Slot(Slot),
    Equal(Expr),
    Array(Vec<Pattern>),
    /// By the constants that are its keys.
    Object(Vec<(ConstantId, Pattern)>),
}

#[derive(Debug)]
pub(super) enum Expr {
    Constant(ConstantId),
    Slot(Slot),
    Input,
    /// The base document.
    Data,
    Rule(RuleId),
    Ref(Box<Expr>, Vec<Step>),
    Call(RuleId, Vec<Expr>),
    Builtin(Box<BuiltinCall>),
    Array(Vec<Expr>),
    Set(Vec<Expr>),
    Object(Vec<(Expr, Expr)>),
    Compare(BoolOp, Box<(Expr, Expr)>),
    Arithmetic(Box<Operation<ArithOp>>),
    Sets(Box<Operation<BinOp>>),
    Member(Box<Member>),
    ArrayOf(Box<Comprehension>),
    SetOf(Box<Comprehension>),
    ObjectOf(Box<Comprehension>),
}

#[derive(Debug)]
pub(super) enum Step {
    Constant(ConstantId),
    Value(Expr),
    /// A step of a reference that begins with `data` and has not been found in it by name: where it is a number, the
    /// interpreter also tries the name that is written like it.
    BelowData(Expr),
}

#[derive(Debug)]
pub(super) struct Member {
    pub key: Option<Expr>,
    pub value: Expr,
    pub collection: Expr,
}

#[derive(Debug)]
pub(super) struct Comprehension {
    pub body: Vec<Statement>,
    pub key: Option<Expr>,
    pub value: Expr,
}

/// An operator whose function wants to know where its operands stand.
#[derive(Debug)]
pub(super) struct Operation<O> {
    pub op: O,
    pub span: Span,
    pub syntax: (Ref<Syntax>, Ref<Syntax>),
    pub operands: (Expr, Expr),
}

#[derive(Debug)]
pub(super) struct BuiltinCall {
    pub callee: Callee,
    /// How much it looks at what it is given.
    pub glance: Glance,
    pub span: Span,
    pub syntax: Vec<Ref<Syntax>>,
    pub operands: Vec<Expr>,
}

/// A function of the engine's: it takes its place, its operands as written and their values, and whether errors count.
pub(super) type EngineFunction = fn(&Span, &[Ref<Syntax>], &[Value], bool) -> anyhow::Result<Value>;

#[derive(Clone, Copy)]
pub(super) enum Callee {
    Ours(&'static Builtin),
    /// One of the engine's that builds something, with its bound.
    Metered(&'static Metered),
    Engine(EngineFunction),
}

impl std::fmt::Debug for Callee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ours(builtin) => f.write_str(builtin.name),
            Self::Metered(builtin) => f.write_str(builtin.name),
            Self::Engine(_) => f.write_str("engine"),
        }
    }
}
