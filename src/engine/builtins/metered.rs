//! The engine's own builtins that build something, counted against the policy's budget before they build it.
//!
//! The answers are the engine's; what is added is a bound. Without it one call takes all memory there is (`replace` or
//! `array.concat` that double, a shift by a billion, every path of a graph), and nothing interrupts a single call.

use std::sync::OnceLock;

use regorus::Value;
use regorus::unstable::{BUILTINS, Expr, Ref, Source, Span};

use super::call::{CallError, items};
use crate::engine::meter;

/// A builtin of the engine, with the bound on what it builds.
pub(crate) struct Metered {
    /// Dotted name.
    pub name: &'static str,
    bound: Bound,
}

/// When a result is counted.
enum Bound {
    /// After the call: it is not much larger than the operands.
    After,
    /// Before the call: so many bytes, by the operands.
    Before(fn(&[Value]) -> Result<usize, CallError>),
}

const fn after(name: &'static str) -> Metered {
    Metered { name, bound: Bound::After }
}

const fn before(name: &'static str, bytes: fn(&[Value]) -> Result<usize, CallError>) -> Metered {
    Metered { name, bound: Bound::Before(bytes) }
}

/// What a slot in an array takes, and an allocation of its own in it.
const SLOT: usize = 24;

/// JSON and YAML in memory, by byte of text; at its worst (`[],[],`) it is three times that.
const PARSED: usize = 8;

/// Bits of a number that is computed: more and a single operation takes seconds.
const MAX_BITS: u64 = 1 << 20;

pub(crate) const METERED: &[Metered] = &[
    after("array.reverse"),
    after("array.slice"),
    after("base64.decode"),
    after("base64.encode"),
    after("base64url.decode"),
    after("base64url.encode"),
    after("base64url.encode_no_pad"),
    after("graph.reachable"),
    after("hex.decode"),
    after("hex.encode"),
    after("indexof_n"),
    after("intersection"),
    after("lower"),
    after("object.filter"),
    after("object.keys"),
    after("object.remove"),
    after("sort"),
    after("strings.reverse"),
    after("substring"),
    after("trim"),
    after("trim_left"),
    after("trim_prefix"),
    after("trim_right"),
    after("trim_space"),
    after("trim_suffix"),
    after("union"),
    after("upper"),
    after("urlquery.decode"),
    after("urlquery.encode"),
    before("array.concat", |args| Ok(args.iter().map(|a| a.as_array().map_or(0, |a| a.len() * SLOT)).sum())),
    before("bits.lsh", shifted),
    before("concat", concatenated),
    before("format_int", written),
    before("graph.reachable_paths", paths),
    before("json.filter", written),
    before("json.marshal", written),
    before("json.marshal_with_options", |args| Ok(written(args)?.saturating_mul(4))),
    before("json.patch", written),
    before("json.remove", written),
    before("json.unmarshal", parsed),
    before("object.union", written),
    before("object.union_n", written),
    before("product", multiplied),
    before("replace", replaced),
    before("split", parts),
    before("strings.replace_n", all_replaced),
    before("to_number", read),
    before("urlquery.decode_object", parsed),
    before("urlquery.encode_object", |args| Ok(written(args)?.saturating_mul(3))),
    before("walk", walked),
    before("yaml.marshal", |args| Ok(written(args)?.saturating_mul(2))),
    before("yaml.unmarshal", parsed),
];

impl Metered {
    /// How many operands it takes.
    pub(crate) fn arity(&self) -> u8 {
        BUILTINS.get(self.name).map_or(0, |(_, arity)| *arity)
    }

    /// The engine's answer, if the budget allows for it.
    pub(crate) fn call(&self, args: &[Value], strict: bool) -> Result<Value, CallError> {
        let Some((call, _)) = BUILTINS.get(self.name) else {
            return Err(CallError::Unsupported("the engine has no such builtin".to_owned()));
        };
        if let Bound::Before(bytes) = self.bound {
            meter::build(bytes(args)?)?;
        }
        let place = place();
        let operands = place.operands.get(..args.len()).unwrap_or(&place.operands);
        let value = call(&place.call, operands, args, strict).map_err(|e| match e.is::<regorus::LimitError>() {
            true => CallError::Limit(e.to_string()),
            false => CallError::Operand(message(&e)),
        })?;
        if matches!(self.bound, Bound::After) {
            meter::built(&value)?;
        }
        Ok(value)
    }
}

/// Where the call stands in the source: the engine wants to know, the extension that calls is told after all.
struct Place {
    call: Span,
    operands: Vec<Ref<Expr>>,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    const TEXT: &str = "call";
    const MOST_OPERANDS: u32 = 8;
    PLACE.get_or_init(|| {
        #[expect(clippy::expect_used, reason = "four letters are within every bound")]
        let source = Source::from_contents(TEXT.to_owned(), TEXT.to_owned()).expect("a source");
        let call = Span { source, line: 1, col: 1, start: 0, end: 4 };
        let operand = |eidx| Ref::new(Expr::Null { span: call.clone(), value: Value::Null, eidx });
        Place { operands: (0..MOST_OPERANDS).map(operand).collect(), call }
    })
}

