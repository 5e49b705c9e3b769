//! Topics and partitions that are chosen, added, missing, created later, and made anew.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{ErrorKind, Persistence, Record};
use kafka_tower_native::NativeTransport;
use kafka_tower_testkit::kafka::{self as cluster, Cluster};

use crate::support::{
    PATIENCE, all_delivered, assert_contains, assert_dense, assert_error, builder, call, connect, in_time, log,
    numbered, outcomes, send,
};

#[tokio::test]
async fn a_partition_that_was_chosen_is_used_and_one_out_of_range_is_refused() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("chosen", 3).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    for partition in [2, 0, 1] {
        let record = Record::new(topic.as_str()).with_key("the same").with_value("0").with_partition(partition);
        assert_eq!(send(&mut transport, record).await.unwrap().partition, partition);
    }
    let record = Record::new(topic.as_str()).with_value("0").with_partition(3);
    let mut error = send(&mut transport, record).await.unwrap_err();
    assert_error(&error, ErrorKind::UnknownTopicOrPartition, Persistence::NotPersisted);
    assert_contains(&error, error.help(), "3 partitions, numbered from 0");
    assert_eq!(error.take_record().unwrap().partition, Some(3));
    assert_eq!(log(kafka, &topic).await.len(), 3);
}

#[tokio::test]
async fn keyed_records_follow_the_number_of_partitions() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("grows", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    let control = transport.control();
    let keyed = |n: usize| Record::new(topic.as_str()).with_key(format!("key {n}")).with_value(n.to_string());
    all_delivered(vec![send(&mut transport, keyed(0)).await]);
    assert_eq!(control.partition_count(&topic), Some(1));
    kafka.add_partitions(&topic, 7).await.unwrap();
    // A record for a new partition makes the client ask.
    let to_new = Record::new(topic.as_str()).with_value("0").with_partition(6);
    let mut sends = vec![call(&mut transport, to_new).await];
    for n in 1..100 {
        sends.push(call(&mut transport, keyed(n)).await);
    }
    all_delivered(outcomes(sends).await);
    assert_eq!(control.partition_count(&topic), Some(7));
    for n in 100..150 {
        let expected = partition_for_key(format!("key {n}").as_bytes(), 7);
        assert_eq!(send(&mut transport, keyed(n)).await.unwrap().partition, expected, "key {n}");
    }
    let log = log(kafka, &topic).await;
    assert_eq!(log.values().map(Vec::len).sum::<usize>(), 151);
}

#[tokio::test]
async fn an_unknown_topic_fails_its_records_and_no_others() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("known", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    let begun = Instant::now();
    let unknown = call(&mut transport, Record::new("missing-topic").with_value("x")).await;
    let mut unknown = std::pin::pin!(in_time(unknown));
    let mut sent = 0;
    let error = loop {
        tokio::select! {
            biased;
            outcome = &mut unknown => break outcome.unwrap_err(),
            outcome = send(&mut transport, numbered(&topic, sent)) => {
                outcome.unwrap_or_else(|error| panic!("record {sent}: {error:#}"));
                sent += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let took = begun.elapsed();
    assert_error(&error, ErrorKind::UnknownTopicOrPartition, Persistence::NotPersisted);
    assert_contains(&error, error.message(), "missing-topic");
    assert!(took >= Duration::from_secs(2) && took < PATIENCE, "{took:?}");
    assert!(sent > 10, "{sent} records to the other topic in {took:?}");
}

#[tokio::test]
async fn a_topic_that_is_created_after_the_send_gets_the_record() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("first", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    let later = format!("{topic}-later");
    let early = call(&mut transport, numbered(&later, 0)).await;
    let created = kafka.create_topic(&later, 1, &[]);
    let (early, created) = tokio::join!(in_time(early), created);
    created.unwrap();
    early.unwrap_or_else(|error| panic!("{error:#}"));
    all_delivered(vec![send(&mut transport, numbered(&later, 1)).await]);
    crate::support::assert_once_in_order(kafka, &later, 2).await;
}

/// Sends until the topic was made anew and 200 records more. Each outcome, by number.
async fn across_a_new_topic(
    kafka: &Cluster,
    transport: &mut NativeTransport,
    topic: &str,
) -> (Vec<usize>, BTreeSet<usize>) {
    let renew = async {
        kafka.delete_topic(topic).await.unwrap();
        kafka.create_topic(topic, 1, &[]).await.unwrap();
    };
    let mut renew = std::pin::pin!(renew);
    let (mut sends, mut more, mut is_new) = (Vec::new(), 0, false);
    while more < 200 {
        sends.push(tokio::spawn(in_time(call(transport, numbered(topic, sends.len())).await)));
        if is_new {
            more += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        } else {
            tokio::select! {
                () = &mut renew => is_new = true,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }
    let (mut delivered, mut not_persisted) = (Vec::new(), BTreeSet::new());
    for (n, sent) in sends.into_iter().enumerate() {
        match sent.await.unwrap() {
            Ok(_) => delivered.push(n),
            Err(error) if error.persistence() == Persistence::NotPersisted => drop(not_persisted.insert(n)),
            Err(error) => assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}"),
        }
    }
    (delivered, not_persisted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_anew_gets_records_in_order_and_sequences_from_0() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("anew", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    for n in 0..20 {
        all_delivered(vec![send(&mut transport, numbered(&topic, n)).await]);
    }
    let (delivered, not_persisted) = in_time(across_a_new_topic(kafka, &mut transport, &topic)).await;
    let end = Instant::now() + PATIENCE;
    while let Err(error) = send(&mut transport, numbered(&topic, 1_000_000)).await {
        assert!(Instant::now() < end, "{error:#}");
    }
    let log = log(kafka, &topic).await.remove(&0).unwrap();
    assert!(log.windows(2).all(|pair| pair[0] < pair[1]), "twice or out of order: {log:?}");
    assert!(log.iter().all(|n| !not_persisted.contains(n)), "reported as not written: {log:?}");
    // What was acknowledged by the new topic is in it: all behind its first record.
    let first = log[0];
    let lost: Vec<_> = delivered.iter().filter(|n| **n >= first && log.binary_search(n).is_err()).collect();
    assert!(lost.is_empty(), "delivered and not in the log: {lost:?}");
    assert!(log.len() > 100, "{log:?}");
    if let Ok(batches) = kafka.batches(&topic, 0).await {
        assert_dense(&batches);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_partitions_get_their_records_in_order() {
    const PARTITIONS: usize = 300;
    const EACH: usize = 20;
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("wide", i32::try_from(PARTITIONS).unwrap()).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic)).await;
    assert_eq!(transport.control().partition_count(&topic), Some(300));
    let mut sends = Vec::new();
    for n in 0..PARTITIONS * EACH {
        let partition = i32::try_from(n % PARTITIONS).unwrap();
        let record = Record::new(topic.as_str()).with_value(n.to_string()).with_partition(partition);
        sends.push(call(&mut transport, record).await);
    }
    all_delivered(outcomes(sends).await);
    let log = log(kafka, &topic).await;
    assert_eq!(log.len(), PARTITIONS);
    for (partition, numbers) in log {
        let first = usize::try_from(partition).unwrap();
        assert_eq!(numbers, (0..EACH).map(|n| first + n * PARTITIONS).collect::<Vec<_>>(), "{partition}");
    }
}
