//! Begins the close of a transport, and ends its open transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::TransactionEnd;
use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::CloseWaiter;

use crate::inner::TransportInner;
use crate::{threads, transactions};

/// Begins the close: no new records; records in flight and the open transaction have until the deadline.
pub(crate) fn begin(inner: &Arc<TransportInner>, within: Duration) -> CloseWaiter {
    // Before the event loop can see that the close has begun.
    let (first, open) = inner.transactions.open.close();
    let open = inner.transactions.previous.close() || open;
    if first && open {
        inner.closing().ends_transaction();
    }
    let end = inner.closing().begin(Some(later(Instant::now(), within)));
    inner.gate().close();
    if first && open {
        end_transaction(inner);
    }
    inner.client.wake();
    end
}

/// Ends the transaction on a thread of its own, because librdkafka's calls block and need the event loop meanwhile.
fn end_transaction(inner: &Arc<TransportInner>) {
    let Some(until) = inner.closing().deadline() else { return };
    let owned = Arc::clone(inner);
    let thread = std::thread::Builder::new().name("kafka-tower-close".to_owned());
    let spawned = thread.spawn(move || {
        let ended = transactions::end_at_close(&owned, until);
        owned.closing().transaction_ended(ended);
        owned.client.wake();
    });
    if let Err(error) = spawned {
        let ended = TransactionEnd::Unknown(threads::no_thread(error));
        inner.transactions.open.closed(Some(ended.clone()));
        inner.closing().transaction_ended(Some(ended));
    }
}
