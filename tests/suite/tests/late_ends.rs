//! The end of a transaction reaches the broker late, during the next transaction (KAFKA-17754). On a real Apache Kafka,
//! behind a proxy; a reader of committed records on another listener has the last word.
//!
//! `KAFKA_TOWER_ROUNDS` is the number of rounds of each case, by default 20, and 3 for late records. Late ends of several
//! producers run side by side: the proxy knows their requests by the transactional id.
#![allow(clippy::unwrap_used)] // a test may fail

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{Control, Error, ErrorKind, Persistence, Record, Recovery, Result, TransactionControl};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_suite::proxied::alone;
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Isolation, Listener, Proxy, ReadRecord};
use tower::{Service, ServiceExt};

const TIME: Duration = Duration::from_secs(30);
/// librdkafka gives up a request after this time.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
/// A caller stops waiting after this time, and repeats the call.
const CALLER_TIMEOUT: Duration = Duration::from_millis(100);

/// Number of rounds of a case that run at the same time, where each has its own producer.
const SIDE_BY_SIDE: usize = 4;

fn rounds() -> usize {
    rounds_or(20)
}

fn rounds_or(default: usize) -> usize {
    std::env::var("KAFKA_TOWER_ROUNDS")
        .map_or(default, |rounds| rounds.parse().expect("KAFKA_TOWER_ROUNDS is a number"))
}

/// What happens to the request that ends the first transaction. The proxy passes it on in the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection is cut.
    Cut,
    /// librdkafka gives up the request, and then the connection.
    RequestTimeout,
    /// The same, and the caller's time is up before: the caller repeats the call.
    CallerTimeout,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Whether the first transaction is committed; the second one is ended in the other way.
    commit: bool,
    partitions: i32,
    fault: Fault,
}

impl Case {
    fn all(faults: &[Fault]) -> Vec<Self> {
        let ends = [(true, 1), (true, 2), (false, 1), (false, 2)];
        let with_faults = |(commit, partitions)| faults.iter().map(move |&fault| Self { commit, partitions, fault });
        ends.into_iter().flat_map(with_faults).collect()
    }
}

struct Producer {
    transport: RdkafkaTransport,
    control: std::sync::Arc<dyn Control>,
    topic: String,
}

impl Producer {
    async fn new(kafka: &Cluster, topic: &str, replaces: bool) -> Self {
        let transport = RdkafkaTransport::builder()
            .property("bootstrap.servers", kafka.bootstrap_of(Listener::Proxy).unwrap())
            .property("transactional.id", topic)
            .property("linger.ms", "0")
            .property("socket.timeout.ms", REQUEST_TIMEOUT.as_millis().to_string())
            .property("reconnect.backoff.ms", "10")
            .property("reconnect.backoff.max.ms", "100")
            .replace_after_unclean_end(replaces)
            // With such short requests a busy broker needs several attempts.
            .connect_timeout(TIME)
            .topic(topic)
            .connect()
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
        let control = transport.control();
        let producer = Self { transport, control, topic: topic.to_owned() };
        producer.transactions().init(TIME).await.unwrap();
        producer
    }

    fn transactions(&self) -> std::sync::Arc<dyn TransactionControl> {
        self.control.transactions().unwrap()
    }

    async fn end(&self, commit: bool, within: Duration) -> Result<()> {
        let transactions = self.transactions();
        if commit { transactions.commit(within).await } else { transactions.abort(within).await }
    }

    async fn send(&mut self, partition: i32, value: String) -> Result<()> {
        let record = Record::new(self.topic.as_str()).with_value(value).with_partition(partition);
        self.transport.ready().await.unwrap().call(record).await.map(drop)
    }

    async fn send_all(&mut self, partitions: i32, value: &str) {
        for partition in 0..partitions {
            self.send(partition, format!("{value}.{partition}")).await.unwrap();
        }
    }

    async fn close(self) {
        let report = self.control.close(TIME).await.unwrap();
        assert!(report.is_complete(), "{report}");
    }

    /// Ends the transaction while the proxy holds the request. Its call returns `Ok`.
    async fn end_disturbed(&self, proxy: &Proxy, case: Case) {
        let action = if case.fault == Fault::Cut { Action::HoldAndCut } else { Action::Hold };
        proxy.next_of(ApiKey::END_TXN, &self.topic, action);
        if case.fault == Fault::CallerTimeout {
            let error = self.end(case.commit, CALLER_TIMEOUT).await.unwrap_err();
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Timeout, Recovery::Retry), "{error:#}");
            proxy.wait_for_held_of(&self.topic, 1).await.unwrap();
        }
        self.end(case.commit, TIME).await.unwrap_or_else(|error| panic!("{case:?}: {error:#}"));
        proxy.wait_for_held_of(&self.topic, 1).await.unwrap();
    }
}

/// Values of the committed records, sorted.
async fn visible(kafka: &Cluster, topic: &str) -> Vec<String> {
    let read = kafka.read_as(topic, Isolation::Committed).await.unwrap();
    let mut values: Vec<_> = read.iter().map(ReadRecord::text).collect();
    values.sort();
    values
}

