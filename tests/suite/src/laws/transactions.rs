use std::time::Duration;

use kafka_tower_core::{ErrorKind, Persistence, TransactionEnd, Transport};

use super::{call, delivered, numbered, within};
use crate::{Open, Subject, Written};

/// Much less than a broker takes to abort a transaction that was left open: `transaction.timeout.ms` is 60 s.
const SOON: Duration = Duration::from_secs(20);

/// A close during a transaction aborts it, so that `read_committed` readers are not held back.
///
/// # Panics
///
/// If they are.
pub async fn a_close_aborts_an_open_transaction<S: Subject>(subject: &S) {
    let Some([mut open, mut plain]) = subject.open_transactional().await else { return };
    begin(&mut open).await;
    let report = within(subject.patience(), "close", open.control.close(Duration::from_secs(30))).await.expect("close");
    assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)), "{report}");
    assert!(report.is_complete(), "{report}");
    let transactions = open.control.transactions().expect("transactions");
    let calls = [transactions.begin().await, transactions.commit(SOON).await];
    for error in calls.map(|call| call.expect_err("it is closed")) {
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted), "{error:#}");
    }
    let again = open.control.close(Duration::from_secs(1)).await.expect("close");
    assert!(again.transaction.is_none(), "one of two closes reports it: {again}");
    is_seen(&mut plain).await;
}

/// Dropping the last handle aborts it too.
///
/// # Panics
///
/// If it does not.
pub async fn dropping_the_last_handle_aborts_an_open_transaction<S: Subject>(subject: &S) {
    let Some([mut open, mut plain]) = subject.open_transactional().await else { return };
    begin(&mut open).await;
    // Where blocking is allowed, because the last handle waits for its threads.
    tokio::task::spawn_blocking(move || drop(open)).await.expect("a drop");
    is_seen(&mut plain).await;
}

async fn begin<T: Transport>(open: &mut Open<T>) {
    open.control.transactions().expect("transactions").begin().await.expect("begin");
    delivered(call(&mut open.transport, numbered(&open.topic, 0)).await.await);
}

/// A record after the transaction is visible soon, and no record of the transaction is.
async fn is_seen<T: Transport>(plain: &mut Open<T>) {
    delivered(call(&mut plain.transport, numbered(&plain.topic, 1)).await.await);
    within(SOON, "a reader of committed records", async {
        loop {
            let seen: Vec<_> = plain.kafka.committed().await.iter().map(Written::number).collect();
            if !seen.is_empty() {
                assert_eq!(seen, [1]);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
