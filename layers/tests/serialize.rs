//! Tests of `Serialize`: call order is log order, nothing is sent that was not encoded, everything else is passed on.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used)]

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{BoxError, Delivery, Error, ErrorKind, Persistence, Record, Result, SinkMessage};
use kafka_tower_layers::serialize::{JsonSerializer, MessageSerializer, Serialize, SerializeLayer, async_trait};
use kafka_tower_memory::MemoryKafka;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

/// A transport that keeps the records it is called with. Panics if it was not polled ready.
#[derive(Default)]
struct Log {
    records: Arc<Mutex<Vec<Record>>>,
    ready: bool,
}

impl Clone for Log {
    fn clone(&self) -> Self {
        Self { records: Arc::clone(&self.records), ready: false }
    }
}

impl Log {
    fn values(&self) -> Vec<String> {
        let value = |record: &Record| String::from_utf8(record.value.as_deref().unwrap_or(b"null").to_vec()).unwrap();
        self.records.lock().unwrap().iter().map(value).collect()
    }

    fn last(&self) -> Record {
        self.records.lock().unwrap().last().unwrap().clone()
    }
}

impl Service<Record> for Log {
    type Response = Delivery;
    type Error = BoxError;
    type Future = Ready<Result<Delivery, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let mut records = self.records.lock().unwrap();
        let delivery = Delivery::new(Arc::clone(&record.topic), 0).with_offset(records.len() as i64);
        records.push(record);
        ready(if delivery.topic.as_ref() == "refused" { Err("refused".into()) } else { Ok(delivery) })
    }
}

/// An `async` serializer that takes a permit for each value; values above 9 cannot be encoded.
struct Slow(Semaphore);

impl Slow {
    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self(Semaphore::new(permits)))
    }
}

#[async_trait]
impl MessageSerializer<u32> for Slow {
    async fn serialize(&self, message: &u32) -> Result<Vec<u8>> {
        self.0.acquire().await.map_err(Error::serialization)?.forget();
        if *message > 9 {
            return Err(Error::new(ErrorKind::Config, "no schema").with_persistence(Persistence::PossiblyPersisted));
        }
        Ok(message.to_string().into_bytes())
    }
}

fn json(log: &Log) -> Serialize<Log, u32, JsonSerializer> {
    SerializeLayer::json("orders").layer(log.clone())
}

fn slow(log: &Log, serializer: &Arc<Slow>) -> Serialize<Log, u32, Slow> {
    SerializeLayer::new("orders", Arc::clone(serializer)).layer(log.clone())
}