/// Two transactions: the end of the first one is disturbed, and reaches the broker in the second one. Returns how the
/// second one ended. Adds the records that must be visible then.
async fn round(
    kafka: &Cluster,
    producer: &mut Producer,
    case: Case,
    n: usize,
    expected: &mut Vec<String>,
) -> Result<()> {
    let proxy = kafka.proxy().unwrap();
    let (first, second) = (format!("{n:03}.first"), format!("{n:03}.second"));
    producer.transactions().begin(TIME).await.unwrap();
    producer.send_all(case.partitions, &first).await;
    producer.end_disturbed(proxy, case).await;

    producer.transactions().begin(TIME).await.unwrap();
    producer.send(0, format!("{second}.0")).await.unwrap();
    proxy.release_of(&producer.topic).await.unwrap();
    for partition in 1..case.partitions {
        producer.send(partition, format!("{second}.{partition}")).await.unwrap();
    }
    let visible = if case.commit { first } else { second };
    expected.extend((0..case.partitions).map(|partition| format!("{visible}.{partition}")));
    producer.end(!case.commit, TIME).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_end_has_no_effect_on_the_next_transaction() {
    let Some((kafka, _alone)) = alone().await else { return };
    let rounds_of = |case: Case| async move {
        let topic = kafka.topic("late-ends", case.partitions).await.unwrap();
        let mut producer = Producer::new(kafka, &topic, true).await;
        let mut expected = Vec::new();
        for n in 0..rounds() {
            let ended = round(kafka, &mut producer, case, n, &mut expected).await;
            ended.unwrap_or_else(|error| panic!("{case:?}, round {n}: {error:#}"));
            // One replacement for each disturbed end, and none for the other one.
            assert_eq!(producer.control.generation(), n as u64 + 1, "{case:?}");
        }
        assert_eq!(visible(kafka, &topic).await, expected, "{case:?}");
        // The end of the last transaction was clean.
        producer.transactions().begin(TIME).await.unwrap();
        assert_eq!(producer.control.generation(), rounds() as u64, "{case:?}");
        producer.close().await;
    };
    join_all(Case::all(&[Fault::Cut, Fault::RequestTimeout, Fault::CallerTimeout]).into_iter().map(rounds_of)).await;
}

/// The negative control: without replacements each round has a wrong result. With two partitions no call says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_replacements_a_late_end_ends_the_next_transaction() {
    let Some((kafka, _alone)) = alone().await else { return };
    let rounds_of = |(case, first): (Case, usize)| async move {
        for n in (first..rounds()).step_by(SIDE_BY_SIDE) {
            let topic = kafka.topic("late-ends-control", case.partitions).await.unwrap();
            let mut producer = Producer::new(kafka, &topic, false).await;
            let mut expected = Vec::new();
            let ended = round(kafka, &mut producer, case, n, &mut expected).await;
            let is_right = visible(kafka, &topic).await == expected;
            assert!(!is_right, "{case:?}, round {n}: the result is right");
            if case.partitions == 2 {
                ended.unwrap_or_else(|error| panic!("{case:?}, round {n}: {error:#}"));
            }
            assert_eq!(producer.control.generation(), 0);
            // The producer may have ended.
            drop(producer.control.close(TIME).await.unwrap());
            // A broker with some thousand partitions and 256 MiB of memory ended in a run of 200 rounds.
            kafka.delete_topic(&topic).await.unwrap();
        }
    };
    // Each round has a producer of its own.
    let cases = Case::all(&[Fault::Cut, Fault::RequestTimeout]).into_iter();
    join_all(cases.flat_map(|case| (0..SIDE_BY_SIDE).map(move |first| (case, first))).map(rounds_of)).await;
}

/// A record was written, its answer was lost, and its transaction was aborted. librdkafka uses its sequence number again:
/// without a replacement the broker takes the first record of the next transaction for a copy of it, and does not write
/// it, although its send and the commit return `Ok`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_without_an_answer_does_not_replace_one_of_the_next_transaction() {
    let Some((kafka, _alone)) = alone().await else { return };
    let proxy = kafka.proxy().unwrap();
    for replaces in [true, false] {
        for n in 0..rounds_or(3) {
            let topic = kafka.topic("unanswered-records", 1).await.unwrap();
            let mut producer = Producer::new(kafka, &topic, replaces).await;
            producer.transactions().begin(TIME).await.unwrap();
            let answers = proxy.answers(ApiKey::PRODUCE);
            proxy.next(ApiKey::PRODUCE, Action::DropAnswer);
            proxy.next_n(ApiKey::PRODUCE, 1_000, Action::CutBefore);
            let aborted = {
                let record = Record::new(topic.as_str()).with_value("aborted").with_partition(0);
                producer.transport.ready().await.unwrap().call(record)
            };
            proxy.wait_for_answer(ApiKey::PRODUCE, answers + 1).await.unwrap();
            producer.end(false, TIME).await.unwrap();
            proxy.clear_rules();
            assert_eq!(aborted.await.unwrap_err().persistence(), Persistence::PossiblyPersisted);

            producer.transactions().begin(TIME).await.unwrap();
            producer.send(0, "second".to_owned()).await.unwrap();
            producer.end(true, TIME).await.unwrap();
            let expected: &[&str] = if replaces { &["second"] } else { &[] };
            assert_eq!(visible(kafka, &topic).await, expected, "replaces: {replaces}, round {n}");
            assert_eq!(producer.control.generation(), u64::from(replaces));
            producer.close().await;
            kafka.delete_topic(&topic).await.unwrap();
        }
    }
}

