//! Who may read the log over the network: the file of readers and their tokens. Knows names, digests and scopes; must
//! not know HTTP. Tokens themselves are never kept: only their SHA-256.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::decisions::{Record, RecordType};
use crate::policy::yaml::{self, Offset};
use crate::policy::{LoadError, glob_matches};

/// Shorter tokens can be guessed.
const LEAST_TOKEN: usize = 20;

/// Somebody who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The name in records.
    pub name: String,
    digest: [u8; 32],
    namespaces: Vec<String>,
    /// Whether bodies may be read too.
    pub bodies: bool,
}

impl Reader {
    /// Whether `record` may be shown. Whoever is bound to namespaces sees their decisions and nothing else.
    #[must_use]
    pub fn may_see(&self, record: &Record) -> bool {
        self.sees_all()
            || record.head.r#type == RecordType::Decision
                && record.decision().is_some_and(|d| {
                    let namespace = &d.request.namespace;
                    !namespace.is_empty() && self.namespaces.iter().any(|n| glob_matches(n, namespace))
                })
    }

    /// Whether every record may be shown.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.namespaces.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    readers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: String,
    #[serde(default)]
    token_sha256: Option<String>,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    namespaces: Option<Vec<String>>,
    #[serde(default)]
    bodies: bool,
}

/// The file of readers. It is read again when it or a file of a token changes, so that a token can be taken back at once;
/// while it cannot be read, nobody may read the log.
#[derive(Debug)]
pub struct ReadersFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of the file, and of those of the tokens that it names, from before they were read.
    stamps: Stamps,
    readers: Arc<Vec<Reader>>,
}

/// When files were changed last, and their lengths.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl State {
    fn is_current(&self) -> bool {
        self.stamps.iter().all(|(path, before)| stamp(path) == *before)
    }
}

impl ReadersFile {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, or with a file of a token.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let mut stamps = Stamps::new();
        let readers = Arc::new(read(path, &mut stamps)?);
        Ok(Self { path: path.to_path_buf(), state: Mutex::new(State { stamps, readers }) })
    }

    /// The readers of now.
    #[must_use]
    pub fn readers(&self) -> Arc<Vec<Reader>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_current() {
            let mut stamps = Stamps::new();
            let readers = read(&self.path, &mut stamps).unwrap_or_else(|error| {
                tracing::error!(%error, "the file of readers cannot be read; nobody may read the decision log");
                Vec::new()
            });
            *state = State { stamps, readers: Arc::new(readers) };
        }
        Arc::clone(&state.readers)
    }

    /// The reader whose token this is. Takes as long for a wrong token as for a right one.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Reader> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for reader in self.readers().iter() {
            let differs = reader.digest.iter().zip(digest).fold(0, |d, (a, b)| std::hint::black_box(d | (a ^ b)));
            if differs == 0 {
                found = Some(reader.clone());
            }
        }
        found
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    fs::metadata(path).ok().and_then(|m| Some((m.modified().ok()?, m.len())))
}

/// The readers, and how the files were that they are read from, as far as that goes.
fn read(path: &Path, stamps: &mut Stamps) -> Result<Vec<Reader>, LoadError> {
    stamps.push((path.to_path_buf(), stamp(path)));
    let file = path.display().to_string();
    let fault = |message: String| LoadError::new(&file, "readers", message);
    let text = fs::read_to_string(path).map_err(|e| fault(format!("cannot be read: {e}")))?;
    let File { readers: entries } = yaml::parse(&file, &text, Offset::default())?;
    let mut readers: Vec<Reader> = Vec::new();
    for entry in entries {
        let Entry { name, token_sha256, token_file, namespaces, bodies } = entry;
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(fault(format!("`{name}` is no name of a reader: write 1 to 100 visible characters")));
        }
        let digest = match (token_sha256, token_file) {
            (Some(hex), None) => {
                digest(&hex).ok_or_else(|| fault(format!("reader `{name}`: `tokenSha256` is not 64 hex digits")))?
            }
            (None, Some(token)) => {
                stamps.push((token.clone(), stamp(&token)));
                let of = |e: String| fault(format!("reader `{name}`: `tokenFile` `{}` {e}", token.display()));
                let text = fs::read_to_string(&token).map_err(|e| of(format!("cannot be read: {e}")))?;
                if text.trim().len() < LEAST_TOKEN {
                    return Err(of(format!("holds no token of at least {LEAST_TOKEN} characters")));
                }
                Sha256::digest(text.trim().as_bytes()).into()
            }
            _ => return Err(fault(format!("reader `{name}` needs either `tokenSha256` or `tokenFile`"))),
        };
        // An empty list would be everything; whoever writes it means nothing.
        if namespaces.as_ref().is_some_and(Vec::is_empty) {
            return Err(fault(format!("reader `{name}`: `namespaces` is empty; leave it out for all")));
        }
        if let Some(other) = readers.iter().find(|r| r.name == name || r.digest == digest) {
            return Err(fault(format!("readers `{}` and `{name}` share a name or a token", other.name)));
        }
        readers.push(Reader { name, digest, namespaces: namespaces.unwrap_or_default(), bodies });
    }
    Ok(readers)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'correct horse battery staple' | sha256sum`
    const DIGEST: &str = "c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a";

    #[test]
    fn readers_are_found_by_their_tokens_and_a_changed_file_counts_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("readers.yaml");
        fs::write(&path, format!("readers:\n- name: auditor\n  tokenSha256: {DIGEST}\n")).expect("written");
        let file = ReadersFile::load(&path).expect("reads");
        assert_eq!(file.find("correct horse battery staple").expect("known").name, "auditor");
        assert_eq!(file.find("correct horse battery stable"), None);
        assert_eq!(file.find(""), None);
        fs::write(&path, "readers: []\n").expect("written");
        assert_eq!(file.find("correct horse battery staple"), None, "taken back");
        fs::write(&path, "readers: nonsense").expect("written");
        assert_eq!(file.readers().len(), 0);
        let token = dir.path().join("token");
        fs::write(&token, "the first token of the auditor\n").expect("written");
        fs::write(&path, format!("readers:\n- {{name: auditor, tokenFile: {}}}\n", token.display())).expect("written");
        assert!(file.find("the first token of the auditor").is_some());
        fs::write(&token, "another token\n").expect("written");
        assert_eq!(file.find("the first token of the auditor"), None, "too short a token is none");
        fs::write(&token, "the second token of the auditor\n").expect("written");
        assert!(file.find("the second token of the auditor").is_some());
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("readers.yaml");
        fs::write(dir.path().join("short"), "short\n").expect("written");
        let short = dir.path().join("short").display().to_string();
        for (entry, message) in [
            ("name: a".to_owned(), "either `tokenSha256` or `tokenFile`"),
            ("name: a\n  tokenSha256: abc".to_owned(), "64 hex digits"),
            (format!("name: a\n  tokenFile: {short}"), "at least 20"),
            ("name: a\n  tokenFile: /nonexistent".to_owned(), "cannot be read"),
            (format!("name: a\n  tokenSha256: {DIGEST}\n  namespaces: []"), "leave it out"),
            (format!("name: a\n  tokenSha256: {DIGEST}\n- name: b\n  tokenSha256: {DIGEST}"), "share"),
            (format!("name: a\n  token: {DIGEST}"), "token"),
        ] {
            fs::write(&path, format!("readers:\n- {entry}\n")).expect("written");
            let error = ReadersFile::load(&path).expect_err(message).to_string();
            assert!(error.contains(message) && error.contains("readers.yaml"), "{error}");
        }
    }
}
