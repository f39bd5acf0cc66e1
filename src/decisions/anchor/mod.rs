//! Anchors: places outside the log where signed checkpoints are put, so that a log that was changed afterwards no
//! longer agrees with them. Knows how each kind of place keeps a checkpoint and its predecessors; must not know when
//! it is time to put one, nor how a log is checked.
//!
//! What is put is the signed note, whole: whoever has it needs the verifier key and nothing else of us.

mod address;
mod cluster;
mod files;
mod history;
mod http;
mod objects;

use jiff::Timestamp;

pub use address::{AnchorAddress, HttpMethod, is_below};
pub(super) use history::HistoryLine;

use crate::decisions::SignedCheckpoint;
use crate::policy::Digest;
use crate::tlog::{Checkpoint, Note};

/// Why a checkpoint was not put, for the person who runs the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AnchorError(pub(super) String);

impl From<String> for AnchorError {
    fn from(message: String) -> Self {
        Self(message)
    }
}

/// A place that checkpoints can be put in.
pub struct AnchorStore {
    address: AnchorAddress,
    way: Way,
}

enum Way {
    Files,
    Http(http::Endpoint),
    Objects(objects::Objects),
    Cluster(kube::Client),
}

impl AnchorStore {
    /// The place of an address; `cluster` is asked for where the address is in the cluster. Nothing is sent yet.
    ///
    /// # Errors
    /// What the address needs and is not there.
    pub fn open(address: &AnchorAddress, cluster: Option<&kube::Client>) -> Result<Self, AnchorError> {
        let way = match address {
            AnchorAddress::File(_) | AnchorAddress::Directory(_) => Way::Files,
            AnchorAddress::Http { url, method, token_file } => {
                Way::Http(http::Endpoint::new(url.clone(), *method, token_file.clone())?)
            }
            AnchorAddress::Objects(url) => Way::Objects(objects::Objects::open(url)?),
            AnchorAddress::ConfigMap { .. } | AnchorAddress::Lease { .. } => {
                let client = cluster.ok_or_else(|| "needs a cluster: no kubeconfig is given".to_owned())?;
                Way::Cluster(client.clone())
            }
        };
        Ok(Self { address: address.clone(), way })
    }

    /// Its address, for messages.
    #[must_use]
    pub fn address(&self) -> &AnchorAddress {
        &self.address
    }

    /// Puts a checkpoint there, beside those that were put before.
    ///
    /// # Errors
    /// What the place said.
    pub async fn put(&self, signed: &SignedCheckpoint, now: Timestamp) -> Result<(), AnchorError> {
        match (&self.way, &self.address) {
            (Way::Files, AnchorAddress::File(path)) => {
                let (path, signed) = (path.clone(), signed.clone());
                aside(move || files::append(&path, &signed, now)).await
            }
            (Way::Files, AnchorAddress::Directory(path)) => {
                let (path, signed) = (path.clone(), signed.clone());
                aside(move || files::add(&path, &signed)).await
            }
            (Way::Http(endpoint), _) => endpoint.send(signed).await,
            (Way::Objects(objects), _) => objects.put(signed).await,
            (Way::Cluster(client), AnchorAddress::ConfigMap { namespace, name }) => {
                cluster::config_map(client, namespace, name, signed, now).await
            }
            (Way::Cluster(client), AnchorAddress::Lease { namespace, name }) => {
                cluster::lease(client, namespace, name, signed).await
            }
            (Way::Files | Way::Cluster(_), _) => Err(AnchorError("is no such place".to_owned())),
        }
    }
}

/// Files are written on a thread of their own: nothing waits for the disk here.
async fn aside(work: impl FnOnce() -> Result<(), AnchorError> + Send + 'static) -> Result<(), AnchorError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(AnchorError(e.to_string())))
}

/// Characters of an origin that stand in a name made of it.
const READABLE: usize = 48;

/// The origin as a name that files, objects, ConfigMaps and annotations take (at most 63 of `[a-z0-9.-]`), which no
/// other origin has: what can be kept of it, and eight digits of its digest.
pub(super) fn name_of(origin: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '.' };
    let readable: String = origin.chars().take(READABLE).map(plain).collect();
    let digest: String = Digest::of(origin.as_bytes()).hex().chars().take(8).collect();
    format!("{}.{digest}", readable.trim_matches('.'))
}

/// That what is there, checkpoints one over another, leads to what is to be put: a log that was cut back or changed must
/// not write over what shows it. Texts that are no checkpoints say nothing.
fn leads(there: impl IntoIterator<Item = impl AsRef<str>>, signed: &Checkpoint, key: &str) -> Result<(), AnchorError> {
    let read = |text: &str| Checkpoint::parse(&Note::parse(text).ok()?.text).ok().filter(|c| c.origin == signed.origin);
    let found = there.into_iter().filter_map(|text| read(text.as_ref()));
    let against = found.filter(|c| c.size > signed.size || (c.size == signed.size && c.root != signed.root));
    let Some(largest) = against.max_by_key(|c| c.size) else { return Ok(()) };
    let what = if largest.size > signed.size {
        format!("a checkpoint of {} records, and the log has {}", largest.size, signed.size)
    } else {
        format!("another checkpoint of {} records", largest.size)
    };
    Err(AnchorError(format!(
        "`{key}` in it holds {what}: the log was changed or cut back, see `portcullis decisions verify --checkpoint`; if it \
         was begun anew on purpose, keep a copy and remove `{key}`"
    )))
}

/// The name of the file or object of a checkpoint of so many records.
fn note_name(size: u64) -> String {
    format!("{size:020}.checkpoint")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_origins_are_plain_and_differ() {
        let name = name_of("portcullis/prod/portcullis-0");
        assert!(name.starts_with("portcullis.prod.portcullis.0."), "{name}");
        assert_ne!(name_of("a/b"), name_of("a.b"));
        let long = name_of(&"X".repeat(500));
        assert!(long.len() <= 63 && long.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.'));
    }
}
