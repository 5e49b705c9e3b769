//! A stuck client is replaced while handles to the sink stay valid. Against a real Apache Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower::{ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, SinkMessage};
use kafka_tower_testkit::kafka::Cluster;

/// Enough time even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(kafka: &Cluster, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig {
        brokers: kafka.bootstrap().into(),
        topic: topic.into(),
        compression_type: "none".into(),
        enable_circuit_breaker: false,
        ..Default::default()
    }
}

/// Returns text that cannot be compressed.
fn noise(length: usize) -> String {
    let mut state = 1u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(state >> 58).unwrap())
    };
    (0..length).map(|_| letter()).collect()
}

/// The broker closes each connection on which it receives the record. Only that record fails, and long before its
/// deadline. With compression, its size on the wire is not known in advance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_for_which_the_broker_closes_the_connection_fails_alone() {
    let Some(kafka) = Cluster::builder().property("socket.request.max.bytes", "102400").start().await.unwrap() else {
        return;
    };
    let (big, small) = (kafka.topic("big", 1).await.unwrap(), kafka.topic("small", 1).await.unwrap());
    let config =
        KafkaSinkConfig { enable_circuit_breaker: true, compression_type: "snappy".into(), ..config(&kafka, &big) };
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    let message = |n: usize| SinkMessage::new(n.to_string()).with_topic(small.clone());
    sink.send(message(0)).await.unwrap();
    let large = sink.send(SinkMessage::new(noise(200_000)));
    let others = async {
        let mut sends = Vec::new();
        // More records than the requests in flight take.
        for n in 1..200 {
            let (sink, message) = (sink.clone(), message(n));
            sends.push(tokio::spawn(async move { sink.send(message).await }));
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        join_all(sends).await
    };
    // Called after the large record, for the same partition.
    let behind = async {
        let mut sends = Vec::new();
        for n in 0..100 {
            sends.push(Box::pin(sink.send(n.to_string())));
            // The first poll calls the transport, so the calls are in this order.
            assert!(futures_util::poll!(sends.last_mut().unwrap()).is_pending());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        join_all(sends).await
    };
    let (large, others, behind) = tokio::join!(large, others, behind);
    let error = large.unwrap_err();
    assert_eq!(
        (error.kind(), error.persistence()),
        (ErrorKind::RecordTooLarge, Persistence::PossiblyPersisted),
        "{error:#}"
    );
    assert!(format!("{error:#}").contains("more than the broker takes in one request"), "{error:#}");
    for other in others {
        other.unwrap().unwrap_or_else(|error| panic!("another record: {error:#}"));
    }
    let mut delivered = Vec::new();
    for (n, sent) in behind.into_iter().enumerate() {
        match sent {
            Ok(_) => delivered.push(format!("\"{n}\"")),
            Err(error) => {
                assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
                assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
                assert!(delivered.is_empty(), "only records that were in flight with the large one fail");
            }
        }
    }
    sink.send("later".to_string()).await.unwrap();
    assert_eq!(
        sink.metrics().await.circuit_breaker_trips,
        0,
        "failures that the large record caused are no evidence about Kafka"
    );
    sink.close().await.unwrap();
    delivered.push("\"later\"".to_owned());
    assert!(delivered.len() > 10, "{}", delivered.len());
    let read: Vec<_> = kafka.read(&big).await.unwrap().iter().map(|r| r.text()).collect();
    let known: Vec<_> = read.iter().filter(|text| delivered.contains(text)).cloned().collect();
    assert_eq!(known, delivered, "each record is in the log once, in order");
    let mut read: Vec<_> = kafka.read(&small).await.unwrap().iter().map(|r| r.text()).collect();
    read.sort();
    read.dedup();
    assert_eq!(read.len(), 200, "each record is in the log");
    assert_eq!(kafka.read(&small).await.unwrap().len(), 200, "once");
}

/// The new topic's leader is another broker, with a lower leader epoch. librdkafka takes its metadata for outdated, and
/// continues to send to the previous leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_created_again_with_another_leader_accepts_records() {
    let Some(kafka) = Cluster::start(2).await.unwrap() else { return };
    let (topic, other) = (kafka.topic("anew", 1).await.unwrap(), kafka.topic("other", 1).await.unwrap());
    let sink =
        KafkaSink::<String>::new(KafkaSinkConfig { send_timeout_ms: 3_000, ..config(&kafka, &topic) }).await.unwrap();
    let first = kafka.leader(&topic, 0).await.unwrap();
    kafka.terminate(first).await.unwrap();
    let second = kafka.leader_after(&topic, 0, first).await.unwrap();
    sink.send("old".to_string()).await.unwrap();
    kafka.restart(first).await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        kafka.delete_topic(&topic).await.unwrap();
        kafka.create_topic(&topic, 1, &[]).await.unwrap();
        if kafka.leader(&topic, 0).await.unwrap() != second {
            break;
        }
        assert!(Instant::now() < end, "the topic always gets the previous leader");
    }
    while let Err(error) = sink.send("new".to_string()).await {
        assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
        assert!(Instant::now() < end, "stuck: {error:#}");
        // Sends to another topic go on.
        sink.send(SinkMessage::new("x".to_string()).with_topic(other.clone())).await.unwrap();
    }
    sink.send("newer".to_string()).await.unwrap();
    assert_eq!(sink.control().generation(), 1);
    sink.close().await.unwrap();
}
