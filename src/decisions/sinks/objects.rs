//! Object storage: S3 and what speaks like it, Google Cloud Storage, Azure, a local directory. Knows names of objects;
//! credentials are the business of `object_store`, which takes them from the environment (EKS Pod Identity and IRSA
//! included).

use std::sync::Arc;

use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use url::Url;

use super::{Event, Failure, Reason, SinkSpec, parquet};
use crate::policy::Digest;

/// A bucket, or a directory, and what all names begin with.
pub(in crate::decisions) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    /// Opens the place; nothing is sent yet.
    pub(in crate::decisions) fn open(url: &Url) -> Result<Self, String> {
        // Somebody else may have settled it, with the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if url.scheme() == "file"
            && let Ok(path) = url.to_file_path()
        {
            std::fs::create_dir_all(&path).map_err(|e| format!("cannot make `{}`: {e}", path.display()))?;
        }
        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let query = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned()));
        let mut bare = url.clone();
        bare.set_query(None);
        let options: Vec<(String, String)> = environment.chain(query).collect();
        let (store, prefix) = object_store::parse_url_opts(&bare, options).map_err(|e| e.to_string())?;
        Ok(Self { store: Arc::from(store), prefix })
    }

    /// Writes these records, all of one hour and one log, as one object. Sent again it has the same name and content.
    pub(super) async fn put(&self, _: &SinkSpec, events: &[Event]) -> Result<(), Failure> {
        let Some(name) = name(events) else { return Ok(()) };
        let bytes = parquet::write(events).map_err(|e| Failure::new(Reason::Local, e.to_string()))?;
        let path = name.split('/').fold(self.prefix.clone(), object_store::path::Path::join);
        let put = self.store.put(&path, PutPayload::from(bytes)).await;
        put.map(drop).map_err(|e| {
            let reason = match &e {
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    Reason::Denied
                }
                object_store::Error::NotFound { .. } => Reason::Refused,
                _ => Reason::Network,
            };
            Failure::new(reason, e.to_string())
        })
    }

    /// Calls `each` with the name and the content of every object below the prefix.
    pub(in crate::decisions) async fn each(
        &self,
        mut each: impl FnMut(&str, bytes::Bytes) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut listed = self.store.list(Some(&self.prefix));
        let mut paths = Vec::new();
        while let Some(found) = listed.next().await {
            paths.push(found.map_err(|e| e.to_string())?.location);
        }
        paths.sort();
        for path in paths {
            let object = self.store.get(&path).await.map_err(|e| e.to_string())?;
            each(path.as_ref(), object.bytes().await.map_err(|e| e.to_string())?)?;
        }
        Ok(())
    }
}

/// `cluster=<c>/date=<d>/hour=<h>/<log>-<first>-<last>.parquet`.
fn name(events: &[Event]) -> Option<String> {
    let (first, last) = (events.first()?, events.last()?);
    let head = &first.record.head;
    let (date, hour) = (head.timestamp.get(..10)?, head.timestamp.get(11..13)?);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let cluster: String = head.labels.cluster.chars().map(plain).collect();
    let origin: String = head.origin.chars().map(plain).collect();
    // Two origins that look alike are two logs.
    let digest = Digest::of(head.origin.as_bytes()).hex();
    let digest = digest.get(..8).unwrap_or_default();
    let cluster = if cluster.is_empty() { "_" } else { &cluster };
    Some(format!(
        "cluster={cluster}/date={date}/hour={hour}/{origin}.{digest}-{:020}-{:020}.parquet",
        first.seq(),
        last.seq()
    ))
}
