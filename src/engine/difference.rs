//! The smallest RFC 6902 patch from one document to another: it touches nothing that is the same in both.
//!
//! Lists are aligned first, so an element that comes or goes leaves its neighbours alone; elements with the same `name`
//! are the same element, as in Kubernetes' own merges.

use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

/// Lists whose lengths multiply to more are compared place by place: aligning takes time and memory by the product.
const MOST_COMPARISONS: usize = 250_000;

/// The patch; `None` when the documents are equal.
pub(crate) fn difference(from: &Value, to: &Value) -> Option<Patch> {
    let mut changes = Changes { path: PointerBuf::new(), operations: Vec::new() };
    changes.values(from, to);
    (!changes.operations.is_empty()).then_some(Patch(changes.operations))
}

struct Changes {
    path: PointerBuf,
    operations: Vec<PatchOperation>,
}

impl Changes {
    fn values(&mut self, from: &Value, to: &Value) {
        match (from, to) {
            _ if from == to => {}
            (Value::Object(from), Value::Object(to)) => self.objects(from, to),
            (Value::Array(from), Value::Array(to)) => self.lists(from, to),
            (_, to) => self.replace(to),
        }
    }

    fn objects(&mut self, from: &Map<String, Value>, to: &Map<String, Value>) {
        for (key, value) in from {
            self.below(key.as_str(), |changes| match to.get(key) {
                Some(wanted) => changes.values(value, wanted),
                None => changes.remove(),
            });
        }
        for (key, value) in to.iter().filter(|(key, _)| !from.contains_key(*key)) {
            self.below(key.as_str(), |changes| changes.add(value));
        }
    }

    /// From the front on: what stands before `next` is as it should be, so `next` is the place in both the wanted list
    /// and the list as it has been patched so far.
    fn lists(&mut self, from: &[Value], to: &[Value]) {
        let (mut old, mut next) = (0, 0);
        let ends = std::iter::once((from.len(), to.len()));
        for (a, b) in alignment(from, to).into_iter().chain(ends) {
            let (gone, come) = (from.get(old..a).unwrap_or_default(), to.get(next..b).unwrap_or_default());
            for (value, wanted) in gone.iter().zip(come) {
                self.below(next, |changes| changes.element(value, wanted));
                next += 1;
            }
            for _ in gone.iter().skip(come.len()) {
                self.below(next, Self::remove);
            }
            for wanted in come.iter().skip(gone.len()) {
                self.below(next, |changes| changes.add(wanted));
                next += 1;
            }
            if let (Some(value), Some(wanted)) = (from.get(a), to.get(b)) {
                self.below(next, |changes| changes.values(value, wanted));
                next += 1;
            }
            old = a + 1;
        }
    }

    /// An element in the place of another that it has nothing to do with: as a whole, where that says less.
    fn element(&mut self, from: &Value, to: &Value) {
        let before = self.operations.len();
        self.values(from, to);
        let apart = self.operations.split_off(before);
        let length =
            |operations: &[PatchOperation]| serde_json::to_vec(operations).map_or(usize::MAX, |json| json.len());
        self.replace(to);
        if length(&apart) <= length(self.operations.get(before..).unwrap_or_default()) {
            self.operations.truncate(before);
            self.operations.extend(apart);
        }
    }

    fn below<'t>(&mut self, step: impl Into<Token<'t>>, work: impl FnOnce(&mut Self)) {
        self.path.push_back(step);
        work(self);
        self.path.pop_back();
    }

    fn add(&mut self, value: &Value) {
        self.operations.push(PatchOperation::Add(AddOperation { path: self.path.clone(), value: value.clone() }));
    }

    fn replace(&mut self, value: &Value) {
        let operation = ReplaceOperation { path: self.path.clone(), value: value.clone() };
        self.operations.push(PatchOperation::Replace(operation));
    }

    fn remove(&mut self) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path: self.path.clone() }));
    }
}

/// Places of the elements that stay, in both lists: a longest common subsequence.
fn alignment(from: &[Value], to: &[Value]) -> Vec<(usize, usize)> {
    let head = from.iter().zip(to).take_while(|(a, b)| alike(a, b)).count();
    let (left, right) = (from.get(head..).unwrap_or_default(), to.get(head..).unwrap_or_default());
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| alike(a, b)).count();
    let left = left.get(..left.len() - tail).unwrap_or_default();
    let right = right.get(..right.len() - tail).unwrap_or_default();
    let middle =
        if left.len().saturating_mul(right.len()) > MOST_COMPARISONS { Vec::new() } else { common(left, right) };
    let first = (0..head).map(|i| (i, i));
    let last = (0..tail).rev().map(|back| (from.len() - 1 - back, to.len() - 1 - back));
    first.chain(middle.into_iter().map(|(a, b)| (a + head, b + head))).chain(last).collect()
}

