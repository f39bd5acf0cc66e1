//! Values that are known to be there and not what they are: what a decision log has masked.
//!
//! A decision that is made again from its record has such values in its input, written as [`veiled`] texts. A policy may
//! carry them about as it likes; whether its result could have been another with the true value is known by this: as long
//! as nothing *looks* at a veiled value (compares it, hands it to a builtin, goes into it, tests it), it could not. The
//! plan of a policy watches every such look. The interpreter cannot be watched: there every veiled value of the input
//! counts as looked at. So what is not said to be touched is certain, and what is touched is never guessed.
//!
//! Watching is off unless [`Request::veiled`](crate::admission::Request) says otherwise: no client can switch it on by
//! what it sends.

pub(crate) mod results;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use regorus::Value;

/// Begins a veiled text: a private character, and a number that this process has drawn. Whoever wrote a text that is on
/// record could not know it, so none is taken for a veil that is not.
fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| {
        let keys = RandomState::new();
        format!("\u{10fffd}veiled:{:016x}{:016x}:", keys.hash_one(0_u8), keys.hash_one(1_u8))
    })
}

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static TOUCHED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// What stands in an input for a value that is not known. `pointer` says where it stood: two veils of one pointer are
/// one value, two of different pointers may be.
#[must_use]
pub fn veiled(pointer: &str) -> String {
    format!("{}{pointer}", mark())
}

/// The pointer of a veiled text.
#[must_use]
pub fn pointer_of(text: &str) -> Option<&str> {
    text.strip_prefix(mark())
}

/// Begins to watch this thread's evaluations, or not to.
pub(crate) fn begin(watch: bool) {
    WATCHING.set(watch);
    TOUCHED.with_borrow_mut(BTreeSet::clear);
}

/// Ends watching: the pointers of what was looked at.
pub(crate) fn end() -> Vec<String> {
    WATCHING.set(false);
    TOUCHED.with_borrow_mut(std::mem::take).into_iter().collect()
}

/// Whether this thread's evaluations are watched.
pub(crate) fn watching() -> bool {
    WATCHING.get()
}

/// Notes that something which is not known was asked for, by a policy that this thread runs: for doors that have nothing
/// to give.
pub fn touch_unknown(what: &str) {
    if watching() {
        TOUCHED.with_borrow_mut(|touched| touched.insert(what.to_owned()));
    }
}

/// The value itself is looked at: what kind of thing it is, or what is in it.
pub(crate) fn look(value: &Value) {
    if let Value::String(text) = value {
        look_at_text(text);
    }
}

fn look_at_text(text: &str) {
    if let Some(pointer) = pointer_of(text) {
        touch_unknown(pointer);
    }
}

/// All of the value is looked at.
pub(crate) fn look_through(value: &Value) {
    match value {
        Value::String(_) => look(value),
        Value::Array(items) => items.iter().for_each(look_through),
        Value::Set(items) => items.iter().for_each(look_through),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            look_through(key);
            look_through(value);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined => {}
    }
}

/// Two values are held against one another: are they the same? Where a part that is not veiled tells them apart, or
/// where they are the same to the letter, what is veiled does not matter.
pub(crate) fn compare(a: &Value, b: &Value) {
    if equal(a, b).is_none() {
        look_through(a);
        look_through(b);
    }
}

/// Two values are put in order. What comes before the first veil must tell.
pub(crate) fn rank(a: &Value, b: &Value) {
    if order(a, b).is_none() {
        look_through(a);
        look_through(b);
    }
}

/// Something is looked up in a collection. In a set that is a comparison with its items; what is there to the letter is
/// there, whatever else is hidden.
pub(crate) fn index(collection: &Value, key: &Value) {
    look(collection);
    look_through(key);
    if let Value::Set(items) = collection
        && !items.contains(key)
    {
        items.iter().for_each(|item| compare(item, key));
    }
}

