//! `TransactionControl` directly on librdkafka, and a sink's transactions over it, against a real Apache Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::{KafkaClient, KafkaSink, KafkaSinkConfig, Limits, MessageSerializer, SinkMessage, async_trait};
use kafka_tower_core::{ConsumerGroup, Control, Error, ErrorKind, Persistence, Record, Recovery, Result, TopicOffset};
use kafka_tower_rdkafka::{DeliveryFuture, RdkafkaTransport};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use tower::{Service, ServiceExt};

const TIME: Duration = Duration::from_secs(20);

struct Producer {
    transport: RdkafkaTransport,
    control: Arc<dyn Control>,
    topic: String,
}

impl Producer {
    async fn new(kafka: &Cluster, id: &str, topic: &str) -> Self {
        Self::with_linger(kafka, id, topic, Duration::ZERO).await
    }

    async fn with_linger(kafka: &Cluster, id: &str, topic: &str, linger: Duration) -> Self {
        let transport = RdkafkaTransport::builder()
            .property("bootstrap.servers", kafka.bootstrap())
            .property("transactional.id", id)
            .property("linger.ms", linger.as_millis().to_string())
            .topic(topic)
            .connect()
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
        let control = transport.control();
        Self { transport, control, topic: topic.to_owned() }
    }

    fn transactions(&self) -> Arc<dyn kafka_tower_core::TransactionControl> {
        self.control.transactions().expect("a transactional transport")
    }

    async fn call(&mut self, value: &str) -> DeliveryFuture {
        let record = Record::new(self.topic.as_str()).with_value(value.to_owned()).with_partition(0);
        self.transport.ready().await.unwrap().call(record)
    }
}

async fn committed(kafka: &Cluster, topic: &str) -> Vec<String> {
    kafka.read_committed(topic).await.unwrap().iter().map(cluster::ReadRecord::text).collect()
}

#[tokio::test]
async fn committed_records_are_visible_and_aborted_ones_are_not() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("transactions", 1).await.unwrap();
    let mut producer = Producer::new(kafka, &format!("{topic}-id"), &topic).await;
    producer.transactions().init(TIME).await.unwrap();
    for (values, commit) in [(["a", "b"], true), (["c", "d"], false), (["e", "f"], true)] {
        producer.transactions().begin(TIME).await.unwrap();
        let mut futures = Vec::new();
        for value in values {
            futures.push(producer.call(value).await);
        }
        if commit {
            producer.transactions().commit(TIME).await.unwrap();
            assert!(join_all(futures).await.iter().all(Result::is_ok));
        } else {
            assert!(join_all(futures).await.iter().all(Result::is_ok));
            producer.transactions().abort(TIME).await.unwrap();
        }
    }
    assert_eq!(committed(kafka, &topic).await, ["a", "b", "e", "f"]);
}

#[tokio::test]
async fn an_abort_fails_records_that_were_not_sent() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("aborted", 1).await.unwrap();
    // Both wait for others to share their request when the transaction ends.
    let mut producer = Producer::with_linger(kafka, &format!("{topic}-id"), &topic, TIME).await;
    producer.transactions().init(TIME).await.unwrap();
    producer.transactions().begin(TIME).await.unwrap();
    let futures = [producer.call("a").await, producer.call("b").await];
    producer.transactions().abort(TIME).await.unwrap();
    for outcome in join_all(futures).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transaction, "{error:#}");
        assert!(error.message().contains("aborted"), "{error:#}");
    }
    assert!(kafka.read(&topic).await.unwrap().is_empty());
}

#[tokio::test]
async fn misuse_is_a_typed_error_and_sends_nothing() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("misuse", 1).await.unwrap();
    let mut producer = Producer::new(kafka, &format!("{topic}-id"), &topic).await;
    let error = producer.call("before init").await.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Transaction, Persistence::NotPersisted), "{error:#}");
    assert_eq!(producer.transactions().begin(TIME).await.unwrap_err().kind(), ErrorKind::Transaction);
    producer.transactions().init(TIME).await.unwrap();
    let error = producer.transactions().commit(TIME).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Transaction, Persistence::NotPersisted), "{error:#}");
    producer.transactions().begin(TIME).await.unwrap();
    assert_eq!(producer.transactions().begin(TIME).await.unwrap_err().kind(), ErrorKind::Transaction);
    producer.transactions().abort(TIME).await.unwrap();
    let plain = RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap()).connect().await.unwrap();
    assert!(plain.control().transactions().is_none());
    assert!(kafka.read(&topic).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_producer_with_the_same_id_fences_the_old_one() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("fenced", 1).await.unwrap();
    let id = format!("{topic}-id");
    let mut old = Producer::new(kafka, &id, &topic).await;
    old.transactions().init(TIME).await.unwrap();
    old.transactions().begin(TIME).await.unwrap();
    old.call("old").await.await.unwrap();
    let mut new = Producer::new(kafka, &id, &topic).await;
    new.transactions().init(TIME).await.unwrap();
    let error = old.transactions().commit(TIME).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "{error:#}");
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    kafka_tower_test_texts::assert_consistent(&error);
    new.transactions().begin(TIME).await.unwrap();
    let sent = new.call("new").await;
    new.transactions().commit(TIME).await.unwrap();
    sent.await.unwrap();
    assert_eq!(committed(kafka, &topic).await, ["new"]);
}

