//! Witnesses: others who sign a checkpoint once they have seen that it goes on from the one before (C2SP
//! tlog-witness). Knows what a witness is asked, what its answers mean, and where cosigned checkpoints lie; must not
//! know when it is time to ask.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reqwest::StatusCode;
use url::Url;

use crate::decisions::tree_files::{cosigned, cosigned_path, latest_size, read_tile_of};
use crate::decisions::{AnchorError, Disk, LogError, SignedCheckpoint, Storage as _, web};
use crate::tlog::{AddCheckpoint, Hash, Note, Signature, TreeReader, WitnessKey, cosignatures, parse_signatures};

/// Requests for one cosignature: the first may only tell which size the witness knows.
const TRIES: u32 = 3;

/// A witness as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its submission prefix; `add-checkpoint` comes after it.
    pub url: Url,
    /// Its key.
    pub key: WitnessKey,
}

impl Witness {
    /// Reads an address and a key.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(url: &str, key: &str) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|e| format!("`{url}` is no URL: {e}"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(format!("`{url}` is no address of a witness; write https://..."));
        }
        Ok(Self { url: parsed, key: WitnessKey::parse(key).map_err(|e| e.to_string())? })
    }

    /// Reads `<url>=<verifier key>`. Both may hold `=` themselves.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let splits = text.match_indices('=').filter_map(|(at, _)| Some((text.get(..at)?, text.get(at + 1..)?)));
        let mut wrong = format!("`{text}` is no witness; write <url>=<verifier key>");
        for (url, key) in splits {
            match Self::new(url, key) {
                Ok(witness) => return Ok(witness),
                Err(message) if key.matches('+').count() >= 2 => wrong = message,
                Err(_) => {}
            }
        }
        Err(wrong)
    }
}

/// The log's witnesses, and what each of them saw last.
pub struct Witnesses {
    dir: PathBuf,
    client: reqwest::Client,
    all: Vec<(Witness, Mutex<Seen>)>,
}

/// What a witness signed last, as far as we know.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Of which log: a log that is begun anew has another name.
    origin: String,
    size: u64,
}

/// A checkpoint on its way to the witnesses.
#[derive(Debug, Clone)]
pub struct Round {
    /// The checkpoint.
    pub signed: SignedCheckpoint,
    /// Who did not sign yet, by position.
    pub missing: Vec<usize>,
    /// What was signed.
    given: Vec<Signature>,
}

impl Witnesses {
    /// The witnesses of the log in `dir`. Nothing is sent yet.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(dir: &Path, witnesses: Vec<Witness>) -> Result<Self, AnchorError> {
        let all = witnesses.into_iter().map(|witness| {
            // Where it is not known, the witness says so itself.
            let last = read_last(dir, &witness.key);
            (witness, Mutex::new(last))
        });
        Ok(Self { dir: dir.to_path_buf(), client: web::client()?, all: all.collect() })
    }

    /// Their keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &WitnessKey> {
        self.all.iter().map(|(witness, _)| &witness.key)
    }

    /// Begins a round: nobody signed yet.
    #[must_use]
    pub fn round(&self, signed: SignedCheckpoint) -> Round {
        Round { signed, missing: (0..self.all.len()).collect(), given: Vec::new() }
    }

    /// Asks all that did not sign yet, at once, and keeps what they sign in `<dir>/cosigned`. Gives what became of each
    /// that was asked, by position.
    pub async fn ask(&self, round: &mut Round) -> Vec<(usize, Result<(), AnchorError>)> {
        let asked = round.missing.iter().filter_map(|i| Some((*i, self.all.get(*i)?)));
        let signed = &round.signed;
        let answers = asked.map(|(i, (witness, seen))| async move { (i, self.cosign(witness, seen, signed).await) });
        let answers = futures::future::join_all(answers).await;
        let mut came = Vec::new();
        let mut outcomes = Vec::new();
        for (i, answer) in answers {
            outcomes.push((
                i,
                answer.map(|signature| {
                    came.push(i);
                    round.given.push(signature);
                }),
            ));
        }
        round.missing.retain(|i| !came.contains(i));
        for outcome in outcomes.iter_mut().filter(|(i, _)| came.contains(i)) {
            if let Some((witness, _)) = self.all.get(outcome.0)
                && let Err(error) = self.keep(&witness.key, round)
            {
                outcome.1 = Err(AnchorError(error.to_string()));
            }
        }
        outcomes
    }

    /// The checkpoint with all that was signed so far, as the latest of this witness.
    fn keep(&self, key: &WitnessKey, round: &Round) -> Result<(), LogError> {
        let mut note = (*round.signed.note).clone();
        note.signatures.extend(round.given.iter().cloned());
        let path = cosigned_path(&self.dir, key.id());
        Disk.replace(&path, note.to_string().as_bytes()).map_err(|e| LogError::io("write", &path, &e))
    }

    async fn cosign(
        &self,
        witness: &Witness,
        seen: &Mutex<Seen>,
        signed: &SignedCheckpoint,
    ) -> Result<Signature, AnchorError> {
        let (origin, size) = (&signed.checkpoint.origin, signed.checkpoint.size);
        let mut url = witness.url.clone();
        url.set_path(&format!("{}/add-checkpoint", url.path().trim_end_matches('/')));
        for _ in 0..TRIES {
            let old = last(seen, origin);
            if old > size {
                return Err(AnchorError(format!(
                    "it has seen {old} records of this log, which has {size}: the log was cut back, or another of the same \
                     name is shown to it"
                )));
            }
            let path = self.consistency(old, size)?;
            let request = AddCheckpoint { old, path, checkpoint: (*signed.note).clone() };
            let (status, text) = web::send(self.client.post(url.clone()).body(request.to_string())).await?;
            match status {
                StatusCode::OK => {
                    let signature = accepted(&text, &witness.key, &signed.note)?;
                    saw(seen, origin, size);
                    return Ok(signature);
                }
                StatusCode::CONFLICT => {
                    let told: Option<u64> = text.trim_end_matches('\n').parse().ok();
                    match told.filter(|told| *told != old) {
                        // Nobody signed what it says: it is asked again the next time.
                        Some(told) if told > size => {
                            return Err(AnchorError(format!(
                                "it says that it has seen {told} records of this log, which has {size}: the log was cut \
                                 back, or another of the same name is shown to it"
                            )));
                        }
                        Some(told) => saw(seen, origin, told),
                        None => return Err(refusal(status, &format!("it has signed another tree of {old} records"))),
                    }
                }
                StatusCode::NOT_FOUND => {
                    return Err(refusal(status, &format!("it does not know the log `{origin}`")));
                }
                StatusCode::FORBIDDEN => return Err(refusal(status, "it does not know the key that signs this log")),
                StatusCode::UNPROCESSABLE_ENTITY => {
                    return Err(refusal(status, &format!("the log does not go on from the {old} records that it saw")));
                }
                other => return Err(refusal(other, text.lines().next().unwrap_or_default())),
            }
        }
        Err(AnchorError("it says another size each time".to_owned()))
    }

    /// That the first `old` records are the beginning of the first `size`.
    fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, AnchorError> {
        if old == 0 || old == size {
            return Ok(Vec::new());
        }
        let grown = latest_size(&self.dir).unwrap_or(size).max(size);
        let path = TreeReader::new(size, |id| read_tile_of(&self.dir, id, grown)).consistency(old);
        path.map_err(|e: LogError| {
            AnchorError(format!("no proof can be made that the log goes on from {old} records: {e}"))
        })
    }
}

