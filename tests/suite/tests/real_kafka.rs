//! Tests that need a real broker: what is on the wire and in the log.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower::{KafkaClient, KafkaMessage, KafkaSink, KafkaSinkConfig, SinkMessage};
use kafka_tower_core::{Delivery, ErrorKind, Persistence, Record, Result};
use kafka_tower_rdkafka::{DeliveryFuture, MockCluster, RdkafkaTransport};
use kafka_tower_testkit::kafka::proxy::{ApiKey, Direction};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Listener, segments::Compression};
use tower::{Service, ServiceExt};

/// A busy machine needs no more.
const PATIENCE: Duration = Duration::from_secs(60);

async fn call(transport: &mut RdkafkaTransport, record: Record) -> DeliveryFuture {
    transport.ready().await.unwrap().call(record)
}

#[tokio::test]
async fn each_compression_is_on_the_disk() {
    let Some(kafka) = cluster::shared().await else { return };
    for (name, expected) in [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        let topic = kafka.topic("compression", 1).await.unwrap();
        let mut transport = RdkafkaTransport::builder()
            .property("bootstrap.servers", kafka.bootstrap())
            .property("compression.type", name)
            .property("linger.ms", "5")
            .topic(topic.as_str())
            .connect()
            .await
            .unwrap();
        let mut futures = Vec::new();
        for _ in 0..100 {
            futures
                .push(call(&mut transport, Record::new(topic.as_str()).with_value("compressible ".repeat(50))).await);
        }
        assert!(join_all(futures).await.iter().all(Result::is_ok));
        let Ok(batches) = kafka.batches(&topic, 0).await else { return };
        assert!(!batches.is_empty());
        // librdkafka sends a batch uncompressed if compression would not make it smaller; these become smaller.
        assert!(batches.iter().all(|batch| batch.compression == expected), "{name}: {batches:?}");
        assert!(batches.iter().all(|batch| batch.producer_id >= 0), "an idempotent producer");
    }
}

/// Sends 2,000 records a second while the broker is killed with `kill -9` and started again. Every acknowledged record
/// is in the log once, and in order within its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_and_repeats_nothing() {
    const KEYS: usize = 16;
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("killed", 4).await.unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap())
        .property("linger.ms", "5")
        .topic(topic.as_str())
        .connect()
        .await
        .unwrap();
    let control = transport.control();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let mut futures = Vec::new();
    let mut send = async |futures: &mut Vec<DeliveryFuture>, ticks: usize| {
        for _ in 0..ticks {
            tick.tick().await;
            for _ in 0..20 {
                let number = futures.len();
                let record = Record::new(topic.as_str())
                    .with_key(format!("key-{}", number % KEYS))
                    .with_value(number.to_string());
                futures.push(call(&mut transport, record).await);
            }
        }
    };
    send(&mut futures, 100).await;
    for _ in 0..2 {
        kafka.kill(1).unwrap();
        send(&mut futures, 100).await;
        let restart = kafka.restart(1);
        let (restarted, ()) = tokio::join!(restart, send(&mut futures, 100));
        restarted.unwrap();
        send(&mut futures, 100).await;
    }
    let outcomes =
        tokio::time::timeout(Duration::from_secs(60), join_all(futures)).await.expect("every record is settled");
    let report = control.close(Duration::from_secs(10)).await.unwrap();
    assert!(report.is_complete(), "{report}");

    let acknowledged: Vec<usize> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| number).collect();
    assert!(acknowledged.len() > outcomes.len() / 2, "{} of {}", acknowledged.len(), outcomes.len());
    let mut count = BTreeMap::<usize, usize>::new();
    let mut last = BTreeMap::new();
    for record in kafka.read(&topic).await.unwrap() {
        let number: usize = record.text().parse().unwrap();
        *count.entry(number).or_default() += 1;
        let before = last.insert(record.key.clone(), number);
        assert!(before < Some(number), "key {:?}: {number} after {before:?}", record.key);
    }
    let lost = acknowledged.iter().filter(|number| !count.contains_key(number)).count();
    let repeated = count.values().filter(|times| **times > 1).count();
    assert_eq!((lost, repeated), (0, 0), "of {} acknowledged", acknowledged.len());
    for (number, outcome) in outcomes.iter().enumerate() {
        if let Err(error) = outcome {
            let written = count.contains_key(&number);
            assert!(!(written && error.persistence() == Persistence::NotPersisted), "{number} is in the log: {error}");
        }
    }
}

