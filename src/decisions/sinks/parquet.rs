//! Records as Apache Parquet: a row a record, the columns that people ask for beside the line itself. Knows columns and
//! bytes; must not know where files go.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;
use serde_json::json;

use super::Event;
use crate::decisions::DecisionRecord;

/// What stands in a column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Null,
    Text(String),
    Number(i64),
    Flag(bool),
    /// Nothing that we write.
    Strange,
}

/// How a column is declared, and what a record has in it.
struct Column {
    declared: &'static str,
    of: fn(&Event) -> Cell,
}

/// In their order. `time` is in microseconds UTC; `groups`, `policies` and `violations` are JSON; `leaf` is the leaf hash of
/// `line`.
const COLUMNS: [Column; 27] = [
    column("required binary origin (STRING)", |e| Cell::Text(e.record.head.origin.clone())),
    column("required int64 seq", |e| Cell::Number(i64::try_from(e.seq()).unwrap_or(i64::MAX))),
    column("required binary type (STRING)", |e| Cell::Text(e.record.head.r#type.as_str().to_owned())),
    column("required int64 time (TIMESTAMP(MICROS,true))", |e| {
        Cell::Number(e.record.head.timestamp.parse().map_or(0, jiff::Timestamp::as_microsecond))
    }),
    column("optional binary decision_id (STRING)", |e| text(e, |d| d.decision_id.clone())),
    column("optional binary verdict (STRING)", |e| text(e, |d| d.verdict.as_str().to_owned())),
    column("optional binary cause (STRING)", |e| text(e, |d| d.cause.as_str().to_owned())),
    column("optional binary endpoint (STRING)", |e| text(e, |d| d.endpoint.as_str().to_owned())),
    column("optional binary operation (STRING)", |e| text(e, |d| d.request.operation.as_str().to_owned())),
    column("optional binary api_group (STRING)", |e| text(e, |d| d.request.group.clone())),
    column("optional binary api_version (STRING)", |e| text(e, |d| d.request.version.clone())),
    column("optional binary kind (STRING)", |e| text(e, |d| d.request.kind.clone())),
    column("optional binary resource (STRING)", |e| text(e, |d| d.request.resource.clone())),
    column("optional binary subresource (STRING)", |e| text(e, |d| d.request.subresource.clone())),
    column("optional binary namespace (STRING)", |e| text(e, |d| d.request.namespace.clone())),
    column("optional binary name (STRING)", |e| text(e, |d| d.request.name.clone())),
    column("optional binary username (STRING)", |e| text(e, |d| d.request.user.username.clone())),
    column("optional binary groups (JSON)", |e| text(e, |d| json!(d.request.user.groups).to_string())),
    column("optional binary policies (JSON)", |e| text(e, policies)),
    column("optional binary violations (JSON)", |e| {
        text(e, |d| serde_json::to_string(&d.violations).unwrap_or_default())
    }),
    column("optional boolean dry_run", |e| flag(e, |d| d.request.dry_run)),
    column("optional boolean mutated", |e| flag(e, |d| d.mutated)),
    column("optional binary policy_set (STRING)", |e| text(e, |d| d.policy_set.to_string())),
    column("optional binary caller (STRING)", |e| maybe(e.decision.as_ref().and_then(|d| d.caller.addr.clone()))),
    column("required binary leaf (STRING)", |e| Cell::Text(e.leaf())),
    column("required binary line (STRING)", |e| Cell::Text(e.record.line.clone())),
    column("optional binary body (STRING)", |e| maybe(e.body.as_ref().map(|b| b.body.clone()))),
];

const fn column(declared: &'static str, of: fn(&Event) -> Cell) -> Column {
    Column { declared, of }
}

fn maybe(text: Option<String>) -> Cell {
    text.map_or(Cell::Null, Cell::Text)
}

fn text(event: &Event, of: impl Fn(&DecisionRecord) -> String) -> Cell {
    maybe(event.decision.as_ref().map(of))
}

fn flag(event: &Event, of: impl Fn(&DecisionRecord) -> bool) -> Cell {
    event.decision.as_ref().map_or(Cell::Null, |d| Cell::Flag(of(d)))
}

/// The policies that found something or could not be judged.
fn policies(decision: &DecisionRecord) -> String {
    let mut names: Vec<&str> = decision.violations.iter().map(|v| v.policy.as_str()).collect();
    names.extend(decision.errors.iter().map(|e| e.policy.as_str()));
    names.dedup();
    json!(names).to_string()
}

impl Column {
    fn name(&self) -> &'static str {
        self.declared.split(' ').nth(2).unwrap_or_default()
    }

    fn is_optional(&self) -> bool {
        self.declared.starts_with("optional")
    }
}

/// A file with these records, one row group.
///
/// # Errors
/// What the encoder says.
pub(super) fn write(events: &[Event]) -> Result<Vec<u8>> {
    let declared: String = COLUMNS.iter().map(|c| format!("{};\n", c.declared)).collect();
    let schema = Arc::new(parse_message_type(&format!("message decision_log {{ {declared} }}"))?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = writer.next_row_group()?;
    COLUMNS.iter().try_for_each(|column| write_column(&mut group, column, events))?;
    group.close()?;
    writer.into_inner()
}

fn write_column(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, column: &Column, events: &[Event]) -> Result<()> {
    let cells: Vec<Cell> = events.iter().map(column.of).collect();
    let levels: Vec<i16> = cells.iter().map(|c| i16::from(*c != Cell::Null)).collect();
    let levels = column.is_optional().then_some(levels.as_slice());
    let mut open = group.next_column()?.ok_or_else(|| fault("a column too many"))?;
    match open.untyped() {
        ColumnWriter::ByteArrayColumnWriter(out) => {
            let texts = cells.into_iter().filter_map(|c| if let Cell::Text(text) = c { Some(text) } else { None });
            let values: Vec<ByteArray> = texts.map(|text| ByteArray::from(text.into_bytes())).collect();
            out.write_batch(&values, levels, None)?;
        }
        ColumnWriter::Int64ColumnWriter(out) => {
            let numbers = cells.iter().filter_map(|c| if let Cell::Number(number) = c { Some(*number) } else { None });
            out.write_batch(&numbers.collect::<Vec<i64>>(), levels, None)?;
        }
        ColumnWriter::BoolColumnWriter(out) => {
            let flags = cells.iter().filter_map(|c| if let Cell::Flag(flag) = c { Some(*flag) } else { None });
            out.write_batch(&flags.collect::<Vec<bool>>(), levels, None)?;
        }
        _ => return Err(fault("a column of another type")),
    }
    open.close()
}

fn fault(message: &str) -> ParquetError {
    ParquetError::General(message.to_owned())
}

/// A row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decisions) struct Row {
    pub origin: String,
    pub seq: u64,
    pub leaf: String,
    pub line: String,
    pub body: Option<String>,
    /// All columns, by name.
    cells: Vec<(String, Cell)>,
}

impl Row {
    /// Nothing where it is not a row as we write them.
    fn of(cells: Vec<(String, Cell)>) -> Option<Self> {
        let cell = |name: &str| cells.iter().find(|(n, _)| n == name).map(|(_, cell)| cell);
        let text = |name: &str| if let Cell::Text(text) = cell(name)? { Some(text.clone()) } else { None };
        // A number below 0 is none of a record; the line says which it is.
        let seq =
            if let Cell::Number(seq) = cell("seq")? { u64::try_from(*seq).unwrap_or(u64::MAX) } else { return None };
        let (origin, leaf, line, body) = (text("origin")?, text("leaf")?, text("line")?, text("body"));
        Some(Self { origin, seq, leaf, line, body, cells })
    }

    /// The first column, the body apart, that is not what the record makes; also one that no record makes.
    pub(in crate::decisions) fn differs_from(&self, event: &Event) -> Option<&str> {
        let wrong = |(name, cell): &&(String, Cell)| match COLUMNS.iter().find(|c| c.name() == name) {
            Some(_) if name == "body" => !matches!(cell, Cell::Null | Cell::Text(_)),
            Some(column) => (column.of)(event) != *cell,
            None => true,
        };
        let once = |column: &&Column| self.cells.iter().filter(|(name, _)| name == column.name()).count() == 1;
        let wrong = self.cells.iter().find(wrong).map(|(name, _)| name.as_str());
        wrong.or_else(|| COLUMNS.iter().find(|c| !once(c)).map(Column::name))
    }
}

/// Calls `each` for every row of a file.
///
/// # Errors
/// The file is none, or not of ours.
pub(in crate::decisions) fn read<E>(
    bytes: Bytes,
    mut each: impl FnMut(Row) -> std::result::Result<(), E>,
) -> Result<std::result::Result<(), E>> {
    let reader = SerializedFileReader::new(bytes)?;
    for row in reader.get_row_iter(None)? {
        let cells = row?.into_columns().into_iter().map(|(name, field)| (name, cell(field))).collect();
        let row = Row::of(cells).ok_or_else(|| fault("it has not the columns of a decision log"))?;
        if let Err(error) = each(row) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn cell(field: Field) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Str(text) => Cell::Text(text),
        Field::Long(number) | Field::TimestampMicros(number) => Cell::Number(number),
        Field::Bool(flag) => Cell::Flag(flag),
        _ => Cell::Strange,
    }
}
