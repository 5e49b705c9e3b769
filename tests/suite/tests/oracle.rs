//! Whether the stacks of this project keep their guarantees, under a thousand seeds of faults each.
//!
//! A soak runs more: `KAFKA_TOWER_SEEDS=100000 cargo test --release -p kafka-tower-test-suite --test oracle`; one seed
//! again: `KAFKA_TOWER_SEED=42`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_tower::layers::ServiceBuilderExt;
use kafka_tower::layers::circuit_breaker::CircuitBreakerLayer;
use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower::memory::MemoryTransport;
use kafka_tower::memory::check::{Guarantee, Report, TOPIC, check};
use kafka_tower::{
    DeliveryGuarantee, KafkaSinkConfig, MessageSerializer, PartitionStrategy, Record, Result, SinkMessage, Transport,
    async_trait, stack,
};
use tower::{ServiceBuilder, ServiceExt};

const SEEDS: u64 = 1_000;

/// The layers of the default stack below its serializer. The jitter of its retries is drawn from a seed, so that a run
/// can be repeated.
fn layers(policy: RetryPolicy) -> impl Fn(MemoryTransport) -> BoxedStack {
    move |transport| {
        let control = transport.control();
        let stack = ServiceBuilder::new()
            .partition(PartitionStrategy::KeyHash, control)
            .circuit_breaker(CircuitBreakerLayer::default())
            .layer(RetryLayer::new(policy.clone()).seed(1))
            .service(transport);
        BoxedStack::new(stack)
    }
}

type BoxedStack = tower::util::BoxCloneSyncService<Record, kafka_tower::Delivery, kafka_tower::Error>;

#[track_caller]
fn assert_kept(report: &Report) {
    println!("{report}");
    report.assert_clean();
}

#[test]
fn at_most_once() {
    let policy = RetryPolicy::new().guarantee(DeliveryGuarantee::AtMostOnce);
    assert_kept(&check(layers(policy)).guarantee(Guarantee::AtMostOnce).without_order().seeds(SEEDS).run());
}

#[test]
fn at_least_once() {
    let policy = RetryPolicy::new().guarantee(DeliveryGuarantee::AtLeastOnce);
    assert_kept(&check(layers(policy)).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run());
}

#[test]
fn at_least_once_with_duplicates() {
    let policy = RetryPolicy::new().guarantee(DeliveryGuarantee::AtLeastOnce).allow_duplicates(true);
    let report = check(layers(policy)).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run();
    assert_kept(&report);
    assert!(!report.to_string().contains("; 0 copies"), "nothing was written twice: {report}");
}

/// Over a client that sends in batches and again by itself, as librdkafka does: refusals hit neighbours, which the retry
/// sends alone.
#[test]
fn over_batches_and_retries_of_the_client() {
    let policy = RetryPolicy::new().guarantee(DeliveryGuarantee::AtMostOnce);
    let check = check(layers(policy)).guarantee(Guarantee::AtMostOnce).without_order();
    assert_kept(&check.producer(|p| p.retries(5).batches(4, Duration::from_millis(2))).seeds(SEEDS).run());
}

#[test]
fn exactly_once() {
    let policy = RetryPolicy::new().guarantee(DeliveryGuarantee::ExactlyOnce);
    assert_kept(&check(layers(policy)).guarantee(Guarantee::ExactlyOnce).seeds(SEEDS).run());
}

/// A retry that sends again what may be there, under a stack that promises at most once.
#[test]
fn allowing_duplicates_is_found_to_be_no_at_most_once() {
    let policy = RetryPolicy::new().allow_duplicates(true);
    let report = check(layers(policy)).guarantee(Guarantee::AtMostOnce).without_order().run();
    assert!(!report.is_clean(), "{report}");
}

/// The bytes as they are.
struct Raw;

#[async_trait]
impl MessageSerializer<Bytes> for Raw {
    async fn serialize(&self, message: &Bytes) -> Result<Vec<u8>> {
        Ok(message.to_vec())
    }

    fn serialize_now(&self, message: &Bytes, buffer: &mut BytesMut) -> Option<Result<()>> {
        buffer.extend_from_slice(message);
        Some(Ok(()))
    }
}

fn message(record: Record) -> SinkMessage<Bytes> {
    let mut message = SinkMessage::new(record.value.unwrap_or_default()).with_headers(record.headers);
    if let Some(key) = record.key {
        message = message.with_key(key);
    }
    if let Some(at) = record.expires_at {
        message = message.with_deadline(at);
    }
    message
}

fn default_stack(transport: MemoryTransport) -> impl Transport {
    let config = KafkaSinkConfig { topic: TOPIC.into(), ..Default::default() };
    let control = transport.control();
    let stack = stack::default::<Bytes, _, _>(&config, Arc::new(Raw), transport, control);
    BoxedStack::new(stack.map_request(message))
}

#[test]
fn the_default_stack_keeps_at_least_once() {
    assert_kept(&check(default_stack).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run());
}
