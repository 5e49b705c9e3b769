//! A record of a transaction is refused: the transaction is aborted, its other records have truthful outcomes, and the next
//! transaction works.

use futures_util::future::join_all;
use kafka_tower::layers::transaction_batch::TransactionBatchLayer;
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{ErrorKind, Persistence, Record, Recovery};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey, Direction};
use kafka_tower_testkit::kafka::{Cluster, Listener, Resource};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};

use crate::support::*;

/// Text that does not become smaller by compression.
fn noise(size: u32) -> String {
    (0..size).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 16) as u8 % 26)).collect()
}

/// Brokers refuse the next records of a producer after they refused one, because its sequence number is missing. The
/// producer is replaced, so that the next transaction does not fail as well.
#[tokio::test]
async fn after_a_refused_record_the_next_transaction_works() {
    let Some(kafka) = shared().await else { return };
    let cases = [
        ("large", ("max.message.bytes", "1000"), ErrorKind::RecordTooLarge, "MESSAGE_TOO_LARGE"),
        ("compacted", ("cleanup.policy", "compact"), ErrorKind::Rejected, "INVALID_RECORD"),
    ];
    for (name, setting, kind, code) in cases {
        let topic = kafka.topic_with(name, 2, &[setting]).await.unwrap();
        let mut producer = Producer::new(kafka.bootstrap(), &topic, &topic, &[]).await;
        let record = |value: &str| Record::new(topic.as_str()).with_key("key").with_value(value.to_owned());
        for round in 0..2_u64 {
            producer.begin().await;
            let before = producer.call(record("before").with_partition(0)).await;
            let bad = if kind == ErrorKind::Rejected {
                Record::new(topic.as_str()).with_value("without a key")
            } else {
                record(&noise(10_000))
            };
            let bad = producer.call(bad.with_partition(0)).await;
            let elsewhere = producer.call(record("elsewhere").with_partition(1)).await;
            let error = checked(bad.await).unwrap_err();
            assert_eq!(facts(&error), (kind, Recovery::Reject, Persistence::NotPersisted), "{error:#}");
            let error = producer.commit().await.unwrap_err();
            assert_eq!((error.kind(), error.error_type()), (kind, code), "{error:#}");
            let expected = (Recovery::AbortTransaction, Persistence::NotPersisted);
            assert_eq!((error.recovery(), error.persistence()), expected, "{error:#}");
            producer.abort().await.unwrap();
            for (outcome, partition) in [(before.await, 0), (elsewhere.await, 1)] {
                // In the log, in the same batch as the refused one, or given up by the abort.
                match checked(outcome) {
                    Ok(delivery) => assert_eq!(delivery.partition, partition),
                    Err(error) if error.kind() == kind => assert_eq!(error.persistence(), Persistence::NotPersisted),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Transaction, "{error:#}"),
                }
            }
            producer.begin().await;
            assert_eq!(producer.control.generation(), round + 1, "one replacement for each refusal");
            let next = producer.call(record(&format!("next {round}")).with_partition(0)).await;
            checked(next.await).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            producer.commit().await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
        assert_eq!(committed(kafka, &topic).await, ["next 0", "next 1"], "{name}");
    }
}

/// A replay would fail in the same way, so `in_transaction` returns the record's error.
#[tokio::test]
async fn a_guard_goes_on_after_a_refused_record() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic_with("guard-large", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*topic, format!("{topic}-id"));
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    for round in 0..2 {
        let tx = sink.transaction().await.unwrap();
        tx.send("neighbour".to_owned()).await.unwrap();
        let error = checked(tx.send(noise(10_000)).await).unwrap_err();
        assert_eq!(
            facts(&error),
            (ErrorKind::RecordTooLarge, Recovery::Reject, Persistence::NotPersisted),
            "{error:#}"
        );
        let error = checked(tx.commit().await).unwrap_err();
        let expected = (Recovery::AbortTransaction, Persistence::NotPersisted);
        assert_eq!((error.recovery(), error.persistence()), expected, "{error:#}");
        let calls = AtomicU32::new(0);
        let sent = sink.in_transaction(async |tx| {
            calls.fetch_add(1, Ordering::Relaxed);
            tx.send(format!("round {round}")).await
        });
        sent.await.unwrap();
        assert_eq!(calls.into_inner(), 1, "no attempt was wasted");
    }
    sink.close().await.unwrap();
    assert_eq!(committed(kafka, &topic).await, ["\"round 0\"", "\"round 1\""]);
}