/// A deadline that is shorter than the outage ends the send for the caller and causes no second copy. (As
/// `message.timeout.ms` it would write thousands of records twice.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_shorter_than_the_outage_repeats_nothing() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("outage", 1).await.unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap())
        .property("socket.timeout.ms", "2000")
        .topic(topic.as_str())
        .connect()
        .await
        .unwrap();
    let mut futures = Vec::new();
    for number in 0..2_000 {
        if number == 1_000 {
            kafka.stop(1).unwrap();
        }
        let record = Record::new(topic.as_str())
            .with_value(number.to_string())
            .with_expires_at(Instant::now() + Duration::from_millis(1_500));
        futures.push(call(&mut transport, record).await);
    }
    let outcomes = join_all(futures).await;
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(failed >= 1_000, "{failed} of 2,000 had no answer within 1.5 s");
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(
            (error.kind(), error.persistence()),
            (ErrorKind::Timeout, Persistence::PossiblyPersisted),
            "{error}"
        );
    }
    // Longer than the socket's time-out, so that librdkafka sends unanswered requests again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    kafka.cont(1).unwrap();
    transport.control().flush().await.unwrap();
    let mut numbers: Vec<usize> = kafka.read(&topic).await.unwrap().iter().map(|r| r.text().parse().unwrap()).collect();
    let all = numbers.len();
    assert!(numbers.is_sorted(), "records are in order");
    numbers.dedup();
    assert_eq!((all, numbers.len()), (2_000, 2_000), "each record is in the log once");
}

#[tokio::test]
async fn an_unknown_topic_fails_connecting_and_sending() {
    let Some(kafka) = cluster::shared().await else { return };
    let builder = || RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap());
    let error = builder().topic("nobody-made-this").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    assert!(error.help().contains("kafka-topics.sh --bootstrap-server"), "{error:#}");
    let mut transport = builder().connect().await.unwrap();
    // Before the deadline, and therefore before the 30 s of librdkafka's default.
    let record =
        Record::new("nobody-made-this").with_value("x").with_expires_at(Instant::now() + Duration::from_secs(20));
    let error = call(&mut transport, record).await.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::UnknownTopicOrPartition, Persistence::NotPersisted));
}

#[tokio::test]
async fn without_acknowledgements_no_offset_is_reported() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("acks0", 1).await.unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap())
        .property("acks", "0")
        .property("enable.idempotence", "false")
        .topic(topic.as_str())
        .connect()
        .await
        .unwrap();
    let delivery: Delivery = call(&mut transport, Record::new(topic.as_str()).with_value("x")).await.await.unwrap();
    assert_eq!((delivery.offset, delivery.persistence), (None, Persistence::PossiblyPersisted));
}

/// The broker refuses a whole batch because of one record. Sent alone, the other records are delivered, and only the
/// bad one is refused.
#[tokio::test]
async fn an_isolated_record_is_refused_or_delivered_on_its_own() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic_with("compacted", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap())
        .property("linger.ms", "200")
        .topic(topic.as_str())
        .connect()
        .await
        .unwrap();
    let records: Vec<_> = (0..10)
        .map(|number| {
            let record = Record::new(topic.as_str()).with_value(number.to_string()).with_partition(0);
            if number == 4 { record } else { record.with_key(format!("key-{number}")) }
        })
        .collect();
    let mut futures = Vec::new();
    for record in &records {
        futures.push(call(&mut transport, record.clone()).await);
    }
    for outcome in join_all(futures).await {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Rejected, Persistence::NotPersisted), "{error}");
        assert_eq!(error.scope(), kafka_tower_core::Scope::Batch);
    }
    for (number, mut record) in records.into_iter().enumerate() {
        record.isolated = true;
        let outcome = call(&mut transport, record).await.await;
        match outcome {
            Ok(_) => assert_ne!(number, 4),
            Err(error) => {
                assert_eq!(number, 4, "{error}");
                assert_eq!(error.scope(), kafka_tower_core::Scope::Record);
            }
        }
    }
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 9);
}

