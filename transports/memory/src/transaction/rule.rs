//! How a test writes the coordinator's script.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, Persistence};

use super::script::{Answer, Case, CaseId, TransactionCall};
use crate::client::Broker;

/// Rule of the coordinator's script: first select the requests, then the action. See
/// [`MemoryKafka::script_transactions`](crate::MemoryKafka::script_transactions).
///
/// It counts as [`Rule`](crate::Rule) does. A client whose request gets no answer repeats it after 100 ms, as long as
/// the call's time lasts, and the repeated request counts again.
#[derive(Debug)]
#[must_use = "a rule does nothing until it says what is to happen"]
pub struct TransactionRule {
    broker: Arc<Broker>,
    case: Case,
}

impl TransactionRule {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker, case: Case::default() }
    }

    /// Matches only these requests.
    pub fn on(mut self, call: TransactionCall) -> Self {
        self.case.call = Some(call);
        self
    }

    /// Matches only requests of this transactional id.
    pub fn of_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.case.id = Some(id.into());
        self
    }

    /// Skips this many matching requests first.
    pub fn after(mut self, requests: u64) -> Self {
        self.case.after = requests;
        self
    }

    /// Takes this many requests. Default: 1.
    pub fn times(mut self, requests: u64) -> Self {
        self.case.times = requests;
        self
    }

    /// Takes all requests until it is [cancelled](ScriptedTransaction::cancel).
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// Answers truthfully after a delay, by tokio's clock.
    pub fn delay(mut self, delay: Duration) -> ScriptedTransaction {
        self.case.action.late = delay;
        self.add()
    }

    /// Carries out the request, and loses the answer.
    pub fn lose_answer(mut self) -> ScriptedTransaction {
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    /// Loses the request.
    pub fn lose_request(mut self) -> ScriptedTransaction {
        self.case.action.apply = false;
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    /// Does nothing, and answers with `error`, whose recovery decides what the producer does next.
    ///
    /// # Panics
    ///
    /// If the error says `Persisted`, because that would be false.
    pub fn fail(mut self, error: Error) -> ScriptedTransaction {
        assert_ne!(
            error.persistence(),
            Persistence::Persisted,
            "a failure cannot be Persisted, because the request is not carried out: {error:?}"
        );
        self.case.action.apply = false;
        self.case.action.answer = Answer::Error(error);
        self.add()
    }

    /// Carries out the request, and answers with `error` nevertheless.
    ///
    /// # Panics
    ///
    /// If the error says `NotPersisted`, because that would be false.
    pub fn lose_answer_with(mut self, error: Error) -> ScriptedTransaction {
        assert_ne!(
            error.persistence(),
            Persistence::NotPersisted,
            "the error cannot be NotPersisted, because the request is carried out: {error:?}"
        );
        self.case.action.answer = Answer::Error(error);
        self.add()
    }

    /// Lets the transaction time out just before the request: the broker aborts it and fences its producer. See
    /// [`MemoryKafka::abort_transaction`](crate::MemoryKafka::abort_transaction).
    pub fn expire(mut self) -> ScriptedTransaction {
        self.case.action.expire = true;
        self.add()
    }

    /// Delays an `EndTxn` until the hold is released, and cuts the connection: the client repeats the request. A
    /// request that is released late ends whatever transaction the producer has open then (KAFKA-17754).
    ///
    /// Other requests than `Commit` and `Abort` are lost.
    pub fn hold(mut self) -> TransactionHold {
        self.case.action.apply = false;
        self.case.action.answer = Answer::Lost;
        let case = self.broker.add_transaction_case(self.case, true);
        TransactionHold { rule: ScriptedTransaction { broker: self.broker, case } }
    }

    /// As [`hold`](Self::hold), with release after `late`.
    pub fn stale(mut self, late: Duration) -> ScriptedTransaction {
        self.case.action.apply = false;
        self.case.action.stale = late;
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    fn add(self) -> ScriptedTransaction {
        let case = self.broker.add_transaction_case(self.case, false);
        ScriptedTransaction { broker: self.broker, case }
    }
}

/// A rule in the script. Dropping it changes nothing.
#[derive(Clone)]
pub struct ScriptedTransaction {
    broker: Arc<Broker>,
    case: CaseId,
}

impl ScriptedTransaction {
    /// Number of requests that the rule has taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.broker.with_transaction_script(|script| script.used(self.case))
    }

    /// Stops taking requests.
    pub fn cancel(&self) {
        drop(self.broker.with_transaction_script(|script| script.cancel(self.case)));
    }
}

impl fmt::Debug for ScriptedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTransaction").field("used", &self.used()).finish_non_exhaustive()
    }
}

/// Holds requests until it is released or dropped.
#[must_use = "dropping it releases what it holds"]
pub struct TransactionHold {
    rule: ScriptedTransaction,
}

impl TransactionHold {
    /// Number of requests that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rule.broker.with_transaction_script(|script| script.held_by(self.rule.case))
    }

    /// Delivers the held requests to the coordinator, and takes no more.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for TransactionHold {
    fn drop(&mut self) {
        self.rule.broker.release_ends(self.rule.case);
    }
}

impl fmt::Debug for TransactionHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionHold").field("held", &self.held()).finish_non_exhaustive()
    }
}
