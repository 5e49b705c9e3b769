//! Records per second that the in-memory Kafka takes on one core, to show that it is no bottleneck in tests.
//!
//! The best of five runs each, because other processes can only slow a run down. Fails below one million.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use kafka_tower::Record;
use kafka_tower::memory::MemoryKafka;
use tower::Service;

const RECORDS: usize = 1_000_000;
const GOAL: f64 = 1e6;

fn main() -> ExitCode {
    let mut kept = true;
    for (partitions, idempotent) in [(1, false), (12, false), (12, true)] {
        let best = (0..5).map(|_| records_per_second(partitions, idempotent)).fold(0.0, f64::max);
        println!("{partitions} partitions, idempotent: {idempotent}: {best:.0} records/s");
        kept &= best >= GOAL;
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn records_per_second(partitions: u32, idempotent: bool) -> f64 {
    let kafka = MemoryKafka::new().with_topic("orders", partitions);
    let producer = kafka.producer();
    let mut transport = if idempotent { producer.retries(5).transport() } else { producer.transport() };
    let record = Record::new("orders").with_value(Bytes::from_static(b"0123456789"));
    let start = Instant::now();
    for n in 0..RECORDS {
        let record = record.clone().with_partition((n % partitions as usize) as i32);
        let settled = transport.call(record).now_or_never().expect("settled at once");
        settled.unwrap_or_else(|error| panic!("{error:#}"));
    }
    let rate = RECORDS as f64 / start.elapsed().as_secs_f64();
    assert_eq!(kafka.len("orders"), RECORDS);
    rate
}
