//! A bundle as an artifact in a registry (OCI distribution specification 1.1), as OPA and conftest push them.
//! Digests of manifests and layers are checked by the client, against one another and against the one in the address.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::{Client, Reference};
use tokio::io::AsyncWrite;

use crate::causes::chain;
use crate::source::bundle::{self, MAX_ARCHIVE_BYTES};
use crate::source::remote::{Answer, CONNECT_PATIENCE, Held, RemoteOptions, auth, is_loopback, settle_cryptography};

/// Layers that are a whole bundle: what `opa build` makes and `oras push` or `policy push` sends.
const BUNDLE: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.cncf.openpolicyagent.bundle.layer.v1.tar+gzip",
];

/// Layers that are one file each, named by their title: what `conftest push` sends.
const FILE: [&str; 3] = [
    "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego",
    "application/vnd.cncf.openpolicyagent.data.layer.v1+json",
    "application/vnd.cncf.openpolicyagent.manifest.layer.v1+json",
];

const TITLE: &str = "org.opencontainers.image.title";

/// Files that an artifact may have as layers.
const MAX_LAYERS: usize = 1024;

/// A connection that is silent for so long is given up.
const READ_PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn pull(address: &str, has: Option<&str>, options: &RemoteOptions) -> Result<Answer, String> {
    let reference: Reference = address.parse().map_err(|e| format!("is not a reference to an artifact: {e}"))?;
    let client = client(&reference, options)?;
    let who = auth::registry(reference.registry())?;
    let fault = |e: oci_client::errors::OciDistributionError| chain(&e);
    let digest = client.fetch_manifest_digest(&reference, &who).await.map_err(fault)?;
    if has == Some(digest.as_str()) {
        return Ok(Answer::Unchanged);
    }
    // By its digest: the tag may move on while we read.
    let pinned = reference.clone_with_digest(digest.clone());
    let manifest = match client.pull_manifest(&pinned, &who).await.map_err(fault)? {
        (OciManifest::Image(manifest), _) => manifest,
        (OciManifest::ImageIndex(_), _) => {
            return Err("it is an index of several artifacts; name one of them".to_owned());
        }
    };
    let bytes = match layers(&manifest)? {
        Layers::Bundle(layer) => fetch(&client, &pinned, layer, MAX_ARCHIVE_BYTES).await?,
        Layers::Files(files) => {
            let mut content = BTreeMap::new();
            let mut room = MAX_ARCHIVE_BYTES;
            for (path, layer) in files {
                let bytes = fetch(&client, &pinned, layer, room).await?;
                room -= bytes.len();
                content.insert(path, bytes);
            }
            bundle::pack(&content).map_err(|e| format!("its files do not make a bundle: {e}"))?
        }
    };
    Ok(Answer::New(Held { bytes: bytes.into(), version: digest }))
}

