//! Whether a log is what was signed: every line, tile, checkpoint, signature, number and body, in one pass and constant
//! memory, without the server. Knows files and the tree; must not know terminals.
//!
//! Two things are held against one another: the lines, and the hashes that the tiles hold of them. The tiles lead to
//! the root that the checkpoint signs; so where a line and its hash differ, the root says which of them was changed,
//! and the rest can still be checked.

mod absent;
mod anchors;
mod bodies;
mod envelope;
mod leading;
mod report;
mod row;
mod tiles;
mod walk;
mod witnessed;

use std::path::{Path, PathBuf};

pub use anchors::{Anchor, Anchors, read_anchors};
pub use report::{BodyCount, Finding, FindingCode, Neighbour, Report, Succeeded};
pub use witnessed::{Cosignature, WitnessPolicy};

use crate::decisions::hold::Kept;
use crate::decisions::segments::{self, DirLock};
use crate::decisions::tree_files::{archived, checkpoint_path, cosigned, read_keys, read_note};
use crate::decisions::{HandOver, LogError};
use crate::tlog::{Checkpoint, VerifierKey};
use tiles::Stored;
use walk::Walk;
use witnessed::Witnessed;

/// What a log is checked with.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The log's directory.
    pub dir: PathBuf,
    /// Who may have signed it. Without any the log's own list is believed, which shows damage but no forgery.
    pub keys: Vec<VerifierKey>,
    /// Files and directories with checkpoints that were kept elsewhere.
    pub anchors: Vec<PathBuf>,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of records and bodies read.
    pub done: u64,
    /// Bytes there are.
    pub total: u64,
}

/// Checks a log; `progress` is told of every few megabytes.
///
/// # Errors
/// [`LogError`] when there is no log or it cannot be read. What is wrong with it is in the report.
pub fn verify(options: &VerifyOptions, progress: &mut dyn FnMut(Progress)) -> Result<Report, LogError> {
    verify_witnessed(options, &WitnessPolicy::default(), progress)
}

