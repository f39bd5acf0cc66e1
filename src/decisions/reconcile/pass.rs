//! The one pass in which deliveries and log come by in their order. Knows claims, lines and leaves; must not know where
//! deliveries came from.

use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::types::Type;
use rusqlite::{Connection, Rows};

use super::claim::{Claim, Judgement, leaf_of};
use super::finding::{DeliveryFault, Expected, Reconciliation};
use super::leaves::Leaves;
use crate::decisions::replay::BodyCursor;
use crate::decisions::tree_files::latest_size;
use crate::decisions::{BodyState, LogError, LogReader, Record, RecordType};

/// Told of every fault, in order of numbers.
type Each<'e> = &'e mut dyn FnMut(DeliveryFault, u64, &str);

/// Holds what the table `delivered` has against the log in `dir`.
pub(super) fn go_through(
    db: &Connection,
    dir: &Path,
    expected: Expected,
    found: Reconciliation,
    decisions_only: bool,
    each: Each<'_>,
) -> Result<Reconciliation, LogError> {
    let delivered = first_and_last(db)?;
    let Some(range) = expected.range(delivered) else { return Ok(found) };
    let mut statement = db.prepare("SELECT seq, claim, times FROM delivered ORDER BY seq")?;
    let mut pass = Pass {
        delivered: Delivered::new(statement.query([])?)?,
        leaves: Leaves::new(dir),
        bodies: BodyCursor::new(dir),
        found: Reconciliation { range: delivered, ..found },
        range,
        decisions_only,
        each,
    };
    // Where all records are wanted, those before need not be looked at to be counted.
    let start = if decisions_only { 0 } else { range.0 };
    pass.found.before = start;
    let mut next = start;
    let mut failed = Ok(());
    LogReader::open(dir)?.stream(start, |l| {
        // A number that comes again or leads nowhere is for `verify` to find.
        if l.seq < next || (l.seq > next && latest_size(dir).is_some_and(|size| l.seq > size)) {
            return ControlFlow::Continue(());
        }
        failed = pass.without_lines(next, l.seq).and_then(|()| pass.at(l.seq, Some(l.line)));
        next = l.seq.saturating_add(1);
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    let end = latest_size(dir).unwrap_or_default().max(next);
    pass.without_lines(next, end)?;
    pass.beyond(end)?;
    Ok(pass.found)
}

fn first_and_last(db: &Connection) -> Result<Option<(u64, u64)>, LogError> {
    let (first, last): (Option<i64>, Option<i64>) =
        db.query_row("SELECT min(seq), max(seq) FROM delivered", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(first.map(i64::cast_unsigned).zip(last.map(i64::cast_unsigned)))
}

/// What was delivered, by number.
struct Delivered<'s> {
    rows: Rows<'s>,
    ahead: Option<(u64, Claim, u64)>,
}

impl<'s> Delivered<'s> {
    fn new(rows: Rows<'s>) -> Result<Self, LogError> {
        let mut delivered = Self { rows, ahead: None };
        delivered.go_on()?;
        Ok(delivered)
    }

    fn go_on(&mut self) -> Result<(), LogError> {
        self.ahead = match self.rows.next()? {
            None => None,
            Some(row) => {
                let (seq, claim, times): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let foreign = |e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e));
                let claim = serde_json::from_str(&claim).map_err(foreign)?;
                Some((seq.cast_unsigned(), claim, times.cast_unsigned()))
            }
        };
        Ok(())
    }

    /// All that says to be of this number, and how often it came. Numbers are asked for in their order.
    fn take(&mut self, seq: u64) -> Result<(Vec<Claim>, u64), LogError> {
        let (mut claims, mut came) = (Vec::new(), 0);
        while let Some((_, claim, times)) = self.ahead.take_if(|(ahead, ..)| *ahead == seq) {
            claims.push(claim);
            came += times;
            self.go_on()?;
        }
        Ok((claims, came))
    }
}