fn client(reference: &Reference, options: &RemoteOptions) -> Result<Client, String> {
    settle_cryptography();
    let host = reference.registry().rsplit_once(':').map_or(reference.registry(), |(host, _)| host);
    let in_the_clear = options.plain_http || (is_loopback(host) && options.ca.is_none());
    let mut config = ClientConfig {
        protocol: if in_the_clear {
            ClientProtocol::HttpsExcept(vec![reference.resolve_registry().to_owned()])
        } else {
            ClientProtocol::Https
        },
        connect_timeout: Some(CONNECT_PATIENCE),
        read_timeout: Some(READ_PATIENCE),
        user_agent: concat!("portcullis/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    if let Some(path) = &options.ca {
        let data = std::fs::read(path).map_err(|e| format!("--bundle-ca: cannot read `{}`: {e}", path.display()))?;
        config.tls_certs_only = vec![Certificate { encoding: CertificateEncoding::Pem, data }];
    }
    Client::try_from(config).map_err(|e| chain(&e))
}

enum Layers<'m> {
    Bundle(&'m OciDescriptor),
    Files(Vec<(String, &'m OciDescriptor)>),
}

fn layers(manifest: &OciImageManifest) -> Result<Layers<'_>, String> {
    let of = |types: [&'static str; 3]| manifest.layers.iter().filter(move |l| types.contains(&l.media_type.as_str()));
    match of(BUNDLE).collect::<Vec<_>>().as_slice() {
        [] => {}
        [only] => return Ok(Layers::Bundle(only)),
        more => return Err(format!("it has {} bundles as layers; one is expected", more.len())),
    }
    let mut files = Vec::new();
    for layer in of(FILE) {
        let title = layer.annotations.as_ref().and_then(|a| a.get(TITLE));
        let title = title.ok_or_else(|| format!("its layer {} has no title to be named by", layer.digest))?;
        let name = title.rsplit('/').next().unwrap_or(title);
        if layer.media_type.contains(".data.") && !["data.json", "data.yaml"].contains(&name) {
            return Err(format!("its data file `{title}` would not be read; a bundle's data is named `data.json`"));
        }
        files.push((title.trim_start_matches('/').to_owned(), layer));
    }
    match files.len() {
        0 => {
            let found: Vec<&str> = manifest.layers.iter().map(|l| l.media_type.as_str()).collect();
            Err(format!("it holds no bundle: its layers are {found:?}"))
        }
        1..=MAX_LAYERS => Ok(Layers::Files(files)),
        more => Err(format!("it has {more} layers; at most {MAX_LAYERS} are read")),
    }
}

async fn fetch(client: &Client, from: &Reference, layer: &OciDescriptor, room: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Bounded { bytes: Vec::new(), room };
    client.pull_blob(from, layer, &mut bytes).await.map_err(|e| chain(&e))?;
    Ok(bytes.bytes)
}

/// Memory that takes so much and no more.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, chunk: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() + chunk.len() > self.room {
            let message = format!("the artifact has more than {MAX_ARCHIVE_BYTES} bytes");
            return Poll::Ready(Err(io::Error::other(message)));
        }
        self.bytes.extend_from_slice(chunk);
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::AsyncWriteExt as _;

    fn found(layers_of_it: &[(&str, Option<&str>)]) -> Result<usize, String> {
        let layer = |(kind, title): &(&str, Option<&str>)| {
            let annotations = title.map(|t| json!({TITLE: t})).unwrap_or_default();
            json!({"mediaType": kind, "digest": "sha256:0", "size": 1, "annotations": annotations})
        };
        let layers_json: Vec<_> = layers_of_it.iter().map(layer).collect();
        let manifest =
            json!({"schemaVersion": 2, "config": {"mediaType": "", "digest": "", "size": 0}, "layers": layers_json});
        let manifest: OciImageManifest = serde_json::from_value(manifest).expect("a manifest");
        layers(&manifest).map(|found| match found {
            Layers::Bundle(_) => 0,
            Layers::Files(files) => files.len(),
        })
    }

    #[test]
    fn an_artifact_is_one_bundle_or_files() {
        assert_eq!(found(&[("application/octet-stream", None), (BUNDLE[0], None)]), Ok(0));
        assert_eq!(found(&[(FILE[0], Some("p.rego")), (FILE[1], Some("a/data.json"))]), Ok(2));
        for (layers, wanted) in [
            (&[(BUNDLE[0], None), (BUNDLE[1], None)][..], "2 bundles as layers"),
            (&[(FILE[0], None)], "has no title"),
            (&[(FILE[1], Some("values.json"))], "would not be read"),
            (&[("application/vnd.oci.image.layer.v1.tar", None)], "it holds no bundle"),
            (&[], "it holds no bundle"),
        ] {
            let error = found(layers).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let mut bounded = Bounded { bytes: Vec::new(), room: 3 };
        bounded.write_all(b"abc").await.expect("fits");
        let error = bounded.write_all(b"d").await.expect_err("is full").to_string();
        assert!(error.contains("more than"), "{error}");
    }
}
