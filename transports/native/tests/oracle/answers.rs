//! Answers with random contents, in the oracle's types.

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProduceResponse, ProducerId, TopicName,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::support::{name, since, tags, text};

pub(crate) fn api_versions(version: i16) -> impl Strategy<Value = ApiVersionsResponse> {
    let api = (any::<[i16; 3]>(), tags()).prop_map(|([key, min, max], tags)| {
        let api = ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max);
        api.with_unknown_tagged_fields(tags)
    });
    let supported = (text(), any::<[i16; 2]>()).prop_map(|(name, [min, max])| {
        SupportedFeatureKey::default().with_name(name).with_min_version(min).with_max_version(max)
    });
    let finalized = (text(), any::<[i16; 2]>(), tags()).prop_map(|(name, [min, max], tags)| {
        let feature = FinalizedFeatureKey::default().with_name(name).with_unknown_tagged_fields(tags);
        feature.with_min_version_level(min).with_max_version_level(max)
    });
    let features = (vec(supported, 0..3), any::<i64>(), vec(finalized, 0..3), any::<bool>());
    // Not 35: such an answer would have version 0.
    let code = any::<i16>().prop_filter("35", |code| *code != 35);
    (code, vec(api, 0..5), any::<i32>(), features, tags()).prop_map(move |(code, apis, throttle, features, tags)| {
        let (supported, epoch, finalized, ready) = features;
        let mut answer = ApiVersionsResponse::default().with_error_code(code).with_api_keys(apis);
        if version >= 1 {
            answer = answer.with_throttle_time_ms(throttle);
        }
        if version >= 3 {
            answer = answer.with_supported_features(supported).with_finalized_features_epoch(epoch);
            answer = answer.with_finalized_features(finalized).with_zk_migration_ready(ready);
            answer = answer.with_unknown_tagged_fields(tags);
        }
        answer
    })
}

pub(crate) fn init_producer_id() -> impl Strategy<Value = InitProducerIdResponse> {
    (any::<i32>(), any::<i16>(), any::<i64>(), any::<i16>(), tags()).prop_map(|(throttle, code, id, epoch, tags)| {
        let answer = InitProducerIdResponse::default().with_throttle_time_ms(throttle).with_error_code(code);
        answer.with_producer_id(ProducerId(id)).with_producer_epoch(epoch).with_unknown_tagged_fields(tags)
    })
}

pub(crate) fn metadata(version: i16) -> impl Strategy<Value = MetadataResponse> {
    let nodes = || vec(any::<i32>().prop_map(BrokerId), 0..4);
    let broker = (any::<[i32; 2]>(), text(), option::of(text()), tags()).prop_map(|([id, port], host, rack, tags)| {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host).with_port(port);
        broker.with_rack(rack).with_unknown_tagged_fields(tags)
    });
    let partition = (any::<i16>(), any::<[i32; 3]>(), [nodes(), nodes(), nodes()], tags()).prop_map(
        |(code, [index, leader, epoch], [replicas, in_sync, offline], tags)| {
            let partition = MetadataResponsePartition::default().with_error_code(code).with_partition_index(index);
            let partition = partition.with_leader_id(BrokerId(leader)).with_leader_epoch(epoch);
            let partition = partition.with_replica_nodes(replicas).with_isr_nodes(in_sync);
            partition.with_offline_replicas(offline).with_unknown_tagged_fields(tags)
        },
    );
    let topic =
        (any::<i16>(), option::of(text()), any::<u128>(), any::<bool>(), vec(partition, 0..4), any::<i32>(), tags());
    let topic = topic.prop_map(move |(code, name, id, internal, partitions, operations, tags)| {
        let name = if version >= 12 { name } else { name.or(Some("none".into())) };
        let topic = MetadataResponseTopic::default().with_error_code(code).with_name(name.map(TopicName));
        let topic = topic.with_topic_id(Uuid::from_u128(since(version, 10, id))).with_is_internal(internal);
        let topic = topic.with_partitions(partitions).with_unknown_tagged_fields(tags);
        if version >= 8 { topic.with_topic_authorized_operations(operations) } else { topic }
    });
    let whole = (any::<[i32; 3]>(), vec(broker, 0..4), option::of(text()), vec(topic, 0..4), any::<i16>(), tags());
    whole.prop_map(move |([throttle, controller, operations], brokers, cluster, topics, code, tags)| {
        let answer = MetadataResponse::default().with_throttle_time_ms(throttle).with_brokers(brokers);
        let answer = answer.with_cluster_id(cluster).with_controller_id(BrokerId(controller)).with_topics(topics);
        let answer = answer.with_error_code(since(version, 13, code)).with_unknown_tagged_fields(tags);
        let has_operations = (8..=10).contains(&version);
        if has_operations { answer.with_cluster_authorized_operations(operations) } else { answer }
    })
}

pub(crate) fn produce(version: i16) -> impl Strategy<Value = ProduceResponse> {
    let error = (any::<i32>(), option::of(text()), tags()).prop_map(|(index, message, tags)| {
        let error = BatchIndexAndErrorMessage::default().with_batch_index(index);
        error.with_batch_index_error_message(message).with_unknown_tagged_fields(tags)
    });
    let leader = (any::<[i32; 2]>(), tags()).prop_map(|([id, epoch], tags)| {
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(id)).with_leader_epoch(epoch);
        leader.with_unknown_tagged_fields(tags)
    });
    let said = (vec(error, 0..4), option::of(text()), option::of(leader));
    let partition = (any::<i32>(), any::<i16>(), any::<[i64; 3]>(), said, tags());
    let partition = partition.prop_map(move |(index, code, [offset, time, start], (errors, message, leader), tags)| {
        let partition = PartitionProduceResponse::default().with_index(index).with_error_code(code);
        let partition = partition.with_base_offset(offset).with_log_append_time_ms(time).with_log_start_offset(start);
        let partition = partition.with_record_errors(since(version, 8, errors)).with_unknown_tagged_fields(tags);
        let partition = partition.with_error_message(since(version, 8, message));
        // Without a leader the oracle writes no field.
        partition.with_current_leader(since(version, 10, leader).unwrap_or_default())
    });
    let topic = (name(), any::<u128>(), vec(partition, 1..4), tags()).prop_map(move |(name, id, partitions, tags)| {
        let topic =
            TopicProduceResponse::default().with_partition_responses(partitions).with_unknown_tagged_fields(tags);
        if version >= 13 { topic.with_topic_id(Uuid::from_u128(id)) } else { topic.with_name(TopicName(name)) }
    });
    let endpoint =
        (any::<[i32; 2]>(), text(), option::of(text()), tags()).prop_map(|([id, port], host, rack, tags)| {
            let endpoint = NodeEndpoint::default().with_node_id(BrokerId(id)).with_host(host).with_port(port);
            endpoint.with_rack(rack).with_unknown_tagged_fields(tags)
        });
    (vec(topic, 0..4), any::<i32>(), vec(endpoint, 0..3), tags()).prop_map(
        move |(topics, throttle, endpoints, tags)| {
            let answer = ProduceResponse::default().with_responses(topics).with_throttle_time_ms(throttle);
            answer.with_node_endpoints(since(version, 10, endpoints)).with_unknown_tagged_fields(tags)
        },
    )
}