struct Pass<'p> {
    delivered: Delivered<'p>,
    leaves: Leaves,
    bodies: BodyCursor,
    found: Reconciliation,
    /// The first and the last number that must have arrived.
    range: (u64, u64),
    decisions_only: bool,
    each: Each<'p>,
}

impl Pass<'_> {
    /// Numbers that no line says.
    fn without_lines(&mut self, from: u64, to: u64) -> Result<(), LogError> {
        (from..to).try_for_each(|seq| self.at(seq, None))
    }

    fn at(&mut self, seq: u64, line: Option<&str>) -> Result<(), LogError> {
        let (claims, came) = self.delivered.take(seq)?;
        if claims.is_empty() {
            self.absent(seq, line);
            return Ok(());
        }
        self.found.records += 1;
        self.held(seq, line, &claims)?;
        if came > 1 {
            (self.each)(DeliveryFault::Twice, seq, &format!("{came} times"));
        }
        Ok(())
    }

    fn held(&mut self, seq: u64, line: Option<&str>, claims: &[Claim]) -> Result<(), LogError> {
        let (leaf, record) = self.of_tree(seq, line);
        let Some(leaf) = leaf else {
            (self.each)(DeliveryFault::Unknown, seq, "neither its record nor its leaf is there any more");
            return Ok(());
        };
        // Looked for once, where it is asked for.
        let mut known: Option<BodyState> = None;
        let mut body = || {
            if known.is_none() {
                let decision = record.as_ref().and_then(|r| Some((r, r.decision()?)));
                known = decision.map(|(r, d)| self.bodies.body(r, &d)).transpose()?;
            }
            Ok(known.clone().unwrap_or(BodyState::Missing))
        };
        let mut worst = Judgement::Intact;
        for claim in claims {
            worst = worst.max(claim.judge(&leaf, record.as_ref(), &mut body)?);
        }
        match worst {
            Judgement::Intact => self.found.intact += 1,
            Judgement::LeafOnly => self.found.leaf_only += 1,
            Judgement::Altered(why) => (self.each)(DeliveryFault::Altered, seq, &why),
        }
        Ok(())
    }

    fn absent(&mut self, seq: u64, line: Option<&str>) {
        let inside = (self.range.0..=self.range.1).contains(&seq);
        let wanted = match line {
            _ if !self.decisions_only => Some(true),
            Some(_) if inside => self.of_tree(seq, line).1.map(|r| r.head.r#type == RecordType::Decision),
            line => line.and_then(Record::parse).map(|r| r.head.r#type == RecordType::Decision),
        };
        match wanted {
            Some(false) => {}
            _ if seq < self.range.0 => self.found.before += 1,
            _ if seq > self.range.1 => self.found.behind += 1,
            Some(true) => (self.each)(DeliveryFault::Missing, seq, ""),
            None => self.found.untold += 1,
        }
    }

    /// The leaf, and the record where its line is that leaf. What is not signed yet has no leaf but its line's.
    fn of_tree(&mut self, seq: u64, line: Option<&str>) -> (Option<String>, Option<Record>) {
        let of_line = line.map(leaf_of);
        let leaf = self.leaves.leaf(seq).or_else(|| of_line.clone());
        let record = line.filter(|_| of_line == leaf).and_then(Record::parse);
        (leaf, record)
    }

    /// What was delivered or had to be and comes after the log's end.
    fn beyond(&mut self, end: u64) -> Result<(), LogError> {
        let last = self.range.1;
        let mut arrived = last < end;
        while let Some((seq, ..)) = self.delivered.ahead {
            self.delivered.take(seq)?;
            self.found.records += 1;
            arrived |= seq == last;
            (self.each)(DeliveryFault::Unknown, seq, "the log ends before it");
        }
        if !arrived {
            (self.each)(DeliveryFault::Missing, last, "the log ends before it, too");
        }
        Ok(())
    }
}
