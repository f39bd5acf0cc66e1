//! The cluster as seen from here: a reflector of Namespace metadata, and a live read where it misses.
//!
//! Knows the Kubernetes client. Must not know policies, reviews or HTTP servers. Readers get a view that never
//! waits; one bad object or a lost connection never stops the watch.

mod error;
mod namespaces;

pub use error::InventoryError;
pub use namespaces::{ClusterNamespaces, Overlay};

use std::path::Path;

/// Connects with the current context of a kubeconfig. No request is made yet.
///
/// # Errors
/// What is wrong with the file.
pub async fn from_kubeconfig(path: &Path) -> Result<kube::Client, InventoryError> {
    let fault = |source: kube::config::KubeconfigError| InventoryError::Kubeconfig { path: path.to_owned(), source };
    let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(fault)?;
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(fault)?;
    Ok(kube::Client::try_from(config)?)
}

/// Connects with the service account of the Pod we run in. No request is made yet.
///
/// # Errors
/// What is missing.
pub fn in_cluster() -> Result<kube::Client, InventoryError> {
    let config = kube::Config::incluster().map_err(InventoryError::InCluster)?;
    Ok(kube::Client::try_from(config)?)
}
