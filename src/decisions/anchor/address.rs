//! Where an anchor is, as people write it. Knows spellings; must not know what is done there.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::decisions::bucket::has_credentials;

/// Schemes of object storage.
const OBJECTS: [&str; 8] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss"];

/// How an HTTP endpoint is given a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum HttpMethod {
    /// `POST`.
    #[default]
    #[serde(rename = "POST", alias = "post")]
    Post,
    /// `PUT`.
    #[serde(rename = "PUT", alias = "put")]
    Put,
}

/// Where checkpoints are put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorAddress {
    /// A file that grows by a line each.
    File(PathBuf),
    /// A directory that grows by a file each.
    Directory(PathBuf),
    /// An endpoint that takes a note.
    Http {
        /// Where.
        url: Url,
        /// How.
        method: HttpMethod,
        /// A file with a bearer token.
        token_file: Option<PathBuf>,
    },
    /// Object storage: a bucket and a prefix.
    Objects(Url),
    /// A ConfigMap, which holds a bounded history.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Lease, whose annotation holds the latest.
    Lease {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl AnchorAddress {
    /// Reads an address: a path, or a URL.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err("is empty; write a path or a URL".to_owned()) } else { Ok(path(text)) };
        };
        let url = || Url::parse(text).map_err(|e| format!("`{text}` is no URL: {e}"));
        match scheme {
            "file" if rest.starts_with('/') => Ok(path(rest)),
            "file" => Err(format!("`{text}` names no file of this machine; write file:///<path>")),
            "http" | "https" => Ok(Self::Http { url: url()?, method: HttpMethod::default(), token_file: None }),
            "configmap" | "lease" => {
                let (namespace, name) = rest
                    .split_once('/')
                    .filter(|(namespace, name)| is_label(namespace) && name.split('.').all(is_label))
                    .ok_or_else(|| format!("`{text}` names no object; write {scheme}://<namespace>/<name>"))?;
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                Ok(if scheme == "lease" {
                    Self::Lease { namespace, name }
                } else {
                    Self::ConfigMap { namespace, name }
                })
            }
            _ if OBJECTS.contains(&scheme) => match url()? {
                url if has_credentials(&url) => {
                    Err(format!("the {scheme} URL has credentials in it; put them into the environment"))
                }
                url => Ok(Self::Objects(url)),
            },
            _ => Err(format!(
                "`{scheme}` is no kind of anchor; write a path, or a URL with file, https, s3, gs, az, configmap or lease"
            )),
        }
    }

    /// The path, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Directory(path) => Some(path),
            _ => None,
        }
    }

    /// Whether it lies in `dir`, as both are written: then it would go with what it should bear witness to.
    #[must_use]
    pub fn is_below(&self, dir: &Path) -> bool {
        self.path().is_some_and(|path| is_below(path, dir))
    }

    /// Whether the cluster must be reached for it.
    #[must_use]
    pub fn is_in_cluster(&self) -> bool {
        matches!(self, Self::ConfigMap { .. } | Self::Lease { .. })
    }
}

/// What ends with a slash is a directory.
fn path(text: &str) -> AnchorAddress {
    let path = PathBuf::from(text);
    if text.ends_with('/') || path.is_dir() { AnchorAddress::Directory(path) } else { AnchorAddress::File(path) }
}

/// Whether `path` is in `dir`, whatever links and `..` it goes through.
#[must_use]
pub fn is_below(path: &Path, dir: &Path) -> bool {
    plain(path).starts_with(plain(dir))
}

/// Absolute, with links followed as far as there is something, and without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut found = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            Component::CurDir => {}
            other => found.push(other),
        }
        if let Ok(real) = found.canonicalize() {
            found = real;
        }
    }
    found
}

/// RFC 1123, as Kubernetes has it.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// As it may stand in messages and metrics: without user, password and query.
impl fmt::Display for AnchorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Http { url, .. } | Self::Objects(url) => {
                let mut shown = url.clone();
                // A URL with a host takes both.
                let _ = shown.set_username("");
                let _ = shown.set_password(None);
                shown.set_query(None);
                shown.set_fragment(None);
                write!(f, "{shown}")
            }
            Self::ConfigMap { namespace, name } => write!(f, "configmap://{namespace}/{name}"),
            Self::Lease { namespace, name } => write!(f, "lease://{namespace}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_secrets() {
        for (text, shown) in [
            ("a/b.jsonl", "a/b.jsonl"),
            ("file:///a/b", "/a/b"),
            ("https://u:p@h/x?token=1#f", "https://h/x"),
            ("s3://bucket/some/prefix", "s3://bucket/some/prefix"),
            (
                "configmap://portcullis-system/portcullis.checkpoints",
                "configmap://portcullis-system/portcullis.checkpoints",
            ),
            ("lease://a/b", "lease://a/b"),
        ] {
            assert_eq!(AnchorAddress::parse(text).expect("an address").to_string(), shown);
        }
        assert_eq!(AnchorAddress::parse("file:///a/"), Ok(AnchorAddress::Directory("/a/".into())));
        assert!(AnchorAddress::parse("s3://b/p?region=eu-west-1").is_ok());
        for wrong in [
            "s3://b/p?aws_secret_access_key=x",
            "",
            "file://a/b",
            "ftp://a/b",
            "configmap://a",
            "configmap://A/b",
            "lease://a/b/c",
            "http://",
        ] {
            assert!(AnchorAddress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_anchor_in_the_log_is_seen_however_it_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        std::fs::create_dir(&log).expect("made");
        std::os::unix::fs::symlink(&log, dir.path().join("link")).expect("linked");
        for (path, below) in [
            ("log/a", true),
            ("log", true),
            ("x/../log/a", true),
            ("link/a", true),
            ("logs/a", false),
            ("log/../a", false),
            ("a", false),
        ] {
            let address = AnchorAddress::File(dir.path().join(path));
            assert_eq!(address.is_below(&log), below, "{path}");
        }
    }
}
