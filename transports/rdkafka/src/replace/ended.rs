//! Replaces a client that has ended by a fatal error. `fatal.rs` decides whether, `unsent.rs` which records go on.
//!
//! 1. *Hold*: librdkafka refuses new records, which are held from the first refusal on.
//! 2. *Drain*: records that were sent are answered, or lose their connection, within the request time-out. librdkafka's own
//!    epoch change waits for the same. The others are given up by librdkafka: those that were certainly not appended are held
//!    again, the rest end `PossiblyPersisted`. So no record is overtaken by a later one of its partition.
//! 3. *Swap*: a new instance that has a producer id takes the old one's place, and gets the held records in the order of
//!    their calls.
//!
//! While a right is missing nothing is held: records are refused with that cause.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Persistence};

use super::fatal::{self, Cure, FatalCause, Refusal};
use super::watch::{CHECK_INTERVAL, StuckWatch};
use super::{Readiness, retire};
use crate::classify;
use crate::event_loop::EventLoop;
use crate::ffi::{Client, Instance};
use crate::inner::TransportInner;
use crate::slot::Slot;

/// Time until another attempt, if a new instance could not be made or has reached no broker.
const AGAIN: Duration = Duration::from_secs(1);

/// What the handles and the event loop share about a client that has ended.
#[derive(Debug, Default)]
pub(crate) struct EndedClient {
    /// Whether the present instance has ended. Read without the lock.
    noticed: AtomicBool,
    /// A record was refused that another instance might deliver.
    asked: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    /// Records wait if the client ends.
    #[default]
    Holds,
    /// The client has ended, and is being replaced.
    Replaces(FatalCause),
    /// Records are refused if the client ends, or because it has ended.
    Refuses(Option<Refusal>),
}

impl EndedClient {
    /// Refuses records if the client ends.
    pub(crate) fn never_replace(&self) {
        *lock(&self.state) = State::Refuses(None);
    }

    /// Whether anything but a refusal may follow the end of the client.
    pub(crate) fn is_handled(&self) -> bool {
        !matches!(*lock(&self.state), State::Refuses(None))
    }

    /// The present instance has ended.
    fn notice(&self) {
        self.noticed.store(true, Ordering::Release);
    }

    pub(crate) fn is_noticed(&self) -> bool {
        self.noticed.load(Ordering::Acquire)
    }

    /// Called under the client's write lock. Whether a record that the ended client refused is held.
    fn holds(&self) -> bool {
        !matches!(*lock(&self.state), State::Refuses(_))
    }

    /// Whether the client has ended and records wait for a new one.
    pub(crate) fn is_noticed_and_holds(&self) -> bool {
        self.is_noticed() && self.holds()
    }

    /// Returns by which error the client has ended, while it is replaced.
    pub(crate) fn replaces(&self) -> Option<FatalCause> {
        match &*lock(&self.state) {
            State::Replaces(cause) => Some(cause.clone()),
            State::Holds | State::Refuses(_) => None,
        }
    }

    /// Error of a record that the ended client refused or gave up, if it is not replaced.
    pub(crate) fn refusal(&self, topic: &str, persistence: Persistence) -> Option<Error> {
        let refusal = match &*lock(&self.state) {
            // Otherwise the client itself says it.
            State::Refuses(Some(refusal)) if refusal.cure != Cure::Stay => refusal.clone(),
            _ => return None,
        };
        if refusal.cure == Cure::Ask {
            self.asked.store(true, Ordering::Release);
        }
        Some(refusal.error(topic, persistence))
    }

    /// Returns whether a refused record has asked for a new instance, once.
    fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }

    /// A new instance is in place.
    fn replaced(&self) {
        *lock(&self.state) = State::Holds;
        self.noticed.store(false, Ordering::Release);
    }
}

/// Why a record that an ended client refused is not held.
#[derive(Debug)]
pub(crate) enum NotHeld {
    /// The client is not replaced. With an error, unless the client itself knows it.
    Refused(Option<Box<Error>>),
    /// It was replaced meanwhile: the record is to be handed over again.
    Replaced,
}

/// The event loop's state about a client that has ended and is replaced.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// Back-off.
    not_before: Instant,
    /// Records that were sent have an answer until then.
    drained_by: Instant,
    /// Number of records that were given up and are held again.
    pub(crate) held_again: usize,
}

impl StuckWatch {
    /// The client, or the one that was to replace it, has ended. Decides what follows, once for each instance.
    pub(crate) fn client_ended(&mut self, inner: &TransportInner, cause: FatalCause, now: Instant) {
        let mut state = lock(&inner.ended.state);
        if !matches!(*state, State::Holds) {
            return;
        }
        inner.ended.notice();
        let cure = fatal::cure(cause.code, inner.is_gapless());
        let FatalCause { code, text } = cause.clone();
        let start = if cure == Cure::Replace { self.budget.take(now) } else { None };
        *state = match start {
            Some(_) => State::Replaces(cause),
            None => State::Refuses(Some(Refusal { cause, cure })),
        };
        drop(state);
        match start {
            Some(not_before) => {
                inner.client.hold_all();
                let drained_by = now + inner.request_timeout();
                self.replacement = Some(Replacement { not_before, drained_by, held_again: 0 });
                tracing::warn!(code, text, wait = ?(not_before - now), "the producer has ended and is replaced");
            }
            None => tracing::error!(code, text, "the producer has ended"),
        }
    }
}