/// A value comes into a set, which holds each value once, in order.
pub(crate) fn insert<'v>(into: impl IntoIterator<Item = &'v Value>, value: &Value) {
    into.into_iter().for_each(|there| rank(there, value));
}

/// Two sets become one.
pub(crate) fn combine(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Set(left), Value::Set(right)) if left.len().saturating_mul(right.len()) <= MOST_PAIRS => {
            for value in left.iter() {
                insert(right.iter(), value);
            }
        }
        _ => {
            look_through(a);
            look_through(b);
        }
    }
}

/// Pairs of two sets that are held against one another; sets of thousands are just looked through.
const MOST_PAIRS: usize = 100_000;

/// Whether two values are equal; `None` where what is veiled says.
fn equal(a: &Value, b: &Value) -> Option<bool> {
    if is_veiled(a) || is_veiled(b) {
        return (a == b).then_some(true);
    }
    let all = |pairs: &mut dyn Iterator<Item = Option<bool>>| {
        let mut known = true;
        for pair in pairs {
            match pair {
                Some(false) => return Some(false),
                Some(true) => {}
                None => known = false,
            }
        }
        known.then_some(true)
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            all(&mut a.iter().zip(b.iter()).map(|(a, b)| equal(a, b)))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            let pairs = a.iter().map(|(key, a)| b.get(key).map_or(Some(false), |b| equal(a, b)));
            all(&mut pairs.into_iter())
        }
        (Value::Set(_), Value::Set(_)) => order(a, b).map(|o| o == Ordering::Equal),
        _ => Some(a == b),
    }
}

/// The order of two values; `None` where what is veiled says.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    if is_veiled(a) || is_veiled(b) {
        return (a == b).then_some(Ordering::Equal);
    }
    let first = |pairs: &mut dyn Iterator<Item = Option<Ordering>>, lengths: Ordering| {
        for pair in pairs {
            if pair != Some(Ordering::Equal) {
                return pair;
            }
        }
        Some(lengths)
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            first(&mut a.iter().zip(b.iter()).map(|(a, b)| order(a, b)), a.len().cmp(&b.len()))
        }
        (Value::Set(a), Value::Set(b)) => {
            first(&mut a.iter().zip(b.iter()).map(|(a, b)| order(a, b)), a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let fields = a.iter().zip(b.iter()).flat_map(|(a, b)| [(a.0, b.0), (a.1, b.1)]);
            first(&mut fields.map(|(a, b)| order(a, b)), a.len().cmp(&b.len()))
        }
        _ => Some(a.cmp(b)),
    }
}

fn is_veiled(value: &Value) -> bool {
    matches!(value, Value::String(text) if pointer_of(text).is_some())
}

/// How much of its first operand a builtin looks at. All of its other operands are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glance {
    /// All of it.
    Through,
    /// What kind of thing it is, and how many items or which keys it has.
    Shape,
    /// What stands on the path that the second operand names.
    Path,
    /// What kind of thing it is, and of the second operand likewise.
    Ends,
    /// What the first and the second have in common.
    Union,
}

impl Glance {
    /// That of a builtin.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "is_object" | "is_array" | "is_set" | "is_string" | "is_number" | "is_boolean" | "is_null"
            | "type_name" | "count" | "object.keys" | "object.remove" | "object.filter" | "array.slice"
            | "array.reverse" => Self::Shape,
            "object.get" => Self::Path,
            "array.concat" => Self::Ends,
            "object.union" => Self::Union,
            _ => Self::Through,
        }
    }
}

/// A builtin is called.
pub(crate) fn call(glance: Glance, operands: &[Value]) {
    let Some((first, others)) = operands.split_first() else { return };
    match glance {
        Glance::Through => look_through(first),
        Glance::Shape => look(first),
        Glance::Path => look_along(first, others.first()),
        Glance::Ends => return operands.iter().for_each(look),
        Glance::Union => {
            if let Some(second) = others.first() {
                look(first);
                look(second);
                look_where_they_meet(first, second);
            }
            return;
        }
    }
    others.iter().for_each(look_through);
}

