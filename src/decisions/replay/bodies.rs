//! The bodies of records that come by in their order: each body file is read once. Knows body lines; must not know what
//! is done with them. Memory is that of the bodies which a segment has out of order.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::decisions::body::{BodyLine, erased_id};
use crate::decisions::lines::Lines;
use crate::decisions::segments;
use crate::decisions::{BodyState, DecisionRecord, LogError, Record};

/// Where the next body is looked for.
pub struct BodyCursor {
    dir: PathBuf,
    segment: Option<u64>,
    /// Beginnings of segments, as they were when one was not among them.
    known: Vec<u64>,
    lines: Option<Lines>,
    /// Bodies that were passed; none where one was erased.
    held: HashMap<String, Option<BodyLine>>,
}

impl BodyCursor {
    /// For the log in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), segment: None, known: Vec::new(), lines: None, held: HashMap::new() }
    }

    /// The body of a decision, checked against the envelope's digest. Records come in the order of the log.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn body(&mut self, record: &Record, decision: &DecisionRecord) -> Result<BodyState, LogError> {
        self.go_to(record.head.seq)?;
        let state = self.state(decision)?;
        let absent = matches!(state, BodyState::Missing | BodyState::Deleted);
        if !absent || self.segment.is_none() || self.segment != self.known.last().copied() {
            return Ok(state);
        }
        // It may be in a segment that was begun since.
        let before = self.segment;
        self.known.clear();
        self.go_to(record.head.seq)?;
        if self.segment == before { Ok(state) } else { self.state(decision) }
    }

    /// What the segment that it is at says of a body.
    fn state(&mut self, decision: &DecisionRecord) -> Result<BodyState, LogError> {
        let Some(segment) = self.segment else { return Ok(BodyState::Deleted) };
        if self.lines.is_none() && self.held.is_empty() {
            return Ok(BodyState::Deleted);
        }
        let path = segments::body_path(&self.dir, segment);
        let body = match self.held.remove(&decision.decision_id) {
            Some(body) => Some(body),
            None => self.read_to(&decision.decision_id).map_err(|e| LogError::io("read", &path, &e))?,
        };
        Ok(match body {
            None => BodyState::Missing,
            Some(None) => BodyState::Erased,
            Some(Some(body)) if body.digest() == *decision.input.digest.as_bytes() => BodyState::Intact(body),
            Some(Some(body)) => BodyState::Altered(body),
        })
    }

    /// Opens the body file of the segment that holds the record.
    fn go_to(&mut self, seq: u64) -> Result<(), LogError> {
        let holds = |known: &[u64]| known.iter().rev().find(|first| **first <= seq).copied();
        let beyond = self.known.last().is_none_or(|last| *last < seq);
        if self.known.is_empty() || (beyond && self.segment != holds(&self.known)) {
            self.known = segments::segments(&self.dir)?.iter().map(|s| s.first_seq).collect();
        }
        let segment = holds(&self.known);
        if segment == self.segment && self.segment.is_some() {
            return Ok(());
        }
        self.segment = segment;
        self.held.clear();
        self.lines = None;
        if let Some(segment) = segment {
            let path = segments::body_path(&self.dir, segment);
            self.lines = match Lines::open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                other => Some(other.map_err(|e| LogError::io("read", &path, &e))?),
            };
        }
        Ok(())
    }

    fn read_to(&mut self, id: &str) -> io::Result<Option<Option<BodyLine>>> {
        let (Some(lines), Some(segment)) = (&mut self.lines, self.segment) else { return Ok(None) };
        while let Some(line) = lines.next()? {
            if !line.finished {
                // It is being written: the next look begins with it.
                let at = line.offset;
                self.lines = Some(Lines::open_at(&segments::body_path(&self.dir, segment), at)?);
                return Ok(None);
            }
            let Ok(text) = std::str::from_utf8(line.bytes) else { continue };
            let (found, body) = match (erased_id(text), BodyLine::parse(text)) {
                (Some(erased), _) => (erased.to_owned(), None),
                (None, Some(body)) => (body.decision_id.clone(), Some(body)),
                (None, None) => continue,
            };
            if found == id {
                return Ok(Some(body));
            }
            self.held.insert(found, body);
        }
        Ok(None)
    }
}
