//! What was delivered, held against the tree: which records arrived once, twice, not at all or altered. Knows formats and
//! leaves; where deliveries lie is told. Both sides go through a temporary SQLite file, so their size does not matter.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use flate2::read::MultiGzDecoder;
use rusqlite::{Connection, params};
use serde::Serialize;
use tempfile::TempDir;
use url::Url;

use crate::decisions::replay::BodyCursor;
use crate::decisions::segments;
use crate::decisions::sinks::{Event, Format, Objects, native_leaf, provenance_of, read_parquet};
use crate::decisions::tree_files::{read_tile, tile_path};
use crate::decisions::{BodyState, LogError, LogReader, Record, RecordType};
use crate::tlog::{TILE_WIDTH, TileId, leaf_hash};

/// What is wrong with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryFault {
    /// It is not what the record of that number says.
    Altered,
    /// The log has no such record.
    Unknown,
    /// It lies between others that arrived, and did not.
    Missing,
    /// It arrived more than once. No loss: a sink sends again what it cannot be sure of.
    Twice,
}

/// How often a record arrived, whether altered, its leaf, and what is wrong with it.
type DeliveredRow = (u64, bool, String, Option<String>);

impl DeliveryFault {
    /// All, the worst first.
    pub const ALL: [Self; 4] = [Self::Altered, Self::Unknown, Self::Missing, Self::Twice];

    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Twice => "twice",
        }
    }

    /// Whether it is a negative finding.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self != Self::Twice
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// The log.
    pub origin: String,
    /// Events of this log that arrived.
    pub delivered: u64,
    /// Records that they are.
    pub records: u64,
    /// Of these, the same as in the tree.
    pub intact: u64,
    /// The first and the last of them.
    pub range: Option<(u64, u64)>,
    /// Records of the log after the last that arrived: under way, if a sink is at work.
    pub behind: u64,
    /// Events of other logs.
    pub of_others: u64,
    /// Lines and files that are no events of ours.
    pub strange: u64,
    /// Mapped events whose record is deleted: their leaf is checked, their fields cannot be.
    pub leaf_only: u64,
}

/// Deliveries being gathered.
pub struct Deliveries {
    db: Connection,
    dir: PathBuf,
    origin: String,
    found: Reconciliation,
    /// What was delivered in formats that hold decisions only, none of which lacks anything else.
    decisions_only: bool,
    _temporary: TempDir,
}

const TABLES: &str = "
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;
CREATE TABLE delivered (seq INTEGER PRIMARY KEY, times INTEGER, altered INTEGER, leaf TEXT, why TEXT) WITHOUT ROWID;
BEGIN;
";

impl Deliveries {
    /// For the log in `dir`.
    ///
    /// # Errors
    /// There is no log in it.
    pub fn new(dir: &Path) -> Result<Self, LogError> {
        let reader = LogReader::open(dir)?;
        let mut origin = None;
        reader.stream(0, |l| {
            origin = Record::parse(l.line).map(|r| r.head.origin);
            if origin.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let foreign = || LogError::Foreign { path: dir.to_path_buf(), message: "there is no record in it".to_owned() };
        let origin = origin.ok_or_else(foreign)?;
        let temporary = tempfile::Builder::new().prefix("portcullis-reconcile-").tempdir();
        let temporary = temporary.map_err(|e| LogError::io("write to", &std::env::temp_dir(), &e))?;
        let db = Connection::open(temporary.path().join("deliveries.sqlite"))?;
        db.execute_batch(TABLES)?;
        let found = Reconciliation { origin: origin.clone(), ..Reconciliation::default() };
        Ok(Self { db, dir: dir.to_path_buf(), origin, found, decisions_only: true, _temporary: temporary })
    }

    /// Takes a file of events or a directory of such files: Parquet, JSON lines, JSON arrays; gzip is recognised.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn take_path(&mut self, path: &Path) -> Result<(), String> {
        let fault = |e: io::Error| format!("cannot read `{}`: {e}", path.display());
        if path.is_dir() {
            let mut entries: Vec<PathBuf> = fs::read_dir(path).map_err(fault)?.flatten().map(|e| e.path()).collect();
            entries.sort();
            return entries.iter().try_for_each(|p| self.take_path(p));
        }
        let file = fs::File::open(path).map_err(fault)?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let start = reader.fill_buf().map_err(fault)?;
        if start.starts_with(b"PAR1") {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(fault)?;
            return self.take_parquet(&path.display().to_string(), bytes.into());
        }
        if start.starts_with(&[0x1f, 0x8b]) {
            return self.take_text(&mut BufReader::new(MultiGzDecoder::new(reader))).map_err(fault);
        }
        self.take_text(&mut reader).map_err(fault)
    }

    /// Takes all objects below a prefix of object storage.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn take_url(&mut self, url: &Url) -> Result<(), String> {
        let objects = Objects::open(url)?;
        objects
            .each(|name, bytes| {
                if bytes.starts_with(b"PAR1") {
                    self.take_parquet(name, bytes)
                } else {
                    self.take_text(&mut io::Cursor::new(bytes)).map_err(|e| e.to_string())
                }
            })
            .await
    }

