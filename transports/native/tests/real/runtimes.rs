//! The client's task lives on the runtime that connected: what callers on other runtimes are told.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

use kafka_tower_core::Persistence;
use kafka_tower_testkit::kafka as cluster;
use tokio::runtime::{self, Runtime};

use crate::support::{
    all_delivered, assert_once_in_order, builder, call, connect, in_time, log, numbered, outcomes, send,
};

fn current_thread() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn records_of_a_runtime_that_ends_get_truthful_outcomes() {
    let tests = current_thread();
    let Some(kafka) = tests.block_on(cluster::shared()) else { return };
    let topic = tests.block_on(kafka.topic("ends", 1)).unwrap();
    let client = multi_thread();
    let mut transport = client.block_on(async { connect(builder(kafka.bootstrap(), &topic)).await });
    let sends = tests.block_on(async {
        let mut sends = Vec::new();
        for n in 0..5_000 {
            sends.push(call(&mut transport, numbered(&topic, n)).await);
        }
        sends
    });
    client.shutdown_background();
    let (ended, late) = tests.block_on(async {
        let ended = outcomes(sends).await;
        (ended, in_time(transport_after_the_end(&mut transport, &topic)).await)
    });
    assert_eq!(late.persistence(), Persistence::NotPersisted, "{late:#}");
    let log = tests.block_on(log(kafka, &topic)).remove(&0).unwrap_or_default();
    assert!(log.is_sorted_by(|a, b| a < b), "twice or out of order");
    let log: BTreeSet<_> = log.into_iter().collect();
    for (n, outcome) in ended.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert!(log.contains(&n), "record {n} was lost"),
            Err(error) if error.persistence() == Persistence::NotPersisted => {
                assert!(!log.contains(&n), "record {n} is in the log: {error:#}");
            }
            Err(error) => assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}"),
        }
    }
}

async fn transport_after_the_end(
    transport: &mut kafka_tower_native::NativeTransport,
    topic: &str,
) -> kafka_tower_core::Error {
    send(transport, numbered(topic, 1_000_000)).await.unwrap_err()
}

#[test]
fn a_blocked_runtime_delays_records_and_loses_none() {
    let tests = current_thread();
    let Some(kafka) = tests.block_on(cluster::shared()) else { return };
    let topic = tests.block_on(kafka.topic("blocked", 1)).unwrap();
    let (unblock, blocked) = mpsc::channel::<()>();
    let (give, take) = mpsc::channel();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let (bootstrap, name) = (kafka.bootstrap().to_owned(), topic.clone());
    let client = thread::spawn(move || {
        current_thread().block_on(async move {
            give.send(connect(builder(&bootstrap, &name)).await).unwrap();
            // Blocks the runtime's only thread.
            let _ = blocked.recv();
            let _ = finished.await;
        });
    });
    let mut transport = take.recv().unwrap();
    tests.block_on(async {
        let mut sends = Vec::new();
        for n in 0..100 {
            sends.push(call(&mut transport, numbered(&topic, n)).await);
        }
        assert_eq!(transport.control().in_flight().records, 100);
        assert!(log(kafka, &topic).await.is_empty(), "the client is blocked");
        unblock.send(()).unwrap();
        all_delivered(outcomes(sends).await);
        all_delivered(vec![send(&mut transport, numbered(&topic, 101)).await]);
        let log = log(kafka, &topic).await.remove(&0).unwrap();
        assert_eq!(log, (0..100).chain([101]).collect::<Vec<_>>());
    });
    finish.send(()).unwrap();
    client.join().unwrap();
}

#[test]
fn handles_on_two_runtimes_share_a_client() {
    let tests = current_thread();
    let Some(kafka) = tests.block_on(cluster::shared()) else { return };
    let topic = tests.block_on(kafka.topic("two", 2)).unwrap();
    let (first, second) = (multi_thread(), current_thread());
    let mut transport = first.block_on(async { connect(builder(kafka.bootstrap(), &topic)).await });
    let mut clone = transport.clone();
    let name = topic.clone();
    let here = first.spawn(async move {
        for n in 0..200 {
            send(&mut clone, numbered(&name, n)).await.unwrap();
        }
    });
    second.block_on(async {
        for n in 0..200 {
            send(&mut transport, numbered(&topic, n).with_partition(1)).await.unwrap();
        }
        in_time(here).await.unwrap();
    });
    let log = tests.block_on(log(kafka, &topic));
    assert!(log.len() == 2 && log.values().all(|numbers| *numbers == (0..200).collect::<Vec<_>>()), "{log:?}");
    // The other runtime goes: the client does not notice.
    drop(second);
    tests.block_on(async { all_delivered(vec![send(&mut transport, numbered(&topic, 200)).await]) });
}

#[tokio::test]
async fn the_client_delivers_on_a_runtime_of_one_thread() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("one-thread", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    let mut sends = Vec::new();
    for n in 0..20_000 {
        sends.push(call(&mut transport, numbered(&topic, n)).await);
        // Only waiting callers let the client run.
        if n % 5_000 == 4_999 {
            all_delivered(outcomes(sends.drain(..)).await);
        }
    }
    assert_once_in_order(kafka, &topic, 20_000).await;
}
