//! Bodies that no record has: a crash came between the two. Knows what a body says of its request; they are erased by
//! that, for there is nothing else to go by.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Erasure, for_each_body};
use crate::decisions::LogError;
use crate::decisions::body::BodyParts;
use crate::decisions::hold::Hold;
use crate::decisions::segments::Segment;
use crate::decisions::selection::Unrecorded;

/// Ids of the bodies of a segment that no record of it has (`recorded` are those that have one) and that the erasure is
/// about; none of them may be held.
pub(super) fn find(
    dir: &Path,
    segment: &Segment,
    erasure: &Erasure,
    holds: &[Hold],
    recorded: &HashSet<String>,
    mentioned: &HashSet<String>,
) -> Result<HashSet<String>, LogError> {
    let mut found = HashSet::new();
    for_each_body(dir, segment, |text| {
        let Some(parts) = BodyParts::of(text).filter(|parts| !recorded.contains(parts.decision_id)) else {
            return Ok(());
        };
        let body: Value = serde_json::from_str(parts.body()).unwrap_or(Value::Null);
        let orphan = unrecorded(parts.decision_id, &body);
        if !erasure.takes_unrecorded(&orphan, mentioned.contains(orphan.id)) {
            return Ok(());
        }
        if let Some(hold) = holds.iter().find(|hold| hold.selection.could_take_unrecorded(&orphan)) {
            let what = format!("the body of `{}`, which has no record,", orphan.id);
            return Err(LogError::Held { what, name: hold.name.clone() });
        }
        found.insert(orphan.id.to_owned());
        Ok(())
    })?;
    Ok(found)
}

fn unrecorded<'b>(id: &'b str, body: &'b Value) -> Unrecorded<'b> {
    let request = body.pointer("/input/request");
    let text = |pointer: &str| request.and_then(|r| r.pointer(pointer)).and_then(Value::as_str).unwrap_or_default();
    let extra = request.and_then(|r| r.pointer("/userInfo/extra")).and_then(Value::as_object);
    let extra = extra.into_iter().flat_map(serde_json::Map::values).filter_map(Value::as_array).flatten();
    Unrecorded {
        id,
        time: made(id),
        readable: request.is_some(),
        namespace: text("/namespace"),
        users: std::iter::once(text("/userInfo/username")).chain(extra.filter_map(Value::as_str)).collect(),
    }
}

/// When an id was made (UUIDv7, RFC 9562 section 5.7).
fn made(id: &str) -> Option<Timestamp> {
    let (seconds, nanos) = Uuid::try_parse(id).ok()?.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}
