//! Ends of transactions on librdkafka's mock cluster: which ones make the transport replace its producer.
#![allow(clippy::unwrap_used)] // a test may fail
#![cfg(feature = "mock-cluster")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kafka_tower_core::{
    ConsumerGroup, Control, ErrorKind, Persistence, Record, Recovery, Result, TopicOffset, TransactionControl,
    TransactionEnd,
};
use kafka_tower_rdkafka::{DeliveryFuture, MockCluster, RdkafkaTransport};
use tower::{Service, ServiceExt};

const TIME: Duration = Duration::from_secs(30);
/// A broker that is not the coordinator.
const SLOW: i32 = 1;
const SHORT: Duration = Duration::from_millis(200);
/// Kafka's keys of requests.
const FIND_COORDINATOR: i16 = 10;
const INIT_PRODUCER_ID: i16 = 22;
const END_TXN: i16 = 26;
/// Kafka's codes.
const UNKNOWN_TOPIC: i32 = 3;
const TOO_LARGE: i32 = 10;
const LOADING: i32 = 14;
const NO_COORDINATOR: i32 = 15;
const ID_DENIED: i32 = 53;

struct Producer {
    cluster: MockCluster,
    transport: RdkafkaTransport,
    control: Arc<dyn Control>,
    transactions: Arc<dyn TransactionControl>,
}

impl Producer {
    async fn new() -> Self {
        Self::with_brokers(1).await
    }

    /// Each broker leads one partition of the topic.
    async fn with_brokers(brokers: u8) -> Self {
        let cluster = MockCluster::start(brokers).unwrap();
        cluster.create_topic("t", u32::from(brokers)).unwrap();
        let builder = RdkafkaTransport::builder().property("bootstrap.servers", cluster.bootstrap()).topic("t");
        let builder = builder.property("transactional.id", "id").property("linger.ms", "0").connect_timeout(TIME);
        let builder = builder.property("topic.metadata.propagation.max.ms", "1");
        let transport = builder.connect().await.unwrap();
        let control = transport.control();
        let transactions = control.transactions().unwrap();
        transactions.init(TIME).await.unwrap();
        Self { cluster, transport, control, transactions }
    }

    async fn send(&mut self) {
        self.transport.ready().await.unwrap().call(Record::new("t").with_value("v")).await.unwrap();
    }

    async fn call(&mut self, record: Record) -> DeliveryFuture {
        self.transport.ready().await.unwrap().call(record.with_value("v"))
    }

    /// Begins a transaction with a record that has no answer.
    async fn begin_with_an_unanswered_record(&mut self) -> DeliveryFuture {
        self.transactions.begin(TIME).await.unwrap();
        for partition in [0, 1] {
            self.call(Record::new("t").with_partition(partition)).await.await.unwrap();
        }
        self.cluster.set_round_trip(SLOW, Duration::from_secs(600)).unwrap();
        let unanswered = self.call(Record::new("t").with_partition(SLOW - 1)).await;
        // It has reached the broker.
        tokio::time::sleep(Duration::from_millis(100)).await;
        unanswered
    }

    async fn end(&self, commit: bool) {
        if commit { self.transactions.commit(TIME).await } else { self.transactions.abort(TIME).await }.unwrap();
    }

    async fn send_offsets(&self) -> Result<()> {
        let offset = TopicOffset { topic: "t".into(), partition: 0, offset: 1 };
        let group =
            ConsumerGroup { group_id: "g".into(), generation: -1, member_id: String::new(), group_instance_id: None };
        self.transactions.send_offsets(vec![offset], group, TIME).await
    }

    /// A transaction whose end librdkafka requests twice, because the first request is answered with an error.
    async fn end_twice(&mut self) {
        self.transactions.begin(TIME).await.unwrap();
        self.send().await;
        self.cluster.fail_requests(END_TXN, &[LOADING]);
        self.end(true).await;
    }
}

#[tokio::test]
async fn a_thousand_undisturbed_transactions_replace_nothing() {
    let mut producer = Producer::new().await;
    for n in 0..1_000 {
        producer.transactions.begin(TIME).await.unwrap();
        // Every fourth is empty, so that librdkafka sends no request.
        if n % 4 != 0 {
            producer.send().await;
        }
        producer.end(n % 3 != 0).await;
    }
    producer.transactions.begin(TIME).await.unwrap();
    assert_eq!(producer.control.generation(), 0);
}

#[tokio::test]
async fn an_end_that_was_requested_twice_replaces_the_producer_once() {
    for commit in [true, false] {
        let mut producer = Producer::new().await;
        for generation in 0..2 {
            producer.transactions.begin(TIME).await.unwrap();
            producer.send().await;
            producer.cluster.fail_requests(END_TXN, &[LOADING]);
            producer.end(commit).await;
            assert_eq!(producer.control.generation(), generation, "not before the next transaction");
            for _ in 0..2 {
                producer.transactions.begin(TIME).await.unwrap();
                producer.send().await;
                assert_eq!(producer.control.generation(), generation + 1);
                producer.end(commit).await;
            }
        }
        let report = producer.control.close(TIME).await.unwrap();
        assert!(report.is_complete(), "{report}");
    }
}

