//! Checks a sink's transactions through their guard, with the same faults and verdicts.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::memory::sim::{Order, Verdict, check_transactions};
use kafka_tower::memory::{Faults, MemoryTransport};
use kafka_tower::{
    ConsumerGroup, ControlFuture, Delivery, Error, ErrorKind, KafkaSink, KafkaSinkConfig, MessageSerializer,
    Persistence, Record, Recovery, Result, TopicOffset, Transaction, TransactionControl,
};
use tower::service_fn;

use super::batches::assert_found;
use super::planted::{Plant, Planted};
use super::transactions::Moody;
use super::{BoxedStack, Raw, SEEDS, assert_kept, config, message};

pub(super) type Connected = (BoxedStack, Arc<dyn TransactionControl>);

pub(super) async fn sink<S>(transport: MemoryTransport, plant: Plant, serializer: S) -> Result<KafkaSink<Bytes>>
where
    S: MessageSerializer<Bytes> + 'static,
{
    let config = KafkaSinkConfig {
        enable_transactions: true,
        transactional_id: Some("check".into()),
        send_timeout_ms: 1_000,
        ..config()
    };
    let builder = KafkaSink::builder(config).serializer(Arc::new(serializer));
    builder.transport(Planted::new(transport, plant)).jitter_seed(1).build().await
}

/// Transactions of guards. Every second one that does not commit is dropped instead of aborted.
struct Guards {
    sink: KafkaSink<Bytes>,
    open: Mutex<Option<Transaction<Bytes>>>,
    /// A caller dropped an error that it had received: it must abort.
    dropped_error: Arc<AtomicBool>,
    aborts: AtomicU32,
}

impl std::fmt::Debug for Guards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guards").finish_non_exhaustive()
    }
}

impl Guards {
    fn send(&self, record: Record) -> Polled {
        let open = self.open.lock().unwrap();
        let mut answer = Box::pin(open.as_ref().expect("a transaction is open").send(message(record)));
        let outcome = match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        };
        Polled { answer, outcome, dropped_error: Arc::clone(&self.dropped_error) }
    }
}

/// A send of a guard that was polled once: one that is never polled sends nothing.
struct Polled {
    answer: Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>,
    /// Of the first poll.
    outcome: Option<Result<Delivery>>,
    dropped_error: Arc<AtomicBool>,
}

impl Future for Polled {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => self.answer.as_mut().poll(cx),
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if matches!(self.outcome, Some(Err(_))) {
            self.dropped_error.store(true, Ordering::Relaxed);
        }
    }
}

impl TransactionControl for Guards {
    fn init(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(ready(Ok(()))) // making the sink did it
    }

    fn begin(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            *self.open.lock().unwrap() = Some(self.sink.transaction().await?);
            self.dropped_error.store(false, Ordering::Relaxed);
            Ok(())
        })
    }

    fn commit(&self, _: Duration) -> ControlFuture<'_, ()> {
        let guard = self.open.lock().unwrap().take();
        Box::pin(async move {
            match guard {
                Some(guard) if self.dropped_error.load(Ordering::Relaxed) => {
                    guard.abort().await?;
                    Err(not_committed("an error was dropped"))
                }
                Some(guard) => guard.commit().await,
                None => self.sink.commit_transaction().await,
            }
        })
    }

    fn abort(&self, _: Duration) -> ControlFuture<'_, ()> {
        let guard = self.open.lock().unwrap().take();
        Box::pin(async move {
            match guard {
                Some(guard) if self.aborts.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => guard.abort().await,
                // The drop aborts it, or its failed commit did; at the latest before the next one begins.
                _ => Ok(()),
            }
        })
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.sink.send_offsets(offsets, group))
    }
}

pub(super) fn not_committed(why: &'static str) -> Error {
    let error = Error::new(ErrorKind::Transaction, why).with_recovery(Recovery::AbortTransaction);
    error.with_persistence(Persistence::NotPersisted)
}

async fn guards<S>(transport: MemoryTransport, plant: Plant, serializer: S) -> Result<Connected>
where
    S: MessageSerializer<Bytes> + 'static,
{
    let sink = sink(transport, plant, serializer).await?;
    let (open, dropped_error, aborts) = Default::default();
    let guards = Arc::new(Guards { sink, open, dropped_error, aborts });
    let sends = Arc::clone(&guards);
    Ok((BoxedStack::new(service_fn(move |record| sends.send(record))), guards))
}

#[test]
fn guards_keep_exactly_once() {
    let check = check_transactions(|transport| guards(transport, Plant::None, Moody { waits: false }));
    assert_kept(&check.seeds(SEEDS).run_transactions());
}

#[test]
fn guards_keep_exactly_once_with_a_serializer_that_waits() {
    let check = check_transactions(|transport| guards(transport, Plant::None, Moody { waits: true }));
    assert_kept(&check.order(Order::None).seeds(SEEDS).run_transactions());
}

/// The errors of sends are taken by a task, and not by the callers that have dropped their futures.
#[test]
fn a_guard_that_commits_after_a_failed_send_is_found() {
    let report = check_transactions(async |transport: MemoryTransport| {
        let (stack, transactions) = guards(transport, Plant::None, Moody { waits: true }).await?;
        let tasks = move |record| {
            let mut stack = stack.clone();
            let answer = tokio::spawn(tower::Service::call(&mut stack, record));
            async { answer.await.unwrap() }
        };
        Ok((BoxedStack::new(service_fn(tasks)), transactions))
    });
    let report = report.order(Order::None).shrink(false).run_transactions();
    assert_found(&report, 5, &[Verdict::TornTransaction, Verdict::LostAcknowledged]);
}

/// Found without faults: then no transaction has a reason to fail.
#[test]
fn an_abort_of_a_dropped_guard_that_hits_the_next_transaction_is_found() {
    let check = |plant| {
        let check = check_transactions(move |transport| async move {
            let (stack, transactions) = guards(transport, plant, Raw).await?;
            Ok((stack, Arc::new(Strict(transactions)) as Arc<dyn TransactionControl>))
        });
        check.faults(Faults::none()).shrink(false).run_transactions()
    };
    assert_found(&check(Plant::AbortTwice), 1, &[Verdict::Panicked]);
    assert_kept(&check(Plant::None));
}

/// Panics if a commit fails.
#[derive(Debug)]
struct Strict(Arc<dyn TransactionControl>);

impl TransactionControl for Strict {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.begin(within)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.0.commit(within).await.expect("nothing is wrong with the transaction");
            Ok(())
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.abort(within)
    }

    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.0.send_offsets(o, group, within)
    }
}
