//! Proofs that single records are in the log. Knows where tiles and checkpoint lie; the proof itself is `tlog`'s.

use std::path::Path;
use std::sync::Arc;

use crate::decisions::tree_files::{checkpoint_path, cosigned, read_keys, read_note, read_tile_of};
use crate::decisions::{LogError, Record, SignedCheckpoint};
use crate::tlog::{Checkpoint, InclusionProof, TreeReader, VerifierKey, leaf_hash, root_of_inclusion};

/// The verifier keys that the log in `dir` names as its own, oldest first; the last signs now. Whoever can change the
/// log can change them: an auditor keeps their own copy.
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Foreign`] when the file holds something else.
pub fn log_keys(dir: &Path) -> Result<Vec<VerifierKey>, LogError> {
    read_keys(dir)
}

/// A proof that `record` is in the log in `dir`; the record is in it, so a public key is all that is needed to check it.
///
/// # Errors
/// [`LogError::Unsigned`] when no checkpoint covers it yet, [`LogError::Altered`] when record, tiles and checkpoint do
/// not belong together, [`LogError::Foreign`] when a file is none of a log, [`LogError::Io`].
pub fn prove(dir: &Path, record: &Record) -> Result<InclusionProof, LogError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(dir, record) {
            // The server has put a later checkpoint, and deleted the tiles of the one that we read.
            Err(LogError::Io { .. }) if tries < 3 => {}
            other => return other,
        }
    }
}

/// The latest checkpoint of the log in `dir`, as it was signed.
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Foreign`] when there is none, or the file holds something else.
pub fn latest_checkpoint(dir: &Path) -> Result<SignedCheckpoint, LogError> {
    let path = checkpoint_path(dir);
    let none = || LogError::Foreign { path: path.clone(), message: "there is no checkpoint".to_owned() };
    let (note, checkpoint) = read_note(&path)?.ok_or_else(none)?;
    Ok(SignedCheckpoint { checkpoint: Arc::new(checkpoint), note: Arc::new(note) })
}

fn attempt(dir: &Path, record: &Record) -> Result<InclusionProof, LogError> {
    let latest = latest_checkpoint(dir)?;
    let seq = record.head.seq;
    let grown = latest.checkpoint.size;
    if seq >= grown {
        return Err(LogError::Unsigned { seq, size: grown });
    }
    // One that witnesses signed says more; of those the one that most signed.
    let cosigned = cosigned(dir).unwrap_or_default().into_iter().map(|(_, note, checkpoint)| (note, checkpoint));
    let covers = |c: &Checkpoint| c.origin == latest.checkpoint.origin && c.size > seq && c.size <= grown;
    let cosigned = cosigned.filter(|(_, c)| covers(c)).max_by_key(|(note, c)| (note.signatures.len(), c.size));
    let (note, checkpoint) = cosigned.unwrap_or_else(|| ((*latest.note).clone(), (*latest.checkpoint).clone()));
    let hashes = TreeReader::new(checkpoint.size, |id| read_tile_of(dir, id, grown)).inclusion(seq)?;
    let leaf = leaf_hash(record.line.as_bytes());
    if root_of_inclusion(&leaf, seq, checkpoint.size, &hashes) != Some(checkpoint.root) {
        return Err(LogError::Altered { seq });
    }
    Ok(InclusionProof { extra: Some(record.line.clone().into_bytes()), index: seq, path: hashes, checkpoint: note })
}
