//! Which segments the legal holds are about: asked by the writer before it deletes, found out beside it, because a
//! segment has to be read for it and answers wait for the writer. Part of the writer; must not delete.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use jiff::Timestamp;

use crate::decisions::entry::rfc3339;
use crate::decisions::hold::{Hold, HoldAction, Kept};
use crate::decisions::lines::Lines;
use crate::decisions::query::SLACK;
use crate::decisions::record::RecordType;
use crate::decisions::segments::{self, Segment};
use crate::decisions::writer::{Lines as Written, Writer};
use crate::decisions::{LogError, Record};

/// What a segment is to the holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hand {
    /// None is about it.
    Free,
    /// This one is.
    Held(String),
    /// It is being looked up.
    Unknown,
}

/// What was looked up under the holds of now. Sealed segments do not change, so it holds until the holds do.
#[derive(Debug, Default)]
pub(super) struct Held {
    known: BTreeMap<u64, Hand>,
    scanner: Option<Scanner>,
}

/// Looks segments up, in a thread of its own that ends with it.
#[derive(Debug)]
struct Scanner {
    wanted: mpsc::Sender<u64>,
    found: mpsc::Receiver<(u64, Hand)>,
}

impl Scanner {
    fn start(dir: PathBuf, holds: Arc<Vec<Hold>>) -> std::io::Result<Self> {
        let (wanted, to_do) = mpsc::channel::<u64>();
        let (tell, found) = mpsc::channel();
        std::thread::Builder::new().name("decision-log-holds".to_owned()).spawn(move || {
            while let Ok(first_seq) = to_do.recv() {
                let hand = look(&segments::envelope_path(&dir, first_seq), &holds);
                if tell.send((first_seq, hand)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { wanted, found })
    }
}

/// The first hold that is about a record in the file. What cannot be read is held: nobody can say that it is free.
fn look(path: &Path, holds: &[Hold]) -> Hand {
    let all = || Hand::Held(holds.first().map(|h| h.name.clone()).unwrap_or_default());
    let found = match segments::ends(path) {
        Ok(Some((first, last))) => {
            // Records are stamped before they are judged, and written up to their deadline later.
            let time = |text: &str| text.parse::<Timestamp>().ok();
            let least = time(first.as_str().min(&last)).and_then(|t| t.checked_sub(SLACK).ok()).map(rfc3339);
            let most = time(first.as_str().max(&last)).and_then(|t| t.checked_add(SLACK).ok()).map(rfc3339);
            let (Some(least), Some(most)) = (least, most) else { return all() };
            let near: Vec<&Hold> = holds.iter().filter(|h| h.selection.reaches(&least, &most)).collect();
            match near.iter().find(|h| h.selection.is_of_time()) {
                Some(hold) => Ok(Some(hold.name.clone())),
                None => first_taken(path, &near),
            }
        }
        // A segment that was only just begun has nothing that could be held; of another no record can be read.
        Ok(None) if path.metadata().is_ok_and(|file| file.len() == 0) => Ok(None),
        Ok(None) => {
            tracing::warn!(path = %path.display(), "a segment is kept for the legal holds: its first or last record cannot be read");
            return all();
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(None) => Hand::Free,
        Ok(Some(name)) => Hand::Held(name),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a segment is kept: nobody can say which holds are about it");
            all()
        }
    }
}

fn first_taken(path: &Path, holds: &[&Hold]) -> Result<Option<String>, LogError> {
    if holds.is_empty() {
        return Ok(None);
    }
    let fault = |e| LogError::io("read", path, &e);
    let mut lines = Lines::open(path).map_err(fault)?;
    let mut name = None;
    while let Some(line) = lines.next_finished().map_err(fault)? {
        let Ok(text) = std::str::from_utf8(line.bytes) else {
            return Ok(holds.first().map(|h| h.name.clone()));
        };
        let flow = taken(text, holds.iter().copied(), |hold| name = Some(hold.name.clone()));
        if flow.is_break() {
            break;
        }
    }
    Ok(name)
}

/// Whether one of `holds` is about the record in `line`, or may be.
pub(super) fn taken<'h>(
    line: &str,
    holds: impl Iterator<Item = &'h Hold>,
    mut each: impl FnMut(&'h Hold),
) -> ControlFlow<()> {
    let mut holds = holds.filter(|h| h.selection.could_be_of(line)).peekable();
    if holds.peek().is_none() {
        return ControlFlow::Continue(());
    }
    let record = Record::parse(line);
    match holds.find(|h| record.as_ref().is_none_or(|r| h.selection.could_take(r))) {
        Some(hold) => {
            each(hold);
            ControlFlow::Break(())
        }
        None => ControlFlow::Continue(()),
    }
}

impl Writer {
    /// What a sealed segment is to the holds.
    pub(super) fn hand(&mut self, segment: u64) -> Hand {
        if let Some(hold) = self.kept.holds.iter().find(|h| h.selection.is_all()) {
            return Hand::Held(hold.name.clone());
        }
        if self.kept.holds.is_empty() {
            return Hand::Free;
        }
        if self.held.scanner.is_none() {
            let holds = Arc::clone(&self.shared.status().holds);
            self.held.scanner = Scanner::start(self.options.dir.clone(), holds).ok();
        }
        let Some(scanner) = &self.held.scanner else { return Hand::Unknown };
        self.held.known.extend(scanner.found.try_iter());
        match self.held.known.get(&segment) {
            Some(hand) => hand.clone(),
            None => {
                if scanner.wanted.send(segment).is_ok() {
                    self.held.known.insert(segment, Hand::Unknown);
                } else {
                    self.held.scanner = None;
                }
                Hand::Unknown
            }
        }
    }

    /// Other holds are in force from here on.
    pub(super) fn holds_changed(&mut self) {
        self.held = Held::default();
        self.shared.status().holds = Arc::new(self.kept.holds.clone());
        self.save_kept();
    }

    /// Keeps at hand what the records say. When it cannot be written, the next start reads them.
    pub(super) fn save_kept(&mut self) {
        if let Err(error) = self.try_save_kept() {
            tracing::warn!(%error, "the list of legal holds could not be written; the next start reads the records");
        }
    }

    pub(super) fn try_save_kept(&mut self) -> Result<(), LogError> {
        self.kept.upto = self.next_seq;
        let note = self.sign_text(self.kept.text());
        Kept::save(&note, self.storage.as_ref(), &self.options.dir)
    }

    /// At a start: the holds that are there are in force. Where a log is begun in place of another, they are stated
    /// again.
    pub(super) fn take_up_holds(&mut self, anew: bool) -> Result<(), LogError> {
        if anew {
            let before = std::mem::take(&mut self.kept.holds);
            self.adopt_holds(&before)?;
        }
        self.holds_changed();
        Ok(())
    }

    /// Takes over the holds of another log.
    pub(super) fn adopt_holds(&mut self, holds: &[Hold]) -> Result<(), LogError> {
        let new: Vec<Hold> =
            holds.iter().filter(|h| !self.kept.holds.iter().any(|own| own.name == h.name)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let states = new.len();
        self.kept.holds.extend(new);
        let first = self.kept.holds.len() - states;
        self.restate(|i, _| i >= first)?;
        self.holds_changed();
        Ok(())
    }

    /// Whether a record from `first` to `last` states a hold that is in force.
    pub(super) fn states_holds(&self, first: u64, last: u64) -> bool {
        self.kept.holds.iter().any(|h| (first..=last).contains(&h.seq))
    }

    /// States holds again, so that the records which did so before may go.
    pub(super) fn restate(&mut self, which: impl Fn(usize, &Hold) -> bool) -> Result<(), LogError> {
        let chosen: Vec<usize> =
            self.kept.holds.iter().enumerate().filter(|(i, h)| which(*i, h)).map(|(i, _)| i).collect();
        for i in chosen {
            let Some(hold) = self.kept.holds.get(i) else { continue };
            let record = hold.record(HoldAction::Restate, rfc3339(Timestamp::now()));
            let seq = self.state(&record)?;
            if let Some(hold) = self.kept.holds.get_mut(i) {
                hold.seq = seq;
            }
        }
        self.shared.status().holds = Arc::new(self.kept.holds.clone());
        Ok(())
    }

    /// Writes a hold's record; gives its number.
    pub(super) fn state(&mut self, record: &impl serde::Serialize) -> Result<u64, LogError> {
        let mut lines = Written::default();
        let told = self.add_pruned(&mut lines);
        self.add_own(&mut lines, RecordType::Hold, record);
        self.write(&lines)?;
        self.prunes_written(told);
        Ok(self.next_seq - 1)
    }

    /// One past the last record of the segment at `index`: where the next begins, or where records are gone.
    pub(super) fn end_of(&self, index: usize) -> u64 {
        let first = self.segments.get(index).map_or(0, |s| s.first_seq);
        let next = self.segments.get(index + 1).map_or(self.next_seq, |s: &Segment| s.first_seq);
        self.kept.gone.iter().map(|(gone, _)| gone).find(|gone| (first + 1..next).contains(gone)).unwrap_or(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::Selection;

    #[test]
    fn what_cannot_be_read_is_not_free() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("segment");
        let selection = Selection { users: vec!["alice".to_owned()], ..Selection::default() };
        let hold = Hold {
            name: "case".to_owned(),
            selection,
            reason: String::new(),
            ticket: String::new(),
            by: String::new(),
            placed: String::new(),
            seq: 0,
        };
        let hand = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            look(&path, std::slice::from_ref(&hold))
        };
        let line = |seq: u64, kind: &str| {
            format!(
                "{{\"v\":1,\"type\":\"{kind}\",\"seq\":{seq},\"origin\":\"a\",\"labels\":{{}},\"timestamp\":\"2026-01-01T00:00:0{seq}Z\"}}\n"
            )
        };
        let held = Hand::Held("case".to_owned());
        let whole = line(0, "start") + &line(1, "stop");
        assert_eq!((hand(b""), hand(whole.as_bytes())), (Hand::Free, Hand::Free));
        assert_eq!(hand(b"nonsense\n"), held);
        assert_eq!(hand(format!("nonsense\n{whole}").as_bytes()), held);
        assert_eq!(hand(&[line(0, "start").as_bytes(), b"\xff\n", line(1, "stop").as_bytes()].concat()), held);
        // A decision that is not as this version writes it says nothing of its user.
        let strange = line(1, "decision").replace('}', ",\"alice\":\"alice\"}");
        assert_eq!(hand((line(0, "start") + &strange + &line(2, "stop")).as_bytes()), held);
        assert_eq!(look(&dir.path().join("none"), std::slice::from_ref(&hold)), held);
    }
}