async fn call<S: Service<SinkMessage<u32>, Error = Error>>(service: &mut S, value: u32) -> S::Future {
    service.ready().await.unwrap().call(SinkMessage::new(value))
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_synchronous_serializer_keeps_call_order() {
    let log = Log::default();
    let mut service = json(&log);
    let first = call(&mut service, 1).await;
    let second = call(&mut service, 2).await;
    assert_eq!(log.values(), ["1", "2"], "the calls have their places before a future is polled");
    assert_eq!(second.await.unwrap().offset, Some(1));
    assert_eq!(first.await.unwrap().offset, Some(0));
}

#[tokio::test]
async fn an_async_serializer_that_does_not_wait_keeps_call_order() {
    let log = Log::default();
    let mut service = slow(&log, &Slow::with_permits(2));
    let first = call(&mut service, 1).await;
    let second = call(&mut service, 2).await;
    assert_eq!(log.values(), ["1", "2"]);
    second.await.unwrap();
    first.await.unwrap();
}

#[tokio::test]
async fn a_record_is_sent_when_its_serializer_is_done() {
    let log = Log::default();
    let serializer = Slow::with_permits(0);
    let mut service = slow(&log, &serializer);
    let mut first = Box::pin(call(&mut service, 1).await);
    let second = Box::pin(call(&mut service, 2).await);
    assert!(poll(&mut first).is_pending());
    assert!(log.values().is_empty());
    serializer.0.add_permits(2);
    second.await.unwrap();
    first.await.unwrap();
    let mut values = log.values();
    values.sort();
    assert_eq!(values, ["1", "2"]);
}

#[tokio::test]
async fn in_order_is_ready_only_after_earlier_values_are_sent() {
    let log = Log::default();
    let serializer = Slow::with_permits(0);
    let layer = SerializeLayer::new("orders", Arc::clone(&serializer)).in_order(true);
    let mut service = layer.layer(log.clone());
    let mut first = Box::pin(call(&mut service, 1).await);
    assert!(poll(&mut service.ready()).is_pending());
    serializer.0.add_permits(2);
    let ((), sent) = tokio::join!(
        async {
            call(&mut service, 2).await.await.unwrap();
        },
        &mut first
    );
    sent.unwrap();
    assert_eq!(log.values(), ["1", "2"]);

    // A dropped future ends its turn as well.
    let third = call(&mut service, 3).await;
    assert!(poll(&mut service.ready()).is_pending());
    drop(third);
    assert!(poll(&mut service.ready()).is_ready());
    drop(call(&mut service, 4).await); // no handle waits
    assert!(poll(&mut service.ready()).is_ready());
    assert_eq!(log.values(), ["1", "2"]);
}

#[tokio::test]
async fn a_future_dropped_before_its_value_is_encoded_sends_nothing() {
    let log = Log::default();
    let serializer = Slow::with_permits(0);
    let mut service = slow(&log, &serializer);
    let mut future = Box::pin(call(&mut service, 1).await);
    assert!(poll(&mut future).is_pending());
    drop(future);
    serializer.0.add_permits(2);
    call(&mut service, 2).await.await.unwrap();
    assert_eq!(log.values(), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_while_the_serializer_waits() {
    let log = Log::default();
    let mut service = slow(&log, &Slow::with_permits(0));
    let begun = Instant::now();
    let message = SinkMessage::new(1).with_deadline(begun + Duration::from_secs(3));
    let error = service.ready().await.unwrap().call(message).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    assert!(log.values().is_empty());
}

#[tokio::test]
async fn a_tombstone_does_not_call_the_serializer() {
    let log = Log::default();
    let mut service = slow(&log, &Slow::with_permits(0));
    service.ready().await.unwrap().call(SinkMessage::tombstone("user-7")).await.unwrap();
    let record = log.last();
    assert_eq!((record.key.as_deref(), record.value), (Some(&b"user-7"[..]), None));
}

#[tokio::test]
async fn everything_except_the_value_is_passed_on() {
    let log = Log::default();
    let message = SinkMessage::new(1)
        .with_key("k")
        .with_header("h", "v")
        .with_partition(2)
        .with_topic("elsewhere")
        .with_deadline(Instant::now());
    let envelope = message.envelope().clone();
    json(&log).oneshot(message).await.unwrap();
    let record = log.last();
    assert_eq!(&*record.topic, "elsewhere", "the message's own topic goes first");
    assert_eq!(record, envelope.into_record(&"orders".into(), Some("1".into())));
    json(&log).oneshot(SinkMessage::new(1)).await.unwrap();
    assert_eq!(&*log.last().topic, "orders");
    assert!(log.last().headers.is_empty(), "no header by default");
}

#[tokio::test]
async fn the_content_type_is_a_header_on_request() {
    let log = Log::default();
    let mut service = SerializeLayer::json("orders").content_type_header(true).layer(log.clone());
    let mut header = async |message| {
        service.ready().await.unwrap().call(message).await.unwrap();
        log.last().headers.iter().map(|h| (h.key.to_string(), h.value.clone().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(header(SinkMessage::new(1)).await, [("content-type".into(), "application/json".into())]);
    let own = SinkMessage::new(1).with_header("content-type", "text/x-number");
    assert_eq!(header(own).await, [("content-type".into(), "text/x-number".into())]);
    assert_eq!(header(SinkMessage::tombstone("k")).await, [], "there is no content");
}

/// A value that JSON cannot encode; `true` panics.
struct Bad(bool);

impl serde::Serialize for Bad {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0, "the value's own panic");
        Err(serde::ser::Error::custom("not today"))
    }
}

/// Counts wake-ups.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_value_that_is_not_encoded_leaves_its_room_to_the_next_handle() {
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    let mut transport = kafka.transport_with(Limits { records: 2, bytes: 1_000 });
    let (first_hold, _second_hold) = (kafka.script().on_partition("orders", 0).hold(), kafka.script().hold());
    let _first = transport.call(Record::new("orders").with_partition(0));
    let _second = transport.call(Record::new("orders").with_partition(1));

    let serialize = SerializeLayer::<f64, _>::new("orders", Arc::new(Finite)).layer(transport);
    let (mut one, mut other) = (serialize.clone(), serialize);
    let (wakes, next) = (Arc::<Wakes>::default(), Arc::<Wakes>::default());
    assert!(one.poll_ready(&mut Context::from_waker(&Waker::from(wakes.clone()))).is_pending());
    assert!(other.poll_ready(&mut Context::from_waker(&Waker::from(next.clone()))).is_pending());
    first_hold.release();
    assert_eq!((wakes.0.load(Ordering::SeqCst), next.0.load(Ordering::SeqCst)), (1, 0), "one place is free");

    let error = one.ready().await.unwrap().call(SinkMessage::new(f64::NAN)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialization);
    assert_eq!(next.0.load(Ordering::SeqCst), 1, "the next handle is woken for the free place");
    assert!(other.ready().await.unwrap().call(SinkMessage::new(1.0)).await.is_ok());
}

/// Encodes finite numbers only.
struct Finite;

#[async_trait]
impl MessageSerializer<f64> for Finite {
    async fn serialize(&self, message: &f64) -> Result<Vec<u8>> {
        let mut buffer = bytes::BytesMut::new();
        self.serialize_now(message, &mut buffer).unwrap().map(|()| buffer.to_vec())
    }

    fn content_type(&self) -> &str {
        "text/plain"
    }

    fn serialize_now(&self, message: &f64, buffer: &mut bytes::BytesMut) -> Option<Result<()>> {
        if !message.is_finite() {
            return Some(Err(Error::serialization("no finite number")));
        }
        buffer.extend_from_slice(message.to_string().as_bytes());
        Some(Ok(()))
    }
}

#[tokio::test]
async fn errors_of_a_serializer_say_that_nothing_was_sent() {
    let log = Log::default();
    let error = SerializeLayer::json("orders").layer(log.clone()).oneshot(SinkMessage::new(Bad(false))).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialization);
    assert_eq!(error.message_with_causes(), "the value could not be serialized: not today");

    // An error made by the serializer becomes the source.
    for permits in [0, 1] {
        let serializer = Slow::with_permits(permits);
        let future = call(&mut slow(&log, &serializer), 10).await;
        serializer.0.add_permits(1);
        let error = future.await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Serialization, Persistence::NotPersisted));
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Config);
    }
    assert!(log.values().is_empty());
}

