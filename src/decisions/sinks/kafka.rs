//! A topic of Apache Kafka, with the feature `kafka`. A message a record; its key is the decision's id, so that what is
//! sent twice is seen to be the same. Each log has its partition, so its records stay in their order.

use std::collections::BTreeMap;

use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;

use super::{Event, Failure, Reason, SinkSpec};
use crate::policy::Digest;

/// A topic that is written to.
pub(super) struct Topic {
    brokers: Vec<String>,
    topic: String,
    spec: SinkSpec,
    client: Option<(Client, Vec<i32>)>,
    partitions: BTreeMap<i32, PartitionClient>,
}

impl Topic {
    pub(super) fn new(spec: &SinkSpec, brokers: &[String], topic: &str) -> Self {
        let (brokers, topic) = (brokers.to_vec(), topic.to_owned());
        Self { brokers, topic, spec: spec.clone(), client: None, partitions: BTreeMap::new() }
    }

    /// Sends all, or none that counts.
    pub(super) async fn send(&mut self, events: &[Event]) -> Result<(), Failure> {
        let sent = self.produce(events).await;
        if sent.is_err() {
            // The leader may have moved: ask anew.
            self.client = None;
            self.partitions.clear();
        }
        sent
    }

    async fn produce(&mut self, events: &[Event]) -> Result<(), Failure> {
        let fault = |e: rskafka::client::error::Error| Failure::new(Reason::Network, e.to_string());
        let Some(first) = events.first() else { return Ok(()) };
        let partition = self.partition_of(&first.record.head.origin).await?;
        let records = events.iter().filter_map(|e| {
            let value = self.spec.format.write(e)?.into_bytes();
            let key = e.decision.as_ref().map(|d| d.decision_id.clone().into_bytes());
            let headers = BTreeMap::from([("leaf".to_owned(), e.leaf().into_bytes())]);
            let seconds = e.record.head.timestamp.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
            let timestamp = chrono::DateTime::from_timestamp_millis(seconds).unwrap_or_default();
            Some(Record { key, value: Some(value), headers, timestamp })
        });
        let records: Vec<Record> = records.collect();
        if records.is_empty() {
            return Ok(());
        }
        let Some(client) = self.partitions.get(&partition) else { return Ok(()) };
        client.produce(records, Compression::NoCompression).await.map(drop).map_err(fault)
    }

    /// The partition of a log, with a client for it.
    async fn partition_of(&mut self, origin: &str) -> Result<i32, Failure> {
        let fault = |e: rskafka::client::error::Error| Failure::new(Reason::Network, e.to_string());
        if self.client.is_none() {
            let client = ClientBuilder::new(self.brokers.clone()).build().await.map_err(fault)?;
            let topics = client.list_topics().await.map_err(fault)?;
            let found = topics.into_iter().find(|t| t.name == self.topic);
            let found =
                found.ok_or_else(|| Failure::new(Reason::Refused, format!("there is no topic `{}`", self.topic)))?;
            self.client = Some((client, found.partitions.into_iter().collect()));
        }
        let Some((client, all)) = &self.client else { return Ok(0) };
        let digest = Digest::of(origin.as_bytes());
        let drawn = digest.as_bytes().first().copied().map_or(0, usize::from);
        let partition = all.get(drawn % all.len().max(1)).copied().unwrap_or_default();
        if !self.partitions.contains_key(&partition) {
            let opened = client.partition_client(self.topic.clone(), partition, UnknownTopicHandling::Error);
            self.partitions.insert(partition, opened.await.map_err(fault)?);
        }
        Ok(partition)
    }
}
