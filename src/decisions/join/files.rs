//! Files of audit events, and the wrappings in which log shippers hand events on. Knows lines, lists and wrappings;
//! must not know what an event says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::AuditEvent;
use crate::decisions::lines::read_line;

/// A file that could not be read.
#[derive(Debug, Error)]
#[error("cannot read `{}`", path.display())]
pub struct AuditError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Bytes of a line that are held. The API server's batches have 400 events at most; what is longer is something else, such
/// as an archive, or a list that somebody printed without line feeds.
const MAX_LINE: usize = 64 << 20;

/// Calls `each` for every event of `path` (`-` is standard input; gzip is recognised). Gives how many pieces hold none:
/// lines, or items and messages of a readable line.
///
/// # Errors
/// [`AuditError`] when the file cannot be read; whatever `each` gives.
pub fn read_audit<E: From<AuditError>>(
    path: &Path,
    mut each: impl FnMut(AuditEvent) -> Result<(), E>,
) -> Result<u64, E> {
    lines(path, &mut |text| match AuditEvent::parse(text) {
        Some(event) => each(event).map(|()| true),
        None => Ok(false),
    })
}

/// Calls `each` for every event as it stands, whole; otherwise as [`read_audit`].
///
/// # Errors
/// As [`read_audit`].
pub fn read_audit_values<E: From<AuditError>>(
    path: &Path,
    mut each: impl FnMut(serde_json::Value) -> Result<(), E>,
) -> Result<u64, E> {
    lines(path, &mut |text| match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) if value.get("auditID").is_some_and(serde_json::Value::is_string) => each(value).map(|()| true),
        _ => Ok(false),
    })
}

/// Takes a JSON text; false when it is no event.
pub(in crate::decisions) type Take<'a, E> = dyn FnMut(&str) -> Result<bool, E> + 'a;

/// Gives every event to `take`, and counts the pieces that hold none.
fn lines<E: From<AuditError>>(path: &Path, take: &mut Take<'_, E>) -> Result<u64, E> {
    let fault = |source| AuditError { path: path.to_path_buf(), source };
    let mut reader = open(path).map_err(fault)?;
    let (mut line, mut unreadable) = (Vec::new(), 0);
    while let Some(read) = read_line(&mut reader, &mut line, MAX_LINE).map_err(fault)? {
        let whole = read.length == u64::try_from(line.len()).unwrap_or(u64::MAX);
        let text = line.trim_ascii();
        unreadable += match (whole, text.is_empty()) {
            (true, true) => 0,
            (true, false) => texts(text, 0, take)?,
            (false, _) => 1,
        };
    }
    Ok(unreadable)
}

/// Events within events: a shipper's wrapping holds text, which may hold a list.
const WRAPPINGS: u8 = 4;

/// What holds events. Its members are read one by one, so that a bad one is one bad one, and a list of any length needs
/// no more memory than its text.
#[derive(Deserialize)]
struct Wrapping<'a> {
    /// An `EventList`.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    /// A log shipper's: the event as text, or as it is.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// Likewise.
    #[serde(borrow, rename = "@message")]
    at_message: Option<&'a RawValue>,
    /// CloudWatch's subscription format.
    #[serde(borrow, rename = "logEvents")]
    log_events: Option<Vec<&'a RawValue>>,
    /// `CONTROL_MESSAGE` where CloudWatch only looks whether somebody is there.
    #[serde(borrow, rename = "messageType")]
    message_type: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
}

/// Gives the events of JSON values, one after the other, to `take`; gives how many pieces hold none.
pub(in crate::decisions) fn texts<E>(text: &[u8], depth: u8, take: &mut Take<'_, E>) -> Result<u64, E> {
    let (mut any, mut bad) = (false, 0);
    for value in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        any = true;
        match value {
            Ok(raw) => bad += value_of(raw.get(), depth, take)?,
            // What comes after it cannot be told apart.
            Err(_) => return Ok(bad + 1),
        }
    }
    Ok(if any { bad } else { 1 })
}

