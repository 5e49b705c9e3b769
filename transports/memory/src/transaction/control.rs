//! `TransactionControl`: sends requests to the coordinator, and repeats them until there is an answer.

use std::any::Any;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use kafka_tower_core::error::transport::commit_in_doubt;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::{ConsumerGroup, ControlFuture, Error, ErrorKind, InFlight, Persistence, Recovery, Result};
use kafka_tower_core::{TopicOffset, TransactionControl, TransactionEnd};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::client::{Ask, AtClose, TxnClient};
use super::coordinator::Identity;
use super::script::TransactionCall;
use crate::broker::{BrokerClient, Reply};
use crate::client::Client;
use crate::errors::transaction as errors;

/// Time between a request without an answer and the next one.
const BACKOFF: Duration = Duration::from_millis(100);

/// Transaction calls of a transactional client.
#[derive(Debug)]
pub(crate) struct MemoryTransactions {
    client: Arc<Client>,
    /// Keeps the transport alive, as a handle does. None while its last handle is dropped.
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

impl MemoryTransactions {
    pub(crate) fn new(client: Arc<Client>, owner: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { client, _owner: owner }
    }

    fn state(&self) -> MutexGuard<'_, TxnClient> {
        self.client.transaction().expect("made only for transactional clients")
    }

    fn id(&self) -> Arc<str> {
        Arc::clone(&self.state().id)
    }

    /// Repeats a request until there is an answer or the time is over. An error without an answer has recovery
    /// `Retry`.
    async fn ask<T>(
        &self,
        call: &'static str,
        deadline: Option<Instant>,
        request: impl Fn() -> Reply<T>,
    ) -> Answered<T> {
        let mut unanswered = false;
        loop {
            let Reply { answer, late } = request();
            if !late.is_zero() {
                let at = Instant::now().checked_add(late);
                if at.is_none() || deadline.is_some_and(|deadline| at > Some(deadline)) {
                    wait_until(deadline).await;
                    return Answered { unanswered: true, answer: Err(errors::unanswered(call, &self.id())) };
                }
                sleep(late).await;
            }
            if let Some(answer) = answer {
                return Answered { unanswered, answer };
            }
            unanswered = true;
            let again = Instant::now() + BACKOFF;
            if deadline.is_some_and(|deadline| again > deadline) {
                wait_until(deadline).await;
                return Answered { unanswered, answer: Err(errors::unanswered(call, &self.id())) };
            }
            sleep_until(again).await;
        }
    }

    /// Waits for the reports of all records.
    async fn reports(
        &self,
        call: &'static str,
        flush: impl Future<Output = ()>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        match deadline {
            // Nothing to wait for, so neither a timer nor a runtime is needed.
            _ if self.client.gate().in_flight() == InFlight::default() => {}
            None => flush.await,
            Some(deadline) => timeout_at(deadline, flush).await.map_err(|_| errors::unanswered(call, &self.id()))?,
        }
        Ok(())
    }

    async fn end(
        &self,
        commit: bool,
        begun: Result<()>,
        flush: impl Future<Output = ()>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        begun?;
        let (name, call) = if commit { ("commit", TransactionCall::Commit) } else { ("abort", TransactionCall::Abort) };
        self.reports(name, flush, deadline).await?;
        let asked_before = commit && self.state().was_asked();
        let ask = self.state().ask_end(commit)?;
        let answered = match ask {
            Ask::Nothing => Answered { unanswered: false, answer: Ok(()) },
            Ask::As(who) => {
                self.ask(name, deadline, || self.client.broker.end_transaction(&self.client, call, who)).await
            }
        };
        let Answered { unanswered, answer } = answered;
        let mut state = self.state();
        match answer {
            Ok(()) => {
                state.ended();
                Ok(())
            }
            Err(error) => {
                // An earlier request may have been carried out: the last answer alone does not decide.
                let in_doubt = unanswered || asked_before || error.may_be_written();
                let error = if commit && in_doubt { commit_in_doubt(error) } else { error };
                match error.recovery() {
                    Recovery::AbortTransaction => state.failed(&error),
                    Recovery::Fatal => state.finish(&error),
                    _ => {}
                }
                Err(error)
            }
        }
    }
}

/// Ends of transactions when the transport closes or its last handle is dropped.
impl MemoryTransactions {
    /// Starts the close: parked records are withdrawn if their transaction is to be aborted. Returns whether a
    /// transaction is open.
    pub(crate) fn closing(&self) -> bool {
        let at_close = self.state().at_close();
        if at_close == Some(AtClose::Abort) && self.state().begin_abort().is_ok() {
            self.client.withdraw_parked(errors::withdrawn);
        }
        at_close.is_some()
    }

