//! A transaction commits all of its sends, or the commit is refused.

mod begin;
mod sequences;
mod tasks;

use std::future::{Future, Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::Either;
use futures_util::{StreamExt, stream};
use kafka_tower::layers::serialize::SerializeLayer;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    Delivery, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, MessageSerializer, Persistence, Recovery, Result,
    SinkMessage, async_trait,
};
use tokio::time::{Instant, sleep};
use tower::layer::layer_fn;
use tower::{Layer, Service, ServiceExt};

/// A value that the serializer refuses.
const BAD: u32 = 1_000;
/// A value for which the serializer waits forever.
const NEVER: u32 = 0;
/// A value for which the serializer panics.
const PANIC: u32 = 666;
/// A value that is too large for the transport's room, even if nothing else is in it.
const LARGE: u32 = 77;

/// Encodes later if `waits` is set, otherwise at once.
struct Picky {
    waits: bool,
}

fn encode(n: u32) -> Result<Vec<u8>> {
    match n {
        BAD => Err(Error::serialization("planted")),
        PANIC => panic!("planted"),
        LARGE => Ok(vec![b'1'; 2_000]),
        n => Ok(n.to_string().into_bytes()),
    }
}

#[async_trait]
impl MessageSerializer<u32> for Picky {
    async fn serialize(&self, n: &u32) -> Result<Vec<u8>> {
        match *n {
            NEVER => std::future::pending().await,
            _ => sleep(Duration::from_millis(10)).await,
        }
        encode(*n)
    }

    fn serialize_now(&self, n: &u32, buffer: &mut BytesMut) -> Option<Result<()>> {
        (!self.waits).then(|| encode(*n).map(|value| buffer.extend_from_slice(&value)))
    }
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig {
        topic: "numbers".into(),
        enable_transactions: true,
        transactional_id: Some("id".into()),
        send_timeout_ms: 1_000,
        ..Default::default()
    }
}

struct Stage {
    kafka: MemoryKafka,
    sink: KafkaSink<u32>,
}

impl Stage {
    /// Opens a transaction with one record in it.
    async fn new(waits: bool, records: usize) -> Self {
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let producer = kafka.producer().limits(Limits { records, bytes: 1_000 }).transactional("id");
        let builder = KafkaSink::builder(config()).serializer(Arc::new(Picky { waits }));
        let sink = builder.transport(producer.transport()).build().await.unwrap();
        let stage = Self { kafka, sink };
        stage.begin().await;
        stage
    }

    async fn begin(&self) {
        self.sink.begin_transaction().await.unwrap();
        self.sink.send(1).await.unwrap();
    }

    async fn call(&self, n: u32) -> impl Future<Output = Result<Delivery>> + Unpin + use<> {
        let mut sink = self.sink.clone();
        let patient = SinkMessage::new(n).with_deadline(Instant::now() + Duration::from_secs(100));
        sink.ready().await.unwrap().call(patient)
    }

    fn committed(&self) -> Vec<u32> {
        let records = self.kafka.committed("numbers");
        records.iter().map(|stored| String::from_utf8_lossy(stored.value().unwrap()).parse().unwrap()).collect()
    }

    /// Asserts that the commit is refused until the abort, and that the next transaction is not affected.
    async fn assert_refused(self) {
        for _ in 0..2 {
            let error = self.sink.commit_transaction().await.unwrap_err();
            let facts = (error.kind(), error.recovery(), error.persistence());
            let expected = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
            assert_eq!(facts, expected, "{error:#}");
            assert!(error.message().contains("no caller observed the outcome"), "{error:#}");
            assert!(error.help().contains("abort"), "{error:#}");
            // An out-of-order call changes nothing.
            self.sink.begin_transaction().await.unwrap_err();
        }
        self.sink.abort_transaction().await.unwrap();
        assert!(self.committed().is_empty());
        self.begin().await;
        self.assert_whole(&[1]).await;
    }

    async fn assert_whole(self, values: &[u32]) {
        self.sink.commit_transaction().await.unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(self.committed(), values);
    }
}

/// Polls once with a waker that does nothing.
fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_whose_serializer_fails_makes_the_commit_fail() {
    let stage = Stage::new(false, 8).await;
    drop(stage.call(BAD).await);
    stage.assert_refused().await;

    let stage = Stage::new(true, 8).await;
    let mut send = stage.call(BAD).await;
    assert!(once(&mut send).is_pending());
    sleep(Duration::from_millis(20)).await;
    drop(send); // it has failed by now, and was not asked
    stage.assert_refused().await;
}

