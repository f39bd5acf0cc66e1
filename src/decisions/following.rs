//! Following a log while it is written: from a place on, over its segments. Must not know who waits or how often they
//! look.

use std::io;
use std::ops::ControlFlow;

use crate::decisions::lines::Lines;
use crate::decisions::query::{Filter, LogReader, Record};
use crate::decisions::{LogError, segments};

/// A place in a log: everything before it has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    first_seq: u64,
    bytes: u64,
}

impl LogReader {
    /// The end of the log.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn end(&self) -> Result<Place, LogError> {
        let segments = segments::segments(&self.dir)?;
        let Some(last) = segments.last() else { return Ok(Place::default()) };
        let mut place = Place { first_seq: last.first_seq, bytes: 0 };
        let _ = self.read_on(&mut place, |_| ControlFlow::Continue(()))?;
        Ok(place)
    }

    /// Calls `each` for every wanted record from `place` on, and moves it to the end.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn follow(
        &self,
        filter: &Filter,
        place: &mut Place,
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let mut take = |line: &[u8]| match std::str::from_utf8(line).ok().and_then(Record::parse) {
            Some(record) if filter.takes(&record) => each(record),
            _ => ControlFlow::Continue(()),
        };
        let segments = segments::segments(&self.dir)?;
        // A log that was begun anew in the same directory counts from 0 again.
        let anew = segments.iter().all(|s| s.first_seq < place.first_seq)
            || segments.iter().any(|s| s.first_seq == place.first_seq && s.envelopes < place.bytes);
        if anew && let Some(first) = segments.first() {
            *place = Place { first_seq: first.first_seq, bytes: 0 };
        }
        let begun = place.first_seq;
        for segment in segments.iter().filter(|s| s.first_seq >= begun) {
            if segment.first_seq > place.first_seq {
                *place = Place { first_seq: segment.first_seq, bytes: 0 };
            }
            if self.read_on(place, &mut take)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Reads the finished lines of the segment of `place` from there on.
    fn read_on(
        &self,
        place: &mut Place,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, LogError> {
        let path = segments::envelope_path(&self.dir, place.first_seq);
        let fault = |e: io::Error| LogError::io("read", &path, &e);
        let mut lines = match Lines::open_at(&path, place.bytes) {
            // Pruned meanwhile, or not there yet.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
            other => other.map_err(fault)?,
        };
        while let Some(line) = lines.next_finished().map_err(fault)? {
            place.bytes = line.offset + u64::try_from(line.bytes.len()).unwrap_or_default() + 1;
            if each(line.bytes).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
