//! Transactions with librdkafka. Its calls block, so each one runs on a thread of its own.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use kafka_tower_core::{
    ConsumerGroup, ControlFuture, Error, ErrorKind, Persistence, Recovery, Result, TopicOffset, TransactionControl,
    TransactionEnd,
};
use tokio::sync::oneshot;

use crate::classify;
use crate::codes;
use crate::ffi::TransactionError;
use crate::inner::{TransportInner, later, lock};
use crate::open_transaction::{AtClose, OpenTransaction};
use crate::slot::Slot;
use crate::transport::Owner;

/// Maximum duration of one call of librdkafka, so that a close does not wait for a call without an answer.
const SLICE: Duration = Duration::from_secs(1);

/// State shared by the transactional calls.
#[derive(Debug, Default)]
pub(crate) struct TransactionState {
    /// Records and offsets that failed since the client was made.
    failed: AtomicU64,
    /// The number at `begin`.
    failed_before: AtomicU64,
    /// Those of them that were parked and never reached librdkafka, which would commit without them.
    lost: AtomicU64,
    lost_before: AtomicU64,
    pub(crate) open: OpenTransaction,
    /// Records that librdkafka gives up now belong to a transaction that is being aborted.
    pub(crate) aborting: AtomicBool,
    /// Why the transaction failed by itself: librdkafka then gives up what waits to be sent.
    error: Mutex<Option<String>>,
}

impl TransactionState {
    pub(crate) fn record_failed(&self) {
        self.failed.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn record_lost(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the numbers of failed and lost records so far.
    fn counts(&self) -> [u64; 2] {
        [&self.failed, &self.lost].map(|count| count.load(Ordering::Acquire))
    }

    /// Reads from a log line why the transaction failed: "Current transaction failed in state …: …".
    pub(crate) fn fails(&self, text: &str) {
        let why = text.split_once(" failed in state ").and_then(|(_, rest)| rest.split_once(": "));
        if let Some((_, why)) = why {
            lock(&self.error).get_or_insert_with(|| why.to_owned());
        }
    }

    pub(crate) fn error(&self) -> Option<String> {
        lock(&self.error).clone()
    }

    fn begun(&self, [failed, lost]: [u64; 2]) {
        *lock(&self.error) = None;
        self.failed_before.store(failed, Ordering::Release);
        self.lost_before.store(lost, Ordering::Release);
    }

    fn any_record_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != self.failed_before.load(Ordering::Acquire)
    }

    fn any_record_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) != self.lost_before.load(Ordering::Acquire)
    }
}

pub(crate) struct RdkafkaTransactions(Arc<Owner>);

impl RdkafkaTransactions {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        Self(owner)
    }

    fn run(
        &self,
        what: &'static str,
        call: impl FnOnce(&TransportInner) -> Result<()> + Send + 'static,
    ) -> ControlFuture<'_, ()> {
        // The thread keeps the producer alive: a call that has begun continues when its future is dropped.
        let owner = Arc::clone(&self.0);
        let (sender, receiver) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("kafka-tower-{what}"));
        let spawned = thread.spawn(move || drop(sender.send(call(owner.inner()))));
        Box::pin(async move {
            spawned.map_err(crate::event_loop::no_thread)?;
            receiver.await.unwrap_or_else(|_| Err(crate::event_loop::panicked(what)))
        })
    }
}

