//! A SQLite index of decision logs, for questions that `list` has no flag for. Knows tables and how they follow the
//! log; must not know how answers are printed.
//!
//! The index is a copy and proves nothing: it may be deleted at any time and is then made anew. It follows the log by
//! how many bytes of each segment it has read, and loses what the log has pruned. Several processes may use one: who
//! writes waits for who writes, and nobody for who reads.

mod follow;
mod tables;

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::decisions::LogError;

/// How long to wait for another process that writes: a large segment takes some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What an update came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Updated {
    /// Records that are new.
    pub records: u64,
    /// Lines that are no records.
    pub unreadable: u64,
    /// Segments that were not as they had been read, and were read once more from their beginning.
    pub anew: u64,
}

/// An index in a file.
pub struct Index {
    db: Connection,
    path: PathBuf,
}

impl Index {
    /// Opens the index in `path`, or makes one. One of another version is made anew; a file of something else is left
    /// alone.
    ///
    /// # Errors
    /// [`LogError::Work`] when the file is no index or cannot be written.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        create(path)?;
        if tables::foreign(&waiting(Connection::open(path)?)?)? {
            let message = format!("`{}` is the database of something else; name another file", path.display());
            return Err(LogError::Work { message });
        }
        let mut db = connect(path)?;
        if tables::version(&db)? != tables::VERSION {
            restrict(path)?;
            tables::make(&mut db)?;
        }
        Ok(Self { db, path: path.to_path_buf() })
    }

    /// Brings the index up to what the logs in `dirs` hold now; tells of each record.
    ///
    /// # Errors
    /// [`LogError`]; [`LogError::Foreign`] when two of the logs have the same origin and differ.
    pub fn update(&mut self, dirs: &[PathBuf], each: &mut dyn FnMut()) -> Result<Updated, LogError> {
        let updated = follow::update(&mut self.db, dirs, each)?;
        // What was deleted stays in no file beside the index. Nobody waits for that while others read: who comes last does it.
        self.db.busy_timeout(Duration::ZERO)?;
        let truncated = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.db.busy_timeout(PATIENCE)?;
        match truncated {
            Err(error) if !is_busy(&error) => Err(error.into()),
            _ => Ok(updated),
        }
    }

    /// Whether a `SELECT` can be answered, so that nobody waits for the index to learn that it cannot.
    ///
    /// # Errors
    /// [`LogError::Query`] with what SQLite says of it.
    pub fn check(&self, sql: &str) -> Result<(), LogError> {
        self.reading()?.prepare(sql).map(drop).map_err(refused)
    }

    fn reading(&self) -> Result<Connection, LogError> {
        let mut db = waiting(Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)?;
        db.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Function { .. } | AuthAction::Recursive => {
                Authorization::Allow
            }
            _ => Authorization::Deny,
        }))?;
        Ok(db)
    }

    /// Answers one `SELECT`. `begin` gets the names of the columns, `each` the values of each row.
    ///
    /// Nothing can be changed by it and no other file opened: the connection is read-only and an authorizer refuses
    /// everything but reading.
    ///
    /// # Errors
    /// [`LogError::Query`] with what SQLite says of it, [`LogError::Work`] when the index cannot be read; whatever `begin`
    /// and `each` give.
    pub fn query<E: From<LogError>>(
        &self,
        sql: &str,
        begin: impl FnOnce(&[String]) -> Result<(), E>,
        mut each: impl FnMut(&[Value]) -> Result<(), E>,
    ) -> Result<(), E> {
        let work = |e: rusqlite::Error| LogError::from(e);
        let db = self.reading()?;
        let mut statement = db.prepare(sql).map_err(refused)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        begin(&columns)?;
        let mut rows = statement.query([]).map_err(work)?;
        while let Some(row) = rows.next().map_err(work)? {
            let cells = (0..columns.len()).map(|n| row.get_ref(n).map(json));
            let cells: Vec<Value> = cells.collect::<Result<_, _>>().map_err(work)?;
            each(&cells)?;
        }
        Ok(())
    }
}

/// What SQLite says of a query, without the query itself.
fn refused(error: rusqlite::Error) -> LogError {
    let message = match error {
        rusqlite::Error::SqlInputError { msg, offset, .. } if offset >= 0 => {
            format!("{msg}, at character {}", offset.saturating_add(1))
        }
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    };
    LogError::Query { message }
}

/// Makes the file for its owner alone, if there is none; SQLite gives the files beside it the same mode.
fn create(path: &Path) -> Result<(), LogError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(LogError::io("create", path, &e)),
        _ => Ok(()),
    }
}

/// Takes a file that is made anew from everybody but its owner: one of an earlier version was readable by all.
fn restrict(path: &Path) -> Result<(), LogError> {
    for suffix in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        match fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(LogError::io("restrict", &file, &e)),
            _ => {}
        }
    }
    Ok(())
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked))
}

fn waiting(db: Connection) -> Result<Connection, LogError> {
    db.busy_timeout(PATIENCE)?;
    Ok(db)
}

fn connect(path: &Path) -> Result<Connection, LogError> {
    let db = waiting(Connection::open(path)?)?;
    // SQLite does not wait where two turn to this mode at once.
    let since = Instant::now();
    while let Err(error) = db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
        if !is_busy(&error) || since.elapsed() > PATIENCE {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Losing the last update to a power cut costs nothing: it is made again.
    db.execute_batch("PRAGMA secure_delete = ON; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;")?;
    Ok(db)
}

fn json(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(n) => n.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}
