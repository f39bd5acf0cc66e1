//! What the two logs say of each other. Knows questions to the tables; must not know how the answers are printed.
//!
//! Every question streams its rows in order of time, so a report of any length needs no memory.

use rusqlite::Row;

use super::registered::NEVER_SENT;
use super::{Finding, FindingKind, Join, Joined, Outage, Report};
use crate::decisions::LogError;

/// Columns of a finding: time, decision id, audit id, operation, resource, namespace, name, user, code, detail.
const OF_EVENT: &str = "e.time, '', e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code";
const OF_DECISION: &str = "d.time, d.id, '', d.operation, d.resource, d.namespace, d.name, d.user, NULL";
const OF_BOTH: &str = "d.time, d.id, e.audit_id, d.operation, d.resource, d.namespace, e.name, d.user, e.code";

/// What was not decided and should have been by nobody's doubt, from the log's first record on.
const MISSING: &str = "(e.expected & ~e.marked) != 0 AND e.failed_open = '' AND e.time >= :log_first";

/// Requests that a decision was due for, or that have one.
const DUE: &str = "(expected | marked) != 0 AND NOT excused";

/// The request may have gone past a webhook that was not heard; of one that was not done nobody has to know.
const OPEN: &str = "e.failed_open != '' AND e.done IS NOT 0";

/// A decision that the API server heard of and the log lacks.
const OF_LOST: &str = "e.time, m.id, e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code";
const FATE: &str = "FROM mark m JOIN event e ON e.n = m.event WHERE m.fate";
const WHERE_LOST: &str = "m.webhook || ifnull(', log ' || m.origin, '')";

/// We refused, and it was done.
const OVERRULED: &str = "FROM decision d JOIN mark m ON m.id = d.id JOIN event e ON e.n = m.event
  WHERE d.verdict = 'deny' AND e.done = 1 AND d.id";

/// What no event names, where the audit log reaches.
const UNNAMED: &str = "NOT EXISTS (SELECT 1 FROM mark m WHERE m.id = d.id)";
const COVERED: &str = "d.time BETWEEN :audit_first AND :audit_last";

impl Join {
    /// Calls `each` for every finding of one kind, in order of time.
    ///
    /// # Errors
    /// [`LogError`], and whatever `each` gives.
    pub fn findings<E: From<LogError>>(
        &self,
        kind: FindingKind,
        mut each: impl FnMut(Finding) -> Result<(), E>,
    ) -> Result<(), E> {
        let query = query(kind);
        let mut statement = self.db.prepare(&query).map_err(LogError::from)?;
        let bounds = self.bounds();
        let named = bounds.of(&query);
        let mut rows = statement.query(named.as_slice()).map_err(LogError::from)?;
        while let Some(row) = rows.next().map_err(LogError::from)? {
            each(finding(kind, row).map_err(LogError::from)?)?;
        }
        Ok(())
    }

    /// Calls `each` for every decision with its event, in order of time.
    ///
    /// # Errors
    /// [`LogError`], and whatever `each` gives.
    pub fn joined<E: From<LogError>>(&self, mut each: impl FnMut(Joined) -> Result<(), E>) -> Result<(), E> {
        let query = "SELECT d.time, d.id, CASE WHEN e.n IS NOT NULL THEN 'confirmed' WHEN d.time BETWEEN :audit_first AND :audit_last
                   THEN 'unconfirmed' ELSE 'outside' END, d.origin, d.seq, d.endpoint, d.verdict, d.cause, d.policies,
                   d.operation, d.resource, d.namespace, iif(d.name = '', ifnull(e.name, ''), d.name), d.user, d.dry_run,
                   ifnull(e.audit_id, ''), ifnull(e.ips, ''), ifnull(e.agent, ''), ifnull(e.code, 0), ifnull(e.uri, '')
                 FROM decision d LEFT JOIN mark m ON m.id = d.id LEFT JOIN event e ON e.n = m.event
                 ORDER BY d.time, d.id";
        let mut statement = self.db.prepare(query).map_err(LogError::from)?;
        let bounds = self.bounds();
        let mut rows = statement.query(bounds.of(query).as_slice()).map_err(LogError::from)?;
        while let Some(row) = rows.next().map_err(LogError::from)? {
            each(joined(row).map_err(LogError::from)?)?;
        }
        Ok(())
    }

