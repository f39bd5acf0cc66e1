//! Where secrets stand in Kubernetes objects. Knows documents and their places; must not know records or files.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::key::Prk;
use super::secrets::{Secrets, Strength};
use super::shapes::{self, Place};

/// `kubectl apply` keeps the whole manifest in it, Secrets included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Policies can make values nested deeper than any review (128, serde_json's limit); below this all is masked.
const MAX_DEPTH: usize = 256;

/// Credentials in one string that are masked one by one; with more all of it is.
pub(super) const MOST_IN_A_STRING: usize = 256;

/// What the API server's field management writes; nobody asked for it, and it may be most of an object.
pub(super) const MANAGED_FIELDS: &str = "managedFields";
const METADATA: [&str; 2] = ["/request/object/metadata", "/request/oldObject/metadata"];

/// One walk over the documents of a decision: finds what is to be masked, and remembers it. It changes nothing itself, so
/// that a document without a secret need not be copied.
pub(super) struct Walk<'m> {
    prk: &'m Prk,
    decision_id: &'m str,
    pub secrets: Secrets,
    /// JSON pointers (RFC 6901) of what was masked, in the order of the walk.
    pub masked: Vec<String>,
    /// What stands in place of what was found since changes were made last, by JSON pointer.
    changes: Vec<(String, Value)>,
    /// Places that are hidden already, because the operator named them: what stands there still says what is beside it.
    hidden: HashSet<String>,
    /// Whether a key that was passed looks like a credential.
    pub shaped_keys: bool,
    pointer: String,
    depth: usize,
}

impl<'m> Walk<'m> {
    pub(super) fn new(prk: &'m Prk, decision_id: &'m str) -> Self {
        Self {
            prk,
            decision_id,
            secrets: Secrets::default(),
            masked: Vec::new(),
            changes: Vec::new(),
            hidden: HashSet::new(),
            shaped_keys: false,
            pointer: String::new(),
            depth: 0,
        }
    }

    /// Whether something was found that is not changed yet.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Makes the changes in the document that stands at `base`.
    pub(super) fn change(&mut self, document: &mut Value, base: &str) {
        self.hidden.clear();
        for (pointer, put) in std::mem::take(&mut self.changes) {
            match pointer.strip_prefix(base).and_then(|rest| document.pointer_mut(rest)) {
                Some(place) => *place = put,
                // There is no such place: nothing is shown rather than too much.
                None => *document = json!({ "masked": &*self.commit(base, &document.to_string()) }),
            }
        }
    }

    /// Finds what is to be masked in `value`, which stands at `pointer` and is of `kind` if it does not say so itself.
    pub(super) fn document(&mut self, value: &Value, pointer: &str, kind: &str) {
        pointer.clone_into(&mut self.pointer);
        match value {
            Value::Object(map) => self.object(map, Some(kind)),
            other => self.value(other, Place::Anywhere),
        }
    }