/// The engine's errors are a picture of the source with the message at the end.
fn message(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let last = text.lines().rev().find_map(|line| line.trim_start().strip_prefix("error: "));
    last.unwrap_or(text.trim()).to_owned()
}

fn text(args: &[Value], n: usize) -> &str {
    match args.get(n) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// All operands as text would have them.
fn written(args: &[Value]) -> Result<usize, CallError> {
    args.iter().try_fold(0usize, |sum, arg| Ok(sum.saturating_add(meter::weigh(arg)?)))
}

/// Text that is parsed, in memory.
fn parsed(args: &[Value]) -> Result<usize, CallError> {
    let text = text(args, 0);
    numerals(text)?;
    Ok(text.len().saturating_mul(PARSED))
}

fn read(args: &[Value]) -> Result<usize, CallError> {
    let text = text(args, 0);
    meter::digits(text.len() as u64)?;
    numerals(text)?;
    Ok(0)
}

/// Refuses text with a numeral whose exponent makes a number too long to be computed.
fn numerals(text: &str) -> Result<(), CallError> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices(['e', 'E']).filter(|(at, _)| {
        at.checked_sub(1)
            .is_some_and(|before| bytes.get(before).is_some_and(u8::is_ascii_digit) || bytes.get(before) == Some(&b'.'))
    }) {
        let exponent = bytes.get(at + 1..).unwrap_or_default();
        let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
        let digits = exponent.iter().take_while(|b| b.is_ascii_digit());
        meter::digits(digits.fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))?;
    }
    Ok(())
}

fn bits(value: &Value) -> u64 {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.is_integer() => {
            number.as_big().map_or(64, |big| big.bits())
        }
        _ => 64,
    }
}

fn shifted(args: &[Value]) -> Result<usize, CallError> {
    let by = match args.get(1) {
        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
        _ => 0,
    };
    let total = args.first().map_or(0, bits).saturating_add(by);
    if total > MAX_BITS {
        return Err(CallError::Limit(format!("a number of {total} bits is more than the {MAX_BITS} that are allowed")));
    }
    Ok(usize::try_from(total / 8).unwrap_or(usize::MAX))
}

fn multiplied(args: &[Value]) -> Result<usize, CallError> {
    let factors = items(args, 0).unwrap_or_default();
    // Ones and zeros add no bits; anything else its own.
    let of = |v: &Value| match v {
        Value::Number(n) => n.as_i64().map_or_else(|| bits(v), |n| u64::from(64 - n.unsigned_abs().leading_zeros())),
        _ => 0,
    };
    let total = factors.iter().fold(0u64, |sum, factor| sum.saturating_add(of(factor)));
    if factors.iter().all(|f| matches!(f, Value::Number(n) if n.is_integer())) && total > MAX_BITS {
        return Err(CallError::Limit(format!(
            "a product of {total} bits is more than the {MAX_BITS} that are allowed"
        )));
    }
    Ok(0)
}

fn concatenated(args: &[Value]) -> Result<usize, CallError> {
    let parts = items(args, 1).unwrap_or_default();
    let between = text(args, 0).len().saturating_mul(parts.len());
    Ok(parts.iter().fold(between, |sum, part| match part {
        Value::String(text) => sum.saturating_add(text.len()),
        _ => sum,
    }))
}

/// What replacing `old` in a text of `length` bytes with `count` places gives.
fn grown(length: usize, count: usize, new: &str) -> usize {
    length.saturating_add(count.saturating_mul(new.len()))
}

fn replaced(args: &[Value]) -> Result<usize, CallError> {
    let (text, old, new) = (text(args, 0), text(args, 1), text(args, 2));
    Ok(grown(text.len(), text.matches(old).count(), new))
}

/// One pattern after the other, on what the one before has left.
fn all_replaced(args: &[Value]) -> Result<usize, CallError> {
    let Some(Value::Object(patterns)) = args.first() else { return Ok(0) };
    let most = |length: usize, (old, new): (&Value, &Value)| match (old, new) {
        (Value::String(old), Value::String(new)) if new.len() > old.len() => {
            length.saturating_add((length / old.len().max(1) + 1).saturating_mul(new.len() - old.len()))
        }
        _ => length,
    };
    Ok(patterns.iter_sorted().fold(text(args, 1).len(), most))
}

fn parts(args: &[Value]) -> Result<usize, CallError> {
    let (text, delimiter) = (text(args, 0), text(args, 1));
    Ok(text.len().saturating_add((text.matches(delimiter).count() + 1).saturating_mul(2 * SLOT)))
}

