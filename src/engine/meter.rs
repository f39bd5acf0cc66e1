//! What the evaluation on this thread has built so far, against what it may.
//!
//! Builtins say what they are about to build or have built; the count is of what they were asked for, not of what the
//! allocator gave. Whatever passes a budget stays on record until the evaluation ends: where builtin errors are
//! undefined the engine would swallow it. Knows no policies and no clock.

use std::cell::RefCell;

use regorus::Value;

use crate::policy::{Budget, mebibytes};

/// Which part of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BudgetPart {
    /// `budget.time`.
    Time,
    /// `budget.valueBytes`, and the bounds of single builtins.
    Value,
    /// `budget.outputBytes`.
    Output,
    /// `budget.depth`.
    Depth,
}

impl BudgetPart {
    /// All, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Depth, Self::Output, Self::Time, Self::Value];

    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Value => "value",
            Self::Output => "output",
            Self::Depth => "depth",
        }
    }
}

/// What an evaluation took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that builtins built.
    pub value_bytes: usize,
    /// Bytes of what the rules gave.
    pub output_bytes: usize,
    /// The first part of the budget that was passed.
    pub exceeded: Option<BudgetPart>,
}

/// A budget was passed; the text is for the policy's author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exceeded(pub String);

/// Digits of a number that is written out: more would take seconds.
const MAX_DIGITS: u64 = 50_000;

/// What a value takes beside its content: a slot in a collection, an allocation's head.
const SLOT: usize = 24;

/// What any value counts that is measured as a tree: a small number takes time and memory too.
const LEAF: usize = 12;

/// Memory that is no value of a builtin's. Four threads that are stopped with it and twice the default beside it (128 MiB
/// each) leave a Pod of 1 GiB alive.
const MOST_BESIDE: usize = 64 << 20;

#[derive(Default)]
struct Meter {
    budget: Budget,
    usage: Usage,
    fault: Option<String>,
}

thread_local! {
    static METER: RefCell<Meter> = RefCell::default();
}

/// Begins a count.
pub(crate) fn begin(budget: &Budget) {
    METER.set(Meter { budget: *budget, ..Meter::default() });
}

/// What the evaluation may hold of the allocator's memory before its thread is stopped for good: far more than values
/// within the budget take, with what comprehensions build in the time that they have.
pub(crate) fn most_held() -> usize {
    METER.with_borrow(|m| m.budget.value_bytes.saturating_mul(2).saturating_add(MOST_BESIDE))
}

/// What was counted since the beginning.
pub(crate) fn usage() -> Usage {
    METER.with_borrow(|m| m.usage)
}

/// Takes the count back to what it was, as if nothing had been built since: another way of the same evaluation begins.
pub(crate) fn go_back(before: Usage) {
    METER.with_borrow_mut(|m| {
        m.usage = before;
        if before.exceeded.is_none() {
            m.fault = None;
        }
    });
}

/// What passed the budget, if anything did.
pub(crate) fn fault() -> Option<String> {
    METER.with_borrow(|m| m.fault.clone())
}

/// Puts on record that a part of the budget was passed.
pub(crate) fn exceed(part: BudgetPart, msg: &str) {
    METER.with_borrow_mut(|m| {
        m.usage.exceeded.get_or_insert(part);
        m.fault.get_or_insert_with(|| msg.to_owned());
    });
}

/// Counts what is built. Before it is built, where that may be much more than there was.
pub(crate) fn build(bytes: usize) -> Result<(), Exceeded> {
    let (built, most) = METER.with_borrow_mut(|m| {
        m.usage.value_bytes = m.usage.value_bytes.saturating_add(bytes);
        (m.usage.value_bytes, m.budget.value_bytes)
    });
    if built <= most {
        return Ok(());
    }
    Err(passed(
        BudgetPart::Value,
        format!("the policy builds more than {} of values (`budget.valueBytes`)", mebibytes(most)),
    ))
}

