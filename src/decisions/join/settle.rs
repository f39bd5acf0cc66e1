//! What has to be known before questions are asked: whose webhooks are registered, which records are missing, and what
//! became of decisions that the log lacks. Knows tables; must not know files, nor what is printed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::Registered;
use super::filling::signed;
use super::store::{MUTATE, Seen, VALIDATE};
use crate::decisions::entry::rfc3339;
use crate::decisions::query::SLACK;
use crate::decisions::{LogError, Ranges};
use crate::engine::Endpoint;

/// Takes webhooks of these names for ours.
pub(super) fn adopt(db: &Connection, registered: &Registered, names: &BTreeSet<String>) -> Result<(), LogError> {
    for (at, (name, endpoint)) in registered.doubtful().enumerate().filter(|(_, (name, _))| names.contains(*name)) {
        let bit = match endpoint {
            Endpoint::Validate => VALIDATE,
            Endpoint::Mutate => MUTATE,
        };
        db.execute(
            "UPDATE event SET expected = expected | iif(doubtful >> ?1 & 1, ?2, 0),
               perhaps = perhaps | iif(doubtful_perhaps >> ?1 & 1, ?2, 0),
               failed_open = iif(doubtful_open >> ?1 & 1, trim(failed_open || ' ' || ?3), failed_open)
             WHERE (doubtful | doubtful_perhaps | doubtful_open) >> ?1 & 1",
            params![i64::try_from(at).unwrap_or(i64::MAX), bit, name],
        )?;
    }
    Ok(())
}

/// Settles all of it.
pub(super) fn settle(db: &Connection, seen: &Seen, registered: &Registered) -> Result<(), LogError> {
    let holes = holes(db)?;
    find_lost(db)?;
    let decides: bool = db.query_row("SELECT EXISTS (SELECT 1 FROM decision)", [], |r| r.get(0))?;
    // A log without a decision may have been emptied: when it began says nothing.
    let begins = seen.log.as_ref().filter(|_| decides).map_or("", |(first, _)| first.as_str());
    let mut fate = db.prepare("UPDATE mark SET fate = ?3 WHERE id = ?1 AND event = ?2")?;
    let mut gaps = Gaps::of(db)?;
    let mut all_known = true;
    // Those whose log is known are matched with its gaps first; then those that may be of any.
    let mut lost = db.prepare("SELECT id, event, origin, point, ended FROM lost ORDER BY origin IS NULL, point")?;
    let mut rows = lost.query([])?;
    while let Some(row) = rows.next()? {
        let (id, event): (String, i64) = (row.get(0)?, row.get(1)?);
        let (origin, point, ended): (Option<String>, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
        if std::mem::replace(&mut all_known, origin.is_some()) && origin.is_none() {
            gaps.rewind();
        }
        let found = if holes.iter().any(|h| h.may_hold(origin.as_deref(), &point)) {
            "pruned"
        } else if gaps.spend(origin.as_deref(), &point) {
            "in_gap"
        } else if ended.as_str() < begins && !holds_origin(db, origin.as_deref())? {
            "before"
        } else {
            continue;
        };
        fate.execute(params![id, event, found])?;
    }
    failure_modes(db)?;
    excuse_deletions(db)?;
    before_registration(db, registered)
}

/// On the day of installation the server has records before anybody asks it. What came before the registration was made
/// was not due, unless the webhook was there earlier: a decision was heard or made then, or a registration deleted.
fn before_registration(db: &Connection, registered: &Registered) -> Result<(), LogError> {
    let ours = registered.configurations().fold(String::new(), |list, name| list + name + " ");
    let made: Option<String> = db.query_row(
        &format!("SELECT min(time) FROM event WHERE operation = 'CREATE' AND {OF_REGISTRATION}"),
        [&ours],
        |row| row.get(0),
    )?;
    let Some(made) = made else { return Ok(()) };
    let earlier: bool = db.query_row(
        &format!(
            "SELECT EXISTS (SELECT 1 FROM decision WHERE time < ?2)
               OR EXISTS (SELECT 1 FROM event WHERE time < ?2 AND (marked != 0 OR failed_open != ''))
               OR EXISTS (SELECT 1 FROM event WHERE time < ?2 AND operation != 'CREATE' AND {OF_REGISTRATION})"
        ),
        [&ours, &made],
        |row| row.get(0),
    )?;
    if !earlier {
        db.execute("UPDATE event SET excused = 2 WHERE time < ?1 AND excused = 0 AND expected != 0", [&made])?;
    }
    Ok(())
}

/// Changes of our webhook configurations; of one that was just made the audit log may not say its name.
const OF_REGISTRATION: &str = "done = 1 AND dry_run = 0
  AND resource IN ('validatingwebhookconfigurations.admissionregistration.k8s.io',
                   'mutatingwebhookconfigurations.admissionregistration.k8s.io')
  AND (name = '' OR instr(' ' || ?1, ' ' || name || ' ') > 0)";

/// Whether the log of this origin, if it is known, is among those that were given: then it has a decision of it, or has
/// lost it.
fn holds_origin(db: &Connection, origin: Option<&str>) -> Result<bool, LogError> {
    let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM stretch WHERE origin = ?1)")?;
    Ok(query.query_row([origin], |row| row.get(0))?)
}

