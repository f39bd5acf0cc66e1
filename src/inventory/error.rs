//! What can be wrong with reaching the cluster.

use std::path::PathBuf;

/// Why the cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file of `--kubeconfig`.
    #[error("--kubeconfig: `{path}` cannot be used")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// The Pod's service account is not mounted.
    #[error("the Pod's service account cannot be used")]
    InCluster(#[source] kube::config::InClusterError),
    /// The client cannot be set up, or the API server refused a read.
    #[error("the API server cannot be asked")]
    Client(#[from] kube::Error),
    /// A read took too long.
    #[error("the API server did not answer in time")]
    Timeout,
}
