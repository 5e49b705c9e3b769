//! The transport's own lower layers against the cluster: handshake, metadata, producer ids and batches.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower_core::Record;
use kafka_tower_native::compress::Codec;
use kafka_tower_native::net::calls::Calls;
use kafka_tower_native::net::connection::{Event, Request};
use kafka_tower_native::net::handshake::{Connected, Introduction, shake_hands};
use kafka_tower_native::net::in_flight::RequestId;
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use kafka_tower_native::protocol::api::metadata::{MetadataRequest, MetadataResponse, TopicRef};
use kafka_tower_native::protocol::api::produce::{PartitionBatch, ProduceRequest, ProduceResponse, TopicBatches};
use kafka_tower_native::protocol::uuid::Uuid;
use kafka_tower_native::protocol::writer::Frame;
use kafka_tower_native::record_batch::builder::BatchBuilder;
use kafka_tower_native::record_batch::header::Stamp;
use kafka_tower_native::record_batch::record::RecordParts;
use kafka_tower_native::record_batch::sealed::SealedBatch;
use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::{TOPIC, cluster, numbers};
use crate::batch::value;
use crate::cluster::{Cluster, TopicConfig, Versions};
use crate::faults::Faults;

const TIMEOUT: Duration = Duration::from_secs(30);

async fn open(cluster: &Cluster, broker: i32) -> Connected<DuplexStream> {
    let host = format!("broker-{broker}");
    let stream = cluster.connect(&host, 9092).await.expect("a connection");
    let introduction = Introduction { client_id: Some("tests".into()), software: ("kafka-tower-native", "0.1.0") };
    shake_hands(stream, host.into(), &introduction, Instant::now() + TIMEOUT).await.expect("an answer")
}

/// Sends a request and returns the answer's frame and correlation id.
async fn call<T>(
    calls: &mut Calls<DuplexStream>,
    of: (Api, i16),
    encode: impl FnOnce(i32) -> Frame,
    decode: impl FnOnce(i32, &[u8]) -> T,
) -> T {
    let answer = calls.call(of, TIMEOUT, |id| Ok(encode(id))).await.expect("an answer");
    decode(answer.id.correlation_id, &answer.frame)
}