/// Records that are gone and may have been of these times, as a prune record says.
struct Hole {
    origin: String,
    begins: String,
    ends: String,
}

impl Hole {
    fn may_hold(&self, origin: Option<&str>, point: &str) -> bool {
        origin.is_none_or(|o| o == self.origin) && self.begins.as_str() <= point && point <= self.ends.as_str()
    }
}

/// Finds the records that are not there. Those that no prune record explains go into `missing`; of the others, when they
/// may have been made: a request lives as long before its record as [`SLACK`] at most.
fn holes(db: &Connection) -> Result<Vec<Hole>, LogError> {
    let mut deleted: BTreeMap<String, Ranges> = BTreeMap::new();
    let mut query = db.prepare("SELECT origin, first, last FROM deleted")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        deleted.entry(row.get(0)?).or_default().insert(number(1)?, number(2)?);
    }
    let mut holes = Vec::new();
    let mut missing = db.prepare("INSERT INTO missing VALUES (?1,?2,?3,?4)")?;
    let mut stretches = db.prepare("SELECT origin, first, last, begins, ends FROM stretch ORDER BY origin, first")?;
    let mut rows = stretches.query([])?;
    let mut before: Option<(String, u64, String)> = None;
    while let Some(row) = rows.next()? {
        let (origin, begins, ends): (String, String, String) = (row.get(0)?, row.get(3)?, row.get(4)?);
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let (first, last) = (number(1)?, number(2)?);
        let (next, after) = match before.take().filter(|(o, ..)| *o == origin) {
            Some((_, last, ends)) => (last + 1, ends),
            None => (0, String::new()),
        };
        if first > next {
            let told = deleted.get(&origin);
            let mut left = Ranges::default();
            left.insert(next, first - 1);
            if let Some(ranges) = told {
                // The newest record of a deletion tells of all that is gone.
                ranges.iter().for_each(|(first, last)| left.remove(first, last));
            }
            for (first, last) in left.iter() {
                missing.execute(params![origin, signed(first), signed(last), begins])?;
            }
            if left.count() < first - next {
                let (begins, ends) = (shifted(&after, false), shifted(&begins, true));
                holes.push(Hole { origin: origin.clone(), begins, ends });
            }
        }
        let latest = if ends > after { ends } else { after };
        before = Some((origin, last.max(next.saturating_sub(1)), latest));
    }
    Ok(holes)
}

/// The time moved by [`SLACK`], to a point.
fn shifted(time: &str, later: bool) -> String {
    let Ok(parsed) = time.parse::<Timestamp>() else { return time.to_owned() };
    let moved = if later { parsed.checked_add(SLACK) } else { parsed.checked_sub(SLACK) };
    moved.map_or_else(|_| time.to_owned(), |t| point(&rfc3339(t)))
}

/// A time in milliseconds, as an id has it.
fn point(time: &str) -> String {
    time.get(..23).unwrap_or(time).to_owned()
}

/// Puts the decisions that the log lacks into `lost`, each with the time at which it was made.
fn find_lost(db: &Connection) -> Result<(), LogError> {
    let mut insert = db.prepare("INSERT INTO lost VALUES (?1,?2,?3,?4,?5,?6)")?;
    let mut query = db.prepare(
        "SELECT m.id, m.event, m.origin, e.time, e.ended FROM mark m JOIN event e ON e.n = m.event
         WHERE m.fate = 'unrecorded'",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (id, began, ended): (String, String, String) = (row.get(0)?, row.get(3)?, row.get(4)?);
        let (event, origin): (i64, Option<String>) = (row.get(1)?, row.get(2)?);
        insert.execute(params![id, event, origin, made(&id, &began, &ended), began, ended])?;
    }
    Ok(())
}

/// When the decision was made: as its id says, unless the request was at quite another time.
fn made(id: &str, began: &str, ended: &str) -> String {
    let parts = uuid::Uuid::parse_str(id).ok().and_then(|id| id.get_timestamp()).map(|t| t.to_unix());
    let told = parts.and_then(|(seconds, nanos)| {
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok().map(rfc3339)
    });
    match told {
        Some(told) if shifted(began, false) <= told && told <= shifted(ended, true) => point(&told),
        _ => point(began),
    }
}

/// What gap records excuse: so many decisions of a time, and no more. Times have to be asked for in order.
struct Gaps {
    /// In order of their beginning.
    all: Vec<Gap>,
    next: usize,
    /// Those that have begun, the first to end first.
    open: BTreeSet<(String, usize)>,
}

struct Gap {
    origin: String,
    begins: String,
    ends: String,
    left: u64,
}

impl Gaps {
    fn of(db: &Connection) -> Result<Self, LogError> {
        // A log that is given twice has its gaps once.
        let mut query =
            db.prepare("SELECT DISTINCT origin, begins, ends, count FROM gap WHERE count > 0 ORDER BY begins")?;
        let rows = query.query_map([], |r| {
            let (begins, ends): (String, String) = (r.get(1)?, r.get(2)?);
            let left = r.get::<_, i64>(3)?.cast_unsigned();
            Ok(Gap { origin: r.get(0)?, begins: point(&begins), ends: point(&ends), left })
        })?;
        Ok(Self { all: rows.collect::<Result<_, _>>()?, next: 0, open: BTreeSet::new() })
    }

