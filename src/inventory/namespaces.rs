//! Namespace metadata by name. The watch runs in one task; readers share its store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use serde_json::Value;

use crate::causes::chain;
use crate::engine::{NamespaceMetadata, Namespaces};
use crate::inventory::InventoryError;

type Metadata = PartialObjectMeta<Namespace>;

/// The namespaces of the connected cluster.
#[derive(Clone)]
pub struct ClusterNamespaces {
    client: Client,
    store: Store<Metadata>,
    heard: Arc<Heard>,
}

/// When the API server was last heard.
#[derive(Default)]
struct Heard {
    /// All namespaces were seen once.
    synced: AtomicBool,
    /// Milliseconds after `started`.
    last: AtomicU64,
    started: OnceLock<Instant>,
}

impl Heard {
    fn now(&self) {
        let millis = self.started.get_or_init(Instant::now).elapsed().as_millis();
        self.last.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl ClusterNamespaces {
    /// Starts the watch in a task of its own, which ends with the runtime.
    ///
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn watch(client: Client) -> Self {
        let (reader, writer) = store();
        let heard = Arc::new(Heard::default());
        heard.now();
        let api: Api<Metadata> = Api::all(client.clone());
        let events = reflector(writer, watcher(api, watcher::Config::default()).default_backoff());
        tokio::spawn(follow(events, Arc::clone(&heard)));
        Self { client, store: reader, heard }
    }

    /// Whether all namespaces were seen once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.heard.synced.load(Ordering::Acquire)
    }

    /// Time since the watch last brought something. In a quiet cluster that is long and no harm: a lost watch shows
    /// in the messages, and a namespace that is not there is read live.
    #[must_use]
    pub fn age(&self) -> Duration {
        let since_start = self.heard.started.get().map(Instant::elapsed).unwrap_or_default();
        since_start.saturating_sub(Duration::from_millis(self.heard.last.load(Ordering::Relaxed)))
    }

    /// Reads one namespace from the API server; `None` when there is none of this name.
    ///
    /// # Errors
    /// The API server cannot be asked, or not before `deadline`.
    pub async fn read(&self, name: &str, deadline: Instant) -> Result<Option<NamespaceMetadata>, InventoryError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = tokio::time::timeout_at(deadline.into(), api.get_metadata_opt(name))
            .await
            .map_err(|_| InventoryError::Timeout)??;
        Ok(found.map(|object| metadata_of(&object)))
    }
}

impl Namespaces for ClusterNamespaces {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        self.store.get(&ObjectRef::new(name)).map(|object| metadata_of(&object))
    }
}

/// One namespace that was read live, over a view that does not have it yet.
pub struct Overlay {
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: NamespaceMetadata,
    /// The view.
    pub below: Arc<dyn Namespaces>,
}

impl Namespaces for Overlay {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        if name == self.name { Some(Arc::clone(&self.metadata)) } else { self.below.metadata(name) }
    }
}

/// Follows the watch for ever: an error is a warning and the next attempt, never the end.
async fn follow<S>(events: S, heard: Arc<Heard>)
where
    S: Stream<Item = Result<watcher::Event<Metadata>, watcher::Error>>,
{
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                heard.now();
                if matches!(event, watcher::Event::InitDone) {
                    heard.synced.store(true, Ordering::Release);
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "watching namespaces failed; trying again"),
        }
    }
    tracing::error!("the watch of namespaces ended");
}

/// `metadata` as the API server writes it. Managed fields are noise to policies and records.
fn metadata_of(object: &Metadata) -> NamespaceMetadata {
    let mut metadata = serde_json::to_value(&object.metadata).unwrap_or(Value::Null);
    if let Some(fields) = metadata.as_object_mut() {
        fields.remove("managedFields");
    }
    Arc::new(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn namespace(name: &str, tenant: &str) -> Metadata {
        PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([("tenant".to_owned(), tenant.to_owned())].into()),
                managed_fields: Some(Vec::new()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        }
    }

    #[tokio::test]
    async fn a_failed_watch_goes_on_and_keeps_what_it_knew() {
        let (reader, writer) = store();
        let heard = Arc::new(Heard::default());
        let events = futures::stream::iter(vec![
            Ok(watcher::Event::Init),
            Ok(watcher::Event::InitApply(namespace("a", "one"))),
            Ok(watcher::Event::InitDone),
            Err(watcher::Error::NoResourceVersion),
            Ok(watcher::Event::Apply(namespace("b", "two"))),
        ]);
        follow(reflector(writer, events), Arc::clone(&heard)).await;
        assert!(heard.synced.load(Ordering::Acquire));
        for (name, tenant) in [("a", "one"), ("b", "two")] {
            let found = reader.get(&ObjectRef::new(name)).map(|o| metadata_of(&o)).expect("is known");
            assert_eq!(*found, serde_json::json!({"name": name, "labels": {"tenant": tenant}}));
        }
    }

    /// An API server that knows one namespace and never answers a watch.
    fn client(answers_after: Duration) -> Client {
        let service = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| async move {
            let path = request.uri().path().to_owned();
            let accept = request.headers().get("accept").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            tokio::time::sleep(answers_after).await;
            let (status, body) = match path.strip_prefix("/api/v1/namespaces/") {
                // Only metadata is asked for.
                Some("fresh") if accept.contains("as=PartialObjectMetadata") => (
                    200,
                    serde_json::json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                        "metadata": {"name": "fresh", "labels": {"tenant": "one"}, "managedFields": [{"manager": "x"}]}}),
                ),
                Some("broken") => (500, serde_json::json!({"message": "no"})),
                Some(_) => (
                    404,
                    serde_json::json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound",
                        "message": "not found", "code": 404}),
                ),
                None => std::future::pending().await,
            };
            let mut response = axum::http::Response::new(axum::body::Body::from(body.to_string()));
            *response.status_mut() = axum::http::StatusCode::from_u16(status).expect("a status");
            Ok::<_, std::convert::Infallible>(response)
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_miss_is_read_live_and_told_apart_from_a_failure() {
        let soon = || Instant::now() + Duration::from_secs(5);
        let namespaces = ClusterNamespaces::watch(client(Duration::ZERO));
        assert!(!namespaces.synced() && namespaces.metadata("fresh").is_none());
        let fresh = namespaces.read("fresh", soon()).await.expect("answers").expect("is there");
        assert_eq!(*fresh, serde_json::json!({"name": "fresh", "labels": {"tenant": "one"}}));
        assert!(namespaces.read("absent", soon()).await.expect("answers").is_none());
        assert!(namespaces.read("broken", soon()).await.is_err(), "an error is not an absence");
        let slow = ClusterNamespaces::watch(client(Duration::from_secs(60)));
        let start = Instant::now();
        let late = slow.read("fresh", start + Duration::from_millis(50)).await;
        assert!(matches!(late, Err(InventoryError::Timeout)) && start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_overlay_hides_nothing_else() {
        let below: std::collections::BTreeMap<String, NamespaceMetadata> =
            [("a".to_owned(), Arc::new(serde_json::json!({"name": "a"})))].into();
        let live = Arc::new(serde_json::json!({"name": "b"}));
        let view = Overlay { name: "b".to_owned(), metadata: live, below: Arc::new(below) };
        assert!(view.metadata("a").is_some() && view.metadata("b").is_some() && view.metadata("c").is_none());
    }
}
