//! Tests of consumer groups of the in-memory Kafka, as a source uses them.
#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::time::Duration;

use futures_util::FutureExt;
use kafka_tower_core::{ErrorKind, Record, TopicOffset};
use kafka_tower_memory::{ConsumerEvent, MemoryConsumer, MemoryKafka, TransactionCall};
use tokio::time::{Instant, timeout};
use tower::Service;

const SECOND: Duration = Duration::from_secs(1);

fn kafka(partitions: u32) -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", partitions)
}

async fn write(kafka: &MemoryKafka, partition: i32, value: &str) {
    let record = Record::new("orders").with_partition(partition).with_value(value.to_owned());
    kafka.transport().call(record).await.unwrap();
}

fn next_offset(partition: i32, offset: i64) -> [TopicOffset; 1] {
    [TopicOffset { topic: "orders".into(), partition, offset }]
}

async fn next(consumer: &mut MemoryConsumer) -> ConsumerEvent {
    timeout(3_600 * SECOND, consumer.next()).await.expect("stuck")
}

async fn partitions(consumer: &mut MemoryConsumer) -> Vec<i32> {
    match next(consumer).await {
        ConsumerEvent::Assigned(partitions) | ConsumerEvent::Revoked(partitions) => {
            partitions.into_iter().map(|(_, partition)| partition).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn value(consumer: &mut MemoryConsumer) -> String {
    let ConsumerEvent::Record(stored) = next(consumer).await else { panic!("a record") };
    String::from_utf8(stored.value().unwrap().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_woken_by_a_record_and_continues_at_its_groups_offset() {
    let kafka = kafka(2);
    let mut consumer = kafka.consumer("g", ["orders"]);
    assert_eq!(partitions(&mut consumer).await, [0, 1]);
    let waiting = tokio::spawn(async move { (value(&mut consumer).await, consumer) });
    tokio::task::yield_now().await;
    write(&kafka, 1, "a").await;
    let (read, consumer) = timeout(SECOND, waiting).await.unwrap().unwrap();
    assert_eq!(read, "a");
    consumer.commit(&next_offset(1, 1)).unwrap();
    drop(consumer);
    write(&kafka, 1, "b").await;
    let mut consumer = kafka.consumer("g", ["orders"]);
    partitions(&mut consumer).await;
    assert_eq!(value(&mut consumer).await, "b");
    assert!(consumer.next().now_or_never().is_none());
    let mut other = kafka.consumer("other", ["orders"]);
    partitions(&mut other).await;
    assert_eq!(value(&mut other).await, "a", "groups do not know each other");
}

#[tokio::test(start_paused = true)]
async fn partitions_take_turns_and_a_paused_one_waits() {
    let kafka = kafka(2);
    for n in 0..2 {
        write(&kafka, 0, &format!("a{n}")).await;
        write(&kafka, 1, &format!("b{n}")).await;
    }
    let mut consumer = kafka.consumer("g", ["orders"]);
    partitions(&mut consumer).await;
    assert_eq!(value(&mut consumer).await, "a0");
    assert_eq!(value(&mut consumer).await, "b0");
    consumer.pause("orders", 0);
    assert_eq!(value(&mut consumer).await, "b1");
    assert!(consumer.next().now_or_never().is_none());
    consumer.resume("orders", 0);
    assert_eq!(value(&mut consumer).await, "a1");
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_waits_for_members_with_partitions_and_lets_them_commit() {
    let kafka = kafka(2);
    write(&kafka, 1, "a").await;
    let mut first = kafka.consumer("g", ["orders"]);
    assert_eq!(partitions(&mut first).await, [0, 1]);
    assert_eq!(value(&mut first).await, "a");
    let mut second = kafka.consumer("g", ["orders"]);
    assert!(second.next().now_or_never().is_none(), "the first one does not poll");
    let old = first.group();
    assert_eq!(partitions(&mut first).await, [0, 1], "revoked");
    first.commit(&next_offset(1, 1)).unwrap();
    let (mine, theirs) = tokio::join!(partitions(&mut first), partitions(&mut second));
    assert_eq!((mine, theirs), (vec![0], vec![1]));
    assert!(second.next().now_or_never().is_none(), "it was committed");
    assert_eq!(first.group().generation, old.generation + 1);
}

#[tokio::test(start_paused = true)]
async fn an_expelled_consumer_gets_an_event_and_may_not_commit() {
    let kafka = kafka(1);
    let mut stale = kafka.consumer("g", ["orders"]);
    partitions(&mut stale).await;
    assert!(kafka.expel(&stale) && !kafka.expel(&stale));
    let mut fresh = kafka.consumer("g", ["orders"]);
    assert_eq!(partitions(&mut fresh).await, [0]);
    let error = stale.commit(&next_offset(0, 7)).unwrap_err();
    assert_eq!((error.kind(), error.error_type()), (ErrorKind::Fenced, "ILLEGAL_GENERATION"));
    assert_eq!(next(&mut stale).await, ConsumerEvent::Expelled);
    assert_eq!(kafka.committed_offset("g", "orders", 0), None);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_member_count_with_its_transaction() {
    let kafka = kafka(1);
    let transport = kafka.transactional_transport("id");
    let control = transport.control();
    let transactions = control.transactions().unwrap();
    transactions.init(SECOND).await.unwrap();
    let mut consumer = kafka.consumer("g", ["orders"]);
    partitions(&mut consumer).await;
    transactions.begin(SECOND).await.unwrap();
    transactions.send_offsets(next_offset(0, 3).to_vec(), consumer.group(), SECOND).await.unwrap();
    transactions.commit(SECOND).await.unwrap();
    assert_eq!(kafka.committed_offset("g", "orders", 0), Some(3));
    let stale = consumer.group();
    drop(consumer);
    let mut next = kafka.consumer("g", ["orders"]);
    partitions(&mut next).await;
    transactions.begin(SECOND).await.unwrap();
    let refused = transactions.send_offsets(next_offset(0, 9).to_vec(), stale, SECOND).await.unwrap_err();
    assert_eq!(refused.error_type(), "ILLEGAL_GENERATION");
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_holds_a_reader_back_until_it_runs_out_of_time() {
    let kafka = kafka(1);
    let timeout = 10 * SECOND;
    let mut open = kafka.producer().transactional("id").transaction_timeout(timeout).transport();
    let control = open.control();
    let transactions = control.transactions().unwrap();
    transactions.init(SECOND).await.unwrap();
    transactions.begin(SECOND).await.unwrap();
    open.call(Record::new("orders").with_value("open")).await.unwrap();
    write(&kafka, 0, "behind").await;
    let mut all = kafka.consumer("all", ["orders"]).with_read_committed(false);
    partitions(&mut all).await;
    assert_eq!(value(&mut all).await, "open");
    let mut committed = kafka.consumer("g", ["orders"]);
    partitions(&mut committed).await;
    let start = Instant::now();
    assert_eq!(value(&mut committed).await, "behind");
    assert_eq!(start.elapsed(), timeout);
}

#[tokio::test(start_paused = true)]
async fn a_commit_wakes_a_reader() {
    let kafka = kafka(1);
    let mut producer = kafka.transactional_transport("id");
    let control = producer.control();
    let transactions = control.transactions().unwrap();
    transactions.init(SECOND).await.unwrap();
    transactions.begin(SECOND).await.unwrap();
    producer.call(Record::new("orders").with_value("a")).await.unwrap();
    let mut consumer = kafka.consumer("g", ["orders"]);
    partitions(&mut consumer).await;
    let start = Instant::now();
    let waiting = tokio::spawn(async move { value(&mut consumer).await });
    tokio::task::yield_now().await;
    transactions.commit(SECOND).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "a");
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_late_wakes_a_reader() {
    let kafka = kafka(1);
    let mut producer = kafka.transactional_transport("id");
    let control = producer.control();
    let transactions = control.transactions().unwrap();
    transactions.init(SECOND).await.unwrap();
    transactions.begin(SECOND).await.unwrap();
    producer.call(Record::new("orders").with_value("a")).await.unwrap();
    kafka.script_transactions().on(TransactionCall::Commit).always().stale(5 * SECOND);
    let mut consumer = kafka.consumer("g", ["orders"]);
    partitions(&mut consumer).await;
    let start = Instant::now();
    let waiting = tokio::spawn(async move { value(&mut consumer).await });
    transactions.commit(SECOND).await.unwrap_err();
    assert_eq!(waiting.await.unwrap(), "a");
    assert_eq!(start.elapsed(), 5 * SECOND);
}
