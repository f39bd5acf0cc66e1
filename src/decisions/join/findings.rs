//! What the two logs say of each other. Knows questions to the tables; must not know how the answers are printed.
//!
//! Every question streams its rows in order of time, so a report of any length needs no memory.

use rusqlite::{Row, named_params};
use serde::Serialize;

use super::Join;
use super::registered::NEVER_SENT;
use crate::decisions::LogError;

/// What is wrong, or worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The webhook was not heard and the API server let the request pass (`failurePolicy: Ignore`).
    FailedOpen,
    /// A registered rule takes the request, it was done, and no decision was made.
    Undecided,
    /// The API server heard of a decision that the log does not have, and no gap record explains it.
    Unrecorded,
    /// We refused, and it was done.
    Overruled,
    /// One review was decided twice, or two requests show the same decision.
    Twice,
    /// No API server confirms the decision: a forged caller, or a caller that was lost.
    Unconfirmed,
    /// A webhook configuration or an in-tree admission policy was changed: no webhook is asked about these, and who
    /// changes them can switch policies off.
    Unguarded,
    /// We allowed, and the API server refused.
    RefusedElsewhere,
    /// No decision was made, and the event does not say whether one should have been.
    PerhapsUndecided,
    /// Not in the log, as a gap record says.
    InGap,
}

impl FindingKind {
    /// All, the worst first.
    pub const ALL: [Self; 10] = [
        Self::FailedOpen,
        Self::Undecided,
        Self::Unrecorded,
        Self::Overruled,
        Self::Twice,
        Self::Unconfirmed,
        Self::Unguarded,
        Self::InGap,
        Self::PerhapsUndecided,
        Self::RefusedElsewhere,
    ];

    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailedOpen => "failed_open",
            Self::Undecided => "undecided",
            Self::Unrecorded => "unrecorded",
            Self::Overruled => "overruled",
            Self::Twice => "twice",
            Self::Unconfirmed => "unconfirmed",
            Self::Unguarded => "unguarded",
            Self::InGap => "in_gap",
            Self::PerhapsUndecided => "perhaps_undecided",
            Self::RefusedElsewhere => "refused_elsewhere",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::FailedOpen => "passed because the webhook was not heard (failurePolicy Ignore)",
            Self::Undecided => "done without a decision although a registered rule takes it",
            Self::Unrecorded => "decided, as the API server says, but the decision is not in the log",
            Self::Overruled => "refused by us and done nevertheless",
            Self::Twice => "decided twice",
            Self::Unconfirmed => "decided, but no API server says that it asked",
            Self::Unguarded => "changed what decides who is asked: webhooks are never asked about these",
            Self::InGap => "decided, and known not to be in the log (gap record)",
            Self::PerhapsUndecided => "done without a decision; the event does not say whether one was due",
            Self::RefusedElsewhere => "allowed by us and refused by the API server",
        }
    }

    /// Whether it is a negative finding: somebody has to look.
    #[must_use]
    pub fn is_negative(self) -> bool {
        !matches!(self, Self::Unguarded | Self::InGap | Self::PerhapsUndecided | Self::RefusedElsewhere)
    }
}

/// One finding. Empty fields are not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub finding: FindingKind,
    /// When (RFC 3339, nanoseconds, UTC).
    pub time: String,
    /// Id of the decision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decision_id: String,
    /// `auditID` of the event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audit_id: String,
    /// `CREATE`, ...
    pub operation: String,
    /// `deployments.apps`.
    pub resource: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who asked.
    pub user: String,
    /// HTTP status of the API server's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A decision with what the API server's event adds; the event's fields are empty for a decision without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// When the review arrived.
    pub time: String,
    /// Id of the decision.
    pub decision_id: String,
    /// `confirmed`, or `unconfirmed` when no event names it.
    pub status: &'static str,
    /// Origin of the log that has it.
    pub origin: String,
    /// Its number there.
    pub seq: i64,
    /// `validate` or `mutate`.
    pub endpoint: String,
    /// Our answer.
    pub verdict: String,
    /// Why.
    pub cause: String,
    /// Policies that found something or could not be judged, separated by spaces.
    pub policies: String,
    /// `CREATE`, ...
    pub operation: String,
    /// `deployments.apps`.
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Who asked.
    pub user: String,
    /// Whether nothing was to be persisted.
    pub dry_run: bool,
    /// `auditID` of the event.
    pub audit_id: String,
    /// Where the request came from, separated by spaces.
    pub source_ips: String,
    /// With what.
    pub user_agent: String,
    /// HTTP status of the API server's answer; 0 when it is not known.
    pub code: u16,
    /// `requestURI`.
    pub uri: String,
}

