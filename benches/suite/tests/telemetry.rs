//! Telemetry without a reader allocates nothing, and neither does a meter alone; with a followed parent, only the
//! header does.
#![allow(clippy::unwrap_used)] // a test may fail

use kafka_tower_benches::alloc::{Allocations, Counting};
use kafka_tower_benches::cases;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECORDS: usize = 1_000;
/// Telemetry without a provider looks for one after 1, 2, 4, … 4,096 sends and then after every 4,096. A look
/// allocates, so the counted records are between two looks.
const BETWEEN_LOOKS: usize = 5_000;

fn allocations(id: &str) -> u64 {
    let mut run = (cases::ALL.iter().find(|case| case.id() == id).unwrap().start)();
    run(BETWEEN_LOOKS);
    let before = Allocations::now();
    run(RECORDS);
    before.since().calls
}

/// One test only, because others would allocate meanwhile.
#[test]
fn telemetry_without_a_reader_allocates_nothing() {
    assert_eq!(allocations("layer/no layer"), 0, "what is compared with");
    assert_eq!(allocations("layer/telemetry, no provider"), 0);
    assert_eq!(allocations("layer/telemetry, metrics only"), 0);
    let two_each = 2 * RECORDS as u64;
    assert_eq!(allocations("layer/telemetry, parent followed"), two_each, "its text, and the list that it is in");
    assert!(allocations("layer/telemetry, sampled out") > two_each, "a context, and what a sampler sees");
}
