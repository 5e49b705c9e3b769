//! A client whose sinks share transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::{
    Error, ErrorKind, KafkaClient, KafkaClientBuilder, KafkaSink, KafkaSinkConfig, Persistence, Recovery, Result,
    SinkMessage, TransactionBatchOptions,
};
use kafka_tower_test_texts::assert_consistent;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::{SECOND, kafka, sinks};

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig::exactly_once("memory", "", "shared")
}

fn options() -> TransactionBatchOptions {
    TransactionBatchOptions::new().age(5 * SECOND)
}

fn builder(kafka: &MemoryKafka, options: TransactionBatchOptions) -> KafkaClientBuilder {
    let lanes = kafka.clone();
    KafkaClient::builder(config()).transaction_batch_over(options, move |id: &str| lanes.transactional_transport(id))
}

async fn client(
    kafka: &MemoryKafka,
    options: TransactionBatchOptions,
) -> (KafkaClient, KafkaSink<String>, KafkaSink<u64>) {
    let client = builder(kafka, options).build().await.unwrap();
    let (orders, payments) = sinks(&client).await;
    (client, orders, payments)
}

fn committed(kafka: &MemoryKafka) -> (usize, usize) {
    (kafka.committed("orders").len(), kafka.committed("payments").len())
}

/// Resolves when the records that were called so far are in their lanes.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn book() -> String {
    "book".to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_sends_of_all_sinks_share_a_transaction() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka, options()).await;
    let commits = kafka.script_transactions().on(TransactionCall::Commit).always().delay(SECOND);
    let begun = Instant::now();
    let (order, payment) = tokio::join!(orders.send(book()), payments.send(1));
    assert_eq!(begun.elapsed(), 6 * SECOND, "its age and its commit");
    assert_eq!((order.unwrap().offset, payment.unwrap().offset), (Some(0), Some(0)));
    assert_eq!((commits.used(), committed(&kafka)), (1, (1, 1)));
    assert!(kafka.records("orders")[0].record.tenant().is_none(), "a number of the layer means nothing below it");
    let (of_orders, sum) = (orders.metrics().await, client.metrics());
    assert_eq!((of_orders.messages_sent, sum.messages_sent), (1, 2));
    client.close().await.unwrap();
    assert_eq!(orders.send(book()).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_of_a_sink_does_not_fail_those_of_the_others() {
    let kafka = kafka();
    let (_client, orders, payments) = client(&kafka, options()).await;
    let refused = Error::new(ErrorKind::RecordTooLarge, "planted").with_persistence(Persistence::NotPersisted);
    kafka.script().on_topic("orders").fail(refused.with_recovery(Recovery::Reject));
    let (order, payment) = tokio::join!(orders.send(book()), payments.send(1));
    assert_eq!(order.unwrap_err().kind(), ErrorKind::RecordTooLarge);
    assert!(payment.is_ok(), "{payment:?}");
    assert_eq!(committed(&kafka), (0, 1));
}

/// The producer has one transaction at a time, which belongs to all sinks: one by hand would take others' records along.
#[tokio::test(start_paused = true)]
async fn transactions_by_hand_are_refused_with_the_way_out() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka, options()).await;
    assert!(client.control().transactions().is_none() && orders.control().transactions().is_none());
    let by_guard = orders.transaction().await.map(drop);
    for error in [orders.begin_transaction().await, payments.commit_transaction().await, by_guard] {
        let error = error.unwrap_err();
        assert_consistent(&error);
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transaction, Recovery::Reject));
        assert!(error.help().contains("without `transaction_batch`, or its client"), "{error:#}");
    }
    let (order, flushed) = tokio::join!(orders.send(book()), orders.flush());
    assert!(order.is_ok() && flushed.is_ok(), "nothing has changed");
}

#[tokio::test(start_paused = true)]
async fn a_flush_and_a_close_of_a_sink_commit_at_once_and_the_others_go_on() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka, options()).await;
    let begun = Instant::now();
    let order = tokio::spawn(orders.send(book()));
    settle().await;
    orders.flush().await.unwrap();
    assert!(order.await.unwrap().is_ok());
    let order = tokio::spawn(orders.send(book()));
    settle().await;
    orders.close().await.unwrap();
    assert!(order.await.unwrap().is_ok());
    assert_eq!((committed(&kafka), begun.elapsed()), ((2, 0), Duration::ZERO));

    assert_eq!(orders.send(book()).await.unwrap_err().kind(), ErrorKind::Closed);
    payments.send(1).await.unwrap();
    let payment = tokio::spawn(payments.send(2));
    settle().await;
    client.close().await.unwrap();
    assert!(payment.await.unwrap().is_ok());
    assert_eq!(committed(&kafka), (2, 2));
    let error = client.sink::<u64>("payments").build().await.unwrap_err();
    assert_eq!(error.message(), "the client was closed");
}

