//! Whether a transaction is whole: no send of it was left out in silence.
//!
//! A transport answers for what it has taken: a record that fails there makes the commit a no. It never hears of a send that fails
//! above it (a serializer's error, a layer that refuses, a future that was dropped while its serializer waited), and if its caller took no
//! answer, nobody else did: the transaction would be committed without it, and all would seem well.
//!
//! So a sink whose transport has transactions watches each send until the transport has its record or the caller has the answer:
//!
//! | a send of the transaction | its commit |
//! |---|---|
//! | the transport took its record | is the transport's to judge, whatever becomes of the future |
//! | failed above, and the caller has the answer | goes on: to send it elsewhere may be the answer to that |
//! | was dropped before either | is refused: abort |
//! | neither yet: it waits for room, or for its serializer | waits for it, at most `send_timeout_ms` |
//! | its future was never polled | goes on: it is lazy, and was never sent |
//!
//! A batch is a send until it has taken its last message, and each of its messages is one, whose caller has the answer when the batch's
//! has it. So are those of a stream. That one has no end that could be waited for: its message that waits for room belongs to the
//! transaction in which it finds some, or in which it is dropped.
//!
//! What began in one transaction joins no other: after an abort its caller is told. Metrics and spans, which are below, count it as abandoned.
//!
//! Other sinks have none of this.

mod edge;
mod future;
mod parts;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_tower_core::text::seconds;
use kafka_tower_core::{Control, Error, ErrorKind, Persistence, Recovery, Result};
use tokio::sync::Notify;

use self::state::{Commit, State};
use super::deadline;
use super::edge::BoxFuture;

pub(super) use self::edge::Watched;
pub(super) use self::parts::Parts;

/// The sends of a sink's transactions. A clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Whole(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A send that was waited for has gone its way.
    gone: Notify,
}

impl Whole {
    /// For a transport that has transactions.
    pub(super) fn of(control: &dyn Control) -> Option<Self> {
        control.transactions().map(|_| Self(Arc::default()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A send of the present transaction begins.
    pub(super) fn part(&self) -> Part {
        Part { transaction: self.state().join(), whole: Some(self.clone()) }
    }

    /// A message of the present transaction was dropped.
    pub(super) fn leave_out(&self) {
        drop(self.part());
    }

    /// Before the transport is asked to begin.
    pub(super) fn beginning(&self) -> bool {
        let was_open = self.state().beginning();
        self.0.gone.notify_waiters();
        was_open
    }

    /// The transport has answered; `was_open` is what [`beginning`](Self::beginning) said.
    pub(super) fn begun(&self, was_open: bool, result: &Result<()>) {
        self.state().begun(was_open, result.is_ok());
        self.0.gone.notify_waiters();
    }

    /// Waits until the transport may be asked to commit. Answers which transaction it is; none if another call has ended it meanwhile.
    ///
    /// # Errors
    ///
    /// `Transaction` if a send was left out, `Timeout` if one is still neither sent nor answered.
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
            // Before the look: who goes after it is heard.
            let gone = self.0.gone.notified();
            // A statement of its own: no lock is held while it waits.
            let commit = self.state().commit_of(transaction);
            match commit {
                None => return Ok(None),
                Some(Commit::Go) => return Ok(Some(transaction)),
                Some(Commit::LeftOut(sends)) => return Err(left_out(sends)),
                Some(Commit::Wait(_)) => gone.await,
            }
        }
    }

    /// The transport has answered the commit of this transaction.
    pub(super) fn committed(&self, transaction: u64, result: &Result<()>) {
        // Else the transport goes on with it, or it may have been carried out: it stays the one to say.
        let surely_not = result.as_ref().is_err_and(|error| {
            error.recovery() != Recovery::Retry && error.persistence() == Persistence::NotPersisted
        });
        self.state().committed(transaction, result.is_ok(), surely_not);
    }

    /// Before the transport is asked to abort. Answers which transaction it is.
    pub(super) fn aborting(&self) -> u64 {
        self.state().present()
    }

    /// The transport has answered the abort of this transaction.
    pub(super) fn aborted(&self, transaction: u64, result: &Result<()>) {
        if result.is_ok() {
            self.state().aborted(transaction);
            self.0.gone.notify_waiters();
        }
    }
}

/// A send until the transport has its record or its caller the answer. Dropped before, it was left out.
#[derive(Debug)]
pub(super) struct Part {
    /// None when it is over.
    whole: Option<Whole>,
    transaction: u64,
}

impl Part {
    /// The transport has the record, or the caller the answer.
    #[inline(never)]
    pub(super) fn done(mut self) {
        if let Some(whole) = self.whole.take() {
            self.end(&whole, false);
        }
    }

    /// Why a send that was not called must not be, if another transaction has begun since.
    #[inline(never)] // most sinks have none
    pub(super) fn is_late(&self) -> Option<Error> {
        self.is_over().then(late)
    }

    /// Why one that was called must not go on.
    fn is_late_on_its_way(&self) -> Option<Error> {
        self.is_over().then(late_on_its_way)
    }

    fn is_over(&self) -> bool {
        self.whole.as_ref().is_some_and(|whole| !whole.state().is_present(self.transaction))
    }

    fn end(&self, whole: &Whole, left_out: bool) {
        // A statement of its own: tasks are woken without the lock.
        let heard = whole.state().leave(self.transaction, left_out);
        if heard {
            whole.0.gone.notify_waiters();
        }
    }
}

/// The answer of a send that did not get to the stack: left out if nobody takes it.
pub(super) fn untold(error: Error, part: Part) -> BoxFuture {
    // The part is dropped with it, unless somebody asks.
    Box::pin(async move {
        part.done();
        Err(error)
    })
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(whole) = self.whole.take() {
            self.end(&whole, true);
        }
    }
}

fn sends(count: usize) -> String {
    if count == 1 { "a send".to_owned() } else { format!("{count} sends") }
}

fn left_out(count: usize) -> Error {
    let text = format!(
        "not committed: {} of the transaction never got to the transport, and nobody took the answer",
        sends(count)
    );
    Error::new(ErrorKind::Transaction, text)
        .with_help("abort the transaction and send all of it again; do not drop a send before it has answered")
}

fn still_waiting(count: usize, within: Duration) -> Error {
    let text = format!(
        "not committed: after {} {} of the transaction had neither got to the transport nor been answered",
        seconds(within),
        sends(count)
    );
    Error::new(ErrorKind::Timeout, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("poll the sends and take their answers, then commit again; or abort")
}

/// Another call ended the transaction for which this one waited. The other call's answer says how.
pub(super) fn ended_meanwhile() -> Error {
    Error::new(ErrorKind::Transaction, "another call ended the transaction while this one waited: its answer says how")
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_help("let one task begin and end transactions")
}

fn late() -> Error {
    Error::new(ErrorKind::Transaction, "not sent: it began before the present transaction did")
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_help("send it again in the next transaction")
}

/// A layer may have given it to a task of its own, which sends it whenever it likes.
fn late_on_its_way() -> Error {
    Error::new(
        ErrorKind::Transaction,
        "given up: it began before the present transaction did, and was still in a layer",
    )
    .with_recovery(Recovery::Reject)
    .with_persistence(Persistence::PossiblyPersisted)
    .with_help("send it again in the next transaction; a layer of yours that hands records to a task of its own may still send this one")
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        for count in [1, 3] {
            assert_consistent(&left_out(count));
            assert_consistent(&still_waiting(count, Duration::from_secs(30)));
        }
        [ended_meanwhile(), late(), late_on_its_way()].iter().for_each(assert_consistent);
    }
}