/// A caller may handle a failure by sending the record elsewhere in the same transaction.
#[tokio::test(start_paused = true)]
async fn a_caller_that_observed_the_error_may_commit() {
    for waits in [false, true] {
        let stage = Stage::new(waits, 8).await;
        assert_eq!(stage.call(BAD).await.await.unwrap_err().kind(), ErrorKind::Serialization);
        stage.sink.send(BAD).await.unwrap_err();
        assert!(stage.sink.send_batch([2, BAD]).await.unwrap()[1].is_err());
        assert_eq!(stage.sink.send_stream(stream::iter([3, BAD, 4])).filter(|r| ready(r.is_err())).count().await, 1);
        stage.assert_whole(&[1, 2, 3, 4]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_dropped_while_its_serializer_waits_makes_the_commit_fail() {
    let stage = Stage::new(true, 8).await;
    drop(stage.call(NEVER).await);
    stage.assert_refused().await;

    let stage = Stage::new(true, 8).await;
    let mut send = stage.sink.send(2);
    assert!(once(&mut send).is_pending());
    drop(send);
    stage.assert_refused().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_serializers() {
    let stage = Stage::new(true, 8).await;
    let send = tokio::spawn(stage.call(2).await);
    let other = tokio::spawn(stage.sink.send(3));
    tokio::task::yield_now().await;
    stage.sink.commit_transaction().await.unwrap();
    assert_eq!(stage.committed(), [1, 2, 3]);
    send.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_does_not_wait_forever() {
    let stage = Stage::new(true, 8).await;
    let send = stage.call(2).await;
    let error = stage.sink.commit_transaction().await.unwrap_err();
    let facts = (error.kind(), error.recovery(), error.persistence());
    assert_eq!(facts, (ErrorKind::Timeout, Recovery::Retry, Persistence::NotPersisted), "{error:#}");
    // The transport was not asked to commit, so the transaction goes on.
    send.await.unwrap();
    stage.assert_whole(&[1, 2]).await;
}

/// If a send is already missing, the commit does not wait for another pending send.
#[tokio::test(start_paused = true)]
async fn a_dropped_send_makes_a_waiting_commit_fail_at_once() {
    let stage = Stage::new(true, 8).await;
    let (waits, goes) = (stage.call(NEVER).await, stage.call(NEVER).await);
    let begun = Instant::now();
    let commit = stage.sink.commit_transaction();
    let goes = async {
        sleep(Duration::from_millis(100)).await;
        drop(goes);
    };
    let (committed, ()) = tokio::join!(commit, goes);
    assert_eq!((committed.unwrap_err().kind(), begun.elapsed().as_millis()), (ErrorKind::Transaction, 100));
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn sends_dropped_after_acceptance_are_committed() {
    let stage = Stage::new(false, 8).await;
    drop(stage.call(2).await);
    assert!(once(&mut stage.sink.send(3)).is_ready());
    let hold = stage.kafka.script().always().hold();
    let mut send = stage.sink.send(4);
    assert!(once(&mut send).is_pending());
    drop(send);
    assert!(once(&mut stage.sink.send_batch([5, 6])).is_pending());
    assert!(once(&mut stage.sink.send_stream(stream::iter([7, 8])).next()).is_pending());
    hold.release();
    drop(stage.sink.send(9)); // never polled, never sent
    stage.assert_whole(&[1, 2, 3, 4, 5, 6, 7, 8]).await;
}

/// The transport answers for the records that it has accepted.
#[tokio::test(start_paused = true)]
async fn a_failure_in_the_transport_makes_the_commit_fail() {
    let stage = Stage::new(false, 8).await;
    stage.kafka.script().lose_request();
    drop(stage.call(2).await);
    let error = stage.sink.commit_transaction().await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transaction, Recovery::AbortTransaction));
    assert!(error.message().contains("a record or an offset of the transaction failed"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_fails_if_a_refusal_in_the_call_was_not_observed() {
    let stage = Stage::new(false, 8).await;
    assert_eq!(stage.call(LARGE).await.await.unwrap_err().kind(), ErrorKind::RecordTooLarge);
    stage.assert_whole(&[1]).await;
    let stage = Stage::new(false, 8).await;
    drop(stage.call(LARGE).await);
    stage.assert_refused().await;
}

#[tokio::test(start_paused = true)]
async fn a_send_dropped_while_it_waits_for_room_makes_the_commit_fail() {
    let stage = Stage::new(false, 1).await;
    let hold = stage.kafka.script().always().hold();
    let (mut sent, mut waits) = (stage.sink.send(2), stage.sink.send(3));
    assert!(once(&mut sent).is_pending() && once(&mut waits).is_pending());
    drop(waits);
    hold.release();
    stage.assert_refused().await;

    // The caller of the send that timed out has observed its error.
    let stage = Stage::new(false, 1).await;
    let hold = stage.kafka.script().always().hold();
    let mut sent = stage.sink.send(2);
    assert!(once(&mut sent).is_pending());
    assert_eq!(stage.sink.send(3).await.unwrap_err().kind(), ErrorKind::Timeout);
    hold.release();
    drop(sent);
    // The transport learns the result of the record that timed out only from its delivery report.
    stage.assert_whole(&[1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_sends_that_wait_for_room() {
    let stage = Stage::new(false, 1).await;
    stage.kafka.script().always().delay(Duration::from_millis(10));
    let sends = tokio::spawn(futures_util::future::join_all((2..6).map(|n| stage.sink.send(n))));
    let batch = tokio::spawn(stage.sink.send_batch(6..9));
    tokio::task::yield_now().await;
    stage.sink.commit_transaction().await.unwrap();
    let mut committed = stage.committed();
    committed.sort_unstable();
    assert_eq!(committed, (1..9).collect::<Vec<_>>());
    assert!(sends.await.unwrap().iter().all(Result::is_ok));
    assert!(batch.await.unwrap().unwrap().iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_batch_dropped_too_early_makes_the_commit_fail() {
    // Before its last message.
    let stage = Stage::new(false, 2).await;
    let hold = stage.kafka.script().always().hold();
    let mut batch = stage.sink.send_batch(2..9);
    assert!(once(&mut batch).is_pending());
    drop(batch);
    hold.release();
    stage.assert_refused().await;

    // With an error that was not observed, at once or later.
    for waits in [false, true] {
        let stage = Stage::new(waits, 8).await;
        let hold = stage.kafka.script().always().hold();
        let mut batch = stage.sink.send_batch([BAD, 2]);
        assert!(once(&mut batch).is_pending());
        sleep(Duration::from_millis(20)).await;
        assert!(once(&mut batch).is_pending());
        hold.release();
        drop(batch);
        stage.assert_refused().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_with_an_unobserved_failure_makes_the_commit_fail() {
    let stage = Stage::new(false, 1).await;
    let hold = stage.kafka.script().always().hold();
    let mut sends = stage.sink.send_stream(stream::iter(2..9));
    assert!(once(&mut sends.next()).is_pending());
    drop(sends);
    hold.release();
    stage.assert_refused().await;

    let stage = Stage::new(false, 8).await;
    let mut sends = stage.sink.send_stream(stream::iter([2, BAD, BAD]));
    assert!(sends.next().await.unwrap().is_ok());
    assert!(sends.next().await.unwrap().is_err());
    drop(sends);
    stage.assert_refused().await;
}

/// A stream may have no end. Its messages that wait for room go into a later transaction.
#[tokio::test(start_paused = true)]
async fn a_commit_does_not_wait_for_a_stream() {
    let stage = Stage::new(false, 1).await;
    let hold = stage.kafka.script().always().hold();
    let mut sends = stage.sink.send_stream(stream::iter([2, 3]));
    assert!(once(&mut sends.next()).is_pending());
    hold.release();
    stage.sink.commit_transaction().await.unwrap();
    assert_eq!(stage.committed(), [1, 2]);
    stage.sink.begin_transaction().await.unwrap();
    assert_eq!(sends.filter(|result| ready(result.is_ok())).count().await, 2);
    stage.assert_whole(&[1, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_serializer_makes_the_commit_fail() {
    let stage = Stage::new(false, 8).await;
    let mut sink = stage.sink.clone();
    sink.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(sink.call(SinkMessage::new(PANIC))))).is_err());
    stage.assert_refused().await;
}

/// A layer that refuses 13 and sends a message about it through another sink.
#[derive(Clone)]
struct Refuse<S> {
    inner: S,
    audit: KafkaSink<u32>,
}

impl<S> Service<SinkMessage<u32>> for Refuse<S>
where
    S: Service<SinkMessage<u32>, Response = Delivery, Error = Error>,
{
    type Response = Delivery;
    type Error = Error;
    type Future = Either<S::Future, Ready<Result<Delivery>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, message: SinkMessage<u32>) -> Self::Future {
        if message.value() != Some(&13) {
            return Either::Left(self.inner.call(message));
        }
        assert!(once(&mut self.audit.send(message)).is_ready());
        Either::Right(ready(Err(Error::new(ErrorKind::Overloaded, "planted"))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_fails_if_a_layers_refusal_was_not_observed() {
    for (told, own_stack) in [(true, false), (false, false), (true, true), (false, true)] {
        let audit = Stage::new(false, 8).await;
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let transport = kafka.producer().transactional("id").transport();
        let layer = layer_fn(|inner| Refuse { inner, audit: audit.sink.clone() });
        let sink = if own_stack {
            let control = transport.control();
            control.transactions().unwrap().init(Duration::from_secs(1)).await.unwrap();
            let stack = layer.layer(SerializeLayer::json("numbers").layer(transport));
            KafkaSink::from_service(stack, control, Duration::from_secs(1))
        } else {
            let audit = audit.sink.clone();
            let layer = layer_fn(move |inner| Refuse { inner, audit: audit.clone() });
            KafkaSink::builder(config()).transport(transport).layer(layer).build().await.unwrap()
        };
        let stage = Stage { kafka, sink };
        stage.begin().await;
        let send = stage.call(13).await;
        if told {
            send.await.unwrap_err();
            stage.assert_whole(&[1]).await;
        } else {
            drop(send);
            stage.assert_refused().await;
        }
        // The other sink's send was handed over; that must not make this commit succeed.
        audit.assert_whole(&[1, 13]).await;
    }
}
