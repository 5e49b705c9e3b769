//! Tests of `Partition`: the record's own partition takes precedence over the strategy, and it never waits for a
//! count.
#![cfg(feature = "partition")]
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};

use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record};
use kafka_tower_layers::partition::{Partition, PartitionLayer, PartitionStrategy, Partitioner};
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use tower::{Layer, Service, ServiceExt};

fn record(key: Option<&str>) -> Record {
    match key {
        Some(key) => Record::new("orders").with_key(key.to_owned()),
        None => Record::new("orders"),
    }
}

fn stack(kafka: &MemoryKafka, strategy: PartitionStrategy) -> Partition<MemoryTransport> {
    let transport = kafka.transport();
    PartitionLayer::new(strategy, transport.control()).layer(transport)
}

async fn send<S: Service<Record, Response = Delivery, Error = Error>>(service: &mut S, record: Record) -> i32 {
    service.ready().await.unwrap().call(record).await.unwrap().partition
}

/// Responds with the partition that it was called with. Panics if it was not polled ready.
#[derive(Default)]
struct Echo {
    ready: bool,
}

impl Clone for Echo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Record> for Echo {
    type Response = Option<i32>;
    type Error = Error;
    type Future = std::future::Ready<Result<Option<i32>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        std::future::ready(Ok(record.partition))
    }
}

async fn seen(service: &mut Partition<Echo>, record: Record) -> Option<i32> {
    service.ready().await.unwrap().call(record).await.unwrap()
}

#[tokio::test]
async fn keys_get_the_same_partition_as_in_java() {
    let kafka = MemoryKafka::new().with_topic("orders", 7);
    let mut service = stack(&kafka, PartitionStrategy::default());
    for n in 0..50 {
        let key = format!("order-{n}");
        assert_eq!(send(&mut service, record(Some(&key))).await, partition_for_key(key.as_bytes(), 7));
    }
}

/// A partition computed in the layer would use the old count.
#[tokio::test]
async fn a_key_gets_no_partition_although_the_count_is_known() {
    for strategy in [PartitionStrategy::KeyHash, PartitionStrategy::Custom] {
        let mut service = PartitionLayer::new(strategy, |_: &str| Some(6)).layer(Echo::default());
        assert_eq!(seen(&mut service, record(Some("42"))).await, None);
        assert_eq!(seen(&mut service, record(None)).await, None);
    }
}

#[tokio::test]
async fn the_records_own_partition_takes_precedence_over_every_strategy() {
    let kafka = MemoryKafka::new().with_topic("orders", 3);
    for strategy in [
        PartitionStrategy::KeyHash,
        PartitionStrategy::RoundRobin,
        PartitionStrategy::Single(0),
        PartitionStrategy::Custom,
    ] {
        let mut service = stack(&kafka, strategy);
        assert_eq!(send(&mut service, record(Some("42")).with_partition(2)).await, 2, "{strategy:?}");
    }
    let transport = kafka.transport();
    let layer = PartitionLayer::new(PartitionStrategy::Custom, transport.control());
    let mut service = layer.partitioner(|_: &Record, _: u32| Some(1)).layer(transport);
    assert_eq!(send(&mut service, record(Some("42")).with_partition(2)).await, 2);
}

#[tokio::test]
async fn round_robin_counts_per_topic_and_clones_share_the_count() {
    let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("bills", 2);
    let transport = kafka.transport();
    let layer = PartitionLayer::new(PartitionStrategy::RoundRobin, transport.control());
    let mut first = layer.layer(transport.clone());
    let (mut cloned, mut second) = (first.clone(), layer.clone().layer(transport));
    assert_eq!(send(&mut first, record(Some("same key"))).await, 0);
    assert_eq!(send(&mut cloned, record(Some("same key"))).await, 1);
    assert_eq!(send(&mut first, Record::new("bills")).await, 0, "a topic has its own turns");
    assert_eq!(send(&mut second, record(None)).await, 2);
    assert_eq!(send(&mut first, record(None)).await, 0);
    assert_eq!(send(&mut cloned, Record::new("bills")).await, 1);
    assert_eq!(send(&mut second, record(None).with_partition(0)).await, 0);
    assert_eq!(send(&mut second, record(None)).await, 1, "a record that names its partition takes no turn");
}