/// A time in which the webhook was not asked although it should have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Time of the first request without a decision.
    pub from: String,
    /// Time of the last.
    pub to: String,
    /// How many.
    pub requests: u64,
}

/// What was joined, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Decisions in the log.
    pub decisions: u64,
    /// Of those, named by an event.
    pub confirmed: u64,
    /// Requests in the audit log that admission may see.
    pub requests: u64,
    /// Of those, with a decision.
    pub decided: u64,
    /// Decisions beyond the first of their request that are as they should be: retries after a conflict, the items of a
    /// collection, a mutating webhook that was asked again.
    pub repeated: u64,
    /// The audit log's first and last event.
    pub audit: Option<(String, String)>,
    /// The decision log's first and last decision.
    pub log: Option<(String, String)>,
}

/// Columns of a finding: time, decision id, audit id, operation, resource, namespace, name, user, code, detail.
const OF_EVENT: &str = "e.time, '', e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code";
const OF_DECISION: &str = "d.time, d.id, '', d.operation, d.resource, d.namespace, d.name, d.user, NULL";
const OF_BOTH: &str = "d.time, d.id, e.audit_id, d.operation, d.resource, d.namespace, e.name, d.user, e.code";

/// The request was done.
const DONE: &str = "(e.code BETWEEN 200 AND 399 OR e.code = 101)";

