//! Both logs in one temporary SQLite file. Knows tables; what follows from them is `findings`' business.

use std::path::Path;

use rusqlite::{Connection, Statement, Transaction, params};
use tempfile::TempDir;

use super::registered::operation;
use super::{AuditEvent, Expected, Registered};
use crate::decisions::{DecisionRecord, LogError, Record};
use crate::engine::Endpoint;

/// Bits of `expected`, `perhaps` and `marked`.
pub(super) const VALIDATE: u8 = 1;
/// Likewise.
pub(super) const MUTATE: u8 = 2;

const TABLES: &str = "
CREATE TABLE decision (
  id TEXT PRIMARY KEY, time TEXT, seq INTEGER, origin TEXT, endpoint TEXT, uid TEXT, operation TEXT, resource TEXT,
  namespace TEXT, name TEXT, user TEXT, verdict TEXT, cause TEXT, policies TEXT, dry_run INTEGER, generated INTEGER
) WITHOUT ROWID;
CREATE TABLE event (
  audit_id TEXT PRIMARY KEY, final INTEGER, time TEXT, ended TEXT, verb TEXT, operation TEXT, resource TEXT,
  namespace TEXT, name TEXT, user TEXT, ips TEXT, agent TEXT, code INTEGER, uri TEXT, expected INTEGER,
  perhaps INTEGER, marked INTEGER, failed_open TEXT
) WITHOUT ROWID;
CREATE TABLE mark (id TEXT, audit_id TEXT, webhook TEXT, PRIMARY KEY (id, audit_id)) WITHOUT ROWID;
CREATE TABLE hole (begins TEXT, ends TEXT, origin TEXT, count INTEGER);
";

/// Made after everything is in, which costs less than keeping them up to date.
const INDEXES: &str = "
CREATE INDEX mark_event ON mark (audit_id);
CREATE INDEX event_time ON event (time);
CREATE INDEX decision_time ON decision (time);
CREATE INDEX decision_uid ON decision (uid, endpoint);
ANALYZE;
";

/// Pages of SQLite that are held in memory, in KiB.
const CACHE_KIB: u32 = 64 * 1024;

/// Two logs on their way to a [`Report`](super::Report).
pub struct Join {
    pub(super) db: Connection,
    pub(super) registered: Registered,
    /// Keeps the file until the end.
    _dir: TempDir,
}

impl Join {
    /// An empty join. Its file is in `work_dir` (default: the system's folder for temporary files), needs about 400 bytes
    /// a decision and as much an event, and goes when the join goes.
    ///
    /// # Errors
    /// [`LogError`] when the file cannot be made.
    pub fn new(work_dir: Option<&Path>, registered: Registered) -> Result<Self, LogError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("portcullis-join-");
        let made = match work_dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        let place = work_dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let dir = made.map_err(|e| LogError::io("write to", &place, &e))?;
        let db = Connection::open(dir.path().join("join.sqlite"))?;
        db.execute_batch(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; \
             PRAGMA cache_size = -{CACHE_KIB}; {TABLES}"
        ))?;
        Ok(Self { db, registered, _dir: dir })
    }

    /// Takes what `fill` puts in.
    ///
    /// # Errors
    /// Whatever `fill` gives.
    pub fn fill<E: From<LogError>>(&mut self, fill: impl FnOnce(&mut Filling<'_>) -> Result<(), E>) -> Result<(), E> {
        let transaction = self.db.transaction().map_err(LogError::from)?;
        let mut filling = Filling::new(&transaction, &self.registered)?;
        fill(&mut filling)?;
        drop(filling);
        transaction.commit().map_err(LogError::from)?;
        Ok(())
    }

    /// Ends the filling.
    ///
    /// # Errors
    /// [`LogError`] when the disk is full.
    pub fn finish(&self) -> Result<(), LogError> {
        Ok(self.db.execute_batch(INDEXES)?)
    }
}

/// A join that is being filled.
pub struct Filling<'t> {
    registered: &'t Registered,
    decision: Statement<'t>,
    event: Statement<'t>,
    mark: Statement<'t>,
    hole: Statement<'t>,
}

