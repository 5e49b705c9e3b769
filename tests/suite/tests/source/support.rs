//! What the tests share.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use kafka_tower::memory::{ConsumerEvent, MemoryConsumer, MemoryKafka};
use kafka_tower::source::SourceCloseReport;
use kafka_tower::{CommitStrategy, KafkaSource, KafkaSourceConfig, Record, SourceMessage};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::Service as _;

pub(crate) const GROUP: &str = "billing";
pub(crate) const TOPIC: &str = "orders";

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Longer than any interval or back-off of the tests' settings.
pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) fn config(commit: CommitStrategy) -> KafkaSourceConfig {
    let commit_every = (commit == CommitStrategy::Periodic).then_some(3);
    KafkaSourceConfig { group_id: GROUP.into(), topics: vec![TOPIC.into()], commit, commit_every, ..Default::default() }
}

pub(crate) fn kafka(partitions: u32) -> MemoryKafka {
    MemoryKafka::new().with_topic(TOPIC, partitions)
}

/// With the values from 0 to below `records` in each partition.
pub(crate) async fn filled(partitions: u32, records: u32) -> MemoryKafka {
    let kafka = kafka(partitions);
    for partition in 0..partitions as i32 {
        append(&kafka, partition, 0..records).await;
    }
    kafka
}

pub(crate) async fn append(kafka: &MemoryKafka, partition: i32, values: impl IntoIterator<Item = u32>) {
    for value in values {
        append_text(kafka, partition, &value.to_string()).await;
    }
}

pub(crate) async fn append_text(kafka: &MemoryKafka, partition: i32, text: &str) {
    let record = Record::new(TOPIC).with_partition(partition).with_value(text.to_owned());
    kafka.transport().call(record).await.unwrap();
}

/// Appends a record with a key for each value.
pub(crate) async fn append_keyed(kafka: &MemoryKafka, partition: i32, values: impl IntoIterator<Item = (&str, u32)>) {
    for (key, value) in values {
        let record =
            Record::new(TOPIC).with_partition(partition).with_key(key.to_owned()).with_value(value.to_string());
        kafka.transport().call(record).await.unwrap();
    }
}

/// Appends records in a transaction, and aborts it.
pub(crate) async fn append_aborted(kafka: &MemoryKafka, partition: i32, count: u32) {
    let mut transport = kafka.transactional_transport("aborted");
    let transactions = transport.control().transactions().unwrap();
    transactions.init(SECOND).await.unwrap();
    transactions.begin(SECOND).await.unwrap();
    for _ in 0..count {
        transport.call(Record::new(TOPIC).with_partition(partition).with_value("0")).await.unwrap();
    }
    transactions.abort(SECOND).await.unwrap();
}

pub(crate) async fn source(kafka: &MemoryKafka, config: KafkaSourceConfig) -> KafkaSource<u32> {
    KafkaSource::builder(config).transport(kafka.clone()).build().await.unwrap()
}

/// Closes a source whose messages are in the user's hands.
pub(crate) fn close_in_background(source: &KafkaSource<u32>) -> JoinHandle<SourceCloseReport> {
    let control = source.control();
    tokio::spawn(async move { control.close().await })
}

/// Another member of the group, as soon as it has partitions: a source gives them back first.
pub(crate) async fn other_member(kafka: &MemoryKafka) -> MemoryConsumer {
    let mut other = kafka.consumer(GROUP, [TOPIC]);
    while !matches!(other.next().await, ConsumerEvent::Assigned(_)) {}
    other
}

/// The next message, which must come.
pub(crate) async fn next(source: &mut KafkaSource<u32>) -> SourceMessage<u32> {
    let received = timeout(LONG, source.recv()).await.expect("a message");
    received.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn take(source: &mut KafkaSource<u32>, count: usize) -> Vec<SourceMessage<u32>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(next(source).await);
    }
    messages
}

pub(crate) fn committed(kafka: &MemoryKafka, partition: i32) -> i64 {
    kafka.committed_offset(GROUP, TOPIC, partition).unwrap_or(0)
}

/// Runs a seed under a paused clock. An error says why it is bad.
fn holds(run: impl Future<Output = ()>) -> Result<(), &'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let run = || runtime.block_on(async { timeout(Duration::from_secs(36_000), run).await });
    match std::panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("it hangs"),
        Err(_) => Err("see above"),
    }
}

/// Runs as many seeds; `KAFKA_TOWER_SEEDS=10000` runs so many, and `KAFKA_TOWER_SEED=42` one again.
pub(crate) fn each_seed(seeds: u64, run: impl AsyncFn(u64)) {
    let number = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let seeds = match (number("KAFKA_TOWER_SEED"), number("KAFKA_TOWER_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, wished) => 0..wished.unwrap_or(seeds),
    };
    for seed in seeds {
        assert_eq!(holds(run(seed)), Ok(()), "seed {seed}");
    }
}

/// Runs up to 100 seeds until one is bad, and says which: the defect must be found.
pub(crate) fn finds(defect: &dyn std::fmt::Debug, run: impl AsyncFn(u64)) {
    let begun = std::time::Instant::now();
    let found = (0..100).find(|seed| holds(run(*seed)).is_err());
    let seed = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
    println!("{defect:?}: seed {seed}, {:?}", begun.elapsed());
}
