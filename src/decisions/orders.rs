//! What the writer is asked to do beside writing: place and release holds, delete what is old, put erased bodies in
//! place. Knows what is asked and answered; the deletions themselves are `retention`'s and `erase`'s.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decisions::entry::rfc3339;
use crate::decisions::hold::{Hold, HoldAction};
use crate::decisions::keeping::Hand;
use crate::decisions::ranges::Ranges;
use crate::decisions::writer::{Lines, Writer};
use crate::decisions::{DecisionLog, LogError, Selection, clip};

/// Bytes that a text of a record may have which somebody wrote.
const MAX_TEXT: usize = 2048;
/// How long until segments are asked for again that are being looked up.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who asks for something, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Author {
    /// Who, as the system says.
    pub by: String,
    /// Where it was asked for.
    pub ticket: Option<String>,
    /// Why, in their words.
    pub note: Option<String>,
}

impl Author {
    pub(super) fn clipped(&self) -> Self {
        let clip = |text: &String| clip::text(text, MAX_TEXT);
        Self { by: clip(&self.by), ticket: self.ticket.as_ref().map(clip), note: self.note.as_ref().map(clip) }
    }
}

/// A hold that is to be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRequest {
    /// Its name.
    pub name: String,
    /// What it keeps.
    pub selection: Selection,
    /// Why.
    pub reason: String,
}

/// What a deletion of old files came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// Body files deleted.
    pub bodies: u64,
    /// Segments deleted.
    pub segments: u64,
    /// Bytes deleted.
    pub bytes: u64,
    /// Holds that kept something.
    pub holds: Vec<String>,
    /// Some segments are still being looked up.
    #[serde(skip)]
    pub unknown: bool,
    /// It stopped before all was looked at, to let answers through.
    #[serde(skip)]
    pub more: bool,
}

/// Something the writer is asked for.
pub(super) struct Order {
    what: What,
    reply: mpsc::Sender<Result<Done, LogError>>,
}

impl Order {
    /// Tells whoever asked that it cannot be done.
    pub(super) fn refuse(self, error: &LogError) {
        let _ = self.reply.send(Err(error.clone()));
    }
}

/// What it is.
pub(super) enum What {
    Place(HoldRequest, Author),
    Release(String, Author),
    /// Begin a new segment, so that all bodies that are there now can be rewritten.
    Seal,
    /// Put a rewritten file of bodies in place.
    Replace(Rewritten),
    /// Delete what is older.
    Older {
        bodies: Option<Timestamp>,
        records: Option<Timestamp>,
        author: Author,
    },
}

/// A file of bodies without some of them.
pub(super) struct Rewritten {
    pub segment: u64,
    /// Bytes of the file it was made of.
    pub length: u64,
    pub draft: PathBuf,
    pub draft_length: u64,
    pub erased: Ranges,
    /// Bodies erased that no record has.
    pub unrecorded: u64,
    pub author: Author,
    /// The holds that were asked.
    pub holds: Arc<Vec<Hold>>,
}

/// What it came to.
pub(super) enum Done {
    Nothing,
    Hold(Box<Hold>),
    Pruned(Pruned),
}

impl DecisionLog {
    /// Places a legal hold: from here on nothing of the selection is deleted or erased. Waits for the writer.
    ///
    /// # Errors
    /// [`LogError::Hold`] when there is one of that name or it is not complete; what keeps the record from being
    /// written.
    pub fn place_hold(&self, request: HoldRequest, author: &Author) -> Result<Hold, LogError> {
        match self.order(What::Place(request, author.clipped()))? {
            Done::Hold(hold) => Ok(*hold),
            Done::Nothing | Done::Pruned(_) => Err(LogError::Closed),
        }
    }

    /// Releases a legal hold. Waits for the writer.
    ///
    /// # Errors
    /// [`LogError::Hold`] when there is none of that name; what keeps the record from being written.
    pub fn release_hold(&self, name: &str, author: &Author) -> Result<(), LogError> {
        self.order(What::Release(name.to_owned(), author.clipped())).map(drop)
    }