impl<'t> Filling<'t> {
    fn new(transaction: &'t Transaction<'_>, registered: &'t Registered) -> Result<Self, LogError> {
        Ok(Self {
            registered,
            // The same log given twice is the same log.
            decision: transaction.prepare(
                "INSERT INTO decision VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)
                 ON CONFLICT (id) DO NOTHING",
            )?,
            // Stages of one request come one after the other, in any order of files: the last stage has the status.
            event: transaction.prepare(
                "INSERT INTO event VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)
                 ON CONFLICT (audit_id) DO UPDATE SET
                   marked = marked | excluded.marked,
                   expected = max(expected, excluded.expected), perhaps = max(perhaps, excluded.perhaps),
                   failed_open = max(failed_open, excluded.failed_open),
                   code = iif(excluded.final >= final, excluded.code, code),
                   operation = iif(excluded.final >= final, excluded.operation, operation),
                   name = iif(name = '', excluded.name, name),
                   ended = max(ended, excluded.ended), final = max(final, excluded.final)",
            )?,
            mark: transaction.prepare("INSERT INTO mark VALUES (?1,?2,?3) ON CONFLICT DO NOTHING")?,
            hole: transaction.prepare("INSERT INTO hole VALUES (?1,?2,?3,?4)")?,
        })
    }

    /// Takes a record of the decision log.
    ///
    /// # Errors
    /// [`LogError`] when the disk is full.
    pub fn record(&mut self, record: &Record) -> Result<(), LogError> {
        if let Some(decision) = record.decision() {
            return self.decision(record, &decision);
        }
        if let Some(gap) = record.gap() {
            self.hole.execute(params![gap.from, gap.to, record.head.origin, signed(gap.count)])?;
        }
        Ok(())
    }

    fn decision(&mut self, record: &Record, decision: &DecisionRecord) -> Result<(), LogError> {
        let request = &decision.request;
        let mut policies: Vec<&str> = decision.violations.iter().map(|v| v.policy.as_str()).collect();
        policies.extend(decision.errors.iter().map(|e| e.policy.as_str()));
        policies.dedup();
        self.decision.execute(params![
            decision.decision_id,
            decision.timestamp,
            signed(record.head.seq),
            record.head.origin,
            decision.endpoint.as_str(),
            request.uid,
            request.operation.as_str(),
            resource(&request.group, &request.resource, &request.subresource),
            request.namespace,
            request.name,
            request.user.username,
            decision.verdict.as_str(),
            decision.cause.as_str(),
            policies.join(" "),
            request.dry_run,
            request.generate_name.is_some(),
        ])?;
        Ok(())
    }

    /// Takes an event of the audit log.
    ///
    /// # Errors
    /// [`LogError`] when the disk is full.
    pub fn event(&mut self, event: &AuditEvent) -> Result<(), LogError> {
        let Some(operation) = operation(event) else { return Ok(()) };
        let is_final = matches!(event.stage.as_str(), "ResponseComplete" | "Panic");
        let ours: Vec<&String> = event.failed_open.iter().filter(|w| self.is_ours(w)).collect();
        let (mut expected, mut perhaps, mut marked) = (0, 0, 0);
        for (endpoint, bit) in [(Endpoint::Validate, VALIDATE), (Endpoint::Mutate, MUTATE)] {
            match self.registered.expects(endpoint, event) {
                Expected::Yes => expected |= bit,
                Expected::Perhaps => perhaps |= bit,
                Expected::No => {}
            }
        }
        for mark in &event.marks {
            marked |= match self.registered.endpoint(&mark.webhook) {
                Some(Endpoint::Validate) => VALIDATE,
                Some(Endpoint::Mutate) => MUTATE,
                // Registered under another name.
                None if mark.webhook.contains("mutat") => MUTATE,
                None => VALIDATE,
            };
            self.mark.execute(params![mark.id, event.audit_id, mark.webhook])?;
        }
        self.event.execute(params![
            event.audit_id,
            is_final,
            nanoseconds(&event.received),
            nanoseconds(&event.stage_time),
            event.verb,
            operation,
            resource(&event.group, &event.resource, &event.subresource),
            event.namespace,
            event.name,
            event.user,
            event.source_ips.join(" "),
            event.user_agent,
            event.code,
            event.uri,
            expected,
            perhaps,
            marked,
            ours.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(" "),
        ])?;
        Ok(())
    }

    fn is_ours(&self, webhook: &str) -> bool {
        self.registered.has(webhook) || webhook.ends_with(".portcullis.io")
    }
}

/// `deployments.apps`, `pods/exec`.
fn resource(group: &str, resource: &str, subresource: &str) -> String {
    let mut text = resource.to_owned();
    if !subresource.is_empty() {
        text = format!("{text}/{subresource}");
    }
    if group.is_empty() { text } else { format!("{text}.{group}") }
}

/// The API server writes microseconds, we nanoseconds: made equally long, times sort as text.
fn nanoseconds(time: &str) -> String {
    const DIGITS: usize = 9;
    let Some((seconds, fraction)) = time.strip_suffix('Z').map(|t| t.split_once('.').unwrap_or((t, ""))) else {
        return time.to_owned();
    };
    format!("{seconds}.{fraction:0<DIGITS$}Z")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