/// The same, and that enough witnesses signed it.
///
/// # Errors
/// As [`verify`].
pub fn verify_witnessed(
    options: &VerifyOptions,
    policy: &WitnessPolicy,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LogError> {
    let mut tries = 1;
    // Once, and before anything else: what is kept elsewhere may be long, and a log that is being written does not wait.
    let origin = origin_of(&options.dir)?;
    let read = |path: &PathBuf| read_anchors(path, origin.as_deref()).map(|found| (path.clone(), found));
    let elsewhere = Elsewhere { read: options.anchors.iter().map(read).collect::<Result<_, _>>()?, origin };
    loop {
        match attempt(options, policy, &elsewhere, progress) {
            // Pruned while we read.
            Err(LogError::Io { kind: std::io::ErrorKind::NotFound, .. })
                if tries < TRIES && DirLock::is_held(&options.dir) =>
            {
                tries += 1;
            }
            // Deleted or erased while we read: the record of it is in a segment that was not there when we began.
            Ok(report) if report.unexplained && tries < TRIES && DirLock::is_held(&options.dir) => tries += 1,
            other => return other,
        }
    }
}

/// Times that a log is looked at which somebody writes to.
const TRIES: u32 = 5;

/// Checkpoints that were kept elsewhere, of the log of this name, file by file.
struct Elsewhere {
    origin: Option<String>,
    read: Vec<(PathBuf, Anchors)>,
}

/// The log's name, as far as its checkpoint or its records say.
fn origin_of(dir: &Path) -> Result<Option<String>, LogError> {
    let checkpoint = read_note(&checkpoint_path(dir)).ok().flatten().map(|(_, checkpoint)| checkpoint.origin);
    match checkpoint {
        Some(origin) => Ok(Some(origin)),
        None => segments::segments(dir)?.last().map(|s| envelope::origin(dir, s)).transpose().map(Option::flatten),
    }
}

fn attempt(
    options: &VerifyOptions,
    policy: &WitnessPolicy,
    elsewhere: &Elsewhere,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LogError> {
    let dir = &options.dir;
    let mut report = Report { keys_from_log: options.keys.is_empty(), ..Report::default() };
    // The checkpoint first: records that come in meanwhile are beyond it.
    let latest = latest(dir, &mut report);
    // Its partial tiles at once: a log that is being written keeps them for two checkpoints more.
    let stored = Stored::new(dir, latest.as_ref().map_or(0, |(_, checkpoint)| checkpoint.size));
    let segments = segments::segments(dir)?;
    if segments.is_empty() && latest.is_none() {
        let message = "there is no record and no checkpoint in it".to_owned();
        return Err(LogError::Foreign { path: dir.clone(), message });
    }
    let listed = own_keys(dir, &mut report);
    let mut keys = if options.keys.is_empty() { listed.clone() } else { options.keys.clone() };
    follow_hand_overs(dir, &mut keys, &mut report)?;
    let mut witnessed = Witnessed::new(policy);
    let mut anchors = Vec::new();
    if let Some((note, checkpoint)) = &latest {
        report.origin = Some(checkpoint.origin.clone());
        report.checkpoint = Some(checkpoint.clone());
        match note.verify(&keys) {
            Ok(key) if key.name() == checkpoint.origin => report.signed_by = Some(key.clone()),
            Ok(key) => report.find(Finding::whole(
                FindingCode::Signature,
                format!(
                    "the checkpoint of `{}` is signed by the key of another log, `{}`",
                    checkpoint.origin,
                    key.short()
                ),
            )),
            Err(error) => report.find(Finding::whole(FindingCode::Signature, format!("the checkpoint is {error}"))),
        }
        let in_order = !listed.windows(2).any(|pair| pair.first() == pair.last());
        if report.signed_by.is_some() && (listed.last() != report.signed_by.as_ref() || !in_order) {
            let message = "the list in `keys` does not end with the key that signed the checkpoint".to_owned();
            report.find(Finding::whole(FindingCode::Checkpoint, message));
        }
        witnessed.take(checkpoint, note, "`checkpoint`", &mut report);
        anchors.push(Anchor { checkpoint: checkpoint.clone(), note: None, place: "its checkpoint".to_owned() });
    }
    let origin = origin_of(dir)?;
    // Begun anew meanwhile.
    if origin != elsewhere.origin {
        return Err(LogError::Changed);
    }
    let known = [keys.clone(), listed.clone()].concat();
    anchors.extend(replaced(dir, &known, &listed, &mut report)?);
    anchors.extend(cosigned_here(dir, &known, &mut witnessed, &mut report));
    let mut kept = Vec::<Anchor>::new();
    if let Some(first) = segments.first() {
        report.succeeded = envelope::start(dir, first)?.and_then(Succeeded::of);
    }
    for (path, Anchors { found, others, of_others }) in &elsewhere.read {
        report.anchors_of_others += of_others;
        let lost = report.succeeded.as_ref().and_then(|s| others.get(&s.checkpoint.as_ref()?.origin)).cloned();
        if found.is_empty() && lost.is_none() {
            return Err(anchors::nothing(path, origin.as_deref(), *of_others));
        }
        if let Some(lost) = lost {
            let (Checkpoint { origin, size, .. }, place) = (&lost.checkpoint, &lost.place);
            let message = format!(
                "the checkpoint in {place} covers {size} records of `{origin}`, in whose place this log was begun: they are not in it"
            );
            report.find(Finding::whole(FindingCode::Truncated, message));
        }
        for anchor in found.iter().cloned() {
            report.anchors += 1;
            if let Some(error) = anchor.note.as_ref().and_then(|note| note.verify(&keys).err()) {
                let message = format!("the checkpoint in {} is {error}", anchor.place);
                report.find(Finding::whole(FindingCode::Signature, message));
            }
            if let Some(note) = &anchor.note {
                witnessed.take(&anchor.checkpoint, note, &anchor.place, &mut report);
            }
            kept.push(anchor);
        }
    }
    contradictions(&kept, &mut report);
    witnessed.end(&mut report);
    anchors.extend(kept);
    // A changed list of holds may make a server forget one; a missing one is made again from the records.
    // Where nobody known signed the checkpoint, the same is said of it already.
    let mut owed = Vec::new();
    if report.signed_by.is_some() {
        match Kept::stored(dir, &keys) {
            Ok(kept) => owed = kept.unwrap_or_default().owed,
            Err(error) => report.find(Finding::whole(FindingCode::Checkpoint, error.to_string())),
        }
    }
    report.origin = origin;
    // Now that all checkpoints are read, whatever is there is at least what they cover.
    let segments = segments::segments(dir)?;
    let walk = Walk::new(dir, segments, stored, latest.map(|(_, checkpoint)| checkpoint), anchors, owed, report);
    let mut report = walk.run(progress)?;
    if report.unsigned > 0 {
        report.live = DirLock::is_held(dir);
        if !report.live {
            let last = report.end.saturating_sub(1);
            let first = report.end - report.unsigned;
            let message = format!(
                "no checkpoint covers records {first} to {last}: the server was killed before it signed them (it does so \
                 at its next start), or somebody added them"
            );
            report.find(Finding { seq: Some(first), ..Finding::whole(FindingCode::UnsignedTail, message) });
        }
    }
    report.look_up_neighbours(dir)?;
    Ok(report)
}

/// The checkpoint in the directory. That there is none that can be read is a finding.
fn latest(dir: &Path, report: &mut Report) -> Option<(crate::tlog::Note, Checkpoint)> {
    let message = match read_note(&checkpoint_path(dir)) {
        Ok(Some(found)) => return Some(found),
        Ok(None) => "there is no checkpoint: nothing says what the log was".to_owned(),
        Err(error) => error.to_string(),
    };
    report.find(Finding::whole(FindingCode::Checkpoint, message));
    None
}

fn own_keys(dir: &Path, report: &mut Report) -> Vec<VerifierKey> {
    read_keys(dir).unwrap_or_else(|error| {
        report.find(Finding::whole(FindingCode::Checkpoint, error.to_string()));
        Vec::new()
    })
}

/// Adds to `keys` those that took their place, as far as each names the next.
fn follow_hand_overs(dir: &Path, keys: &mut Vec<VerifierKey>, report: &mut Report) -> Result<(), LogError> {
    for path in archived(dir)? {
        // What cannot be read, or nobody known signed, is told below.
        let Ok(Some((note, _))) = read_note(&path) else { continue };
        if let Ok(Some(hand_over)) = HandOver::read(&note, keys)
            && !keys.contains(&hand_over.to)
        {
            keys.push(hand_over.to.clone());
            report.hand_overs.push(hand_over);
        }
    }
    Ok(())
}

/// The checkpoints in the log that witnesses signed: they are held against the tree as any other.
fn cosigned_here(dir: &Path, keys: &[VerifierKey], witnessed: &mut Witnessed<'_>, report: &mut Report) -> Vec<Anchor> {
    let mut anchors = Vec::new();
    let found = cosigned(dir).unwrap_or_else(|error| {
        report.find(Finding::whole(FindingCode::Checkpoint, error.to_string()));
        Vec::new()
    });
    for (path, note, checkpoint) in found {
        let place = format!("`{}`", path.strip_prefix(dir).unwrap_or(&path).display());
        if let Err(error) = note.verify(keys) {
            let message = format!("the checkpoint in {place} is {error}");
            report.find(Finding::whole(FindingCode::Signature, message));
        } else {
            witnessed.take(&checkpoint, &note, &place, report);
        }
        anchors.push(Anchor { checkpoint, note: None, place });
    }
    anchors
}

/// Of two checkpoints of one size that have different roots at most one is of this log: somebody showed two logs. This
/// is found also where the log has neither.
fn contradictions(anchors: &[Anchor], report: &mut Report) {
    let mut first = std::collections::BTreeMap::<u64, &Anchor>::new();
    for anchor in anchors {
        let before = *first.entry(anchor.checkpoint.size).or_insert(anchor);
        if before.checkpoint.root != anchor.checkpoint.root {
            let signed = if before.note.is_some() && anchor.note.is_some() { ", both signed" } else { "" };
            let message = format!(
                "two checkpoints of {} records contradict one another{signed}: in {} and in {}; whoever signs showed two logs",
                anchor.checkpoint.size, before.place, anchor.place
            );
            report.find(Finding::whole(FindingCode::Anchor, message));
        }
    }
}

/// The last checkpoints of keys that were replaced. Their keys are in the log's list.
fn replaced(
    dir: &Path,
    keys: &[VerifierKey],
    listed: &[VerifierKey],
    report: &mut Report,
) -> Result<Vec<Anchor>, LogError> {
    let (mut anchors, mut signed) = (Vec::new(), Vec::<VerifierKey>::new());
    for path in archived(dir)? {
        let place = format!("`{}`", path.strip_prefix(dir).unwrap_or(&path).display());
        match read_note(&path) {
            Ok(Some((note, checkpoint))) => {
                match note.verify(keys) {
                    Ok(_) => {
                        report.replaced_keys += 1;
                        // A hand-over is signed by two.
                        let by = |key: &&VerifierKey| note.verify(std::slice::from_ref(*key)).is_ok();
                        signed.extend(listed.iter().filter(by).cloned());
                    }
                    Err(error) => {
                        let message = format!("the checkpoint in {place} is {error}");
                        report.find(Finding::whole(FindingCode::Signature, message));
                    }
                }
                anchors.push(Anchor { checkpoint, note: None, place });
            }
            Ok(None) => {}
            Err(error) => report.find(Finding::whole(FindingCode::Checkpoint, error.to_string())),
        }
    }
    for key in listed.iter().rev().skip(1).filter(|key| !signed.contains(key)) {
        let message = format!("`keys` lists {}, and nothing in `checkpoints` is signed by it", key.short());
        report.find(Finding::whole(FindingCode::Checkpoint, message));
    }
    Ok(anchors)
}