    /// Calls `each` for every time in which two or more requests in a row should have been decided and were not.
    ///
    /// # Errors
    /// [`LogError`], and whatever `each` gives.
    pub fn outages<E: From<LogError>>(&self, mut each: impl FnMut(Outage) -> Result<(), E>) -> Result<(), E> {
        let bounds = self.bounds();
        let query = format!(
            "SELECT e.time, ({MISSING} AND NOT e.excused AND e.marked = 0) OR e.failed_open != '' FROM event e
             WHERE (e.expected != 0 OR e.failed_open != '') AND e.time >= :log_first ORDER BY e.time"
        );
        let mut statement = self.db.prepare(&query).map_err(LogError::from)?;
        let mut rows = statement.query(bounds.of(&query).as_slice()).map_err(LogError::from)?;
        let mut run = None::<Outage>;
        while let Some(row) = rows.next().map_err(LogError::from)? {
            let cell = |row: &Row<'_>| Ok::<(String, bool), rusqlite::Error>((row.get(0)?, row.get(1)?));
            let (time, missing) = cell(row).map_err(LogError::from)?;
            match (&mut run, missing) {
                (Some(outage), true) => {
                    outage.to = time;
                    outage.requests += 1;
                }
                (None, true) => run = Some(Outage { from: time.clone(), to: time, requests: 1 }),
                (_, false) => run.take().filter(|o| o.requests > 1).map_or(Ok(()), &mut each)?,
            }
        }
        run.filter(|o| o.requests > 1).map_or(Ok(()), each)
    }

    /// What was joined, in numbers.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn report(&self) -> Result<Report, LogError> {
        let bounds = self.bounds();
        let count = |query: &str| {
            let bound = bounds.of(query);
            self.db.query_row(query, bound.as_slice(), |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        };
        Ok(Report {
            decisions: count("SELECT count(*) FROM decision")?,
            confirmed: count("SELECT count(*) FROM decision d WHERE EXISTS (SELECT 1 FROM mark m WHERE m.id = d.id)")?,
            outside: count(&format!("SELECT count(*) FROM decision d WHERE {UNNAMED} AND NOT ({COVERED})"))?,
            requests: count("SELECT count(*) FROM event")?,
            due: count(&format!("SELECT count(*) FROM event WHERE {DUE}"))?,
            decided: count(&format!("SELECT count(*) FROM event WHERE {DUE} AND (expected & ~marked) = 0"))?,
            repeated: count(REPEATED)?,
            unreadable: self.seen.unreadable,
            unreadable_records: self.seen.unreadable_records,
            marks: count("SELECT count(*) FROM mark")?,
            audit: self.seen.audit.clone(),
            log: self.seen.log.clone(),
        })
    }

    fn bounds(&self) -> Bounds {
        let (audit_first, audit_last) = self.seen.audit.clone().unwrap_or_default();
        Bounds { log_first: self.seen.log.clone().map(|l| l.0).unwrap_or_default(), audit_first, audit_last }
    }
}

/// Times from and to which the logs can be held against one another.
struct Bounds {
    log_first: String,
    audit_first: String,
    audit_last: String,
}

impl Bounds {
    /// Those that a query asks for.
    fn of(&self, query: &str) -> Vec<(&'static str, &dyn rusqlite::ToSql)> {
        let all: [(&'static str, &dyn rusqlite::ToSql); 3] =
            [(":log_first", &self.log_first), (":audit_first", &self.audit_first), (":audit_last", &self.audit_last)];
        all.into_iter().filter(|(name, _)| query.contains(name)).collect()
    }
}

/// The question for one kind of finding.
fn query(kind: FindingKind) -> String {
    let of = |columns: &str, detail: &str, rest: &str| format!("SELECT {columns}, {detail} {rest}");
    let lost = |fate: &str| of(OF_LOST, WHERE_LOST, &format!("{FATE} = '{fate}' ORDER BY e.time"));
    match kind {
        FindingKind::FailedOpen => of(OF_EVENT, "e.failed_open", &format!("FROM event e WHERE {OPEN} ORDER BY e.time")),
        FindingKind::Undecided => of(
            OF_EVENT,
            "CASE e.expected & ~e.marked WHEN 1 THEN 'not validated' WHEN 2 THEN 'not mutated' ELSE '' END",
            &format!("FROM event e WHERE {MISSING} AND NOT e.excused ORDER BY e.time"),
        ),
        FindingKind::PerhapsUndecided => of(
            OF_EVENT,
            "CASE e.excused WHEN 1 THEN 'deleted before' WHEN 2 THEN 'before the webhook was registered' ELSE '' END",
            &format!(
                "FROM event e WHERE e.failed_open = '' AND e.time >= :log_first AND (({MISSING} AND e.excused)
                   OR ((e.perhaps & ~e.marked) != 0 AND (e.expected & ~e.marked) = 0)) ORDER BY e.time"
            ),
        ),
        FindingKind::Unrecorded => lost("unrecorded"),
        FindingKind::InGap => lost("in_gap"),
        FindingKind::Pruned => lost("pruned"),
        FindingKind::Missing => "SELECT x.time, '', '', '', '', '', '', '', NULL,
             'records ' || x.first || ' to ' || x.last || ' of ' || x.origin FROM missing x ORDER BY x.origin, x.first"
            .to_owned(),
        FindingKind::Overruled => {
            of(OF_BOTH, "d.policies", &format!("{OVERRULED} NOT IN (SELECT id FROM unconfirmed) ORDER BY d.time"))
        }
        FindingKind::FailureMode => {
            of(OF_BOTH, "d.policies", &format!("{OVERRULED} IN (SELECT id FROM unconfirmed) ORDER BY d.time"))
        }
        FindingKind::Twice => format!("{TWICE} ORDER BY 1"),
        FindingKind::Unconfirmed => of(
            OF_DECISION,
            "d.endpoint || ' ' || d.verdict || ', ' || d.cause",
            &format!("FROM decision d WHERE {COVERED} AND {UNNAMED} ORDER BY d.time"),
        ),
        FindingKind::Unguarded => of(
            OF_EVENT,
            "e.ips || ' ' || e.agent",
            &format!(
                "FROM event e WHERE e.resource LIKE '%.{NEVER_SENT}' AND e.resource NOT LIKE '%/status.%' AND e.done = 1
                 ORDER BY e.time"
            ),
        ),
        FindingKind::SharedAuditId => of(
            OF_EVENT,
            "''",
            "FROM event e WHERE e.n IN (SELECT n FROM (
               SELECT n, row_number() OVER (PARTITION BY audit_id ORDER BY time) AS place FROM event) WHERE place > 1)
             ORDER BY e.time",
        ),
        FindingKind::RefusedElsewhere => of(
            OF_EVENT,
            "''",
            "FROM event e WHERE e.code >= 400 AND e.done = 0 AND e.marked != 0 AND NOT EXISTS (
               SELECT 1 FROM mark m LEFT JOIN decision d ON d.id = m.id
               WHERE m.event = e.n AND d.verdict IS NOT 'allow') ORDER BY e.time",
        ),
    }
}

