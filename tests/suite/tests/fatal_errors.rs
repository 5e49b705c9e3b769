//! A producer without transactions that ends by a fatal error is replaced, and loses and doubles nothing. On a real
//! Apache Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::{Control, Delivery, Error, ErrorKind, InFlight, Persistence, Record, Recovery, Result};
use kafka_tower_rdkafka::{DeliveryFuture, RdkafkaBuilder, RdkafkaTransport};
use kafka_tower_test_suite::proxied::alone;
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Listener, segments};
use tower::{Service, ServiceExt};

/// Enough time even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;
/// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
const OUT_OF_ORDER: i16 = 45;
/// `NOT_LEADER_OR_FOLLOWER`.
const NOT_LEADER: i16 = 6;

/// Requests of five records.
fn builder(bootstrap: String, topic: &str) -> RdkafkaBuilder {
    RdkafkaTransport::builder()
        .property("bootstrap.servers", bootstrap)
        .property("batch.num.messages", "5")
        .property("linger.ms", "5")
        .property("reconnect.backoff.ms", "10")
        .property("reconnect.backoff.max.ms", "100")
        .connect_timeout(PATIENCE)
        .topic(topic)
}

/// A transport, and what became of its records by partition, in the order of the calls.
struct Sender {
    transport: RdkafkaTransport,
    control: Arc<dyn Control>,
    topic: String,
    called: Vec<Vec<(String, DeliveryFuture)>>,
    calls: usize,
}

struct Outcomes(Vec<Vec<(String, Result<Delivery>)>>);

impl Sender {
    async fn new(builder: RdkafkaBuilder, topic: &str) -> Self {
        let transport = builder.connect().await.unwrap_or_else(|error| panic!("{error:#}"));
        let (control, called) = (transport.control(), (0..PARTITIONS).map(|_| Vec::new()).collect());
        Self { transport, control, topic: topic.to_owned(), called, calls: 0 }
    }

    /// Calls this many records for each partition.
    async fn call(&mut self, count: usize) {
        for _ in 0..count {
            for partition in 0..PARTITIONS {
                let value = format!("{:05}", self.calls);
                self.calls += 1;
                let record = Record::new(self.topic.as_str()).with_value(value.clone()).with_partition(partition);
                let future = self.transport.ready().await.unwrap().call(record);
                self.called[usize::try_from(partition).unwrap()].push((value, future));
            }
        }
    }

    async fn outcomes(&mut self) -> Outcomes {
        let mut all = Vec::new();
        for called in &mut self.called {
            let (values, futures): (Vec<_>, Vec<_>) = called.drain(..).unzip();
            all.push(values.into_iter().zip(join_all(futures).await).collect());
        }
        Outcomes(all)
    }
}

impl Outcomes {
    fn count(&self, is: impl Fn(&Result<Delivery>) -> bool) -> usize {
        self.0.iter().flatten().filter(|(_, outcome)| is(outcome)).count()
    }

