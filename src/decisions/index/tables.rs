//! The tables of an index. `docs/evidence.md` describes them; a change needs another [`VERSION`].

use rusqlite::{Connection, Params, Statement, Transaction, TransactionBehavior, params};

use crate::decisions::{DecisionRecord, LogError, Record};

/// Of the tables; an index of another version is made anew.
pub(super) const VERSION: i64 = 2;

const TABLES: &str = r#"
CREATE TABLE segment (
  origin TEXT, first_seq INTEGER, dir TEXT, bytes INTEGER, line INTEGER, digest TEXT, PRIMARY KEY (origin, first_seq)
) WITHOUT ROWID;
CREATE TABLE record (
  origin TEXT, seq INTEGER, segment INTEGER, type TEXT, time TEXT, line TEXT, PRIMARY KEY (origin, seq)
) WITHOUT ROWID;
CREATE TABLE decision (
  id TEXT PRIMARY KEY, origin TEXT, seq INTEGER, time TEXT, cluster TEXT, replica TEXT, endpoint TEXT,
  operation TEXT, "group" TEXT, version TEXT, kind TEXT, resource TEXT, subresource TEXT, namespace TEXT, name TEXT,
  username TEXT, groups TEXT, extra TEXT, dry_run INTEGER, verdict TEXT, cause TEXT, mutated INTEGER,
  policy_set TEXT, data_digest TEXT, caller TEXT, uid TEXT, evaluate_ns INTEGER
) WITHOUT ROWID;
CREATE TABLE violation (
  decision_id TEXT, policy TEXT, enforcement TEXT, severity TEXT, msg TEXT, field TEXT, controls TEXT
);
CREATE TABLE error (decision_id TEXT, policy TEXT, enforcement TEXT, code TEXT, msg TEXT);
CREATE TABLE exception (decision_id TEXT, exception TEXT);
CREATE INDEX decision_time ON decision (time);
CREATE INDEX decision_namespace ON decision (namespace, time);
CREATE INDEX decision_user ON decision (username, time);
CREATE INDEX decision_origin ON decision (origin, seq);
CREATE INDEX violation_decision ON violation (decision_id);
CREATE INDEX violation_policy ON violation (policy);
CREATE INDEX error_decision ON error (decision_id);
CREATE INDEX exception_decision ON exception (decision_id);
PRAGMA user_version = 2;
"#;

/// Deletes a segment and what stood in it.
pub(super) const FORGET: [&str; 6] = [
    "DELETE FROM violation WHERE decision_id IN (SELECT d.id FROM decision d JOIN record r USING (origin, seq) WHERE r.origin = ?1 AND r.segment = ?2)",
    "DELETE FROM error WHERE decision_id IN (SELECT d.id FROM decision d JOIN record r USING (origin, seq) WHERE r.origin = ?1 AND r.segment = ?2)",
    "DELETE FROM exception WHERE decision_id IN (SELECT d.id FROM decision d JOIN record r USING (origin, seq) WHERE r.origin = ?1 AND r.segment = ?2)",
    "DELETE FROM decision WHERE (origin, seq) IN (SELECT origin, seq FROM record WHERE origin = ?1 AND segment = ?2)",
    "DELETE FROM record WHERE origin = ?1 AND segment = ?2",
    "DELETE FROM segment WHERE origin = ?1 AND first_seq = ?2",
];

/// Deletes a decision and what was found of it.
const REPLACE: [&str; 4] = [
    "DELETE FROM violation WHERE decision_id = ?1",
    "DELETE FROM error WHERE decision_id = ?1",
    "DELETE FROM exception WHERE decision_id = ?1",
    "DELETE FROM decision WHERE id = ?1",
];

/// Makes the tables, where there are none or those of another version. Whoever comes first makes them, others wait.
pub(super) fn make(db: &mut Connection) -> Result<(), LogError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&transaction)? != VERSION {
        for table in ["segment", "record", "decision", "violation", "error", "exception"] {
            transaction.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
        }
        transaction.execute_batch(TABLES)?;
    }
    Ok(transaction.commit()?)
}