impl TransactionControl for RdkafkaTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        let init = self.run("init", move |inner| {
            let call = Call::new(inner, within);
            sliced(&call, |slice| inner.client.init_transactions(slice))
                .map_err(|error| call.error("the transactional id was not taken", &error, Persistence::NotPersisted))
        });
        without_record(init)
    }

    fn begin(&self) -> ControlFuture<'_, ()> {
        let begin = self.run("begin", |inner| {
            let before = inner.transactions.counts();
            let begun = inner.transactions.open.begin(|| inner.client.begin_transaction());
            let call = Call::until(inner, Instant::now());
            begun
                .ok_or_else(|| closed("the transaction was not begun"))?
                .map_err(|error| call.error("the transaction was not begun", &error, Persistence::NotPersisted))?;
            // Only if `begin` succeeded: failures in a transaction that is open already must be kept.
            inner.transactions.begun(before);
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
                Err(_) => Err(closed("the transaction was not committed")),
            }
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.run("abort", move |inner| {
            let end = later(Instant::now(), within);
            match inner.transactions.open.enter(end) {
                Ok(_call) => abort(inner, end),
                Err(Some(TransactionEnd::Aborted)) => Ok(()),
                Err(Some(TransactionEnd::Unknown(error))) => Err(error),
                Err(_) => Err(closed("the transaction was not aborted")),
            }
        })
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        let owner = Arc::clone(&self.0);
        self.run("offsets", move |inner| {
            let call = Call::new(inner, within);
            let (sender, receiver) = mpsc::channel();
            let ask = move || {
                let inner = owner.inner();
                let call = Call::new(inner, within);
                drop(sender.send(sliced(&call, |slice| inner.client.send_offsets(&offsets, &group, slice))));
            };
            thread::Builder::new().name("kafka-tower-group".into()).spawn(ask).map_err(crate::event_loop::no_thread)?;
            let left = call.end.saturating_duration_since(Instant::now());
            let Ok(answer) = receiver.recv_timeout(left.saturating_add(2 * SLICE)) else {
                inner.transactions.record_failed();
                return Err(no_group_coordinator());
            };
            answer.map_err(|error| {
                if error.abort {
                    inner.transactions.record_failed();
                }
                call.error("the offsets are not in the transaction", &error, Persistence::NotPersisted)
            })
        })
    }
}

/// Marks the error of a call that concerns no record, because it comes before those of the transaction.
fn without_record(call: ControlFuture<'_, ()>) -> ControlFuture<'_, ()> {
    Box::pin(async { call.await.map_err(Error::without_record) })
}

/// Error of an offsets call without a group coordinator. librdkafka asks for the coordinator three times; if there is
/// none yet, it drops the request and its call never returns, whatever its time-out, and it accepts no other call. The
/// waiting thread stays.
pub(crate) fn no_group_coordinator() -> Error {
    Error::new(ErrorKind::Timeout, "the offsets are not in the transaction: no answer about the group's coordinator")
        .with_recovery(Recovery::Fatal)
        .with_persistence(Persistence::NotPersisted)
        .with_help(
            "create a new sink, which aborts the transaction, and replay it; a larger retry.backoff.ms waits longer",
        )
}

/// Error of a call that came after the close.
pub(crate) fn closed(what: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("{what}: the transport was closed"))
        .with_persistence(Persistence::NotPersisted)
}

/// Ends the open transaction while the transport closes, until `end`. Blocks, and needs the event loop meanwhile.
pub(crate) fn end_at_close(inner: &TransportInner, end: Instant) -> Option<TransactionEnd> {
    let ended = match inner.transactions.open.at_close(end) {
        AtClose::Nothing => None,
        AtClose::Abort { asked } => {
            tracing::warn!("a transaction was open when its transport was closed: it is aborted");
            Some(match abort(inner, end) {
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
                    let _the_commit_says_what_is_known = abort(inner, end);
                }
                TransactionEnd::Unknown(error)
            }
        }),
        AtClose::Busy => Some(TransactionEnd::Unknown(unanswered())),
    };
    inner.transactions.open.closed(ended.clone());
    ended
}

/// Error if the close ended before the coordinator answered.
pub(crate) fn unanswered() -> Error {
    Error::new(ErrorKind::Timeout, "the transport was closed before the coordinator had ended the transaction")
        .with_recovery(Recovery::Fatal)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_help("give the close more time; a new producer with the same transactional id ends what is still open")
}