/// Each row names the decision that should not be.
const TWICE: &str = "
SELECT e.time, m.id, e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code,
  'the same decision stands in ' || (SELECT count(*) FROM mark o WHERE o.id = m.id) || ' requests'
FROM mark m JOIN event e ON e.n = m.event
WHERE EXISTS (SELECT 1 FROM mark o WHERE o.id = m.id AND o.event != m.event AND EXISTS (
  SELECT 1 FROM event f WHERE f.n = o.event AND (f.time, f.audit_id) < (e.time, e.audit_id)))
UNION ALL
SELECT d.time, d.id, '', d.operation, d.resource, d.namespace, d.name, d.user, NULL,
  'review ' || d.uid || ' was decided before'
FROM decision d WHERE d.uid != '' AND EXISTS (
  SELECT 1 FROM decision o WHERE o.uid = d.uid AND o.endpoint = d.endpoint AND (o.time, o.id) < (d.time, d.id))
UNION ALL
SELECT d.time, d.id, e.audit_id, d.operation, d.resource, d.namespace, d.name, d.user, e.code,
  'one request was validated more than once'
FROM decision d JOIN mark m ON m.id = d.id JOIN event e ON e.n = m.event
WHERE d.endpoint = 'validate' AND d.operation IN ('CREATE', 'CONNECT') AND d.generated = 0 AND EXISTS (
  SELECT 1 FROM mark om JOIN decision o ON o.id = om.id
  WHERE om.event = m.event AND o.endpoint = 'validate' AND o.uid != d.uid
    AND o.resource = d.resource AND o.name = d.name AND (o.time, o.id) < (d.time, d.id))";

/// Decisions of one endpoint beyond the first of their request, but for those that [`TWICE`] tells.
const REPEATED: &str = "
SELECT ifnull(sum(n - 1), 0) FROM (
  SELECT count(*) AS n FROM mark m JOIN decision d ON d.id = m.id
  WHERE d.endpoint = 'mutate' OR d.operation IN ('UPDATE', 'DELETE') OR d.generated = 1
  GROUP BY m.event, d.endpoint HAVING n > 1)";

fn finding(finding: FindingKind, row: &Row<'_>) -> rusqlite::Result<Finding> {
    Ok(Finding {
        finding,
        time: row.get(0)?,
        decision_id: row.get(1)?,
        audit_id: row.get(2)?,
        operation: row.get(3)?,
        resource: row.get(4)?,
        namespace: row.get(5)?,
        name: row.get(6)?,
        user: row.get(7)?,
        code: row.get(8)?,
        detail: row.get(9)?,
    })
}

fn joined(row: &Row<'_>) -> rusqlite::Result<Joined> {
    Ok(Joined {
        time: row.get(0)?,
        decision_id: row.get(1)?,
        status: row.get(2)?,
        origin: row.get(3)?,
        seq: row.get(4)?,
        endpoint: row.get(5)?,
        verdict: row.get(6)?,
        cause: row.get(7)?,
        policies: row.get(8)?,
        operation: row.get(9)?,
        resource: row.get(10)?,
        namespace: row.get(11)?,
        name: row.get(12)?,
        user: row.get(13)?,
        dry_run: row.get(14)?,
        audit_id: row.get(15)?,
        source_ips: row.get(16)?,
        user_agent: row.get(17)?,
        code: row.get(18)?,
        uri: row.get(19)?,
    })
}