/// librdkafka delivers a record whose deadline has passed, and asks the coordinator to commit: a refusal proves nothing.
#[tokio::test]
async fn a_record_that_timed_out_and_arrived_makes_no_failed_commit_certain() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("late", 1).await.unwrap();
    let id = format!("{topic}-id");
    let mut old = Producer::with_linger(kafka, &id, &topic, Duration::from_millis(500)).await;
    old.transactions().init(TIME).await.unwrap();
    old.transactions().begin(TIME).await.unwrap();
    let record = Record::new(topic.as_str()).with_value("late").with_partition(0);
    let record = record.with_expires_at(std::time::Instant::now() + Duration::from_millis(50));
    let timed_out = old.transport.ready().await.unwrap().call(record).await.unwrap_err();
    assert_eq!(timed_out.kind(), ErrorKind::Timeout, "{timed_out:#}");
    old.control.flush().await.unwrap();
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 1, "it arrived");
    Producer::new(kafka, &id, &topic).await.transactions().init(TIME).await.unwrap();
    for _ in 0..2 {
        let error = old.transactions().commit(TIME).await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "{error:#}");
        assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    }
}

#[tokio::test]
async fn a_refused_record_makes_the_commit_fail() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic_with("refused", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let mut producer = Producer::new(kafka, &format!("{topic}-id"), &topic).await;
    producer.transactions().init(TIME).await.unwrap();
    producer.transactions().begin(TIME).await.unwrap();
    let good = producer.call("good").await;
    good.await.unwrap();
    let noise: String =
        (0..10_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 16) as u8 % 26)).collect();
    let bad = producer.call(&noise).await;
    assert_eq!(bad.await.unwrap_err().kind(), ErrorKind::RecordTooLarge);
    let error = producer.transactions().commit(TIME).await.unwrap_err();
    assert_eq!(
        (error.recovery(), error.persistence()),
        (Recovery::AbortTransaction, Persistence::NotPersisted),
        "{error:#}"
    );
    kafka_tower_test_texts::assert_consistent(&error);
    producer.transactions().abort(TIME).await.unwrap();
    assert!(committed(kafka, &topic).await.is_empty());
}

/// librdkafka never received the record, and would commit without it.
#[tokio::test]
async fn a_record_that_timed_out_while_parked_makes_the_commit_fail() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("parked", 1).await.unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap());
    let builder = builder.property("transactional.id", topic.as_str()).property("linger.ms", "1000");
    let transport = builder.topic(topic.as_str()).limits(Limits { records: 1, bytes: 1_000 }).connect().await.unwrap();
    let control = transport.control();
    let mut producer = Producer { transport, control, topic };
    producer.transactions().init(TIME).await.unwrap();
    producer.transactions().begin(TIME).await.unwrap();
    // Two handles are ready, but there is room for one record.
    let (mut first, mut second) = (producer.transport.clone(), producer.transport.clone());
    let record = || Record::new(producer.topic.as_str()).with_value("lingers");
    let (first, second) = (first.ready().await.unwrap(), second.ready().await.unwrap());
    let lingers = first.call(record());
    let parked = second.call(record().with_expires_at(std::time::Instant::now() + Duration::from_millis(100)));
    assert_eq!(parked.await.unwrap_err().persistence(), Persistence::NotPersisted);
    lingers.await.unwrap();
    let error = producer.transactions().commit(TIME).await.unwrap_err();
    let facts = (error.kind(), error.recovery(), error.persistence());
    assert_eq!(facts, (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted), "{error:#}");
    // An out-of-order call changes nothing.
    producer.transactions().begin(TIME).await.unwrap_err();
    producer.transactions().commit(TIME).await.unwrap_err();
    producer.transactions().abort(TIME).await.unwrap();
    producer.transactions().begin(TIME).await.unwrap();
    producer.call("next").await.await.unwrap();
    producer.transactions().commit(TIME).await.unwrap();
    assert_eq!(committed(kafka, &producer.topic).await, ["next"]);
}

