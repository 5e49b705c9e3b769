//! Tests over memory that `flush` and `close` cover sends that are still above the transport, in any stack, and open
//! transactions.
#![allow(clippy::unwrap_used)] // a test may fail

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use kafka_tower::layers::retry::RetryPolicy;
use kafka_tower::memory::{MemoryKafka, MemoryTransport, TransactionCall};
use kafka_tower::{
    Delivery, Error, ErrorKind, KafkaServiceBuilderExt, KafkaSink, KafkaSinkConfig, Limits, MessageSerializer,
    Persistence, Result, SinkMessage, TransactionEnd, async_trait,
};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

const TIME: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

fn no_leader() -> Error {
    Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted)
}

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("numbers", 1)
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "numbers".into(), ..Default::default() }
}

async fn sink_of(transport: MemoryTransport) -> KafkaSink<u32> {
    KafkaSink::builder(config()).transport(transport).build().await.unwrap()
}

/// Polls once with a waker that does nothing.
fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A user's own stacks that keep a record for a while before they pass it to the transport.
fn own_stacks(kafka: &MemoryKafka) -> Vec<(&'static str, KafkaSink<u32>)> {
    let retries = {
        let transport = kafka.transport();
        let control = transport.control();
        kafka.script().times(1).fail(no_leader());
        let stack = ServiceBuilder::new().serialize_json("numbers").retry_deliveries(RetryPolicy::new());
        KafkaSink::from_service(stack.service(transport), control, TIME)
    };
    let limited = {
        let transport = kafka.transport();
        let control = transport.control();
        let stack =
            ServiceBuilder::new().buffer(10).rate_limit(1, Duration::from_millis(100)).serialize_json("numbers");
        KafkaSink::from_service(stack.service(transport), control, TIME)
    };
    let task = {
        let transport = kafka.transport();
        let control = transport.control();
        let stack = service_fn(move |message: SinkMessage<u32>| {
            let mut inner = ServiceBuilder::new().serialize_json("numbers").service(transport.clone());
            let task = tokio::spawn(async move {
                sleep(100 * MS).await;
                inner.ready().await?.call(message).await
            });
            async move { task.await.unwrap() }
        });
        KafkaSink::from_service(stack, control, TIME)
    };
    vec![("retry", retries), ("buffer and rate limit", limited), ("a task spawned by a layer", task)]
}

