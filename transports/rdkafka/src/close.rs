//! Begins the close of a transport, and ends its open transaction.

use std::time::Duration;

use kafka_tower_core::TransactionEnd;
use tokio::sync::oneshot;

use crate::inner::TransportInner;
use crate::{threads, transactions};

/// Begins the close: no new records; records in flight and the open transaction have until the deadline. None if it
/// is done already.
pub(crate) fn begin(inner: &TransportInner, within: Duration) -> Option<oneshot::Receiver<()>> {
    // Before the event loop can see that the close has begun.
    let (first, open) = inner.transactions.open.close();
    if first && open {
        inner.closing.ends_transaction();
    }
    let end = inner.closing.begin(within);
    inner.gate.close();
    if first && open {
        end_transaction(inner);
    }
    inner.client.wake();
    end
}

/// Ends the transaction on a thread of its own, because librdkafka's calls block and need the event loop meanwhile.
fn end_transaction(inner: &TransportInner) {
    let (Some(owned), Some(until)) = (inner.arc(), inner.closing.deadline()) else { return };
    let thread = std::thread::Builder::new().name("kafka-tower-close".to_owned());
    let spawned = thread.spawn(move || {
        let ended = transactions::end_at_close(&owned, until);
        owned.closing.transaction_ended(ended);
        owned.client.wake();
    });
    if let Err(error) = spawned {
        let ended = TransactionEnd::Unknown(threads::no_thread(error));
        inner.transactions.open.closed(Some(ended.clone()));
        inner.closing.transaction_ended(Some(ended));
    }
}
