//! Masking: no secret that a review carries, and nothing that looks like a credential, reaches the disk.
//!
//! Knows Kubernetes documents, shapes of credentials and commitments; must not know records, files or the log.
//!
//! In order: what the operator names (`data.system.log.mask`); the places where Kubernetes keeps secrets; shapes and
//! names of credentials anywhere; then every value found so far, and its encoded forms, wherever it recurs: elsewhere
//! in the document, in patches, and in all that policies say. A value that a policy takes apart or transforms before
//! printing it (reversed, say) is out of reach.

mod key;
mod secrets;
mod shapes;
mod walk;

pub(in crate::decisions) use key::{COMMITMENT, MASKED, commitments};
pub use key::{MaskKey, commitment};

use std::ops::Range;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use crate::admission::Request;
use crate::decisions::clip;
use key::Prk;
use secrets::Strength;
use shapes::Place;
use walk::{MANAGED_FIELDS, MOST_IN_A_STRING, Walk, push_segment};

/// What is masked and with which key. Cheap to clone.
#[derive(Clone)]
pub struct Masker {
    prk: Prk,
    /// Segments below the input; `*` stands for any one.
    pointers: Arc<[Vec<String>]>,
}

impl Masker {
    /// Masks by default rules, and all below `pointers`: JSON pointers (RFC 6901) below `/input`, the AdmissionReview,
    /// as `data.system.log.mask` names them; a segment `*` stands for any one. They cover the record's own copies of
    /// request fields too.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a masker is made once a policy set, from what it is to keep")]
    pub fn new(key: MaskKey, pointers: Vec<String>) -> Self {
        let segments = |p: &String| {
            let p = p.strip_prefix("/input").filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(p);
            p.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect()
        };
        Self { prk: Prk::new(&key), pointers: pointers.iter().map(segments).collect() }
    }

    /// `text` without what looks like a credential, for logs that have no decision to commit to.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let found = shapes::find(text, Place::Anywhere);
        replace(text, found.into_iter().map(|range| (range, Arc::from(MASKED))))
    }

    pub(super) fn of_decision<'m>(&'m self, decision_id: &'m str) -> Masking<'m> {
        Masking { walk: Walk::new(&self.prk, decision_id), pointers: &self.pointers }
    }

    /// A salt that nobody without the mask key knows.
    pub(super) fn salt(&self, decision_id: &str) -> [u8; 32] {
        self.prk.derive(decision_id, "salt")
    }

    /// Whether the operator named anything.
    pub(super) fn has_pointers(&self) -> bool {
        !self.pointers.is_empty()
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").field("pointers", &self.pointers).finish_non_exhaustive()
    }
}

/// The masking of one decision. Documents first, texts after, so that texts are searched for all that was found.
pub(super) struct Masking<'m> {
    walk: Walk<'m>,
    pointers: &'m [Vec<String>],
}

