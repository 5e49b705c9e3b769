//! Values, keys, headers and timestamps come out of the log as they went in, and deliveries say where they are.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kafka_tower_core::{Headers, Persistence, Record, Timestamp};
use kafka_tower_native::{Acks, Codec};
use kafka_tower_testkit::kafka::segments::Compression;
use kafka_tower_testkit::kafka::{self as cluster, ReadRecord};

use crate::support::{all_delivered, builder, call, connect, in_time, outcomes, send};

const LARGE: usize = 900_000;

/// Bytes that do not compress well, the same at each call.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn headers() -> Headers {
    let mut headers = Headers::new();
    headers.push("trace", "first");
    headers.push("trace", "second");
    headers.push_null("null");
    headers.push("", Bytes::new());
    headers
}

/// Records of all shapes for partition 0.
fn shapes(topic: &str) -> Vec<Record> {
    let to = || Record::new(topic).with_partition(0);
    let mut records = vec![
        to(),
        to().with_value(Bytes::new()),
        to().with_key(Bytes::new()).with_value("an empty key"),
        to().with_key("a tombstone"),
        to().with_key("key").with_value("value").with_headers(headers()),
        to().with_headers(headers()),
        to().with_value(noise(LARGE)),
        to().with_value(vec![b'x'; LARGE]),
    ];
    records.extend((0..1_000).map(|n| to().with_key(format!("key {n}")).with_value(format!("value {n}"))));
    records
}

#[track_caller]
fn assert_same(read: &ReadRecord, sent: &Record, codec: Codec) {
    let headers: Vec<_> =
        sent.headers.iter().map(|h| (h.key.to_string(), h.value.as_ref().map(|v| v.to_vec()))).collect();
    assert_eq!(read.key.as_deref(), sent.key.as_deref(), "{codec:?}");
    assert!(read.value.as_deref() == sent.value.as_deref(), "{codec:?}: {:?}", sent.key);
    assert_eq!(read.headers, headers, "{codec:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_all_shapes_come_out_as_they_went_in_with_each_codec() {
    let Some(kafka) = cluster::shared().await else { return };
    let codecs = [
        (Codec::None, Compression::None),
        (Codec::Gzip, Compression::Gzip),
        (Codec::Snappy, Compression::Snappy),
        (Codec::Lz4, Compression::Lz4),
    ];
    for (codec, on_disk) in codecs {
        let topic = kafka.topic("shapes", 1).await.unwrap();
        // Time for more than one record to be in a batch.
        let builder = builder(kafka.bootstrap(), &topic).compression(codec).linger(Duration::from_millis(20));
        let mut transport = connect(builder).await;
        let records = shapes(&topic);
        let mut sends = Vec::new();
        for record in &records {
            sends.push(call(&mut transport, record.clone()).await);
        }
        let delivered = all_delivered(outcomes(sends).await);
        let read = kafka.read(&topic).await.unwrap();
        assert_eq!(read.len(), records.len(), "{codec:?}");
        for ((read, sent), delivery) in read.iter().zip(&records).zip(&delivered) {
            assert_same(read, sent, codec);
            assert_eq!((delivery.partition, delivery.offset), (read.partition, Some(read.offset)), "{codec:?}");
            let timestamp = delivery.timestamp.map(Timestamp::as_millis);
            assert_eq!(timestamp, read.timestamp, "{codec:?}");
            assert_eq!(delivery.persistence, Persistence::Persisted);
        }
        if let Ok(batches) = kafka.batches(&topic, 0).await {
            let (compressed, all) =
                (batches.iter().filter(|batch| batch.compression == on_disk).count(), batches.len());
            // A batch that does not become smaller may be sent as it is.
            assert!(compressed > 0 && all < records.len(), "{codec:?}: {batches:?}");
        }
    }
}

#[tokio::test]
async fn a_delivery_says_what_the_acknowledgement_means() {
    let Some(kafka) = cluster::shared().await else { return };
    let cases = [
        (Acks::None, Persistence::PossiblyPersisted, false),
        (Acks::Leader, Persistence::Persisted, true),
        (Acks::All, Persistence::Persisted, true),
    ];
    for (acks, persistence, has_offset) in cases {
        let topic = kafka.topic("acks", 1).await.unwrap();
        let mut transport = connect(builder(kafka.bootstrap(), &topic).acks(acks)).await;
        for n in 0..10_usize {
            let delivery = send(&mut transport, Record::new(topic.as_str()).with_value(n.to_string())).await.unwrap();
            assert_eq!(delivery.persistence, persistence, "{acks:?}");
            assert_eq!(delivery.offset, has_offset.then_some(n as i64), "{acks:?}");
        }
        // Without acknowledgements, the broker may have the last ones after the sends are over.
        let all = async {
            while kafka.read(&topic).await.unwrap().len() < 10 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        in_time(all).await;
    }
}

#[tokio::test]
async fn a_delivery_has_the_timestamp_of_the_log() {
    let Some(kafka) = cluster::shared().await else { return };
    let given = Timestamp::from(SystemTime::now() - Duration::from_secs(60));
    let (created, appended) = (
        kafka.topic("create-time", 1).await.unwrap(),
        kafka.topic_with("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).await.unwrap(),
    );
    for (topic, keeps) in [(created, true), (appended, false)] {
        let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
        let record = Record::new(topic.as_str()).with_value("x");
        for record in [record.clone(), record.with_timestamp(given)] {
            let has_own = record.timestamp.is_some();
            let delivery = send(&mut transport, record).await.unwrap();
            let read = kafka.read(&topic).await.unwrap().pop().unwrap();
            assert_eq!(delivery.timestamp.map(Timestamp::as_millis), read.timestamp, "{topic}");
            assert_eq!(delivery.timestamp == Some(given), has_own && keeps, "{topic}");
        }
    }
}

#[tokio::test]
async fn isolated_records_are_alone_in_their_batches() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("isolated", 1).await.unwrap();
    let builder = builder(kafka.bootstrap(), &topic).linger(Duration::from_millis(50));
    let mut transport = connect(builder).await;
    let mut sends = Vec::new();
    for n in 0..30_usize {
        let mut record = crate::support::numbered(&topic, n);
        record.isolated = n % 10 == 5;
        sends.push(call(&mut transport, record).await);
    }
    all_delivered(outcomes(sends).await);
    crate::support::assert_once_in_order(kafka, &topic, 30).await;
    let Ok(batches) = kafka.batches(&topic, 0).await else { return };
    for alone in [5, 15, 25] {
        assert!(batches.iter().any(|batch| (batch.base_offset, batch.records) == (alone, 1)), "{batches:?}");
    }
    assert!(batches.len() < 30, "{batches:?}");
    crate::support::assert_dense(&batches);
}
