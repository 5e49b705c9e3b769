//! Core, memory, librdkafka and the Java client put the same key on the same partition. The test vectors come from the
//! Java client's `Utils.murmur2`; a test of the test cluster compares them with the jar.
#![allow(clippy::unwrap_used)] // a test may fail

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::partitioner::{murmur2, partition_for_key};
use kafka_tower_core::{Record, Transport};
use kafka_tower_memory::MemoryKafka;
use kafka_tower_rdkafka::{MockCluster, RdkafkaTransport};
use tower::ServiceExt;

struct Vector {
    key: Bytes,
    hash: i32,
    /// Partition counts and the partition.
    partitions: Vec<(u32, i32)>,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../testkit/golden/murmur2.txt");
    let mut counts = Vec::new();
    let mut vectors = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("# key in hex, murmur2, partition of ") {
            let header = header.split(';').next().unwrap();
            counts = header.split(", ").map(|count| count.parse().unwrap()).collect::<Vec<u32>>();
        }
        if line.starts_with('#') {
            continue;
        }
        let mut columns = line.split(',');
        let key = columns.next().unwrap();
        let key: Vec<u8> =
            (0..key.len() / 2).map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).unwrap()).collect();
        let hash = columns.next().unwrap().parse().unwrap();
        let partitions = counts.iter().copied().zip(columns.map(|c| c.parse().unwrap())).collect();
        vectors.push(Vector { key: key.into(), hash, partitions });
    }
    assert!(vectors.len() >= 200 && counts.len() >= 6, "the file has too few vectors");
    vectors
}

#[test]
fn murmur2_agrees_with_java() {
    for vector in vectors() {
        assert_eq!(murmur2(&vector.key), vector.hash, "{:?}", vector.key);
        for (count, partition) in vector.partitions {
            assert_eq!(partition_for_key(&vector.key, count), partition, "{:?} of {count}", vector.key);
        }
    }
}

async fn lands_like_java<T: Transport>(transport: T, topic: &str, count: u32) {
    let vectors = vectors();
    let sends = vectors.iter().map(|vector| transport.clone().oneshot(Record::new(topic).with_key(vector.key.clone())));
    for (vector, delivery) in vectors.iter().zip(join_all(sends).await) {
        let expected = vector.partitions.iter().find(|(n, _)| *n == count).unwrap().1;
        assert_eq!(delivery.unwrap().partition, expected, "{:?}", vector.key);
    }
}

#[tokio::test]
async fn memory_and_librdkafka_choose_the_same_partitions_as_java() {
    for count in [1, 2, 6, 12] {
        let kafka = MemoryKafka::new().with_topic("t", count);
        lands_like_java(kafka.transport_with(Limits { records: 1_000, bytes: 1 << 20 }), "t", count).await;
        let cluster = MockCluster::start(1).unwrap();
        cluster.create_topic("t", count).unwrap();
        let builder = RdkafkaTransport::builder().property("bootstrap.servers", cluster.bootstrap()).topic("t");
        lands_like_java(builder.connect().await.unwrap(), "t", count).await;
    }
}
