//! Object storage: S3 and what speaks like it, Google Cloud Storage, Azure, a local directory. Knows how a place is
//! opened; must not know what is put there.

use std::ffi::OsString;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
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
            let prefix = Path::from_absolute_path(&path).map_err(|e| chain(&e))?;
            // What was put must be there after a loss of power: a sink does not put it again.
            return Ok(Self { store: Arc::new(LocalFileSystem::new().with_fsync(true)), prefix });
        }
        // What is no Unicode is no setting of theirs.
        let unicode = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let environment = std::env::vars_os().filter_map(unicode).filter(|(name, _)| concerns(url.scheme(), name));
        let environment = environment.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let query = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned()));
        let options: Vec<(String, String)> = environment.chain(query).collect();
        let mut bare = url.clone();
        bare.set_query(None);
        let (store, prefix) = object_store::parse_url_opts(&bare, options).map_err(|e| chain(&e))?;
        Ok(Self { store: Arc::from(store), prefix })
    }
}

/// Whether a variable of the environment is meant for a service. The library also knows short names, such as `TOKEN`,
/// which are other programs' here.
fn concerns(scheme: &str, name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    match scheme {
        "s3" | "s3a" => name.starts_with("AWS_"),
        "gs" => name.starts_with("GOOGLE_"),
        // Managed identities.
        _ => name.starts_with("AZURE_") || ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"].contains(&name.as_str()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_others_is_not_taken() {
        assert!(concerns("s3", "AWS_REGION") && concerns("gs", "GOOGLE_BUCKET") && concerns("az", "AZURE_CLIENT_ID"));
        for (scheme, name) in
            [("s3", "TOKEN"), ("s3", "ENDPOINT"), ("s3", "GOOGLE_X"), ("gs", "AWS_REGION"), ("az", "AWS_REGION")]
        {
            assert!(!concerns(scheme, name), "{scheme} {name}");
        }
    }
}
