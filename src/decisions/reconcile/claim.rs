//! What a delivered event says: which leaf it is of, and digests of the rest, so that it can be held against the record
//! when that comes by. Knows formats; must not know the log.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decisions::sinks::{Event, Format, NativeParts, ParquetRow, Provenance, native_text};
use crate::decisions::{BodyState, LogError, Record};
use crate::policy::Digest;
use crate::tlog::leaf_hash;

/// What is kept of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// Of the line, where the event has it byte for byte; else what the event says.
    leaf: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    /// Something that no record makes; why.
    Wrong(String),
    /// The line, nothing that the line does not make, and the body, if it has one.
    Line { body: Option<Digest> },
    /// What a format makes of a record: all of it, and all but what comes of the body.
    Made { format: Format, whole: Digest, rest: Digest },
}

/// What a claim comes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Judgement {
    Intact,
    /// What it is made of is deleted; what is left does not speak against it.
    LeafOnly,
    Altered(String),
}

const ANOTHER_LEAF: &str = "the tree has another leaf";
const ANOTHER_BODY: &str = "its body is not that of the record";
const OTHER_FIELDS: &str = "its fields are not those of the record";

impl Claim {
    /// Of an event in any format but Parquet.
    pub(super) fn of_event(text: &str, named: &Provenance) -> Self {
        if named.format == Format::Native { Self::of_native(text, named) } else { Self::of_made(text, named) }
    }

    /// Of a row, and the log and the number that its line says.
    pub(super) fn of_row(row: &ParquetRow) -> (String, u64, Self) {
        let leaf = leaf_of(&row.line);
        let Some(record) = Record::parse(&row.line) else {
            let what = What::Wrong("its line is no record".to_owned());
            return (row.origin.clone(), row.seq, Self { leaf, what });
        };
        let (origin, seq) = (record.head.origin.clone(), record.head.seq);
        let what = if row.leaf != leaf {
            What::Wrong("its line has another hash than its column `leaf`".to_owned())
        } else if let Some(column) = row.differs_from(&Event::of(record, None)) {
            What::Wrong(format!("its column `{column}` is not what its line makes"))
        } else {
            What::Line { body: row.body.as_ref().map(|b| Digest::of(b.as_bytes())) }
        };
        (origin, seq, Self { leaf, what })
    }

    fn of_native(text: &str, named: &Provenance) -> Self {
        let Some(parts) = NativeParts::of(text) else {
            return Self { leaf: named.leaf.clone(), what: What::Wrong("it is no event as sinks write it".to_owned()) };
        };
        let leaf = leaf_of(parts.line);
        let what = if leaf != named.leaf {
            What::Wrong("its record has another hash than it says".to_owned())
        } else if text != native_text(&leaf, parts.line, parts.body) {
            What::Wrong("it has more than leaf, record and body".to_owned())
        } else {
            What::Line { body: parts.body.map(|b| Digest::of(b.as_bytes())) }
        };
        Self { leaf, what }
    }

    fn of_made(text: &str, named: &Provenance) -> Self {
        let what = match digests(named.format, text) {
            Some((whole, rest)) => What::Made { format: named.format, whole, rest },
            None => What::Wrong("a member is in it twice".to_owned()),
        };
        Self { leaf: named.leaf.clone(), what }
    }

    /// Holds it against the leaf of the tree and, where it is still there, the record with its body.
    pub(super) fn judge(
        &self,
        leaf: &str,
        record: Option<&Record>,
        body: &mut dyn FnMut() -> Result<BodyState, LogError>,
    ) -> Result<Judgement, LogError> {
        if let What::Wrong(why) = &self.what {
            return Ok(Judgement::Altered(why.clone()));
        }
        if self.leaf != leaf {
            return Ok(altered(ANOTHER_LEAF));
        }
        match (&self.what, record) {
            (What::Wrong(_) | What::Line { body: None }, _) => Ok(Judgement::Intact),
            (What::Line { body: Some(_) } | What::Made { .. }, None) => Ok(Judgement::LeafOnly),
            (What::Line { body: Some(delivered) }, Some(record)) => judge_body(*delivered, record, body),
            (What::Made { format, whole, rest }, Some(record)) => judge_made(*format, (*whole, *rest), record, body),
        }
    }
}

fn judge_body(
    delivered: Digest,
    record: &Record,
    body: &mut dyn FnMut() -> Result<BodyState, LogError>,
) -> Result<Judgement, LogError> {
    if record.decision().is_none() {
        return Ok(altered(ANOTHER_BODY));
    }
    Ok(match body()? {
        BodyState::Intact(body) if Digest::of(body.body.as_bytes()) == delivered => Judgement::Intact,
        BodyState::Intact(_) | BodyState::Altered(_) => altered(ANOTHER_BODY),
        BodyState::Deleted | BodyState::Erased | BodyState::Missing => Judgement::LeafOnly,
    })
}

fn judge_made(
    format: Format,
    delivered: (Digest, Digest),
    record: &Record,
    body: &mut dyn FnMut() -> Result<BodyState, LogError>,
) -> Result<Judgement, LogError> {
    let make = |body| format.write(&Event::of(record.clone(), body)).and_then(|text| digests(format, &text));
    let Some((whole, rest)) = make(None) else { return Ok(altered(OTHER_FIELDS)) };
    if whole == delivered.0 {
        return Ok(Judgement::Intact);
    }
    if rest != delivered.1 || !format.holds_bodies() || record.decision().is_none() {
        return Ok(altered(OTHER_FIELDS));
    }
    let same = match body()? {
        BodyState::Intact(body) => make(Some(body)).is_some_and(|(whole, _)| whole == delivered.0),
        BodyState::Altered(_) => false,
        // It may have gone along and be deleted here.
        BodyState::Deleted | BodyState::Erased | BodyState::Missing => return Ok(Judgement::LeafOnly),
    };
    Ok(if same { Judgement::Intact } else { altered(ANOTHER_BODY) })
}

fn altered(why: &str) -> Judgement {
    Judgement::Altered(why.to_owned())
}

/// Digests of a document: of all of it, and of all but what comes of the body. The order of members does not matter;
/// with one that is there twice, readers would differ in what it says.
fn digests(format: Format, text: &str) -> Option<(Digest, Digest)> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    if members(&value) != colons(text) {
        return None;
    }
    value.sort_all_objects();
    let whole = Digest::of(value.to_string().as_bytes());
    format.remove_body(&mut value);
    Some((whole, Digest::of(value.to_string().as_bytes())))
}

/// How many members all objects have.
fn members(value: &Value) -> usize {
    match value {
        Value::Object(of) => of.len() + of.values().map(members).sum::<usize>(),
        Value::Array(of) => of.iter().map(members).sum(),
        _ => 0,
    }
}

/// How many members a text has: a colon outside of strings stands for each.
fn colons(text: &str) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            b':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// The leaf of a line, 64 hex digits.
pub(super) fn leaf_of(line: &str) -> String {
    HEXLOWER.encode(leaf_hash(line.as_bytes()).as_bytes())
}