impl TransportInner {
    /// Holds a record that was refused because the client has ended, if the client is replaced.
    pub(crate) fn hold_for_new_client(&self, slot: &Arc<Slot>) -> Result<(), NotHeld> {
        let held = self.client.hold_all_if_ended(|| {
            // Decided under the client's lock: once records are refused, the event loop looks for held ones.
            if !self.ended.holds() {
                let error = self.ended.refusal(&slot.record().topic, Persistence::NotPersisted);
                return Err(NotHeld::Refused(error.map(Box::new)));
            }
            self.held.push(Arc::clone(slot));
            self.ended.notice();
            Ok(())
        });
        self.client.wake();
        held.unwrap_or(Err(NotHeld::Replaced))
    }

    /// Error of a record that `client` gives up or refuses because it has ended and is replaced. A negative `partition` is
    /// not known.
    pub(crate) fn given_up_by_ended(
        &self,
        client: &Client,
        slot: &Slot,
        partition: i32,
        persistence: Persistence,
    ) -> Option<Error> {
        // An isolated producer that has ended is always replaced.
        let code = if slot.record().isolated { client.fatal_error()?.0 } else { self.ended.replaces()?.code };
        let topic = &slot.record().topic;
        let destination = if partition < 0 { topic.to_string() } else { format!("{topic}[{partition}]") };
        Some(classify::ended(code, &destination, persistence))
    }

    fn is_gapless(&self) -> bool {
        self.config().get("enable.gapless.guarantee").is_some_and(|value| matches!(value.trim(), "true" | "1" | "t"))
    }
}

impl EventLoop<'_> {
    /// Carries on with the replacement of a client that has ended.
    pub(crate) fn handle_ended(&mut self, now: Instant) {
        let (inner, Some(watch)) = (self.inner, &mut self.watch) else { return };
        if !inner.ended.is_noticed() || watch.look.is_some_and(|at| now < at) {
            return;
        }
        if let Some((code, text)) = inner.client.fatal_error() {
            watch.client_ended(inner, FatalCause { code, text }, now);
        }
        let Some(replacement) = &watch.replacement else {
            if inner.client.holds_all() {
                inner.hand_over_all_held();
            }
            if inner.ended.take_asked() && watch.asks.is_over(now) {
                watch.asks.replaced(now);
                self.replace_ended(now);
            }
            return;
        };
        watch.look = Some(now + CHECK_INTERVAL);
        if now < replacement.drained_by && !inner.in_producer(false).is_empty() {
            // Records that wait for a retry would wait for ever: an ended client sends nothing.
            inner.client.purge_queued();
            return;
        }
        if replacement.not_before <= now {
            self.replace_ended(now);
        }
    }

    fn replace_ended(&mut self, now: Instant) {
        let inner = self.inner;
        let new = match Instance::create(inner.config()) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "a Kafka client that has ended cannot be replaced now");
                return self.postpone(now);
            }
        };
        match self.readiness(&new) {
            Readiness::Ready => {}
            Readiness::NotReady => {
                retire(inner, new);
                return self.postpone(Instant::now());
            }
            Readiness::Ended(cause) => {
                retire(inner, new);
                if let Some(watch) = &mut self.watch {
                    watch.replacement = None;
                    *lock(&inner.ended.state) = State::Holds;
                    watch.client_ended(inner, cause, Instant::now());
                }
                return;
            }
        }
        inner.client.hold_all();
        self.put_in_place(new, None);
    }

    fn postpone(&mut self, now: Instant) {
        if let Some(replacement) = self.watch.as_mut().and_then(|watch| watch.replacement.as_mut()) {
            replacement.not_before = now + AGAIN;
        }
    }

    /// The client was replaced, whatever the reason.
    pub(super) fn forget_ended(&mut self) {
        self.inner.ended.replaced();
        self.inner.connect_state.change(|facts| {
            (facts.fatal, facts.denied, facts.producer_id) = (None, None, true);
        });
        if let Some(watch) = &mut self.watch {
            watch.replacement = None;
            watch.refusals = Default::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{ErrorKind, Recovery, codes};
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    fn refused(code: i32, cure: Cure) -> EndedClient {
        let cause = FatalCause { code, text: "b:1/1: it failed".to_owned() };
        let ended = EndedClient::default();
        *lock(&ended.state) = State::Refuses(Some(Refusal { cause, cure }));
        ended
    }

    #[test]
    fn errors_of_refused_records_agree_with_their_facts() {
        for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
            let denied = refused(codes::CLUSTER_AUTHORIZATION_FAILED, Cure::Ask);
            let error = denied.refusal("orders", persistence).unwrap();
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Authorization, Recovery::Reject));
            assert_eq!(error.persistence(), persistence);
            assert_consistent(&error);
            assert!(denied.take_asked(), "a new client may try");
            assert!(!denied.take_asked());

            let spent = refused(codes::OUT_OF_ORDER_SEQUENCE_NUMBER, Cure::Replace);
            let error = spent.refusal("orders", persistence).unwrap();
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fatal, Recovery::Fatal));
            assert_eq!(error.persistence(), persistence);
            assert_consistent(&error);
            assert!(!spent.take_asked());

            // The client itself says it.
            assert!(refused(codes::UNSUPPORTED_VERSION, Cure::Stay).refusal("orders", persistence).is_none());
        }
    }

    #[test]
    fn records_wait_only_for_a_client_that_is_replaced() {
        let ended = EndedClient::default();
        assert!(ended.holds() && ended.is_handled() && !ended.is_noticed_and_holds());
        ended.notice();
        assert!(ended.is_noticed_and_holds());
        ended.replaced();
        assert!(!ended.is_noticed());
        ended.never_replace();
        assert!(!ended.holds() && !ended.is_handled());
        assert!(ended.refusal("orders", Persistence::NotPersisted).is_none());
    }
}
