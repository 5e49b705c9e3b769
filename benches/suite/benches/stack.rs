//! Cost of a record in memory: the single layers, and the whole stack.
#![allow(missing_docs)]

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kafka_tower_benches::cases;

/// Records per iteration: enough to make the fixed cost of a run negligible.
const RECORDS: usize = 1_000;

fn stack(criterion: &mut Criterion) {
    for case in cases::ALL {
        let mut group = criterion.benchmark_group(case.group);
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function(case.name, |bencher| {
            // A fresh one each time, because the in-memory Kafka keeps its records.
            bencher.iter_batched_ref(case.start, |run| run(RECORDS), BatchSize::LargeInput);
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = stack
}
criterion_main!(benches);
