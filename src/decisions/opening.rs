//! What a log directory holds when it is opened: the end of the records, the tree, the name. Knows how the pieces are
//! put together; must not know how records are written from there on.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decisions::entry::rfc3339;
use crate::decisions::hold::Kept;
use crate::decisions::notary::Notary;
use crate::decisions::resume::{Known, Refused, Resumed, resume, set_aside, successor};
use crate::decisions::segments::{self, DirLock, Recovered, Segment};
use crate::decisions::tree_files::read_keys;
use crate::decisions::{LogError, LogOptions, StartRecord, Storage, erase, retention};
use crate::tlog::Checkpoint;

/// Longest origin and label, in bytes: they stand in every envelope.
const MAX_NAME: usize = 255;

/// A directory whose log can be gone on with.
pub(super) struct Opened {
    pub lock: DirLock,
    pub segments: Vec<Segment>,
    pub next_seq: u64,
    pub origin: String,
    pub notary: Notary,
    pub known: Known,
    /// What its records say of holds and deletions; of a log in whose place another is begun, its holds.
    pub kept: Kept,
    /// The record that tells of the start.
    pub start: StartRecord,
}

/// Makes the directory, takes its lock, cuts what a crash left unfinished and goes on with the tree. What is not what
/// was signed is set aside. `before` is the last checkpoint of a log that was there until now.
pub(super) fn open(
    storage: &Arc<dyn Storage>,
    options: &LogOptions,
    before: Option<&Checkpoint>,
) -> Result<Opened, LogError> {
    let dir = &options.dir;
    for dir in [dir.clone(), dir.join("bodies")] {
        storage.make_dir(&dir).map_err(|e| LogError::io("create", &dir, &e))?;
    }
    let lock = DirLock::take(dir)?;
    let mut found = segments::recover(storage.as_ref(), dir)?;
    let copy = options.checkpoint_copy.as_deref();
    let mut known = Known::read(dir, copy, &options.signing_seed, found.origin.as_deref());
    let now = Timestamp::now();
    let mut start = StartRecord {
        timestamp: rfc3339(now),
        durability: options.durability.as_str().to_owned(),
        key: String::new(),
        after_crash: found.after_crash,
        cut_bytes: found.cut,
        unsigned: 0,
        previous: None,
        damage: None,
        set_aside: None,
    };
    let signed = known.latest.as_ref().map(|(_, checkpoint)| checkpoint.clone());
    // Of a key that is not ours, the list of holds is made again from the records: whoever can change it can change the
    // list of keys. Without records, the list is all there is.
    let named = found.origin.as_ref().or(signed.as_ref().or(before).map(|c| &c.origin)).unwrap_or(&options.origin);
    let seeds: Vec<_> =
        [Some(options.signing_seed.clone()), options.signing_seed.previous()].into_iter().flatten().collect();
    let ours =
        |name: &str| seeds.iter().filter_map(|s| Some(s.under(name).ok()?.verifier().clone())).collect::<Vec<_>>();
    let mut trusted = ours(named);
    if found.origin.is_none() {
        // A start that was killed may have begun a log of another name and signed the list under it.
        let listed = read_keys(dir).unwrap_or_default();
        trusted.extend(listed.into_iter().filter(|key| ours(key.name()).contains(key)));
    }
    let end = if found.origin.is_some() { found.next_seq } else { u64::MAX };
    let ends = (signed.as_ref().map_or(0, |c| c.size), end);
    let mut kept = Kept::read(dir, &found.segments, &trusted, ends)?;
    // Not before the lock is taken: another process may be erasing.
    erase::finish(storage.as_ref(), dir, &mut found.segments, &kept.erased);
    retention::finish(storage.as_ref(), dir, &mut found.segments, &kept);
    if let Some(before) = segments::previous_origin(dir, &found.segments)? {
        kept.inherit(dir, &found.segments, &ours(&before))?;
    }
    if found.origin.is_none() {
        kept = Kept { holds: kept.holds, ..Kept::default() };
    }
    let lost = signed.as_ref().or(before).filter(|c| found.origin.is_none() && c.size > 0).cloned();
    let resumed = match &lost {
        Some(_) => Err(Refused::Damaged("its records are gone".to_owned())),
        None => resume(storage, dir, &found, signed.as_ref()),
    };
    let (origin, resumed) = match resumed {
        Ok(resumed) => (found.origin.clone().unwrap_or_else(|| options.origin.clone()), resumed),
        Err(Refused::Error(error)) => return Err(error),
        Err(Refused::Damaged(damage)) => {
            let aside = set_aside(storage, dir, now)?;
            let place = aside.as_ref().map(|path| path.display().to_string());
            tracing::error!(dir = %dir.display(), set_aside = place, damage,
                "the decision log is not what was signed; a new one is begun in its place");
            start.previous = lost.or(signed).map(|checkpoint| checkpoint.to_string());
            start.damage = Some(damage);
            start.set_aside = aside.and_then(|path| Some(path.strip_prefix(dir).ok()?.display().to_string()));
            (found, known) = (Recovered::default(), Known::default());
            kept = Kept { holds: kept.holds, ..Kept::default() };
            (successor(&options.origin, now), Resumed::default())
        }
    };
    let key = options.signing_seed.under(&origin)?;
    start.key = key.verifier().to_string();
    start.unsigned = resumed.unsigned;
    let signed = known.latest.as_ref().map(|(_, checkpoint)| checkpoint.clone());
    let copy = options.checkpoint_copy.clone();
    let notary = Notary::new(Arc::clone(storage), dir.clone(), copy, key, resumed.tree, signed);
    let Recovered { segments, next_seq, .. } = found;
    Ok(Opened { lock, segments, next_seq, origin, notary, known, kept, start })
}

/// Index of the first tile of leaf hashes that is there; 0 when there is none.
pub(super) fn first_tile(dir: &Path) -> u64 {
    fn least(dir: &Path, above: u64) -> Option<u64> {
        let mut names: Vec<String> =
            fs::read_dir(dir).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        // Of one place the file comes before the directory: `x` is after all digits.
        names.sort_unstable();
        names.iter().find_map(|name| {
            let digits = name.strip_prefix('x').unwrap_or(name);
            let index = above * 1000 + digits.parse::<u64>().ok()?;
            if digits.len() == name.len() { Some(index) } else { least(&dir.join(name), index) }
        })
    }
    least(&dir.join("tile/0"), 0).unwrap_or(0)
}

/// Whether a log can be written under these names.
pub(super) fn check(options: &LogOptions) -> Result<(), LogError> {
    let named = [
        ("origin", &options.origin),
        ("cluster name", &options.labels.cluster),
        ("replica", &options.labels.replica),
        ("version", &options.labels.version),
    ];
    for (option, name) in named {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let message = format!("at most {MAX_NAME} bytes without control characters");
            return Err(LogError::Option { option, message });
        }
    }
    if options.origin.is_empty() || options.origin.chars().any(|c| c.is_whitespace() || c == '+') {
        let message = "a log has a name, without white space and `+`: it stands in checkpoints and keys".to_owned();
        return Err(LogError::Option { option: "origin", message });
    }
    Ok(())
}
