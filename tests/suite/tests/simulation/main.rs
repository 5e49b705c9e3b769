//! Checks that the stacks of this project keep their guarantees, with a thousand seeds of faults each.
//!
//! `scripts/campaign` runs more seeds; `KAFKA_TOWER_SEED=42` runs one seed again.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod batches;
mod closures;
mod guards;
mod planted;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_tower::layers::KafkaServiceBuilderExt;
use kafka_tower::layers::circuit_breaker::CircuitBreakerLayer;
use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower::memory::sim::{
    Check, Failure, Guarantee, MakeStack, Order, Report, TOPIC, Verdict, check, check_sink,
};
use kafka_tower::memory::{FaultKind, Faults, MemoryTransport};
use kafka_tower::{
    Delivery, DeliveryGuarantee, Error, KafkaSink, KafkaSinkConfig, MessageSerializer, PartitionStrategy, Persistence,
    Record, Result, SinkMessage, async_trait, stack,
};
use tower::{Service, ServiceBuilder, ServiceExt};

const SEEDS: u64 = 1_000;

/// The layers of the default stack below its serializer. The jitter of retries comes from a seed, so that a run is
/// repeatable.
fn layers(policy: RetryPolicy) -> impl Fn(MemoryTransport) -> BoxedStack {
    move |transport| {
        let control = transport.control();
        let stack = ServiceBuilder::new()
            .partition(PartitionStrategy::KeyHash, control)
            .circuit_breaker(CircuitBreakerLayer::default())
            .layer(RetryLayer::new(policy.clone()).jitter_seed(1))
            .service(transport);
        BoxedStack::new(stack)
    }
}

type BoxedStack = tower::util::BoxCloneSyncService<Record, Delivery, Error>;

#[track_caller]
fn assert_kept(report: &Report) {
    println!("{report}");
    report.assert_clean();
}

/// A retried record is written behind records that were called meanwhile. With retries, the only order is that a record
/// called after another's `Ok` is written behind it.
#[test]
fn at_most_once() {
    let policy = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    assert_kept(&check(layers(policy)).guarantee(Guarantee::AtMostOnce).order(Order::Answers).seeds(SEEDS).run());
}

/// Without the retry layer the log has the order of the calls, even if the client sends requests again by itself.
#[test]
fn at_most_once_in_the_order_of_the_calls() {
    let stack = |transport: MemoryTransport| {
        let control = transport.control();
        ServiceBuilder::new()
            .partition(PartitionStrategy::KeyHash, control)
            .circuit_breaker(CircuitBreakerLayer::default())
            .service(transport)
    };
    let check = check(stack).guarantee(Guarantee::AtMostOnce);
    assert_kept(&check.producer(|p| p.retries(50).batches(4, Duration::from_millis(2))).seeds(SEEDS).run());
}

/// With the retry layer the order of calls is not guaranteed. Not even with 0 retries: a record that failed because of
/// its batch is sent alone afterwards.
#[test]
fn the_checker_finds_that_retries_reorder_calls() {
    for retries in [5, 0] {
        let policy = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::AtMostOnce).max_retries(retries);
        let report = check(layers(policy)).guarantee(Guarantee::AtMostOnce).run();
        assert_eq!(report.verdicts(), [Verdict::Reordered], "{report}");
    }
}

#[test]
fn at_least_once() {
    let policy = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    assert_kept(&check(layers(policy)).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run());
}

#[test]
fn at_least_once_with_duplicates() {
    let policy = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::AtLeastOnce).allow_duplicates(true);
    let report = check(layers(policy)).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run();
    assert_kept(&report);
    assert!(!report.to_string().contains("; 0 copies"), "the test needs records that are written twice: {report}");
}

/// Over a client that sends batches and retries by itself, as librdkafka does: a refusal fails a whole batch, and the
/// retry layer sends its records alone.
#[test]
fn over_batches_and_retries_of_the_client() {
    let policy = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let check = check(layers(policy)).guarantee(Guarantee::AtMostOnce).order(Order::Answers);
    // As many client retries as librdkafka has: a client that gives up a request in doubt takes a new epoch, and writes
    // other records twice.
    assert_kept(&check.producer(|p| p.retries(1_000).batches(4, Duration::from_millis(2))).seeds(SEEDS).run());
}

/// Without a breaker, as in a sink with transactions.
fn transactional(transport: MemoryTransport) -> BoxedStack {
    let control = transport.control();
    let policy = RetryPolicy::new().delivery_guarantee(DeliveryGuarantee::ExactlyOnce);
    let stack = ServiceBuilder::new()
        .partition(PartitionStrategy::KeyHash, control)
        .layer(RetryLayer::new(policy).jitter_seed(1))
        .service(transport);
    BoxedStack::new(stack)
}

