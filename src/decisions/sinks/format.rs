//! Records in the formats of others. Pure: an event in, JSON out, the same for the same event, so that what was delivered
//! can be held against the log. What each format holds is in `docs/sinks.md`.

mod cloudevents;
mod ocsf;
mod opa;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Event;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `{leaf, record, body?}`: the line itself.
    Native,
    /// OPA's decision event; decisions only.
    Opa,
    /// OCSF API Activity (6003); decisions only.
    Ocsf,
    /// CloudEvents 1.0, structured, with the record as its data.
    CloudEvents,
}

impl Format {
    /// The name in configuration and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Opa => "opa",
            Self::Ocsf => "ocsf",
            Self::CloudEvents => "cloudevents",
        }
    }

    /// Whether the format has a word for records of this kind.
    #[must_use]
    pub fn takes(self, event: &Event) -> bool {
        match self {
            Self::Native | Self::CloudEvents => true,
            Self::Opa | Self::Ocsf => event.decision.is_some(),
        }
    }

    /// Whether bodies can go along.
    #[must_use]
    pub fn holds_bodies(self) -> bool {
        self != Self::Ocsf
    }

    /// Takes out of a document what comes of the body.
    pub fn remove_body(self, document: &mut Value) {
        let (place, member) = match self {
            Self::Native => ("", "body"),
            Self::CloudEvents => ("/data", "body"),
            Self::Opa => ("/result", "patch"),
            Self::Ocsf => return,
        };
        let mut remove = |place: &str, member: &str| {
            document.pointer_mut(place).and_then(Value::as_object_mut).and_then(|m| m.remove(member))
        };
        remove(place, member);
        if self == Self::Opa {
            remove("", "input");
        }
    }

    /// The event as one JSON document; `None` where the format has no word for it.
    #[must_use]
    pub fn write(self, event: &Event) -> Option<String> {
        match self {
            Self::Native => {
                Some(native_text(&event.leaf(), &event.record.line, event.body.as_ref().map(|b| b.body.as_str())))
            }
            Self::Opa => opa::event(event).map(|v| v.to_string()),
            Self::Ocsf => ocsf::event(event).map(|v| v.to_string()),
            Self::CloudEvents => Some(cloudevents::event(event).to_string()),
        }
    }
}

/// What says in any format which record an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The log.
    pub origin: String,
    /// The number in it.
    pub seq: u64,
    /// The leaf, 64 hex digits.
    pub leaf: String,
    /// The format.
    pub format: Format,
}

/// The members by which OPA and OCSF events name their record.
fn provenance(event: &Event) -> Value {
    json!({"origin": event.record.head.origin, "seq": event.seq(), "leaf": event.leaf()})
}

/// Which record an event is, and in which format it is written; `None` when it is none of ours. The leaf of the native
/// format is that of the line which is in it.
#[must_use]
pub fn provenance_of(text: &str) -> Option<Provenance> {
    let value: Value = serde_json::from_str(text).ok()?;
    let of = |place: &Value, format| {
        Some(Provenance {
            origin: place.get("origin")?.as_str()?.to_owned(),
            seq: place.get("seq")?.as_u64()?,
            leaf: place.get("leaf")?.as_str()?.to_owned(),
            format,
        })
    };
    if value.get("specversion").is_some() {
        let (origin, seq) = value.get("id")?.as_str()?.rsplit_once('/')?;
        let leaf = value.get("portcullisleaf")?.as_str()?.to_owned();
        return Some(Provenance {
            origin: origin.to_owned(),
            seq: seq.parse().ok()?,
            leaf,
            format: Format::CloudEvents,
        });
    }
    if value.get("class_uid").is_some() {
        return of(value.pointer("/unmapped/portcullis")?, Format::Ocsf);
    }
    if let Some(place) = value.get("portcullis") {
        return of(place, Format::Opa);
    }
    let record = value.get("record")?;
    let leaf = value.get("leaf")?.as_str()?.to_owned();
    let (origin, seq) = (record.get("origin")?.as_str()?.to_owned(), record.get("seq")?.as_u64()?);
    Some(Provenance { origin, seq, leaf, format: Format::Native })
}

/// A native event in its parts.
pub(in crate::decisions) struct NativeParts<'t> {
    /// The line, as its bytes stand.
    pub line: &'t str,
    /// The body, as its bytes stand.
    pub body: Option<&'t str>,
}

impl<'t> NativeParts<'t> {
    /// The parts of an event; `None` where one is not there or is there twice.
    pub(in crate::decisions) fn of(text: &'t str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Native<'t> {
            #[serde(borrow)]
            record: &'t RawValue,
            #[serde(borrow)]
            body: Option<&'t RawValue>,
        }
        let Native { record, body } = serde_json::from_str(text).ok()?;
        Some(Self { line: record.get(), body: body.map(RawValue::get) })
    }
}

/// A native event. The line stands in it byte for byte: it is the leaf.
pub(in crate::decisions) fn native_text(leaf: &str, line: &str, body: Option<&str>) -> String {
    let mut text = format!(r#"{{"leaf":"{leaf}","record":{line}"#);
    if let Some(body) = body {
        text.push_str(r#","body":"#);
        text.push_str(body);
    }
    text.push('}');
    text
}