    /// The log of each partition has the delivered records once and in the order of their calls, and of the others only
    /// some that are in doubt.
    async fn assert_true(&self, kafka: &Cluster, topic: &str) {
        let read = kafka.read(topic).await.unwrap();
        for (partition, outcomes) in self.0.iter().enumerate() {
            let partition = i32::try_from(partition).unwrap();
            let log: Vec<_> = read.iter().filter(|record| record.partition == partition).map(|r| r.text()).collect();
            // The calls of a partition are numbered in order.
            let is_ours = |value: &String| outcomes.iter().any(|(own, _)| own == value);
            let ours: Vec<_> = log.into_iter().filter(is_ours).collect();
            assert!(ours.is_sorted_by(|a, b| a < b), "partition {partition} is in order, without copies: {ours:?}");
            for (value, outcome) in outcomes {
                match outcome {
                    Ok(_) => assert!(ours.contains(value), "partition {partition} has {value}"),
                    Err(error) if error.persistence() == Persistence::NotPersisted => {
                        assert!(!ours.contains(value), "partition {partition}: {value}: {error:#}");
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

fn assert_in_doubt(error: &Error) {
    assert_eq!(
        (error.kind(), error.recovery(), error.persistence()),
        (ErrorKind::Broker, Recovery::Retry, Persistence::PossiblyPersisted),
        "{error:#}"
    );
    kafka_tower_test_texts::assert_consistent(error);
}

/// Drops the second half of the records of each partition from the broker's disk, as a machine that crashes before they are
/// written may do.
fn lose_the_end(kafka: &Cluster, topic: &str) {
    for partition in 0..PARTITIONS {
        let dir = kafka.data_dir(1).unwrap().join(format!("{topic}-{partition}"));
        let batches = segments::read(&dir).unwrap();
        assert!(batches.len() > 1, "{batches:?}");
        let kept: usize = batches[..batches.len() / 2].iter().map(|batch| batch.bytes).sum();
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("log") => fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(kept as u64).unwrap(),
                Some("index" | "timeindex" | "snapshot") => fs::remove_file(&path).unwrap(),
                _ => {}
            }
        }
    }
}

/// A broker that has lost acknowledged records answers the next batches of their producer with 45.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_survives_a_broker_that_lost_the_end_of_its_log() {
    for replaces in [true, false] {
        let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
        let topic = kafka.topic("lost-end", PARTITIONS).await.unwrap();
        let builder = builder(kafka.bootstrap().to_owned(), &topic).replace_after_fatal_error(replaces);
        let mut sender = Sender::new(builder, &topic).await;
        sender.call(30).await;
        let before = sender.outcomes().await;
        assert_eq!(before.count(Result::is_ok), 90);

        kafka.kill(1).unwrap();
        sender.call(40).await;
        lose_the_end(&kafka, &topic);
        kafka.restart(1).await.unwrap();
        let during = sender.outcomes().await;
        during.assert_true(&kafka, &topic).await;
        let delivered = during.count(Result::is_ok);
        sender.call(10).await;
        let after = sender.outcomes().await;
        after.assert_true(&kafka, &topic).await;
        if replaces {
            let errors = during.0.iter().flatten().filter_map(|(_, outcome)| outcome.as_ref().err());
            errors.for_each(assert_in_doubt);
            // Of each partition at least the first batch was tried.
            assert!((1..=120 - 3 * 5).contains(&delivered), "{delivered}");
            assert_eq!(after.count(Result::is_ok), 30);
        } else {
            // The negative control.
            assert_eq!(delivered, 0);
            assert_eq!(after.count(|outcome| outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::Fatal)), 30);
        }
        assert_eq!(sender.control.generation(), u64::from(replaces));
        sender.control.flush().await.unwrap();
        assert_eq!(sender.control.in_flight(), InFlight::default());
        let report = sender.control.close(PATIENCE).await.unwrap();
        assert!(report.is_complete(), "{report}");
    }
}

/// The broker appends, and its answer says that it has forgotten the producer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_doubled_if_the_batch_that_ends_the_producer_was_appended() {
    let Some((kafka, _alone)) = alone().await else { return };
    let proxy = kafka.proxy().unwrap();
    for close in [false, true] {
        let topic = kafka.topic("appended", PARTITIONS).await.unwrap();
        let builder = builder(kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic);
        let mut sender = Sender::new(builder, &topic).await;
        sender.call(1).await;
        assert_eq!(sender.outcomes().await.count(Result::is_ok), 3);
        proxy.next(ApiKey::PRODUCE, Action::FailProduce(OUT_OF_ORDER));
        sender.call(100).await;
        if close {
            // In the middle.
            let report = sender.control.close(PATIENCE).await.unwrap();
            assert_eq!((report.failed, report.undelivered.len() as u64), (0, report.unknown), "{report}");
        }
        let outcomes = sender.outcomes().await;
        outcomes.assert_true(kafka, &topic).await;
        let unknown = outcomes.0.iter().flatten().filter_map(|(_, outcome)| outcome.as_ref().err());
        assert!(unknown.inspect(|error| assert_in_doubt(error)).count() >= 1);
        assert!(outcomes.count(Result::is_ok) >= 300 - 3 * 5 * 5, "only what was in flight");
        assert_eq!(sender.control.generation(), 1);
        drop(sender.control.close(PATIENCE).await.unwrap());
        assert_eq!(sender.control.in_flight(), InFlight::default());
    }
}

/// A batch was appended and its leader answered 6, so it waits in the client's queue for a retry. Sent again by a new
/// producer, it would be in the log twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_doubled_if_an_appended_batch_waits_for_a_retry() {
    let Some((kafka, _alone)) = alone().await else { return };
    let proxy = kafka.proxy().unwrap();
    let topic = kafka.topic("retried", PARTITIONS).await.unwrap();
    let builder = builder(kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic)
        .property("retry.backoff.ms", "5000")
        .property("retry.backoff.max.ms", "5000");
    let mut sender = Sender::new(builder, &topic).await;
    sender.call(1).await;
    assert_eq!(sender.outcomes().await.count(Result::is_ok), 3);
    proxy.next_n(ApiKey::PRODUCE, 3, Action::FailProduce(NOT_LEADER));
    let answers = proxy.answers(ApiKey::PRODUCE);
    sender.call(1).await;
    proxy.wait_for_answer(ApiKey::PRODUCE, answers + 3).await.unwrap();
    // The retry, at which the broker says that it has forgotten the producer.
    proxy.next_n(ApiKey::PRODUCE, 3, Action::FailProduce(OUT_OF_ORDER));
    let outcomes = sender.outcomes().await;
    outcomes.assert_true(kafka, &topic).await;
    let unknown = outcomes.0.iter().flatten().filter_map(|(_, outcome)| outcome.as_ref().err());
    assert!(unknown.inspect(|error| assert_in_doubt(error)).count() >= 1);
    proxy.clear_rules();
    sender.call(1).await;
    let outcomes = sender.outcomes().await;
    outcomes.assert_true(kafka, &topic).await;
    assert_eq!(outcomes.count(Result::is_ok), 3);
    assert_eq!(sender.control.generation(), 1);
    assert!(sender.control.close(PATIENCE).await.unwrap().is_complete());
}

