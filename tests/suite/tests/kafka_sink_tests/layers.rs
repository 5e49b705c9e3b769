//! All layers together: streams, options, metrics, breaker, retries, custom layers.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{StreamExt, poll, stream};
use kafka_tower::layers::circuit_breaker::CircuitState;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    DeliveryGuarantee, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, PartitionStrategy, Persistence, Record,
    Recovery, SinkMessage,
};
use tower::layer::layer_fn;
use tower::timeout::TimeoutLayer;
use tower::{Service, ServiceBuilder};

pub(crate) fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "numbers".to_string(), ..Default::default() }
}

pub(crate) async fn sink(kafka: &MemoryKafka, config: KafkaSinkConfig) -> KafkaSink<u32> {
    KafkaSink::builder(config).transport(kafka.transport()).build().await.unwrap()
}

pub(crate) fn values(kafka: &MemoryKafka) -> Vec<u32> {
    let value = |stored: &kafka_tower::memory::StoredRecord| {
        std::str::from_utf8(stored.value().unwrap()).unwrap().parse().unwrap()
    };
    kafka.records("numbers").iter().map(value).collect()
}

pub(crate) fn transient(persistence: Persistence) -> Error {
    Error::new(ErrorKind::Broker, "not now").with_persistence(persistence).with_recovery(Recovery::Retry)
}