#[tokio::test]
async fn a_transactional_id_that_is_denied_is_a_typed_error() {
    let mut producer = Producer::new().await;
    producer.end_twice().await;
    producer.cluster.fail_requests(INIT_PRODUCER_ID, &[ID_DENIED]);
    let error = producer.transactions.begin(TIME).await.unwrap_err();
    let facts = (error.kind(), error.recovery(), error.persistence());
    assert_eq!(facts, (ErrorKind::Authorization, Recovery::Fatal, Persistence::NotPersisted), "{error:#}");
    // It is permitted again.
    producer.transactions.begin(TIME).await.unwrap();
    assert_eq!(producer.control.generation(), 1);
}

#[tokio::test]
async fn a_close_or_a_drop_during_a_replacement_ends_in_time() {
    for (closes, is_reachable) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut producer = Producer::new().await;
        producer.end_twice().await;
        producer.cluster.broker_down(1).unwrap();
        let error = producer.transactions.begin(SHORT).await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Timeout, Recovery::Retry), "{error:#}");
        if is_reachable {
            producer.cluster.broker_up(1).unwrap();
        }
        let Producer { cluster, transport, control, transactions } = producer;
        if closes {
            let (begun, report) = tokio::join!(transactions.begin(TIME), control.close(Duration::from_secs(3)));
            let report = report.unwrap();
            assert!(report.is_complete() && report.transaction.is_none(), "{report}");
            // It was begun before the close, or it was not begun.
            if let Err(error) = begun {
                assert_eq!(
                    (error.kind(), error.persistence()),
                    (ErrorKind::Closed, Persistence::NotPersisted),
                    "{error:#}"
                );
            }
            let error = transactions.begin(TIME).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{error:#}");
        }
        drop((transactions, control, transport));
        drop(cluster);
    }
}

/// librdkafka would wait for the others, although it refuses to commit then.
#[tokio::test]
async fn a_commit_does_not_wait_for_records_after_one_has_failed() {
    for code in [TOO_LARGE, UNKNOWN_TOPIC] {
        let mut producer = Producer::with_brokers(2).await;
        let mut unanswered = producer.begin_with_an_unanswered_record().await;
        let record = if code == TOO_LARGE {
            producer.cluster.fail_produce(&[code]);
            Record::new("t").with_partition(2 - SLOW)
        } else {
            producer.cluster.set_topic_error("none", code).unwrap();
            Record::new("none")
        };
        producer.call(record).await.await.unwrap_err();
        let error = producer.transactions.commit(Duration::from_secs(3)).await.unwrap_err();
        assert!((&mut unanswered).now_or_never().is_none(), "{code}: {error:#}");
        assert_eq!(
            (error.recovery(), error.persistence()),
            (Recovery::AbortTransaction, Persistence::NotPersisted),
            "{code}: {error:#}"
        );
        // librdkafka aborts after the answers of what it has sent.
        producer.cluster.set_round_trip(SLOW, Duration::ZERO).unwrap();
        producer.cluster.broker_down(SLOW).unwrap();
        producer.cluster.broker_up(SLOW).unwrap();
        producer.end(false).await;
        if let Err(error) = unanswered.await {
            assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
        }
        producer.transactions.begin(TIME).await.unwrap();
        producer.call(Record::new("t").with_partition(2 - SLOW)).await.await.unwrap();
        producer.end(true).await;
    }
}

/// librdkafka asks for the coordinator of the group three times, and then not before a connection is made or lost.
#[tokio::test]
async fn a_transaction_is_aborted_and_repeated_if_the_groups_coordinator_is_not_found() {
    let mut producer = Producer::new().await;
    producer.transactions.begin(TIME).await.unwrap();
    drop(producer.call(Record::new("t")).await);
    producer.cluster.fail_requests(FIND_COORDINATOR, &[NO_COORDINATOR; 3]);
    let error = producer.send_offsets().await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Timeout, Recovery::AbortTransaction), "{error}");
    let error = producer.transactions.commit(SHORT).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
    producer.end(false).await;
    assert_eq!(producer.control.generation(), 1);
    producer.transactions.begin(TIME).await.unwrap();
    producer.send().await;
    producer.send_offsets().await.unwrap();
    producer.end(true).await;
    assert_eq!(producer.control.generation(), 1);
    assert!(producer.control.close(TIME).await.unwrap().is_complete());
}

#[tokio::test]
async fn a_close_does_not_wait_for_offsets_whose_coordinator_is_not_found() {
    let producer = Producer::new().await;
    producer.transactions.begin(TIME).await.unwrap();
    producer.cluster.fail_requests(FIND_COORDINATOR, &[NO_COORDINATOR; 3]);
    let error = producer.send_offsets().await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::AbortTransaction, "{error}");
    let closed = tokio::time::timeout(TIME / 2, producer.control.close(TIME)).await.expect("it does not wait").unwrap();
    assert!(matches!(closed.transaction, Some(TransactionEnd::Unknown(_))), "{closed:?}");
}
