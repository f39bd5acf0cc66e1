//! The syntax tree: what was written, and where. Nothing is resolved.

use std::ops::Range;

use crate::engine::rego::lexer::Comment;

/// Bytes of the text.
pub(crate) type Span = Range<usize>;

/// A file.
#[derive(Debug)]
pub(crate) struct Module<'t> {
    /// The path after `package`: strings.
    pub package: Vec<String>,
    /// `package a.b`.
    pub package_span: Span,
    pub imports: Vec<Import<'t>>,
    pub rules: Vec<Rule<'t>>,
    pub comments: Vec<Comment<'t>>,
}

/// `import data.a.b as c`.
#[derive(Debug)]
pub(crate) struct Import<'t> {
    pub span: Span,
    /// A variable or a reference of strings.
    pub path: Term<'t>,
    pub alias: Option<&'t str>,
}

/// A rule with all bodies and `else` branches that belong to its head.
#[derive(Debug)]
pub(crate) struct Rule<'t> {
    pub span: Span,
    pub head: Span,
    pub is_default: bool,
    /// A variable or a reference.
    pub name: Term<'t>,
    pub arguments: Option<Vec<Term<'t>>>,
    /// What follows `contains`.
    pub key: Option<Term<'t>>,
    /// What follows `:=` or `=`.
    pub value: Option<Value<'t>>,
    pub has_if: bool,
    /// Several where bodies are chained: each is a rule of the same head.
    pub bodies: Vec<RuleBody<'t>>,
    pub elses: Vec<Else<'t>>,
}

/// The value that a head gives.
#[derive(Debug)]
pub(crate) struct Value<'t> {
    /// `:=` rather than `=`.
    pub assigned: bool,
    pub term: Term<'t>,
}

/// `{ .. }`, or one expression after `if`.
#[derive(Debug)]
pub(crate) struct RuleBody<'t> {
    pub span: Span,
    pub braced: bool,
    pub body: Body<'t>,
}

/// `else := value if { .. }`.
#[derive(Debug)]
pub(crate) struct Else<'t> {
    pub value: Option<Value<'t>>,
    pub body: Option<RuleBody<'t>>,
}

/// Expressions that must all hold.
pub(crate) type Body<'t> = Vec<Literal<'t>>;

/// One expression of a body.
#[derive(Debug)]
pub(crate) struct Literal<'t> {
    pub span: Span,
    pub negated: bool,
    pub kind: LiteralKind<'t>,
    pub with: Vec<With<'t>>,
}

#[derive(Debug)]
pub(crate) enum LiteralKind<'t> {
    /// A term that must be neither undefined nor false.
    Term(Term<'t>),
    /// `left := right`.
    Assign(Term<'t>, Term<'t>),
    /// `left = right`.
    Unify(Term<'t>, Term<'t>),
    /// `some x, y`.
    Some(Vec<Term<'t>>),
    /// `some key, value in collection`.
    SomeIn { key: Option<Term<'t>>, value: Term<'t>, collection: Term<'t> },
    /// `every key, value in collection { .. }`.
    Every { key: Option<Term<'t>>, value: Term<'t>, collection: Term<'t>, body: Body<'t> },
}

/// `with target as value`.
#[derive(Debug)]
pub(crate) struct With<'t> {
    pub span: Span,
    /// A variable or a reference.
    pub target: Term<'t>,
    pub value: Term<'t>,
}

/// A value, or what gives one.
#[derive(Debug)]
pub(crate) struct Term<'t> {
    /// Without the brackets around it.
    pub span: Span,
    /// With the brackets around it: `(a + b)`.
    pub outer: Span,
    pub kind: Kind<'t>,
}

#[derive(Debug)]
pub(crate) enum Kind<'t> {
    Null,
    Bool(bool),
    /// As written, with its sign.
    Number(String),
    Text(String),
    Var(&'t str),
    /// At least one step.
    Ref(Box<Term<'t>>, Vec<Step<'t>>),
    /// `f(x)`: a variable or a reference, and the operands.
    Call(Box<Term<'t>>, Vec<Term<'t>>),
    Infix(Operator<'t>, Box<(Term<'t>, Term<'t>)>),
    /// `key, value in collection`.
    In {
        key: Option<Box<Term<'t>>>,
        value: Box<Term<'t>>,
        collection: Box<Term<'t>>,
    },
    Array(Vec<Term<'t>>),
    Set(Vec<Term<'t>>),
    Object(Vec<(Term<'t>, Term<'t>)>),
    ArrayOf(Box<Term<'t>>, Body<'t>),
    SetOf(Box<Term<'t>>, Body<'t>),
    ObjectOf(Box<(Term<'t>, Term<'t>)>, Body<'t>),
    Template(Vec<Part<'t>>),
}

/// `+` and the like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator<'t> {
    pub sign: &'t str,
    pub at: usize,
}

/// `.name` or `[term]`, with its dot or brackets.
#[derive(Debug)]
pub(crate) enum Step<'t> {
    Dot(&'t str, Span),
    Bracket(Term<'t>, Span),
}

impl Step<'_> {
    pub(crate) fn span(&self) -> &Span {
        match self {
            Step::Dot(_, span) | Step::Bracket(_, span) => span,
        }
    }
}

/// A part of a template string.
#[derive(Debug)]
pub(crate) enum Part<'t> {
    /// What it says, and the text with its delimiters.
    Text(String, Span),
    Expression(Box<Literal<'t>>),
}

impl<'t> Term<'t> {
    pub(crate) fn new(span: Span, kind: Kind<'t>) -> Self {
        Self { outer: span.clone(), span, kind }
    }

    /// The variable, or the variable that a reference begins with.
    pub(crate) fn root(&self) -> Option<&'t str> {
        match &self.kind {
            Kind::Var(name) => Some(name),
            Kind::Ref(head, _) => head.root(),
            _ => None,
        }
    }

    /// Root and steps, where all are constant strings: `["io", "jwt", "decode"]`.
    pub(crate) fn path(&self) -> Option<Vec<&str>> {
        match &self.kind {
            Kind::Var(name) => Some(vec![name]),
            Kind::Ref(head, steps) => {
                let mut path = head.path()?;
                for step in steps {
                    path.push(step.name()?);
                }
                Some(path)
            }
            _ => None,
        }
    }

    /// The terms directly in it, but for those of comprehensions' bodies and templates.
    pub(crate) fn children(&self) -> Vec<&Term<'t>> {
        match &self.kind {
            Kind::Ref(head, steps) => {
                let brackets = steps.iter().filter_map(|s| match s {
                    Step::Bracket(term, _) => Some(term),
                    Step::Dot(..) => None,
                });
                std::iter::once(&**head).chain(brackets).collect()
            }
            Kind::Call(operator, operands) => std::iter::once(&**operator).chain(operands).collect(),
            Kind::Infix(_, operands) => vec![&operands.0, &operands.1],
            Kind::In { key, value, collection, .. } => key.iter().chain([value, collection]).map(|t| &**t).collect(),
            Kind::Array(items) | Kind::Set(items) => items.iter().collect(),
            Kind::Object(pairs) => pairs.iter().flat_map(|(k, v)| [k, v]).collect(),
            Kind::ArrayOf(term, _) | Kind::SetOf(term, _) => vec![term],
            Kind::ObjectOf(pair, _) => vec![&pair.0, &pair.1],
            _ => Vec::new(),
        }
    }
}

impl Step<'_> {
    /// The constant string that it takes.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Step::Dot(name, _) => Some(name),
            Step::Bracket(Term { kind: Kind::Text(text), .. }, _) => Some(text),
            Step::Bracket(..) => None,
        }
    }
}