/// Appended, its answer lost, back in librdkafka's queue, and then closed: the status "not persisted" is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_waits_for_a_retry_is_possibly_persisted() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let (bootstrap, proxy) = (kafka.bootstrap_of(Listener::Proxy).unwrap(), kafka.proxy().unwrap());
    let topic = kafka.topic("retry", 1).await.unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", bootstrap).topic(topic.as_str());
    let mut transport = builder.connect().await.unwrap();
    let control = transport.control();
    call(&mut transport, Record::new(topic.as_str()).with_value("first")).await.await.unwrap();
    let answers = proxy.answers(ApiKey::PRODUCE);
    proxy.pause(Direction::ToClient);
    let lost = call(&mut transport, Record::new(topic.as_str()).with_value("its answer is lost")).await;
    proxy.wait_for_answer(ApiKey::PRODUCE, answers + 1).await.unwrap();
    proxy.down().await.unwrap();
    // librdkafka has put the record back into its queue when it finds that no broker accepts a new connection.
    tokio::time::timeout(PATIENCE, async {
        while !control.last_error().is_some_and(|error| error.contains("Connection refused")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a lost connection");
    let report = control.close(Duration::from_millis(100)).await.unwrap();
    assert_eq!((report.delivered, report.failed, report.unknown), (0, 0, 1), "{report}");
    assert_eq!(lost.await.unwrap_err().persistence(), Persistence::PossiblyPersisted);
    let log: Vec<_> = kafka.read(&topic).await.unwrap().iter().map(|record| record.text()).collect();
    assert_eq!(log, ["first", "its answer is lost"]);
}

/// One sink ends while the other one sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_of_a_client_ends_alone_and_the_client_ends_all() {
    const PAYMENTS: u64 = 5_000;
    let Some(kafka) = cluster::shared().await else { return };
    let (orders, payments) = (kafka.topic("orders", 2).await.unwrap(), kafka.topic("payments", 4).await.unwrap());
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), linger_ms: 5, ..Default::default() };
    let client = KafkaClient::connect(config).await.unwrap();

    let of_orders: KafkaSink<String> = client.sink(orders.as_str()).build().await.unwrap();
    let of_payments: KafkaSink<u64> =
        client.sink(payments.as_str()).settings(|config| config.max_retries = 0).build().await.unwrap();
    let again: KafkaSink<u64> = client.sink(payments.as_str()).build().await.unwrap();
    let unknown = client.sink::<u64>("there-is-no-such-topic").build().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition, "{unknown}");
    let counts = [&orders, &payments].map(|topic| client.control().partition_count(topic));
    assert_eq!(counts, [Some(2), Some(4)]);

    let sending = tokio::spawn(async move {
        let messages = (0..PAYMENTS).map(|n| SinkMessage::new(n).with_key(n.to_string()));
        of_payments.send_batch(messages).await.unwrap().into_iter().filter(Result::is_ok).count()
    });
    for n in 0..100 {
        drop(tokio::spawn(of_orders.send(format!("order {n}"))));
    }
    tokio::task::yield_now().await;
    of_orders.close().await.unwrap();
    assert_eq!(of_orders.send("late".to_owned()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sending.await.unwrap(), PAYMENTS as usize);
    again.send(PAYMENTS).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(again.send(0).await.unwrap_err().kind(), ErrorKind::Closed);
    let sent = client.metrics().messages_sent;
    assert_eq!(kafka.read(&payments).await.unwrap().len() as u64, PAYMENTS + 1);
    assert_eq!(kafka.read(&orders).await.unwrap().len() as u64, sent - PAYMENTS - 1);
}

#[tokio::test]
async fn the_topics_of_all_sinks_count_for_the_limit() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("orders", 2).unwrap();
    mock.create_topic("payments", 4).unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", mock.bootstrap());
    let transport = builder.topic("orders").records_per_partition("orders", 10).connect().await.unwrap();
    assert_eq!(transport.limits().records, 20);
    for _ in 0..2 {
        transport.add_topic("payments", 100, Some(PATIENCE)).await.unwrap();
        assert_eq!(transport.limits().records, 420);
    }
    transport.add_topic("later", 1, None).await.unwrap();
    assert_eq!(transport.limits().records, 421, "an unknown one counts as one partition");
}