fn commit(inner: &TransportInner, end: Instant) -> Result<()> {
    let call = &Call::until(inner, end);
    let state = &inner.transactions;
    // The coordinator was not asked yet.
    if !state.open.is_committing() {
        if !flushed(inner, end) {
            return Err(not_flushed(&call.because(false)));
        }
        // A producer that has ended reports that error itself.
        if state.any_record_lost() && inner.client.fatal_error().is_none() {
            return Err(not_handed_over());
        }
    }
    let mut asked = state.open.committing();
    let committed = sliced(call, |slice| {
        let answer = inner.client.commit_transaction(slice);
        asked |= answer.as_ref().is_err_and(|error| error.retriable);
        answer
    });
    let Err(error) = committed else {
        state.open.ended();
        return Ok(());
    };
    // librdkafka repeats the request by itself, and a later answer may be a refusal although an earlier request was
    // carried out. It sends no request if a record or an offset failed before, or if the call was in the wrong order.
    let surely_not = !asked && (state.any_record_failed() || error.code == codes::LOCAL_STATE);
    if surely_not || !error.retriable {
        state.open.refused(!surely_not);
    }
    let fate = if surely_not { Persistence::NotPersisted } else { Persistence::PossiblyPersisted };
    Err(commit_error(call, &error, fate))
}

/// Error of a commit that the coordinator did not confirm.
pub(crate) fn commit_error(call: &Call<'_>, error: &TransactionError, fate: Persistence) -> Error {
    let error = call.error(commit_failed(fate), error, fate);
    match error.recovery() {
        Recovery::AbortTransaction if fate == Persistence::PossiblyPersisted => error.with_help(
            "abort the transaction; its records may be visible, so read the topic before they are sent again",
        ),
        _ => error,
    }
}

fn abort(inner: &TransportInner, end: Instant) -> Result<()> {
    let call = &Call::until(inner, end);
    inner.transactions.aborting.store(true, Ordering::Release);
    let settle = |slot: Arc<Slot>| {
        let error = aborted(&slot.record().topic, Persistence::NotPersisted);
        let _never_admitted = inner.settle(&slot, Err(error));
    };
    inner.guarded("a waker", || {
        inner.gate.withdraw(|_| true, settle, |slot, permit| inner.enqueue_parked(slot, permit));
    });
    let ended = sliced(call, |slice| inner.client.abort_transaction(slice));
    inner.transactions.aborting.store(false, Ordering::Release);
    let Err(error) = ended else {
        inner.transactions.open.ended();
        return Ok(());
    };
    // A late request of the previous transaction ended it, which may have been a commit (KAFKA-17754).
    let is_gone = error.code == codes::INVALID_TXN_STATE;
    let fate = if is_gone { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
    Err(call.error("the transaction was not aborted", &error, fate))
}

/// Error of a commit whose time ended before the records were settled. `because` names the cause, if it is known.
pub(crate) fn not_flushed(because: &str) -> Error {
    let text = format!("not committed: records of the transaction have no answer yet{because}");
    Error::new(ErrorKind::Timeout, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("commit again to go on waiting, or abort")
}

/// Error of a commit that would leave out a record that was called.
pub(crate) fn not_handed_over() -> Error {
    Error::new(
        ErrorKind::Transaction,
        "not committed: a record of the transaction waited for room and was not handed over",
    )
}

/// Text of a commit without success, by its persistence.
fn commit_failed(fate: Persistence) -> &'static str {
    match fate {
        Persistence::NotPersisted => "the transaction was not committed",
        _ => "it is not known whether the transaction was committed",
    }
}

/// Error of a record whose transaction failed by itself.
pub(crate) fn failed(what: &str, why: &str, persistence: Persistence) -> Error {
    Error::new(ErrorKind::Transaction, format!("{what}: its transaction failed: {why}")).with_persistence(persistence)
}

/// Error of a record that is given up while its transaction is aborted. If it is in the log, it is part of that
/// transaction: with records in flight, the coordinator was not asked to commit it.
pub(crate) fn aborted(topic: &str, persistence: Persistence) -> Error {
    let text = format!("{}: its transaction is being aborted", classify::outcome(topic, persistence));
    Error::new(ErrorKind::Transaction, text).with_recovery(Recovery::Reject).with_persistence(persistence).with_help(
        match persistence {
            Persistence::NotPersisted => "send it again in the next transaction",
            _ => "send it again in the next transaction: readers of committed records never see this one",
        },
    )
}

/// A transactional call that waits for the coordinator.
pub(crate) struct Call<'a> {
    inner: &'a TransportInner,
    since: Instant,
    end: Instant,
}