/// Encodes a text unchanged. Refuses some texts, and waits before encoding others.
struct Picky;

#[async_trait]
impl MessageSerializer<String> for Picky {
    async fn serialize(&self, text: &String) -> Result<Vec<u8>> {
        if text == "wait" {
            std::future::pending().await
        }
        if text == "bad" { Err(Error::serialization("planted")) } else { Ok(text.clone().into_bytes()) }
    }
}

#[tokio::test]
async fn a_sink_does_not_commit_if_the_failure_of_a_send_was_not_observed() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("whole", 1).await.unwrap();
    let config = KafkaSinkConfig {
        brokers: kafka.bootstrap().to_owned(),
        topic: topic.clone(),
        enable_transactions: true,
        transactional_id: Some(format!("{topic}-id")),
        ..Default::default()
    };
    let sink = KafkaSink::with_serializer(config, Arc::new(Picky)).await.unwrap();
    let large = "x".repeat(2_000_000); // more than librdkafka takes
    for text in ["bad", "wait", &large] {
        sink.begin_transaction().await.unwrap();
        let mut handle = sink.clone();
        drop(handle.ready().await.unwrap().call(SinkMessage::new("good".to_owned())));
        drop(handle.ready().await.unwrap().call(SinkMessage::new(text.to_owned())));
        for _ in 0..2 {
            let error = sink.commit_transaction().await.unwrap_err();
            let facts = (error.kind(), error.recovery(), error.persistence());
            let expected = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
            assert_eq!(facts, expected, "{error:#}");
        }
        sink.abort_transaction().await.unwrap();
    }
    assert!(committed(kafka, &topic).await.is_empty());
    // A caller that has observed the failure may commit. So may one that drops a future after hand-over.
    sink.begin_transaction().await.unwrap();
    sink.send("bad".to_owned()).await.unwrap_err();
    sink.send(large).await.unwrap_err();
    let mut handle = sink.clone();
    drop(handle.ready().await.unwrap().call(SinkMessage::new("good".to_owned())));
    sink.commit_transaction().await.unwrap();
    assert_eq!(committed(kafka, &topic).await, ["good"]);
    sink.close().await.unwrap();
}

/// A sink that is closed or dropped during a transaction does not block readers of committed records.
#[tokio::test]
async fn a_sink_that_is_closed_or_dropped_aborts_its_open_transaction() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("open", 1).await.unwrap();
    for closed in [true, false] {
        let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*topic, format!("{topic}-id"));
        let sink = KafkaSink::<String>::new(config).await.unwrap();
        sink.begin_transaction().await.unwrap();
        sink.send("in an open transaction".to_owned()).await.unwrap();
        if closed {
            sink.close().await.unwrap();
        }
        drop(sink);
    }
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.clone(), ..Default::default() };
    KafkaSink::<String>::new(config).await.unwrap().send("behind".to_owned()).await.unwrap();
    // Far less than transaction.timeout.ms, including the reader's own time.
    let seen = tokio::time::timeout(TIME, async {
        loop {
            let seen = committed(kafka, &topic).await;
            if !seen.is_empty() {
                return seen;
            }
        }
    });
    assert_eq!(seen.await.expect("the open transaction blocks readers"), ["\"behind\""]);
}

#[tokio::test]
async fn a_guard_owns_its_transaction_and_is_aborted_if_it_is_dropped() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("guard", 1).await.unwrap();
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*topic, format!("{topic}-id"));
    let sink = KafkaSink::<String>::new(config.clone()).await.unwrap();
    let misuse = |error: Error| {
        let facts = (error.kind(), error.recovery(), error.persistence());
        assert_eq!(facts, (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted), "{error:#}");
        kafka_tower_test_texts::assert_consistent(&error);
    };
    misuse(sink.commit_transaction().await.unwrap_err());
    misuse(sink.abort_transaction().await.unwrap_err());
    misuse(sink.send("outside".to_owned()).await.unwrap_err());

    let tx = sink.transaction().await.unwrap();
    tx.send("of the guard".to_owned()).await.unwrap();
    misuse(sink.send("past the guard".to_owned()).await.unwrap_err());
    misuse(sink.begin_transaction().await.unwrap_err());
    misuse(sink.commit_transaction().await.unwrap_err());
    let error = KafkaSink::<String>::new(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(error.help().contains("clone that sink"), "{error:#}");
    tx.commit().await.expect("the second sink did not fence the first one");

    for round in 0..3 {
        let tx = sink.transaction().await.unwrap();
        tx.send("dropped".to_owned()).await.unwrap();
        drop(tx.send_batch(["dropped in flight".to_owned()]).await);
        drop(tx);
        let sent = sink.in_transaction(async |tx| tx.send(format!("round {round}")).await);
        sent.await.unwrap();
    }
    sink.begin_transaction().await.unwrap();
    misuse(sink.begin_transaction().await.unwrap_err());
    misuse(sink.transaction().await.unwrap_err());
    sink.send("by hand".to_owned()).await.unwrap();
    sink.commit_transaction().await.unwrap();
    sink.close().await.unwrap();
    let expected = ["of the guard", "round 0", "round 1", "round 2", "by hand"].map(|text| format!("{text:?}"));
    assert_eq!(committed(kafka, &topic).await, expected);
}