    /// Ends the open transaction after all records have their reports. `None` if none is open, or another close has
    /// ended it.
    pub(crate) async fn end_at_close(&self, deadline: Option<Instant>) -> Option<TransactionEnd> {
        let end = match self.at_close()? {
            AtClose::Abort => match self.finish(false, deadline).await {
                Ok(()) => TransactionEnd::Aborted,
                // The coordinator ended it before it gave the id to another producer.
                Err(error) if error.kind() == ErrorKind::Fenced => TransactionEnd::Aborted,
                Err(error) => TransactionEnd::Unknown(error),
            },
            AtClose::Commit => match self.finish(true, deadline).await {
                Ok(()) => TransactionEnd::Committed,
                Err(error) if self.at_close() == Some(AtClose::Abort) => match self.finish(false, deadline).await {
                    Ok(()) if error.persistence() == Persistence::NotPersisted => TransactionEnd::Aborted,
                    _ => TransactionEnd::Unknown(error),
                },
                Err(error) => TransactionEnd::Unknown(error),
            },
        };
        self.state().closed(end.clone());
        Some(end)
    }

    /// Ends the open transaction without waiting: sends one request and ignores the answer. Records in flight arrive
    /// too late for it.
    pub(crate) fn end_at_drop(&self) {
        let in_flight = self.client.gate().in_flight() != InFlight::default();
        let (commit, call) = match self.at_close() {
            None => return,
            // A transaction that lacks records must not be committed, and no commit was requested yet.
            Some(AtClose::Commit) if self.state().was_asked() => (true, TransactionCall::Commit),
            Some(AtClose::Commit) if !in_flight => (true, TransactionCall::Commit),
            Some(AtClose::Commit) => {
                self.state().failed(&errors::call_after_close("commit"));
                (false, TransactionCall::Abort)
            }
            Some(AtClose::Abort) => (false, TransactionCall::Abort),
        };
        let begun = if commit { self.state().begin_commit() } else { self.state().begin_abort() };
        // A separate statement: the broker's lock must not be taken while this one is held.
        let ask = begun.and_then(|()| self.state().ask_end(commit));
        if let Ok(Ask::As(who)) = ask {
            let _nobody_waits = self.client.broker.end_transaction(&self.client, call, who);
        }
    }

    fn at_close(&self) -> Option<AtClose> {
        self.state().at_close()
    }

    async fn finish(&self, commit: bool, deadline: Option<Instant>) -> Result<()> {
        let begun = if commit { self.state().begin_commit() } else { self.state().begin_abort() };
        self.end(commit, begun, std::future::ready(()), deadline).await
    }
}

struct Answered<T> {
    /// A request before the last one got no answer.
    unanswered: bool,
    answer: Result<T>,
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl TransactionControl for MemoryTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        let deadline = Instant::now().checked_add(within);
        Box::pin(async move {
            self.state().may_init().map_err(Error::without_record)?;
            let answered = self.ask("init", deadline, || self.client.broker.init_transactions(&self.client)).await;
            match answered.answer {
                Ok(identity) => {
                    self.state().initialized(identity);
                    Ok(())
                }
                Err(error) => {
                    let error = error.without_record();
                    if error.recovery() == Recovery::Fatal {
                        self.state().finish(&error);
                    }
                    Err(error)
                }
            }
        })
    }

    /// Local: the coordinator is not asked, unless the producer has ended and is replaced by a new one.
    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        let deadline = Instant::now().checked_add(within);
        let is_closed = self.client.gate().is_closed();
        let replaces = !is_closed && self.state().is_replaceable();
        let begun = if is_closed { Err(errors::call_after_close("begin")) } else { self.state().begin() };
        Box::pin(async move {
            if !replaces {
                return begun.map_err(Error::without_record);
            }
            let answered = self.ask("begin", deadline, || self.client.broker.init_transactions(&self.client)).await;
            let identity = answered.answer.map_err(Error::without_record)?;
            let mut state = self.state();
            state.initialized(identity);
            state.begin().map_err(Error::without_record)
        })
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        let deadline = Instant::now().checked_add(within);
        // At the call, not at the first poll: records called after `commit` do not belong to it.
        let begun = self.state().begin_commit();
        let flush = self.client.flush_all();
        Box::pin(self.end(true, begun, flush, deadline))
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        let deadline = Instant::now().checked_add(within);
        let begun = self.state().begin_abort();
        if begun.is_ok() {
            self.client.withdraw_parked(errors::withdrawn);
        }
        let flush = self.client.flush_all();
        Box::pin(self.end(false, begun, flush, deadline))
    }

    fn producer_key(&self) -> Option<String> {
        Some(format!("memory {:p} {}", Arc::as_ptr(&self.client.broker), self.id()))
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        let deadline = Instant::now().checked_add(within);
        Box::pin(async move {
            let who: Identity = self.state().ask_offsets()?;
            let request = || self.client.broker.send_offsets(&self.client, who, &group, &offsets);
            let Answered { answer, .. } = self.ask("send_offsets", deadline, request).await;
            let mut state = self.state();
            // Also without an answer: the broker may have opened the transaction for the offsets.
            state.has_offsets();
            if let Err(error) = &answer {
                match (error.kind(), error.recovery()) {
                    (_, Recovery::AbortTransaction) => state.failed(error),
                    (ErrorKind::Fenced, _) | (_, Recovery::Fatal) => state.finish(error),
                    _ => {}
                }
            }
            answer
        })
    }
}