#[tokio::test]
async fn errors_of_a_foreign_service_are_converted() {
    let error = json(&Log::default()).oneshot(SinkMessage::new(1).with_topic("refused")).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Unknown, Persistence::PossiblyPersisted));
}

#[tokio::test]
async fn a_panic_of_a_serializer_leaves_the_service_usable() {
    #[derive(serde::Serialize)]
    struct Maybe(&'static str, Option<Bad>);
    let log = Log::default();
    let mut service = SerializeLayer::json("orders").layer(log.clone());
    service.ready().await.unwrap();
    let panic = std::panic::AssertUnwindSafe(|| service.call(SinkMessage::new(Maybe("half", Some(Bad(true))))));
    assert!(std::panic::catch_unwind(panic).is_err());
    service.ready().await.unwrap().call(SinkMessage::new(Maybe("whole", None))).await.unwrap();
    assert_eq!(log.values(), [r#"["whole",null]"#]);
}

#[tokio::test]
async fn the_synchronous_method_is_used_if_the_serializer_has_one() {
    struct Counting(AtomicUsize);
    #[async_trait]
    impl MessageSerializer<u32> for Counting {
        async fn serialize(&self, _: &u32) -> Result<Vec<u8>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Vec::new())
        }
        fn serialize_now(&self, message: &u32, buffer: &mut bytes::BytesMut) -> Option<Result<()>> {
            (*message < 5).then(|| {
                buffer.extend_from_slice(b"now");
                Ok(())
            })
        }
    }
    let log = Log::default();
    let counting = Arc::new(Counting(AtomicUsize::new(0)));
    let mut service = SerializeLayer::new("orders", Arc::clone(&counting)).layer(log.clone());
    for value in [1, 7, 2] {
        call(&mut service, value).await.await.unwrap();
    }
    assert_eq!(log.values(), ["now", "", "now"], "an empty value is no tombstone");
    assert_eq!(counting.0.load(Ordering::Relaxed), 1);
}
