//! Anchors in the cluster: a ConfigMap with a bounded history, or an annotation of a Lease with the latest. Knows the
//! two objects; each log has a key of its own in them, so replicas do not stand in one another's way.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::causes::chain;
use crate::decisions::SignedCheckpoint;
use crate::decisions::anchor::history::{self, HistoryLine};
use crate::decisions::anchor::{AnchorError, name_of};

/// Before the slash of the annotation.
const DOMAIN: &str = "checkpoint.portcullis.io";

/// Adds a checkpoint to the history in a ConfigMap, which is made if it is not there.
pub(super) async fn config_map(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    signed: &SignedCheckpoint,
    now: Timestamp,
) -> Result<(), AnchorError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let (key, line) = (name_of(&signed.checkpoint.origin), HistoryLine::encode(signed, now));
    let found = api.get_opt(name).await.map_err(fault("read"))?;
    let before = found.as_ref().and_then(|map| map.data.as_ref()?.get(&key)).map_or("", String::as_str);
    let data = json!({ key: history::with(before, &line) });
    if found.is_some() {
        return patch(&api, name, json!({ "data": data })).await;
    }
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    create(&api, name, map, json!({ "data": data })).await
}

/// Writes a checkpoint over the one in a Lease, which is made if it is not there.
pub(super) async fn lease(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    signed: &SignedCheckpoint,
) -> Result<(), AnchorError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let key = format!("{DOMAIN}/{}", name_of(&signed.checkpoint.origin));
    let annotations = json!({ key: signed.note.to_string() });
    let change = json!({"metadata": {"annotations": annotations}});
    if api.get_opt(name).await.map_err(fault("read"))?.is_some() {
        return patch(&api, name, change).await;
    }
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "annotations": annotations}});
    create(&api, name, lease, change).await
}

async fn patch<K>(api: &Api<K>, name: &str, change: serde_json::Value) -> Result<(), AnchorError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    // Only our own key changes, and nobody else writes it.
    let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
    patched.map(drop).map_err(fault("change"))
}

async fn create<K>(
    api: &Api<K>,
    name: &str,
    object: serde_json::Value,
    change: serde_json::Value,
) -> Result<(), AnchorError>
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).map_err(|e| AnchorError(e.to_string()))?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        // Another replica was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => patch(api, name, change).await,
        Err(error) => Err(fault("create")(error)),
    }
}

fn fault(what: &'static str) -> impl Fn(kube::Error) -> AnchorError {
    move |error| match error {
        kube::Error::Api(status) => AnchorError(format!("cannot {what} it: {}", status.message)),
        other => AnchorError(format!("cannot {what} it: {}", chain(&other))),
    }
}
