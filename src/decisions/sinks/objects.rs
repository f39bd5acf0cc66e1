//! Columns in object storage. Knows names of objects; how a place is opened is `bucket`'s business.

use futures::StreamExt as _;
use object_store::{ObjectStoreExt as _, PutPayload};
use url::Url;

use super::{Event, Failure, Reason, SinkSpec, parquet};
use crate::causes::chain;
use crate::decisions::bucket::Bucket;
use crate::policy::Digest;

/// A place that holds records as Parquet.
pub(in crate::decisions) struct Objects(Bucket);

impl Objects {
    /// Opens the place; nothing is sent yet.
    pub(in crate::decisions) fn open(url: &Url) -> Result<Self, String> {
        Bucket::open(url).map(Self)
    }

    /// Writes these records, all of one hour and one log, as one object. Sent again it has the same name and content.
    pub(super) async fn put(&self, _: &SinkSpec, events: &[Event]) -> Result<(), Failure> {
        let Some(name) = name(events) else { return Ok(()) };
        let bytes = parquet::write(events).map_err(|e| Failure::new(Reason::Local, e.to_string()))?;
        let path = name.split('/').fold(self.0.prefix.clone(), object_store::path::Path::join);
        let put = self.0.store.put(&path, PutPayload::from(bytes)).await;
        put.map(drop).map_err(|e| {
            let reason = match &e {
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    Reason::Denied
                }
                object_store::Error::NotFound { .. } => Reason::Refused,
                _ => Reason::Network,
            };
            Failure::new(reason, chain(&e))
        })
    }

    /// Calls `each` with the name and the content of every object below the prefix.
    pub(in crate::decisions) async fn each(
        &self,
        mut each: impl FnMut(&str, bytes::Bytes) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut listed = self.0.store.list(Some(&self.0.prefix));
        let mut paths = Vec::new();
        while let Some(found) = listed.next().await {
            paths.push(found.map_err(|e| chain(&e))?.location);
        }
        paths.sort();
        for path in paths {
            let object = self.0.store.get(&path).await.map_err(|e| chain(&e))?;
            each(path.as_ref(), object.bytes().await.map_err(|e| chain(&e))?)?;
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
