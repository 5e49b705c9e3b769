//! Cheap enough to be no bottleneck: `cargo test --release -p kafka-tower-memory --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it measures")]

use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use kafka_tower_core::Record;
use kafka_tower_memory::MemoryKafka;
use tower::Service;

const RECORDS: usize = 1_000_000;

fn records_per_second(partitions: u32, idempotent: bool) -> f64 {
    let kafka = MemoryKafka::new().with_topic("orders", partitions);
    let producer = kafka.producer();
    let mut transport = if idempotent { producer.retries(5).transport() } else { producer.transport() };
    let record = Record::new("orders").with_value(Bytes::from_static(b"0123456789"));
    let start = Instant::now();
    for n in 0..RECORDS {
        let record = record.clone().with_partition((n % partitions as usize) as i32);
        transport.call(record).now_or_never().expect("settled at once").unwrap();
    }
    let rate = RECORDS as f64 / start.elapsed().as_secs_f64();
    assert_eq!(kafka.len("orders"), RECORDS);
    rate
}

#[test]
#[ignore = "a measurement: on its own, in release"]
fn a_million_records_a_second_on_one_core() {
    for (partitions, idempotent) in [(1, false), (12, false), (12, true)] {
        let best = (0..5).map(|_| records_per_second(partitions, idempotent)).fold(0.0, f64::max);
        println!("{partitions} partitions, idempotent: {idempotent}: {best:.0} records/s");
        assert!(best > 1e6, "{best:.0} records/s");
    }
}
