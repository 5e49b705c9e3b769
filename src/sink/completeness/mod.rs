//! Completeness guard: refuses to commit if a send failed above the transport and its error was never observed.
//!
//! A transport answers for the records that it has accepted: if one fails there, it refuses the commit. It does not see
//! a send that fails above it (an error of the serializer, a layer that rejects, a future that was dropped while its
//! serializer waited). If the caller did not take that error either, the transaction would be committed without the
//! send, and nothing would report it.
//!
//! So a sink whose transport has transactions gives each message a [ticket](kafka_tower_core::ticket), which travels with
//! it through queues and tasks of any layer, and tracks the send until the transport has accepted its record or the
//! caller has the answer:
//!
//! | a send of the transaction | its commit |
//! |---|---|
//! | the transport accepted its record | is decided by the transport, whatever happens to the future |
//! | failed above the transport, and the caller has the error | goes on: the caller may have sent it elsewhere |
//! | was dropped before either | is refused: abort |
//! | neither yet: it waits for room or for its serializer | waits for it, at most `send_timeout_ms` |
//! | its future was never polled | goes on: the send is lazy and never began |
//!
//! A batch counts as a send until it has taken its last message. Each of its messages counts as one too, and its caller
//! has the answers when the batch returns them. So do the messages of a stream. A stream itself has no end to wait for:
//! its message that waits for room belongs to the transaction in which it finds room or is dropped.
//!
//! A send that began in one transaction never joins another: after an abort its caller gets an error. The
//! metrics count that; the send's span, which is below this guard, is abandoned.
//!
//! The guard decorates the transport's [`TransactionControl`](kafka_tower_core::TransactionControl), so that
//! [`KafkaSink::control`](crate::KafkaSink::control) gives no way around it. Sinks without transactions have no guard.

mod control;
mod errors;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kafka_tower_core::sync::lock;
use kafka_tower_core::ticket::{Ticket, TicketOwner};
use kafka_tower_core::{Control, Error, Persistence, Recovery, Result};
use tokio::sync::Notify;

use self::errors::{denied, late, late_on_its_way, left_out, not_sent, still_waiting};
use self::state::{Commit, Denied, State};
use super::deadline;

pub(super) use self::control::SinkTransactions;
pub(super) use self::errors::ended_meanwhile;
pub(super) use self::state::{Caller, Owner, Released};

/// Tracks the sends of a sink's transactions. A clone shares the state.
#[derive(Clone, Debug)]
pub(super) struct Completeness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Notified when a send that a commit waits for was accepted, answered or dropped.
    gone: Notify,
}

