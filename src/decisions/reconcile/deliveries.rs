//! Deliveries being gathered from files and object storage. Knows how they are packed; must not know what is right about
//! them.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rusqlite::{Connection, params};
use serde_json::value::RawValue;
use tempfile::TempDir;
use url::Url;

use super::claim::Claim;
use super::finding::{DeliveryFault, Expected, Reconciliation};
use super::pass::go_through;
use crate::decisions::sinks::{Format, Objects, provenance_of, read_parquet};
use crate::decisions::{LogError, LogReader, Record};

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
CREATE TABLE delivered (seq INTEGER, claim TEXT, times INTEGER, PRIMARY KEY (seq, claim)) WITHOUT ROWID;
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
            let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(fault)?;
            let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
            paths.sort();
            return paths.iter().try_for_each(|p| self.take_path(p));
        }
        let file = fs::File::open(path).map_err(fault)?;
        self.take_packed(&path.display().to_string(), &mut BufReader::with_capacity(256 * 1024, file))
    }

    /// Takes all objects below a prefix of object storage, packed as files are.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn take_url(&mut self, url: &Url) -> Result<(), String> {
        let objects = Objects::open(url)?;
        objects.each(|name, bytes| self.take_packed(name, &mut io::Cursor::new(bytes))).await
    }

    /// Takes a file or an object; its first bytes say how it is packed.
    fn take_packed(&mut self, name: &str, reader: &mut dyn BufRead) -> Result<(), String> {
        let fault = |e: io::Error| format!("cannot read `{name}`: {e}");
        let start = reader.fill_buf().map_err(fault)?;
        if start.starts_with(b"PAR1") {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(fault)?;
            return self.take_parquet(name, bytes.into());
        }
        if start.starts_with(&[0x1f, 0x8b]) {
            return self.take_text(&mut BufReader::new(MultiGzDecoder::new(reader))).map_err(fault);
        }
        self.take_text(reader).map_err(fault)
    }

    fn take_parquet(&mut self, name: &str, bytes: bytes::Bytes) -> Result<(), String> {
        self.decisions_only = false;
        let read = read_parquet(bytes, |row| {
            let (origin, seq, claim) = Claim::of_row(&row);
            self.add(&origin, seq, &claim)
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
            match serde_json::from_str::<Vec<Box<RawValue>>>(&text) {
                Ok(events) => events.iter().try_for_each(|e| self.take_event(e.get()))?,
                Err(_) => self.take_event(&text)?,
            }
        }
    }

    /// Takes one event in any format.
    fn take_event(&mut self, text: &str) -> io::Result<()> {
        let Some(named) = provenance_of(text) else {
            self.found.strange += 1;
            return Ok(());
        };
        if matches!(named.format, Format::Native | Format::CloudEvents) {
            self.decisions_only = false;
        }
        self.add(&named.origin, named.seq, &Claim::of_event(text, &named)).map_err(io::Error::other)
    }

    fn add(&mut self, origin: &str, seq: u64, claim: &Claim) -> Result<(), LogError> {
        if origin != self.origin {
            self.found.of_others += 1;
            return Ok(());
        }
        let (Ok(seq), Ok(claim)) = (i64::try_from(seq), serde_json::to_string(claim)) else {
            self.found.strange += 1;
            return Ok(());
        };
        self.found.delivered += 1;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO delivered VALUES (?1, ?2, 1) ON CONFLICT (seq, claim) DO UPDATE SET times = times + 1",
        )?;
        insert.execute(params![seq, claim])?;
        Ok(())
    }

    /// Holds it against the log; `each` is told of every fault, in order of numbers. What lies between the first and the
    /// last that arrived must have arrived, and what is `expected`.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn finish(
        self,
        expected: Expected,
        each: &mut dyn FnMut(DeliveryFault, u64, &str),
    ) -> Result<Reconciliation, LogError> {
        go_through(&self.db, &self.dir, expected, self.found, self.decisions_only, each)
    }
}