    /// Deletes the bodies and the segments whose last record is older, but for what is under legal hold. Waits until it
    /// is done; decisions are written between every few files.
    ///
    /// # Errors
    /// What keeps a record from being written or a file from being deleted.
    pub fn prune_older(
        &self,
        bodies: Option<Timestamp>,
        records: Option<Timestamp>,
        author: &Author,
    ) -> Result<Pruned, LogError> {
        let mut all = Pruned::default();
        loop {
            let Done::Pruned(more) = self.order(What::Older { bodies, records, author: author.clipped() })? else {
                return Err(LogError::Closed);
            };
            all.bodies += more.bodies;
            all.segments += more.segments;
            all.bytes += more.bytes;
            all.holds = more.holds;
            if more.more {
                continue;
            }
            if !more.unknown {
                return Ok(all);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    pub(super) fn order(&self, what: What) -> Result<Done, LogError> {
        let (reply, done) = mpsc::channel();
        self.orders().order(Order { what, reply })?;
        done.recv().unwrap_or(Err(LogError::Closed))
    }
}

impl Writer {
    pub(super) fn obey(&mut self, order: Order) {
        let done = match order.what {
            What::Place(request, author) => self.place(request, author).map(|hold| Done::Hold(Box::new(hold))),
            What::Release(name, author) => self.release(&name, &author).map(|()| Done::Nothing),
            What::Seal => self.seal().map(|()| Done::Nothing),
            What::Replace(rewritten) => self.put_in_place(&rewritten).map(|()| Done::Nothing),
            What::Older { bodies, records, author } => {
                self.drop_older(bodies, records, Some(&author)).map(Done::Pruned)
            }
        };
        // Whoever asked may have left.
        let _ = order.reply.send(done);
    }

    fn place(&mut self, request: HoldRequest, author: Author) -> Result<Hold, LogError> {
        let placed = rfc3339(Timestamp::now());
        let mut hold = Hold {
            name: request.name,
            selection: request.selection,
            reason: clip::text(request.reason.trim(), MAX_TEXT),
            ticket: author.ticket.unwrap_or_default(),
            by: author.by,
            placed: placed.clone(),
            seq: 0,
        };
        hold.check(&self.kept.holds)?;
        hold.seq = self.state(&hold.record(HoldAction::Place, placed))?;
        self.kept.holds.push(hold.clone());
        self.holds_changed();
        // Whoever placed it relies on it, also after a loss of power.
        self.sync()?;
        Ok(hold)
    }

    fn release(&mut self, name: &str, author: &Author) -> Result<(), LogError> {
        let Some(hold) = self.kept.holds.iter().find(|h| h.name == name) else {
            let names: Vec<&str> = self.kept.holds.iter().map(|h| h.name.as_str()).collect();
            let there = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
            return Err(LogError::Hold { message: format!("there is no hold `{name}`; in force: {there}") });
        };
        let mut record = hold.record(HoldAction::Release, rfc3339(Timestamp::now()));
        record.by.clone_from(&author.by);
        record.ticket = author.ticket.clone().unwrap_or_default();
        record.reason = author.note.clone().unwrap_or_default();
        self.state(&record)?;
        self.sign_all()?;
        self.kept.holds.retain(|h| h.name != name);
        self.holds_changed();
        Ok(())
    }

    /// Begins a new segment, if the active one has a record.
    pub(super) fn seal(&mut self) -> Result<(), LogError> {
        self.ages.end_here();
        self.ready(&Lines::default())
    }

    /// The holds that keep what could go, and whether some are still being looked up.
    pub(super) fn note_hand(&self, hand: Hand, pruned: &mut Pruned) {
        match hand {
            Hand::Free => {}
            Hand::Held(name) if pruned.holds.contains(&name) => {}
            Hand::Held(name) => pruned.holds.push(name),
            Hand::Unknown => pruned.unknown = true,
        }
    }
}