/// One path and one pair for every value within; a path is as long as the value is deep.
fn walked(args: &[Value]) -> Result<usize, CallError> {
    fn visit(value: &Value, depth: usize) -> Result<(), CallError> {
        meter::build((depth + 4) * SLOT)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| visit(item, depth + 1)),
            Value::Set(items) => items.iter().try_for_each(|item| visit(item, depth + 1)),
            Value::Object(map) => map.iter().try_for_each(|(_, value)| visit(value, depth + 1)),
            _ => Ok(()),
        }
    }
    args.first().map_or(Ok(()), |value| visit(value, 0))?;
    Ok(0)
}

/// As the engine goes through the graph, without keeping the paths.
fn paths(args: &[Value]) -> Result<usize, CallError> {
    fn visit<'a>(graph: &'a regorus::Value, node: &'a Value, path: &mut Vec<&'a Value>) -> Result<(), CallError> {
        meter::build((path.len() + 4) * SLOT)?;
        if path.contains(&node) {
            return Ok(());
        }
        let Value::Object(edges) = graph else { return Ok(()) };
        path.push(node);
        match edges.get(node) {
            Some(Value::Array(next)) => next.iter().try_for_each(|n| visit(graph, n, path))?,
            Some(Value::Set(next)) => next.iter().try_for_each(|n| visit(graph, n, path))?,
            _ => {}
        }
        path.pop();
        Ok(())
    }
    let (Some(graph), Ok(starts)) = (args.first(), items(args, 1)) else { return Ok(0) };
    starts.into_iter().try_for_each(|start| visit(graph, start, &mut Vec::new()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Budget;

    fn call(name: &str, args: &[&str]) -> Result<Value, CallError> {
        let args: Vec<Value> = args.iter().map(|a| Value::from_json_str(a).expect("JSON")).collect();
        METERED.iter().find(|m| m.name == name).expect("is metered").call(&args, true)
    }

    #[test]
    fn every_name_is_one_of_the_engine() {
        for metered in METERED {
            assert!(BUILTINS.contains_key(metered.name), "{}", metered.name);
            assert!(super::super::names().all(|ours| ours != metered.name), "{} is ours", metered.name);
        }
    }

    #[test]
    fn the_answers_are_the_engine_s() {
        meter::begin(&Budget::default());
        for (name, args, wanted) in [
            ("concat", vec!["\"-\"", "[\"a\", \"b\"]"], "\"a-b\""),
            ("replace", vec!["\"aba\"", "\"a\"", "\"cc\""], "\"ccbcc\""),
            ("split", vec!["\"a,b\"", "\",\""], "[\"a\", \"b\"]"),
            ("array.concat", vec!["[1]", "[2]"], "[1, 2]"),
            ("bits.lsh", vec!["1", "70"], "1180591620717411303424"),
            ("product", vec!["[2, 3.5]"], "7"),
            ("to_number", vec!["\"1e3\""], "1000"),
            ("walk", vec!["{\"a\": [1]}"], "[[[], {\"a\": [1]}], [[\"a\"], [1]], [[\"a\", 0], 1]]"),
            ("json.unmarshal", vec!["\"{\\\"a\\\": 1e2}\""], "{\"a\": 100}"),
        ] {
            assert_eq!(call(name, &args), Ok(Value::from_json_str(wanted).expect("JSON")), "{name}");
        }
        let wrong = call("concat", &["1", "[]"]);
        assert!(matches!(&wrong, Err(CallError::Operand(m)) if m.contains("string")), "{wrong:?}");
    }

    #[test]
    fn what_would_take_all_memory_is_refused() {
        let long = format!("\"{}\"", "a".repeat(1 << 20));
        let edges: Vec<String> = (0..40).map(|n| format!("\"{n}\": [\"{}\", \"{}\"]", n + 1, n + 2)).collect();
        let graph = format!("{{{}}}", edges.join(", "));
        let array = format!("[{}]", vec!["0"; 1 << 20].join(","));
        for (name, args) in [
            ("replace", vec![long.as_str(), "\"a\"", long.as_str()]),
            ("strings.replace_n", vec!["{\"a\": \"bbbb\", \"b\": \"cccc\", \"c\": \"dddd\"}", long.as_str()]),
            ("split", vec![long.as_str(), "\"\""]),
            ("array.concat", vec![array.as_str(), array.as_str()]),
            ("bits.lsh", vec!["1", "1000000000"]),
            ("bits.lsh", vec!["1", "4294967295"]),
            ("to_number", vec!["\"1e1000000000\""]),
            ("to_number", vec![long.as_str()]),
            ("json.unmarshal", vec!["\"[1e1000000000]\""]),
            ("yaml.unmarshal", vec!["\"- 1e+1000000000\""]),
            ("graph.reachable_paths", vec![graph.as_str(), "[\"0\"]"]),
        ] {
            meter::begin(&Budget::default());
            let outcome = call(name, &args);
            assert!(matches!(outcome, Err(CallError::Limit(_))), "{name}: {}", outcome.is_ok());
        }
    }
}
