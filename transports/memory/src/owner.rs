//! What ends with the last handle of a transport.

use std::sync::Arc;

use kafka_tower_core::InFlight;
use kafka_tower_core::gate::Gated;

use crate::broker::BrokerClient;
use crate::client::Client;
use crate::transaction::control::MemoryTransactions;

/// Dropped with the last handle.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) client: Arc<Client>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let InFlight { records, parked, .. } = self.client.gate().in_flight();
        let undelivered = records + parked;
        if undelivered > 0 && !self.client.gate().is_closed() {
            tracing::warn!(undelivered, "the last handle of a transport was dropped without close");
        }
        if self.client.transaction().is_some() {
            MemoryTransactions::new(Arc::clone(&self.client), None).end_at_drop();
        }
    }
}
