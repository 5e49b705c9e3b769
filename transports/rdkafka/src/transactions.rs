//! Transactions with librdkafka. Its calls block, so each one runs on a thread of its own.

pub(crate) mod call;
pub(crate) mod end_lines;
mod ended_producer;
pub(crate) mod errors;
mod lost_offsets;
mod pace;
pub(crate) mod previous;
mod rebuild;
pub(crate) mod state;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::error::transport::aborted_in_doubt;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::{
    ConsumerGroup, ControlFuture, Error, ErrorKind, Persistence, Result, TopicOffset, TransactionControl,
    TransactionEnd,
};
use rdkafka::ClientConfig;
use tokio::sync::oneshot;

use self::call::{Call, NOT_ABORTED, SLICE, commit_error, repeated, sliced};
use self::errors::{
    aborted, call_after_close, no_group_coordinator, not_flushed, not_handed_over, not_rebuilt, record_failed,
    unanswered,
};
use self::lost_offsets::UnderWay;
use self::rebuild::NOT_BEGUN;
use self::state::Begun;
use crate::codes;
use crate::inner::TransportInner;
use crate::open_transaction::AtClose;
use crate::owner::Owner;
use crate::properties;
use crate::slot::Slot;
use crate::threads;

/// Interval of the check whether a record has failed, while a commit waits for records.
const FAILURE_CHECK: Duration = Duration::from_millis(20);

pub(crate) struct RdkafkaTransactions(Arc<Owner>);

impl RdkafkaTransactions {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        Self(owner)
    }

    fn run(
        &self,
        what: &'static str,
        call: impl FnOnce(&Arc<TransportInner>) -> Result<()> + Send + 'static,
    ) -> ControlFuture<'_, ()> {
        // The thread keeps the producer alive: a call that has begun continues when its future is dropped.
        let owner = Arc::clone(&self.0);
        let (sender, receiver) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("kafka-tower-{what}"));
        let spawned = thread.spawn(move || drop(sender.send(call(owner.inner()))));
        Box::pin(async move {
            spawned.map_err(threads::no_thread)?;
            receiver.await.unwrap_or_else(|_| Err(threads::panicked(what)))
        })
    }
}

impl TransactionControl for RdkafkaTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        let init = self.run("init", move |inner| {
            let call = Call::new(inner, within);
            sliced(&call, |slice| inner.client.init_transactions(slice))
                .map_err(|error| call.error("the transactional id was not acquired", &error, Persistence::NotPersisted))
        });
        without_record(init)
    }

    /// Local, because librdkafka asks no broker, unless the producer has to be replaced before.
    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        let begin = self.run("begin", move |inner| {
            rebuild::when_previous_is_over(inner, later(Instant::now(), within), not_rebuilt)?;
            let before = inner.transactions.counts();
            // Before the number, so that a producer that is replaced meanwhile does not have both.
            let generation = inner.generation.load(Ordering::Acquire);
            let begun = Begun { at: Instant::now(), sent: inner.client.transactional_writes(), generation };
            let outcome = inner.transactions.open.begin(|| {
                inner.client.begin_transaction()?;
                inner.transactions.previous.begun();
                Ok(())
            });
            let call = Call::until(inner, Instant::now());
            outcome
                .ok_or_else(|| call_after_close(NOT_BEGUN))?
                .map_err(|error| call.error(NOT_BEGUN, &error, Persistence::NotPersisted))?;
            // Only if `begin` succeeded: failures in a transaction that is open already must be kept.
            inner.transactions.begun(before, begun);
            Ok(())
        });
        without_record(begin)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.run("commit", move |inner| {
            let end = later(Instant::now(), within);
            match inner.transactions.open.enter(end) {
                Ok(_call) => commit(inner, end),
                Err(Some(TransactionEnd::Committed)) => Ok(()),
                Err(Some(TransactionEnd::Unknown(error))) => Err(error),
                Err(_) => Err(call_after_close("the transaction was not committed")),
            }
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.run("abort", move |inner| {
            let end = later(Instant::now(), within);
            match inner.transactions.open.enter(end) {
                Ok(_call) => abort(inner, true, end),
                Err(Some(TransactionEnd::Aborted)) => Ok(()),
                Err(Some(TransactionEnd::Unknown(error))) => Err(error),
                Err(_) => Err(call_after_close(NOT_ABORTED)),
            }
        })
    }

    fn producer_key(&self) -> Option<String> {
        producer_key(self.0.inner().config())
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.run("offsets", move |inner| {
            let (call, begun) = (Call::new(inner, within), Instant::now());
            let (sender, receiver) = mpsc::channel();
            // Only this instance, which may be replaced before the call returns.
            let Some(instance) = inner.client.instance() else {
                return Err(call_after_close("the offsets were not added to the transaction"));
            };
            let (its, under_way) = (Arc::clone(inner), UnderWay::begin(inner));
            let generation = under_way.generation;
            let ask = move || {
                let _until_it_returns = under_way;
                let call = Call::new(&its, within);
                let given_up = || its.transactions.aborting.load(Ordering::Acquire);
                let mut slices = std::iter::repeat(within).take_while(|_| !given_up());
                drop(sender.send(repeated(&call, &mut slices, |time| instance.send_offsets(&offsets, &group, time))));
            };
            thread::Builder::new().name("kafka-tower-group".into()).spawn(ask).map_err(threads::no_thread)?;
            lost_offsets::wait(inner, &receiver, generation, begun, later(call.end, 2 * SLICE))?.map_err(|error| {
                if error.abort && lost_offsets::is_present(inner, generation) {
                    inner.transactions.record_failed(codes::LOCAL_STATE);
                }
                call.error("the offsets were not added to the transaction", &error, Persistence::NotPersisted)
            })
        })
    }
}