#[tokio::test(start_paused = true)]
async fn the_newest_common_version_is_agreed() {
    let newest =
        [(Versions::Kafka43, [13, 13, 5], 2), (Versions::Kafka39, [11, 12, 5], 0), (Versions::Kafka25, [8, 9, 3], 0)];
    for (versions, [produce, metadata, init], transactions) in newest {
        let cluster = Cluster::new(1, versions, &[TopicConfig::new(TOPIC, 1)], Faults::none(0));
        let broker = open(&cluster, 0).await.broker;
        let newest = [Api::Produce, Api::Metadata, Api::InitProducerId].map(|api| broker.versions.newest(api).unwrap());
        assert_eq!(newest, [produce, metadata, init]);
        assert_eq!(broker.transaction_version, transactions);
        assert_eq!(cluster.complaints(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_of_all_versions() {
    let cluster = cluster(3, Faults::none(0));
    cluster.move_leader(TOPIC, 1, 0);
    let mut calls = open(&cluster, 1).await.calls;
    for version in 7..=13 {
        let wanted = [TopicRef::Name(TOPIC), TopicRef::Name("none")];
        let request = MetadataRequest { topics: Some(&wanted), allow_auto_topic_creation: false };
        let encode = |id| request.encode(version, id, None).unwrap();
        let id = call(&mut calls, (Api::Metadata, version), encode, |id, frame| {
            let answer = MetadataResponse::decode(version, id, frame).unwrap();
            let hosts: Vec<_> = answer.brokers.iter().map(|broker| (broker.node_id, broker.host)).collect();
            assert_eq!(hosts, [(0, "broker-0"), (1, "broker-1"), (2, "broker-2")]);
            assert_eq!((answer.topics[1].error_code, answer.topics[1].name), (3, Some("none")));
            let topic = &answer.topics[0];
            let mut leaders: Vec<_> =
                topic.partitions.iter().map(|of| (of.index, of.leader_id, of.leader_epoch)).collect();
            leaders.sort_unstable();
            assert_eq!(leaders, [(0, 0, 0), (1, 0, 1), (2, 2, 0)]);
            assert_eq!(topic.id == Uuid::ZERO, version < 10);
            topic.id
        });
        let id = id.await;
        if version < 12 {
            continue;
        }
        let wanted = [TopicRef::Id(id), TopicRef::Id(Uuid::ZERO)];
        let request = MetadataRequest { topics: Some(&wanted), allow_auto_topic_creation: false };
        let encode = |id| request.encode(version, id, None).unwrap();
        call(&mut calls, (Api::Metadata, version), encode, |id, frame| {
            let answer = MetadataResponse::decode(version, id, frame).unwrap();
            let topics: Vec<_> = answer.topics.iter().map(|topic| (topic.error_code, topic.name)).collect();
            assert_eq!(topics, [(0, Some(TOPIC)), (100, None)]);
        })
        .await;
    }
    assert_eq!(cluster.complaints(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn each_producer_has_its_own_id() {
    let cluster = cluster(1, Faults::none(0));
    let mut calls = open(&cluster, 0).await.calls;
    let mut ids = Vec::new();
    for version in Api::InitProducerId.versions() {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 1,
            producer_id: -1,
            producer_epoch: -1,
        };
        let encode = |id| request.encode(version, id, None).unwrap();
        let decode = |id, frame: &[u8]| InitProducerIdResponse::decode(version, id, frame).unwrap();
        let answer = call(&mut calls, (Api::InitProducerId, version), encode, decode).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        ids.push(answer.producer_id);
    }
    let before = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), before);
}

fn sealed(number: u64, codec: Codec) -> SealedBatch {
    let mut builder = BatchBuilder::new(vec![0; 4_096]);
    let record = Record::new(TOPIC).with_value(value(number, 1_000));
    builder.append(&RecordParts::new(&record, 1_700_000_000_000)).expect("there is room");
    builder.seal(Stamp::NONE, false, codec, Vec::new()).expect("it has a record")
}

#[tokio::test(start_paused = true)]
async fn batches_of_all_versions_and_codecs() {
    let cluster = cluster(1, Faults::none(0));
    let mut connection = open(&cluster, 0).await.calls.into_connection();
    let topic_id = Uuid(cluster.state().topics[TOPIC].id.into_bytes());
    let mut number = 0;
    for version in Api::Produce.versions() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4].into_iter().filter(|codec| codec.is_built())
        {
            let batch = sealed(number, codec);
            let bytes = Bytes::copy_from_slice(batch.bytes());
            assert_eq!(bytes.len() < 500, codec != Codec::None, "{codec:?}: {}", bytes.len());
            let partitions = [PartitionBatch { index: 0, len: bytes.len() }];
            let topic = if version >= 13 { TopicRef::Id(topic_id) } else { TopicRef::Name(TOPIC) };
            let topics = [TopicBatches { topic, partitions: &partitions }];
            let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 1_000, topics: &topics };
            let id = RequestId { api: Api::Produce, version, correlation_id: connection.next_id() };
            let frame = request.encode(version, id.correlation_id, None).unwrap();
            let chunks = frame.into_chunks(&[bytes]).unwrap();
            connection.send(Request { id, chunks, expects_answer: true, timeout: TIMEOUT, what: () }).unwrap();
            let event = poll_fn(|cx| connection.poll(cx)).await;
            let Event::Answered((), answer) = event else { panic!("{event:?}") };
            let answer = ProduceResponse::decode(version, id.correlation_id, &answer.frame).unwrap();
            let partition = &answer.topics[0].partitions[0];
            assert_eq!((partition.error_code, answer.topics[0].topic), (0, topic));
            assert_eq!(partition.base_offset, i64::try_from(number).unwrap());
            number += 1;
        }
    }
    assert_eq!(numbers(&cluster, 0), (0..number).collect::<Vec<_>>());
    assert_eq!(cluster.complaints(), [""; 0]);
}