fn common(left: &[Value], right: &[Value]) -> Vec<(usize, usize)> {
    let width = right.len() + 1;
    // Lengths of the longest common subsequences of the rests.
    let mut lengths = vec![0usize; (left.len() + 1) * width];
    let length = |lengths: &[usize], a: usize, b: usize| lengths.get(a * width + b).copied().unwrap_or_default();
    for (a, x) in left.iter().enumerate().rev() {
        for (b, y) in right.iter().enumerate().rev() {
            let best = if alike(x, y) {
                length(&lengths, a + 1, b + 1) + 1
            } else {
                length(&lengths, a + 1, b).max(length(&lengths, a, b + 1))
            };
            if let Some(place) = lengths.get_mut(a * width + b) {
                *place = best;
            }
        }
    }
    let (mut a, mut b, mut found) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (left.get(a), right.get(b)) {
        if alike(x, y) {
            found.push((a, b));
            (a, b) = (a + 1, b + 1);
        } else if length(&lengths, a + 1, b) >= length(&lengths, a, b + 1) {
            a += 1;
        } else {
            b += 1;
        }
    }
    found
}

/// Whether two elements are one that may have changed.
fn alike(a: &Value, b: &Value) -> bool {
    match (a.get("name"), b.get("name")) {
        (Some(Value::String(a)), Some(Value::String(b))) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn operations(from: &Value, to: &Value) -> Value {
        serde_json::to_value(difference(from, to).expect("differs")).expect("JSON")
    }

    #[test]
    fn neighbours_in_lists_are_left_alone() {
        let c = |name: &str, image: &str| json!({"name": name, "image": image});
        let from = json!({"containers": [c("a", "1"), c("b", "1")]});
        assert_eq!(
            operations(&from, &json!({"containers": [c("proxy", "1"), c("a", "1"), c("b", "2")]})),
            json!([{"op": "add", "path": "/containers/0", "value": c("proxy", "1")},
                   {"op": "replace", "path": "/containers/2/image", "value": "2"}])
        );
        assert_eq!(
            operations(&from, &json!({"containers": [c("b", "1")]})),
            json!([{"op": "remove", "path": "/containers/0"}])
        );
        assert_eq!(
            operations(&json!(["a", "b", "c"]), &json!(["x", "c"])),
            json!([{"op": "replace", "path": "/0", "value": "x"}, {"op": "remove", "path": "/1"}])
        );
        assert_eq!(operations(&json!({"a/b": 1}), &json!({"a~b": 1}))[0]["path"], "/a~1b");
        assert_eq!(difference(&from, &from), None);
    }

    /// A small generator of documents that are near one another.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }

        fn document(&mut self, depth: u64) -> Value {
            match self.roll(if depth == 0 { 3 } else { 6 }) {
                0 => json!(self.roll(3)),
                1 => json!(["x", "y", "z"][self.roll(3) as usize]),
                2 => Value::Null,
                3 => (0..self.roll(5)).map(|_| self.document(depth - 1)).collect(),
                _ => {
                    let mut map = Map::new();
                    for _ in 0..self.roll(4) {
                        let key = ["name", "b", "c/d", "e~f"][self.roll(4) as usize];
                        map.insert(key.to_owned(), self.document(depth - 1));
                    }
                    Value::Object(map)
                }
            }
        }

        fn changed(&mut self, value: &Value, depth: u64) -> Value {
            match value {
                _ if self.roll(6) == 0 => self.document(depth),
                Value::Array(items) => {
                    let mut items: Vec<Value> =
                        items.iter().map(|v| self.changed(v, depth.saturating_sub(1))).collect();
                    if self.roll(2) == 0 {
                        items.insert(self.roll(items.len() as u64 + 1) as usize, self.document(1));
                    }
                    if self.roll(2) == 0 && !items.is_empty() {
                        items.remove(self.roll(items.len() as u64) as usize);
                    }
                    items.into()
                }
                Value::Object(map) => {
                    map.iter().map(|(k, v)| (k.clone(), self.changed(v, depth.saturating_sub(1)))).collect()
                }
                other => other.clone(),
            }
        }
    }

    #[test]
    fn a_patch_gives_the_document_and_no_part_of_it_can_be_left_out() {
        let mut dice = Dice(7);
        let (mut patched, mut longest) = (0, 0);
        for _ in 0..20_000 {
            let from = dice.document(4);
            let to = dice.changed(&from, 4);
            let Some(patch) = difference(&from, &to) else {
                assert_eq!(from, to);
                continue;
            };
            let apply = |operations: &[PatchOperation]| {
                let mut document = from.clone();
                json_patch::patch(&mut document, operations).map(|()| document)
            };
            assert_eq!(apply(&patch.0).ok().as_ref(), Some(&to), "{from} {to} {patch:?}");
            for left_out in 0..patch.0.len() {
                let mut rest = patch.0.clone();
                rest.remove(left_out);
                assert_ne!(apply(&rest).ok().as_ref(), Some(&to), "{from} {to} {patch:?} but {left_out}");
            }
            (patched, longest) = (patched + 1, longest.max(patch.0.len()));
        }
        assert!(patched > 5_000 && longest > 5, "{patched} {longest}");
    }
}