const BOB: [(&str, &str); 4] = [
    ("security.protocol", "sasl_plaintext"),
    ("sasl.mechanism", "SCRAM-SHA-512"),
    ("sasl.username", "bob"),
    ("sasl.password", "bob-secret"),
];

/// Topics that `bob` may write, and may not write, and where he connects. The first one's name is his transactional id.
async fn topics_of_bob(kafka: &Cluster) -> (String, String, String) {
    let (open, denied) = (kafka.topic("open", 1).await.unwrap(), kafka.topic("denied", 1).await.unwrap());
    for (resource, operations) in [
        (Resource::Topic(&open), ["WRITE", "DESCRIBE"].as_slice()),
        (Resource::TransactionalId(&open), &["WRITE", "DESCRIBE"]),
        (Resource::Topic(&denied), &["DESCRIBE"]),
    ] {
        kafka.allow("User:bob", resource, operations).await.unwrap();
    }
    (open, denied, kafka.bootstrap_of(Listener::SaslPlaintext).unwrap())
}

/// If each partition of a transaction was denied, librdkafka asks the coordinator to abort a transaction that it does not
/// know, and ends for good.
#[tokio::test]
async fn after_a_denied_topic_the_next_transaction_works() {
    let Some(kafka) = shared().await else { return };
    let (open, denied, bootstrap) = topics_of_bob(kafka).await;
    let mut producer = Producer::new(&bootstrap, &open, &open, &BOB).await;
    let mut expected = Vec::new();
    let orders: [&[&str]; 3] = [&[&open, &denied], &[&denied, &open], &[&denied]];
    for (round, order) in orders.into_iter().enumerate() {
        producer.begin().await;
        for topic in order {
            let record = Record::new(*topic).with_value("aborted").with_partition(0);
            let outcome = checked(producer.call(record).await.await);
            if *topic == denied || round > 0 {
                let error = outcome.unwrap_err();
                let of_transaction = (ErrorKind::Transaction, Recovery::AbortTransaction);
                assert_eq!((error.kind(), error.recovery()), of_transaction, "{error:#}");
                assert!(error.message().contains("TOPIC_AUTHORIZATION_FAILED"), "{error:#}");
                // If a record of the transaction was sent, librdkafka does not say which one.
                assert!(round == 0 || error.persistence() == Persistence::NotPersisted, "{error:#}");
            } else {
                outcome.unwrap();
            }
        }
        let error = producer.commit().await.unwrap_err();
        let denied = (ErrorKind::Authorization, Recovery::AbortTransaction, Persistence::NotPersisted);
        assert_eq!(facts(&error), denied, "{error:#}");
        producer.abort().await.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
        producer.transaction(&format!("next {round}")).await;
        expected.push(format!("next {round}"));
    }
    assert_eq!(committed(kafka, &open).await, expected);
    assert!(kafka.read(&denied).await.unwrap().is_empty());
}

