//! Anchors in object storage: an object a checkpoint, `<prefix>/<log>/<size>.checkpoint`. Nothing that was put is ever
//! written over, so a bucket with object lock or versioning keeps what even its writer cannot take back.

use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::causes::chain;
use crate::decisions::SignedCheckpoint;
use crate::decisions::anchor::{AnchorError, files, name_of, note_name};
use crate::decisions::bucket::Bucket;

pub(super) struct Objects(Bucket);

impl Objects {
    pub(super) fn open(url: &Url) -> Result<Self, AnchorError> {
        Ok(Self(Bucket::open(url)?))
    }

    pub(super) async fn put(&self, signed: &SignedCheckpoint) -> Result<(), AnchorError> {
        let name = name_of(&signed.checkpoint.origin);
        let path = self.0.prefix.clone().join(name).join(note_name(signed.checkpoint.size));
        let payload = || PutPayload::from(signed.note.to_string());
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.0.store.put_opts(&path, payload(), create).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) => self.is_same(&path, signed).await,
            // A store without conditional writes: look first.
            Err(Error::NotImplemented { .. }) => match self.0.store.head(&path).await {
                Ok(_) => self.is_same(&path, signed).await,
                Err(Error::NotFound { .. }) => {
                    self.0.store.put(&path, payload()).await.map(drop).map_err(|e| AnchorError(chain(&e)))
                }
                Err(error) => Err(AnchorError(chain(&error))),
            },
            Err(error) => Err(AnchorError(chain(&error))),
        }
    }

    async fn is_same(&self, path: &Path, signed: &SignedCheckpoint) -> Result<(), AnchorError> {
        let fault = |e: Error| AnchorError(chain(&e));
        let bytes = self.0.store.get(path).await.map_err(fault)?.bytes().await.map_err(fault)?;
        files::same(&String::from_utf8_lossy(&bytes), signed, path.as_ref())
    }
}