/// The broker does not answer in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_of_a_client_gives_its_records_up_and_the_producer_goes_on() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("orders", 1).unwrap();
    mock.create_topic("payments", 1).unwrap();
    let config = KafkaSinkConfig { brokers: mock.bootstrap().to_owned(), ..Default::default() };
    let client = KafkaClient::connect(config).await.unwrap();
    let orders: KafkaSink<u64> = client.sink("orders").build().await.unwrap();
    let payments: KafkaSink<u64> = client.sink("payments").build().await.unwrap();
    orders.send(0).await.unwrap();
    mock.set_round_trip(1, Duration::from_secs(2)).unwrap();
    let order = tokio::spawn(orders.send(1));
    while orders.control().in_flight().records == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let error = orders.close_within(Duration::from_millis(200)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((error.report().unknown, error.report().failed, error.unfinished()), (1, 0, 0), "{error}");
    let given_up = order.await.unwrap().unwrap_err();
    assert_eq!((given_up.kind(), given_up.persistence()), (ErrorKind::Closed, Persistence::PossiblyPersisted));
    assert_eq!(orders.send(2).await.unwrap_err().kind(), ErrorKind::Closed);
    mock.set_round_trip(1, Duration::ZERO).unwrap();
    payments.send(3).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(client.metrics().messages_sent, 2);
}

/// Topic and key are in the log as the type says.
#[tokio::test]
async fn topic_and_key_come_from_the_type() {
    #[derive(serde::Serialize, KafkaMessage)]
    #[kafka(topic = "kafka-tower-of-type")]
    struct Order {
        #[kafka(key)]
        id: i64,
    }

    #[derive(serde::Serialize, KafkaMessage)]
    #[kafka(topic = "kafka-tower-of-type", key_from = Self::of_order)]
    enum Event {
        Paid(i64),
        Cleared,
    }

    impl Event {
        fn of_order(&self) -> Option<String> {
            match self {
                Self::Paid(id) => Some(id.to_string()),
                Self::Cleared => None,
            }
        }
    }

    let Some(kafka) = cluster::shared().await else { return };
    let _ = kafka.delete_topic(Order::TOPIC).await; // a Kafka of the user's may have it from an earlier run
    kafka.create_topic(Order::TOPIC, 3, &[]).await.unwrap();
    let other = kafka.topic("of-message", 1).await.unwrap();
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), ..Default::default() };
    let client = KafkaClient::connect(config.clone()).await.unwrap();
    let orders = client.sink_of::<Order>().build().await.unwrap();
    let delivery = orders.send(Order { id: -2 }).await.unwrap();
    let key = (-2_i64).to_be_bytes();
    assert_eq!(delivery.partition, kafka_tower_core::partitioner::partition_for_key(&key, 3));
    orders.send(SinkMessage::new(Order { id: 3 }).with_key("three").with_topic(other.as_str())).await.unwrap();
    let events = KafkaSink::<Event>::builder(config).of_type().build().await.unwrap();
    events.send(Event::Paid(-2)).await.unwrap();
    events.send(Event::Cleared).await.unwrap();
    client.close().await.unwrap();

    let mut read: Vec<_> =
        kafka.read(Order::TOPIC).await.unwrap().into_iter().map(|record| (record.text(), record.key)).collect();
    read.sort();
    let expected = [
        (r#""Cleared""#.to_owned(), None),
        (r#"{"Paid":-2}"#.to_owned(), Some(b"-2".to_vec())),
        (r#"{"id":-2}"#.to_owned(), Some(vec![255, 255, 255, 255, 255, 255, 255, 254])),
    ];
    assert_eq!(read, expected);
    let read = kafka.read(&other).await.unwrap();
    assert_eq!((read[0].text().as_str(), read[0].key.as_deref()), (r#"{"id":3}"#, Some(&b"three"[..])));
}
