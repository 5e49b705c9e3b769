//! Ticket of a send in a transaction: it travels with the message and its record, through queues and tasks of any layer.
//!
//! A sink with transactions attaches a [`Ticket`] to each message ([`Envelope::set_ticket`](crate::Envelope::set_ticket)).
//! A transport takes it out of the record ([`Record::take_ticket`](crate::Record::take_ticket)), refuses the record if the
//! ticket's transaction has ended, and calls [`account`](Ticket::account) once it has accepted the record. A ticket that is
//! dropped before that, together with all its clones, means that the send is missing from its transaction; the sink then
//! refuses the commit.
//!
//! The ticket is stored with the [`Headers`](crate::Headers): a record without transactions stays at 128 bytes (each layer
//! moves it, and 8 bytes more cost 5 % of the instructions of a send), and a layer that creates a new record with the old
//! headers keeps the ticket. If a layer drops it, the send is accounted for when its caller has the answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// Receives what happens to the tickets of a sink.
#[doc(hidden)] // only a sink uses it
pub trait TicketOwner: Send + Sync {
    /// The error of a record whose transaction has ended; `None` while the transaction is open.
    fn refusal(&self, transaction: u64) -> Option<Error>;

    /// The send is `missing` from the transaction, or is accounted for: the transport has accepted its record, or its
    /// caller has the answer. Called once for each ticket.
    fn end(&self, transaction: u64, missing: bool);
}

/// Membership of a send in a transaction. Clones share the state.
#[derive(Clone)]
pub struct Ticket(Arc<Inner>);

struct Inner {
    owner: Arc<dyn TicketOwner>,
    transaction: u64,
    accounted: AtomicBool,
}

impl Ticket {
    /// Creates the ticket of a send in this transaction.
    #[must_use]
    #[doc(hidden)] // only a sink calls it
    pub fn new(owner: Arc<dyn TicketOwner>, transaction: u64) -> Self {
        Self(Arc::new(Inner { owner, transaction, accounted: AtomicBool::new(false) }))
    }

    /// Returns the error with which a transport must refuse the record: its transaction has ended.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        self.0.owner.refusal(self.0.transaction)
    }

    /// Accounts for the send: the transport has accepted its record, or its caller has the answer. Only the first call
    /// has an effect.
    pub fn account(&self) {
        if !self.0.accounted.swap(true, Ordering::AcqRel) {
            self.0.owner.end(self.0.transaction, false);
        }
    }

    /// Whether the send is accounted for.
    #[must_use]
    #[doc(hidden)] // only a sink calls it
    pub fn is_accounted(&self) -> bool {
        self.0.accounted.load(Ordering::Acquire)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.accounted.get_mut() {
            self.owner.end(self.transaction, true);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("transaction", &self.0.transaction)
            .field("accounted", &self.is_accounted())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Record, SinkMessage};

    /// Lists whether each ended ticket is missing.
    #[derive(Default)]
    struct Owner(Mutex<Vec<(u64, bool)>>);

    impl TicketOwner for Owner {
        fn refusal(&self, _: u64) -> Option<Error> {
            None
        }

        fn end(&self, transaction: u64, missing: bool) {
            self.0.lock().unwrap().push((transaction, missing));
        }
    }

    fn message(owner: &Arc<Owner>) -> SinkMessage<()> {
        let mut message = SinkMessage::new(());
        message.envelope_mut().set_ticket(Ticket::new(Arc::clone(owner) as Arc<dyn TicketOwner>, 7));
        message
    }

    fn record(owner: &Arc<Owner>) -> Record {
        message(owner).into_parts().1.into_record(&"orders".into(), None)
    }

    #[test]
    fn an_accepted_record_ends_its_ticket_once() {
        let owner = Arc::<Owner>::default();
        let mut record = record(&owner);
        let kept = record.clone();
        let ticket = record.take_ticket().unwrap();
        assert!(record.take_ticket().is_none() && !ticket.is_accounted());
        ticket.account();
        ticket.account();
        drop((kept, record, ticket));
        assert_eq!(*owner.0.lock().unwrap(), [(7, false)]);
    }

    #[test]
    fn a_send_is_missing_when_the_last_clone_is_dropped() {
        let owner = Arc::<Owner>::default();
        let record = record(&owner);
        let clone = record.clone();
        drop(record);
        assert!(owner.0.lock().unwrap().is_empty());
        drop(clone);
        assert_eq!(*owner.0.lock().unwrap(), [(7, true)]);
    }

    #[test]
    fn a_ticket_stays_with_headers_that_change() {
        let owner = Arc::<Owner>::default();
        let mut message = message(&owner);
        let copy = message.envelope().headers.clone();
        message = message.with_header("a", "1").with_header("b", "2");
        assert!(message.envelope_mut().headers.remove("a") && !message.envelope_mut().headers.remove("c"));
        assert!(message.envelope_mut().headers.remove("b"));
        assert!(message.envelope().headers.is_empty());
        let mut record = message.with_header("c", "3").into_parts().1.into_record(&"orders".into(), None);
        record.take_ticket().unwrap().account();
        assert_eq!((record.headers.len(), copy.len()), (1, 0));
        assert!(record.take_ticket().is_none() && record.headers.contains("c"));
        drop(copy);
        assert_eq!(*owner.0.lock().unwrap(), [(7, false)]);
    }

    #[test]
    fn a_ticket_changes_neither_equality_nor_debug() {
        let owner = Arc::<Owner>::default();
        assert!(message(&owner) == SinkMessage::new(()));
        assert!(record(&owner) == Record::new("orders"));
        assert_eq!(format!("{:?}", record(&owner)), format!("{:?}", Record::new("orders")));
    }
}
