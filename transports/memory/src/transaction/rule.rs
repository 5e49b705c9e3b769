//! How a test writes the coordinator's script.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, Persistence};

use super::script::{Answer, Case, CaseId, TransactionCall};
use crate::broker::Broker;

/// What happens to requests of transactions to come: first which ones, then what. See
/// [`MemoryKafka::script_transactions`](crate::MemoryKafka::script_transactions).
///
/// It counts as [`Rule`](crate::Rule) does. A client whose request gets no answer asks again after 100 ms, as long as
/// the call's time lasts, and that request counts anew.
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

    /// Only these requests.
    pub fn on(mut self, call: TransactionCall) -> Self {
        self.case.call = Some(call);
        self
    }

    /// Only requests of this transactional id.
    pub fn of_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.case.id = Some(id.into());
        self
    }

    /// Lets so many matching requests pass first.
    pub fn after(mut self, requests: u64) -> Self {
        self.case.after = requests;
        self
    }

    /// Takes so many requests in place of one.
    pub fn times(mut self, requests: u64) -> Self {
        self.case.times = requests;
        self
    }

    /// Takes all requests until it is [cancelled](ScriptedTransaction::cancel).
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// Answers truly after a delay, by tokio's clock.
    pub fn delay(mut self, delay: Duration) -> ScriptedTransaction {
        self.case.action.late = delay;
        self.add()
    }

    /// Carries the request out, and the answer gets lost.
    pub fn lose_answer(mut self) -> ScriptedTransaction {
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    /// The request gets lost.
    pub fn lose_request(mut self) -> ScriptedTransaction {
        self.case.action.apply = false;
        self.case.action.answer = Answer::Lost;
        self.add()
    }

    /// Does nothing and answers with the error, whose recovery says how the producer goes on.
    ///
    /// # Panics
    ///
    /// If the error says `Persisted`: that would be a lie.
    pub fn fail(mut self, error: Error) -> ScriptedTransaction {
        assert_ne!(error.persistence(), Persistence::Persisted, "a request that fails does nothing: {error:?}");
        self.case.action.apply = false;
        self.case.action.answer = Answer::Error(error);
        self.add()
    }

    /// Carries the request out, and answers with the error all the same.
    ///
    /// # Panics
    ///
    /// If the error says `NotPersisted`: that would be a lie.
    pub fn lose_answer_with(mut self, error: Error) -> ScriptedTransaction {
        assert_ne!(error.persistence(), Persistence::NotPersisted, "the request is carried out: {error:?}");
        self.case.action.answer = Answer::Error(error);
        self.add()
    }

    /// The transaction's time runs out just before: the broker aborts it and fences its producer. See
    /// [`MemoryKafka::abort_transaction`](crate::MemoryKafka::abort_transaction).
    pub fn expire(mut self) -> ScriptedTransaction {
        self.case.action.expire = true;
        self.add()
    }

    /// Keeps an `EndTxn` on its way until the hold is released, and cuts the connection: the client asks again. What is
    /// released late ends whatever transaction the producer has open by then (KAFKA-17754).
    ///
    /// Other requests than `Commit` and `Abort` are lost.
    pub fn hold(mut self) -> TransactionHold {
        self.case.action.apply = false;
        self.case.action.answer = Answer::Lost;
        let case = self.broker.add_transaction_case(self.case, true);
        TransactionHold { rule: ScriptedTransaction { broker: self.broker, case } }
    }

    /// As [`hold`](Self::hold), until so much later.
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
    /// How many requests it has taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.broker.with_transaction_script(|script| script.used(self.case))
    }

    /// Takes no more requests.
    pub fn cancel(&self) {
        self.broker.with_transaction_script(|script| script.cancel(self.case));
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
    /// How many requests it holds now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rule.broker.with_transaction_script(|script| script.held_by(self.rule.case))
    }

    /// Lets the requests reach the coordinator, and takes no more.
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
