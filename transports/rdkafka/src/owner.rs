//! The last handle: ends the producer and its event loop when it is dropped.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::Keeper;

use crate::close;
use crate::event_loop;
use crate::inner::TransportInner;

/// Maximum time that the drop of the last handle waits for the abort of an open transaction.
const ABORT_TIME: Duration = Duration::from_secs(3);

/// State dropped with the last handle, control and awaited future: the producer and its event loop. The event loop's
/// thread destroys the producer, and the drop joins it; after a close there is nothing left to wait for.
pub(crate) struct Owner {
    pub(crate) inner: Arc<TransportInner>,
    pub(crate) transactional: bool,
    thread: Option<JoinHandle<()>>,
}

impl Owner {
    pub(crate) fn new(inner: Arc<TransportInner>, thread: JoinHandle<()>, transactional: bool) -> Self {
        Self { inner, transactional, thread: Some(thread) }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.transactional
    }

    pub(crate) fn inner(&self) -> &Arc<TransportInner> {
        &self.inner
    }
}

impl Keeper for Owner {
    type Transport = TransportInner;

    fn transport(&self) -> &TransportInner {
        &self.inner
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !self.inner.closing().is_done() {
            let left = self.inner.gate().in_flight();
            let undelivered = left.records + left.parked;
            if undelivered > 0 {
                tracing::warn!(
                    undelivered,
                    "a Kafka transport was dropped with records in flight: close it before the last handle is dropped, so that none is lost"
                );
            }
            let transactions = &self.inner.transactions;
            let open = transactions.open.is_open() || transactions.previous.is_rebuilding();
            drop(close::begin(&self.inner, if open { ABORT_TIME } else { Duration::ZERO }));
        }
        if let Some(thread) = self.thread.take() {
            // Event loops run foreign wakers, and one of them may hold the last handle.
            if !event_loop::is_loop() && thread.join().is_err() {
                tracing::error!("the event loop of a Kafka transport panicked");
            }
        }
    }
}