impl Completeness {
    /// Returns a guard if the transport has transactions.
    pub(super) fn of(control: &dyn Control) -> Option<Self> {
        control.transactions().map(|_| Self(Arc::default()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }

    /// Returns the ticket of a send that begins now, in the current transaction.
    ///
    /// # Errors
    ///
    /// If the caller may not send in it.
    #[inline(never)] // kept out of line: most sinks have no transactions
    pub(super) fn ticket(&self, caller: Caller) -> Result<Ticket> {
        let transaction = self.state().join(caller).map_err(not_sent)?;
        Ok(Ticket::new(Arc::clone(&self.0) as Arc<dyn TicketOwner>, transaction))
    }

    /// Records that a message of the current transaction was dropped.
    pub(super) fn leave_out(&self, caller: Caller) {
        drop(self.ticket(caller));
    }

    /// Number of the present transaction.
    pub(super) fn present(&self) -> u64 {
        self.state().present()
    }

    /// Whether the caller may end the open transaction.
    ///
    /// # Errors
    ///
    /// Names the owner.
    pub(super) fn allows(&self, caller: Caller, call: &'static str) -> Result<()> {
        self.state().allows(caller).map_err(|why| denied(why, call))
    }

    /// Called before the transport is asked to begin. Returns whether a transaction seems to be open.
    ///
    /// # Errors
    ///
    /// If a guard has one open.
    pub(super) fn beginning(&self, owner: Owner) -> Result<bool> {
        let was_open = {
            let mut state = self.state();
            state.allows(None).map_err(|why| denied(why, "begin"))?;
            state.beginning(owner)
        };
        self.0.gone.notify_waiters();
        Ok(was_open)
    }

    /// Called with the transport's answer to begin; `was_open` is the result of [`beginning`](Self::beginning).
    pub(super) fn begun(&self, owner: Owner, was_open: bool, result: &Result<()>) {
        self.state().begun(owner, was_open, result.is_ok());
        self.0.gone.notify_waiters();
    }

    /// Called when the guard of a transaction is gone.
    pub(super) fn release(&self, guard: u64) -> Released {
        let released = self.state().release(guard);
        self.0.gone.notify_waiters();
        released
    }

    /// Whether this transaction of a guard is open and its commit was not requested.
    pub(super) fn is_open(&self, guard: u64) -> bool {
        self.state().is_open(guard)
    }

    /// The transaction whose guard was dropped and which is not aborted yet.
    pub(super) fn dropped(&self) -> Option<u64> {
        self.state().dropped()
    }

    /// Called when the transport was closed.
    pub(super) fn closed(&self) {
        self.state().closed();
        self.0.gone.notify_waiters();
    }

    /// Waits until the transport may be asked to commit. Returns the number of the transaction, or None if another call
    /// ended it meanwhile.
    ///
    /// # Errors
    ///
    /// `Transaction` if a send is missing, `Timeout` if one is still neither accepted nor answered.
    pub(super) async fn committing(&self, within: Duration) -> Result<Option<u64>> {
        let (transaction, waiting) = {
            let mut state = self.state();
            let transaction = state.present();
            match state.commit() {
                Commit::Go => return Ok(Some(transaction)),
                Commit::LeftOut(sends) => return Err(left_out(sends)),
                Commit::Wait(sends) => (transaction, sends),
            }
        };
        let settled = deadline::within(within, self.settled(transaction)).await;
        settled.unwrap_or_else(|| Err(still_waiting(waiting, within)))
    }

    async fn settled(&self, transaction: u64) -> Result<Option<u64>> {
        loop {
            // Registered before the check, so that no notification is lost.
            let gone = self.0.gone.notified();
            // A separate statement, so that the lock is not held across the await.
            let commit = self.state().commit_of(transaction);
            match commit {
                None => return Ok(None),
                Some(Commit::Go) => return Ok(Some(transaction)),
                Some(Commit::LeftOut(sends)) => return Err(left_out(sends)),
                Some(Commit::Wait(_)) => gone.await,
            }
        }
    }

    /// Called with the transport's answer to the commit of this transaction.
    pub(super) fn committed(&self, transaction: u64, result: &Result<()>) {
        // In all other cases the transport continues the commit or may have carried it out, and decides how it ends.
        let surely_not = result.as_ref().is_err_and(|error| {
            error.recovery() != Recovery::Retry && error.persistence() == Persistence::NotPersisted
        });
        self.state().committed(transaction, result.is_ok(), surely_not);
    }

    /// Called when this transaction was aborted, or has ended otherwise.
    pub(super) fn ended(&self, transaction: u64) {
        self.state().aborted(transaction);
        self.0.gone.notify_waiters();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl TicketOwner for Inner {
    fn refusal(&self, transaction: u64) -> Option<Error> {
        // A separate statement: an error is made without holding the lock.
        let (is_present, dropped) = {
            let state = self.state();
            (state.is_present(transaction), state.dropped())
        };
        match (is_present, dropped) {
            (false, _) => Some(late()),
            (true, Some(_)) => Some(not_sent(Denied::Ended)),
            (true, None) => None,
        }
    }

    fn end(&self, transaction: u64, missing: bool) {
        // A separate statement: tasks are woken without holding the lock.
        let heard = self.state().leave(transaction, missing);
        if heard {
            self.gone.notify_waiters();
        }
    }
}

/// The caller has the answer of this send.
#[inline]
pub(super) fn answered(ticket: Option<Ticket>) {
    if let Some(ticket) = ticket {
        ticket.account();
    }
}

/// The error of a send that was called and not accepted, if its transaction has ended since.
#[inline(never)]
pub(super) fn late_on_the_way(ticket: &Ticket) -> Option<Error> {
    let is_late = !ticket.is_accounted() && ticket.refusal().is_some();
    is_late.then(late_on_its_way)
}
