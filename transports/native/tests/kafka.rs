//! A connection to a real Apache Kafka: what a client asks before it can send, one batch, and what an independent reader reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower_native::compress::Codec;
use kafka_tower_native::net::address::{self, Address};
use kafka_tower_native::net::calls::Calls;
use kafka_tower_native::net::connection::{Event, Request};
use kafka_tower_native::net::handshake::{BrokerFacts, Connected, Introduction, connect};
use kafka_tower_native::net::in_flight::RequestId;
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use kafka_tower_native::protocol::api::metadata::{MetadataRequest, MetadataResponse, TopicRef};
use kafka_tower_native::protocol::api::produce::{PartitionBatch, ProduceRequest, ProduceResponse, TopicBatches};
use kafka_tower_native::protocol::uuid::Uuid;
use kafka_tower_native::record_batch::builder::BatchBuilder;
use kafka_tower_native::record_batch::header::Stamp;
use kafka_tower_native::record_batch::record::RecordParts;
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Listener};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(60);
const NOT_COORDINATOR_YET: [i16; 3] = [14, 15, 16];
const NOT_LEADER: i16 = 6;

fn introduction() -> Introduction {
    Introduction { client_id: Some("kafka-tower-tests".into()), software: ("kafka-tower-native", "0.1.0") }
}

async fn open(address: &Address) -> Connected<TcpStream> {
    let connected = connect(address, &introduction(), TIMEOUT).await;
    connected.unwrap_or_else(|error| panic!("{error}; {:?}", error.help()))
}

/// The topic's id, its partitions with their leaders, and the address of each broker.
async fn metadata(calls: &mut Calls<TcpStream>, broker: &BrokerFacts, topic: &str) -> (Uuid, Vec<(i32, Address)>) {
    let version = broker.versions.newest(Api::Metadata).expect("the broker speaks it");
    let topics = [TopicRef::Name(topic)];
    let request = MetadataRequest { topics: Some(&topics), allow_auto_topic_creation: false };
    let encode = |id| request.encode(version, id, Some("tests"));
    let answer = calls.call((Api::Metadata, version), TIMEOUT, encode).await.expect("an answer");
    let decoded =
        MetadataResponse::decode(version, answer.id.correlation_id, &answer.frame).expect("an answer that can be read");
    let [found] = &decoded.topics[..] else { panic!("{decoded:?}") };
    assert_eq!((found.error_code, found.name), (0, Some(topic)), "{decoded:?}");
    let leader = |id| decoded.brokers.iter().find(|broker| broker.node_id == id).expect("a leader among the brokers");
    let partitions = found.partitions.iter().map(|partition| {
        let leader = leader(partition.leader_id);
        (partition.index, Address::advertised(leader.host, leader.port).expect("an address"))
    });
    (found.id, partitions.collect())
}

