use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_tower_core::ticket::{Ticket, TicketOwner};
use kafka_tower_core::{Error, ErrorKind, Persistence, SinkMessage, TransactionEnd};

use super::Applied;
use super::support::{WIDE, call, delivered, numbered, within};
use crate::{Broker as _, Fixture, LogRecord, Opened, OpenedPair};

/// Much less than a broker takes to abort a transaction that was left open: `transaction.timeout.ms` is 60 s.
const SOON: Duration = Duration::from_secs(20);

/// A close during a transaction aborts it, so that `read_committed` readers are not held back.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if there are no transactions.
///
/// # Panics
///
/// If they are.
pub async fn a_close_aborts_an_open_transaction<F: Fixture>(fixture: &F) -> Applied {
    let OpenedPair { transactional: mut open, mut plain } = fixture.open_transactional().await?;
    begin(fixture, &mut open).await;
    let report = within(fixture.patience(), "close", open.control.close(Duration::from_secs(30))).await.expect("close");
    assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)), "{report}");
    assert!(report.is_complete(), "{report}");
    let transactions = open.control.transactions().expect("transactions");
    let calls = [transactions.begin(SOON).await, transactions.commit(SOON).await];
    for error in calls.map(|call| call.expect_err("it is closed")) {
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted), "{error:#}");
    }
    let again = open.control.close(Duration::from_secs(1)).await.expect("close");
    assert!(again.transaction.is_none(), "one of two closes reports it: {again}");
    is_seen(fixture, &mut plain).await;
    Ok(())
}

/// Dropping the last handle aborts it too.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if there are no transactions.
///
/// # Panics
///
/// If it does not.
pub async fn dropping_the_last_handle_aborts_an_open_transaction<F: Fixture>(fixture: &F) -> Applied {
    let OpenedPair { transactional: mut open, mut plain } = fixture.open_transactional().await?;
    begin(fixture, &mut open).await;
    // Where blocking is allowed, because the last handle waits for its threads.
    tokio::task::spawn_blocking(move || drop(open)).await.expect("a drop");
    is_seen(fixture, &mut plain).await;
    Ok(())
}

/// A record whose transaction has ended is refused and not sent. The ticket of an accepted record is accounted for, even
/// if its future is dropped.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If it is not.
pub async fn tickets_are_checked_and_accounted_for<F: Fixture>(fixture: &F) -> Applied {
    let Opened { mut transport, control, topic, broker } = fixture.open(WIDE, 1).await;
    let owner = Arc::<Tickets>::default();
    let record = |number, transaction| {
        let mut message = SinkMessage::new(());
        let owner = Arc::clone(&owner) as Arc<dyn TicketOwner>;
        message.envelope_mut().set_ticket(Ticket::new(owner, transaction));
        let value = Some(bytes::Bytes::from(usize::to_string(&number)));
        message.into_parts().1.into_record(&topic, value)
    };
    let refused = call(&mut transport, record(0, ENDED)).await;
    let refused = within(fixture.patience(), "a refusal", refused).await.expect_err("its transaction has ended");
    assert_eq!((refused.kind(), refused.persistence()), (ErrorKind::Transaction, Persistence::NotPersisted));
    drop(call(&mut transport, record(1, ENDED + 1)).await);
    let ended = owner.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(
        ended,
        [(ENDED, true), (ENDED + 1, false)],
        "the refused record is missing, and the accepted one is not"
    );
    within(fixture.patience(), "flush", control.flush()).await.expect("flush");
    assert_eq!(broker.read().await.iter().map(LogRecord::number).collect::<Vec<_>>(), [1]);
    drop(control.close(fixture.patience()).await);
    Ok(())
}

/// A transaction that has ended.
const ENDED: u64 = 1;

/// Lists the tickets that ended, and whether their send is missing.
#[derive(Default)]
struct Tickets(Mutex<Vec<(u64, bool)>>);

impl TicketOwner for Tickets {
    fn refusal(&self, transaction: u64) -> Option<Error> {
        let error = || Error::new(ErrorKind::Transaction, "planted").with_persistence(Persistence::NotPersisted);
        (transaction == ENDED).then(error)
    }

    fn end(&self, transaction: u64, missing: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((transaction, missing));
    }
}

async fn begin<F: Fixture>(fixture: &F, open: &mut Opened<F::Transport, F::Broker>) {
    open.control.transactions().expect("transactions").begin(SOON).await.expect("begin");
    let future = call(&mut open.transport, numbered(&open.topic, 0)).await;
    delivered(within(fixture.patience(), "a record of the transaction", future).await);
}

/// A record after the transaction is visible soon, and no record of the transaction is.
async fn is_seen<F: Fixture>(fixture: &F, plain: &mut Opened<F::Transport, F::Broker>) {
    let future = call(&mut plain.transport, numbered(&plain.topic, 1)).await;
    delivered(within(fixture.patience(), "a record after the transaction", future).await);
    within(SOON, "a reader of committed records", async {
        loop {
            let seen: Vec<_> = plain.broker.read_committed().await.iter().map(LogRecord::number).collect();
            if !seen.is_empty() {
                assert_eq!(seen, [1]);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
