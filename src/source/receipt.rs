use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kafka_tower_core::TopicPartition;
use kafka_tower_core::source::{CommitStrategy, DeliveryId, Engine};

use super::log::Event;
use super::shared::now;
use super::telemetry::Hooks;
use super::{Shared, SourceError};

/// Settles a message, apart from its value: see [`SourceMessage::into_parts`](super::SourceMessage::into_parts).
///
/// If it is dropped without a call, the message was not handled: it is delivered again.
#[must_use = "a message that is not acknowledged is delivered again"]
pub struct Receipt {
    origin: Arc<Origin>,
    offset: i64,
    id: DeliveryId,
    /// Number of attempts that have failed if it is dropped. None: another receipt of the message decides.
    failed: Option<u32>,
    effect: Effect,
}

/// Where messages come from. Those of a batch share it.
pub(super) struct Origin {
    pub(super) shared: Arc<Shared>,
    pub(super) at: TopicPartition,
}

/// The first effect of a receipt. Set under the lock of the source's state, so that concurrent calls return the same.
#[derive(Default)]
pub(super) struct Effect(AtomicU8);

const EFFECTS: [Acked; 3] = [Acked::Counted, Acked::Stale, Acked::InTransaction];

impl Effect {
    /// `None`: nothing was done yet.
    pub(super) fn get(&self) -> Option<Acked> {
        EFFECTS.get(usize::from(self.0.load(Ordering::Relaxed)).wrapping_sub(1)).copied()
    }

    pub(super) fn set(&self, effect: Acked) {
        self.0.store(effect as u8 + 1, Ordering::Relaxed);
    }
}

/// Effect of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// The message is settled.
    Counted,
    /// Nothing has changed, and the message is read again: its partition was given to another member, the message was given
    /// back before, or one before it in its partition was.
    Stale,
    /// Nothing has changed: the [transaction](super::KafkaSource::transactional) of the message settles it.
    InTransaction,
}

/// What a receipt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    Ack,
    Skip,
    DeadLetter,
    /// To be delivered again, after this number of failed attempts.
    GiveBack(u32),
}

impl Receipt {
    pub(super) fn new(origin: Arc<Origin>, offset: i64, id: DeliveryId) -> Self {
        Self { origin, offset, id, failed: Some(1), effect: Effect::default() }
    }

    /// The message is not handled yet: if it is dropped, this is no attempt.
    pub(super) fn wait(&mut self) {
        self.failed = Some(0);
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self) {
        self.failed = self.failed.map(|failed| failed + 1);
    }

    /// Another receipt of the message, which does nothing when it is dropped.
    pub(super) fn lend(&self) -> Self {
        let mut lent = Self::new(Arc::clone(&self.origin), self.offset, self.id);
        lent.failed = None;
        lent
    }

    pub(super) fn may_begin(&self, engine: &Engine) -> bool {
        engine.may_begin(&self.origin.at, self.id)
    }

    pub(super) fn is_stale(&self, engine: &Engine) -> bool {
        engine.is_stale(&self.origin.at, self.id)
    }

    /// The partition of the message.
    pub fn at(&self) -> &TopicPartition {
        &self.origin.at
    }

    /// The offset of the message.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The message was handled. A repeated call returns the same again.
    pub fn ack(&self) -> Acked {
        self.settle(Settle::Ack)
    }

    /// The message was handled: waits until it is committed.
    ///
    /// # Errors
    ///
    /// As [`SourceMessage::commit`](super::SourceMessage::commit).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the commit.
    pub fn commit(&self) -> impl Future<Output = Result<(), SourceError>> + Send + use<> {
        let begun = match self.ack() {
            Acked::Counted => self.origin.shared.may_commit().map(|()| {
                self.origin.shared.begin_commit(|engine| engine.commit_record(&self.origin.at, self.offset, now()))
            }),
            Acked::Stale => Err(SourceError::stale(&self.origin.at)),
            Acked::InTransaction => Err(SourceError::in_transactions()),
        };
        async move { begun?.ended().await }
    }

    /// The message was not handled: it is delivered again after a back-off, with what follows it in its partition. `reason`
    /// is logged. After an `ack` it has no effect. With [`CommitStrategy::AtMostOnce`] it is not delivered again.
    pub fn nack(&self, reason: impl fmt::Display) {
        if self.effect.get().is_none() {
            let again = self.origin.shared.strategy() != CommitStrategy::AtMostOnce;
            self.log(if again { Event::GivenBack } else { Event::GivenUp }, self.failed, Some(&reason));
        }
        self.settle(Settle::GiveBack(self.failed.unwrap_or(1)));
    }

    /// Leaves the message to a transaction: nothing that is done with the receipt has an effect any more.
    pub(super) fn detach(&self) -> DeliveryId {
        let _state = self.origin.shared.state();
        self.effect.set(Acked::InTransaction);
        self.id
    }

    pub(super) fn skip(&self) -> Acked {
        self.settle(Settle::Skip)
    }

    pub(super) fn dead_lettered(&self) -> Acked {
        self.settle(Settle::DeadLetter)
    }

    /// The message cannot be handled: its partition waits until it is settled or given back. False if it is stale.
    pub(super) fn reject(&self) -> bool {
        self.origin.shared.reject(&self.origin.at, self.id)
    }

    /// Logs what happened to the message.
    pub(super) fn log(&self, event: Event, attempt: Option<u32>, reason: Option<&dyn fmt::Display>) {
        self.origin.shared.log.write(event, (&self.origin.at, self.offset), attempt, reason, now());
    }

    pub(super) fn hooks(&self) -> &Hooks {
        &self.origin.shared.hooks
    }

    pub(super) fn group(&self) -> &Arc<str> {
        self.origin.shared.group()
    }

    fn settle(&self, how: Settle) -> Acked {
        self.effect.get().unwrap_or_else(|| self.origin.shared.settle(&self.origin.at, self.id, how, &self.effect))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let (None, Some(failed)) = (self.effect.get(), self.failed) {
            self.settle(Settle::GiveBack(failed));
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.effect.get() {
            None => "open",
            Some(Acked::Counted) => "settled",
            Some(Acked::Stale) => "given back or stale",
            Some(Acked::InTransaction) => "in a transaction",
        };
        f.debug_struct("Receipt")
            .field("at", &self.origin.at)
            .field("offset", &self.offset)
            .field("state", &state)
            .finish()
    }
}
