//! How deep a plan goes on the stack of its thread: one level for each call of the runner that waits for another.
//!
//! Knows the parts of a plan and nothing of where they came from.

use super::code::{Clause, Expr, Pattern, RuleCode, Statement, Step};

/// Levels along the longest chain of rules. One takes some 4 KiB of stack where nothing is optimised, and threads that
/// evaluate have 64 MiB.
pub(super) const MOST_LEVELS: usize = 4_000;

/// Levels that the loop of a statement adds to all that comes after it.
const LEVELS_OF_LOOP: usize = 3;

/// The levels of one rule, without those of the rules it needs.
pub(super) fn of_rule(rule: &RuleCode) -> usize {
    let clause = |c: &Clause| of_body(&c.body, c.key.iter().chain([&c.value]));
    let parameters = rule.definitions.iter().flat_map(|d| d.parameters.iter()).map(of_pattern);
    let clauses = rule.definitions.iter().flat_map(|d| d.clauses.iter()).map(clause);
    4 + parameters.chain(clauses).max().unwrap_or(0)
}

fn of_body<'e>(body: &'e [Statement], last: impl Iterator<Item = &'e Expr>) -> usize {
    let (mut inside, mut most) = (0, 0);
    for statement in body {
        most = most.max(inside + of_statement(statement));
        if let Statement::Each(_) = statement {
            inside += LEVELS_OF_LOOP;
        }
    }
    let last = last.map(of_expr).max().unwrap_or(0);
    2 + most.max(inside + last)
}

fn of_statement(statement: &Statement) -> usize {
    match statement {
        Statement::Test(expr) => of_expr(expr),
        Statement::Bind(pattern, expr) => of_pattern(pattern).max(of_expr(expr)),
        Statement::Each(each) => {
            let patterns = of_pattern(&each.key).max(of_pattern(&each.value));
            of_expr(&each.over).max(LEVELS_OF_LOOP + patterns)
        }
        Statement::Every(every) => of_expr(&every.over).max(2 + of_body(&every.body, std::iter::empty())),
        Statement::Not(body) => 1 + of_body(body, std::iter::empty()),
    }
}

fn of_pattern(pattern: &Pattern) -> usize {
    1 + match pattern {
        Pattern::Ignore | Pattern::Slot(_) => 0,
        Pattern::Equal(expr) => of_expr(expr),
        Pattern::Array(items) => items.iter().map(of_pattern).max().unwrap_or(0),
        Pattern::Object(fields) => fields.iter().map(|(_, p)| of_pattern(p)).max().unwrap_or(0),
    }
}

fn of_expr(expr: &Expr) -> usize {
    let all = |exprs: &[Expr]| exprs.iter().map(of_expr).max().unwrap_or(0);
    let pair = |pair: &(Expr, Expr)| of_expr(&pair.0).max(of_expr(&pair.1));
    2 + match expr {
        Expr::Constant(_) | Expr::Slot(_) | Expr::Input | Expr::Data | Expr::Rule(_) => 0,
        Expr::Ref(root, steps) => {
            let step = |s: &Step| match s {
                Step::Constant(_) => 0,
                Step::Value(expr) | Step::BelowData(expr) => of_expr(expr),
            };
            of_expr(root).max(steps.iter().map(step).max().unwrap_or(0))
        }
        Expr::Call(_, operands) | Expr::Array(operands) | Expr::Set(operands) => all(operands),
        Expr::Builtin(call) => all(&call.operands),
        Expr::Object(fields) => fields.iter().map(pair).max().unwrap_or(0),
        Expr::Compare(_, operands) => pair(operands),
        Expr::Arithmetic(operation) => pair(&operation.operands),
        Expr::Sets(operation) => pair(&operation.operands),
        Expr::Member(member) => {
            let key = member.key.as_ref().map_or(0, of_expr);
            of_expr(&member.value).max(of_expr(&member.collection)).max(key)
        }
        Expr::ArrayOf(c) | Expr::SetOf(c) | Expr::ObjectOf(c) => of_body(&c.body, c.key.iter().chain([&c.value])),
    }
}
