//! Good bundles on disk, for a start without their server. Each is two files: the archive, and what is known of it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::policy::Digest;
use crate::source::remote::Held;

pub(super) struct Keeper {
    dir: PathBuf,
}

/// What is known of a kept archive.
#[derive(Serialize, Deserialize)]
struct Card {
    address: String,
    version: String,
    digest: Digest,
}

impl Keeper {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps a bundle; does nothing if it is kept already.
    pub(super) fn keep(&self, address: &str, held: &Held) -> std::io::Result<()> {
        let (archive, card) = self.paths(address);
        let digest = Digest::of(&held.bytes);
        if read_card(&card).is_some_and(|c| c.digest == digest && c.version == held.version) && archive.is_file() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        // The archive first: a card that does not fit it is noticed, and the bundle is not taken.
        write(&archive, &held.bytes)?;
        let text = Card { address: address.to_owned(), version: held.version.clone(), digest };
        write(&card, &serde_json::to_vec_pretty(&text)?)
    }

    /// What was kept, if it is whole.
    pub(super) fn read(&self, address: &str) -> Option<Held> {
        let (archive, card) = self.paths(address);
        let card = read_card(&card)?;
        let bytes = fs::read(&archive).ok()?;
        if card.address != address || Digest::of(&bytes) != card.digest {
            tracing::warn!(address, file = %archive.display(), "the kept copy is damaged: passed over");
            return None;
        }
        Some(Held { bytes: bytes.into(), version: card.version })
    }

    fn paths(&self, address: &str) -> (PathBuf, PathBuf) {
        let name = Digest::of(address.as_bytes()).hex();
        let name = name.get(..16).unwrap_or(&name);
        (self.dir.join(format!("{name}.tar.gz")), self.dir.join(format!("{name}.json")))
    }
}

fn read_card(path: &Path) -> Option<Card> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a file as a whole.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_if_it_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let keeper = Keeper::new(dir.path().join("bundles"));
        let held = |text: &str| Held { bytes: text.as_bytes().into(), version: format!("\"{text}\"") };
        let read = |address: &str| keeper.read(address).map(|h| (h.bytes.to_vec(), h.version));
        assert_eq!(read("https://a"), None);
        for text in ["one", "two", "two"] {
            keeper.keep("https://a", &held(text)).expect("kept");
            assert_eq!(read("https://a"), Some((text.as_bytes().to_vec(), format!("\"{text}\""))));
        }
        assert_eq!(read("https://b"), None);
        let (archive, card) = keeper.paths("https://a");
        fs::write(&archive, "tampered").expect("written");
        assert_eq!(read("https://a"), None);
        keeper.keep("https://a", &held("three")).expect("kept");
        // The card of another address under this one's name.
        let (other_archive, other_card) = keeper.paths("https://b");
        fs::copy(archive, other_archive).expect("copied");
        fs::copy(card, other_card).expect("copied");
        assert_eq!(read("https://b"), None);
    }
}
