//! Task that expires records at their deadlines, while there are any.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kafka_tower_core::Delivery;
use kafka_tower_core::ledger::{RecordTransport, Slot};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::client::Client;

/// The task of a client.
#[derive(Debug, Default)]
pub(crate) struct ExpiryTask {
    runs: AtomicBool,
    /// Number of tasks started so far: only the latest one goes on.
    started: AtomicU64,
}

impl Client {
    /// Watches the deadline of a record that is not settled.
    pub(crate) fn watch(self: &Arc<Self>, slot: &Arc<Slot<Delivery>>) {
        if self.ledger().watch(slot) {
            self.start_expiry();
        }
    }

    /// Starts the task if there is none: a record may be called outside a runtime and awaited inside one.
    pub(crate) fn keep_deadlines(self: &Arc<Self>) {
        if !self.expiry.runs.load(Ordering::Acquire) {
            self.start_expiry();
        }
    }

    fn start_expiry(self: &Arc<Self>) {
        let (Ok(runtime), Some(at)) = (Handle::try_current(), self.ledger().next_deadline()) else {
            return self.ledger().forget_next_deadline();
        };
        self.expiry.runs.store(true, Ordering::Release);
        let number = self.expiry.started.fetch_add(1, Ordering::AcqRel) + 1;
        runtime.spawn(Running { client: Arc::downgrade(self), number }.run(at.into()));
    }
}

struct Running {
    client: Weak<Client>,
    number: u64,
}

impl Running {
    async fn run(self, mut at: Instant) {
        loop {
            sleep_until(at).await;
            let Some(client) = self.client() else { return };
            let now = client.now();
            drop(client.expire(now, |slot, admitted| slot.time_out(admitted, now, None)));
            let Some(next) = client.ledger().next_deadline() else { return };
            at = next.into();
        }
    }

    /// The client, if no later task took over.
    fn client(&self) -> Option<Arc<Client>> {
        self.client.upgrade().filter(|client| client.expiry.started.load(Ordering::Acquire) == self.number)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also when the runtime ends: the next record starts a task on its own runtime.
        if let Some(client) = self.client() {
            client.expiry.runs.store(false, Ordering::Release);
            client.ledger().forget_next_deadline();
        }
    }
}