/// Where both are objects they become one; anything else on the right takes the place of what is on the left. So what
/// kind of thing a veil hides says something only where an object stands on the other side.
fn look_where_they_meet(left: &Value, right: &Value) {
    let (Value::Object(left), Value::Object(right)) = (left, right) else { return };
    for (key, left) in left.iter() {
        match right.get(key) {
            Some(right) if is_veiled(left) && matches!(right, Value::Object(_)) => look(left),
            Some(right) if is_veiled(right) && matches!(left, Value::Object(_)) => look(right),
            Some(right) if is_veiled(left) && is_veiled(right) => {
                look(left);
                look(right);
            }
            Some(right) => look_where_they_meet(left, right),
            None => {}
        }
    }
}

/// Every value that a path of keys, or a key, leads through; not the one that it leads to.
fn look_along(from: &Value, path: Option<&Value>) {
    look(from);
    let (mut at, Some(Value::Array(keys))) = (from, path) else { return };
    for key in keys.iter() {
        index(at, key);
        at = &at[key];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        Value::from_json_str(&json.replace('$', mark())).unwrap_or_else(|e| panic!("{json}: {e}"))
    }

    /// What is touched by comparing, and by putting in order.
    fn touched(a: &str, b: &str) -> [Vec<String>; 2] {
        [compare, rank].map(|look| {
            begin(true);
            look(&value(a), &value(b));
            end()
        })
    }

    #[test]
    fn what_tells_without_a_look() {
        let none = || [Vec::<String>::new(), Vec::new()];
        let both = |names: &[&str]| [0, 1].map(|_| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        for (a, b, expected) in [
            ("\"$x\"", "\"$x\"", none()),
            ("\"$x\"", "\"$y\"", both(&["x", "y"])),
            ("\"$x\"", "\"a\"", both(&["x"])),
            ("\"$x\"", "null", both(&["x"])),
            ("{\"a\": \"$x\"}", "null", none()),
            ("[1, \"$x\"]", "[2, \"$y\"]", none()),
            ("{\"a\": \"$x\"}", "{\"a\": \"$x\"}", none()),
            // They differ behind the veil: unequal for certain, their order is not.
            ("[\"$x\", 1]", "[\"$y\", 2]", [Vec::new(), vec!["x".to_owned(), "y".to_owned()]]),
            ("{\"a\": \"$x\"}", "{\"b\": \"$y\"}", none()),
        ] {
            assert_eq!(touched(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn paths_and_shapes() {
        let path = |from: &str, path: &str| {
            begin(true);
            call(Glance::of("object.get"), &[value(from), value(path), Value::Null]);
            end()
        };
        assert_eq!(path("{\"a\": {\"b\": \"$x\"}}", "[\"a\", \"b\"]"), Vec::<String>::new());
        assert_eq!(path("{\"a\": {\"b\": \"$x\"}}", "[\"a\", \"b\", \"c\"]"), ["x"]);
        assert_eq!(path("{\"a\": \"$x\"}", "\"a\""), Vec::<String>::new());
        let set = Value::from(std::collections::BTreeSet::from([value("\"$x\""), value("\"a\"")]));
        let indexed = |key: &str| {
            begin(true);
            index(&set, &value(key));
            end()
        };
        assert_eq!([indexed("\"a\""), indexed("\"b\"")], [Vec::new(), vec!["x".to_owned()]]);
        begin(true);
        call(Glance::of("count"), &[value("[\"$x\"]")]);
        call(Glance::of("json.marshal"), &[value("[\"$y\"]")]);
        assert_eq!(end(), ["y"]);
    }

    #[test]
    fn nobody_is_watched_without_being_told() {
        begin(false);
        look_through(&value("\"$x\""));
        assert_eq!(end(), Vec::<String>::new());
    }
}
