//! A signing key that names the one after it: so an auditor who has only the old key can follow. Knows the statement's
//! text; must not know files.
//!
//! The statement is a checkpoint with an extension line, `portcullis.io/next-key <verifier key>`, signed by both keys.
//! That both sign the same bytes is not enough: anybody can add a signature of their own to a note that is public. The
//! old key signs the new one's name.

use crate::decisions::LogError;
use crate::decisions::tree_files::{archived, read_note};
use crate::decisions::writer::Writer;
use crate::tlog::{Checkpoint, Note, TlogError, VerifierKey};

const WORD: &str = "portcullis.io/next-key ";

/// One key in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// The old key.
    pub from: VerifierKey,
    /// The new key.
    pub to: VerifierKey,
    /// Records that both sign.
    pub size: u64,
}

impl HandOver {
    /// What both keys sign.
    pub(super) fn text(checkpoint: &Checkpoint, next: &VerifierKey) -> String {
        format!("{}{WORD}{next}\n", checkpoint.text())
    }

    /// Reads a statement of one of `keys`; `None` when the note says nothing of the kind.
    ///
    /// # Errors
    /// [`TlogError`] when it says so and is not signed by both.
    pub(super) fn read(note: &Note, keys: &[VerifierKey]) -> Result<Option<Self>, TlogError> {
        let Some(next) = note.text.lines().skip(3).find_map(|line| line.strip_prefix(WORD)) else { return Ok(None) };
        let (checkpoint, to) = (Checkpoint::parse(&note.text)?, VerifierKey::parse(next)?);
        let from = note.verify(keys)?.clone();
        note.verify(std::slice::from_ref(&to))?;
        if from.name() != checkpoint.origin || to.name() != checkpoint.origin {
            return Err(TlogError::Checkpoint("it hands over to a key of another log"));
        }
        Ok(Some(Self { from, to, size: checkpoint.size }))
    }
}

impl Writer {
    /// When the key was replaced and the one before is at hand, the old one vouches for the new one. `keys` are those that
    /// signed before this start; a run that was killed may have listed the new one and not come as far as this.
    pub(super) fn hand_over(&self, keys: &[VerifierKey]) -> Result<(), LogError> {
        let Some(previous) = self.options.signing_seed.previous() else { return Ok(()) };
        let previous = previous.under(&self.origin)?;
        let (old, new) = (previous.verifier(), self.notary.verifier());
        let before = keys.iter().rev().find(|key| *key != new);
        if old == new || before != Some(old) {
            return Ok(());
        }
        for path in archived(&self.options.dir)? {
            let Ok(Some((note, _))) = read_note(&path) else { continue };
            if HandOver::read(&note, std::slice::from_ref(old)).is_ok_and(|found| found.is_some_and(|h| h.to == *new)) {
                return Ok(());
            }
        }
        self.notary.hand_over(&previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{SigningKey, empty_root};

    #[test]
    fn only_a_key_that_the_old_one_names_takes_its_place() {
        let key = |name: &str, seed| SigningKey::from_seed(name, &[seed; 32]).expect("a key");
        let (old, new, other) = (key("o", 1), key("o", 2), key("o", 3));
        let keys = [old.verifier().clone()];
        let checkpoint = Checkpoint { origin: "o".to_owned(), size: 7, root: empty_root() };
        let signed =
            |text: String, by: &[&SigningKey]| Note { signatures: by.iter().map(|k| k.sign(&text)).collect(), text };
        let text = HandOver::text(&checkpoint, new.verifier());
        let found = HandOver::read(&signed(text.clone(), &[&old, &new]), &keys);
        let hand_over = HandOver { from: old.verifier().clone(), to: new.verifier().clone(), size: 7 };
        assert_eq!(found, Ok(Some(hand_over)));
        // Somebody's signature beside that of the old key names nobody.
        assert_eq!(HandOver::read(&signed(checkpoint.text(), &[&old, &other]), &keys), Ok(None));
        for by in [&[&new][..], &[&old], &[&other, &new]] {
            assert!(HandOver::read(&signed(text.clone(), by), &keys).is_err());
        }
        let elsewhere = key("p", 2);
        let text = HandOver::text(&checkpoint, elsewhere.verifier());
        assert!(HandOver::read(&signed(text, &[&old, &elsewhere]), &keys).is_err());
    }
}