/// A producer id. A broker that has just started answers for a moment that it does not coordinate.
async fn producer_id(calls: &mut Calls<TcpStream>, broker: &BrokerFacts) -> (i64, i16) {
    let version = broker.versions.newest(Api::InitProducerId).expect("the broker speaks it");
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    loop {
        let encode = |id| request.encode(version, id, Some("tests"));
        let answer = calls.call((Api::InitProducerId, version), TIMEOUT, encode).await.expect("an answer");
        let decoded = InitProducerIdResponse::decode(version, answer.id.correlation_id, &answer.frame)
            .expect("an answer that can be read");
        if !NOT_COORDINATOR_YET.contains(&decoded.error_code) {
            assert_eq!(decoded.error_code, 0);
            return (decoded.producer_id, decoded.producer_epoch);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn batch(stamp: Stamp, values: [&str; 2]) -> Bytes {
    let mut builder = BatchBuilder::new(vec![0; 4096]);
    for value in values {
        let record = RecordParts {
            timestamp: 1_700_000_000_000,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.append(&record).expect("there is room");
    }
    builder.seal(stamp, false, Codec::None, Vec::new()).expect("it has records").bytes().to_vec().into()
}

#[tokio::test]
async fn a_batch_gets_into_the_log() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("native", 3).await.unwrap();

    // What a client asks before it can send.
    let servers = address::parse(kafka.bootstrap()).unwrap();
    let Connected { mut calls, broker } = open(&servers[0]).await;
    let (topic_id, partitions) = metadata(&mut calls, &broker, &topic).await;
    assert_eq!(partitions.len(), 3);
    let (producer_id, producer_epoch) = producer_id(&mut calls, &broker).await;
    assert!(producer_id >= 0 && producer_epoch >= 0);

    // To the leader: one batch alone, as a broker takes any sequence number from a producer that it does not know; then two
    // at a time.
    let (_, leader) = partitions.iter().find(|(index, _)| *index == 2).unwrap();
    let Connected { calls, broker } = open(leader).await;
    let mut connection = calls.into_connection().retype::<i32>().unwrap();
    let version = broker.versions.newest(Api::Produce).unwrap();
    let topic_ref = if version >= 13 { TopicRef::Id(topic_id) } else { TopicRef::Name(&topic) };
    let stamp = |base_sequence| Stamp { producer_id, producer_epoch, base_sequence };
    for batches in [&[(0, ["first", "second"])][..], &[(2, ["third", "fourth"]), (4, ["fifth", "sixth"])]] {
        let mut left = batches.len();
        while left > 0 {
            for (sequence, values) in batches {
                let batch = batch(stamp(*sequence), *values);
                let partition = [PartitionBatch { index: 2, len: batch.len() }];
                let topics = [TopicBatches { topic: topic_ref, partitions: &partition }];
                let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topics: &topics };
                let id = RequestId { api: Api::Produce, version, correlation_id: connection.next_id() };
                let frame = request.encode(version, id.correlation_id, Some("tests")).unwrap();
                let chunks = frame.into_chunks(&[batch]).unwrap();
                connection
                    .send(Request { id, chunks, expects_answer: true, timeout: TIMEOUT, what: *sequence })
                    .unwrap();
            }
            for _ in batches {
                let (sequence, answer) = match std::future::poll_fn(|cx| connection.poll(cx)).await {
                    Event::Answered(sequence, answer) => (sequence, answer),
                    other => panic!("{other:?}"),
                };
                let decoded = ProduceResponse::decode(version, answer.id.correlation_id, &answer.frame).unwrap();
                let partition = &decoded.topics[0].partitions[0];
                // Just after the topic was created: nothing was appended, and the batch is sent again.
                if partition.error_code == NOT_LEADER && sequence == 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                assert_eq!((partition.error_code, partition.index), (0, 2), "{decoded:?}");
                assert_eq!(partition.base_offset, i64::from(sequence), "a record for each sequence number");
                left -= 1;
            }
        }
    }

    let records = kafka.read(&topic).await.unwrap();
    let read: Vec<_> = records.iter().map(|record| (record.partition, record.offset, record.text())).collect();
    let expected = ["first", "second", "third", "fourth", "fifth", "sixth"];
    let expected: Vec<_> = (0..).zip(expected).map(|(offset, text)| (2, offset, text.to_owned())).collect();
    assert_eq!(read, expected);
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"key")));
    assert!(records.iter().all(|record| record.timestamp == Some(1_700_000_000_000)));
}

#[tokio::test]
async fn an_unknown_topic_is_named_by_metadata() {
    let Some(kafka) = cluster::shared().await else { return };
    let servers = address::parse(kafka.bootstrap()).unwrap();
    let Connected { mut calls, broker } = open(&servers[0]).await;
    let version = broker.versions.newest(Api::Metadata).unwrap();
    let topics = [TopicRef::Name("native-nobody-made-it")];
    let request = MetadataRequest { topics: Some(&topics), allow_auto_topic_creation: false };
    let encode = |id| request.encode(version, id, None);
    let answer = calls.call((Api::Metadata, version), TIMEOUT, encode).await.unwrap();
    let decoded = MetadataResponse::decode(version, answer.id.correlation_id, &answer.frame).unwrap();
    assert_eq!(decoded.topics[0].error_code, 3);
    let peer: Arc<str> = servers[0].to_string().into();
    assert_eq!(calls.into_connection().peer(), &peer);
}

/// A real TLS listener answers a request without TLS with an alert.
#[tokio::test]
async fn a_tls_listener_is_named() {
    let Some(kafka) = Cluster::builder().listener(Listener::Tls).start().await.unwrap() else { return };
    let servers = address::parse(&kafka.bootstrap_of(Listener::Tls).unwrap()).unwrap();
    let error = connect(&servers[0], &introduction(), TIMEOUT).await.unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with(": the peer does not speak Kafka without TLS: it answers as a TLS listener"), "{text}");
    let help = "is this a TLS listener? It answers as one: use the plaintext listener's port";
    assert_eq!(error.help(), Some(help));
}
