//! `Produce`.

use kafka_protocol::messages::{ProduceRequest as TheirRequest, ProduceResponse as TheirAnswer};
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::metadata::TopicRef;
use kafka_tower_native::protocol::api::produce::{PartitionBatch, ProduceRequest, ProduceResponse, TopicBatches};
use kafka_tower_native::protocol::uuid::Uuid;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::answers;
use crate::support::{CLIENT, ID, answer, oracle_reads, request, text, versions};

fn all() -> impl Strategy<Value = i16> {
    versions(Api::Produce.versions())
}

proptest! {
    #[test]
    fn requests(
        version in all(),
        transactional_id in option::of(text()),
        acks in -1..2_i16,
        timeout_ms: i32,
        topics in vec((text(), any::<[u8; 16]>(), vec((any::<i32>(), vec(any::<u8>(), 0..300)), 0..4)), 0..4),
    ) {
        let partitions: Vec<Vec<_>> = topics.iter().map(|(_, _, partitions)| {
            partitions.iter().map(|(index, batch)| PartitionBatch { index: *index, len: batch.len() }).collect()
        }).collect();
        let ours: Vec<_> = topics.iter().zip(&partitions).map(|((name, id, _), partitions)| {
            let topic = if version >= 13 { TopicRef::Id(Uuid(*id)) } else { TopicRef::Name(name) };
            TopicBatches { topic, partitions }
        }).collect();
        let batches: Vec<_> = topics.iter().flat_map(|(_, _, partitions)| partitions).map(|(_, batch)| batch.clone()).collect();
        let ours = ProduceRequest { transactional_id: transactional_id.as_deref(), acks, timeout_ms, topics: &ours };
        let theirs: TheirRequest = request(&ours.encode(version, ID, Some(CLIENT)).unwrap(), version, &batches);
        prop_assert_eq!(theirs.transactional_id.as_ref().map(|id| &*id.0), transactional_id.as_deref());
        prop_assert_eq!((theirs.acks, theirs.timeout_ms), (acks, timeout_ms));
        prop_assert_eq!(theirs.topic_data.len(), topics.len());
        for (theirs, (name, id, partitions)) in theirs.topic_data.iter().zip(&topics) {
            let (name, id) = if version >= 13 { ("", *id) } else { (&**name, [0; 16]) };
            prop_assert_eq!((&*theirs.name.0, theirs.topic_id.as_bytes()), (name, &id));
            let theirs = theirs.partition_data.iter().map(|of| (of.index, of.records.as_ref().map(|batch| batch.to_vec())));
            let expected = partitions.iter().map(|(index, batch)| (*index, Some(batch.clone())));
            prop_assert!(theirs.eq(expected));
        }
    }

    #[test]
    fn answers((version, theirs) in all().prop_flat_map(|version| (Just(version), answers::produce(version)))) {
        let frame = answer(&theirs, version);
        prop_assert!(oracle_reads::<TheirAnswer>(&frame, version));
        let ours = ProduceResponse::decode(version, ID, &frame)?;
        prop_assert_eq!(ours.throttle_time_ms, theirs.throttle_time_ms);
        prop_assert_eq!(ours.node_endpoints.len(), theirs.node_endpoints.len());
        for (ours, theirs) in ours.node_endpoints.iter().zip(&theirs.node_endpoints) {
            prop_assert_eq!((ours.node_id, ours.port), (theirs.node_id.0, theirs.port));
            prop_assert_eq!((ours.host, ours.rack), (&*theirs.host, theirs.rack.as_deref()));
        }
        prop_assert_eq!(ours.topics.len(), theirs.responses.len());
        for (ours, theirs) in ours.topics.iter().zip(&theirs.responses) {
            let topic = if version >= 13 { TopicRef::Id(Uuid(*theirs.topic_id.as_bytes())) } else { TopicRef::Name(&theirs.name.0) };
            prop_assert_eq!(ours.topic, topic);
            prop_assert_eq!(ours.partitions.len(), theirs.partition_responses.len());
            for (ours, theirs) in ours.partitions.iter().zip(&theirs.partition_responses) {
                prop_assert_eq!((ours.index, ours.error_code), (theirs.index, theirs.error_code));
                prop_assert_eq!((ours.base_offset, ours.log_append_time_ms), (theirs.base_offset, theirs.log_append_time_ms));
                prop_assert_eq!((ours.log_start_offset, ours.error_message), (theirs.log_start_offset, theirs.error_message.as_deref()));
                let errors: Vec<_> = ours.record_errors.iter().map(|error| (error.batch_index, error.message)).collect();
                let expected = theirs.record_errors.iter().map(|error| (error.batch_index, error.batch_index_error_message.as_deref()));
                prop_assert_eq!(errors, expected.collect::<Vec<_>>());
                let leader = &theirs.current_leader;
                let named = *leader != Default::default();
                let hint = ours.current_leader.map(|hint| (hint.leader_id, hint.leader_epoch));
                prop_assert_eq!(hint, named.then_some((leader.leader_id.0, leader.leader_epoch)));
            }
        }
    }
}

/// A request without batches has no gap, and one with two has them at their places.
#[test]
fn batches_are_not_copied() {
    let partitions = [PartitionBatch { index: 0, len: 1 << 20 }, PartitionBatch { index: 1, len: 1 << 20 }];
    let topics = [TopicBatches { topic: TopicRef::Name("t"), partitions: &partitions }];
    let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topics: &topics };
    let frame = request.encode(12, ID, Some(CLIENT)).unwrap();
    assert!(frame.len() > 2 << 20 && frame.len() < (2 << 20) + 100);
}