fn last(seen: &Mutex<Seen>, origin: &str) -> u64 {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.origin == origin { seen.size } else { 0 }
}

fn saw(seen: &Mutex<Seen>, origin: &str, size: u64) {
    *seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { origin: origin.to_owned(), size };
}

/// What a witness cosigned last, as far as it is on the disk.
fn read_last(dir: &Path, key: &WitnessKey) -> Seen {
    let all = cosigned(dir).unwrap_or_default();
    let of_key = all.iter().filter(|(_, note, _)| matches!(key.cosigned(note), Ok(Some(_))));
    let latest = of_key.map(|(_, _, checkpoint)| checkpoint).max_by_key(|checkpoint| checkpoint.size);
    latest.map(|c| Seen { origin: c.origin.clone(), size: c.size }).unwrap_or_default()
}

/// The cosignature in an answer. Those of keys that we do not know are passed over.
fn accepted(text: &str, key: &WitnessKey, note: &Note) -> Result<Signature, AnchorError> {
    let wrong =
        |e: &dyn std::fmt::Display| AnchorError(format!("its answer is no cosignature of this checkpoint: {e}"));
    let signatures = parse_signatures(text).map_err(|e| wrong(&e))?;
    let signature = signatures.into_iter().find(|s| s.name == key.name() && s.key_id == key.id());
    let signature = signature.ok_or_else(|| wrong(&format!("it is not signed by `{}`", key.short())))?;
    let cosigned = Note { text: note.text.clone(), signatures: vec![signature.clone()] };
    cosignatures(&cosigned, std::slice::from_ref(key)).map_err(|e| wrong(&e))?;
    Ok(signature)
}

fn refusal(status: StatusCode, message: &str) -> AnchorError {
    AnchorError(format!("it does not sign ({}): {message}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::CosigningKey;

    #[test]
    fn witnesses_are_read_with_signs_of_equality_in_both_parts() {
        let key = CosigningKey::from_seed("w", &[1; 32]).expect("a key").verifier().clone();
        let found = Witness::parse(&format!("https://h/p?a=b={key}")).expect("a witness");
        assert_eq!((found.url.as_str(), &found.key), ("https://h/p?a=b", &key));
        for wrong in ["", "https://h", &format!("ftp://h={key}"), &format!("https://h={}", &key.to_string()[1..])] {
            assert!(Witness::parse(wrong).is_err(), "{wrong}");
        }
        let id = format!("{key}").replace('w', "v");
        assert!(Witness::parse(&format!("https://h={id}")).is_err_and(|e| e.contains("its id is that of another key")));
    }
}