/// A request that takes long, but is answered once, is clean.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_end_replaces_nothing() {
    let Some((kafka, _alone)) = alone().await else { return };
    let (topic, proxy) = (kafka.topic("slow-ends", 1).await.unwrap(), kafka.proxy().unwrap());
    let mut producer = Producer::new(kafka, &topic, true).await;
    for (n, commit) in [true, false, true].into_iter().enumerate() {
        producer.transactions().begin(TIME).await.unwrap();
        producer.send_all(1, &n.to_string()).await;
        proxy.next(ApiKey::END_TXN, Action::Hold);
        let error = producer.end(commit, CALLER_TIMEOUT).await.unwrap_err();
        assert_eq!(error.recovery(), Recovery::Retry, "{error:#}");
        proxy.release().await.unwrap();
        producer.end(commit, TIME).await.unwrap();
    }
    producer.transactions().begin(TIME).await.unwrap();
    assert_eq!(producer.control.generation(), 0);
    assert_eq!(visible(kafka, &topic).await, ["0.0", "2.0"]);
    producer.close().await;
}

/// The coordinator cannot be reached when the next transaction begins. The call is repeated, and waits for the same
/// replacement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_without_time_for_the_replacement_can_be_repeated() {
    let Some((kafka, _alone)) = alone().await else { return };
    let (topic, proxy) = (kafka.topic("begin-again", 1).await.unwrap(), kafka.proxy().unwrap());
    let mut producer = Producer::new(kafka, &topic, true).await;
    producer.transactions().begin(TIME).await.unwrap();
    producer.send_all(1, "first").await;
    producer.end_disturbed(proxy, Case { commit: true, partitions: 1, fault: Fault::Cut }).await;
    proxy.down().await.unwrap();
    let facts = |error: &Error| (error.kind(), error.recovery(), error.persistence());
    for _ in 0..3 {
        let error = producer.transactions().begin(CALLER_TIMEOUT).await.unwrap_err();
        assert_eq!(facts(&error), (ErrorKind::Timeout, Recovery::Retry, Persistence::NotPersisted), "{error:#}");
        kafka_tower_test_texts::assert_consistent(&error);
        // No transaction is open.
        let error = producer.send(0, "outside".to_owned()).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
    }
    proxy.up().await.unwrap();
    // Two at once: one of them begins.
    let transactions = producer.transactions();
    let begun = join_all([transactions.begin(TIME), transactions.begin(TIME)]).await;
    assert_eq!(begun.iter().filter(|begun| begun.is_ok()).count(), 1, "{begun:?}");
    producer.send_all(1, "second").await;
    proxy.release().await.unwrap();
    producer.end(true, TIME).await.unwrap();
    assert_eq!(producer.control.generation(), 1);
    assert_eq!(visible(kafka, &topic).await, ["first.0", "second.0"]);
    producer.close().await;
}

/// The coordinator's answer comes only after a task of the same thread has run for a while: a call that blocked the thread
/// would never get it.
#[tokio::test(flavor = "current_thread")]
async fn a_commit_blocks_no_thread_of_the_runtime() {
    let Some((kafka, _alone)) = alone().await else { return };
    let (topic, proxy) = (kafka.topic("free-threads", 1).await.unwrap(), kafka.proxy().unwrap());
    let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let sink = KafkaSink::<u32>::builder(KafkaSinkConfig::exactly_once(brokers, topic.as_str(), topic.as_str()));
    let sink = sink.build().await.unwrap_or_else(|error| panic!("{error:#}"));
    for (n, commit) in [(1, true), (2, false), (3, true)] {
        sink.begin_transaction().await.unwrap();
        sink.send(n).await.unwrap();
        proxy.next(ApiKey::END_TXN, Action::Hold);
        let events = RefCell::new(Vec::new());
        let ends = async {
            let ended = if commit { sink.commit_transaction().await } else { sink.abort_transaction().await };
            events.borrow_mut().push("ended");
            ended.unwrap_or_else(|error| panic!("{error:#}"));
        };
        let ticks = async {
            proxy.wait_for_held(1).await.unwrap();
            let mut ticker = tokio::time::interval(Duration::from_millis(1));
            for _ in 0..20 {
                ticker.tick().await;
            }
            events.borrow_mut().push("ticked");
            proxy.release().await.unwrap();
        };
        tokio::join!(ends, ticks);
        assert_eq!(*events.borrow(), ["ticked", "ended"]);
    }
    assert_eq!(visible(kafka, &topic).await, ["1", "3"]);
    sink.close().await.unwrap();
}
