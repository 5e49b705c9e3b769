//! Small layers, as in a user's stack, each with a defect that can be planted.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record, Recovery, Result, Transport};
use kafka_tower_memory::sim::Report;
use tokio::time::sleep;
use tower::Service;

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

/// Selects some of the checker's records: one in `every`, the same ones in each run.
pub(crate) fn hits(record: &Record, every: u64) -> bool {
    let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    let number = value.split(':').next().and_then(|number| number.parse::<u64>().ok());
    number.is_some_and(|number| number % every == every / 2)
}

/// A layer that sends each record with the function `call`.
#[derive(Clone)]
pub(crate) struct Passing<S, F> {
    inner: S,
    call: F,
}

pub(crate) fn passing<S, F>(inner: S, call: F) -> Passing<S, F>
where
    F: Fn(&mut S, Record) -> Answer + Clone,
{
    Passing { inner, call }
}

impl<S: Transport, F: Fn(&mut S, Record) -> Answer + Clone> Service<Record> for Passing<S, F> {
    type Response = Delivery;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Answer {
        (self.call)(&mut self.inner, record)
    }
}

/// Retries records that may succeed; with `unknown` also possibly written ones.
pub(crate) fn resending<S: Transport>(inner: S, unknown: bool) -> impl Transport {
    passing(inner, move |inner: &mut S, record: Record| {
        let first = inner.call(record.clone());
        let mut inner = inner.clone();
        Box::pin(async move {
            let mut outcome = first.await;
            for attempt in 1..4 {
                let Err(error) = &outcome else { break };
                let in_time = record.expires_at.is_none_or(|at| tokio::time::Instant::now().into_std() < at);
                let lost = unknown && error.persistence() == Persistence::PossiblyPersisted;
                let refused = error.persistence() == Persistence::NotPersisted && error.recovery() == Recovery::Retry;
                if !in_time || !(lost || refused) {
                    break;
                }
                let before = error.persistence();
                sleep(attempt * Duration::from_millis(3)).await;
                if std::future::poll_fn(|cx| inner.poll_ready(cx)).await.is_err() {
                    break;
                }
                outcome = inner.call(record.clone()).await.map_err(|error| {
                    // The earlier attempt may have written the record, so the result stays in doubt.
                    let unknown = before == Persistence::PossiblyPersisted;
                    if unknown { error.with_persistence(before) } else { error }
                });
            }
            outcome
        })
    })
}

/// Defect of [`Limited`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leak {
    None,
    /// The permit of a dropped future is lost.
    Permit,
    /// Only the last waiting handle is remembered.
    WakeUp,
}

/// A limit of concurrent sends.
pub(crate) struct Limited<S> {
    inner: S,
    room: Arc<Mutex<Room>>,
    leak: Leak,
}

struct Room {
    free: usize,
    waiting: VecDeque<Waker>,
}

impl<S> Limited<S> {
    pub(crate) fn new(inner: S, permits: usize, leak: Leak) -> Self {
        Self { inner, room: Arc::new(Mutex::new(Room { free: permits, waiting: VecDeque::new() })), leak }
    }
}

impl<S: Clone> Clone for Limited<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), room: Arc::clone(&self.room), leak: self.leak }
    }
}

struct Permit {
    room: Arc<Mutex<Room>>,
    leaks: bool,
}

impl Permit {
    fn give_back(&self) {
        let mut room = self.room.lock().unwrap();
        room.free += 1;
        let waiting = std::mem::take(&mut room.waiting);
        drop(room);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.leaks {
            self.give_back();
        }
    }
}

impl<S: Transport> Service<Record> for Limited<S> {
    type Response = Delivery;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut room = self.room.lock().unwrap();
        if room.free == 0 {
            if self.leak == Leak::WakeUp {
                room.waiting.clear();
            }
            room.waiting.push_back(cx.waker().clone());
            return Poll::Pending;
        }
        drop(room);
        // Poll the service below as well, so that it can wake this handle.
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Answer {
        let mut room = self.room.lock().unwrap();
        // Readiness is a hint: another handle may have taken the place.
        room.free = room.free.saturating_sub(1);
        drop(room);
        let permit = Permit { room: Arc::clone(&self.room), leaks: self.leak == Leak::Permit };
        let sent = self.inner.call(record);
        Box::pin(async move {
            let outcome = sent.await;
            if permit.leaks {
                permit.give_back();
            }
            outcome
        })
    }
}

/// Returns the report of a planted defect and checks that it was found in less than a second of processor time, so that a
/// busy machine makes no difference.
#[track_caller]
pub(crate) fn found_at_once(planted: impl FnOnce() -> Report) -> Report {
    let before = processor_time();
    let report = planted();
    if let (Some(before), Some(after)) = (before, processor_time()) {
        assert!(after - before < Duration::from_secs(1), "it takes {:?} to find it", after - before);
    }
    report
}

/// Of this thread. `None` where the system does not tell.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

pub(crate) fn circuit_open() -> Error {
    Error::new(ErrorKind::CircuitOpen, "the circuit breaker is open")
}
