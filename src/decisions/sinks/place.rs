//! Where a sink goes on: after a restart, under another name or address, when the log is another. Nothing is left out
//! without a word; what cannot be told apart is sent once more.

use std::ops::ControlFlow;

use super::Reason;
use super::cursor::Progress;
use super::reading::Reader;
use super::run::{Exported, LAST_RETRY, Runner, jitter};
use crate::decisions::{LogReader, Record, StartRecord};
use crate::tlog::{Checkpoint, leaf_hash};

impl Runner {
    /// Where to go on; nowhere when the end comes first. A cursor that is there and cannot be read may be read later, and
    /// without it everything would be sent again.
    pub(super) fn begin(&mut self) -> Option<Progress> {
        while !*self.stopped.borrow() {
            match self.cursor.load() {
                Ok(found) => return Some(self.own(found)),
                Err(error) => {
                    self.observer.failed(&self.spec.name, Reason::Local);
                    tracing::error!(sink = self.spec.name, %error, "the sink's cursor cannot be read; it is tried again");
                    self.rest(jitter(LAST_RETRY));
                }
            }
        }
        None
    }

    /// The progress of this sink: of its name, if somebody gave it that; else of its place, whatever it was called.
    fn own(&mut self, found: Option<Progress>) -> Progress {
        let (place, name, origin) = (self.spec.place(), &self.spec.name, self.log.origin());
        let is_of = |p: &Progress| p.target.as_deref() == Some(&place);
        let progress = match found {
            Some(progress) if self.spec.named || progress.target.is_none() => {
                if !is_of(&progress) && progress.target.is_some() {
                    tracing::warn!(
                        sink = name,
                        next = progress.next,
                        to = self.spec.shown(),
                        "the sink goes to another place now, from the record on that it had come to"
                    );
                }
                progress
            }
            None if self.spec.named => Progress::default(),
            found => {
                let another = found.as_ref().is_some_and(|p| !is_of(p));
                let others = self.elsewhere.drain(..).filter(|p| !p.named);
                let own = found.into_iter().chain(others).filter(is_of);
                let own = own.max_by_key(|p| (p.origin.as_str() == &*origin, p.next));
                if own.is_none() && another {
                    tracing::warn!(
                        sink = name,
                        to = self.spec.shown(),
                        "another sink had this name before; everything is sent"
                    );
                }
                own.unwrap_or_default()
            }
        };
        if let Some(told) = progress.told.filter(|told| *told < progress.next) {
            self.exported.range = Some((told, progress.next - 1));
            self.exported.count = progress.next - told;
            let reason = "the process ended before this was written: at most these left the log";
            self.exported.reason = Some(reason.to_owned());
        }
        Progress { target: Some(place), named: self.spec.named, ..progress }
    }

    /// At a start: whether the log is the one that the cursor is in. One that was begun anew may have the same name.
    pub(super) fn recognise(&mut self, progress: &mut Progress, checkpoint: &Checkpoint) {
        if progress.origin != checkpoint.origin {
            return;
        }
        let before = progress.next.checked_sub(1);
        let there = before.zip(progress.leaf.as_ref()).and_then(|(seq, leaf)| Some((self.leaf(seq)?, leaf)));
        if progress.next <= checkpoint.size && there.is_none_or(|(there, leaf)| there == *leaf) {
            return;
        }
        tracing::error!(
            sink = self.spec.name,
            next = progress.next,
            records = checkpoint.size,
            "the log was begun anew under the same name; it is sent from its beginning, and what was not delivered of the \
             one before is not"
        );
        self.anew(progress, checkpoint, 0);
    }

    /// The log has another name: it was begun in place of the one before.
    pub(super) fn follow(&mut self, progress: &mut Progress, checkpoint: &Checkpoint) {
        let mut lost = 0;
        if !progress.origin.is_empty() {
            let previous = self.first().and_then(|r| serde_json::from_str::<StartRecord>(&r.line).ok()?.previous);
            let previous = previous.and_then(|p| Checkpoint::parse_anchor(&p)).filter(|p| p.origin == progress.origin);
            lost = previous.as_ref().map_or(0, |p| p.size.saturating_sub(progress.next));
            tracing::error!(
                sink = self.spec.name,
                before = progress.origin,
                next = progress.next,
                now = checkpoint.origin,
                lost,
                counted = previous.is_some(),
                "another log was begun in place of the one before; what was not delivered of that is not sent"
            );
            self.exported.reason = Some(format!("of the log `{}`", progress.origin));
            self.tell(progress, true);
        }
        if lost > 0 {
            self.observer.lost(&self.spec.name, lost);
        }
        self.anew(progress, checkpoint, lost);
    }

    fn anew(&mut self, progress: &mut Progress, checkpoint: &Checkpoint, lost: u64) {
        *progress = Progress {
            origin: checkpoint.origin.clone(),
            lost: progress.lost + lost,
            target: progress.target.take(),
            named: progress.named,
            told: Some(0),
            ..Progress::default()
        };
        // What is said of the log before is not said of this one.
        self.exported = Exported::default();
        self.waiting = None;
        self.reader = Reader::new(self.log_dir());
    }

    fn first(&self) -> Option<Record> {
        self.line(0).and_then(|line| Record::parse(&line))
    }

    /// The leaf of a record; `None` when it is not there any more.
    fn leaf(&self, seq: u64) -> Option<String> {
        self.line(seq).map(|line| data_encoding::HEXLOWER.encode(leaf_hash(line.as_bytes()).as_bytes()))
    }

    fn line(&self, seq: u64) -> Option<String> {
        let mut line = None;
        let read = LogReader::open(self.log_dir()).and_then(|log| {
            log.stream(seq, |located| {
                line = (located.seq == seq).then(|| located.line.to_owned());
                ControlFlow::Break(())
            })
        });
        read.ok().and(line)
    }
}
