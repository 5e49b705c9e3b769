use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use kafka_tower_core::TopicPartition;
use kafka_tower_core::source::{CommitStrategy, DeliveryId, Engine};
use kafka_tower_core::sync::lock;

use super::log::Event;
use super::shared::now;
use super::telemetry::Hooks;
use super::{Shared, SourceError};

/// Settles a message, apart from its value: see [`SourceMessage::into_parts`](super::SourceMessage::into_parts).
///
/// If it is dropped without a call, the message was not handled: it is delivered again.
#[must_use = "a message that is not acknowledged is delivered again"]
pub struct Receipt {
    shared: Arc<Shared>,
    at: TopicPartition,
    offset: i64,
    id: DeliveryId,
    /// Number of attempts that have failed if it is dropped. None: another receipt of the message decides.
    failed: Option<u32>,
    /// The first effect. Locked while the message is settled, so that a concurrent call returns the same.
    settled: Mutex<Option<Acked>>,
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
    pub(super) fn new(shared: Arc<Shared>, at: TopicPartition, offset: i64, id: DeliveryId) -> Self {
        Self { shared, at, offset, id, failed: Some(1), settled: Mutex::new(None) }
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
        let mut lent = Self::new(Arc::clone(&self.shared), self.at.clone(), self.offset, self.id);
        lent.failed = None;
        lent
    }

    pub(super) fn may_begin(&self, engine: &Engine) -> bool {
        engine.may_begin(&self.at, self.id)
    }

    pub(super) fn is_stale(&self, engine: &Engine) -> bool {
        engine.is_stale(&self.at, self.id)
    }

    /// The partition of the message.
    pub fn at(&self) -> &TopicPartition {
        &self.at
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
            Acked::Counted => self
                .shared
                .may_commit()
                .map(|()| self.shared.begin_commit(|engine| engine.commit_record(&self.at, self.offset, now()))),
            Acked::Stale => Err(SourceError::stale(&self.at)),
            Acked::InTransaction => Err(SourceError::in_transactions()),
        };
        async move { begun?.ended().await }
    }

    /// The message was not handled: it is delivered again after a back-off, with what follows it in its partition. `reason`
    /// is logged. After an `ack` it has no effect. With [`CommitStrategy::AtMostOnce`] it is not delivered again.
    pub fn nack(&self, reason: impl fmt::Display) {
        if lock(&self.settled).is_none() {
            let again = self.shared.strategy() != CommitStrategy::AtMostOnce;
            self.log(if again { Event::GivenBack } else { Event::GivenUp }, self.failed, Some(&reason));
        }
        self.settle(Settle::GiveBack(self.failed.unwrap_or(1)));
    }

    /// Leaves the message to a transaction: nothing that is done with the receipt has an effect any more.
    pub(super) fn detach(&self) -> DeliveryId {
        *lock(&self.settled) = Some(Acked::InTransaction);
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
        self.shared.reject(&self.at, self.id)
    }

    /// Logs what happened to the message.
    pub(super) fn log(&self, event: Event, attempt: Option<u32>, reason: Option<&dyn fmt::Display>) {
        self.shared.log.write(event, (&self.at, self.offset), attempt, reason, now());
    }

    pub(super) fn hooks(&self) -> &Hooks {
        &self.shared.hooks
    }

    pub(super) fn group(&self) -> &Arc<str> {
        self.shared.group()
    }

    fn settle(&self, how: Settle) -> Acked {
        *lock(&self.settled).get_or_insert_with(|| self.shared.settle(&self.at, self.id, how))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let settled = self.settled.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(failed)) = (settled, self.failed) {
            self.settle(Settle::GiveBack(failed));
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match *lock(&self.settled) {
            None => "open",
            Some(Acked::Counted) => "settled",
            Some(Acked::Stale) => "given back or stale",
            Some(Acked::InTransaction) => "in a transaction",
        };
        f.debug_struct("Receipt").field("at", &self.at).field("offset", &self.offset).field("state", &state).finish()
    }
}