#[tokio::test]
async fn offsets_travel_with_the_transaction() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("offsets", 1).await.unwrap();
    let mut producer = Producer::new(kafka, &format!("{topic}-id"), &topic).await;
    producer.transactions().init(TIME).await.unwrap();
    producer.transactions().begin(TIME).await.unwrap();
    producer.call("out").await.await.unwrap();
    let group = ConsumerGroup {
        group_id: format!("{topic}-group"),
        generation: -1,
        member_id: String::new(),
        group_instance_id: None,
    };
    // Until the group has a coordinator: librdkafka gives up offsets after a few attempts.
    kafka.committed_offset(&group.group_id, &topic, 0).await.unwrap();
    let offsets = vec![TopicOffset { topic: topic.as_str().into(), partition: 0, offset: 1 }];
    producer.transactions().send_offsets(offsets, group, TIME).await.unwrap();
    producer.transactions().commit(TIME).await.unwrap();
    assert_eq!(committed(kafka, &topic).await, ["out"]);
}

/// If the offsets topic cannot be created, groups have no coordinator. With such a short back-off librdkafka loses its
/// request for the coordinator, so its call would never return. (If the topic can be created, a broker may have created
/// it by the third request.)
#[tokio::test]
async fn sending_offsets_of_a_group_without_coordinator_ends_in_time() {
    let builder = Cluster::builder().property("offsets.topic.replication.factor", "3");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    let topic = kafka.topic("forgotten", 1).await.unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap());
    let builder = builder.property("transactional.id", topic.as_str()).property("retry.backoff.ms", "1");
    let transport = builder.topic(topic.as_str()).connect().await.unwrap();
    let control = transport.control();
    let transactions = control.transactions().unwrap();
    transactions.init(TIME).await.unwrap();
    transactions.begin(TIME).await.unwrap();
    let group = ConsumerGroup {
        group_id: format!("{topic}-group"),
        generation: -1,
        member_id: String::new(),
        group_instance_id: None,
    };
    let offsets = vec![TopicOffset { topic: topic.as_str().into(), partition: 0, offset: 1 }];
    let told = transactions.send_offsets(offsets, group, Duration::from_secs(2));
    let error = tokio::time::timeout(TIME, told).await.expect("no answer in time").unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Timeout, Recovery::AbortTransaction), "{error:#}");
    // A new producer aborts it.
    transactions.abort(TIME).await.unwrap();
    transactions.begin(TIME).await.unwrap();
    transactions.commit(TIME).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_of_a_client_share_a_transaction() {
    let Some(kafka) = cluster::shared().await else { return };
    let (orders, payments) = (kafka.topic("orders", 1).await.unwrap(), kafka.topic("payments", 1).await.unwrap());
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), "", format!("{orders}-id"));
    let client = KafkaClient::connect(config).await.unwrap();
    let of_orders: KafkaSink<String> = client.sink(orders.as_str()).build().await.unwrap();
    let of_payments: KafkaSink<u64> = client.sink(payments.as_str()).build().await.unwrap();
    for (n, commits) in [(1, true), (2, false), (3, true)] {
        of_orders.begin_transaction().await.unwrap();
        of_payments.send(n).await.unwrap();
        of_orders.send(n.to_string()).await.unwrap();
        if commits {
            of_payments.commit_transaction().await.unwrap();
        } else {
            of_payments.abort_transaction().await.unwrap();
        }
    }
    let sent = of_payments
        .in_transaction(async |tx| {
            let delivery = tx.sink(&of_orders).send("4".to_owned()).await?;
            tx.send(4).await?;
            Ok::<_, Error>(delivery)
        })
        .await
        .unwrap();
    assert_eq!(&*sent.topic, orders);
    of_orders.begin_transaction().await.unwrap();
    of_orders.send("5".to_owned()).await.unwrap();
    of_orders.close().await.unwrap();
    of_payments.send(5).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(committed(kafka, &orders).await, ["\"1\"", "\"3\"", "\"4\""]);
    assert_eq!(committed(kafka, &payments).await, ["1", "3", "4"]);
}