fn value_of<E>(text: &str, depth: u8, take: &mut Take<'_, E>) -> Result<u64, E> {
    if take(text)? {
        return Ok(0);
    }
    let wrapping = match serde_json::from_str::<Wrapping<'_>>(text) {
        Ok(wrapping) if depth < WRAPPINGS => wrapping,
        _ => return Ok(1),
    };
    if wrapping.message_type.is_some_and(|t| t.get() == "\"CONTROL_MESSAGE\"") {
        return Ok(0);
    }
    let mut bad = match (wrapping.message, wrapping.at_message) {
        (None, None) if wrapping.items.is_none() && wrapping.log_events.is_none() => 1,
        (None, None) => 0,
        (Some(one), None) | (None, Some(one)) => message(one, depth + 1, take)?,
        // The one may be the shipper's own remark on the other.
        (Some(one), Some(other)) => message(one, depth + 1, take)?.min(message(other, depth + 1, take)?),
    };
    for item in wrapping.items.unwrap_or_default() {
        bad += value_of(item.get(), depth + 1, take)?;
    }
    for event in wrapping.log_events.unwrap_or_default() {
        bad += match serde_json::from_str::<LogEvent<'_>>(event.get()) {
            Ok(event) => message(event.message, depth + 1, take)?,
            Err(_) => 1,
        };
    }
    Ok(bad)
}

fn message<E>(raw: &RawValue, depth: u8, take: &mut Take<'_, E>) -> Result<u64, E> {
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => texts(text.as_bytes(), depth, take),
        Err(_) => value_of(raw.get(), depth, take),
    }
}

/// A file as it is when it is not compressed.
pub(in crate::decisions) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    const BUFFER: usize = 256 * 1024;
    let raw: Box<dyn Read> = if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut reader = BufReader::with_capacity(BUFFER, raw);
    let gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// How many events a line holds, and how many pieces that are none; the same whether events are wanted whole or not.
    fn read(line: &str) -> (u64, u64) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("audit.log");
        std::fs::write(&file, line).expect("writes");
        let (mut events, mut values) = (0, 0);
        let bad = read_audit(&file, |_| {
            events += 1;
            Ok::<(), AuditError>(())
        });
        let bad = bad.expect("reads");
        let of_values = read_audit_values(&file, |_| {
            values += 1;
            Ok::<(), AuditError>(())
        });
        assert_eq!((values, of_values.expect("reads")), (events, bad), "{line}");
        (events, bad)
    }

    #[test]
    fn wrappings_of_log_shippers() {
        let event = json!({"auditID": "a", "requestReceivedTimestamp": "2026-03-01T10:00:00Z"});
        let list = json!({"kind": "EventList", "items": [event, event]});
        let message = |m: &Value| json!({"id": "1", "message": m});
        for (wrapped, events, bad) in [
            (event.to_string(), 1, 0),
            (list.to_string(), 2, 0),
            (json!({"@message": list.to_string()}).to_string(), 2, 0),
            (json!({"@message": event.to_string(), "message": "seen"}).to_string(), 1, 0),
            (json!({"message": event}).to_string(), 1, 0),
            (json!({"logEvents": [message(&json!(event.to_string())), message(&event)]}).to_string(), 2, 0),
            (json!({"messageType": "CONTROL_MESSAGE", "logEvents": [message(&json!("there?"))]}).to_string(), 0, 0),
            (json!({"kind": "EventList", "items": []}).to_string(), 0, 0),
            // Several on one line.
            (format!("{event}{event} {list}"), 4, 0),
            // One bad one does not take the others with it.
            (format!("{event} {{\"auditID\": "), 1, 1),
            (json!({"items": [event, 7, {"kind": "Event"}, event]}).to_string(), 2, 2),
            (json!({"logEvents": [message(&json!("started")), {"id": 3}, message(&event)]}).to_string(), 1, 2),
            ("x".to_owned(), 0, 1),
            ("{}".to_owned(), 0, 1),
            ("[]".to_owned(), 0, 1),
            (json!({"message": "started"}).to_string(), 0, 1),
            (json!({"message": ""}).to_string(), 0, 1),
        ] {
            assert_eq!(read(&wrapped), (events, bad), "{wrapped}");
        }
    }
}