/// The connection is lost with requests on it, and then the broker has forgotten the producer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_doubled_if_answers_were_lost_before() {
    let Some((kafka, _alone)) = alone().await else { return };
    let proxy = kafka.proxy().unwrap();
    let mut replaced = 0;
    for round in 0..5 {
        let topic = kafka.topic("lost-answers", PARTITIONS).await.unwrap();
        let builder = builder(kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic);
        let mut sender = Sender::new(builder, &topic).await;
        sender.call(1).await;
        assert_eq!(sender.outcomes().await.count(Result::is_ok), 3);
        // Some of the requests are on the connection that is cut.
        proxy.next(ApiKey::PRODUCE, Action::DropAnswer);
        proxy.next_n(ApiKey::PRODUCE, round, Action::DropAnswer);
        proxy.next(ApiKey::PRODUCE, Action::FailProduce(OUT_OF_ORDER));
        sender.call(50).await;
        let outcomes = sender.outcomes().await;
        outcomes.assert_true(kafka, &topic).await;
        proxy.clear_rules();
        sender.call(10).await;
        let outcomes = sender.outcomes().await;
        outcomes.assert_true(kafka, &topic).await;
        assert_eq!(outcomes.count(Result::is_ok), 30, "round {round}");
        replaced += sender.control.generation();
        assert!(sender.control.close(PATIENCE).await.unwrap().is_complete());
    }
    assert!((1..=5).contains(&replaced), "{replaced}");
}
