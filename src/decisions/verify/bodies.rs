//! The bodies of one segment: read once, held by id until their envelopes come by. Knows body lines and digests; must
//! not know the tree. Memory is that of one segment's ids and digests.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use uuid::Uuid;

use crate::decisions::LogError;
use crate::decisions::body::{BodyParts, erased_id};
use crate::decisions::lines::Lines;
use crate::decisions::segments::{Segment, body_path};

/// The digests of a segment's bodies by decision.
pub(super) struct Bodies {
    digests: HashMap<Uuid, Found>,
    /// Bodies that are said to have been erased.
    erased: HashSet<Uuid>,
    /// Lines that are no bodies, counted from 1.
    pub strange: Vec<u64>,
    /// Lines with another body of a decision that had one: readers take the first.
    pub second: Vec<u64>,
}

struct Found {
    digest: [u8; 32],
    /// The rest of the line is what the server writes.
    exact: bool,
}

fn found(line: &str) -> Option<(Uuid, Found)> {
    let parts = BodyParts::of(line)?;
    let id = Uuid::try_parse(parts.decision_id).ok()?;
    let (digest, as_written) = parts.digest()?;
    let mut text = Uuid::encode_buffer();
    let exact = as_written && *id.hyphenated().encode_lower(&mut text) == *parts.decision_id;
    Some((id, Found { digest, exact }))
}

/// What became of a record's body.
pub(super) enum Fate {
    Intact,
    Altered,
    Missing,
    Erased,
}

impl Bodies {
    /// Reads them; `None` when their file was deleted.
    pub(super) fn read(dir: &Path, segment: &Segment) -> Result<Option<Self>, LogError> {
        if segment.bodies.is_none() {
            return Ok(None);
        }
        let path = body_path(dir, segment.first_seq);
        let fault = |e| LogError::io("read", &path, &e);
        let mut lines = match Lines::open(&path) {
            // Deleted since.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(fault)?,
        };
        let mut bodies =
            Self { digests: HashMap::new(), erased: HashSet::new(), strange: Vec::new(), second: Vec::new() };
        let mut number = 0;
        while let Some(line) = lines.next_finished().map_err(fault)? {
            number += 1;
            let text = std::str::from_utf8(line.bytes).ok();
            match (text.and_then(found), text.and_then(erased_id).and_then(|id| Uuid::try_parse(id).ok())) {
                (Some((id, found)), _) => match bodies.digests.entry(id) {
                    Entry::Vacant(entry) => drop(entry.insert(found)),
                    // What was written twice, because the envelope could not be written at first, is the same twice.
                    Entry::Occupied(entry) if entry.get().digest == found.digest && found.exact => {}
                    Entry::Occupied(_) => bodies.second.push(number),
                },
                (None, Some(id)) => {
                    bodies.erased.insert(id);
                }
                (None, None) => bodies.strange.push(number),
            }
        }
        Ok(Some(bodies))
    }

    /// Takes out the body of a decision.
    pub(super) fn take(&mut self, id: &str, digest: &[u8; 32]) -> Fate {
        let id = Uuid::try_parse(id).ok();
        match id.and_then(|id| self.digests.remove(&id)) {
            Some(found) if found.exact && found.digest == *digest => Fate::Intact,
            Some(_) => Fate::Altered,
            None if id.is_some_and(|id| self.erased.remove(&id)) => Fate::Erased,
            None => Fate::Missing,
        }
    }

    /// Bodies that no envelope asked for.
    pub(super) fn left(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX)
    }
}
