//! A broker refuses a batch because of one record, or a topic: only that record, or that topic's records, fail.

use std::time::{Duration, Instant};

use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Scope};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Resource};

use crate::support::{
    PATIENCE, all_delivered, assert_dense, assert_error, builder, call, connect, number, numbered, outcomes, send,
};

const COUNT: usize = 30;
const BAD: usize = 11;

/// Sends 30 records in one batch, of which one is bad. Asserts that the others are in the log, once and in order, and that
/// records after them are delivered. Returns the error of the bad one.
async fn among_neighbours(config: &[(&str, &str)], spoil: impl Fn(Record) -> Record) -> Option<Error> {
    let kafka = cluster::shared().await?;
    let topic = kafka.topic_with("neighbours", 1, config).await.unwrap();
    // The records are called one after the other, so that they are in one batch.
    let mut transport = connect(builder(kafka.bootstrap(), &topic).linger(Duration::from_millis(100))).await;
    let mut sends = Vec::new();
    for n in 0..COUNT {
        let record = numbered(&topic, n).with_key(format!("key {n}"));
        sends.push(call(&mut transport, if n == BAD { spoil(record) } else { record }).await);
    }
    let mut all = outcomes(sends).await;
    let bad = all.remove(BAD).unwrap_err();
    let delivered = all_delivered(all);
    all_delivered(vec![send(&mut transport, numbered(&topic, COUNT).with_key("last")).await]);
    let read = kafka.read(&topic).await.unwrap();
    let numbers: Vec<_> = read.iter().map(number).collect();
    assert_eq!(numbers, (0..=COUNT).filter(|n| *n != BAD).collect::<Vec<_>>(), "each neighbour is in the log once");
    let told: Vec<_> = delivered.iter().map(|delivery| delivery.offset).collect();
    assert_eq!(told, read[..COUNT - 1].iter().map(|record| Some(record.offset)).collect::<Vec<_>>());
    assert_eq!((bad.persistence(), bad.scope()), (Persistence::NotPersisted, Scope::Record), "{bad:#}");
    if let Ok(batches) = kafka.batches(&topic, 0).await {
        assert!(batches.iter().any(|batch| batch.records > 1), "the records were not in one batch: {batches:?}");
        assert_dense(&batches);
    }
    Some(bad)
}

#[tokio::test]
async fn a_record_above_the_topics_limit_fails_alone() {
    let limit = [("max.message.bytes", "2000")];
    // Each part of the batch is below the limit, apart from that with this record.
    let Some(bad) = among_neighbours(&limit, |record| record.with_value(vec![b'x'; 5_000])).await else { return };
    assert_eq!(bad.kind(), ErrorKind::RecordTooLarge, "{bad:#}");
}

#[tokio::test]
async fn a_record_without_key_on_a_compacted_topic_fails_alone() {
    let compacted = [("cleanup.policy", "compact")];
    let without_key = |mut record: Record| {
        record.key = None;
        record
    };
    let Some(bad) = among_neighbours(&compacted, without_key).await else { return };
    assert_eq!(bad.kind(), ErrorKind::Rejected, "{bad:#}");
}

#[tokio::test]
async fn a_timestamp_that_is_too_old_fails_alone() {
    let limit = [("message.timestamp.before.max.ms", "60000")];
    let old = std::time::SystemTime::now() - Duration::from_secs(3_600);
    let Some(bad) = among_neighbours(&limit, |record| record.with_timestamp(old)).await else { return };
    assert_eq!(bad.kind(), ErrorKind::Rejected, "{bad:#}");
}

#[tokio::test]
async fn a_batch_above_the_topics_limit_is_divided_and_delivered() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic_with("batch-limit", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic).linger(Duration::from_millis(100))).await;
    let mut sends = Vec::new();
    for n in 0..200 {
        // A key of 100 bytes makes a batch of ten too large.
        sends.push(call(&mut transport, numbered(&topic, n).with_key(format!("{n:0100}"))).await);
    }
    all_delivered(outcomes(sends).await);
    crate::support::assert_once_in_order(kafka, &topic, 200).await;
    if let Ok(batches) = kafka.batches(&topic, 0).await {
        assert_dense(&batches);
    }
}

#[tokio::test]
async fn a_record_above_the_clients_limit_is_refused_before_it_is_sent() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("client-limit", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic).max_request_bytes(1_000)).await;
    let error = send(&mut transport, numbered(&topic, 0).with_value(vec![b'x'; 1_001])).await.unwrap_err();
    assert_error(&error, ErrorKind::RecordTooLarge, Persistence::NotPersisted);
    all_delivered(vec![send(&mut transport, numbered(&topic, 0)).await]);
    crate::support::assert_once_in_order(kafka, &topic, 1).await;
}

/// Every client of the plaintext listener may do what no rule speaks of. A rule for somebody else takes the right away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_right_fails_the_records_of_its_topic_only() {
    let cluster = Cluster::builder()
        .acl()
        .property("super.users", "User:alice")
        .property("allow.everyone.if.no.acl.found", "true");
    let Some(kafka) = cluster.start().await.unwrap() else { return };
    for topic in ["closed", "open"] {
        kafka.create_topic(topic, 1, &[]).await.unwrap();
    }
    let mut transport = connect(builder(kafka.bootstrap(), "closed")).await;
    for topic in ["closed", "open"] {
        all_delivered(vec![send(&mut transport, numbered(topic, 0)).await]);
    }
    let anonymous = "User:ANONYMOUS";
    kafka.allow(anonymous, Resource::Topic("closed"), &["READ", "DESCRIBE"]).await.unwrap();
    let (end, mut refused, mut delivered) = (Instant::now() + PATIENCE, 0, 1);
    while refused < 20 {
        match send(&mut transport, numbered("closed", delivered)).await {
            // The broker may not have the change yet.
            Ok(_) => {
                assert!(refused == 0 && Instant::now() < end);
                delivered += 1;
            }
            Err(error) => {
                assert_error(&error, ErrorKind::Authorization, Persistence::NotPersisted);
                refused += 1;
            }
        }
        all_delivered(vec![send(&mut transport, numbered("open", 0)).await]);
    }
    kafka.allow(anonymous, Resource::Topic("closed"), &["WRITE"]).await.unwrap();
    while let Err(error) = send(&mut transport, numbered("closed", delivered)).await {
        assert!(Instant::now() < end, "{error:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    crate::support::assert_once_in_order(&kafka, "closed", delivered + 1).await;
}
