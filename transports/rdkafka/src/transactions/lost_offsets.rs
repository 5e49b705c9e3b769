//! A call that adds offsets to a transaction and does not return, and the abort after it.
//!
//! librdkafka looks for the group's coordinator three times within a second. If there is none yet, it forgets the request until any
//! connection to a broker is made or lost. Until then its call does not return, whatever its time-out, and it accepts no other call
//! of transactions: this one would stay open until the brokers abort it. Therefore a new producer with the same transactional id aborts
//! it. The call may continue in the old instance; its requests have an old epoch, and are refused.
//!
//! A call that waits for a connection is not lost: librdkafka goes on with it when the connection is ready or could not be made.
//!
//! A call gets all of its time at once: a repetition begins with the first request again, and what was answered before does not count.
//!
//! If its caller has given it up, an abort waits for it for a second, and then it counts as lost as well. The abort of a close, after
//! which no producer can be made, waits for as long as the close.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Persistence, Result};

use super::call::{Call, NOT_ABORTED, SLICE, fatal};
use super::errors::{no_group_coordinator, not_aborted, unanswered};
use super::rebuild;
use crate::codes;
use crate::connections::Attempt;
use crate::ffi::TransactionError;
use crate::inner::TransportInner;

/// Time without a request of the call and without an attempt to connect before it counts as lost.
const LOOK_UP: Duration = Duration::from_secs(3);
/// Interval of the check.
const CHECK: Duration = Duration::from_millis(50);
/// Maximum time for the reports of the records that the old instance gives up.
const REPORTS: Duration = Duration::from_secs(1);

/// A call that was lost in the open transaction.
#[derive(Debug, Default)]
pub(crate) struct LostOffsets {
    is_lost: AtomicBool,
    /// Generation of the client whose producer is being replaced.
    replacing: Mutex<Option<u64>>,
    /// Generations of the clients in which a call has not returned.
    under_way: Mutex<Vec<u64>>,
}

/// A call that has not returned. librdkafka refuses every other call of transactions meanwhile.
pub(super) struct UnderWay {
    inner: Arc<TransportInner>,
    pub(super) generation: u64,
}

impl UnderWay {
    pub(super) fn begin(inner: &Arc<TransportInner>) -> Self {
        let generation = inner.generation.load(Ordering::Acquire);
        lock(&inner.transactions.lost_offsets.under_way).push(generation);
        Self { inner: Arc::clone(inner), generation }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = lock(&self.inner.transactions.lost_offsets.under_way);
        if let Some(index) = all.iter().position(|generation| *generation == self.generation) {
            all.swap_remove(index);
        }
    }
}

impl LostOffsets {
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    fn is_over(&self) {
        let mut replacing = lock(&self.replacing);
        *replacing = None;
        self.is_lost.store(false, Ordering::Release);
    }

    fn is_under_way(&self, generation: u64) -> bool {
        lock(&self.under_way).contains(&generation)
    }
}

/// Waits for the answer of the call that began at `begun` in the client of this generation, until `end`, until it is lost, or until
/// that client is replaced.
pub(super) fn wait(
    inner: &TransportInner,
    answer: &Receiver<Result<(), TransactionError>>,
    generation: u64,
    begun: Instant,
    end: Instant,
) -> Result<Result<(), TransactionError>, Error> {
    while is_present(inner, generation) {
        match answer.recv_timeout(CHECK) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        // The call goes on to wait.
        if let Some(ended) = fatal(inner) {
            return Ok(Err(ended));
        }
        let now = Instant::now();
        let attempt = inner.client.connection_attempt().unwrap_or(Attempt::Never);
        if end <= now || is_lost(begun, inner.client.no_offsets_since(), attempt, now) {
            break;
        }
    }
    is_lost_in(inner, generation);
    Err(no_group_coordinator())
}

