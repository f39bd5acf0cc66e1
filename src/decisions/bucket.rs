//! Object storage: S3 and what speaks like it, Google Cloud Storage, Azure, a local directory. Knows how a place is
//! opened; must not know what is put there.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::causes::chain;
use crate::decisions::web::settle_cryptography;

/// A bucket, or a directory, and what all names in it begin with.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
}

impl Bucket {
    /// Opens the place; nothing is sent yet. Credentials come from the environment, as the libraries of those services
    /// have them (`AWS_..`, with EKS Pod Identity and IRSA, `GOOGLE_..`, `AZURE_..`); what the URL's query says of the
    /// place, such as `?region=eu-central-1` or `?endpoint=https://..`, comes before the environment.
    pub(super) fn open(url: &Url) -> Result<Self, String> {
        settle_cryptography();
        if url.scheme() == "file"
            && let Ok(path) = url.to_file_path()
        {
            std::fs::create_dir_all(&path).map_err(|e| format!("cannot make `{}`: {e}", path.display()))?;
        }
        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let query = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned()));
        let options: Vec<(String, String)> = environment.chain(query).collect();
        let mut bare = url.clone();
        bare.set_query(None);
        let (store, prefix) = object_store::parse_url_opts(&bare, options).map_err(|e| chain(&e))?;
        Ok(Self { store: Arc::from(store), prefix })
    }
}

/// Whether a URL's query holds credentials: they would be shown where URLs are. They belong into the environment.
pub(super) fn has_credentials(url: &Url) -> bool {
    const SECRETS: [&str; 5] = ["secret", "token", "password", "access_key", "sas"];
    url.query_pairs().any(|(key, _)| {
        let key = key.to_ascii_lowercase();
        SECRETS.iter().any(|s| key.contains(s))
    })
}
