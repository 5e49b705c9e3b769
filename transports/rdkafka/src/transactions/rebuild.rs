//! Replaces the producer before the next transaction begins: after one whose end had no clean answer, or whose end was a
//! fatal error.
//!
//! A new instance of librdkafka with the same configuration acquires the transactional id, which gives it a new epoch. The
//! coordinator then rejects all requests with the old epoch, however late they arrive. The event loop puts the new
//! instance behind the same handles; no record is in flight between two transactions.
//!
//! The rebuild has a thread of its own, which outlives the call that needs it: a `begin` whose time is up is repeated,
//! and waits for the same rebuild. It ends with success, with an error that a repetition cannot change, or with the close.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::{Error, Persistence, Recovery, Result};

use super::call::{Call, ended_producer};
use super::ended_producer::{AfterEnd, follows_time_out};
use super::errors::{call_after_close, taken_over};
use super::previous::{Next, Present};
use crate::event_loop;
use crate::ffi::{Event, Instance};
use crate::inner::TransportInner;
use crate::log::Source;
use crate::{properties, replace, threads};

/// Duration of one call that acquires the transactional id. Events of the new instance are served in between.
const INIT_SLICE: Duration = Duration::from_millis(100);
/// Minimum time between two such calls.
const PAUSE: Duration = Duration::from_millis(10);

/// Maximum time that a close waits for the transactional id. A request for it that arrived later would fence the
/// next producer with the same id.
const AT_CLOSE: Duration = Duration::from_secs(2);

/// Waits until nothing of the previous transaction can arrive, and replaces the producer if it takes that. `time_out` makes the error
/// when the time is up. Blocks.
pub(super) fn when_previous_is_over(
    inner: &Arc<TransportInner>,
    end: Instant,
    time_out: impl Fn(&str) -> Error,
) -> Result<()> {
    let call = Call::until(inner, end);
    loop {
        match inner.transactions.previous.next(end, || present(inner), || inner.client.any_transactional_lost()) {
            Next::Begin => return Ok(()),
            Next::Rebuild(why) => start(inner, why),
            Next::Fail(error) => return Err(error),
            Next::TimeOut => return Err(time_out(&call.because(true))),
        }
    }
}

fn present(inner: &TransportInner) -> Present {
    let Some((code, text)) = inner.client.fatal_error() else { return Present::Works };
    match after_end(inner, code) {
        AfterEnd::Stop => Present::Ended,
        AfterEnd::Replace | AfterEnd::ReplaceAfterTimeOut => {
            Present::Replaceable(format!("the producer ended: {text}"))
        }
    }
}

/// What follows the end of the present producer by a fatal error with this code.
fn after_end(inner: &TransportInner, code: i32) -> AfterEnd {
    if inner.transactions.is_taken.load(Ordering::Acquire) {
        return AfterEnd::Stop;
    }
    ended_producer(inner, code).decide()
}

fn start(inner: &Arc<TransportInner>, why: String) {
    let rebuilding = Arc::clone(inner);
    let thread = thread::Builder::new().name("kafka-tower-rebuild".to_owned());
    let spawned = thread.spawn(move || {
        let outcome = rebuild(&rebuilding, &why);
        rebuilding.transactions.previous.rebuilt(outcome);
    });
    if let Err(error) = spawned {
        inner.transactions.previous.rebuilt(Err(threads::no_thread(error)));
    }
}

fn rebuild(inner: &Arc<TransportInner>, why: &str) -> Result<()> {
    let new = Instance::create(inner.config()).map_err(|error| {
        properties::creation_error(&error, inner.config())
            .with_recovery(Recovery::Retry)
            .with_persistence(Persistence::NotPersisted)
    })?;
    let after_end = inner.client.fatal_error().map(|(code, _)| after_end(inner, code));
    let old = inner.transactions.producer_id();
    if let Err(error) = acquire(inner, &new) {
        replace::retire(inner, new);
        return Err(error);
    }
    let is_ours = || follows_time_out(old, inner.transactions.producer_id());
    if after_end == Some(AfterEnd::ReplaceAfterTimeOut) && !is_ours() {
        inner.transactions.is_taken.store(true, Ordering::Release);
        replace::retire(inner, new);
        return Err(taken_over());
    }
    let is_closing = || inner.closing().has_begun();
    if let Err(new) = inner.successor.hand_over(new, || inner.client.wake(), is_closing) {
        replace::retire(inner, new);
        return Err(closed());
    }
    inner.transactions.producer_replaced();
    let generation = inner.generation.load(Ordering::Acquire);
    tracing::warn!(
        generation,
        cause = why,
        "the end of a transaction was not clean, or ended its producer: the producer was replaced before the next one"
    );
    Ok(())
}

/// Acquires the transactional id for the new instance.
fn acquire(inner: &Arc<TransportInner>, new: &Instance) -> Result<()> {
    let call = Call::new(inner, Duration::ZERO);
    let (queue, mut none) = (new.queue(), Vec::new());
    let mut close_end = None;
    loop {
        if let Some(deadline) = inner.closing().deadline() {
            let now = Instant::now();
            if deadline.min(*close_end.get_or_insert(now + AT_CLOSE)) <= now {
                return Err(closed());
            }
        }
        let mut wait = match new.init_transactions(INIT_SLICE) {
            Ok(()) => Duration::ZERO,
            Err(error) if error.retriable && !error.fatal => PAUSE,
            Err(error) => return Err(call.error(NOT_BEGUN, &error, Persistence::NotPersisted)),
        };
        let acquired = wait.is_zero();
        // Also after success: one of its lines names the producer id.
        while queue.poll(wait, &mut none, |event| serve(inner, new, &event)) {
            wait = Duration::ZERO;
        }
        if acquired {
            return Ok(());
        }
    }
}

/// Serves an event of an instance that is not in use yet.
fn serve(inner: &Arc<TransportInner>, new: &Instance, event: &Event<'_>) {
    let now = Instant::now();
    match event {
        Event::Log { level, facility, text } => inner.guarded("a subscriber", || {
            event_loop::log(inner, None, *level, &facility.to_string_lossy(), &text.to_string_lossy());
        }),
        Event::Error { code, text, .. } => inner.guarded("a subscriber", || {
            let text = text.to_string_lossy();
            inner.record_error_event(*code, &text, now);
            inner.log.write(Source::Client { code: *code }, &text, now);
        }),
        Event::TokenRefresh => inner.hooks.refresh_token(new.tokens()),
        _ => {}
    }
}

pub(super) const NOT_BEGUN: &str = "the transaction was not begun";

fn closed() -> Error {
    call_after_close(NOT_BEGUN)
}
