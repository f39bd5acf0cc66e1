//! Records and events on their way into the tables. Knows both; must not know what is asked of them.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, Statement, Transaction, params};

use super::registered::operation;
use super::store::{MUTATE, Seen, VALIDATE};
use super::{AuditEvent, Expected, Registered};
use crate::decisions::{DecisionRecord, LogError, Record, RecordType};
use crate::engine::Endpoint;

/// A join that is being filled: the decision log first, then the audit log.
pub struct Filling<'t> {
    registered: &'t Registered,
    decision: Statement<'t>,
    decided: Statement<'t>,
    undone: Statement<'t>,
    event: Statement<'t>,
    mark: Statement<'t>,
    gap: Statement<'t>,
    unconfirmed: Statement<'t>,
    deleted: Statement<'t>,
    stretch: Statement<'t>,
    /// Records in a row, until one is missing or another log begins.
    run: Option<Stretch>,
    seen: Seen,
    /// Names of webhooks of which decisions were heard and that are not known to be ours.
    adopted: BTreeSet<String>,
}

/// Records of one origin without a gap between them, with the earliest and the latest of their times.
struct Stretch {
    origin: String,
    first: u64,
    last: u64,
    begins: String,
    ends: String,
}

impl<'t> Filling<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'_>,
        registered: &'t Registered,
        seen: Seen,
    ) -> Result<Self, LogError> {
        Ok(Self {
            registered,
            // The same log given twice is the same log.
            decision: transaction.prepare(
                "INSERT INTO decision VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,0)
                 ON CONFLICT (id) DO NOTHING",
            )?,
            decided: transaction.prepare("SELECT endpoint, dry_run FROM decision WHERE id = ?1")?,
            undone: transaction.prepare("UPDATE decision SET undone = 1 WHERE id = ?1")?,
            // A request is known by its id, which the client may choose, and by when it came. Its stages come one after
            // the other, in any order of files: the last one says what it was.
            event: transaction.prepare(
                "INSERT INTO event VALUES (NULL,?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,
                   ?21,?22,0)
                 ON CONFLICT (time, audit_id) DO UPDATE SET
                   ended = max(ended, excluded.ended), marked = marked | excluded.marked,
                   dry_run = max(dry_run, excluded.dry_run), failed_open = max(failed_open, excluded.failed_open),
                   doubtful_open = doubtful_open | excluded.doubtful_open,
                   name = iif(excluded.name = '' OR excluded.stage < stage AND name != '', name, excluded.name),
                   operation = iif(excluded.stage >= stage, excluded.operation, operation),
                   resource = iif(excluded.stage >= stage, excluded.resource, resource),
                   namespace = iif(excluded.stage >= stage, excluded.namespace, namespace),
                   user = iif(excluded.stage >= stage, excluded.user, user),
                   code = iif(excluded.stage >= stage, excluded.code, code),
                   done = iif(excluded.stage >= stage, excluded.done, done),
                   expected = iif(excluded.stage >= stage, excluded.expected, expected),
                   perhaps = iif(excluded.stage >= stage, excluded.perhaps, perhaps),
                   doubtful = iif(excluded.stage >= stage, excluded.doubtful, doubtful),
                   doubtful_perhaps = iif(excluded.stage >= stage, excluded.doubtful_perhaps, doubtful_perhaps),
                   stage = max(stage, excluded.stage)
                 RETURNING n",
            )?,
            mark: transaction.prepare("INSERT INTO mark VALUES (?1,?2,?3,?4,?5) ON CONFLICT DO NOTHING")?,
            gap: transaction.prepare("INSERT INTO gap VALUES (?1,?2,?3,?4,?5)")?,
            unconfirmed: transaction.prepare("INSERT INTO unconfirmed VALUES (?1) ON CONFLICT DO NOTHING")?,
            deleted: transaction.prepare("INSERT INTO deleted VALUES (?1,?2,?3)")?,
            stretch: transaction.prepare("INSERT INTO stretch VALUES (?1,?2,?3,?4,?5)")?,
            run: None,
            seen,
            adopted: BTreeSet::new(),
        })
    }

    /// Takes a record of the decision log.
    ///
    /// # Errors
    /// [`LogError`] when the disk is full.
    pub fn record(&mut self, record: &Record) -> Result<(), LogError> {
        self.follow(record)?;
        let origin = &record.head.origin;
        if let Some(decision) = record.decision() {
            return self.decision(record, &decision);
        }
        self.seen.unreadable_records += u64::from(record.head.r#type == RecordType::Decision);
        if let Some(gap) = record.gap() {
            let surplus = gap.unconfirmed.saturating_sub(u64::try_from(gap.unconfirmed_ids.len()).unwrap_or(u64::MAX));
            self.gap.execute(params![origin, gap.from, gap.to, signed(gap.count), signed(surplus)])?;
            for id in &gap.unconfirmed_ids {
                self.unconfirmed.execute([id])?;
            }
        }
        if let Some(prune) = record.prune().filter(|p| p.what == "segment") {
            for (first, last) in std::iter::once((prune.first_seq, prune.last_seq)).chain(prune.gone.iter()) {
                self.deleted.execute(params![origin, signed(first), signed(last)])?;
            }
        }
        Ok(())
    }

    /// Notes which records there are.
    fn follow(&mut self, record: &Record) -> Result<(), LogError> {
        let (head, time) = (&record.head, &record.head.timestamp);
        widen(&mut self.seen.log, time);
        match &mut self.run {
            Some(run) if run.last.checked_add(1) == Some(head.seq) && run.origin == head.origin => {
                run.last = head.seq;
                if *time < run.begins {
                    run.begins.clone_from(time);
                }
                if *time > run.ends {
                    run.ends.clone_from(time);
                }
                Ok(())
            }
            _ => {
                let next = Stretch {
                    origin: head.origin.clone(),
                    first: head.seq,
                    last: head.seq,
                    begins: time.clone(),
                    ends: time.clone(),
                };
                self.close(Some(next))
            }
        }
    }

    fn close(&mut self, next: Option<Stretch>) -> Result<(), LogError> {
        if let Some(run) = std::mem::replace(&mut self.run, next) {
            let (first, last) = (signed(run.first), signed(run.last));
            self.stretch.execute(params![run.origin, first, last, run.begins, run.ends])?;
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

    /// Notes pieces of the audit log that hold no event.
    pub fn unreadable(&mut self, pieces: u64) {
        self.seen.unreadable += pieces;
    }

    /// Takes an event of the audit log.
    ///
    /// # Errors
    /// [`LogError`] when the disk is full.
    pub fn event(&mut self, event: &AuditEvent) -> Result<(), LogError> {
        widen(&mut self.seen.audit, &event.stage_time);
        let Some(operation) = operation(event) else { return Ok(()) };
        let stage = match event.stage.as_str() {
            "RequestReceived" => 0,
            "ResponseStarted" => 1,
            _ => 2,
        };
        let (mut expected, mut perhaps) = (0, 0);
        for endpoint in [Endpoint::Validate, Endpoint::Mutate] {
            match self.registered.expects(endpoint, event) {
                Expected::Yes => expected |= bit(endpoint),
                Expected::Perhaps => perhaps |= bit(endpoint),
                Expected::No => {}
            }
        }
        let doubtful: Vec<Expected> = self.registered.doubtful_expect(event).collect();
        let of = |wanted: Expected| bits(doubtful.iter().map(|e| *e == wanted));
        let open = |name: &str| event.failed_open.iter().any(|w| w == name);
        let ours: Vec<&str> =
            event.failed_open.iter().map(String::as_str).filter(|w| self.registered.is_ours(w)).collect();
        let (mut marked, mut dry_run, mut fates) = (0, event.dry_run(), Vec::new());
        for mark in &event.marks {
            let decided = self.decided.query_row([&mark.id], |r| Ok((r.get::<_, String>(0)?, r.get::<_, bool>(1)?)));
            let decided = decided.optional()?;
            match &decided {
                Some((endpoint, dry)) => {
                    marked |= if endpoint == Endpoint::Mutate.as_str() { MUTATE } else { VALIDATE };
                    dry_run |= *dry;
                }
                None => self.registered.endpoints(&mark.webhook).into_iter().for_each(|e| marked |= bit(e)),
            }
            fates.push((mark, if decided.is_some() { "recorded" } else { "unrecorded" }));
            if operation == "DELETE" && (event.done() == Some(false) || event.dry_run()) {
                self.undone.execute([&mark.id])?;
            }
            if !self.registered.is_ours(&mark.webhook) {
                self.adopted.insert(mark.webhook.clone());
            }
        }
        let row = params![
            event.audit_id,
            stage,
            event.received,
            event.stage_time,
            operation,
            resource(&event.group, &event.resource, &event.subresource),
            event.namespace,
            event.name,
            event.user,
            event.source_ips.join(" "),
            event.user_agent,
            event.code,
            event.done(),
            dry_run,
            event.uri,
            expected,
            perhaps,
            marked,
            ours.join(" "),
            of(Expected::Yes),
            of(Expected::Perhaps),
            bits(self.registered.doubtful().map(|(name, _)| open(name))),
        ];
        let n: i64 = self.event.query_row(row, |r| r.get(0))?;
        for (mark, fate) in fates {
            self.mark.execute(params![mark.id, n, mark.webhook, mark.origin, fate])?;
        }
        Ok(())
    }

    /// What was seen, and the names of webhooks of which decisions were heard and that were not known to be ours.
    pub(super) fn end(mut self) -> Result<(Seen, BTreeSet<String>), LogError> {
        self.close(None)?;
        Ok((self.seen, self.adopted))
    }
}

fn bit(endpoint: Endpoint) -> u8 {
    match endpoint {
        Endpoint::Validate => VALIDATE,
        Endpoint::Mutate => MUTATE,
    }
}

/// One bit each, the first the lowest; there are no more than a number has.
fn bits(each: impl Iterator<Item = bool>) -> i64 {
    each.enumerate().filter(|(_, set)| *set).fold(0, |mask, (at, _)| mask | 1 << at)
}

/// Makes a span hold `time` too.
fn widen(span: &mut Option<(String, String)>, time: &str) {
    match span {
        None => *span = Some((time.to_owned(), time.to_owned())),
        Some((first, _)) if time < first.as_str() => time.clone_into(first),
        Some((_, last)) if time > last.as_str() => time.clone_into(last),
        Some(_) => {}
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

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