    /// All below the places that `segments` name (`*` for any) in `value`. To be asked before anything else, which then
    /// leaves these places alone.
    pub(super) fn named(&mut self, value: &Value, segments: &[String], at: &str) {
        let Some((first, rest)) = segments.split_first() else {
            at.clone_into(&mut self.pointer);
            let before = self.changes.len();
            self.leaves(value, Strength::Sure);
            self.hidden.extend(self.changes.iter().skip(before).map(|(pointer, _)| pointer.clone()));
            return;
        };
        let taken = |key: &str| first == "*" || first == key;
        match value {
            Value::Object(map) => {
                for (key, inner) in map.iter().filter(|(key, _)| taken(key) && !is_managed(key, at)) {
                    let mut below = at.to_owned();
                    push_segment(&mut below, key);
                    self.named(inner, rest, &below);
                }
            }
            Value::Array(items) => {
                for (i, inner) in items.iter().enumerate().filter(|(i, _)| taken(&i.to_string())) {
                    self.named(inner, rest, &format!("{at}/{i}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// What `segments` name below the review, in a patch (RFC 6902) of its object.
    pub(super) fn named_in_patch(&mut self, patch: &Value, segments: &[String]) {
        let Some(named) = segments.get(2..).filter(|_| is_of_object(segments)) else { return };
        for (i, operation) in patch.as_array().into_iter().flatten().enumerate() {
            let Some(value) = operation.get("value") else { continue };
            let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
            let path: Vec<String> = path.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
            // `-` is the end of a list, whatever its number.
            let meets = |(n, s): (&String, &String)| n == "*" || n == s || (s == "-" && n.parse::<u64>().is_ok());
            if named.iter().zip(&path).all(meets) {
                self.named(value, named.get(path.len()..).unwrap_or_default(), &format!("/patch/{i}/value"));
            }
        }
    }

    /// What is to be masked in an RFC 6902 patch on an object of `kind`.
    pub(super) fn patch(&mut self, patch: &Value, kind: &str) {
        for (i, operation) in patch.as_array().into_iter().flatten().enumerate() {
            let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
            let Some(value) = operation.get("value") else { continue };
            self.pointer = format!("/patch/{i}/value");
            let mut segments = path.split('/').skip(1);
            let first = segments.next().unwrap_or_default();
            let last = path.rsplit('/').find(|s| s.parse::<usize>().is_err() && *s != "-").unwrap_or_default();
            match (Kind::of(kind).holds_secrets(first), value) {
                (Some(strength), value) => self.leaves(value, strength),
                (None, Value::Object(map)) if path.is_empty() => self.object(map, Some(kind)),
                (None, value) => self.field(last, value, false),
            }
        }
    }

    fn object(&mut self, map: &Map<String, Value>, assumed: Option<&str>) {
        let kind = Kind::of(map.get("kind").and_then(Value::as_str).or(assumed).unwrap_or_default());
        // Beside a value stands its name, as `name` or as `key`; either says what it is.
        let names = map.get("value").filter(|v| v.is_string()).map(|_| ["name", "key"].map(|n| map.get(n)?.as_str()));
        let names = || names.iter().flatten().flatten().copied();
        let pair = names().find(|name| shapes::names_a_credential(name)).or_else(|| names().next());
        for (key, value) in map {
            if is_managed(key, &self.pointer) {
                continue;
            }
            let length = self.enter(key);
            match (kind.holds_secrets(key), pair) {
                (Some(strength), _) => self.leaves(value, strength),
                (None, Some(name)) if key == "value" => self.environment(name, value),
                (None, _) => self.field(key, value, true),
            }
            self.leave(length);
        }
    }

    /// A field by its name; whether the object that it is of is known.
    fn field(&mut self, name: &str, value: &Value, known: bool) {
        match value {
            Value::String(text)
                if name == LAST_APPLIED || name == "kubectl.kubernetes.io~1last-applied-configuration" =>
            {
                if let Ok(manifest) = serde_json::from_str::<Value>(text) {
                    self.nested(&manifest);
                }
                self.mask(value, Strength::Likely);
            }
            Value::String(text) if shapes::field_holds_credential(name) && !shapes::is_reference(text) => {
                self.mask(value, Strength::Sure);
            }
            Value::Array(items) if matches!(name, "args" | "command") => self.arguments(items),
            Value::Array(items) if shapes::list_holds_credentials(name) => {
                for (i, item) in items.iter().enumerate() {
                    let length = self.enter_item(i);
                    match item {
                        Value::String(text) if !shapes::is_reference(text) => self.mask(item, Strength::Sure),
                        _ => self.value(item, Place::Anywhere),
                    }
                    self.leave(length);
                }
            }
            Value::String(_) if matches!(name, "args" | "command" | "value") && !known => {
                self.value(value, Place::Launch);
            }
            _ => self.value(value, Place::Anywhere),
        }
    }

    fn environment(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) if shapes::names_a_credential(name) && !shapes::is_reference(text) => {
                self.mask(value, Strength::Sure);
            }
            _ => self.value(value, Place::Launch),
        }
    }

    fn arguments(&mut self, items: &[Value]) {
        let mut before = "";
        for (i, item) in items.iter().enumerate() {
            let length = self.enter_item(i);
            let argument = item.as_str().unwrap_or_default();
            let flagged = shapes::is_credential_flag(before) && !shapes::is_credential_flag(argument);
            let login = shapes::is_login_flag(before).then(|| shapes::password_of(argument)).flatten();
            match item {
                Value::String(text) if (flagged || login.is_some()) && !shapes::is_reference(text) => {
                    self.mask(item, Strength::Sure);
                    if let Some(password) = login {
                        let commitment = self.commit(self.at(), text);
                        self.secrets.take(password, &commitment, Strength::Sure);
                    }
                }
                _ => self.value(item, Place::Launch),
            }
            before = argument;
            self.leave(length);
        }
    }

    fn value(&mut self, value: &Value, place: Place) {
        self.depth += 1;
        match value {
            Value::Array(_) | Value::Object(_) if self.depth > MAX_DEPTH => self.mask(value, Strength::Likely),
            Value::String(text) => self.string(value, text, place),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    let length = self.enter_item(i);
                    self.value(item, place);
                    self.leave(length);
                }
            }
            Value::Object(map) => self.object(map, None),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        self.depth -= 1;
    }

    /// A string with a credential in it goes as a whole where processes are started, else only the credential goes.
    fn string(&mut self, value: &Value, text: &str, place: Place) {
        let found = shapes::find(text, place);
        if found.is_empty() {
            return;
        }
        // A commitment for each costs more than such a text is worth.
        if found.len() > MOST_IN_A_STRING {
            return self.mask(value, Strength::Likely);
        }
        let mut masked = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            let secret = text.get(range.clone()).unwrap_or_default();
            let commitment = self.prk.commit(self.decision_id, &self.pointer, secret.as_bytes());
            self.secrets.take(secret, &commitment, Strength::Sure);
            masked.push_str(text.get(at..range.start).unwrap_or_default());
            masked.push_str(&commitment);
            at = range.end;
        }
        masked.push_str(text.get(at..).unwrap_or_default());
        if place == Place::Launch {
            return self.mask(value, Strength::Likely);
        }
        self.put(Value::String(masked));
    }

    /// Masks every value below, whatever it is.
    fn leaves(&mut self, value: &Value, strength: Strength) {
        self.depth += 1;
        match value {
            Value::Array(items) if self.depth <= MAX_DEPTH => {
                for (i, item) in items.iter().enumerate() {
                    let length = self.enter_item(i);
                    self.leaves(item, strength);
                    self.leave(length);
                }
            }
            Value::Object(map) if self.depth <= MAX_DEPTH => {
                for (key, item) in map {
                    if is_managed(key, &self.pointer) {
                        continue;
                    }
                    let length = self.enter(key);
                    let sure = strength == Strength::Sure || shapes::names_a_credential(key);
                    self.leaves(item, if sure { Strength::Sure } else { strength });
                    self.leave(length);
                }
            }
            Value::Null => {}
            _ => self.mask(value, strength),
        }
        self.depth -= 1;
    }

    /// Puts something in the place of what is here.
    fn put(&mut self, value: Value) {
        if self.hidden.contains(&self.pointer) {
            return;
        }
        self.masked.push(self.pointer.clone());
        self.changes.push((self.pointer.clone(), value));
    }

    /// Puts the commitment in the value's place.
    fn mask(&mut self, value: &Value, strength: Strength) {
        let text = match value {
            Value::String(text) if text.is_empty() => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let commitment = self.prk.commit(self.decision_id, &self.pointer, text.as_bytes());
        let shaped = strength == Strength::Likely && !shapes::find(&text, Place::Launch).is_empty();
        self.secrets.take(&text, &commitment, strength);
        if shaped {
            for range in shapes::find(&text, Place::Launch) {
                self.secrets.take(text.get(range).unwrap_or_default(), &commitment, Strength::Sure);
            }
        }
        self.put(json!({ "masked": &*commitment }));
    }

    /// Secrets of a manifest inside a string that is masked as a whole: they are remembered, not listed.
    fn nested(&mut self, manifest: &Value) {
        let (listed, changes) = (self.masked.len(), self.changes.len());
        let (length, depth) = (self.pointer.len(), self.depth);
        self.value(manifest, Place::Anywhere);
        self.masked.truncate(listed);
        self.changes.truncate(changes);
        self.pointer.truncate(length);
        self.depth = depth;
    }

    /// Goes down into `key`; gives the length to go back to.
    pub(super) fn enter(&mut self, key: &str) -> usize {
        let length = self.pointer.len();
        push_segment(&mut self.pointer, key);
        self.shaped_keys |= !shapes::find(key, Place::Anywhere).is_empty();
        length
    }

    /// The same for an item of a list.
    pub(super) fn enter_item(&mut self, index: usize) -> usize {
        let length = self.pointer.len();
        // Writing to a string cannot fail.
        let _ = write!(self.pointer, "/{index}");
        length
    }

    pub(super) fn leave(&mut self, length: usize) {
        self.pointer.truncate(length);
    }

    /// Goes to a document.
    pub(super) fn go(&mut self, pointer: &str) {
        pointer.clone_into(&mut self.pointer);
    }

    /// Where the walk is.
    pub(super) fn at(&self) -> &str {
        &self.pointer
    }

    pub(super) fn commit(&self, pointer: &str, value: &str) -> Arc<str> {
        self.prk.commit(self.decision_id, pointer, value.as_bytes())
    }
}

/// Whether a named place is the review's object, or below it.
fn is_of_object(segments: &[String]) -> bool {
    let is = |i: usize, name: &str| segments.get(i).is_some_and(|s| s == name || s == "*");
    is(0, "request") && is(1, "object")
}

/// What is left out of the record, so nothing is to be masked in it.
fn is_managed(key: &str, at: &str) -> bool {
    key == MANAGED_FIELDS && METADATA.contains(&at)
}

/// Kinds that hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    ConfigMap,
    Command,
    Other,
}

impl Kind {
    fn of(kind: &str) -> Self {
        match kind {
            "Secret" => Self::Secret,
            "ConfigMap" => Self::ConfigMap,
            "PodExecOptions" | "PodAttachOptions" => Self::Command,
            _ => Self::Other,
        }
    }

    /// Fields of which every value is (or may be) a secret.
    fn holds_secrets(self, field: &str) -> Option<Strength> {
        match (self, field) {
            (Self::Secret, "data" | "stringData") => Some(Strength::Sure),
            (Self::ConfigMap, "data" | "binaryData") | (Self::Command, "command") => Some(Strength::Likely),
            _ => None,
        }
    }
}

/// Goes on with a JSON pointer (RFC 6901 section 3).
pub(super) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    if segment.bytes().any(|b| b == b'~' || b == b'/') {
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(segment);
    }
}
