//! Brokers that stop, die and forget.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::source::{SourceErrorKind, SourceRecovery};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use tokio::time::{sleep, timeout};

use crate::read::{PATIENCE, config, next, no_lag, send, sink, source};
use crate::support::{Kind, setting};

/// Reads until all numbers were read, and acknowledges each. Goes on after errors that say so.
async fn read_all(source: &mut kafka_tower::KafkaSource<u32>, mut missing: BTreeSet<u32>) {
    while !missing.is_empty() {
        match timeout(PATIENCE, source.recv()).await.unwrap_or_else(|_| panic!("missing: {missing:?}")) {
            Ok(message) => {
                missing.remove(message.value().unwrap());
                message.ack();
            }
            Err(error) => assert_eq!(error.recovery(), SourceRecovery::Continue, "{error}"),
        }
    }
}

/// The group's coordinator is silent, for longer than the session of classic groups, while commits are sent. For nine seconds;
/// `KAFKA_TOWER_SILENCE` is another number of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_coordinator_loses_no_commit() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let mut readers = Vec::new();
    for kind in [Kind::Eager, Kind::Cooperative, Kind::Consumer] {
        let topic = kafka.topic("silent", 2).await.unwrap();
        send(&sink(&kafka, &topic).await, 0..200).await;
        let config = config(&kafka, &topic, kind);
        let mut source = source(config.clone()).await;
        let mut missing: BTreeSet<u32> = (0..200).collect();
        for _ in 0..50 {
            let message = next(&mut source).await;
            missing.remove(message.value().unwrap());
            message.ack();
        }
        readers.push((source, missing, topic, config.group_id));
    }
    kafka.stop(1).unwrap();
    let wakes = async {
        sleep(Duration::from_secs(setting("KAFKA_TOWER_SILENCE", 9))).await;
        kafka.cont(1).unwrap();
    };
    let reads = readers.iter_mut().map(|(source, missing, ..)| read_all(source, std::mem::take(missing)));
    tokio::join!(join_all(reads), wakes);
    let ends = readers.into_iter().map(async |(mut source, _, topic, group)| {
        // What came twice, and a source that waits is at the end.
        while let Ok(received) = timeout(Duration::from_secs(5), source.recv()).await {
            match received {
                Ok(message) => drop(message.ack()),
                Err(error) => assert_eq!(error.recovery(), SourceRecovery::Continue, "{error}"),
            }
        }
        no_lag(&kafka, &topic, &group).await;
        assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
    });
    join_all(ends).await;
}

/// The only broker dies and comes back. Meanwhile messages are committed: one that is reported as committed is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_is_read_again() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("restarts", 2).await.unwrap();
    send(&sink(&kafka, &topic).await, 0..100).await;
    let config = config(&kafka, &topic, Kind::Cooperative);
    let mut source = source(config.clone()).await;
    for _ in 0..50 {
        next(&mut source).await.ack();
    }
    let held = [next(&mut source).await, next(&mut source).await];
    kafka.kill(1).unwrap();
    let commits = held.each_ref().map(kafka_tower::SourceMessage::commit);
    let (committed, restarted) = tokio::join!(join_all(commits), kafka.restart(1));
    restarted.unwrap();
    for (message, committed) in held.iter().zip(committed) {
        let offset = kafka.committed_offset(&config.group_id, &topic, message.partition()).await.unwrap();
        assert!(committed.is_err() || offset > Some(message.offset()), "{committed:?}: {offset:?}, {message:?}");
    }
    send(&sink(&kafka, &topic).await, 100..200).await;
    read_all(&mut source, (100..200).collect()).await;
    no_lag(&kafka, &topic, &config.group_id).await;
    assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
}

/// The coordinator is silent when the source is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_ends_although_the_broker_is_silent() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("close", 1).await.unwrap();
    send(&sink(&kafka, &topic).await, 0..2).await;
    let mut source = source(config(&kafka, &topic, Kind::Cooperative)).await;
    next(&mut source).await.ack();
    kafka.stop(1).unwrap();
    let held = next(&mut source).await;
    held.ack();
    // At most: the commit's time, and the time for leaving.
    let report = timeout(Duration::from_secs(12), source.close()).await.expect("it ends");
    kafka.cont(1).unwrap();
    assert!(!report.is_complete(), "the last message was not committed: {report:?}");
}

/// A topic that is deleted and created again is read from its new beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_anew_is_read_from_its_beginning() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("anew", 1).await.unwrap();
    send(&sink(kafka, &topic).await, 0..100).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let mut source = source(config.clone()).await;
    for _ in 0..100 {
        next(&mut source).await.ack();
    }
    kafka.delete_topic(&topic).await.unwrap();
    kafka.create_topic(&topic, 1, &[]).await.unwrap();
    send(&sink(kafka, &topic).await, 500..520).await;
    let mut missing: BTreeSet<u32> = (500..520).collect();
    let mut restarts = 0;
    while !missing.is_empty() {
        match timeout(PATIENCE, source.recv()).await.unwrap_or_else(|_| panic!("missing: {missing:?}")) {
            Ok(message) => {
                missing.remove(message.value().unwrap());
                message.ack();
            }
            Err(error) if error.kind() == SourceErrorKind::Restarted => restarts += 1,
            Err(error) => assert_eq!(error.recovery(), SourceRecovery::Continue, "{error}"),
        }
    }
    assert_eq!(restarts, 1, "it is said once");
    no_lag(kafka, &topic, &config.group_id).await;
    drop(timeout(PATIENCE, source.close()).await.unwrap());
}
