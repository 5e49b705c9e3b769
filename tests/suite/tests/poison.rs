//! A failure that concerns one topic does not affect sends to other topics. Against a real Apache Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower::{Delivery, ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, Result, SinkMessage};
use kafka_tower_core::Record;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Listener, Resource};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::Service as _;

/// Enough time even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(brokers: &str, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig { brokers: brokers.into(), topic: topic.into(), ..Default::default() }
}

fn to(topic: &str, n: usize) -> SinkMessage<String> {
    SinkMessage::new(n.to_string()).with_topic(topic.to_owned())
}

/// Sends to one topic, many records at a time, until it is stopped.
struct Stream {
    stop: watch::Sender<bool>,
    sends: JoinHandle<Vec<JoinHandle<Result<Delivery>>>>,
}

impl Stream {
    fn start(sink: &KafkaSink<String>, topic: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (sink, topic) = (sink.clone(), topic.to_owned());
        let sends = tokio::spawn(async move {
            let mut sends = Vec::new();
            while !*stopped.borrow() {
                let (sink, message) = (sink.clone(), to(&topic, sends.len()));
                sends.push(tokio::spawn(async move { sink.send(message).await }));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sends
        });
        Self { stop, sends }
    }

    /// Stops sending, asserts that every record was delivered, and returns their number.
    async fn all_delivered(self) -> usize {
        self.stop.send(true).unwrap();
        let sends = join_all(self.sends.await.unwrap()).await;
        let count = sends.len();
        for (n, sent) in sends.into_iter().enumerate() {
            sent.unwrap().unwrap_or_else(|error| panic!("{n} of {count} to another topic: {error:#}"));
        }
        count
    }
}

async fn until_delivered(sink: &KafkaSink<String>, topic: &str) {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = sink.send(to(topic, 0)).await {
        assert!(Instant::now() < end, "{error:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A proxy corrupts the broker's answers about one topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_cannot_be_read_fail_the_sends_to_their_topic_only() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let (poison, other) = (kafka.topic("poison", 1).await.unwrap(), kafka.topic("other", 1).await.unwrap());
    let proxy = kafka.proxy().unwrap();
    let config =
        KafkaSinkConfig { send_timeout_ms: 5_000, ..config(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &poison) };
    // Connecting survives some corrupted answers.
    proxy.next_n(ApiKey::METADATA, 2, Action::SpoilAnswer);
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    sink.send(to(&poison, 0)).await.unwrap();
    let others = Stream::start(&sink, &other);
    proxy.always(ApiKey::PRODUCE, &poison, Action::SpoilAnswer);
    for n in 1..20 {
        let error = sink.send(to(&poison, n)).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
        assert_eq!(error.kind(), ErrorKind::Broker, "{error:#}");
        assert!(error.to_string().contains("the broker's answer could not be read"), "{error:#}");
    }
    proxy.clear_rules();
    proxy.always(ApiKey::METADATA, &poison, Action::SpoilAnswer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.clear_rules();
    until_delivered(&sink, &poison).await;
    let count = others.all_delivered().await;
    sink.close().await.unwrap();
    assert_eq!(kafka.read(&other).await.unwrap().len(), count, "each record is in the log once");
}

/// A client with a stuck partition stays in use until a new client has a producer id, because it still delivers to
/// other topics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_replaced_only_by_one_that_can_deliver() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let (poison, other) = (kafka.topic("poison", 1).await.unwrap(), kafka.topic("other", 1).await.unwrap());
    let proxy = kafka.proxy().unwrap();
    let config =
        KafkaSinkConfig { send_timeout_ms: 4_000, ..config(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &poison) };
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    sink.send(to(&poison, 0)).await.unwrap();
    let others = Stream::start(&sink, &other);
    let ids = proxy.requests(ApiKey::INIT_PRODUCER_ID);
    proxy.always(ApiKey::INIT_PRODUCER_ID, "", Action::CutBefore);
    proxy.always(ApiKey::PRODUCE, &poison, Action::CutBefore);
    let error = sink.send(to(&poison, 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted), "{error:#}");
    proxy.wait_for(ApiKey::INIT_PRODUCER_ID, ids + 2).await.unwrap();
    assert_eq!(sink.control().generation(), 0);
    proxy.clear_rules();
    until_delivered(&sink, &poison).await;
    assert_eq!(sink.control().generation(), 1, "the client is replaced once");
    others.all_delivered().await;
    sink.close().await.unwrap();
}

/// A record for which the broker closes the connection keeps other records waiting no longer than its short deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_closes_connections_delays_others_at_most_by_its_deadline() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let (poison, other) = (kafka.topic("poison", 1).await.unwrap(), kafka.topic("other", 1).await.unwrap());
    let proxy = kafka.proxy().unwrap();
    let config = config(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &poison);
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    sink.send(to(&poison, 0)).await.unwrap();
    let others = Stream::start(&sink, &other);
    proxy.always(ApiKey::PRODUCE, &poison, Action::CutBefore);
    let message = to(&poison, 1).with_deadline(Instant::now() + Duration::from_millis(200));
    let error = sink.send(message).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    let end = Instant::now() + PATIENCE;
    while sink.control().generation() == 0 {
        assert!(Instant::now() < end, "the record is still in the client");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sink.send(to(&other, 0)).await.unwrap();
    others.all_delivered().await;
    proxy.clear_rules();
    until_delivered(&sink, &poison).await;
    sink.close().await.unwrap();

    // The same for isolated records: the transport has a second client for them.
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap_of(Listener::Proxy).unwrap())
        .connect()
        .await
        .unwrap();
    let mut alone = |topic: &str, budget: Option<Duration>| {
        let mut record = Record::new(topic).with_value(vec![b'x'; 20_000]);
        record.isolated = true;
        record.expires_at = budget.map(|budget| Instant::now() + budget);
        transport.call(record)
    };
    alone(&poison, None).await.unwrap();
    proxy.always(ApiKey::PRODUCE, &poison, Action::CutBefore);
    let first = alone(&poison, None);
    let second = tokio::spawn(alone(&poison, Some(Duration::from_millis(200))));
    let mut sends = Vec::new();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        sends.push(alone(&other, Some(PATIENCE)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = first.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error:#}");
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    for sent in join_all(sends).await {
        sent.unwrap_or_else(|error| panic!("another record: {error:#}"));
    }
    proxy.clear_rules();
    alone(&poison, Some(PATIENCE)).await.unwrap();
}

/// The broker with a partition's only replica is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_leader_does_not_delay_others() {
    let Some(kafka) = Cluster::start(2).await.unwrap() else { return };
    for (topic, brokers) in [("gone", &[1][..]), ("half", &[1, 2]), ("there", &[2])] {
        kafka.create_topic_on(topic, brokers).await.unwrap();
    }
    let config =
        KafkaSinkConfig { send_timeout_ms: 1_000, delivery_bound_ms: 3_000, ..config(kafka.bootstrap(), "there") };
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    for topic in ["gone", "half", "there"] {
        sink.send(to(topic, 0)).await.unwrap();
    }
    kafka.terminate(1).await.unwrap();
    let others = Stream::start(&sink, "there");
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        let half = |partition| sink.send(to("half", 0).with_partition(partition));
        let (gone, without, with) = tokio::join!(sink.send(to("gone", 0)), half(0), half(1));
        with.unwrap_or_else(|error| panic!("the partition with a leader: {error:#}"));
        for failed in [gone, without] {
            let error = failed.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error:#}");
            let text = error.to_string();
            assert!(text.contains("LEADER_NOT_AVAILABLE") || text.contains("no answer within 3 s"), "{text}");
        }
    }
    others.all_delivered().await;
    kafka.restart(1).await.unwrap();
    until_delivered(&sink, "gone").await;
    sink.close().await.unwrap();
}

/// A right is removed while records are sent to the topic, and restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_right_for_one_topic_fails_only_sends_to_that_topic() {
    let Some(kafka) = Cluster::builder().listener(Listener::SaslPlaintext).acl().start().await.unwrap() else { return };
    let topics = ["free", "seen", "unseen"];
    for topic in topics {
        kafka.create_topic(topic, 1, &[]).await.unwrap();
        kafka.allow("User:bob", Resource::Topic(topic), &["WRITE"]).await.unwrap();
    }
    kafka.allow("User:bob", Resource::Topic("seen"), &["DESCRIBE"]).await.unwrap();
    let config = KafkaSinkConfig {
        send_timeout_ms: 20_000,
        ..config(&kafka.bootstrap_of(Listener::SaslPlaintext).unwrap(), "free")
    }
    .with_property("security.protocol", "sasl_plaintext")
    .with_property("sasl.mechanism", "SCRAM-SHA-512")
    .with_property("sasl.username", "bob")
    .with_property("sasl.password", "bob-secret");
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    for topic in topics {
        sink.send(to(topic, 0)).await.unwrap();
    }
    let others = Stream::start(&sink, "free");
    for topic in ["seen", "unseen"] {
        kafka.revoke("User:bob", Resource::Topic(topic), &["WRITE"]).await.unwrap();
        let (end, mut refused) = (Instant::now() + PATIENCE, 0);
        while refused < 50 {
            let start = Instant::now();
            match sink.send(to(topic, 1)).await {
                // The broker may not have the change yet.
                Ok(_) => assert!(Instant::now() < end && refused == 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Authorization, "{error:#}");
                    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
                    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
                    refused += 1;
                }
            }
        }
        kafka.allow("User:bob", Resource::Topic(topic), &["WRITE"]).await.unwrap();
        until_delivered(&sink, topic).await;
    }
    others.all_delivered().await;
    sink.close().await.unwrap();
}