impl<'a> Call<'a> {
    pub(crate) fn new(inner: &'a TransportInner, within: Duration) -> Self {
        Self::until(inner, later(Instant::now(), within))
    }

    fn until(inner: &'a TransportInner, end: Instant) -> Self {
        Self { inner, since: Instant::now(), end }
    }

    /// Returns "; last broker error 0.4 s ago: …", if it is known why there is no answer.
    fn because(&self, coordinator: bool) -> String {
        let why = self.inner.reason_for_call(self.since, coordinator, Instant::now());
        why.map(|why| format!("; {}", why.text)).unwrap_or_default()
    }

    pub(crate) fn error(&self, what: &str, error: &TransactionError, persistence: Persistence) -> Error {
        let made = if error.code == codes::LOCAL_TIMED_OUT && error.retriable {
            self.no_answer(what)
        } else {
            let text = Some(error.text.as_str()).filter(|text| !text.is_empty());
            let made = classify::client_error(error.code, what, text);
            if error.retriable { made.with_help("call it again to go on waiting") } else { made }
        };
        let made = if error.fatal {
            made.with_recovery(Recovery::Fatal)
        } else if error.abort {
            made.with_recovery(Recovery::AbortTransaction)
        } else if error.retriable {
            made.with_recovery(Recovery::Retry)
        } else {
            made
        };
        made.with_persistence(persistence)
    }

    /// Error of a call whose time ran out. librdkafka's text for it has no further information.
    fn no_answer(&self, what: &str) -> Error {
        let time = classify::seconds(self.since.elapsed());
        let why = self.inner.reason_for_call(self.since, true, Instant::now());
        let because = match &why {
            Some(why) => format!("; {}", why.text),
            None => " from the transaction coordinator".to_owned(),
        };
        let error = Error::new(ErrorKind::Timeout, format!("{what}: no answer within {time}{because}"))
            .with_error_type("_TIMED_OUT");
        match why.and_then(|why| why.code) {
            Some(codes::COORDINATOR_NOT_AVAILABLE) => error.with_help(
                "call it again to go on waiting; if it stays so, the brokers cannot make the log of transactions: \
                 transaction.state.log.replication.factor (default 3) must not be larger than the number of brokers",
            ),
            _ => error.with_help("call it again to go on waiting"),
        }
    }
}

/// Repeats a call until it has a final answer, the time is up, or the producer has ended.
fn sliced(
    call: &Call<'_>,
    mut ask: impl FnMut(Duration) -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    loop {
        let left = call.end.saturating_duration_since(Instant::now());
        match ask(left.min(SLICE)) {
            Err(error) if error.retriable && !error.fatal => {
                // A fatal error can occur during the call, which continues to wait nevertheless.
                if let Some((code, text)) = call.inner.client.fatal_error() {
                    return Err(TransactionError { code, text, fatal: true, retriable: false, abort: false });
                }
                if Instant::now() >= call.end {
                    return Err(error);
                }
            }
            answer => return answer,
        }
    }
}

/// Waits until every record that was called before is settled.
fn flushed(inner: &TransportInner, end: Instant) -> bool {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut flush = pin!(inner.gate.flush());
    loop {
        if flush.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            return true;
        }
        // The event loop sends lingering batches while a flush waits.
        inner.client.wake();
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::park_timeout(left);
    }
}

impl fmt::Debug for RdkafkaTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaTransactions").finish_non_exhaustive()
    }
}