    fn take_parquet(&mut self, name: &str, bytes: bytes::Bytes) -> Result<(), String> {
        self.decisions_only = false;
        let read = read_parquet(bytes, |row| {
            let leaf = HEXLOWER.encode(leaf_hash(row.line.as_bytes()).as_bytes());
            let why = (leaf != row.leaf).then_some("its line has another hash than its column `leaf`");
            self.add(&row.origin, row.seq, &leaf, why)
        });
        match read {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(error) => {
                self.found.strange += 1;
                Err(format!("`{name}` cannot be read: {error}"))
            }
        }
    }

    fn take_text(&mut self, reader: &mut dyn BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(line.trim_ascii());
            if text.is_empty() {
                continue;
            }
            // An upload is one array.
            match serde_json::from_str::<Vec<Box<serde_json::value::RawValue>>>(&text) {
                Ok(events) => events.iter().try_for_each(|e| self.take_event(e.get()))?,
                Err(_) => self.take_event(&text)?,
            }
        }
    }

    /// Takes one event in any format.
    fn take_event(&mut self, text: &str) -> io::Result<()> {
        let Some(found) = provenance_of(text) else {
            self.found.strange += 1;
            return Ok(());
        };
        if matches!(found.format, Format::Native | Format::CloudEvents) {
            self.decisions_only = false;
        }
        let mut why = None;
        let mut leaf = found.leaf.clone();
        if found.origin == self.origin {
            match found.format {
                Format::Native => {
                    leaf = native_leaf(text).map(|h| HEXLOWER.encode(h.as_bytes())).unwrap_or_default();
                    why = (leaf != found.leaf).then_some("its record has another hash than it says");
                }
                mapped => match self.mapped(found.seq, mapped, text)? {
                    Some(true) => {}
                    Some(false) => why = Some("its fields are not those of the record"),
                    None => self.found.leaf_only += 1,
                },
            }
        }
        self.add(&found.origin, found.seq, &leaf, why).map_err(io::Error::other)
    }

    /// Whether an event in a format that is made of the record is what the record makes; `None` without the record.
    fn mapped(&self, seq: u64, format: Format, text: &str) -> io::Result<Option<bool>> {
        let Some(record) = self.record(seq).map_err(io::Error::other)? else { return Ok(None) };
        let same = |event: &Event| {
            let made = format.write(event).and_then(|t| serde_json::from_str::<serde_json::Value>(&t).ok());
            made.is_some() && made == serde_json::from_str(text).ok()
        };
        if same(&Event::of(record.clone(), None)) {
            return Ok(Some(true));
        }
        let Some(decision) = record.decision() else { return Ok(Some(false)) };
        let body = BodyCursor::new(&self.dir).body(&record, &decision).map_err(io::Error::other)?;
        Ok(match body {
            BodyState::Intact(body) => Some(same(&Event::of(record, Some(body)))),
            // It may have gone along and be deleted here.
            BodyState::Deleted | BodyState::Erased | BodyState::Missing => None,
            BodyState::Altered(_) => Some(false),
        })
    }

    fn record(&self, seq: u64) -> Result<Option<Record>, LogError> {
        let reader = LogReader::open(&self.dir)?;
        let mut found = None;
        reader.stream(seq, |l| {
            found = (l.seq == seq).then(|| Record::parse(l.line)).flatten();
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    fn add(&mut self, origin: &str, seq: u64, leaf: &str, why: Option<&str>) -> rusqlite::Result<()> {
        if origin != self.origin {
            self.found.of_others += 1;
            return Ok(());
        }
        self.found.delivered += 1;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO delivered VALUES (?1, 1, ?2, ?3, ?4) ON CONFLICT (seq) DO UPDATE SET times = times + 1,
               altered = max(altered, excluded.altered, excluded.leaf != leaf), why = ifnull(why, excluded.why)",
        )?;
        insert.execute(params![seq.cast_signed(), why.is_some(), leaf, why])?;
        Ok(())
    }

    /// Holds it against the log; `each` is told of every fault, in order of numbers.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn finish(mut self, each: &mut dyn FnMut(DeliveryFault, u64, &str)) -> Result<Reconciliation, LogError> {
        let first_last: (Option<i64>, Option<i64>) =
            self.db.query_row("SELECT min(seq), max(seq) FROM delivered", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let (Some(first), Some(last)) = first_last else { return Ok(self.found) };
        let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
        self.found.range = Some((first, last));
        let begins = segments::segments(&self.dir)?.first().map_or(0, |s| s.first_seq);
        let reader = LogReader::open(&self.dir)?;
        // What the log has deleted is in its tiles.
        let mut end = begins;
        for seq in first..=last.min(begins.saturating_sub(1)) {
            if begins == 0 {
                break;
            }
            self.hold(seq, self.tile_leaf(seq).as_deref(), true, each)?;
        }
        let mut failed = Ok(());
        reader.stream(first.max(begins), |l| {
            end = l.seq + 1;
            if l.seq > last {
                self.found.behind += 1;
                return ControlFlow::Continue(());
            }
            let leaf = HEXLOWER.encode(leaf_hash(l.line.as_bytes()).as_bytes());
            let decision = Record::parse(l.line).is_some_and(|r| r.head.r#type == RecordType::Decision);
            let wanted = decision || !self.decisions_only;
            failed = self.hold(l.seq, Some(&leaf), wanted, each);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        for seq in end.max(first)..=last {
            if self.row(seq)?.is_some() {
                self.found.records += 1;
                each(DeliveryFault::Unknown, seq, "the log ends before it");
            }
        }
        Ok(self.found)
    }

    fn row(&self, seq: u64) -> Result<Option<DeliveredRow>, LogError> {
        let mut find = self.db.prepare_cached("SELECT times, altered, leaf, why FROM delivered WHERE seq = ?1")?;
        let mut rows = find.query([seq.cast_signed()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?, row.get(2)?, row.get(3)?)))
    }

    fn hold(
        &mut self,
        seq: u64,
        leaf: Option<&str>,
        wanted: bool,
        each: &mut dyn FnMut(DeliveryFault, u64, &str),
    ) -> Result<(), LogError> {
        let Some((times, altered, delivered, why)) = self.row(seq)? else {
            if wanted && leaf.is_some() {
                each(DeliveryFault::Missing, seq, "");
            }
            return Ok(());
        };
        self.found.records += 1;
        match leaf {
            None => each(DeliveryFault::Unknown, seq, "neither its record nor its leaf is there any more"),
            Some(leaf) if altered || leaf != delivered => {
                each(DeliveryFault::Altered, seq, why.as_deref().unwrap_or("the tree has another leaf"));
            }
            Some(_) => self.found.intact += 1,
        }
        if times > 1 {
            each(DeliveryFault::Twice, seq, &format!("{times} times"));
        }
        Ok(())
    }

    /// The leaf of a record that was deleted, from the tiles.
    fn tile_leaf(&self, seq: u64) -> Option<String> {
        let width = u64::from(TILE_WIDTH);
        let id = TileId { level: 0, index: seq / width, width: TILE_WIDTH };
        if !tile_path(&self.dir, id).exists() {
            return None;
        }
        let tile = read_tile(&self.dir, id).ok()?;
        let place = usize::try_from(seq % width).ok()?;
        tile.hashes().get(place).map(|h| HEXLOWER.encode(h.as_bytes()))
    }
}
