//! The authority and the serving certificate as files, made once and renewed before they end.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::webhook::authority::{names_of, not_after};
use crate::webhook::{Authority, CertificateError, KeyPem, Pair};

const DAY: Duration = Duration::from_secs(86_400);

/// Long, since whoever trusts it must be told of a new one.
const CA_LIFETIME: Duration = DAY.saturating_mul(3650);

/// Short, since it is replaced without anybody noticing.
const SERVING_LIFETIME: Duration = DAY.saturating_mul(90);

/// What is left when a serving certificate is replaced.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);

/// Files of a serving certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingFiles {
    /// The authority's certificate, for callers.
    pub ca: PathBuf,
    /// The serving certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether anything was made or replaced.
    pub renewed: bool,
}

/// Makes sure that `dir` holds an authority (`ca.crt`, `ca.key`) and a serving certificate of it (`tls.crt`,
/// `tls.key`) for `names` that is good for another 30 days. All files are readable by their owner only.
///
/// # Errors
/// Files cannot be read or written. Files that make no sense are replaced.
pub fn ensure(dir: &Path, names: &[String], now: SystemTime) -> Result<ServingFiles, CertificateError> {
    create_dir(dir)?;
    let (ca_cert, ca_key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let (cert, key) = (dir.join("tls.crt"), dir.join("tls.key"));
    let kept = read_pair(&ca_cert, &ca_key)?
        .filter(|pair| lasts(&pair.certificate, now + SERVING_LIFETIME))
        .and_then(|pair| Authority::read(pair).ok());
    let authority = match kept {
        Some(authority) => authority,
        None => {
            let authority = Authority::create(now, CA_LIFETIME)?;
            write_private(&ca_key, &authority.pair().key.0)?;
            write_private(&ca_cert, &authority.pair().certificate)?;
            authority
        }
    };
    let serves = |pair: &Pair| {
        authority.signed(pair) && lasts(&pair.certificate, now + RENEW_BEFORE) && covers(&pair.certificate, names)
    };
    let renewed = !read_pair(&cert, &key)?.is_some_and(|pair| serves(&pair));
    if renewed {
        let pair = authority.serving(names, now, SERVING_LIFETIME)?;
        // Whoever reads between the two finds a pair that does not fit and reads again.
        write_private(&key, &pair.key.0)?;
        write_private(&cert, &pair.certificate)?;
    }
    Ok(ServingFiles { ca: ca_cert, cert, key, renewed })
}

fn lasts(certificate: &str, until: SystemTime) -> bool {
    not_after(certificate).is_ok_and(|end| end >= until)
}

fn covers(certificate: &str, names: &[String]) -> bool {
    names_of(certificate).is_ok_and(|found| {
        let found: BTreeSet<_> = found.into_iter().collect();
        names.iter().all(|name| found.contains(name))
    })
}

fn read_pair(cert: &Path, key: &Path) -> Result<Option<Pair>, CertificateError> {
    let (Some(certificate), Some(key)) = (read(cert)?, read(key)?) else { return Ok(None) };
    Ok(Some(Pair { certificate, key: KeyPem(key) }))
}

fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateError::File { action: "read", path: path.to_owned(), source }),
    }
}

fn create_dir(dir: &Path) -> Result<(), CertificateError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| CertificateError::File { action: "create", path: dir.to_owned(), source })
}

/// Writes a file for its owner alone: beside and renamed, so that nobody reads half of it.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), CertificateError> {
    let fault = |source| CertificateError::File { action: "write", path: path.to_owned(), source };
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fault(e)),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh).map_err(fault)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
    std::fs::rename(&fresh, path).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    fn content(files: &ServingFiles) -> [String; 3] {
        [&files.ca, &files.cert, &files.key].map(|p| std::fs::read_to_string(p).expect("is there"))
    }

    #[test]
    fn made_once_renewed_in_time_and_for_new_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().join("state/tls");
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let (some, more) = (names(&["localhost", "127.0.0.1", "::1"]), names(&["localhost", "a.example"]));

        let first = ensure(&dir, &some, now).expect("is made");
        assert!(first.renewed);
        let before = content(&first);
        let again = ensure(&dir, &some, now + DAY * 59).expect("is kept");
        assert!(!again.renewed);
        assert_eq!(content(&again), before);

        let renewed = ensure(&dir, &some, now + DAY * 61).expect("is renewed");
        let after = content(&renewed);
        assert!(renewed.renewed && after[0] == before[0] && after[1] != before[1] && after[2] != before[2]);

        assert!(ensure(&dir, &more, now + DAY * 61).expect("is made").renewed, "another name, another certificate");
        let later = ensure(&dir, &more, now + DAY * 3_600).expect("is made");
        assert_ne!(content(&later)[0], before[0], "an authority that ends is replaced");
    }

    #[test]
    fn broken_files_are_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let some = names(&["localhost"]);
        let files = ensure(dir.path(), &some, now).expect("is made");
        for (file, text) in [("tls.crt", "nonsense"), ("tls.key", ""), ("ca.key", "nonsense")] {
            std::fs::write(dir.path().join(file), text).expect("writes");
            assert!(ensure(dir.path(), &some, now).expect("is mended").renewed, "{file}");
            assert!(!ensure(dir.path(), &some, now).expect("is kept").renewed, "{file}");
        }
        let other = Authority::create(now, DAY).expect("is made").serving(&some, now, DAY * 90).expect("is made");
        std::fs::write(&files.cert, &other.certificate).expect("writes");
        std::fs::write(&files.key, &other.key.0).expect("writes");
        assert!(ensure(dir.path(), &some, now).expect("is mended").renewed, "of another authority");
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().join("tls");
        ensure(&dir, &names(&["localhost"]), SystemTime::now()).expect("is made");
        let mode = |p: &Path| std::fs::metadata(p).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for entry in std::fs::read_dir(&dir).expect("lists") {
            assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
        }
    }
}
