//! Anchors in object storage: an object a checkpoint, `<prefix>/<log>/<size>.checkpoint`. Nothing that was put is ever
//! written over, so a bucket with object lock or versioning keeps what even its writer cannot take back.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::causes::chain;
use crate::decisions::SignedCheckpoint;
use crate::decisions::anchor::{AnchorError, files, name_of, note_name};
use crate::decisions::web::settle_cryptography;

pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    pub(super) fn open(url: &Url) -> Result<Self, AnchorError> {
        settle_cryptography();
        // Credentials come from the environment, as those libraries have it (`AWS_...`, `GOOGLE_...`, `AZURE_...`).
        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(url, environment).map_err(|e| AnchorError(chain(&e)))?;
        Ok(Self { store: Arc::from(store), prefix })
    }

    pub(super) async fn put(&self, signed: &SignedCheckpoint) -> Result<(), AnchorError> {
        let name = name_of(&signed.checkpoint.origin);
        let path = self.prefix.clone().join(name).join(note_name(signed.checkpoint.size));
        let payload = || PutPayload::from(signed.note.to_string());
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, payload(), create).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) => self.is_same(&path, signed).await,
            // A store without conditional writes: look first.
            Err(Error::NotImplemented { .. }) => match self.store.head(&path).await {
                Ok(_) => self.is_same(&path, signed).await,
                Err(Error::NotFound { .. }) => {
                    self.store.put(&path, payload()).await.map(drop).map_err(|e| AnchorError(chain(&e)))
                }
                Err(error) => Err(AnchorError(chain(&error))),
            },
            Err(error) => Err(AnchorError(chain(&error))),
        }
    }

    async fn is_same(&self, path: &Path, signed: &SignedCheckpoint) -> Result<(), AnchorError> {
        let fault = |e: Error| AnchorError(chain(&e));
        let bytes = self.store.get(path).await.map_err(fault)?.bytes().await.map_err(fault)?;
        files::same(&String::from_utf8_lossy(&bytes), signed, path.as_ref())
    }
}