/// The commit of the first transaction has no answer. The second record waits for it in its lane.
#[tokio::test(start_paused = true)]
async fn records_that_the_close_of_a_sink_gives_up_are_reported_by_their_stage() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka, options().age(Duration::ZERO)).await;
    let commits = kafka.script_transactions().on(TransactionCall::Commit).always().lose_request();
    let payment = tokio::spawn(payments.send(1));
    let committing = tokio::spawn(orders.send(SinkMessage::new(book()).with_key("committing")));
    settle().await;
    assert_eq!(commits.used(), 1);
    let waiting = tokio::spawn(orders.send(SinkMessage::new(book()).with_key("waiting")));
    settle().await;
    let in_flight = |records: usize| assert_eq!(orders.control().in_flight().records, records);
    in_flight(2);

    let begun = Instant::now();
    let error = orders.close_within(2 * SECOND).await.unwrap_err();
    assert_eq!(begun.elapsed(), 2 * SECOND);
    in_flight(0);
    let mut left: Vec<_> = error.report().undelivered.iter().collect();
    left.sort_by_key(|left| left.record.key.clone());
    let left: Vec<_> = left
        .iter()
        .map(|left| (left.record.key.clone().unwrap(), left.error.persistence(), left.record.tenant().is_none()))
        .collect();
    let expected = [
        ("committing".into(), Persistence::PossiblyPersisted, true),
        ("waiting".into(), Persistence::NotPersisted, true),
    ];
    assert_eq!(left, expected);
    for (answer, persistence) in [(committing, Persistence::PossiblyPersisted), (waiting, Persistence::NotPersisted)] {
        let error = answer.await.unwrap().unwrap_err();
        assert_consistent(&error);
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, persistence), "{error}");
    }

    commits.cancel();
    payment.await.unwrap().unwrap();
    payments.send(2).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(committed(&kafka), (1, 2), "the one that waited is not sent");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_before_a_transport_is_made() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = |config: KafkaSinkConfig, options| {
        let (kafka, made) = (kafka(), Arc::clone(&made));
        KafkaClient::builder(config).transaction_batch_over(options, move |id: &str| {
            made.fetch_add(1, Ordering::Relaxed);
            kafka.transactional_transport(id)
        })
    };
    let other = kafka().transactional_transport("shared");
    for (builder, text) in [
        (counted(KafkaSinkConfig::default(), options()), "need a transactional id"),
        (counted(config(), options().lanes(0)), "0 lanes"),
        (counted(config(), options()).transport(other), "exclude each other"),
    ] {
        let error = builder.build().await.unwrap_err();
        assert_consistent(&error);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(text), "{error}");
    }
    assert_eq!(made.load(Ordering::Relaxed), 0);
    // Its records would expire before their transaction is cut.
    let client = builder(&kafka(), options()).build().await.unwrap();
    let hasty = client.sink::<u64>("payments").settings(|config| config.send_timeout_ms = 5_000).build().await;
    let error = hasty.unwrap_err();
    assert!(error.message().contains("uses up `send_timeout_ms`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_lanes_have_ids_of_their_own_until_the_client_is_closed() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka, options().lanes(2)).await;
    let used: Vec<_> = ["shared-0", "shared-1"]
        .map(|id| kafka.script_transactions().on(TransactionCall::Commit).of_id(id).always().delay(Duration::ZERO))
        .into();
    let second = builder(&kafka, options()).build().await.unwrap_err();
    assert!(second.message().contains("\"shared-0\""), "{second}");
    let to = |partition| SinkMessage::new(1).with_partition(partition);
    let sent = tokio::join!(orders.send(book()), payments.send(to(0)), payments.send(to(1)));
    assert!(sent.0.is_ok() && sent.1.is_ok() && sent.2.is_ok(), "{sent:?}");
    assert!(used.iter().all(|lane| lane.used() > 0), "each lane has committed");
    client.close().await.unwrap();
    assert!(builder(&kafka, options()).build().await.is_ok(), "the ids are free again");
}

/// The sinks outlive the client, and so do their transactions.
#[tokio::test(start_paused = true)]
async fn sinks_outlive_their_client() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka, options()).await;
    drop(client);
    let sent: Result<_> = async { Ok((orders.send(book()).await?, payments.send(1).await?)) }.await;
    sent.unwrap();
    drop((orders, payments));
    settle().await;
    assert!(builder(&kafka, options()).build().await.is_ok(), "the ids are free again");
}
