//! Tests whether your own stack keeps its guarantees. From a seed, answers get lost, connections break and brokers
//! reject records; the checker compares the callers' results with the log.
//!
//! ```text
//! cargo run --features sim --example check_your_stack
//! KAFKA_TOWER_SEED=42 cargo run --features sim --example check_your_stack     one seed again
//! KAFKA_TOWER_SEEDS=100000 cargo run --release --features sim --example check_your_stack
//! ```
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use kafka_tower::DeliveryGuarantee;
use kafka_tower::layers::KafkaServiceBuilderExt;
use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower::memory::MemoryTransport;
use kafka_tower::memory::sim::{Guarantee, check};
use kafka_tower::{Delivery, Error, PartitionStrategy, Record};
use tower::{Service, ServiceBuilder};

/// The stack under test: any service that takes records and returns their outcome.
fn my_stack(
    transport: MemoryTransport,
    policy: RetryPolicy,
) -> impl Service<Record, Response = Delivery, Error = Error> + Clone {
    let control = transport.control();
    ServiceBuilder::new()
        .partition(PartitionStrategy::KeyHash, control)
        // A seed for the jitter, so that a run can be repeated.
        .layer(RetryLayer::new(policy).jitter_seed(1))
        .service(transport)
}

fn main() -> ExitCode {
    let careful = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    let eager = careful.clone().allow_duplicates(true);

    println!("A stack that re-sends only records that were certainly not written:\n");
    let kept = check(|transport| my_stack(transport, careful.clone())).guarantee(Guarantee::AtLeastOnce).seeds(1_000);
    let kept = kept.run();
    println!("{kept}\n");

    println!("A stack that also re-sends records that may have been written, and still promises at most once:\n");
    let broken = check(|transport| my_stack(transport, eager.clone())).guarantee(Guarantee::AtMostOnce).run();
    println!("{broken}");

    if kept.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