impl Masking<'_> {
    /// The review without its secrets and without `managedFields` (whose pointers are the second value).
    pub(super) fn input<'r>(&mut self, request: &'r Request) -> (Input<'r>, Vec<String>) {
        let review: &Value = request.review();
        let managed = |side: &str| {
            let pointer = format!("/request/{side}/metadata/{MANAGED_FIELDS}");
            review.pointer(&pointer).map(|_| pointer)
        };
        let omitted = ["object", "oldObject"].into_iter().filter_map(managed).collect();
        let mut input = Input::of(request);
        for segments in self.pointers {
            self.walk.named(review, segments, "");
        }
        // As it came: what is named may say of what is beside it that it is a secret.
        for side in ["object", "oldObject", "options"] {
            if let Some(document) = review.get("request").and_then(|r| r.get(side)) {
                let kind = if side == "options" { "" } else { request.kind.kind.as_str() };
                self.walk.document(document, &format!("/request/{side}"), kind);
            }
        }
        if self.walk.has_changes() {
            self.walk.change(input.changed(), "");
        }
        (input, omitted)
    }

    /// A patch (RFC 6902) on an object of `kind`.
    pub(super) fn patch(&mut self, mut patch: Value, kind: &str) -> Value {
        for segments in self.pointers {
            self.walk.named_in_patch(&patch, segments);
        }
        self.walk.patch(&patch, kind);
        self.walk.change(&mut patch, "/patch");
        patch
    }

    /// What a policy said beside its message.
    pub(super) fn details(&mut self, mut details: Value, pointer: &str) -> Value {
        self.walk.document(&details, pointer, "");
        self.walk.change(&mut details, pointer);
        details
    }

    /// Masks in the review what recurs outside the places it was found in.
    pub(super) fn recurrences_in_input(&mut self, input: &mut Input<'_>) {
        let secrets = &self.walk.secrets;
        let name = input.value().pointer("/request/name").and_then(Value::as_str).unwrap_or_default();
        let named = self.replaced(name, "/request/name", Strength::Sure, true).is_some();
        if secrets.is_empty() && !secrets.overflowed() && !self.walk.shaped_keys && !named {
            return;
        }
        let Some(Value::Object(fields)) = input.changed().get_mut("request") else { return };
        for side in ["object", "oldObject", "options", "name"] {
            let Some(document) = fields.get_mut(side) else { continue };
            let pointer = format!("/request/{side}");
            if self.walk.secrets.overflowed() && document.is_object() {
                *document = json!({ "masked": &*self.walk.commit(&pointer, &document.to_string()) });
                self.walk.masked.push(pointer);
                continue;
            }
            // The walk looked at its strings one by one.
            let strings = if document.is_object() { Strings::Walked } else { Strings::New };
            self.walk.go(&pointer);
            self.recurrences(document, Strength::Sure, strings);
        }
    }

    /// Masks what recurs in a document that policies made.
    pub(super) fn recurrences_in_output(&mut self, document: &mut Value, pointer: &str) {
        if self.walk.secrets.overflowed() && !document.is_null() {
            *document = json!({ "masked": &*self.walk.commit(pointer, &document.to_string()) });
        } else {
            self.walk.go(pointer);
            self.recurrences(document, Strength::Likely, Strings::New);
        }
    }

    /// A text that a policy made.
    pub(super) fn text(&self, text: &str, pointer: &str) -> String {
        self.first(text, usize::MAX, pointer)
    }

    /// The first `most` bytes of a text that a policy made, or a few more: none of a secret that begins there.
    pub(super) fn first(&self, text: &str, most: usize, pointer: &str) -> String {
        if self.walk.secrets.overflowed() {
            return self.walk.commit(pointer, text).as_ref().to_owned();
        }
        self.beginning(text, most, pointer, Strength::Likely)
    }

    /// A name or a path: only what is surely a secret is hidden in it, so that nobody hides a request by naming its
    /// object in a ConfigMap.
    pub(super) fn name(&self, text: &str, pointer: &str) -> String {
        self.beginning(text, usize::MAX, pointer, Strength::Sure)
    }

    /// The beginning of such a name, as of [`first`](Self::first).
    pub(super) fn first_of_name(&self, text: &str, most: usize, pointer: &str) -> String {
        self.beginning(text, most, pointer, Strength::Sure)
    }

    fn beginning(&self, text: &str, most: usize, pointer: &str, least: Strength) -> String {
        if text.len() <= most {
            return self.replaced(text, pointer, least, true).unwrap_or_else(|| text.to_owned());
        }
        // What begins before the end is looked at beyond it, so that it is known as a whole.
        let within = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let window = text.get(..within(most.saturating_add(BEYOND))).unwrap_or_default();
        let end = within(most);
        let secrets = self.secrets_in(window, pointer, least, true);
        let across = secrets.iter().map(|(range, _)| range).find(|r| r.start < end && end < r.end);
        let end = across.map_or(end, |range| range.end);
        let before = secrets.iter().filter(|(range, _)| range.end <= end).cloned();
        clip::note(&replace(text.get(..end).unwrap_or_default(), before), text.len() - end)
    }

    /// A field of the request that the record repeats: hidden when the operator named it.
    pub(super) fn identity(&self, text: &str, pointer: &str) -> String {
        let hidden = !text.is_empty() && self.pointers.iter().any(|named| covers(named, pointer));
        if hidden { self.walk.commit(pointer, text).as_ref().to_owned() } else { text.to_owned() }
    }

    /// JSON pointers of all that was masked in the input and the patch, sorted. Keys may be secrets too.
    pub(super) fn masked(mut self) -> Vec<String> {
        let mut pointers = std::mem::take(&mut self.walk.masked);
        for pointer in &mut pointers {
            let mut segments = pointer.split('/');
            let mut shown = segments.next().unwrap_or_default().to_owned();
            for segment in segments {
                let key = segment.replace("~1", "/").replace("~0", "~");
                push_segment(&mut shown, &self.replaced(&key, "", Strength::Sure, true).unwrap_or(key));
            }
            *pointer = shown;
        }
        pointers.sort_unstable();
        pointers.dedup();
        pointers
    }

    /// Masks what recurs in a document, which the walk is at.
    fn recurrences(&mut self, value: &mut Value, least: Strength, strings: Strings) {
        match value {
            Value::String(text) => {
                let shapes = strings == Strings::New;
                if let Some(masked) = self.replaced(text, self.walk.at(), least, shapes) {
                    *text = masked;
                    self.walk.masked.push(self.walk.at().to_owned());
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let length = self.walk.enter_item(i);
                    self.recurrences(item, least, strings);
                    self.walk.leave(length);
                }
            }
            Value::Object(map) if is_masked(map) => {}
            Value::Object(map) => {
                self.keys(map, least);
                for (key, item) in map.iter_mut() {
                    if item.is_object() || item.is_array() || item.is_string() {
                        let length = self.walk.enter(key);
                        self.recurrences(item, least, strings);
                        self.walk.leave(length);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn keys(&mut self, map: &mut Map<String, Value>, least: Strength) {
        let masked = |key: &String| {
            let masked = self.replaced(key, self.walk.at(), least, true)?;
            Some((key.clone(), masked))
        };
        let changed: Vec<(String, String)> = map.keys().filter_map(masked).collect();
        for (key, mut masked) in changed {
            let Some(value) = map.remove(&key) else { continue };
            while map.contains_key(&masked) {
                masked.push('\'');
            }
            let mut pointer = self.walk.at().to_owned();
            push_segment(&mut pointer, &masked);
            self.walk.masked.push(pointer);
            map.insert(masked, value);
        }
    }

    /// `text` with commitments for the secrets in it, and with `shapes` for what looks like one; `None` when there are
    /// none.
    fn replaced(&self, text: &str, pointer: &str, least: Strength, shapes: bool) -> Option<String> {
        let secrets = self.secrets_in(text, pointer, least, shapes);
        (!secrets.is_empty()).then(|| replace(text, secrets.into_iter()))
    }

    /// Where secrets stand in a text, ascending, and what takes their place.
    fn secrets_in(&self, text: &str, pointer: &str, least: Strength, shapes: bool) -> Vec<(Range<usize>, Arc<str>)> {
        let mut recurring = if self.walk.secrets.is_empty() { Vec::new() } else { self.walk.secrets.find(text, least) };
        let mut shaped = if shapes { shapes::find(text, Place::Anywhere) } else { Vec::new() };
        if recurring.is_empty() && shaped.is_empty() {
            return Vec::new();
        }
        // What stands for a secret is none, though it may stand where a password does: nobody could confirm it then.
        let made = commitments(text);
        let within = |range: &Range<usize>| made.iter().any(|m| m.start <= range.start && range.end <= m.end);
        recurring.retain(|r| !within(&r.range));
        shaped.retain(|range| !within(range));
        if shaped.len() > MOST_IN_A_STRING {
            return vec![(0..text.len(), self.walk.commit(pointer, text))];
        }
        let ranges = shapes::merge(recurring.iter().map(|r| r.range.clone()).chain(shaped).collect());
        let replacements = ranges.into_iter().map(|range| {
            let known = recurring.iter().find(|r| r.range.start >= range.start && r.range.end <= range.end);
            let secret = text.get(range.clone()).unwrap_or_default();
            let commitment = known.map_or_else(|| self.walk.commit(pointer, secret), |r| Arc::clone(&r.commitment));
            (range, commitment)
        });
        replacements.collect()
    }
}

/// Bytes beyond the end of what is shown of a text that are looked through.
const BEYOND: usize = 4096;

/// Whether the strings of a document were looked at for shapes of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strings {
    Walked,
    New,
}

/// The review as it is recorded: as it came, where there is nothing to hide in it, or a copy.
pub(in crate::decisions) struct Input<'r> {
    review: Unmanaged<'r>,
    copy: Option<Value>,
}

impl<'r> Input<'r> {
    fn of(request: &'r Request) -> Self {
        Self { review: Unmanaged(request.review(), &WAY), copy: None }
    }

    /// Something else in its place.
    pub(in crate::decisions) fn hidden(request: &'r Request, instead: Value) -> Self {
        Self { copy: Some(instead), ..Self::of(request) }
    }

    fn value(&self) -> &Value {
        self.copy.as_ref().unwrap_or(self.review.0)
    }

    /// A copy that can be changed.
    fn changed(&mut self) -> &mut Value {
        let Unmanaged(review, way) = self.review;
        self.copy.get_or_insert_with(|| copy(review, way))
    }
}

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.copy {
            None => self.review.serialize(serializer),
            Some(copy) => copy.serialize(serializer),
        }
    }
}

