//! What a sink sends next: records from a place on, as far as they are signed. Knows segments and places; must not know
//! where anything goes.

use std::io;
use std::path::{Path, PathBuf};

use super::Event;
use crate::decisions::lines::Lines;
use crate::decisions::replay::BodyCursor;
use crate::decisions::{BodyState, LogError, Record, segments};

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub records: usize,
    pub bytes: usize,
    /// Only records of one hour.
    pub one_hour: bool,
    pub bodies: bool,
}

/// Records in their order, and where the next one is.
pub(super) struct Batch {
    pub events: Vec<Event>,
    /// Whether there was no room for more.
    pub full: bool,
    /// Records from its beginning on that are not there, or cannot be read. They are told of alone, without events.
    pub lost: u64,
    place: Place,
}

impl Batch {
    /// The numbers go on at `to` where `from` belongs. What came before is sent first.
    fn jump(&mut self, from: u64, to: u64) {
        match to.saturating_sub(from) {
            0 => {}
            lost if self.events.is_empty() => self.lost = lost,
            _ => self.full = true,
        }
    }
}

/// A line in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u64,
    offset: u64,
    next: u64,
}

/// Reads a log for one sink.
pub(super) struct Reader {
    dir: PathBuf,
    place: Option<Place>,
    bodies: BodyCursor,
    /// The record whose body comes next there: bodies are read in order, and what is read again begins anew.
    bodies_at: u64,
}

impl Reader {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), place: None, bodies: BodyCursor::new(dir), bodies_at: 0 }
    }

    /// The log's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Records from number `next` up to (and without) `until`.
    pub(super) fn read(&mut self, next: u64, until: u64, bounds: Bounds) -> Result<Batch, LogError> {
        let segments: Vec<u64> = segments::segments(&self.dir)?.iter().map(|s| s.first_seq).collect();
        let first = segments.first().copied().unwrap_or(next);
        let lost = first.saturating_sub(next);
        let next = next.max(first);
        let holding = segments.iter().rev().find(|s| **s <= next).copied().unwrap_or(first);
        let known = self.place.filter(|p| p.next == next && segments.contains(&p.segment));
        let mut place = known.unwrap_or(Place { segment: holding, offset: 0, next });
        let mut batch = Batch { events: Vec::new(), full: false, lost, place };
        if self.bodies_at > next {
            self.bodies = BodyCursor::new(&self.dir);
        }
        if lost > 0 {
            return Ok(batch);
        }
        let mut bytes = 0;
        loop {
            self.read_segment(&mut place, until, bounds, &mut bytes, &mut batch)?;
            batch.place = place;
            let after = segments.iter().find(|s| **s > place.segment).copied();
            match after {
                // The segment is read to its end.
                Some(segment) if !batch.full && batch.lost == 0 && place.next < until => {
                    batch.jump(place.next, segment.min(until));
                    if batch.full || batch.lost > 0 {
                        return Ok(batch);
                    }
                    place = Place { segment, offset: 0, next: place.next };
                }
                _ => return Ok(batch),
            }
        }
    }

    /// When the next record was made, unless none is there or some before it are lost.
    pub(super) fn next_time(&mut self, next: u64, until: u64) -> Result<Option<String>, LogError> {
        let one = Bounds { records: 1, bytes: 1, one_hour: false, bodies: false };
        let batch = self.read(next, until, one)?;
        Ok(batch.events.first().map(|e| e.record.head.timestamp.clone()))
    }

    /// What was read has been delivered.
    pub(super) fn go_on(&mut self, batch: &Batch) {
        self.place = Some(batch.place);
    }

    fn read_segment(
        &mut self,
        place: &mut Place,
        until: u64,
        bounds: Bounds,
        bytes: &mut usize,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        let path = segments::envelope_path(&self.dir, place.segment);
        let fault = |e| LogError::io("read", &path, &e);
        let mut lines = match Lines::open_at(&path, place.offset) {
            // Pruned meanwhile: the next look tells.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fault)?,
        };
        while let Some(line) = lines.next_finished().map_err(fault)? {
            let end = line.offset + u64::try_from(line.bytes.len()).unwrap_or_default() + 1;
            let Some(record) = std::str::from_utf8(line.bytes).ok().and_then(Record::parse) else {
                place.offset = end;
                continue;
            };
            let seq = record.head.seq;
            if seq >= until {
                batch.jump(place.next, until);
                return Ok(());
            }
            if seq >= place.next {
                // What is between cannot be read.
                batch.jump(place.next, seq);
                if batch.full || batch.lost > 0 {
                    return Ok(());
                }
                let first = batch.events.first().map(|e| &e.record);
                let another_hour = first.is_some_and(|f| hour(f) != hour(&record));
                // A batch is of one cluster, replica and version: they are said once for all of it.
                batch.full = first.is_some_and(|f| f.head.labels != record.head.labels);
                if batch.full {
                    return Ok(());
                }
                if batch.events.len() >= bounds.records || *bytes >= bounds.bytes || (bounds.one_hour && another_hour) {
                    batch.full = true;
                    return Ok(());
                }
                let event = self.event(record, bounds.bodies)?;
                *bytes += event.record.line.len() + event.body.as_ref().map_or(0, |b| b.body.len());
                batch.events.push(event);
            }
            place.offset = end;
            place.next = place.next.max(seq + 1);
            if bounds.bodies {
                self.bodies_at = seq + 1;
            }
        }
        Ok(())
    }

    fn event(&mut self, record: Record, bodies: bool) -> Result<Event, LogError> {
        let body = match record.decision().filter(|_| bodies) {
            Some(decision) => match self.bodies.body(&record, &decision)? {
                BodyState::Intact(body) => Some(body),
                BodyState::Altered(_) | BodyState::Missing | BodyState::Deleted | BodyState::Erased => None,
            },
            None => None,
        };
        Ok(Event::of(record, body))
    }
}

/// `2026-11-26T15`.
fn hour(record: &Record) -> &str {
    record.head.timestamp.get(..13).unwrap_or_default()
}
