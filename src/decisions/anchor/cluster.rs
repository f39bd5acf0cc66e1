//! Anchors in the cluster: a ConfigMap with a bounded history, or an annotation of a Lease with the latest. Knows the
//! two objects; each log has a key of its own in them, so replicas do not stand in one another's way.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::causes::chain;
use crate::decisions::SignedCheckpoint;
use crate::decisions::anchor::history::{self, HistoryLine};
use crate::decisions::anchor::{AnchorError, leads, name_of};

/// Before the slash of the annotation.
const DOMAIN: &str = "checkpoint.portcullis.io";
/// Times that an object is read and changed, when others change it meanwhile: replicas share it.
const TRIES: usize = 8;

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
    put(&api, name, json!({"apiVersion": "v1", "kind": "ConfigMap"}), |found| {
        let before = found.and_then(|map| map.data.as_ref()?.get(&key)).map_or("", String::as_str);
        leads(before.lines().filter_map(HistoryLine::parse).map(|line| line.note), &signed.checkpoint, &key)?;
        Ok(json!({ "data": { &key: history::with(before, &line) } }))
    })
    .await
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
    put(&api, name, json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}), |found| {
        leads(found.and_then(|lease| lease.annotations().get(&key)), &signed.checkpoint, &key)?;
        Ok(json!({ "metadata": { "annotations": { &key: signed.note.to_string() } } }))
    })
    .await
}

/// Reads the object, asks what is to change, and changes it if it is still the same; makes it if it is not there.
async fn put<K>(
    api: &Api<K>,
    name: &str,
    empty: Value,
    change: impl Fn(Option<&K>) -> Result<Value, AnchorError>,
) -> Result<(), AnchorError>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    for _ in 0..TRIES {
        let found = api.get_opt(name).await.map_err(|e| fault("read", &e))?;
        let mut wanted = change(found.as_ref())?;
        let (what, done) = match found {
            Some(object) => {
                if let Some(version) = object.resource_version() {
                    set(&mut wanted, "resourceVersion", version);
                }
                ("change", api.patch(name, &PatchParams::default(), &Patch::Merge(wanted)).await)
            }
            None => {
                set(&mut wanted, "name", name.to_owned());
                if let (Some(wanted), Some(empty)) = (wanted.as_object_mut(), empty.as_object()) {
                    wanted.extend(empty.clone());
                }
                let object: K = serde_json::from_value(wanted).map_err(|e| AnchorError(e.to_string()))?;
                ("create", api.create(&PostParams::default(), &object).await)
            }
        };
        match done {
            Ok(_) => return Ok(()),
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(fault(what, &error)),
        }
    }
    Err(AnchorError("cannot change it: others change it all the time".to_owned()))
}

/// Sets a text in the metadata of an object or a change.
fn set(object: &mut Value, member: &str, text: String) {
    let Some(object) = object.as_object_mut() else { return };
    if let Some(metadata) = object.entry("metadata").or_insert_with(|| json!({})).as_object_mut() {
        metadata.insert(member.to_owned(), Value::String(text));
    }
}

fn fault(what: &'static str, error: &kube::Error) -> AnchorError {
    match error {
        kube::Error::Api(status) => AnchorError(format!("cannot {what} it: {}", status.message)),
        other => AnchorError(format!("cannot {what} it: {}", chain(other))),
    }
}
