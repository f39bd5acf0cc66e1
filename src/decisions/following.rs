//! Following a log while it is written: from a place on, over its segments. Must not know who waits or how often they
//! look.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;

use crate::decisions::lines::Lines;
use crate::decisions::query::{Filter, LogReader, Record};
use crate::decisions::sieve::{Sieve, Sifted};
use crate::decisions::{LogError, segments};

/// Lines that a place remembers: more than a writer puts down at once, and may cut off again.
const REMEMBERED: usize = 4096;

/// A place in a log: everything before it has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    first_seq: u64,
    bytes: u64,
    /// The last lines of the segment that were read, up to `bytes`.
    last: VecDeque<Seen>,
}

/// A line that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    begin: u64,
    length: usize,
    hash: u64,
}

/// What became of a place whose lines are not in the log any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewound {
    /// It is before so many lines that were read: others may stand there now.
    Lines(u64),
    /// It is at the beginning of a segment, of the log's first one when the log was begun anew.
    Segment,
}

impl Place {
    fn at(first_seq: u64) -> Self {
        Self { first_seq, ..Self::default() }
    }

    fn pass(&mut self, begin: u64, line: &[u8]) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(Seen { begin, length: line.len(), hash: hash(line) });
        self.bytes = begin + u64::try_from(line.len()).unwrap_or_default() + 1;
    }
}

fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(line);
    hasher.finish()
}

impl LogReader {
    /// The end of the log.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn end(&self) -> Result<Place, LogError> {
        let segments = segments::segments(&self.dir)?;
        let Some(last) = segments.last() else { return Ok(Place::default()) };
        let mut place = Place::at(last.first_seq);
        let _ = self.read_on(&mut place, |_| ControlFlow::Continue(()))?;
        Ok(place)
    }

    /// Moves `place` back where lines before it are not in the log any more: the writer cuts off what it could not finish,
    /// and a log may be begun anew in the same directory. Says so, for what follows may have been read.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn rewind(&self, place: &mut Place) -> Result<Option<Rewound>, LogError> {
        let segments = segments::segments(&self.dir)?;
        // A log that was begun anew counts from 0 again.
        if let Some(first) = segments.first()
            && segments.iter().all(|s| s.first_seq < place.first_seq)
        {
            *place = Place::at(first.first_seq);
            return Ok(Some(Rewound::Segment));
        }
        let path = segments::envelope_path(&self.dir, place.first_seq);
        let file = match File::open(&path) {
            // Pruned meanwhile, or not there yet.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| LogError::io("read", &path, &e))?,
        };
        let mut lost = 0;
        while let Some(seen) = place.last.back().copied() {
            let mut line = vec![0; seen.length + 1];
            let there = match file.read_exact_at(&mut line, seen.begin) {
                Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(LogError::io("read", &path, &e)),
                read => read.is_ok(),
            };
            if there && line.strip_suffix(b"\n").is_some_and(|line| hash(line) == seen.hash) {
                break;
            }
            lost += 1;
            place.bytes = seen.begin;
            place.last.pop_back();
        }
        if place.last.is_empty() && place.bytes > 0 {
            *place = Place::at(place.first_seq);
            return Ok(Some(Rewound::Segment));
        }
        Ok((lost > 0).then_some(Rewound::Lines(lost)))
    }

    /// Calls `each` for every wanted record from `place` on, and moves it to the end. What is before it is taken to be what
    /// was read: [`Self::rewind`] sees to that. Gives how many decisions may be wanted besides, as far as what was cut from
    /// their records would say.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn follow(
        &self,
        filter: &Filter,
        place: &mut Place,
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<u64, LogError> {
        let (sieve, mut unjudged) = (Sieve::new(filter), 0);
        let mut take = |line: &[u8]| {
            match std::str::from_utf8(line).map(|line| sieve.sift(line)) {
                Ok(Sifted::Wanted(record)) => return each(*record),
                Ok(Sifted::Unjudged(_)) => unjudged += 1,
                Ok(Sifted::Other | Sifted::Unreadable) | Err(_) => {}
            }
            ControlFlow::Continue(())
        };
        let segments = segments::segments(&self.dir)?;
        let begun = place.first_seq;
        for segment in segments.iter().filter(|s| s.first_seq >= begun) {
            if segment.first_seq > place.first_seq {
                *place = Place::at(segment.first_seq);
            }
            if self.read_on(place, &mut take)?.is_break() {
                break;
            }
        }
        Ok(unjudged)
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
            place.pass(line.offset, line.bytes);
            if each(line.bytes).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
