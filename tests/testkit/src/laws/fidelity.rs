use bytes::Bytes;
use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{Headers, Record, Timestamp};

use super::Applied;
use super::support::{WIDE, call, delivered, within};
use crate::{Broker as _, Fixture};

/// Records are read as they were sent: null and empty differ, headers keep order and duplicates, timestamps are kept.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If not.
pub async fn records_arrive_as_they_were<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(WIDE, 1).await;
    let mut headers = Headers::new();
    headers.push("region", "us");
    headers.push("empty", "");
    headers.push_null("null");
    headers.push("region", "eu");
    // Kafka accepts any text as a name.
    headers.push("", "no name");
    headers.push("a\r\nb\u{1}", "control characters");
    let base = || Record::new(open.topic.clone()).with_partition(0);
    // A recent time, so that retention does not delete the record.
    let time = Timestamp::from_millis(Timestamp::now().as_millis() - 60_000);
    let records = [
        base().with_key("k").with_value("v").with_headers(headers).with_timestamp(time),
        base().with_key("").with_value(""),
        base(),
        base().with_key("tombstone"),
        base().with_value(vec![7; 100_000]),
    ];
    for record in records.clone() {
        let delivery = delivered(within(fixture.patience(), "a record", call(&mut open.transport, record).await).await);
        assert_eq!((&*delivery.topic, delivery.partition), (&*open.topic, 0));
    }
    let read = open.broker.read().await;
    assert_eq!(read.len(), records.len());
    for (sent, read) in records.iter().zip(read) {
        assert_eq!((&sent.key, &sent.value), (&read.key, &read.value));
        let headers: Vec<_> = sent.headers.iter().map(|h| (h.key.to_string(), h.value.clone())).collect();
        assert_eq!(headers, read.headers);
        if let (Some(sent), Some(read)) = (sent.timestamp, read.timestamp) {
            assert_eq!(sent.as_millis(), read);
        }
    }
    Ok(())
}

/// The partition of a key is murmur2's, as in the Java client: core, transport and log agree.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If not.
pub async fn keys_choose_partitions_as_java_does<F: Fixture>(fixture: &F) -> Applied {
    const PARTITIONS: u32 = 6;
    let mut open = fixture.open(WIDE, PARTITIONS).await;
    let keys: Vec<Bytes> = (0..200).map(|n| Bytes::from(format!("key-{}-{n}", "ü".repeat(n % 7)))).collect();
    let mut futures = Vec::new();
    for key in &keys {
        let record = Record::new(open.topic.clone()).with_key(key.clone());
        futures.push(call(&mut open.transport, record).await);
    }
    for (key, future) in keys.iter().zip(futures) {
        let delivery = delivered(within(fixture.patience(), "a record", future).await);
        assert_eq!(delivery.partition, partition_for_key(key, PARTITIONS), "{key:?}");
    }
    for record in open.broker.read().await {
        let key = record.key.expect("a key");
        assert_eq!(record.partition, partition_for_key(&key, PARTITIONS), "{key:?}");
    }
    Ok(())
}