pub(super) fn version(db: &Connection) -> Result<i64, LogError> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Whether there is a table that no index has.
pub(super) fn foreign(db: &Connection) -> Result<bool, LogError> {
    let query =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN
      ('segment', 'record', 'decision', 'violation', 'error', 'exception'))";
    Ok(db.query_row(query, [], |row| row.get(0))?)
}

/// Statements that put a record in.
pub(super) struct Filling<'t> {
    record: Statement<'t>,
    decision: Statement<'t>,
    violation: Statement<'t>,
    error: Statement<'t>,
    exception: Statement<'t>,
    replace: Vec<Statement<'t>>,
}

impl<'t> Filling<'t> {
    pub(super) fn new(transaction: &'t Transaction<'_>) -> Result<Self, LogError> {
        Ok(Self {
            record: transaction.prepare("INSERT OR REPLACE INTO record VALUES (?1,?2,?3,?4,?5,?6)")?,
            decision: transaction.prepare(
                "INSERT OR IGNORE INTO decision VALUES
                 (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27)",
            )?,
            violation: transaction.prepare("INSERT INTO violation VALUES (?1,?2,?3,?4,?5,?6,?7)")?,
            error: transaction.prepare("INSERT INTO error VALUES (?1,?2,?3,?4,?5)")?,
            exception: transaction.prepare("INSERT INTO exception VALUES (?1,?2)")?,
            replace: REPLACE.into_iter().map(|sql| transaction.prepare(sql)).collect::<Result<_, _>>()?,
        })
    }

    /// Puts `record` of the segment that begins with `segment` in.
    pub(super) fn put(&mut self, record: &Record, segment: i64) -> Result<(), LogError> {
        let head = &record.head;
        let seq = signed(head.seq);
        // A decision's line is in the log; of the others there are few.
        let decision = record.decision();
        let line = if decision.is_some() { "" } else { &record.line };
        self.record.execute(params![head.origin, seq, segment, head.r#type.as_str(), head.timestamp, line])?;
        decision.map_or(Ok(()), |decision| self.decision(record, &decision))
    }

    fn decision(&mut self, record: &Record, d: &DecisionRecord) -> Result<(), LogError> {
        let (head, request, id) = (&record.head, &d.request, &d.decision_id);
        self.insert(
            id,
            params![
                id,
                head.origin,
                signed(head.seq),
                d.timestamp,
                head.labels.cluster,
                head.labels.replica,
                d.endpoint.as_str(),
                request.operation.as_str(),
                request.group,
                request.version,
                request.kind,
                request.resource,
                request.subresource,
                request.namespace,
                request.name,
                request.user.username,
                json(&request.user.groups),
                json(&request.user.extra),
                request.dry_run,
                d.verdict.as_str(),
                d.cause.as_str(),
                d.mutated,
                d.policy_set.to_string(),
                d.data_digest.to_string(),
                d.caller.addr,
                request.uid,
                d.metrics.get("evaluate_ns").map(|n| signed(*n)),
            ],
        )?;
        for v in &d.violations {
            let severity = v.severity.map(crate::policy::Severity::as_str);
            let enforcement = v.enforcement.as_str();
            self.violation.execute(params![id, v.policy, enforcement, severity, v.msg, v.field, json(&v.controls)])?;
        }
        for e in &d.errors {
            self.error.execute(params![id, e.policy, e.enforcement.as_str(), e.code.as_str(), e.msg])?;
        }
        for e in &d.exceptions {
            self.exception.execute(params![id, json(e)])?;
        }
        Ok(())
    }

    /// Puts the row of a decision in, and takes away what another record said of the same decision: its findings would be
    /// counted twice.
    fn insert(&mut self, id: &str, row: impl Params + Copy) -> Result<(), LogError> {
        if self.decision.execute(row)? == 0 {
            for statement in &mut self.replace {
                statement.execute([id])?;
            }
            self.decision.execute(row)?;
        }
        Ok(())
    }
}

/// Lists and maps as the JSON text that SQLite's `json_each` reads.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
