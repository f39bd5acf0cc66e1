//! Both logs in one temporary SQLite file. Knows tables; what goes into them is `filling`'s business, and what follows
//! from them `settle`'s and `findings`'.

use std::path::Path;

use rusqlite::Connection;

use super::{Filling, Registered};
use crate::decisions::LogError;

/// Bits of `expected`, `perhaps` and `marked`.
pub(super) const VALIDATE: u8 = 1;
/// Likewise.
pub(super) const MUTATE: u8 = 2;

/// Of `event`: `done` is NULL where the event does not say; `doubtful_*` are bits of webhooks of which it is not known
/// whose they are; `excused` is 1 for a deletion of what was being deleted already, 2 for what came before the first registration.
/// Of `mark`: `fate` says what became of the decision in the log (`recorded`, `unrecorded`, `in_gap`, `pruned`, `before`).
const TABLES: &str = "
CREATE TABLE decision (
  id TEXT PRIMARY KEY, time TEXT, seq INTEGER, origin TEXT, endpoint TEXT, uid TEXT, operation TEXT, resource TEXT,
  namespace TEXT, name TEXT, user TEXT, verdict TEXT, cause TEXT, policies TEXT, dry_run INTEGER, generated INTEGER,
  undone INTEGER DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE event (
  n INTEGER PRIMARY KEY, audit_id TEXT, stage INTEGER, time TEXT, ended TEXT, operation TEXT, resource TEXT,
  namespace TEXT, name TEXT, user TEXT, ips TEXT, agent TEXT, code INTEGER, done INTEGER, dry_run INTEGER, uri TEXT,
  expected INTEGER, perhaps INTEGER, marked INTEGER, failed_open TEXT, doubtful INTEGER, doubtful_perhaps INTEGER,
  doubtful_open INTEGER, excused INTEGER DEFAULT 0
);
CREATE UNIQUE INDEX event_key ON event (time, audit_id);
CREATE TABLE mark (
  id TEXT, event INTEGER, webhook TEXT, origin TEXT, fate TEXT, PRIMARY KEY (id, event)
) WITHOUT ROWID;
CREATE TABLE gap (origin TEXT, begins TEXT, ends TEXT, count INTEGER, surplus INTEGER);
CREATE TABLE unconfirmed (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE stretch (origin TEXT, first INTEGER, last INTEGER, begins TEXT, ends TEXT);
CREATE TABLE deleted (origin TEXT, first INTEGER, last INTEGER);
CREATE TABLE missing (origin TEXT, first INTEGER, last INTEGER, time TEXT);
CREATE TABLE lost (id TEXT, event INTEGER, origin TEXT, point TEXT, began TEXT, ended TEXT);
";

/// Made after everything is in, which costs less than keeping them up to date.
const INDEXES: &str = "
CREATE INDEX mark_event ON mark (event);
CREATE INDEX decision_time ON decision (time);
CREATE INDEX decision_uid ON decision (uid, endpoint);
";

/// Pages of SQLite that are held in memory, in KiB; sorting takes as much once more.
const CACHE_KIB: u32 = 16 * 1024;

/// Two logs on their way to a [`Report`](super::Report).
pub struct Join {
    pub(super) db: Connection,
    pub(super) registered: Registered,
    pub(super) seen: Seen,
}

/// What is known without a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// First and last `stageTimestamp` of events of any kind. A watch or a connection may have begun long before.
    pub audit: Option<(String, String)>,
    /// First and last time of records of any kind.
    pub log: Option<(String, String)>,
    /// Pieces of the audit log that are no events.
    pub unreadable: u64,
    /// Decisions whose records cannot be read.
    pub unreadable_records: u64,
}

impl Join {
    /// An empty join. Its file is in `work_dir` (default: the system's folder for temporary files) and needs about 600
    /// bytes a decision and as much an event. It has no name there, so it goes when the process goes, however that ends.
    ///
    /// The folder is the process's one for all of SQLite's temporary files: joins in one process share it.
    ///
    /// # Errors
    /// [`LogError`] when the file cannot be made.
    pub fn new(work_dir: Option<&Path>, registered: Registered) -> Result<Self, LogError> {
        let place = work_dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        // Both the tables and what is sorted go there; SQLite itself would go elsewhere without a word.
        tempfile::tempfile_in(&place).map_err(|e| LogError::io("write to", &place, &e))?;
        let quoted = place.display().to_string().replace('\'', "''");
        let db = Connection::open("")?;
        db.execute_batch(&format!(
            "PRAGMA temp_store_directory = '{quoted}'; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA temp_store = FILE; PRAGMA cache_size = -{CACHE_KIB}; {TABLES}"
        ))?;
        Ok(Self { db, registered, seen: Seen::default() })
    }

    /// Takes what `fill` puts in.
    ///
    /// # Errors
    /// Whatever `fill` gives.
    pub fn fill<E: From<LogError>>(&mut self, fill: impl FnOnce(&mut Filling<'_>) -> Result<(), E>) -> Result<(), E> {
        let transaction = self.db.transaction().map_err(LogError::from)?;
        let mut filling = Filling::new(&transaction, &self.registered, std::mem::take(&mut self.seen))?;
        fill(&mut filling)?;
        let (seen, adopted) = filling.end()?;
        super::settle::adopt(&transaction, &self.registered, &adopted)?;
        transaction.commit().map_err(LogError::from)?;
        self.seen = seen;
        adopted.iter().for_each(|webhook| self.registered.adopt(webhook));
        Ok(())
    }

    /// Ends the filling.
    ///
    /// # Errors
    /// [`LogError`] when the disk is full.
    pub fn finish(&mut self) -> Result<(), LogError> {
        self.db.execute_batch(INDEXES)?;
        let transaction = self.db.transaction()?;
        super::settle::settle(&transaction, &self.seen, &self.registered)?;
        Ok(transaction.commit()?)
    }

    /// Whether the audit log names a log that was given: then it is of these logs that it speaks, whatever their times.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn is_named(&self) -> Result<bool, LogError> {
        let query = "SELECT EXISTS (SELECT 1 FROM mark m JOIN stretch s ON s.origin = m.origin)";
        Ok(self.db.query_row(query, [], |row| row.get(0))?)
    }

    /// Whether no registered webhook is known to be ours, by its name, its label, or a decision in the audit log.
    #[must_use]
    pub fn expects_nothing(&self) -> bool {
        self.registered.has_none_of_ours()
    }
}
