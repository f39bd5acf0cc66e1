//! Records of the log's own: written, and signed where something depends on it; and the deletions that could not be on
//! record before they were done. Part of the writer.

use serde::Serialize;

use crate::decisions::LogError;
use crate::decisions::record::{PruneRecord, RecordType};
use crate::decisions::segments::{body_path, envelope_path};
use crate::decisions::writer::{Lines, Writer};

impl Writer {
    /// Writes one record of the log's own, with the prunes that wait.
    pub(super) fn write_own(&mut self, kind: RecordType, record: &impl Serialize) -> Result<(), LogError> {
        let mut lines = Lines::default();
        let told = self.add_pruned(&mut lines);
        self.add_own(&mut lines, kind, record);
        self.write(&lines)?;
        self.prunes_written(told);
        Ok(())
    }

    /// Has everything signed, and brings to the disk what that takes. What must not be believed before it is signed, because
    /// anybody can write a line, is done after this.
    pub(super) fn sign_all(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let signed = self.notary.sign_now();
        self.publish(signed.clone());
        signed?;
        self.notary.settle()?;
        self.forget_owed();
        Ok(())
    }

    /// Gives how many it added: while they are written, more can be deleted.
    pub(super) fn add_pruned(&self, lines: &mut Lines) -> usize {
        for record in &self.pruned {
            self.add_own(lines, RecordType::Prune, record);
        }
        self.pruned.len()
    }

    /// The first of the prunes that wait were written.
    pub(super) fn prunes_written(&mut self, count: usize) {
        if count > 0 {
            self.pruned.drain(..count);
            self.owed_until = self.next_seq;
        }
    }

    /// Keeps outside the records that something is deleted: on a full disk a record has no room before.
    pub(super) fn owe(&mut self, record: &PruneRecord) -> bool {
        self.kept.owed.push(record.clone());
        self.try_save_kept().is_ok()
    }

    /// What records tell of that are signed is owed no longer.
    pub(super) fn forget_owed(&mut self) {
        let signed = self.notary.signed().map_or(0, |c| c.size);
        if self.pruned.is_empty() && !self.kept.owed.is_empty() && signed >= self.owed_until {
            self.kept.owed.clear();
            self.save_kept();
        }
    }

    /// At a start: writes the records of deletions that the run before did and could not write, or not have signed.
    pub(super) fn take_up_prunes(&mut self) -> Result<(), LogError> {
        let dir = &self.options.dir;
        let path = |record: &PruneRecord| match record.what.as_str() {
            "segment" => envelope_path(dir, record.first_seq),
            _ => body_path(dir, record.first_seq),
        };
        // What was only about to be deleted is still there.
        self.kept.owed.retain(|record| matches!(path(record).try_exists(), Ok(false)));
        if self.kept.owed.is_empty() {
            return Ok(());
        }
        for record in self.kept.owed.clone() {
            self.kept.deleted(&record);
            self.pruned.push(record);
        }
        let mut lines = Lines::default();
        let told = self.add_pruned(&mut lines);
        self.write(&lines)?;
        self.prunes_written(told);
        Ok(())
    }
}