#[tokio::test(start_paused = true)]
async fn a_stream_yields_results_in_order_and_stays_within_its_look_ahead() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().always().delay(Duration::from_millis(1));
    let taken = AtomicUsize::new(0);
    let messages = stream::iter(0..1_000u32).inspect(|_| _ = taken.fetch_add(1, Ordering::SeqCst));
    let sink = sink(&kafka, config()).await;
    let mut results = pin!(sink.send_stream(messages).look_ahead(10));
    for expected in 0..1_000 {
        let delivery = results.next().await.unwrap().unwrap();
        assert_eq!(delivery.offset, Some(expected));
        assert!(taken.load(Ordering::SeqCst) <= expected as usize + 11);
    }
    assert!(results.next().await.is_none());
    assert_eq!(values(&kafka), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_result_does_not_wait_for_later_messages() {
    let kafka = MemoryKafka::new().with_topic("numbers", 2);
    let _held = kafka.script().after(1).on_partition("numbers", 1).hold();
    let hold = kafka.script().on_partition("numbers", 1).hold();
    let sink = sink(&kafka, config()).await;
    let message = |n: u32| SinkMessage::new(n).with_partition((n % 2) as i32);
    let mut results = pin!(sink.send_stream(stream::iter(0..2).map(message).chain(stream::pending())));
    // 0 is answered and 1 is held: the stream yields 0 without waiting for 1.
    assert_eq!(results.next().await.unwrap().unwrap().partition, 0);
    assert!(poll!(results.next()).is_pending());
    hold.release();
    assert_eq!(results.next().await.unwrap().unwrap().partition, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_continues_after_a_failure_and_ends_closed() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let sink = sink(&kafka, config()).await;
    kafka.script().after(1).fail(Error::new(ErrorKind::Authorization, "no"));
    let mut results = pin!(sink.send_stream(stream::iter(0..3u32)));
    assert!(results.next().await.unwrap().is_ok());
    assert_eq!(results.next().await.unwrap().unwrap_err().kind(), ErrorKind::Authorization);
    assert!(results.next().await.unwrap().is_ok());
    assert!(results.next().await.is_none());
    sink.close().await.unwrap();
    let closed: Vec<_> = sink.send_stream(stream::iter(0..3u32)).collect().await;
    assert!(closed.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::Closed));
    assert_eq!(closed.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_room() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().always().delay(Duration::from_millis(1));
    let transport = kafka.transport_with(Limits { records: 3, bytes: 1_000 });
    let sink = KafkaSink::<u32>::builder(config()).transport(transport).build().await.unwrap();
    let results: Vec<_> = sink.send_stream(stream::iter(0..500)).collect().await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(values(&kafka), (0..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn records_that_were_not_written_are_retried_and_counted() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().times(3).fail(transient(Persistence::NotPersisted));
    let sink = sink(&kafka, config()).await;
    sink.send(7).await.unwrap();
    let metrics = sink.metrics().await;
    assert_eq!((metrics.messages_sent, metrics.messages_failed, metrics.retries), (1, 0, 3));
    assert_eq!((metrics.bytes_sent, values(&kafka)), (1, vec![7]));
}

#[tokio::test(start_paused = true)]
async fn possibly_persisted_records_are_retried_only_on_request() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().lose_answer_with(transient(Persistence::PossiblyPersisted));
    let sink = sink(&kafka, config()).await;
    let error = sink.send(1).await.unwrap_err();
    assert_eq!((error.persistence(), values(&kafka)), (Persistence::PossiblyPersisted, vec![1]));
    kafka.script().lose_answer_with(transient(Persistence::PossiblyPersisted));
    sink.clone().with_allow_duplicates(true).send(2).await.unwrap();
    assert_eq!(values(&kafka), [1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_after_five_failures_and_rebuilt_sinks_share_it() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let outage = kafka.script().always().fail(transient(Persistence::NotPersisted));
    let sink = sink(&kafka, KafkaSinkConfig { max_retries: 2, ..config() }).await;
    for _ in 0..5 {
        assert_eq!(sink.send(1).await.unwrap_err().attempts(), 3);
    }
    let error = sink.send(1).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::CircuitOpen, Persistence::NotPersisted));
    let rebuilt = sink.clone().with_partition_strategy(PartitionStrategy::Single(0));
    assert_eq!(rebuilt.send(1).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    assert_eq!(sink.circuit_breaker().unwrap().state(), CircuitState::Open);
    let metrics = rebuilt.metrics().await;
    assert_eq!((metrics.circuit_breaker_trips, metrics.messages_failed, metrics.retries), (1, 7, 10));
    assert!(metrics.last_error_msg.unwrap().contains("circuit breaker is open"));
    outage.cancel();
    tokio::time::sleep(Duration::from_secs(60)).await;
    sink.send(1).await.unwrap();
    assert_eq!(sink.circuit_breaker().unwrap().state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_breaker_rejects_nothing() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().times(20).fail(transient(Persistence::NotPersisted));
    let sink = sink(&kafka, KafkaSinkConfig { max_retries: 0, enable_circuit_breaker: false, ..config() }).await;
    for _ in 0..20 {
        assert_eq!(sink.send(1).await.unwrap_err().kind(), ErrorKind::Broker);
    }
    sink.send(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn strategies_choose_partitions_but_a_messages_own_partition_wins() {
    let kafka = MemoryKafka::new().with_topic("numbers", 4);
    let sink = sink(&kafka, config()).await;
    let round = sink.clone().with_partition_strategy(PartitionStrategy::RoundRobin);
    let mut partitions = Vec::new();
    for n in 0..8 {
        partitions.push(round.send(n).await.unwrap().partition);
    }
    assert_eq!(partitions, [0, 1, 2, 3, 0, 1, 2, 3]);
    let single = round.clone().with_partition_strategy(PartitionStrategy::Single(2));
    assert_eq!(single.send(1).await.unwrap().partition, 2);
    assert_eq!(single.send(SinkMessage::new(1).with_partition(3)).await.unwrap().partition, 3);
    let custom = sink.clone().with_partitioner(|record: &Record, partitions: u32| {
        Some((record.value.as_ref().map_or(0, |value| value.len()) as u32 % partitions) as i32)
    });
    assert_eq!(custom.send(123).await.unwrap().partition, 3);
    let error = sink.with_partition_strategy(PartitionStrategy::Single(9)).send(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
}

#[tokio::test]
async fn the_builder_or_the_first_operation_refuses_an_impossible_guarantee() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let faulty = sink(&kafka, config()).await.with_delivery_guarantee(DeliveryGuarantee::ExactlyOnce);
    for error in [
        faulty.send(1).await.unwrap_err(),
        faulty.send_batch([1]).await.unwrap_err(),
        faulty.begin_transaction().await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Config, "the guarantee ExactlyOnce needs transactions")
        );
    }
    assert!(kafka.is_empty());
    faulty.with_delivery_guarantee(DeliveryGuarantee::AtMostOnce).send(1).await.unwrap();
    let builder = KafkaSink::<u32>::builder(config()).transport(kafka.transport());
    let error = builder.delivery_guarantee(DeliveryGuarantee::ExactlyOnce).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn a_users_own_stack_may_fail_with_any_error_and_is_measured() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.transport();
    let control = transport.control();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .layer(kafka_tower::layers::serialize::SerializeLayer::json("numbers"))
        .service(transport);
    let sink = KafkaSink::<u32>::from_service(stack, control, Duration::from_secs(5));
    sink.send(1).await.unwrap();
    let _hold = kafka.script().hold();
    let error = sink.send(2).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted), "{error:#}");
    let metrics = sink.metrics().await;
    assert_eq!((metrics.messages_sent, metrics.messages_failed), (1, 1));
    assert!(sink.circuit_breaker().is_none());
    let error = sink.with_partition_strategy(PartitionStrategy::RoundRobin).send(3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_users_layers_wrap_the_typed_stack_and_the_first_is_the_outermost() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let tag = |name: &'static str| {
        tower::util::MapRequestLayer::new(move |message: SinkMessage<u32>| message.with_header("via", name))
    };
    let builder = KafkaSink::<u32>::builder(config()).transport(kafka.transport());
    let sink = builder.layer(tag("outer")).layer(tag("inner")).build().await.unwrap();
    sink.send(1).await.unwrap();
    let headers: Vec<_> = kafka.records("numbers")[0].record.headers.iter().map(|h| h.value.clone().unwrap()).collect();
    assert_eq!(headers, ["outer", "inner"]);
    // A rebuilt sink keeps the layers.
    sink.with_partition_strategy(PartitionStrategy::RoundRobin).send(2).await.unwrap();
    assert_eq!(kafka.records("numbers")[1].record.headers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_found_no_room_and_one_after_close_are_counted() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.transport_with(Limits { records: 1, bytes: 1_000 });
    let config = KafkaSinkConfig { send_timeout_ms: 1_000, ..config() };
    let sink = KafkaSink::<u32>::builder(config).transport(transport).build().await.unwrap();
    let hold = kafka.script().hold();
    let mut first = Box::pin(sink.send(1));
    assert!(poll!(&mut first).is_pending());
    let error = sink.send(2).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted), "{error:#}");
    hold.release();
    first.await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(sink.send(3).await.unwrap_err().kind(), ErrorKind::Closed);
    let metrics = sink.metrics().await;
    assert_eq!((metrics.messages_sent, metrics.messages_failed), (1, 2));
}

#[tokio::test]
async fn earlier_clones_keep_their_layers() {
    let kafka = MemoryKafka::new().with_topic("numbers", 2);
    let sink = sink(&kafka, config()).await;
    let before = sink.clone();
    let after = sink.with_partition_strategy(PartitionStrategy::Single(1));
    let key = |n: u32| SinkMessage::new(n).with_key(format!("key {n}"));
    let spread: std::collections::BTreeSet<_> = futures_util::future::join_all((0..20).map(|n| before.send(key(n))))
        .await
        .into_iter()
        .map(|d| d.unwrap().partition)
        .collect();
    assert_eq!(spread.len(), 2);
    assert_eq!(after.send(key(1)).await.unwrap().partition, 1);
    after.close().await.unwrap();
    assert_eq!(
        before.send(1).await.unwrap_err().kind(),
        ErrorKind::Closed,
        "they share one transport, which is closed"
    );
}

#[tokio::test]
async fn the_content_type_is_a_header_on_request() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let builder = KafkaSink::<u32>::builder(config()).transport(kafka.transport());
    builder.content_type_header(true).build().await.unwrap().send(1).await.unwrap();
    let headers = &kafka.records("numbers")[0].record.headers;
    assert_eq!(headers.get("content-type").map(|value| value.as_ref()), Some(&b"application/json"[..]));
}

/// A service that panics for 1 and must not be called after that. For 2 it sends 3 to its own sink inside the call.
struct Fragile<S> {
    inner: S,
    sink: Arc<OnceLock<KafkaSink<u32>>>,
    broken: bool,
}

impl<S: Clone> Clone for Fragile<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), sink: Arc::clone(&self.sink), broken: false }
    }
}

impl<S: Service<SinkMessage<u32>>> Service<SinkMessage<u32>> for Fragile<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, message: SinkMessage<u32>) -> S::Future {
        assert!(!self.broken, "a handle whose call panicked is used again");
        match message.value() {
            Some(1) => {
                self.broken = true;
                panic!("planted");
            }
            Some(2) => {
                assert!(poll_once(&mut self.sink.get().unwrap().send(3)).is_ready());
            }
            _ => {}
        }
        self.inner.call(message)
    }
}

#[tokio::test]
async fn sends_go_on_after_a_panic_in_a_layer_and_inside_one() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let place = Arc::<OnceLock<KafkaSink<u32>>>::default();
    let layer = layer_fn({
        let sink = Arc::clone(&place);
        move |inner| Fragile { inner, sink: Arc::clone(&sink), broken: false }
    });
    let sink = KafkaSink::builder(config()).transport(kafka.transport()).layer(layer).build().await.unwrap();
    place.set(sink.clone()).unwrap();
    for round in 0..2 {
        let mut panics = sink.send(1);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(poll_once(&mut panics)))).is_err(), "{round}");
        sink.send(2).await.unwrap();
    }
    assert_eq!(values(&kafka), [3, 2, 3, 2]);
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
