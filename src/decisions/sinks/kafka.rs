//! A topic of Apache Kafka, with the feature `kafka`. A message a record; its key is the decision's id, so that what is
//! sent twice is seen to be the same. Each log has its partition, so its records stay in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::ConfigVerifierExt as _;

use super::chunks::Chunks;
use super::{Event, Failure, Format, Reason, Sent, SinkSpec};
use crate::causes::chain;
use crate::decisions::web::settle_cryptography;
use crate::policy::Digest;

/// From the beginning of a request to its answer, with what the client repeats by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A topic that is written to.
pub(super) struct Topic {
    chunks: Chunks,
    way: Way,
}

struct Way {
    brokers: Vec<String>,
    topic: String,
    tls: bool,
    spec: SinkSpec,
    /// The partition of the log with this origin.
    partition: Option<(String, PartitionClient)>,
}

impl Topic {
    pub(super) fn new(spec: &SinkSpec, brokers: &[String], topic: &str, tls: bool) -> Result<Self, String> {
        let (brokers, topic) = (brokers.to_vec(), topic.to_owned());
        let way = Way { brokers, topic, tls, spec: spec.clone(), partition: None };
        // What is wrong with it is said at the start.
        way.tls_config()?;
        Ok(Self { chunks: Chunks::of(usize::MAX), way })
    }

    /// Sends all, in batches that the broker takes.
    pub(super) async fn send(&mut self, events: &[Event]) -> Sent {
        let Self { chunks, way } = self;
        let sent = chunks.send(events, async |piece| way.produce(piece).await).await;
        if sent.failure.is_some() {
            // The leader may have moved, a password may be new: ask anew.
            self.way.partition = None;
        }
        sent
    }
}

impl Way {
    async fn produce(&mut self, events: &[Event]) -> Result<u64, Failure> {
        let Some(first) = events.first() else { return Ok(0) };
        let records: Vec<Record> = events.iter().filter_map(|e| self.record(e)).collect();
        if records.is_empty() {
            return Ok(0);
        }
        let origin = &first.record.head.origin;
        let client = match self.partition.take() {
            Some((of, client)) if of == *origin => client,
            _ => in_time(self.partition_of(origin)).await?,
        };
        let (_, client) = self.partition.insert((origin.clone(), client));
        let sending = client.produce(records, Compression::NoCompression);
        in_time(async { sending.await.map(|_| 0).map_err(|e| failure(&e)) }).await
    }

    fn record(&self, event: &Event) -> Option<Record> {
        let value = self.spec.format.write(event)?.into_bytes();
        let key = event.decision.as_ref().map(|d| d.decision_id.clone().into_bytes());
        let mut headers = BTreeMap::from([("leaf".to_owned(), event.leaf().into_bytes())]);
        if self.spec.format == Format::CloudEvents {
            // Structured mode (CloudEvents, Kafka protocol binding 1.0, section 3.3).
            headers.insert("content-type".to_owned(), b"application/cloudevents+json; charset=UTF-8".to_vec());
        }
        let millis = event.record.head.timestamp.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        let timestamp = chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default();
        Some(Record { key, value: Some(value), headers, timestamp })
    }

    /// A client for the partition of a log.
    async fn partition_of(&self, origin: &str) -> Result<PartitionClient, Failure> {
        let local = |e: String| Failure::new(Reason::Local, e);
        // The client tries for ever without a deadline, and nobody would hear of it.
        let backoff = BackoffConfig { deadline: Some(PATIENCE / 4), ..BackoffConfig::default() };
        let mut builder = ClientBuilder::new(self.brokers.clone()).client_id("portcullis").backoff_config(backoff);
        if let Some(config) = self.tls_config().map_err(local)? {
            builder = builder.tls_config(config);
        }
        if let Some(credentials) = self.credentials().map_err(local)? {
            builder = builder.sasl_config(SaslConfig::ScramSha512(credentials));
        }
        let client = builder.build().await.map_err(|e| failure(&e))?;
        let topics = client.list_topics().await.map_err(|e| failure(&e))?;
        let found = topics.into_iter().find(|t| t.name == self.topic);
        let found =
            found.ok_or_else(|| Failure::new(Reason::Refused, format!("there is no topic `{}`", self.topic)))?;
        let partitions: Vec<i32> = found.partitions.into_iter().collect();
        let drawn = Digest::of(origin.as_bytes()).as_bytes().first().copied().map_or(0, usize::from);
        let partition = partitions.get(drawn % partitions.len().max(1)).copied().unwrap_or_default();
        let client = client.partition_client(self.topic.clone(), partition, UnknownTopicHandling::Error);
        client.await.map_err(|e| failure(&e))
    }

    /// With the authorities of `ca`, else with the system's; `None` without TLS.
    fn tls_config(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        if !self.tls {
            return if self.spec.ca.is_none() { Ok(None) } else { Err("`ca` is for kafka+tls://".to_owned()) };
        }
        settle_cryptography();
        let Some(path) = &self.spec.ca else {
            return ClientConfig::with_platform_verifier().map(|c| Some(Arc::new(c))).map_err(|e| chain(&e));
        };
        let pem = std::fs::read(path).map_err(|e| format!("`ca`: cannot read `{}`: {e}", path.display()))?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(format!("`ca`: there is no certificate in `{}`", path.display()));
        }
        Ok(Some(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())))
    }

    /// `user:password`, read anew for each connection: passwords change.
    fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Some(path) = &self.spec.token_file else { return Ok(None) };
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("tokenFile: cannot read `{}`: {e}", path.display()))?;
        let (user, password) = text
            .trim_end_matches(['\r', '\n'])
            .split_once(':')
            .ok_or_else(|| format!("tokenFile: `{}` must hold user:password", path.display()))?;
        Ok(Some(Credentials::new(user.to_owned(), password.to_owned())))
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.unwrap_or_else(|_| Err(Failure::new(Reason::Network, format!("no answer within {PATIENCE:?}"))))
}

fn failure(error: &Error) -> Failure {
    let text = chain(error);
    let reason = match error {
        Error::ServerError { protocol_error, .. } => match protocol_error {
            ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge => Reason::TooLarge,
            ProtocolError::TopicAuthorizationFailed | ProtocolError::ClusterAuthorizationFailed => Reason::Denied,
            ProtocolError::UnknownTopicOrPartition => Reason::Refused,
            _ => Reason::Server,
        },
        // The client has no type for it that we could ask for.
        _ if text.contains("SaslAuthenticationFailed") => Reason::Denied,
        _ => Reason::Network,
    };
    Failure::new(reason, text)
}
