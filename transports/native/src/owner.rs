//! What ends with the last handle of a transport.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::{CloseWaiter, Keeper, RecordTransport};

use crate::shared::Shared;

/// Dropped with the last handle, control and awaited future.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
}

impl Keeper for Owner {
    type Transport = Shared;

    fn transport(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.shared.ledger().closing().is_done() {
            return;
        }
        let left = self.shared.gate().in_flight();
        let undelivered = left.records + left.parked;
        if undelivered > 0 {
            tracing::warn!(
                undelivered,
                "a Kafka transport was dropped with records in flight: close it before the last handle is dropped, so that none is lost"
            );
        }
        // The task ends, and settles what is left.
        drop(begin_close(&self.shared, Duration::ZERO));
    }
}

/// Begins the close: no new records; those in flight have until the deadline.
pub(crate) fn begin_close(shared: &Arc<Shared>, within: Duration) -> CloseWaiter {
    let end = shared.ledger().closing().begin(Some(later(shared.now(), within)));
    shared.gate().close();
    shared.inbox.wake();
    end
}