/// The way to `managedFields`: keys, level by level.
const WAY: [&[&str]; 4] = [&["request"], &["object", "oldObject"], &["metadata"], &[MANAGED_FIELDS]];

/// A value without what a way leads to.
#[derive(Clone, Copy)]
struct Unmanaged<'r>(&'r Value, &'static [&'static [&'static str]]);

impl Serialize for Unmanaged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Value::Object(map), Some((keys, rest))) = (self.0, self.1.split_first()) else {
            return self.0.serialize(serializer);
        };
        let mut out = serializer.serialize_map(None)?;
        for (key, value) in map {
            if !keys.contains(&key.as_str()) {
                out.serialize_entry(key, value)?;
            } else if !rest.is_empty() {
                out.serialize_entry(key, &Self(value, rest))?;
            }
        }
        out.end()
    }
}

/// A copy of `value` without what `way` leads to. It is not copied first, for it may be most of the object.
fn copy(value: &Value, way: &[&[&str]]) -> Value {
    let (Value::Object(map), Some((keys, rest))) = (value, way.split_first()) else { return value.clone() };
    let member = |(key, value): (&String, &Value)| {
        if !keys.contains(&key.as_str()) {
            return Some((key.clone(), value.clone()));
        }
        (!rest.is_empty()).then(|| (key.clone(), copy(value, rest)))
    };
    Value::Object(map.iter().filter_map(member).collect())
}

fn replace(text: &str, with: impl Iterator<Item = (Range<usize>, Arc<str>)>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut at = 0;
    for (range, commitment) in with {
        replaced.push_str(text.get(at..range.start).unwrap_or_default());
        replaced.push_str(&commitment);
        at = range.end;
    }
    replaced.push_str(text.get(at..).unwrap_or_default());
    replaced
}

fn is_masked(map: &Map<String, Value>) -> bool {
    let whole = |text: &str| commitments(text).first().is_some_and(|range| range.len() == text.len());
    map.len() == 1 && map.get("masked").and_then(Value::as_str).is_some_and(whole)
}

/// Whether a named place is `pointer` or above it.
fn covers(named: &[String], pointer: &str) -> bool {
    let mut segments = pointer.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~"));
    named.iter().all(|n| segments.next().is_some_and(|s| n == "*" || *n == s))
}
