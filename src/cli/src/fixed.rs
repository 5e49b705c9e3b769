//! Reading all partitions of topics without joining a group: nothing is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_tower::layers::deserialize::BytesDeserializer;
use kafka_tower::source::{Checkpoint, SourceBuilder};
use kafka_tower::{CommitStrategy, KafkaSource, KafkaSourceConfig, OutOfRangePolicy, StartFrom, TopicPartition};

use crate::exit::Failure;

/// The group of sources that join none: brokers are asked for it, and nothing is committed.
const GROUP: &str = "kafka-tower-cli";

/// The offsets of a partition's log: its first, and that of its next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// What the group has committed.
    pub(crate) committed: Option<i64>,
}

/// The logs of partitions.
pub(crate) type Logs = BTreeMap<TopicPartition, Range>;

/// Whether everything before an offset of a partition was read.
pub(crate) fn has_passed(next: &Checkpoint, at: &TopicPartition, end: i64) -> bool {
    next.get(&at.topic, at.partition).is_some_and(|next| next >= end)
}

/// A source whose messages are bytes.
pub(crate) fn of_bytes(config: KafkaSourceConfig) -> SourceBuilder<Bytes, BytesDeserializer> {
    KafkaSource::builder(config).deserializer(Arc::new(BytesDeserializer)).lenient_content_type(true)
}

/// Asks for the logs of the topics.
pub(crate) async fn logs(config: &KafkaSourceConfig) -> Result<Logs, Failure> {
    let report = of_bytes(config.clone()).preflight().await;
    if let Some(error) = report.error {
        return Err(error.into());
    }
    config.validate()?;
    let problems = report.problems.join("; ");
    match report.inspection {
        Some(found) if problems.is_empty() => {
            let committed = found.committed?;
            let range = |at: &TopicPartition, start, end| Range { start, end, committed: committed.get(at).copied() };
            Ok(found.logs.iter().map(|(at, log)| (at.clone(), range(at, log.start, log.end))).collect())
        }
        _ => {
            Err(Failure::other(problems, "correct what is named; `kafka-tower check --group NAME` has all the details"))
        }
    }
}

/// Settings for reading without a group: what a member would commit does not matter.
pub(crate) fn without_group(config: KafkaSourceConfig) -> KafkaSourceConfig {
    let group_id = if config.group_id.is_empty() { GROUP.to_owned() } else { config.group_id };
    KafkaSourceConfig {
        group_id,
        commit: CommitStrategy::Automatic,
        commit_every: None,
        group_instance_id: None,
        ..config
    }
}

/// Reads these partitions, each from an offset; without one as `start` says.
pub(crate) async fn read(
    config: KafkaSourceConfig,
    begins: BTreeMap<TopicPartition, Option<i64>>,
) -> Result<KafkaSource<Bytes>, Failure> {
    let config = KafkaSourceConfig {
        assign: begins.keys().cloned().collect(),
        topics: Vec::new(),
        topic_pattern: None,
        commit: CommitStrategy::Checkpoint,
        on_out_of_range: Some(match config.start {
            StartFrom::Latest => OutOfRangePolicy::Latest,
            _ => OutOfRangePolicy::Earliest,
        }),
        ..config
    };
    let begin =
        move |at: TopicPartition| std::future::ready(Ok::<_, std::io::Error>(begins.get(&at).copied().flatten()));
    Ok(of_bytes(config).start_at(begin).build().await?)
}