/// Waits for a call whose caller has given it up: librdkafka would refuse the abort until it returns. If a new producer can be made,
/// it counts as lost after a second.
pub(super) fn give_up(inner: &TransportInner, can_replace: bool, end: Instant) {
    let generation = inner.generation.load(Ordering::Acquire);
    let until = if can_replace { end.min(later(Instant::now(), SLICE)) } else { end };
    let state = &inner.transactions.lost_offsets;
    while !state.is_lost() && state.is_under_way(generation) {
        // The abort then says that the producer has ended.
        if fatal(inner).is_some() {
            return;
        }
        if Instant::now() >= until {
            if can_replace {
                is_lost_in(inner, generation);
            }
            return;
        }
        thread::sleep(CHECK);
    }
}

/// Whether the client of this generation was not replaced.
pub(super) fn is_present(inner: &TransportInner, generation: u64) -> bool {
    inner.generation.load(Ordering::Acquire) == generation
}

/// The transaction of this client can only be aborted, by a new one.
fn is_lost_in(inner: &TransportInner, generation: u64) {
    let state = &inner.transactions;
    // A new client may have a transaction of its own.
    let _replacing = lock(&state.lost_offsets.replacing);
    if is_present(inner, generation) {
        state.record_failed(codes::LOCAL_TIMED_OUT);
        state.lost_offsets.is_lost.store(true, Ordering::Release);
    }
}

/// Decides whether the call that began at `begun` is lost. `none_since`: since when none of its requests is under way.
fn is_lost(begun: Instant, none_since: Option<Instant>, attempt: Attempt, now: Instant) -> bool {
    let Some(since) = none_since.filter(|since| *since >= begun) else { return false };
    let since = match attempt {
        Attempt::UnderWay => return false,
        Attempt::Ended(at) => since.max(at),
        Attempt::Never => since,
    };
    now.saturating_duration_since(since) >= LOOK_UP
}

/// Aborts the transaction by a new producer, until `end`. A repetition continues. Blocks, and needs the event loop meanwhile.
pub(super) fn abort(inner: &Arc<TransportInner>, end: Instant) -> Result<()> {
    let state = &inner.transactions;
    let mut replacing = lock(&state.lost_offsets.replacing);
    let generation = *replacing.get_or_insert_with(|| {
        give_up_records(inner);
        state.previous.ended(Some("the coordinator of a group was not found"), Instant::now());
        inner.generation.load(Ordering::Acquire)
    });
    drop(replacing);
    rebuild::when_previous_is_over(inner, end, not_aborted)?;
    if inner.generation.load(Ordering::Acquire) == generation {
        return Err(match inner.client.fatal_error() {
            Some((code, text)) => {
                let ended = TransactionError { code, text, fatal: true, retriable: false, abort: false };
                Call::until(inner, end).error(NOT_ABORTED, &ended, Persistence::NotPersisted)
            }
            // The transport closes, and makes no producer any more.
            None => unanswered(),
        });
    }
    state.lost_offsets.is_over();
    state.open.ended();
    Ok(())
}

/// Gives up the records of the producer, as an abort does.
fn give_up_records(inner: &TransportInner) {
    let end = Instant::now() + REPORTS;
    while !inner.in_producer(false).is_empty() && Instant::now() < end {
        inner.client.purge();
        thread::sleep(CHECK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_lost_if_nothing_goes_on_that_would_continue_it() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let before = begun.checked_sub(Duration::from_secs(1));
        for (none_since, attempt, lost_after) in [
            (None, Attempt::Never, None),
            (before, Attempt::Never, None),
            (Some(after(1)), Attempt::Never, Some(4)),
            (Some(after(1)), Attempt::Ended(begun), Some(4)),
            // The connection to the coordinator takes long.
            (Some(after(1)), Attempt::UnderWay, None),
            (Some(after(1)), Attempt::Ended(after(20)), Some(23)),
        ] {
            let lost = |seconds: &u64| is_lost(begun, none_since, attempt, after(*seconds));
            assert_eq!((20..600).chain(0..20).filter(lost).min(), lost_after, "{none_since:?}, {attempt:?}");
        }
    }
}
