//! Edge cases: a close between attempts, scheduling order, budgets, sends that never reach the stack.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    BoxError, Delivery, DeliveryGuarantee, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, MessageSerializer,
    PartitionStrategy, Persistence, Result, SinkMessage, async_trait,
};
use tokio::time::{Instant, sleep, timeout};
use tower::Service;

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "numbers".into(), send_timeout_ms: 5_000, ..Default::default() }
}

/// Polls once with a waker that does nothing.
fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn limited(records: usize) -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.transport_with(Limits { records, bytes: 1 << 20 });
    (kafka, KafkaSink::builder(config()).transport(transport).build().await.unwrap())
}

fn values(kafka: &MemoryKafka) -> Vec<u32> {
    let value = |stored: &kafka_tower::memory::StoredRecord| {
        std::str::from_utf8(stored.value().unwrap()).unwrap().parse().unwrap()
    };
    kafka.records("numbers").iter().map(value).collect()
}

fn no_leader() -> Error {
    Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted)
}

/// A message whose deadline is later than the end of any test.
fn patient(n: u32) -> SinkMessage<u32> {
    SinkMessage::new(n).with_deadline(Instant::now() + Duration::from_secs(1_000))
}

/// A serializer that waits 1 ms for each unit of the value, and forever for 0.
struct Slow;

#[async_trait]
impl MessageSerializer<u32> for Slow {
    async fn serialize(&self, n: &u32) -> Result<Vec<u8>> {
        match n {
            0 => std::future::pending().await,
            n => sleep(Duration::from_millis((*n).into())).await,
        }
        Ok(n.to_string().into_bytes())
    }
}

async fn slow() -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let sink = KafkaSink::builder(config()).transport(kafka.transport()).serializer(Arc::new(Slow));
    (kafka, sink.build().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_sends_that_back_off() {
    let (kafka, sink) = limited(10).await;
    kafka.script().fail(no_leader());
    let send = tokio::spawn(sink.send(1));
    tokio::task::yield_now().await;
    sink.flush().await.unwrap();
    assert_eq!(values(&kafka), [1]);
    send.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_though_a_serializer_never_does() {
    let (_kafka, sink) = slow().await;
    let send = tokio::spawn(sink.send(patient(0)));
    tokio::task::yield_now().await;
    let error = sink.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("1 send had no answer (to numbers)"), "{error}");
    send.abort();
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_sends_that_back_off_and_for_serializers() {
    let (kafka, sink) = limited(10).await;
    kafka.script().fail(no_leader());
    let send = tokio::spawn(sink.send(1));
    tokio::task::yield_now().await;
    sink.close().await.unwrap();
    send.await.unwrap().unwrap();

    let (_kafka, sink) = slow().await;
    let send = tokio::spawn(sink.send(3));
    tokio::task::yield_now().await;
    sink.close().await.unwrap();
    send.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_without_time_reports_sends_between_two_attempts() {
    let (_kafka, sink) = slow().await;
    let send = tokio::spawn(sink.send(100));
    tokio::task::yield_now().await;
    let error = sink.close_within(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.unfinished(), 1);
    assert!(error.to_string().ends_with("; 1 send without an answer"), "{error}");
    let error = send.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted));
}

#[tokio::test(start_paused = true)]
async fn a_send_that_waits_for_room_fails_when_the_sink_is_closed() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let hold = kafka.script().hold();
    let foreign = MemoryKafka::new().transport().control(); // a control that knows nothing of the transport
    let transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let sink = KafkaSink::<u32>::builder(config()).transport((transport, foreign)).build().await.unwrap();
    let mut first = sink.send(0);
    assert!(once(&mut first).is_pending());
    let second = tokio::spawn(sink.send(1));
    tokio::task::yield_now().await;
    sink.close().await.unwrap();
    hold.release();
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    first.await.unwrap();
    assert_eq!(values(&kafka), [0]);
}