#[tokio::test(start_paused = true)]
async fn flush_and_close_wait_for_records_that_a_users_own_stack_keeps() {
    for which in 0..3 {
        for close in [false, true] {
            let kafka = kafka();
            let (name, sink) = own_stacks(&kafka).swap_remove(which);
            if name != "retry" {
                kafka.clear_script();
            }
            let sends: Vec<_> = (0..2).map(|n| tokio::spawn(sink.send(n))).collect();
            sleep(10 * MS).await;
            assert!(kafka.len("numbers") < 2, "{name}: the stack keeps no record, so the test proves nothing");
            if close {
                sink.close().await.unwrap_or_else(|error| panic!("{name}: {error}"));
            } else {
                sink.flush().await.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            assert_eq!(kafka.len("numbers"), 2, "{name}");
            for send in sends {
                send.now_or_never().expect("the send is answered").unwrap().unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_without_time_reports_the_unanswered_sends() {
    for which in 0..3 {
        let kafka = kafka();
        let (name, sink) = own_stacks(&kafka).swap_remove(which);
        if name != "retry" {
            kafka.clear_script();
        }
        let send = |key: &'static str| tokio::spawn(sink.send(SinkMessage::new(1).with_key(key).with_topic("numbers")));
        let sends = [send("a"), send("b")];
        sleep(10 * MS).await;
        let answered = sends.iter().filter(|send| send.is_finished()).count();
        assert!(answered < 2, "{name}");
        let error = sink.close_within(MS).await.unwrap_err();
        assert_eq!(error.unfinished() as usize, 2 - answered, "{name}: {error}");
        let mut keys: Vec<_> = error.unanswered().iter().map(|open| open.key.clone().unwrap()).collect();
        keys.sort();
        assert_eq!(keys.last().unwrap(), if name == "retry" { "a" } else { "b" }, "{name}");
        assert!(error.unanswered().iter().all(|open| open.topic.as_deref() == Some("numbers")), "{name}");
        assert!(!error.to_string().contains('"'), "no keys in texts: {error}");
    }
}

/// The record is in flight when the close or the flush begins, and its retry backs off only afterwards.
#[tokio::test(start_paused = true)]
async fn a_send_that_fails_while_a_flush_waits_is_waited_for() {
    let kafka = kafka();
    kafka.script().late_by(50 * MS).fail(no_leader());
    let sink = sink_of(kafka.transport()).await;
    let send = tokio::spawn(sink.send(1));
    sleep(10 * MS).await;
    sink.flush().await.unwrap();
    assert_eq!(kafka.len("numbers"), 1);
    send.now_or_never().unwrap().unwrap().unwrap();
}

struct Never;

#[async_trait]
impl MessageSerializer<u32> for Never {
    async fn serialize(&self, n: &u32) -> Result<Vec<u8>> {
        if *n == 0 {
            std::future::pending::<()>().await;
        }
        Ok(n.to_string().into_bytes())
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_wait_for_later_calls() {
    let kafka = kafka();
    kafka.script().delay(50 * MS);
    let builder = KafkaSink::builder(config()).transport(kafka.transport()).serializer(Arc::new(Never));
    let sink: KafkaSink<u32> = builder.build().await.unwrap();
    let send = tokio::spawn(sink.send(1));
    sleep(10 * MS).await;
    let flush = tokio::spawn({
        let sink = sink.clone();
        async move { sink.flush().await }
    });
    tokio::task::yield_now().await;
    let stuck = tokio::spawn(sink.send(0));
    let begun = Instant::now();
    flush.await.unwrap().unwrap();
    assert!(begun.elapsed() < 100 * MS, "{:?}", begun.elapsed());
    send.await.unwrap().unwrap();
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn sends_that_were_not_called_or_were_dropped_do_not_count() {
    let kafka = kafka();
    let builder = KafkaSink::builder(config()).transport(kafka.transport()).serializer(Arc::new(Never));
    let sink: KafkaSink<u32> = builder.build().await.unwrap();
    let never_polled = (sink.send(0), sink.send_batch([0]), sink.send_stream(stream::iter([0])));
    let mut dropped = sink.send(0);
    assert!(once(&mut dropped).is_pending());
    drop(dropped);
    let begun = Instant::now();
    sink.flush().await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(never_polled);
}

/// A caller that flushes before it looks at its futures, as with `FuturesUnordered`.
#[tokio::test(start_paused = true)]
async fn futures_that_are_not_polled_do_not_block_flush_and_close() {
    let kafka = kafka();
    let sink = sink_of(kafka.transport()).await;
    kafka.script().delay(50 * MS);
    let mut held = sink.send(1);
    assert!(once(&mut held).is_pending());
    let mut service = sink.clone();
    let called = service.ready().await.unwrap().call(SinkMessage::new(2));
    let begun = Instant::now();
    sink.flush().await.unwrap();
    assert_eq!(begun.elapsed(), 50 * MS);
    held.await.unwrap();
    called.await.unwrap();

    // The close waits for a failure that is not polled, but not for long, because nothing makes progress in it.
    kafka.script().late_by(50 * MS).fail(no_leader());
    let mut held = sink.send(3);
    assert!(once(&mut held).is_pending());
    let begun = Instant::now();
    sink.flush().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let error = sink.close().await.unwrap_err();
    assert_eq!(error.unfinished(), 1, "{error}");
    held.await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_observed_during_the_close_is_counted_once() {
    let kafka = kafka();
    let sink = sink_of(kafka.transport()).await;
    kafka.script().fail(no_leader());
    let mut failed = sink.send(1);
    assert!(once(&mut failed).is_pending());
    // The close waits for it.
    kafka.script().delay(60_000 * MS);
    let mut late = sink.send(2);
    assert!(once(&mut late).is_pending());
    let closes = sink.clone();
    let close = tokio::spawn(async move { closes.close_within(Duration::from_secs(10)).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    // It backs off, and then the transport has it again.
    assert!(once(&mut failed).is_pending());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(once(&mut failed).is_pending());
    let error = close.await.unwrap().unwrap_err();
    assert_eq!((error.unfinished(), error.report().unknown), (0, 2), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_sends_batches_and_streams_that_wait_for_room() {
    let kafka = kafka();
    kafka.script().always().delay(10 * MS);
    let sink = sink_of(kafka.transport_with(Limits { records: 2, bytes: 1_000 })).await;
    let batch = tokio::spawn(sink.send_batch(0..5));
    let streamed = tokio::spawn(sink.send_stream(stream::iter(0..5)).look_ahead(3).collect::<Vec<_>>());
    let sends: Vec<_> = (0..5).map(|n| tokio::spawn(sink.send(n))).collect();
    tokio::task::yield_now().await;
    sink.flush().await.unwrap();
    // Messages that the stream has not taken from its source were not called.
    assert!(kafka.len("numbers") > 10, "{}", kafka.len("numbers"));
    assert!(batch.now_or_never().expect("the batch is answered").unwrap().unwrap().iter().all(Result::is_ok));
    for send in sends {
        send.now_or_never().expect("the send is answered").unwrap().unwrap();
    }
    assert!(streamed.await.unwrap().iter().all(Result::is_ok));
}

/// A service that is never ready and wakes no task, like a rate limit with a long period.
#[derive(Clone)]
struct Unready;

impl Service<SinkMessage<u32>> for Unready {
    type Response = Delivery;
    type Error = Error;
    type Future = std::future::Ready<Result<Delivery>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Pending
    }

    fn call(&mut self, _: SinkMessage<u32>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_fails_sends_that_wait_for_room_at_once() {
    let sink = KafkaSink::from_service(Unready, kafka().transport().control(), TIME);
    let patient = |n| SinkMessage::new(n).with_deadline(Instant::now() + 10 * TIME);
    let send = tokio::spawn(sink.send(patient(1)));
    let batch = tokio::spawn(sink.send_batch([patient(2), patient(3)]));
    let streamed = tokio::spawn(sink.send_stream(stream::iter([patient(4)])).collect::<Vec<_>>());
    sleep(10 * MS).await;
    let error = sink.flush().await.unwrap_err();
    assert!(error.to_string().contains("3 sends had no answer"), "{error}");
    let begun = Instant::now();
    let (closed, sent, batch, streamed) = tokio::join!(sink.close(), send, batch, streamed);
    closed.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let mut errors = vec![sent.unwrap().unwrap_err()];
    errors.extend(batch.unwrap().unwrap().into_iter().chain(streamed.unwrap()).map(Result::unwrap_err));
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Closed), "{errors:?}");
}

// ---- without a timer

async fn uses_all(kafka: MemoryKafka) {
    let sink = sink_of(kafka.transport()).await;
    sink.send(1).await.unwrap();
    assert!(sink.send_batch(2..5).await.unwrap().iter().all(Result::is_ok));
    assert!(sink.send_stream(stream::iter(5..8)).all(|sent| async move { sent.is_ok() }).await);
    sink.flush().await.unwrap();
    sink.close().await.unwrap();
    sink.close_within(Duration::ZERO).await.unwrap();
    assert_eq!(kafka.len("numbers"), 7);
}

async fn uses_transactions(kafka: MemoryKafka) {
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("id".into()), ..config() };
    let transport = kafka.transactional_transport("id");
    let sink: KafkaSink<u32> = KafkaSink::builder(config).transport(transport).build().await.unwrap();
    for commit in [true, false] {
        sink.begin_transaction().await.unwrap();
        sink.send(1).await.unwrap();
        sink.flush().await.unwrap();
        if commit {
            sink.commit_transaction().await.unwrap();
        }
    }
    sink.close().await.unwrap();
    assert_eq!(kafka.committed("numbers").len(), 1);
}

#[test]
fn no_timer_is_needed_if_there_is_nothing_to_wait_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap(); // no `enable_time`
    runtime.block_on(uses_all(kafka()));
    runtime.block_on(uses_transactions(kafka()));
    // Without a runtime.
    uses_all(kafka()).now_or_never().expect("nothing to wait for");
    uses_transactions(kafka()).now_or_never().expect("nothing to wait for");
}

// ---- transactions

async fn in_a_transaction(kafka: &MemoryKafka) -> KafkaSink<u32> {
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("id".into()), ..config() };
    let transport = kafka.transactional_transport("id");
    let sink: KafkaSink<u32> = KafkaSink::builder(config).transport(transport).build().await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    sink
}

async fn committed_behind(kafka: &MemoryKafka) -> usize {
    sink_of(kafka.transport()).await.send(2).await.unwrap();
    kafka.committed("numbers").len()
}

#[tokio::test(start_paused = true)]
async fn a_close_and_a_drop_abort_an_open_transaction() {
    let kafka = kafka();
    let sink = in_a_transaction(&kafka).await;
    sink.close().await.unwrap();
    assert_eq!(sink.send(3).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sink.commit_transaction().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(committed_behind(&kafka).await, 1);

    drop(in_a_transaction(&kafka).await);
    assert_eq!(committed_behind(&kafka).await, 2);

    // A panic between begin and commit.
    let sink = in_a_transaction(&kafka).await;
    let panics = tokio::spawn(async move {
        let _sink = sink;
        panic!("planted");
    });
    panics.await.unwrap_err();
    assert_eq!(committed_behind(&kafka).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_abort_has_no_answer_reports_that_in_time() {
    let kafka = kafka();
    let sink = in_a_transaction(&kafka).await;
    let _outage = kafka.script_transactions().on(TransactionCall::Abort).always().lose_request();
    let begun = Instant::now();
    let error = sink.close_within(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert!(matches!(error.report().transaction, Some(TransactionEnd::Unknown(_))), "{error}");
}

/// A send that the transport does not have yet is refused, and its future is answered.
#[tokio::test(start_paused = true)]
async fn a_close_with_an_open_transaction_does_not_wait_for_sends() {
    let kafka = kafka();
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("id".into()), ..config() };
    let builder = KafkaSink::builder(config).transport(kafka.transactional_transport("id")).serializer(Arc::new(Slow));
    let sink: KafkaSink<u32> = builder.build().await.unwrap();
    sink.begin_transaction().await.unwrap();
    let send = tokio::spawn(sink.send(50));
    tokio::task::yield_now().await;
    sink.close().await.unwrap();
    let error = send.now_or_never().expect("the send is answered").unwrap().unwrap_err();
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
}

struct Slow;

#[async_trait]
impl MessageSerializer<u32> for Slow {
    async fn serialize(&self, n: &u32) -> Result<Vec<u8>> {
        sleep(Duration::from_millis((*n).into())).await;
        Ok(n.to_string().into_bytes())
    }
}