/// The callers that share the transaction of a denied record learn that theirs are not written.
#[tokio::test]
async fn callers_that_share_a_transaction_with_a_denied_record_can_send_again() {
    let Some(kafka) = shared().await else { return };
    let (open, denied, bootstrap) = topics_of_bob(kafka).await;
    let producer = Producer::connected(&bootstrap, &open, &open, &BOB).await;
    let layer = TransactionBatchLayer::new(producer.control).records(3).replays(1);
    layer.init(TIME).await.unwrap();
    let mut service = layer.layer(producer.transport);
    let mut futures = Vec::new();
    for topic in [&open, &denied, &open] {
        let record = Record::new(topic.as_str()).with_value("shared").with_partition(0);
        futures.push(service.ready().await.unwrap().call(record));
    }
    for outcome in join_all(futures).await {
        let error = checked(outcome).unwrap_err();
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
    }
    let record = Record::new(open.as_str()).with_value("alone").with_partition(0);
    service.ready().await.unwrap().call(record).await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(committed(kafka, &open).await, ["alone"]);
}

/// The broker refuses a batch that contains a record without a key. With more such records than replays, a batch whose
/// replays were wasted on the refusals would fail as a whole.
#[tokio::test]
async fn a_batch_survives_more_refused_records_than_it_has_replays() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic_with("poison", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let producer = Producer::connected(kafka.bootstrap(), &topic, &topic, &[]).await;
    let layer = TransactionBatchLayer::new(producer.control).records(32).replays(0);
    layer.init(TIME).await.unwrap();
    let mut service = layer.layer(producer.transport);
    let bad = |n: u32| n % 5 == 2;
    let mut sends = Vec::new();
    for n in 0..32_u32 {
        let record = Record::new(topic.as_str()).with_value(n.to_string()).with_partition(0);
        let record = if bad(n) { record } else { record.with_key(n.to_string()) };
        sends.push(service.ready().await.unwrap().call(record));
    }
    for (n, outcome) in (0..).zip(join_all(sends).await) {
        match checked(outcome) {
            Ok(_) => assert!(!bad(n), "record {n}"),
            Err(error) => assert!(bad(n) && error.kind() == ErrorKind::Rejected, "record {n}: {error:#}"),
        }
    }
    let expected: Vec<_> = (0..32).filter(|n| !bad(*n)).map(|n| n.to_string()).collect();
    assert_eq!(committed(kafka, &topic).await, expected);
}

/// The answer of the first request says 6, and the second request is acknowledged. librdkafka takes both for written then,
/// although the partition did not know the producer before.
#[tokio::test]
async fn an_acknowledgement_that_is_only_implied_does_not_commit() {
    let Some(kafka) = shared().await else { return };
    let _alone = ALONE.lock().await;
    let proxy = kafka.proxy().unwrap();
    let topic = kafka.topic("implied", 1).await.unwrap();
    let bootstrap = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let mut producer = Producer::new(&bootstrap, &topic, &topic, &[("batch.num.messages", "1")]).await;
    producer.begin().await;
    proxy.next(ApiKey::PRODUCE, Action::FailProduce(6));
    let requests = proxy.requests(ApiKey::PRODUCE);
    // Both are in flight before the first answer.
    proxy.delay(Direction::ToClient, Duration::from_millis(500));
    let record = |value: &str| Record::new(topic.as_str()).with_value(value.to_owned()).with_partition(0);
    let [first, second] = [producer.call(record("first")).await, producer.call(record("second")).await];
    proxy.wait_for(ApiKey::PRODUCE, requests + 2).await.unwrap();
    proxy.delay(Direction::ToClient, Duration::ZERO);
    let error = checked(first.await).unwrap_err();
    let expected = (ErrorKind::Broker, Recovery::Retry, Persistence::PossiblyPersisted);
    assert_eq!(facts(&error), expected, "{error:#}");
    checked(second.await).unwrap();
    let error = producer.commit().await.unwrap_err();
    let expected = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
    assert_eq!(facts(&error), expected, "{error:#}");
    producer.abort().await.unwrap();
    producer.begin().await;
    producer.send("next").await.unwrap();
    producer.commit().await.unwrap();
    assert_eq!(committed(kafka, &topic).await, ["next"]);
}
