//! The contract of `KafkaSink`: order, back-pressure, deadlines, batches and close.

mod batch;

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower::memory::{MemoryKafka, MemoryTransport};
use kafka_tower::{
    Control, Delivery, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, MessageSerializer, Persistence, Record,
    Result, Scope, SinkMessage, async_trait,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
}

fn order(id: u32) -> SinkMessage<Order> {
    SinkMessage::new(Order { id })
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "orders".into(), ..Default::default() }
}

async fn sink_over(transport: MemoryTransport) -> KafkaSink<Order> {
    KafkaSink::builder(config()).transport(transport).build().await.unwrap()
}

/// A Kafka with one partition, and a sink with room for this number of records.
async fn limited(records: usize) -> (MemoryKafka, KafkaSink<Order>) {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let transport = kafka.transport_with(Limits { records, bytes: 1 << 20 });
    let sink = sink_over(transport).await;
    (kafka, sink)
}

fn ids(kafka: &MemoryKafka) -> Vec<u32> {
    let id = |value: &[u8]| serde_json::from_slice::<Order>(value).unwrap().id;
    kafka.partition("orders", 0).iter().map(|stored| id(stored.value().unwrap())).collect()
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The error's kind, and whether the record may be in the log.
fn facts<T>(result: &Result<T>) -> Option<(ErrorKind, Persistence)> {
    result.as_ref().err().map(|error| (error.kind(), error.persistence()))
}

const NO_ROOM: Option<(ErrorKind, Persistence)> = Some((ErrorKind::Timeout, Persistence::NotPersisted));
const CLOSED: Option<(ErrorKind, Persistence)> = Some((ErrorKind::Closed, Persistence::NotPersisted));

#[test]
fn a_sink_is_send_and_sync_whatever_it_sends() {
    fn shared<X: Clone + Send + Sync + Unpin + 'static>() {}
    fn sent<X: Send + Unpin + 'static>() {}
    fn value<X: Send>(_: X) {}
    shared::<KafkaSink<Order>>();
    shared::<KafkaSink<std::cell::Cell<u8>>>();
    shared::<KafkaSink<std::rc::Rc<u8>>>();
    sent::<kafka_tower::sink::SendFuture<Order>>();
    sent::<kafka_tower::sink::ResponseFuture>();
    sent::<kafka_tower::sink::SendBatch<Order, std::vec::IntoIter<Order>>>();
    let _ = |sink: KafkaSink<Order>| {
        value(sink.close());
        value(sink.flush());
        value(KafkaSink::<Order>::new(config()));
    };
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("audit", 1);
    let sink = sink_over(kafka.transport()).await;
    let message = order(42).with_key("k".to_string()).with_header("region".to_string(), "us-east-1".to_string());
    let delivery = sink.send(message).await.unwrap();
    assert_eq!((&*delivery.topic, delivery.offset), ("orders", Some(0)));
    let stored = &kafka.partition("orders", delivery.partition)[0];
    assert_eq!(stored.value().unwrap(), r#"{"id":42}"#);
    assert_eq!(stored.key().unwrap(), "k");
    assert_eq!(stored.record.headers.get("region").unwrap(), "us-east-1");

    sink.send(Order { id: 1 }).await.unwrap(); // a bare value
    sink.send(SinkMessage::tombstone("k").with_topic("audit")).await.unwrap();
    assert_eq!(kafka.partition("audit", 0)[0].value(), None);
}

#[tokio::test]
async fn a_send_is_lazy_and_is_ordered_by_its_first_poll() {
    let (kafka, sink) = limited(100).await;
    let (mut first, mut second, third) = (sink.send(order(1)), sink.send(order(2)), sink.send(order(3)));
    drop(third);
    assert!(ids(&kafka).is_empty());
    assert!(poll(&mut second).is_ready());
    assert!(poll(&mut first).is_ready());
    assert_eq!(ids(&kafka), [2, 1]);
}

#[tokio::test]
async fn sends_of_one_sink_share_a_buffer() {
    let (kafka, sink) = limited(100).await;
    sink.send(order(1)).await.unwrap();
    sink.send(order(2)).await.unwrap();
    let log = kafka.partition("orders", 0);
    let (first, second) = (log[0].value().unwrap(), log[1].value().unwrap());
    assert_eq!(second.as_ptr(), first.as_ptr().wrapping_add(first.len()));
}

#[tokio::test(start_paused = true)]
async fn a_send_without_room_times_out_and_sent_nothing() {
    let (kafka, sink) = limited(1).await;
    let hold = kafka.script().hold();
    let mut first = sink.send(order(1)).with_own_waker();
    first.poll_pending();
    let begun = Instant::now();
    let (default, own) = tokio::join!(async { (sink.send(order(2)).await, begun.elapsed()) }, async {
        (sink.send(order(3).with_deadline(begun + Duration::from_secs(2))).await, begun.elapsed())
    },);
    assert_eq!((facts(&default.0), default.1.as_secs()), (NO_ROOM, 30));
    assert_eq!((facts(&own.0), own.1.as_secs()), (NO_ROOM, 2));
    assert_eq!(default.0.unwrap_err().elapsed().unwrap().as_secs(), 30);
    hold.release();
    assert_eq!(sink.send(order(4)).await.unwrap().offset, Some(1), "neither send has taken another's room");
    assert_eq!(ids(&kafka), [1, 4]);
}

/// A future that is stored and polled beside others.
struct Kept<F>(std::pin::Pin<Box<F>>);

trait Keep: Future + Sized {
    fn with_own_waker(self) -> Kept<Self> {
        Kept(Box::pin(self))
    }
}

impl<F: Future> Keep for F {}

impl<F: Future> Kept<F> {
    fn poll_pending(&mut self) {
        assert!(poll(&mut self.0).is_pending());
    }
}

#[tokio::test(start_paused = true)]
async fn the_send_timeout_becomes_the_records_deadline() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let (transport, seen) = (kafka.transport(), Arc::new(Mutex::new(Vec::new())));
    let control = transport.control();
    let stack = {
        let seen = Arc::clone(&seen);
        ServiceBuilder::new()
            .map_request(move |record: Record| {
                seen.lock().unwrap().push(record.expires_at);
                record
            })
            .service(transport)
    };
    let sink = KafkaSink::<Order>::builder(config()).transport((stack, control)).build().await.unwrap();
    let own = Instant::now() + Duration::from_secs(60);
    let send = sink.send(order(1));
    sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    send.await.unwrap();
    sink.send(order(2).with_deadline(own)).await.unwrap();
    sink.clone().oneshot(order(3)).await.unwrap();
    _ = sink.send_batch([order(4)]).await.unwrap();
    let stamped = (begun + Duration::from_secs(30)).into_std();
    assert_eq!(*seen.lock().unwrap(), [Some(stamped), Some(own.into_std()), Some(stamped), Some(stamped)]);
}

#[tokio::test(start_paused = true)]
async fn an_unlimited_send_timeout_is_possible() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let hold = kafka.script().hold();
    let config = KafkaSinkConfig { send_timeout_ms: u64::MAX, ..config() };
    let transport = kafka.transport_with(Limits { records: 1, bytes: 1000 });
    let sink = KafkaSink::<Order>::builder(config).transport(transport).build().await.unwrap();
    let first = tokio::spawn(sink.send(order(1)));
    let second = tokio::spawn(sink.send(order(2)));
    sleep(Duration::from_secs(86_400)).await;
    hold.release();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiting_send_that_is_dropped_wakes_the_next() {
    let (kafka, sink) = limited(1).await;
    let hold = kafka.script().hold();
    let mut first = sink.send(order(1)).with_own_waker();
    first.poll_pending();
    let mut dropped = sink.send(order(2)).with_own_waker();
    dropped.poll_pending();
    let third = tokio::spawn(sink.send(order(3)));
    tokio::task::yield_now().await;
    hold.release(); // wakes the second
    drop(dropped);
    third.await.unwrap().unwrap();
    assert_eq!(ids(&kafka), [1, 3]);
}

/// A serializer that waits longer for smaller numbers.
struct Slow;

#[async_trait]
impl MessageSerializer<Order> for Slow {
    async fn serialize(&self, message: &Order) -> Result<Vec<u8>> {
        sleep(Duration::from_millis(u64::from(100 - message.id))).await;
        serde_json::to_vec(message).map_err(Error::serialization)
    }
}

async fn slow() -> (MemoryKafka, KafkaSink<Order>) {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let builder = KafkaSink::builder(config()).serializer(Arc::new(Slow)).transport(kafka.transport());
    (kafka, builder.build().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_order_with_a_serializer_that_waits() {
    let (kafka, sink) = slow().await;
    let results = sink.send_batch((0..50).map(order)).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(ids(&kafka), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn sends_wait_for_their_serializers_concurrently() {
    let (kafka, sink) = slow().await;
    let begun = Instant::now();
    let sends: Vec<_> = (0..50).map(|id| tokio::spawn(sink.send(order(id)))).collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(begun.elapsed().as_millis(), 100);
    assert_eq!(ids(&kafka), (0..50).rev().collect::<Vec<_>>(), "a record gets its place when it is encoded");
}

mod as_the_specification_writes_it {
    use super::*;

    struct CustomSerializer;

    #[async_trait]
    impl<T: Serialize + Send + Sync> MessageSerializer<T> for CustomSerializer {
        async fn serialize(&self, message: &T) -> Result<Vec<u8>> {
            let _ = message;
            Ok(vec![])
        }

        fn content_type(&self) -> &str {
            "application/custom"
        }
    }

    #[tokio::test]
    async fn a_custom_serializer() {
        let kafka = MemoryKafka::new().with_topic("orders", 1);
        let serializer: Arc<dyn MessageSerializer<Order>> = Arc::new(CustomSerializer);
        let builder = KafkaSink::<Order>::builder(config()).serializer(serializer).transport(kafka.transport());
        builder.build().await.unwrap().send(order(1)).await.unwrap();
        assert_eq!(kafka.partition("orders", 0)[0].value().unwrap(), "");
    }

    #[tokio::test]
    async fn a_batch_and_the_end() -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (_kafka, sink) = limited(10).await;
        let messages: Vec<_> = (0..20).map(|id| SinkMessage::new(Order { id }).with_key(id.to_string())).collect();
        let results = sink.send_batch(messages).await?;
        let successful = results.iter().filter(|r| r.is_ok()).count();
        assert_eq!(successful, 20);
        sink.close().await?;
        Ok(())
    }
}

#[tokio::test]
async fn clones_are_the_same_sink_on_many_tasks() {
    let (kafka, sink) = limited(4).await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let sink = sink.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    sink.send(order(task * 50 + n).with_key(task.to_string())).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let ids = ids(&kafka);
    assert_eq!(ids.len(), 400);
    for task in 0..8 {
        let own: Vec<_> = ids.iter().copied().filter(|id| id / 50 == task).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[tokio::test]
async fn a_sink_is_a_tower_service() {
    let (kafka, sink) = limited(1).await;
    let hold = kafka.script().hold();
    let mut service = sink.clone();
    let first = service.ready().await.unwrap().call(order(1));
    assert!(poll(&mut service.ready()).is_pending(), "back-pressure");
    hold.release();
    let second = service.ready().await.unwrap().call(order(2));
    assert_eq!((second.await.unwrap().offset, first.await.unwrap().offset), (Some(1), Some(0)));

    let mut layered = ServiceBuilder::new().map_request(order).service(sink);
    layered.ready().await.unwrap().call(3).await.unwrap();
    assert_eq!(ids(&kafka), [1, 2, 3]);
}

#[tokio::test]
async fn one_struct_holds_a_sink_over_any_transport() {
    struct App {
        sink: KafkaSink<Order>,
    }
    /// A transport that delivers no record.
    #[derive(Clone)]
    struct Nowhere;
    impl Service<Record> for Nowhere {
        type Response = Delivery;
        type Error = Error;
        type Future = std::future::Ready<Result<Delivery>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, record: Record) -> Self::Future {
            std::future::ready(Ok(Delivery::new(record.topic, 0)))
        }
    }
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let control: Arc<dyn Control> = kafka.transport().control();
    let own = KafkaSink::builder(config()).transport((Nowhere, control)).build().await.unwrap();
    for app in [App { sink: sink_over(kafka.transport()).await }, App { sink: own }] {
        app.sink.send(order(1)).await.unwrap();
        app.sink.close().await.unwrap();
        assert_eq!(
            facts(&app.sink.send(order(2)).await),
            CLOSED,
            "even though the transport does not know that the sink is closed"
        );
    }
    assert_eq!(ids(&kafka), [1]);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let kafka = MemoryKafka::new();
    let config = KafkaSinkConfig { topic: String::new(), batch_size: 0, ..config() };
    let error = KafkaSink::<Order>::builder(config).transport(kafka.transport()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`topic` is empty") && error.to_string().contains("`batch_size` is 0"));
}

#[tokio::test(start_paused = true)]
async fn a_close_refuses_new_sends_and_waits_for_records_in_flight() {
    let (kafka, sink) = limited(10).await;
    kafka.script().delay(Duration::from_secs(20));
    let first = tokio::spawn(sink.send(order(1)));
    tokio::task::yield_now().await;
    let clone = sink.clone();
    let begun = Instant::now();
    sink.close().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 20);
    first.await.unwrap().unwrap();

    assert_eq!(facts(&clone.send(order(2)).await), CLOSED);
    assert_eq!(facts(&clone.send_batch([order(3)]).await), CLOSED);
    assert_eq!(facts(&clone.clone().oneshot(order(4)).await), CLOSED);
    sink.close().await.unwrap();
    assert_eq!(ids(&kafka), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_close_in_the_middle_of_a_batch_fails_the_rest_of_it() {
    let (kafka, sink) = limited(2).await;
    kafka.script().always().delay(Duration::from_secs(1));
    let batch = tokio::spawn(sink.send_batch((0..10).map(order)));
    sleep(Duration::from_millis(1500)).await;
    sink.close().await.unwrap();
    let results = batch.await.unwrap().unwrap();
    assert_eq!(results.iter().map(facts).collect::<Vec<_>>()[..4], [None; 4]);
    assert!(results[4..].iter().all(|result| facts(result) == CLOSED));
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_close_returns_the_records() {
    let (kafka, sink) = limited(1).await;
    let hold = kafka.script().hold();
    let waiting = tokio::spawn(sink.send(order(1)));
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let error = sink.close_within(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!((error.report().unknown, error.report().undelivered.len()), (1, 1));
    assert!(std::error::Error::source(&error).is_some());
    let record = &error.report().undelivered[0].record;
    assert_eq!(record.value.as_ref().unwrap(), r#"{"id":1}"#);
    let error = Error::from(error);
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::PossiblyPersisted));
    assert!(waiting.await.unwrap().is_err());
    drop(hold);
}

/// The same sink through real librdkafka, against the mock brokers in its own process.
mod through_librdkafka {
    use super::*;

    fn mock() -> KafkaSinkConfig {
        config().with_property("test.mock.num.brokers", "1")
    }

    #[tokio::test]
    async fn new_connects_sends_and_closes() {
        let sink = KafkaSink::<Order>::new(mock()).await.unwrap();
        let partitions = sink.control().partition_count("orders").unwrap();
        let deliveries = [sink.send(order(1).with_key("k")).await, sink.send(order(2).with_key("k")).await];
        let [first, second] = deliveries.map(Result::unwrap);
        assert!(first.partition < partitions as i32);
        assert_eq!((second.partition, second.offset), (first.partition, first.offset.map(|offset| offset + 1)));
        sink.close().await.unwrap();
        assert_eq!(facts(&sink.send(order(3)).await), CLOSED);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_limit_keeps_order() {
        let config = KafkaSinkConfig { batch_size: 3, max_in_flight_requests: 1, ..mock() };
        let serializer: Arc<dyn MessageSerializer<Order>> = Arc::new(kafka_tower::JsonSerializer);
        let sink = KafkaSink::with_serializer(config, serializer).await.unwrap();
        let results = sink.send_batch((0..2000).map(|id| order(id).with_partition(0))).await.unwrap();
        let offsets: Vec<_> = results.into_iter().map(|result| result.unwrap().offset.unwrap()).collect();
        assert_eq!(offsets, (0..2000).collect::<Vec<_>>());
        sink.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_unreachable_broker_fails_connecting_unless_the_check_is_off() {
        let config = KafkaSinkConfig {
            brokers: "127.0.0.1:1".into(),
            send_timeout_ms: 700,
            connect_timeout_ms: 700,
            ..config()
        };
        let begun = std::time::Instant::now();
        let error = KafkaSink::<Order>::new(config.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

        let sink = KafkaSink::<Order>::builder(config).connect_check(false).build().await.unwrap();
        let error = sink.send(order(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let error = sink.close_within(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.report().undelivered.len(), 1, "a record that timed out is still in the report: {error}");
    }

    #[tokio::test]
    async fn an_invalid_configuration_opens_no_connection() {
        let error = KafkaSink::<Order>::new(KafkaSinkConfig { acks: "1".into(), ..mock() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