/// What should have been decided by nobody's doubt: from the first decision on, before which there may have been no
/// webhook. Deletions of what is being deleted already are not sent again.
const MISSING: &str = "(e.expected & ~e.marked) != 0 AND e.failed_open = '' AND e.time >= :log_first";
const DELETED_BEFORE: &str = "(e.operation = 'DELETE' AND EXISTS (SELECT 1 FROM event b WHERE b.operation = 'DELETE'
  AND b.resource = e.resource AND b.namespace = e.namespace AND b.name = e.name AND b.time < e.time AND b.marked != 0))";

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
        let of = |columns: &str, detail: &str, rest: &str| format!("SELECT {columns}, {detail} {rest}");
        let query = match kind {
            FindingKind::FailedOpen => {
                of(OF_EVENT, "e.failed_open", "FROM event e WHERE e.failed_open != '' ORDER BY e.time")
            }
            FindingKind::Undecided => of(
                OF_EVENT,
                "CASE e.expected & ~e.marked WHEN 1 THEN 'not validated' WHEN 2 THEN 'not mutated' ELSE '' END",
                &format!("FROM event e WHERE {MISSING} AND NOT {DELETED_BEFORE} ORDER BY e.time"),
            ),
            FindingKind::PerhapsUndecided => of(
                OF_EVENT,
                "iif(e.operation = 'DELETE' AND e.name != '', 'deleted before', '')",
                &format!(
                    "FROM event e WHERE e.failed_open = '' AND e.time >= :log_first AND (({MISSING} AND {DELETED_BEFORE})
                     OR ((e.perhaps & ~e.marked) != 0 AND (e.expected & ~e.marked) = 0)) ORDER BY e.time"
                ),
            ),
            FindingKind::Unrecorded => of(
                "e.time, m.id, e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code",
                "m.webhook",
                &format!("{LOST} AND NOT {EXPLAINED} ORDER BY e.time"),
            ),
            FindingKind::InGap => of(
                "e.time, m.id, e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code",
                "m.webhook",
                &format!("{LOST} AND {EXPLAINED} ORDER BY e.time"),
            ),
            FindingKind::Overruled => of(
                OF_BOTH,
                "d.policies",
                &format!(
                    "FROM decision d JOIN mark m ON m.id = d.id JOIN event e ON e.audit_id = m.audit_id
                     WHERE d.verdict = 'deny' AND {DONE} ORDER BY d.time"
                ),
            ),
            FindingKind::Twice => format!("{TWICE} ORDER BY 1"),
            FindingKind::Unconfirmed => of(
                OF_DECISION,
                "d.endpoint || ' ' || d.verdict || ', ' || d.cause",
                "FROM decision d WHERE d.time BETWEEN :audit_first AND :audit_last
                 AND NOT EXISTS (SELECT 1 FROM mark m WHERE m.id = d.id) ORDER BY d.time",
            ),
            FindingKind::Unguarded => of(
                OF_EVENT,
                "e.ips || ' ' || e.agent",
                &format!(
                    "FROM event e WHERE e.resource LIKE '%.{NEVER_SENT}' AND e.resource NOT LIKE '%/status.%' AND {DONE}
                     ORDER BY e.time"
                ),
            ),
            FindingKind::RefusedElsewhere => of(
                OF_EVENT,
                "''",
                "FROM event e WHERE e.code >= 400 AND e.marked != 0 AND NOT EXISTS (
                   SELECT 1 FROM mark m LEFT JOIN decision d ON d.id = m.id
                   WHERE m.audit_id = e.audit_id AND d.verdict IS NOT 'allow') ORDER BY e.time",
            ),
        };
        let bounds = self.bounds()?;
        let mut statement = self.db.prepare(&query).map_err(LogError::from)?;
        let all: [(&str, &dyn rusqlite::ToSql); 3] = [
            (":log_first", &bounds.log_first),
            (":audit_first", &bounds.audit_first),
            (":audit_last", &bounds.audit_last),
        ];
        let named: Vec<(&str, &dyn rusqlite::ToSql)> =
            all.into_iter().filter(|(name, _)| query.contains(name)).collect();
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
        let mut statement = self
            .db
            .prepare(
                "SELECT d.time, d.id, e.audit_id IS NOT NULL, d.origin, d.seq, d.endpoint, d.verdict, d.cause, d.policies,
                   d.operation, d.resource, d.namespace, iif(d.name = '', ifnull(e.name, ''), d.name), d.user, d.dry_run,
                   ifnull(e.audit_id, ''), ifnull(e.ips, ''), ifnull(e.agent, ''), ifnull(e.code, 0), ifnull(e.uri, '')
                 FROM decision d LEFT JOIN mark m ON m.id = d.id LEFT JOIN event e ON e.audit_id = m.audit_id
                 ORDER BY d.time, d.id",
            )
            .map_err(LogError::from)?;
        let mut rows = statement.query([]).map_err(LogError::from)?;
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
        let bounds = self.bounds()?;
        let query = format!(
            "SELECT e.time, ({MISSING} AND NOT {DELETED_BEFORE}) OR e.failed_open != '' FROM event e
             WHERE (e.expected != 0 OR e.failed_open != '') AND e.time >= :log_first ORDER BY e.time"
        );
        let mut statement = self.db.prepare(&query).map_err(LogError::from)?;
        let first = named_params! {":log_first": bounds.log_first};
        let mut rows = statement.query(first).map_err(LogError::from)?;
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
        let count = |query: &str| self.db.query_row(query, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
        let ends = |table: &str| -> Result<Option<(String, String)>, LogError> {
            let query = format!("SELECT min(time), max(time) FROM {table}");
            Ok(self.db.query_row(&query, [], |r| Ok(r.get::<_, Option<String>>(0)?.zip(r.get(1)?)))?)
        };
        Ok(Report {
            decisions: count("SELECT count(*) FROM decision")?,
            confirmed: count("SELECT count(*) FROM decision d WHERE EXISTS (SELECT 1 FROM mark m WHERE m.id = d.id)")?,
            requests: count("SELECT count(*) FROM event")?,
            decided: count("SELECT count(*) FROM event WHERE marked != 0")?,
            repeated: count(REPEATED)?,
            audit: ends("event")?,
            log: ends("decision")?,
        })
    }

    fn bounds(&self) -> Result<Bounds, LogError> {
        let text =
            |query: &str| -> Result<Option<String>, LogError> { Ok(self.db.query_row(query, [], |row| row.get(0))?) };
        let (first, last) = (text("SELECT min(time) FROM event")?, text("SELECT max(ended) FROM event")?);
        Ok(Bounds {
            // Without a decision nothing was there to decide.
            log_first: text("SELECT min(time) FROM decision")?.unwrap_or_else(|| "9".to_owned()),
            audit_first: first.unwrap_or_else(|| "9".to_owned()),
            audit_last: last.unwrap_or_default(),
        })
    }
}