/// Brokers in any order, and the transactional id.
fn producer_key(config: &ClientConfig) -> Option<String> {
    let brokers: BTreeSet<_> =
        properties::bootstrap_servers(config)?.split(',').map(str::trim).filter(|broker| !broker.is_empty()).collect();
    Some(format!("{} {}", Vec::from_iter(brokers).join(","), config.get("transactional.id")?))
}

/// Marks the error of a call that concerns no record, because it comes before those of the transaction.
fn without_record(call: ControlFuture<'_, ()>) -> ControlFuture<'_, ()> {
    Box::pin(async { call.await.map_err(Error::without_record) })
}

/// Ends the open transaction while the transport closes, until `end`. Blocks, and needs the event loop meanwhile.
pub(crate) fn end_at_close(inner: &Arc<TransportInner>, end: Instant) -> Option<TransactionEnd> {
    inner.transactions.previous.wait_for_rebuild(end);
    let ended = match inner.transactions.open.at_close(end) {
        AtClose::Nothing => None,
        AtClose::Abort { asked } => {
            tracing::warn!("a transaction was open when its transport was closed: it is aborted");
            Some(match abort(inner, false, end) {
                Ok(()) => TransactionEnd::Aborted,
                // The coordinator aborted it before it gave the id to another producer.
                Err(error) if error.kind() == ErrorKind::Fenced && !asked => TransactionEnd::Aborted,
                Err(error) => TransactionEnd::Unknown(error),
            })
        }
        AtClose::Commit => Some(match commit(inner, end) {
            Ok(()) => TransactionEnd::Committed,
            Err(error) => {
                // Refused for good: a transaction that stays open would hold readers back.
                if matches!(inner.transactions.open.at_close(end), AtClose::Abort { .. }) {
                    let _the_commit_says_what_is_known = abort(inner, false, end);
                }
                TransactionEnd::Unknown(error)
            }
        }),
        AtClose::Busy => Some(TransactionEnd::Unknown(unanswered())),
    };
    inner.transactions.open.closed(ended.clone());
    ended
}

fn commit(inner: &Arc<TransportInner>, end: Instant) -> Result<()> {
    let call = &Call::until(inner, end);
    let state = &inner.transactions;
    if state.lost_offsets.is_lost() {
        return Err(no_group_coordinator());
    }
    // The coordinator was not asked yet.
    if !state.open.was_asked() {
        match flushed(inner, end) {
            // librdkafka refuses to commit: at once if it has noticed, otherwise only after the answers of the others. Until
            // then it would accept no abort. It does not notice an acknowledgement that is only implied.
            Flushed::All | Flushed::AnyFailed => {
                if state.any_record_failed() && state.error().is_none() && inner.client.fatal_error().is_none() {
                    return Err(record_failed());
                }
            }
            Flushed::TimeUp => return Err(not_flushed(&call.because(false))),
        }
        // A producer that has ended reports that error itself.
        if state.any_record_lost() && inner.client.fatal_error().is_none() {
            return Err(not_handed_over());
        }
    }
    let mut asked = state.open.committing();
    let committed = sliced(call, |slice| {
        let answer = inner.client.commit_transaction(slice);
        asked |= answer.as_ref().is_err_and(|error| error.retriable && !is_of_another_call(error.code));
        answer
    });
    let Err(error) = committed else {
        state.open.ended();
        state.previous.ended(None, Instant::now());
        return Ok(());
    };
    // librdkafka repeats the request by itself, and a later answer may be a refusal although an earlier request was
    // carried out. It sends no request if a record or an offset failed before, or if the call was in the wrong order.
    let is_refused = error.code == codes::LOCAL_STATE || is_of_another_call(error.code);
    let surely_not = !asked && (state.any_record_failed() || is_refused);
    if surely_not || !error.retriable {
        state.open.refused(!surely_not);
    }
    let fate = if surely_not { Persistence::NotPersisted } else { Persistence::PossiblyPersisted };
    Err(commit_error(call, &error, fate))
}

/// Whether librdkafka has refused a call because another one is under way.
fn is_of_another_call(code: i32) -> bool {
    matches!(code, codes::LOCAL_CONFLICT | codes::LOCAL_PREV_IN_PROGRESS)
}

/// `can_replace`: whether a new producer can be made, unless the transport closes.
fn abort(inner: &Arc<TransportInner>, can_replace: bool, end: Instant) -> Result<()> {
    let call = &Call::until(inner, end);
    inner.transactions.aborting.store(true, Ordering::Release);
    let settle = |slot: Arc<Slot>| {
        let error = aborted(&slot.record().topic, Persistence::NotPersisted);
        let _never_admitted = inner.settle(&slot, Err(error));
    };
    inner.withdraw(|_| true, settle);
    lost_offsets::give_up(inner, can_replace, end);
    if inner.transactions.lost_offsets.is_lost() {
        let ended = lost_offsets::abort(inner, end);
        inner.transactions.aborting.store(false, Ordering::Release);
        return ended;
    }
    let ended = sliced(call, |slice| inner.client.abort_transaction(slice));
    inner.transactions.aborting.store(false, Ordering::Release);
    let Err(error) = ended else {
        let asked = inner.transactions.open.ended();
        let refused = inner.transactions.any_record_refused().then_some("a broker refused a record of it");
        let doubt = if asked { Some("a commit was requested before the abort") } else { refused };
        inner.transactions.previous.ended(doubt, Instant::now());
        // After a commit without an answer, librdkafka may abort by a new epoch, which says nothing about the commit.
        return if asked { Err(aborted_in_doubt()) } else { Ok(()) };
    };
    // librdkafka asks the coordinator to abort a transaction that it does not know, because each partition was denied.
    let is_empty = error.fatal && !inner.transactions.open.was_asked() && inner.none_was_sent();
    if is_empty && !codes::is_fence(error.code) {
        inner.transactions.open.ended();
        inner.transactions.previous.ended(Some("the coordinator refused to abort it"), Instant::now());
        return Ok(());
    }
    // A late request of the previous transaction ended it, which may have been a commit (KAFKA-17754).
    let is_gone = error.code == codes::INVALID_TXN_STATE;
    let fate = if is_gone { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
    Err(call.error(NOT_ABORTED, &error, fate))
}

/// Why a commit waits for records no longer.
enum Flushed {
    /// Every record that was called before is settled.
    All,
    /// One has failed. The others may wait for the abort.
    AnyFailed,
    TimeUp,
}

/// Waits for the records that were called before.
fn flushed(inner: &Arc<TransportInner>, end: Instant) -> Flushed {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut flush = pin!(inner.flush());
    loop {
        if flush.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            return Flushed::All;
        }
        // The event loop sends lingering batches while a flush waits.
        inner.client.wake();
        if inner.transactions.any_record_failed() {
            return Flushed::AnyFailed;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Flushed::TimeUp;
        }
        thread::park_timeout(left.min(FAILURE_CHECK));
    }
}

impl fmt::Debug for RdkafkaTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaTransactions").finish_non_exhaustive()
    }
}