#[test]
fn threads_share_the_count_of_round_robin() {
    let layer = PartitionLayer::new(PartitionStrategy::RoundRobin, |_: &str| Some(4));
    let counts: [AtomicU32; 4] = Default::default();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut service = layer.layer(Echo::default());
                start.wait();
                for _ in 0..200_000 {
                    service.get_mut().ready = true;
                    let partition = service.call(record(None)).into_inner().unwrap().unwrap();
                    counts[partition as usize].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(counts.map(AtomicU32::into_inner), [200_000; 4]);
}

#[tokio::test]
async fn an_unknown_count_chooses_no_partition_and_does_not_advance() {
    let count = Arc::new(AtomicU32::new(0));
    let known = Arc::clone(&count);
    let counts = move |_: &str| Some(known.load(Ordering::Relaxed)).filter(|count| *count > 0);
    let mut turns = PartitionLayer::new(PartitionStrategy::RoundRobin, counts.clone()).layer(Echo::default());
    let asked = |_: &Record, partitions: u32| Some(partitions as i32 - 1);
    let custom = PartitionLayer::new(PartitionStrategy::Custom, counts.clone()).partitioner(asked);
    let mut custom = custom.layer(Echo::default());
    let mut single = PartitionLayer::new(PartitionStrategy::Single(2), counts).layer(Echo::default());

    assert_eq!(seen(&mut turns, record(None)).await, None);
    assert_eq!(seen(&mut custom, record(None)).await, None);
    assert_eq!(seen(&mut single, record(None)).await, Some(2), "needs no count");
    count.store(3, Ordering::Relaxed);
    assert_eq!(seen(&mut turns, record(None)).await, Some(0));
    assert_eq!(seen(&mut custom, record(None)).await, Some(2));
    // Added partitions are used at once.
    count.store(4, Ordering::Relaxed);
    assert_eq!(seen(&mut custom, record(None)).await, Some(3));
    for partition in [1, 2, 3, 0] {
        assert_eq!(seen(&mut turns, record(None)).await, Some(partition));
    }
}

#[tokio::test]
async fn a_count_of_zero_does_not_panic() {
    let mut service = PartitionLayer::new(PartitionStrategy::RoundRobin, |_: &str| Some(0)).layer(Echo::default());
    assert_eq!(seen(&mut service, record(None)).await, None);
}

#[tokio::test]
async fn an_unknown_topic_is_left_to_the_transport() {
    let kafka = MemoryKafka::new().with_auto_create(2);
    let mut service = stack(&kafka, PartitionStrategy::RoundRobin);
    let sent = [send(&mut service, record(None)).await, send(&mut service, record(None)).await];
    assert_eq!(sent, [0, 0], "the transport's first, then the first turn");
}

#[tokio::test]
async fn a_partition_that_does_not_exist_is_the_transports_error() {
    let kafka = MemoryKafka::new().with_topic("orders", 3);
    for (partition, kind) in [(3, ErrorKind::UnknownTopicOrPartition), (-1, ErrorKind::InvalidRecord)] {
        let transport = kafka.transport();
        let layer = PartitionLayer::new(PartitionStrategy::Custom, transport.control());
        let custom = layer.partitioner(move |_: &Record, _: u32| Some(partition)).layer(transport);
        for service in [custom, stack(&kafka, PartitionStrategy::Single(partition))] {
            let error = service.oneshot(record(None)).await.unwrap_err();
            assert_eq!((error.kind(), error.persistence()), (kind, Persistence::NotPersisted));
        }
    }
    assert_eq!(kafka.len("orders"), 0);
}

#[tokio::test]
async fn a_panic_of_a_partitioner_leaves_all_handles_usable() {
    struct Moody;
    impl Partitioner for Moody {
        fn partition(&self, record: &Record, _: u32) -> Option<i32> {
            assert!(record.key.is_some(), "the partitioner's own panic");
            Some(1)
        }
    }
    let kafka = MemoryKafka::new().with_topic("orders", 3);
    let transport = kafka.transport();
    let layer = PartitionLayer::new(PartitionStrategy::KeyHash, transport.control());
    let partitioner: Arc<dyn Partitioner> = Arc::new(Moody);
    let mut service = layer.partitioner(partitioner).layer(transport);
    let mut other = service.clone();
    service.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| service.call(record(None)))).is_err());
    assert_eq!(send(&mut service, record(Some("k"))).await, 1);
    assert_eq!(send(&mut other, record(Some("k"))).await, 1);
    assert_eq!(kafka.len("orders"), 2);
}

#[tokio::test]
async fn call_order_is_log_order() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut service = stack(&kafka, PartitionStrategy::RoundRobin);
    let first = service.ready().await.unwrap().call(record(None).with_value("1"));
    let second = service.ready().await.unwrap().call(record(None).with_value("2"));
    assert_eq!(second.await.unwrap().offset, Some(1), "the calls have their places before a future is polled");
    assert_eq!(first.await.unwrap().offset, Some(0));
}
