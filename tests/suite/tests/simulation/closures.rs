//! Checks `in_transaction` with the same faults and verdicts.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::memory::sim::{TOPIC, Verdict, check_transactions};
use kafka_tower::memory::{FaultKind, Faults, MemoryTransport};
use kafka_tower::{
    ConsumerGroup, ControlFuture, Delivery, Error, ErrorKind, KafkaSink, Recovery, Result, SinkMessage, TopicOffset,
    Transaction, TransactionControl,
};
use tower::service_fn;

use super::batches::assert_found;
use super::guards::{Connected, not_committed, sink};
use super::planted::Plant;
use super::transactions::Moody;
use super::{BoxedStack, SEEDS, assert_kept, message};

/// Transactions of closures: the sends of a transaction are collected, and are its closure's when it ends.
struct Closures {
    sink: KafkaSink<Bytes>,
    collected: Mutex<Option<Vec<SinkMessage<Bytes>>>>,
    /// Calls of closures beyond their first.
    replays: Arc<AtomicU32>,
}

impl std::fmt::Debug for Closures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closures").finish_non_exhaustive()
    }
}

impl Closures {
    /// Runs the collected sends as one closure.
    async fn run(&self, messages: Vec<SinkMessage<Bytes>>, commits: bool) -> Result<()> {
        let (failed, calls) = (AtomicBool::new(false), AtomicU32::new(0));
        let in_batch = messages.len().is_multiple_of(2);
        let body = async |tx: Arc<Transaction<Bytes>>| {
            if calls.fetch_add(1, Ordering::Relaxed) > 0 {
                self.replays.fetch_add(1, Ordering::Relaxed);
            }
            let sent = send(&tx, messages.clone(), in_batch).await;
            let sent = if commits { sent } else { Err(Error::new(ErrorKind::Unknown, "the closure aborts")) };
            failed.store(sent.is_err(), Ordering::Relaxed);
            sent
        };
        let result = self.sink.in_transaction(body).await;
        if failed.into_inner() {
            // Whatever the send's error says: its transaction is aborted, or will be before the next one begins.
            return Err(not_committed("the closure failed"));
        }
        result
    }
}

async fn send(tx: &Transaction<Bytes>, messages: Vec<SinkMessage<Bytes>>, in_batch: bool) -> Result<()> {
    if in_batch {
        return tx.send_batch(messages).await?.into_iter().try_for_each(|outcome| outcome.map(drop));
    }
    for message in messages {
        tx.send(message).await?;
    }
    Ok(())
}

impl TransactionControl for Closures {
    fn init(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn begin(&self, _: Duration) -> ControlFuture<'_, ()> {
        *self.collected.lock().unwrap() = Some(Vec::new());
        Box::pin(ready(Ok(())))
    }

    fn commit(&self, _: Duration) -> ControlFuture<'_, ()> {
        let messages = self.collected.lock().unwrap().take();
        Box::pin(async move {
            match messages {
                Some(messages) => self.run(messages, true).await,
                None => self.sink.commit_transaction().await,
            }
        })
    }

    fn abort(&self, _: Duration) -> ControlFuture<'_, ()> {
        let messages = self.collected.lock().unwrap().take();
        Box::pin(async move {
            match messages {
                Some(messages) => self.run(messages, false).await.or_else(|error| match error.recovery() {
                    Recovery::AbortTransaction => Ok(()),
                    _ => Err(error),
                }),
                None => Ok(()),
            }
        })
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.sink.send_offsets(offsets, group))
    }
}

async fn closures(transport: MemoryTransport, plant: Plant, replays: &Arc<AtomicU32>) -> Result<Connected> {
    let sink = sink(transport, plant, Moody { waits: false }).await?;
    let closures = Arc::new(Closures { sink, collected: Mutex::default(), replays: Arc::clone(replays) });
    let collects = Arc::clone(&closures);
    let collect = move |record| {
        collects.collected.lock().unwrap().as_mut().expect("a transaction is open").push(message(record));
        // Says nothing yet: the transaction decides.
        ready(Ok(Delivery::new(TOPIC, 0)))
    };
    Ok((BoxedStack::new(service_fn(collect)), closures))
}

#[test]
fn closures_keep_exactly_once() {
    let replays = Arc::default();
    let check = check_transactions(|transport| closures(transport, Plant::None, &replays));
    assert_kept(&check.seeds(SEEDS).run_transactions());
    println!("  {} replays", replays.load(Ordering::Relaxed));
    assert!(replays.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_closure_that_is_replayed_after_a_commit_in_doubt_is_found() {
    let replays = Arc::default();
    let check = check_transactions(|transport| closures(transport, Plant::DoubtIsRefusal, &replays));
    // The transport repeats a commit until it has an answer or its time is over.
    let faults = Faults::default().with(FaultKind::LoseTransactionAnswer, 0.8);
    let report = check.faults(faults).shrink(false).run_transactions();
    // The first call is visible, and the next one too, or it failed.
    assert_found(&report, 10, &[Verdict::Duplicate, Verdict::AbortedRead]);
}