/// Counts a value that a builtin gave: what is new in it, not what it shares with others.
pub(crate) fn built(value: &Value) -> Result<(), Exceeded> {
    match value {
        Value::String(text) => build(text.len() + SLOT),
        Value::Array(items) => build(items.len().saturating_mul(SLOT)),
        Value::Set(items) => build(items.len().saturating_mul(3 * SLOT)),
        Value::Object(map) => build(map.len().saturating_mul(4 * SLOT)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined => Ok(()),
    }
}

/// Measures a value as a tree, as text would have it: what is shared within it counts each time.
pub(crate) fn weigh(value: &Value) -> Result<usize, Exceeded> {
    let budget = METER.with_borrow(|m| m.budget);
    let mut weight = 0usize;
    measure(value, 0, LEAF, &budget, budget.value_bytes, &mut weight).map_err(|part| match part {
        BudgetPart::Depth => too_deep(&budget),
        _ => {
            let most = mebibytes(budget.value_bytes);
            passed(
                BudgetPart::Value,
                format!("a value is more than {most} when it is written out (`budget.valueBytes`)"),
            )
        }
    })?;
    Ok(weight)
}

/// Counts what the rules give.
pub(crate) fn output(value: &Value) -> Result<(), Exceeded> {
    let budget = METER.with_borrow(|m| m.budget);
    let mut weight = 0usize;
    measure(value, 0, 2, &budget, budget.output_bytes, &mut weight).map_err(|part| match part {
        BudgetPart::Depth => too_deep(&budget),
        _ => {
            let most = mebibytes(budget.output_bytes);
            passed(BudgetPart::Output, format!("the rules give more than {most} (`budget.outputBytes`)"))
        }
    })?;
    METER.with_borrow_mut(|m| m.usage.output_bytes = m.usage.output_bytes.saturating_add(weight));
    Ok(())
}

/// Refuses a number that takes too long to write out or to read.
pub(crate) fn digits(count: u64) -> Result<(), Exceeded> {
    if count <= MAX_DIGITS {
        return Ok(());
    }
    Err(passed(BudgetPart::Value, format!("a number has more than the {MAX_DIGITS} digits that are allowed")))
}

fn passed(part: BudgetPart, msg: String) -> Exceeded {
    exceed(part, &msg);
    Exceeded(msg)
}

fn too_deep(budget: &Budget) -> Exceeded {
    passed(BudgetPart::Depth, format!("a value nests deeper than {} levels (`budget.depth`)", budget.depth))
}

/// `least`: what any value counts.
fn measure(
    value: &Value,
    depth: usize,
    least: usize,
    budget: &Budget,
    most: usize,
    weight: &mut usize,
) -> Result<(), BudgetPart> {
    if depth > budget.depth {
        return Err(BudgetPart::Depth);
    }
    let add = |bytes: usize, weight: &mut usize| {
        *weight = weight.saturating_add(bytes.max(least));
        if *weight > most { Err(BudgetPart::Value) } else { Ok(()) }
    };
    match value {
        Value::String(text) => add(text.len() + 2, weight),
        Value::Number(_) => add(digits_of(value)?, weight),
        Value::Null | Value::Bool(_) | Value::Undefined => add(5, weight),
        Value::Array(items) => {
            add(2 + items.len(), weight)?;
            items.iter().try_for_each(|item| measure(item, depth + 1, least, budget, most, weight))
        }
        Value::Set(items) => {
            add(2 + items.len(), weight)?;
            items.iter().try_for_each(|item| measure(item, depth + 1, least, budget, most, weight))
        }
        Value::Object(map) => {
            add(2 + 2 * map.len(), weight)?;
            map.iter().try_for_each(|(key, value)| {
                measure(key, depth + 1, least, budget, most, weight)?;
                measure(value, depth + 1, least, budget, most, weight)
            })
        }
    }
}

fn digits_of(number: &Value) -> Result<usize, BudgetPart> {
    let Value::Number(number) = number else { return Ok(0) };
    if number.as_i128().is_some() || !number.is_integer() {
        return Ok(20);
    }
    // Three bits and a third are a digit.
    let bits = number.as_big().map_or(0, |big| big.bits());
    digits(bits / 3).map_err(|_| BudgetPart::Value)?;
    usize::try_from(bits / 3).map_err(|_| BudgetPart::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubled(times: usize) -> Value {
        (0..times).fold(Value::from("x"), |value, _| Value::from(vec![value.clone(), value]))
    }

    #[test]
    fn what_is_built_adds_up() {
        begin(&Budget { value_bytes: 1_000, ..Budget::default() });
        assert_eq!((build(600), build(400), fault()), (Ok(()), Ok(()), None));
        assert!(build(1).is_err());
        assert_eq!(usage().exceeded, Some(BudgetPart::Value));
        assert_eq!(fault().as_deref(), Some("the policy builds more than 1000 bytes of values (`budget.valueBytes`)"));
        begin(&Budget::default());
        assert_eq!((usage(), fault()), (Usage::default(), None));
    }

    #[test]
    fn shared_values_count_each_time() {
        begin(&Budget::default());
        assert_eq!(weigh(&doubled(1)).map(|w| w > 2), Ok(true));
        assert!(weigh(&doubled(60)).expect_err("too large").0.contains("written out"));
        assert!(output(&doubled(60)).expect_err("too large").0.contains("budget.outputBytes"));
    }

    #[test]
    fn depth_is_bounded() {
        begin(&Budget::default());
        let nested = |times| (0..times).fold(Value::from("x"), |value, _| Value::from(vec![value]));
        assert!(weigh(&nested(256)).is_ok());
        assert!(weigh(&nested(257)).expect_err("too deep").0.contains("budget.depth"));
        assert_eq!(usage().exceeded, Some(BudgetPart::Depth));
    }

    #[test]
    fn long_numbers_are_not_written_out() {
        begin(&Budget::default());
        let long = Value::from_numeric_string(&"9".repeat(100_000)).expect("a number");
        assert!(weigh(&long).is_err() && output(&long).is_err());
    }
}
