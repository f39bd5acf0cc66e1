//! The key that checkpoints are signed with: where it comes from. Knows one seed and one file; must not know what is
//! signed. It never lies in the log directory: whoever can change the log must not be able to sign it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decisions::LogError;
use crate::tlog::{SigningKey, TlogError};

/// What a PKCS #8 document with an Ed25519 private key begins with (RFC 8410 section 7); the seed's 32 bytes follow.
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// The secret of a signing key: 32 bytes. The name that it signs under is the log's.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSeed {
    seed: [u8; 32],
    /// The one that it replaces, if it is at hand.
    previous: Option<[u8; 32]>,
}

impl SigningSeed {
    /// A seed of these 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { seed: bytes, previous: None }
    }

    /// The same, in place of `previous`, which vouches for it once.
    #[must_use]
    pub fn replacing(self, previous: &Self) -> Self {
        Self { previous: Some(previous.seed), ..self }
    }

    /// The key that it replaces, if it is at hand.
    #[must_use]
    pub fn previous(&self) -> Option<Self> {
        self.previous.map(Self::from_bytes)
    }

    /// Reads a private key: PKCS #8 PEM of an Ed25519 key (`openssl genpkey -algorithm ed25519`), or 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let Some(pem) = text.strip_prefix(PEM_BEGIN) else { return hex_seed(text).map(Self::from_bytes) };
        let base64: String = pem.strip_suffix(PEM_END)?.split_whitespace().collect();
        let bytes = STANDARD.decode(base64).ok()?;
        bytes.strip_prefix(&PKCS8_HEAD)?.try_into().ok().map(Self::from_bytes)
    }

    /// Reads the key in `path`.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Self, LogError> {
        let text = fs::read_to_string(path).map_err(|e| LogError::io("read", path, &e))?;
        Self::parse(&text).ok_or_else(|| LogError::SigningKey { file: path.to_path_buf() })
    }

    /// Reads the key in `path`, or makes one there (mode 0600). Of several processes that make it at once one wins and
    /// all have its key.
    ///
    /// # Errors
    /// As [`load`](Self::load); the file cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Self, LogError> {
        match Self::load(path) {
            Err(LogError::Io { kind: io::ErrorKind::NotFound, .. }) => {
                let made = Self::random().and_then(|seed| seed.write_new(path));
                made.map_err(|e| LogError::io("create", path, &e))?;
                Self::load(path)
            }
            other => other,
        }
    }

    /// A new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Self::from_bytes(seed))
    }

    /// The key under a log's name.
    ///
    /// # Errors
    /// [`TlogError::Key`] when nothing can be signed under that name.
    pub fn under(&self, origin: &str) -> Result<SigningKey, TlogError> {
        SigningKey::from_seed(origin, &self.seed)
    }

    /// Written beside and linked into place, so nobody ever reads half a key and none is ever overwritten.
    ///
    /// # Errors
    /// Whatever the system says.
    fn write_new(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let directory = parent.map_or(PathBuf::from("."), Path::to_path_buf);
        fs::create_dir_all(&directory)?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let draft = directory.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let encoded = STANDARD.encode([PKCS8_HEAD.as_slice(), &self.seed].concat());
        file.write_all(format!("{PEM_BEGIN}\n{encoded}\n{PEM_END}\n").as_bytes())?;
        file.sync_all()?;
        let linked = match fs::hard_link(&draft, path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        fs::remove_file(&draft)?;
        linked?;
        File::open(&directory)?.sync_all()
    }
}

impl std::fmt::Debug for SigningSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSeed(..)")
    }
}

fn hex_seed(text: &str) -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// The private key of RFC 8410 section 10.3, and its seed.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const RFC_8410_SEED: &str = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";

    #[test]
    fn keys_are_read_in_both_forms_and_nothing_else_is() {
        let pem = SigningSeed::parse(RFC_8410).expect("a key");
        assert_eq!(SigningSeed::parse(&format!("{RFC_8410_SEED}\n")), Some(pem.clone()));
        // Its public key, from section 10.1.
        let key = pem.under("rfc8410").expect("a key").verifier().to_string();
        let public = key.splitn(3, '+').last().and_then(|k| STANDARD.decode(k).ok()).unwrap_or_default();
        assert_eq!(
            STANDARD.encode(public.get(1..).unwrap_or_default()),
            "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
        );
        for wrong in
            ["", "abc", &RFC_8410_SEED[1..], &format!("+{}", &RFC_8410_SEED[1..]), &RFC_8410.replace("MC4C", "MC4D")]
        {
            assert_eq!(SigningSeed::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("state/decisions.key");
        let first = SigningSeed::load_or_create(&path).expect("made");
        assert_eq!(SigningSeed::load_or_create(&path).expect("read"), first);
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        fs::write(&path, "something else").expect("written");
        let error = SigningSeed::load_or_create(&path).expect_err("no key");
        assert!(error.to_string().contains("decisions.key"), "{error}");
    }
}
