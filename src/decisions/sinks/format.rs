//! Records in the formats of others. Pure: an event in, JSON out, the same for the same event, so that what was delivered
//! can be held against the log. What each format holds is in `docs/sinks.md`.

mod cloudevents;
mod ocsf;
mod opa;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Event;
use crate::tlog::Hash;

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

    /// The event as one JSON document; `None` where the format has no word for it.
    #[must_use]
    pub fn write(self, event: &Event) -> Option<String> {
        match self {
            // The line as it stands, byte for byte: it is the leaf.
            Self::Native => {
                let mut text = format!(r#"{{"leaf":"{}","record":{}"#, event.leaf(), event.record.line);
                if let Some(body) = &event.body {
                    text.push_str(r#","body":"#);
                    text.push_str(&body.body);
                }
                text.push('}');
                Some(text)
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

/// The leaf of the line in a native event, as its bytes stand.
#[must_use]
pub fn native_leaf(text: &str) -> Option<Hash> {
    #[derive(Deserialize)]
    struct Native<'t> {
        #[serde(borrow)]
        record: &'t serde_json::value::RawValue,
    }
    let native: Native<'_> = serde_json::from_str(text).ok()?;
    Some(crate::tlog::leaf_hash(native.record.get().as_bytes()))
}
