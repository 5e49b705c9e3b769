//! `Metadata`.

use kafka_protocol::messages::{BrokerId, MetadataRequest as TheirRequest, MetadataResponse as TheirAnswer};
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::metadata::{MetadataRequest, MetadataResponse, TopicRef};
use kafka_tower_native::protocol::i32_array::I32Array;
use kafka_tower_native::protocol::uuid::Uuid;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::answers;
use crate::support::{CLIENT, ID, answer, oracle_reads, request, text, versions};

fn all() -> impl Strategy<Value = i16> {
    versions(Api::Metadata.versions())
}

proptest! {
    #[test]
    fn requests(version in all(), names in option::of(vec((text(), any::<bool>(), any::<[u8; 16]>()), 0..4)), create: bool) {
        // By id only where that is possible.
        let by_id = |by_id: bool| by_id && version >= 12;
        let topics = names.as_ref().map(|names| {
            let topics = names.iter().map(|(name, id_only, id)| {
                if by_id(*id_only) { TopicRef::Id(Uuid(*id)) } else { TopicRef::Name(name) }
            });
            topics.collect::<Vec<_>>()
        });
        let ours = MetadataRequest { topics: topics.as_deref(), allow_auto_topic_creation: create };
        let theirs: TheirRequest = request(&ours.encode(version, ID, Some(CLIENT)).unwrap(), version, &[]);
        prop_assert_eq!(theirs.allow_auto_topic_creation, create);
        prop_assert!(!theirs.include_cluster_authorized_operations && !theirs.include_topic_authorized_operations);
        let theirs = theirs.topics.map(|topics| {
            topics.iter().map(|topic| (topic.name.as_ref().map(|name| name.0.to_string()), *topic.topic_id.as_bytes())).collect::<Vec<_>>()
        });
        let expected = names.as_ref().map(|names| {
            let expected = names.iter().map(|(name, id_only, id)| {
                if by_id(*id_only) { (None, *id) } else { (Some(name.to_string()), [0; 16]) }
            });
            expected.collect::<Vec<_>>()
        });
        prop_assert_eq!(theirs, expected);
    }

    #[test]
    fn answers((version, theirs) in all().prop_flat_map(|version| (Just(version), answers::metadata(version)))) {
        let frame = answer(&theirs, version);
        prop_assert!(oracle_reads::<TheirAnswer>(&frame, version));
        let ours = MetadataResponse::decode(version, ID, &frame)?;
        prop_assert_eq!((ours.throttle_time_ms, ours.error_code), (theirs.throttle_time_ms, theirs.error_code));
        prop_assert_eq!((ours.cluster_id, ours.controller_id), (theirs.cluster_id.as_deref(), theirs.controller_id.0));
        prop_assert_eq!(ours.brokers.len(), theirs.brokers.len());
        for (ours, theirs) in ours.brokers.iter().zip(&theirs.brokers) {
            prop_assert_eq!((ours.node_id, ours.port), (theirs.node_id.0, theirs.port));
            prop_assert_eq!((ours.host, ours.rack), (&*theirs.host, theirs.rack.as_deref()));
        }
        prop_assert_eq!(ours.topics.len(), theirs.topics.len());
        for (ours, theirs) in ours.topics.iter().zip(&theirs.topics) {
            prop_assert_eq!((ours.error_code, ours.is_internal), (theirs.error_code, theirs.is_internal));
            prop_assert_eq!(ours.name, theirs.name.as_ref().map(|name| &*name.0));
            prop_assert_eq!(ours.id, Uuid(*theirs.topic_id.as_bytes()));
            prop_assert_eq!(ours.partitions.len(), theirs.partitions.len());
            for (ours, theirs) in ours.partitions.iter().zip(&theirs.partitions) {
                prop_assert_eq!((ours.error_code, ours.index), (theirs.error_code, theirs.partition_index));
                prop_assert_eq!((ours.leader_id, ours.leader_epoch), (theirs.leader_id.0, theirs.leader_epoch));
                let same = |ours: I32Array<'_>, theirs: &[BrokerId]| {
                    ours.len() == theirs.len() && ours.iter().eq(theirs.iter().map(|id| id.0))
                };
                prop_assert!(same(ours.replicas, &theirs.replica_nodes));
                prop_assert!(same(ours.in_sync, &theirs.isr_nodes));
                prop_assert!(same(ours.offline, &theirs.offline_replicas));
            }
        }
    }
}
