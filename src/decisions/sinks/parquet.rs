//! Records as Apache Parquet: a row a record, the columns that people ask for beside the line itself. Knows columns and
//! bytes; must not know where files go.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::RowAccessor as _;
use parquet::schema::parser::parse_message_type;
use serde_json::json;

use super::Event;
use crate::decisions::DecisionRecord;

/// `time` is in microseconds UTC; `groups`, `policies` and `violations` are JSON; `leaf` is the leaf hash of `line`.
const SCHEMA: &str = "
message decision_log {
  required binary origin (STRING);
  required int64 seq;
  required binary type (STRING);
  required int64 time (TIMESTAMP(MICROS,true));
  optional binary decision_id (STRING);
  optional binary verdict (STRING);
  optional binary cause (STRING);
  optional binary endpoint (STRING);
  optional binary operation (STRING);
  optional binary api_group (STRING);
  optional binary api_version (STRING);
  optional binary kind (STRING);
  optional binary resource (STRING);
  optional binary subresource (STRING);
  optional binary namespace (STRING);
  optional binary name (STRING);
  optional binary username (STRING);
  optional binary groups (JSON);
  optional binary policies (JSON);
  optional binary violations (JSON);
  optional boolean dry_run;
  optional boolean mutated;
  optional binary policy_set (STRING);
  optional binary caller (STRING);
  required binary leaf (STRING);
  required binary line (STRING);
  optional binary body (STRING);
}";

/// A file with these records, one row group.
///
/// # Errors
/// What the encoder says.
pub(super) fn write(events: &[Event]) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = writer.next_row_group()?;
    let mut rows = Rows { group: &mut group, events };
    rows.text(|e| e.record.head.origin.clone())?;
    rows.number(|e| i64::try_from(e.seq()).unwrap_or(i64::MAX))?;
    rows.text(|e| e.record.head.r#type.as_str().to_owned())?;
    rows.number(|e| e.record.head.timestamp.parse().map_or(0, jiff::Timestamp::as_microsecond))?;
    rows.of_decision(|d| d.decision_id.clone())?;
    rows.of_decision(|d| d.verdict.as_str().to_owned())?;
    rows.of_decision(|d| d.cause.as_str().to_owned())?;
    rows.of_decision(|d| d.endpoint.as_str().to_owned())?;
    rows.of_decision(|d| d.request.operation.as_str().to_owned())?;
    rows.of_decision(|d| d.request.group.clone())?;
    rows.of_decision(|d| d.request.version.clone())?;
    rows.of_decision(|d| d.request.kind.clone())?;
    rows.of_decision(|d| d.request.resource.clone())?;
    rows.of_decision(|d| d.request.subresource.clone())?;
    rows.of_decision(|d| d.request.namespace.clone())?;
    rows.of_decision(|d| d.request.name.clone())?;
    rows.of_decision(|d| d.request.user.username.clone())?;
    rows.of_decision(|d| json!(d.request.user.groups).to_string())?;
    rows.of_decision(|d| {
        let mut names: Vec<&str> = d.violations.iter().map(|v| v.policy.as_str()).collect();
        names.extend(d.errors.iter().map(|e| e.policy.as_str()));
        names.dedup();
        json!(names).to_string()
    })?;
    rows.of_decision(|d| serde_json::to_string(&d.violations).unwrap_or_default())?;
    rows.flag(|d| d.request.dry_run)?;
    rows.flag(|d| d.mutated)?;
    rows.of_decision(|d| d.policy_set.to_string())?;
    rows.maybe(|e| e.decision.as_ref().and_then(|d| d.caller.addr.clone()))?;
    rows.text(Event::leaf)?;
    rows.text(|e| e.record.line.clone())?;
    rows.maybe(|e| e.body.as_ref().map(|b| b.body.clone()))?;
    group.close()?;
    writer.into_inner()
}

/// The columns of one row group, one after another.
struct Rows<'r, 'w> {
    group: &'r mut SerializedRowGroupWriter<'w, Vec<u8>>,
    events: &'r [Event],
}

impl Rows<'_, '_> {
    fn text(&mut self, of: impl Fn(&Event) -> String) -> Result<()> {
        let values: Vec<ByteArray> = self.events.iter().map(|e| ByteArray::from(of(e).into_bytes())).collect();
        let mut column = self.next()?;
        column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        column.close()
    }

    fn number(&mut self, of: impl Fn(&Event) -> i64) -> Result<()> {
        let values: Vec<i64> = self.events.iter().map(of).collect();
        let mut column = self.next()?;
        column.typed::<Int64Type>().write_batch(&values, None, None)?;
        column.close()
    }

    fn maybe(&mut self, of: impl Fn(&Event) -> Option<String>) -> Result<()> {
        let all: Vec<Option<String>> = self.events.iter().map(of).collect();
        let levels: Vec<i16> = all.iter().map(|v| i16::from(v.is_some())).collect();
        let values: Vec<ByteArray> = all.into_iter().flatten().map(|v| ByteArray::from(v.into_bytes())).collect();
        let mut column = self.next()?;
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        column.close()
    }

    fn of_decision(&mut self, of: impl Fn(&DecisionRecord) -> String) -> Result<()> {
        self.maybe(|e| e.decision.as_ref().map(&of))
    }

    fn flag(&mut self, of: impl Fn(&DecisionRecord) -> bool) -> Result<()> {
        let all: Vec<Option<bool>> = self.events.iter().map(|e| e.decision.as_ref().map(&of)).collect();
        let levels: Vec<i16> = all.iter().map(|v| i16::from(v.is_some())).collect();
        let values: Vec<bool> = all.into_iter().flatten().collect();
        let mut column = self.next()?;
        column.typed::<BoolType>().write_batch(&values, Some(&levels), None)?;
        column.close()
    }

    fn next(&mut self) -> Result<parquet::file::writer::SerializedColumnWriter<'_>> {
        self.group.next_column()?.ok_or_else(|| ParquetError::General("a column too many".to_owned()))
    }
}

/// A row of a file, as far as reconciling needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decisions) struct Row {
    pub origin: String,
    pub seq: u64,
    pub leaf: String,
    pub line: String,
}

/// Calls `each` for every row of a file.
///
/// # Errors
/// The file is none, or not of ours.
pub(in crate::decisions) fn read<E>(
    bytes: Bytes,
    mut each: impl FnMut(Row) -> std::result::Result<(), E>,
) -> Result<std::result::Result<(), E>> {
    const PROJECTION: &str = "message decision_log { required binary origin (STRING); required int64 seq;
      required binary leaf (STRING); required binary line (STRING); }";
    let reader = SerializedFileReader::new(bytes)?;
    for row in reader.get_row_iter(Some(parse_message_type(PROJECTION)?))? {
        let row = row?;
        let seq = u64::try_from(row.get_long(1)?).unwrap_or_default();
        let (origin, leaf, line) = (row.get_string(0)?.clone(), row.get_string(2)?.clone(), row.get_string(3)?.clone());
        if let Err(error) = each(Row { origin, seq, leaf, line }) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}
