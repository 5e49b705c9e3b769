//! `Metadata`: brokers, topics and leaders. With faults, what a broker knows may be old or incomplete.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::cluster::{PORT, State, Topic};
use super::codes::{LEADER_NOT_AVAILABLE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION};
use super::faults::{Kind, Place};

/// How much a broker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    All,
    /// The leaders before the last move.
    Old,
    NoLeaders,
    NoTopics,
}

/// Answers with what the broker knows.
pub(crate) fn metadata(state: &mut State, at: Place, version: i16, request: &MetadataRequest) -> MetadataResponse {
    let knows = if state.faults.happens(Kind::NoLeaders, at) {
        if state.faults.choose(Kind::NoLeaders, at, 0, 2) == 0 { Knows::NoLeaders } else { Knows::NoTopics }
    } else if state.faults.happens(Kind::OldMetadata, at) {
        Knows::Old
    } else {
        Knows::All
    };
    let live = state.live();
    let broker = |id: &i32| {
        let host = StrBytes::from_string(format!("broker-{id}"));
        MetadataResponseBroker::default().with_node_id(BrokerId(*id)).with_host(host).with_port(i32::from(PORT))
    };
    let topics = match &request.topics {
        // Before version 1 an empty list asks for all topics.
        Some(topics) if version >= 1 || !topics.is_empty() => {
            topics.iter().map(|wanted| one(state, &live, knows, version, wanted)).collect()
        }
        _ => state.topics.values().map(|topic| described(topic, &live, knows, version)).collect(),
    };
    let answer = MetadataResponse::default().with_brokers(live.iter().map(broker).collect()).with_topics(topics);
    answer
        .with_cluster_id(Some(StrBytes::from_static_str("wire")))
        .with_controller_id(BrokerId(live.first().copied().unwrap_or(-1)))
}

fn one(
    state: &State,
    live: &[i32],
    knows: Knows,
    version: i16,
    wanted: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let mut topics = state.topics.values().filter(|topic| topic.missing_until <= Instant::now());
    let found = match &wanted.name {
        Some(name) => topics.find(|topic| topic.name() == name.as_str()),
        None => topics.find(|topic| topic.id == wanted.topic_id),
    };
    match found.filter(|_| knows != Knows::NoTopics) {
        Some(topic) => described(topic, live, knows, version),
        None if wanted.name.is_some() => {
            let answer = MetadataResponseTopic::default().with_error_code(UNKNOWN_TOPIC_OR_PARTITION);
            answer.with_name(wanted.name.clone())
        }
        None => {
            let answer = MetadataResponseTopic::default().with_error_code(UNKNOWN_TOPIC_ID);
            let answer = answer.with_topic_id(wanted.topic_id);
            // Before version 12 a name cannot be null.
            if version >= 12 { answer.with_name(None) } else { answer.with_name(Some(TopicName::default())) }
        }
    }
}

fn described(topic: &Topic, live: &[i32], knows: Knows, version: i16) -> MetadataResponseTopic {
    let brokers: Vec<_> = live.iter().map(|id| BrokerId(*id)).collect();
    let partition = |(index, of): (i32, &super::cluster::Partition)| {
        let answer = MetadataResponsePartition::default().with_partition_index(index);
        let answer = answer.with_replica_nodes(brokers.clone()).with_isr_nodes(brokers.clone());
        let (leader, epoch) = if knows == Knows::Old { of.before } else { (of.leader, of.epoch) };
        let answer = answer.with_leader_epoch(epoch);
        if knows == Knows::NoLeaders || !live.contains(&leader) {
            return answer.with_error_code(LEADER_NOT_AVAILABLE).with_leader_id(BrokerId(-1));
        }
        answer.with_leader_id(BrokerId(leader))
    };
    let mut partitions: Vec<_> = (0..).zip(&topic.partitions).map(partition).collect();
    // In no particular order.
    partitions.reverse();
    let answer = MetadataResponseTopic::default().with_partitions(partitions);
    let answer = answer.with_name(Some(TopicName(StrBytes::from_static_str(topic.name()))));
    if version >= 10 { answer.with_topic_id(topic.id) } else { answer }
}