    /// Times begin anew; what is spent stays spent.
    fn rewind(&mut self) {
        self.next = 0;
        self.open.clear();
    }

    /// Whether one more decision of that time can be among those that a gap counts.
    fn spend(&mut self, origin: Option<&str>, point: &str) -> bool {
        while let Some(gap) = self.all.get(self.next).filter(|g| g.begins.as_str() <= point) {
            self.open.insert((gap.ends.clone(), self.next));
            self.next += 1;
        }
        while self.open.first().is_some_and(|(ends, _)| ends.as_str() < point) {
            self.open.pop_first();
        }
        let of_origin = |g: &Gap| g.left > 0 && origin.is_none_or(|o| o == g.origin);
        let taken = self.open.iter().find(|(_, at)| self.all.get(*at).is_some_and(of_origin)).cloned();
        let Some(key) = taken else { return false };
        if let Some(gap) = self.all.get_mut(key.1) {
            gap.left -= 1;
            if gap.left == 0 {
                self.open.remove(&key);
            }
        }
        true
    }
}

/// A gap names the first of the decisions whose callers were answered by the failure mode, and counts the others: so
/// many refusals of that time may have been done.
fn failure_modes(db: &Connection) -> Result<(), LogError> {
    let mut gaps = db.prepare("SELECT DISTINCT origin, begins, ends, surplus FROM gap WHERE surplus > 0")?;
    let mut take = db.prepare(
        "INSERT INTO unconfirmed SELECT DISTINCT d.id FROM decision d JOIN mark m ON m.id = d.id
           JOIN event e ON e.n = m.event
         WHERE d.time BETWEEN ?2 AND ?3 AND d.origin = ?1 AND d.verdict = 'deny' AND e.done = 1
           AND d.id NOT IN (SELECT id FROM unconfirmed) ORDER BY d.time LIMIT ?4",
    )?;
    let mut rows = gaps.query([])?;
    while let Some(row) = rows.next()? {
        let (origin, begins, ends): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        take.execute(params![origin, begins, ends, row.get::<_, i64>(3)?])?;
    }
    Ok(())
}

/// A deletion of what is being deleted already is not sent again. It is one when the last thing that was done to an
/// object of that name, of those that make or delete it, was a deletion that was decided; alone, or with its collection.
/// Without indexes of just these every deletion would be held against every other.
const EXCUSE: &str = "
CREATE INDEX deleted_event ON event (resource, namespace, name, time)
  WHERE operation = 'DELETE' AND done = 1 AND dry_run = 0 AND marked != 0;
CREATE INDEX made_event ON event (resource, namespace, name, time)
  WHERE operation = 'CREATE' AND done = 1 AND dry_run = 0;
CREATE INDEX deleted_decision ON decision (resource, namespace, name, time)
  WHERE operation = 'DELETE' AND verdict = 'allow' AND dry_run = 0 AND undone = 0;
UPDATE event AS e SET excused = 1
WHERE operation = 'DELETE' AND name != '' AND (expected & ~marked) != 0 AND failed_open = '' AND max(
  ifnull((SELECT max(b.time) FROM event b WHERE b.operation = 'DELETE' AND b.done = 1 AND b.dry_run = 0
    AND b.marked != 0 AND b.resource = e.resource AND b.namespace = e.namespace AND b.name = e.name
    AND b.time < e.time), ''),
  ifnull((SELECT max(b.time) FROM event b WHERE b.operation = 'DELETE' AND b.done = 1 AND b.dry_run = 0
    AND b.marked != 0 AND b.resource = e.resource AND b.namespace = e.namespace AND b.name = ''
    AND b.time < e.time), ''),
  ifnull((SELECT max(d.time) FROM decision d WHERE d.operation = 'DELETE' AND d.verdict = 'allow' AND d.dry_run = 0
    AND d.undone = 0 AND d.resource = e.resource AND d.namespace = e.namespace AND d.name = e.name
    AND d.time < e.time), ''),
  ifnull((SELECT max(d.time) FROM decision d WHERE d.operation = 'DELETE' AND d.verdict = 'allow' AND d.dry_run = 0
    AND d.undone = 0 AND d.resource = e.resource AND d.namespace = e.namespace AND d.name = ''
    AND d.time < e.time), '')
) > ifnull((SELECT max(c.time) FROM event c WHERE c.operation = 'CREATE' AND c.done = 1 AND c.dry_run = 0
    AND c.resource = e.resource AND c.namespace = e.namespace AND c.name = e.name AND c.time < e.time), '');
";

fn excuse_deletions(db: &Connection) -> Result<(), LogError> {
    let any: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM event WHERE operation = 'DELETE' AND name != '' AND (expected & ~marked) != 0)",
        [],
        |r| r.get(0),
    )?;
    if any { Ok(db.execute_batch(EXCUSE)?) } else { Ok(()) }
}
