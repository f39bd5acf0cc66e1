//! The mask key and the commitments made with it. Knows bytes and one file; must not know what is masked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::decisions::LogError;

/// The secret that commitments are made with: 32 random bytes. It lives outside the log directory, so whoever copies
/// the log cannot try values against the commitments.
#[derive(Clone)]
pub struct MaskKey([u8; 32]);

impl MaskKey {
    /// A key of these 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the key in `path` (64 hex digits and a line feed), or makes one there (mode 0600). Of several processes
    /// that make it at once one wins and all have its key.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, LogError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| LogError::MaskKey { file: path.to_path_buf() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Self::create(path).map_err(|e| LogError::io("create", path, &e))?;
                let text = fs::read_to_string(path).map_err(|e| LogError::io("read", path, &e))?;
                Self::parse(&text).ok_or_else(|| LogError::MaskKey { file: path.to_path_buf() })
            }
            Err(e) => Err(LogError::io("read", path, &e)),
        }
    }

    /// Reads the key in `path`.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Self, LogError> {
        let text = fs::read_to_string(path).map_err(|e| LogError::io("read", path, &e))?;
        Self::parse(&text).ok_or_else(|| LogError::MaskKey { file: path.to_path_buf() })
    }

    /// The key that values at `pointer` of one decision are committed with:
    /// HKDF-SHA256 (RFC 5869) without salt, info = decision id and pointer. An auditor is given single ones of these.
    #[must_use]
    pub fn derive(&self, decision_id: &str, pointer: &str) -> [u8; 32] {
        Prk::new(self).derive(decision_id, pointer)
    }

    /// Written beside and linked into place, so nobody ever reads half a key.
    fn create(path: &Path) -> io::Result<()> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(|e| io::Error::other(e.to_string()))?;
        let directory =
            path.parent().filter(|p| !p.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_path_buf);
        fs::create_dir_all(&directory)?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let draft = directory.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(format!("{}\n", HEXLOWER.encode(&key)).as_bytes())?;
        file.sync_all()?;
        let linked = match fs::hard_link(&draft, path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        fs::remove_file(&draft)?;
        linked?;
        File::open(&directory)?.sync_all()
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end().as_bytes();
        let mut key = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }
}

impl std::fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKey(..)")
    }
}

/// The mask key after HKDF's first step, which is the same for all values.
#[derive(Clone)]
pub(super) struct Prk(Hkdf<Sha256>);

impl Prk {
    pub(super) fn new(key: &MaskKey) -> Self {
        Self(Hkdf::new(None, &key.0))
    }

    /// `hmac-sha256:<64 hex>` of `value` at `pointer` of the decision.
    pub(super) fn commit(&self, decision_id: &str, pointer: &str, value: &[u8]) -> Arc<str> {
        Arc::from(commitment(&self.derive(decision_id, pointer), value))
    }

    pub(super) fn derive(&self, decision_id: &str, pointer: &str) -> [u8; 32] {
        let mut k = [0; 32];
        // The only error is an output longer than 255 hashes.
        let _ = self.0.expand_multi_info(&[decision_id.as_bytes(), pointer.as_bytes()], &mut k);
        k
    }
}

/// What stands for `value` in the log, given its derived key: `hmac-sha256:<64 hex>` (RFC 2104).
#[must_use]
pub fn commitment(k: &[u8; 32], value: &[u8]) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(k) else { return MASKED.to_owned() };
    mac.update(value);
    format!("{COMMITMENT}{}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// Where commitments stand in a text.
pub(in crate::decisions) fn commitments(text: &str) -> Vec<Range<usize>> {
    const LENGTH: usize = COMMITMENT.len() + 64;
    let whole = |at: usize| {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let found = text.get(at..at + LENGTH)?;
        found.bytes().skip(COMMITMENT.len()).all(hex).then_some(at..at + LENGTH)
    };
    text.match_indices(COMMITMENT).filter_map(|(at, _)| whole(at)).collect()
}

/// What stands where there is no commitment.
pub(in crate::decisions) const MASKED: &str = "[masked]";
/// What every commitment begins with.
pub(in crate::decisions) const COMMITMENT: &str = "hmac-sha256:";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("state/mask.key");
        let made = MaskKey::load_or_create(&path).expect("made");
        let read = MaskKey::load_or_create(&path).expect("read");
        assert_eq!(made.0, read.0);
        assert_ne!(made.0, [0; 32]);
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").expect("written");
        assert!(matches!(MaskKey::load_or_create(&path), Err(LogError::MaskKey { .. })));
    }

    #[test]
    fn commitments_are_bound_to_decision_and_place() {
        let key = MaskKey::from_bytes([7; 32]);
        let prk = Prk::new(&key);
        let one = prk.commit("d1", "/a", b"value");
        assert_eq!(*one, *commitment(&key.derive("d1", "/a"), b"value"));
        assert_ne!(one, prk.commit("d1", "/b", b"value"));
        assert_ne!(one, prk.commit("d2", "/a", b"value"));
        assert_ne!(one, prk.commit("d1", "/a", b"other"));
    }
}