#[test]
fn exactly_once() {
    assert_kept(&check(transactional).guarantee(Guarantee::ExactlyOnce).seeds(SEEDS).run());
}

/// A record that the breaker rejects never reaches the transport. If its caller drops the error, the transaction is
/// committed without the record.
#[test]
fn the_checker_finds_that_a_breaker_tears_transactions() {
    let stack = |transport| {
        ServiceBuilder::new().circuit_breaker(CircuitBreakerLayer::default()).service(transactional(transport))
    };
    let faults = Faults::default().with(FaultKind::LoseRequest, 0.6);
    let report = check(stack).guarantee(Guarantee::ExactlyOnce).faults(faults.clone()).run();
    let torn = [Verdict::LostAcknowledged, Verdict::TornTransaction];
    assert!(report.verdicts().iter().any(|verdict| torn.contains(verdict)), "{report}");
    assert_kept(&check(transactional).guarantee(Guarantee::ExactlyOnce).faults(faults).run());
}

/// A retry layer that allows duplicates, checked for at-most-once.
#[test]
fn the_checker_finds_that_allowed_duplicates_break_at_most_once() {
    let policy = RetryPolicy::new().allow_duplicates(true);
    let report = check(layers(policy)).guarantee(Guarantee::AtMostOnce).order(Order::Answers).run();
    assert_eq!(report.verdicts(), [Verdict::Duplicate], "{report}");
}

/// Passes the bytes unchanged.
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

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: TOPIC.into(), ..Default::default() }
}

/// Accepts the checker's records.
fn typed<S>(stack: S) -> BoxedStack
where
    S: Service<SinkMessage<Bytes>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    BoxedStack::new(stack.map_request(message))
}

fn default_stack(transport: MemoryTransport) -> BoxedStack {
    let control = transport.control();
    typed(stack::seeded(&config(), Arc::new(Raw), transport, control, 1))
}

/// The sink as users build it, with its type-erased stack.
fn sink(config: KafkaSinkConfig) -> Check<impl MakeStack> {
    let build = move |transport| KafkaSink::builder(config.clone()).transport(transport).jitter_seed(1).build();
    check_sink(build, |number| number.to_string())
}

#[test]
fn the_default_stack_keeps_at_least_once() {
    assert_kept(&check(default_stack).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run());
}

#[test]
fn the_default_stack_keeps_at_most_once() {
    // Whatever the guarantee is called, this stack does not retry possibly persisted records.
    assert_kept(&check(default_stack).guarantee(Guarantee::AtMostOnce).order(Order::Answers).seeds(SEEDS).run());
}

#[test]
fn the_sink_keeps_at_least_once() {
    assert_kept(&sink(config()).guarantee(Guarantee::AtLeastOnce).seeds(SEEDS).run());
}

#[test]
fn the_sink_keeps_exactly_once() {
    let (enable_transactions, transactional_id) = (true, Some("check".to_owned()));
    let config = KafkaSinkConfig { enable_transactions, transactional_id, send_timeout_ms: 1_000, ..config() };
    assert_kept(&sink(config).guarantee(Guarantee::ExactlyOnce).seeds(SEEDS / 10).run());
}

/// A defect above the sink's own layers is found, too.
#[test]
fn a_defect_of_a_layer_of_the_sink_is_found() {
    let build = |transport| {
        let twice = |error: Error| error.with_persistence(Persistence::NotPersisted);
        let layer = tower::util::MapErrLayer::new(twice);
        KafkaSink::<u32>::builder(config()).transport(transport).layer(layer).jitter_seed(1).build()
    };
    let report = check_sink(build, |number| number).guarantee(Guarantee::AtLeastOnce).run();
    assert_eq!(report.verdicts(), [Verdict::NotPersistedInLog], "{report}");
}

/// A seed determines a run. Only failing seeds show their history, so this test expects an order that the stack does
/// not guarantee.
#[test]
fn a_seed_of_the_default_stack_replays() {
    fn failure(check: Check<impl MakeStack>) -> Failure {
        let report = check.guarantee(Guarantee::AtMostOnce).shrink(false).run();
        report.failure.expect("retries do not keep the order of the calls")
    }
    let assert_same = |first: Failure, second: Failure| {
        assert_eq!(first.not_deterministic, None);
        assert_eq!((first.seed, first.violations, first.trace), (second.seed, second.violations, second.trace));
    };
    assert_same(failure(check(default_stack)), failure(check(default_stack)));
    assert_same(failure(sink(config())), failure(sink(config())));
    // Negative control: the jitter is the only thing that the checker's seed does not determine.
    let unseeded = |transport: MemoryTransport| {
        let control = transport.control();
        typed(stack::default(&config(), Arc::new(Raw), transport, control))
    };
    assert!(failure(check(unseeded)).not_deterministic.is_some());
}
