//! How a test writes the broker's script.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, Persistence};

use crate::client::Broker;
use crate::script::{Answer, Case, CaseId};
use crate::waits::WaitId;

/// Rule of the broker's script: first select the records, then the action. See
/// [`MemoryKafka::script`](crate::MemoryKafka::script).
///
/// A rule matches all records until it is narrowed, and takes one record unless [`times`](Self::times) or
/// [`always`](Self::always) says more. A record counts when it is handed over to an existing partition: sends that
/// are parked, refused or for unknown topics do not count, retries do. Of the rules that are due, the oldest takes
/// the record. Each rule's [`after`](Self::after) counts all records that match it, including those that another rule
/// takes.
#[derive(Debug)]
#[must_use = "a rule does nothing until it says what is to happen"]
pub struct Rule {
    broker: Arc<Broker>,
    case: Case,
}

impl Rule {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker, case: Case::default() }
    }

    /// Matches only records of this topic.
    pub fn on_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.case.topic = Some(topic.into());
        self
    }

    /// Matches only records of this partition of this topic.
    pub fn on_partition(mut self, topic: impl Into<Arc<str>>, partition: i32) -> Self {
        self.case.partition = Some(partition);
        self.on_topic(topic)
    }

    /// Skips this many matching records first: `after(2)` starts with the third.
    pub fn after(mut self, records: u64) -> Self {
        self.case.after = records;
        self
    }

    /// Takes this many records. Default: 1.
    pub fn times(mut self, records: u64) -> Self {
        self.case.times = records;
        self
    }

    /// Takes all records until it is [cancelled](Scripted::cancel).
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// Sets the minimum time between the record's arrival in the log and its answer, by tokio's clock.
    pub fn late_by(mut self, delay: Duration) -> Self {
        self.case.action.late = delay;
        self
    }

    /// Writes at once and answers truthfully after a delay: [`late_by`](Self::late_by) without a fault.
    ///
    /// Answers of a partition arrive in order: those behind a delayed one wait for it.
    pub fn delay(self, delay: Duration) -> Scripted {
        self.late_by(delay).add()
    }

    /// Writes and answers after a delay; later records of the partition wait and keep their order.
    pub fn delay_append(mut self, delay: Duration) -> Scripted {
        self.case.action.append_late = delay;
        self.add()
    }

    /// Does not write, and answers with `error`.
    ///
    /// # Panics
    ///
    /// If the error says `Persisted`, because that would be false.
    pub fn fail(mut self, error: Error) -> Scripted {
        assert_ne!(
            error.persistence(),
            Persistence::Persisted,
            "a failure cannot be Persisted, because the record is not in the log: {error:?}"
        );
        self.case.action.write = false;
        self.case.action.answer = Answer::Error(error);
        self.add()
    }

    /// Writes, and loses the answer: the caller gets a time-out, possibly persisted.
    pub fn lose_answer(mut self) -> Scripted {
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    /// Writes, and answers with `error` nevertheless.
    ///
    /// # Panics
    ///
    /// If the error says `NotPersisted`, because that would be false.
    pub fn lose_answer_with(mut self, error: Error) -> Scripted {
        assert_ne!(
            error.persistence(),
            Persistence::NotPersisted,
            "the error cannot be NotPersisted, because the record is in the log: {error:?}"
        );
        self.case.action.answer = Answer::Error(error);
        self.add()
    }

    /// Does not write; the caller gets the same error as after [`lose_answer`](Self::lose_answer).
    pub fn lose_request(mut self) -> Scripted {
        self.case.action.write = false;
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    /// Writes at once, and answers when the [`Hold`] is released. Later answers of the partition wait for it.
    pub fn hold(self) -> Hold {
        self.add_hold(false)
    }

    /// Neither writes nor answers before the [`Hold`] is released. Later records of the partition wait for it and
    /// keep their order.
    pub fn hold_append(self) -> Hold {
        self.add_hold(true)
    }

    fn add(self) -> Scripted {
        let case = self.broker.add_case(self.case);
        Scripted { broker: self.broker, case }
    }

    fn add_hold(self, append: bool) -> Hold {
        let (case, wait) = self.broker.add_hold(self.case, append);
        Hold { rule: Scripted { broker: self.broker, case }, wait }
    }
}

/// A rule in the script. Dropping it changes nothing.
#[derive(Clone)]
pub struct Scripted {
    broker: Arc<Broker>,
    case: CaseId,
}

impl Scripted {
    /// Number of records that the rule has taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.broker.with_script(|script| script.used(self.case))
    }

    /// Stops taking records. Records already taken continue.
    pub fn cancel(&self) {
        drop(self.broker.with_script(|script| script.cancel(self.case)));
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("used", &self.used()).finish_non_exhaustive()
    }
}

/// Holds records until it is released or dropped.
#[must_use = "dropping it releases what it holds"]
pub struct Hold {
    rule: Scripted,
    wait: WaitId,
}

impl Hold {
    /// Number of records that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rule.broker.held_by(self.wait)
    }

    /// Releases the held records, and takes no more.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.rule.broker.release(self.rule.case, self.wait);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("held", &self.held()).finish_non_exhaustive()
    }
}