struct Bounds {
    log_first: String,
    audit_first: String,
    audit_last: String,
}

/// Decisions that the API server heard of and the log lacks; before its first record the log may have been pruned.
const LOST: &str = "FROM mark m JOIN event e ON e.audit_id = m.audit_id
  WHERE NOT EXISTS (SELECT 1 FROM decision d WHERE d.id = m.id) AND e.ended >= :log_first";

const EXPLAINED: &str = "EXISTS (SELECT 1 FROM hole h WHERE h.begins <= e.ended AND h.ends >= e.time)";

/// Each row names the decision that should not be.
const TWICE: &str = "
SELECT e.time, m.id, e.audit_id, e.operation, e.resource, e.namespace, e.name, e.user, e.code,
  'the same decision stands in ' || (SELECT count(*) FROM mark o WHERE o.id = m.id) || ' requests'
FROM mark m JOIN event e ON e.audit_id = m.audit_id
WHERE EXISTS (SELECT 1 FROM mark o WHERE o.id = m.id AND o.audit_id < m.audit_id)
UNION ALL
SELECT d.time, d.id, '', d.operation, d.resource, d.namespace, d.name, d.user, NULL,
  'review ' || d.uid || ' was decided before'
FROM decision d WHERE d.uid != '' AND EXISTS (
  SELECT 1 FROM decision o WHERE o.uid = d.uid AND o.endpoint = d.endpoint AND (o.time, o.id) < (d.time, d.id))
UNION ALL
SELECT d.time, d.id, e.audit_id, d.operation, d.resource, d.namespace, d.name, d.user, e.code,
  'one request was validated more than once'
FROM decision d JOIN mark m ON m.id = d.id JOIN event e ON e.audit_id = m.audit_id
WHERE d.endpoint = 'validate' AND d.operation IN ('CREATE', 'CONNECT') AND d.generated = 0 AND EXISTS (
  SELECT 1 FROM mark om JOIN decision o ON o.id = om.id
  WHERE om.audit_id = m.audit_id AND o.endpoint = 'validate' AND o.uid != d.uid
    AND o.resource = d.resource AND o.name = d.name AND (o.time, o.id) < (d.time, d.id))";

/// Decisions of one endpoint beyond the first of their request, but for those that [`TWICE`] tells.
const REPEATED: &str = "
SELECT ifnull(sum(n - 1), 0) FROM (
  SELECT count(*) AS n FROM mark m JOIN decision d ON d.id = m.id
  WHERE d.endpoint = 'mutate' OR d.operation IN ('UPDATE', 'DELETE') OR d.generated = 1
  GROUP BY m.audit_id, d.endpoint HAVING n > 1)";

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
        status: if row.get(2)? { "confirmed" } else { "unconfirmed" },
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