#[tokio::test(start_paused = true)]
async fn sends_are_ordered_by_their_first_poll_even_if_room_is_freed_in_between() {
    let (kafka, sink) = limited(1).await;
    let hold = kafka.script().hold();
    let mut first = sink.send(0);
    assert!(once(&mut first).is_pending());
    let second = tokio::spawn(sink.send(1));
    tokio::task::yield_now().await;
    hold.release(); // wakes the second
    sink.send(2).await.unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(values(&kafka), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_streams_message_starts_at_its_turn() {
    let (kafka, sink) = limited(1).await;
    let hold = kafka.script().hold();
    let other = tokio::spawn(sink.send(patient(0)));
    tokio::task::yield_now().await;
    let (messages, received) = tokio::sync::mpsc::unbounded_channel();
    let received = stream::unfold(received, |mut received| async { received.recv().await.map(|n: u32| (n, received)) });
    let mut results = sink.send_stream(Box::pin(received));
    messages.send(1).unwrap();
    assert_eq!(results.next().await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    hold.release();
    other.await.unwrap().unwrap();
    sleep(Duration::from_secs(100)).await;
    messages.send(2).unwrap();
    results.next().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_message_of_a_stream_has_its_own_deadline() {
    let (kafka, sink) = limited(1).await;
    let _hold = kafka.script().hold();
    let _other = tokio::spawn(sink.send(patient(0)));
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let results = sink.send_stream(stream::iter(1..4)).look_ahead(1);
    let ends: Vec<_> = results.map(|result| result.map(|_| ()).map_err(|_| begun.elapsed().as_secs())).collect().await;
    assert_eq!(ends.into_iter().map(Result::unwrap_err).collect::<Vec<_>>(), [5, 10, 15]);
}

/// A service that fails readiness permanently.
#[derive(Clone)]
struct Dead;

impl<R> Service<R> for Dead {
    type Response = Delivery;
    type Error = BoxError;
    type Future = std::future::Ready<std::result::Result<Delivery, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
        Poll::Ready(Err("the worker is gone".into()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test]
async fn sends_that_did_not_reach_the_stack_are_not_persisted_and_are_counted() {
    let control = MemoryKafka::new().transport().control();
    let sink = KafkaSink::<u32>::from_service(Dead, control, Duration::from_secs(1));
    let mut errors = vec![sink.send(1).await.unwrap_err()];
    errors.extend(sink.send_batch([2]).await.unwrap().into_iter().map(Result::unwrap_err));
    errors.extend(sink.send_stream(stream::iter([3])).map(Result::unwrap_err).collect::<Vec<_>>().await);
    assert!(errors.iter().all(|error| error.persistence() == Persistence::NotPersisted), "{errors:?}");
    sink.close().await.unwrap();
    sink.send(4).await.unwrap_err();
    sink.send_batch([5, 6]).await.unwrap_err();
    assert_eq!((errors.len(), sink.metrics().await.messages_failed), (3, 5));
}

/// A service that fails readiness permanently after a while.
#[derive(Default)]
struct Dying(Option<Pin<Box<tokio::time::Sleep>>>);

impl Clone for Dying {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<R> Service<R> for Dying {
    type Response = Delivery;
    type Error = BoxError;
    type Future = std::future::Ready<std::result::Result<Delivery, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
        let life = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_secs(3))));
        life.as_mut().poll(cx).map(|()| Err("the worker is gone".into()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        unreachable!("it is never ready")
    }
}

/// The error contains the time that the send has waited. The next message of a stream has its own deadline.
#[tokio::test(start_paused = true)]
async fn a_send_that_waits_for_a_failing_stack_reports_its_wait() {
    let wait = Duration::from_secs(3);
    let control = MemoryKafka::new().transport().control();
    let sink = KafkaSink::<u32>::from_service(Dying::default(), control, wait + wait / 2);
    let mut errors = vec![sink.send(1).await.unwrap_err()];
    errors.extend(sink.send_batch([2]).await.unwrap().into_iter().map(Result::unwrap_err));
    errors.extend(sink.send_stream(stream::iter([3, 4])).map(Result::unwrap_err).collect::<Vec<_>>().await);
    assert!(errors.iter().all(|error| error.kind() != ErrorKind::Timeout), "{errors:?}");
    assert_eq!(errors.iter().map(Error::elapsed).collect::<Vec<_>>(), [Some(wait); 4]);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_while_it_waits_for_room_is_abandoned() {
    let (kafka, sink) = limited(1).await;
    let _hold = kafka.script().hold();
    let mut first = sink.send(0);
    assert!(once(&mut first).is_pending());
    timeout(Duration::from_secs(1), sink.send(1)).await.unwrap_err();
    timeout(Duration::from_secs(1), sink.send_batch([2])).await.unwrap_err();
    timeout(Duration::from_secs(1), sink.send_stream(stream::iter([3])).next()).await.unwrap_err();
    assert_eq!(sink.metrics().await.abandoned, 3);
}

#[tokio::test]
async fn at_most_once_knows_both_names_of_the_clients_retries() {
    let config = KafkaSinkConfig { enable_idempotence: false, ..config() };
    for name in ["retries", "message.send.max.retries"] {
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let sink = KafkaSink::<u32>::builder(config.clone().with_property(name, "0")).transport(kafka.transport());
        sink.delivery_guarantee(DeliveryGuarantee::AtMostOnce).build().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_base_back_off_above_the_default_maximum_is_kept() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().fail(no_leader());
    let config = KafkaSinkConfig { base_backoff_ms: 60_000, send_timeout_ms: 600_000, ..config() };
    let sink = KafkaSink::<u32>::builder(config).transport(kafka.transport()).build().await.unwrap();
    let begun = Instant::now();
    sink.send(1).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(30), "{:?}", begun.elapsed());
}

/// A serializer that awaits a tokio resource that is always available. Tokio's cooperative budget makes it yield now
/// and then.
struct Registry(tokio::sync::RwLock<()>);

#[async_trait]
impl MessageSerializer<u32> for Registry {
    async fn serialize(&self, n: &u32) -> Result<Vec<u8>> {
        let _schema = self.0.read().await;
        Ok(n.to_string().into_bytes())
    }
}

#[tokio::test]
async fn a_serializer_that_does_not_wait_keeps_order() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let registry = Arc::new(Registry(tokio::sync::RwLock::default()));
    let builder = KafkaSink::<u32>::builder(config()).transport(kafka.transport()).serializer(registry);
    let mut sink = builder.build().await.unwrap();
    let mut sends = Vec::new();
    for n in 0..=200 {
        if n == 200 {
            tokio::task::yield_now().await; // a new budget
        }
        std::future::poll_fn(|cx| sink.poll_ready(cx)).await.unwrap();
        sends.push(sink.call(SinkMessage::new(n)));
    }
    for send in sends {
        send.await.unwrap();
    }
    assert_eq!(values(&kafka), (0..=200).collect::<Vec<_>>());
}

/// If the breaker rejects a record and its error is not observed, the record would be missing from the transaction.
#[tokio::test]
async fn a_transaction_is_not_committed_without_one_of_its_records() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let config = KafkaSinkConfig {
        enable_transactions: true,
        transactional_id: Some("id".into()),
        circuit_breaker_threshold: 1,
        ..config()
    };
    let builder = KafkaSink::builder(config).transport(kafka.transactional_transport("id"));
    let mut sink: KafkaSink<u32> = builder.build().await.unwrap();
    // There is no breaker handle that could reset it.
    assert!(sink.circuit_breaker().is_none());
    assert!(sink.clone().with_partition_strategy(PartitionStrategy::RoundRobin).circuit_breaker().is_none());
    sink.begin_transaction().await.unwrap();
    kafka.script().lose_request();
    sink.send(1).await.unwrap_err();
    sink.abort_transaction().await.unwrap();
    sink.begin_transaction().await.unwrap();
    tower::ServiceExt::ready(&mut sink).await.unwrap();
    drop(sink.call(SinkMessage::new(2)));
    sink.commit_transaction().await.unwrap();
    assert_eq!(values(&kafka), [2]);
}
