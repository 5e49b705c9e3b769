//! The brokers abort a transaction that is open longer than `transaction.timeout.ms`, and fence its producer: the same answer
//! as if another producer had taken the id.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{ErrorKind, Persistence, Recovery};
use tokio::time::{Instant, sleep_until};

use crate::support::*;

const TIME_OUT: [(&str, &str); 1] = [("transaction.timeout.ms", "1000")];

const FENCED: (ErrorKind, Recovery) = (ErrorKind::Fenced, Recovery::Fatal);

#[tokio::test]
async fn after_a_time_out_the_producer_is_replaced_and_work_goes_on() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("timed-out", 1).await.unwrap();
    let mut producer = Producer::new(kafka.bootstrap(), &topic, &topic, &TIME_OUT).await;
    let mut expected = Vec::new();
    for (round, call) in ["commit", "abort", "send"].into_iter().enumerate() {
        producer.begin().await;
        producer.send("timed out").await.unwrap();
        ended_by_the_broker(kafka, &topic).await;
        if call == "send" {
            let error = producer.send("late").await.unwrap_err();
            assert_eq!((error.kind(), error.recovery()), FENCED, "{error:#}");
            assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
        }
        // Whatever is called then, and however often: never `Ok`, and the cause is named.
        for repeated in [false, true] {
            let ended = if call == "abort" { producer.abort().await } else { producer.commit().await };
            let error = ended.unwrap_err();
            assert_eq!((error.kind(), error.recovery()), FENCED, "{call}: {error:#}");
            let in_doubt = call == "commit";
            let expected = if in_doubt { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
            assert_eq!(error.persistence(), expected, "{call}, repeated: {repeated}: {error:#}");
            assert!(error.message().contains("longer than transaction.timeout.ms (1 s)"), "{call}: {error:#}");
        }
        let next = format!("after {call}");
        producer.transaction(&next).await;
        expected.push(next);
        assert_eq!(producer.control.generation(), round as u64 + 1);
    }
    assert_eq!(committed(kafka, &topic).await, expected);
    assert!(producer.control.close(TIME).await.unwrap().is_complete());
}

/// A producer that was stopped for longer than the time-out, and finds that another one has taken its id. It may not
/// write with the id again.
#[tokio::test]
async fn a_producer_whose_id_was_taken_over_stays_fenced_after_the_time_out() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("taken", 1).await.unwrap();
    for after_time_out in [false, true] {
        let mut old = Producer::new(kafka.bootstrap(), &topic, &topic, &TIME_OUT).await;
        let begun = Instant::now();
        old.begin().await;
        old.send("of the old one").await.unwrap();
        if after_time_out {
            ended_by_the_broker(kafka, &topic).await;
        }
        let mut new = Producer::new(kafka.bootstrap(), &topic, &topic, &[]).await;
        new.transaction("of the new one").await;
        sleep_until(begun + Duration::from_millis(1_100)).await;
        let error = old.commit().await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), FENCED, "{error:#}");
        for _ in 0..3 {
            let error = checked(old.transactions().begin(TIME).await).unwrap_err();
            assert_eq!((error.kind(), error.recovery()), FENCED, "{error:#}");
            assert!(old.send("late").await.is_err());
        }
        assert_eq!(old.control.generation(), 0);
    }
    assert_eq!(committed(kafka, &topic).await, ["of the new one", "of the new one"]);
}

#[tokio::test]
async fn a_guard_can_be_followed_by_another_one_after_a_time_out() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("guard-timed-out", 1).await.unwrap();
    let config = KafkaSinkConfig {
        send_timeout_ms: 2_000,
        ..KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*topic, format!("{topic}-id"))
    };
    let sink = KafkaSink::<String>::new(config.with_property("transaction.timeout.ms", "2000")).await.unwrap();
    for round in 0..2 {
        let tx = sink.transaction().await.unwrap();
        tx.send("timed out".to_owned()).await.unwrap();
        ended_by_the_broker(kafka, &topic).await;
        if round == 0 {
            let error = checked(tx.commit().await).unwrap_err();
            let unknown = (ErrorKind::Fenced, Recovery::Fatal, Persistence::PossiblyPersisted);
            assert_eq!(facts(&error), unknown, "{error:#}");
        } else {
            drop(tx);
        }
        let calls = AtomicU32::new(0);
        let sent = sink.in_transaction(async |tx| {
            calls.fetch_add(1, Ordering::Relaxed);
            tx.send(format!("round {round}")).await
        });
        sent.await.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
        assert_eq!(calls.into_inner(), 1);
    }
    sink.close().await.unwrap();
    assert_eq!(committed(kafka, &topic).await, ["\"round 0\"", "\"round 1\""]);
}
