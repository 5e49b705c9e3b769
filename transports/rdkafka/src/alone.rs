//! A second producer with an event loop of its own, for isolated records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_tower_core::Result;
use rdkafka::ClientConfig;

use crate::event_loop;
use crate::ffi::Client;
use crate::peers::Peer;
use crate::properties;
use crate::shared::{Shared, lock};

pub(crate) struct Second {
    pub(crate) client: Client,
    pub(crate) stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Second {
    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.client.wake();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the event loop of the second producer had panicked");
        }
        self.client.destroy();
    }

    /// Gives up its records, lets its event loop report them, and ends it.
    ///
    /// A thread of librdkafka that resolves a name reports its records only afterwards. The event loop continues until
    /// then, because only it can release their room.
    fn end_when_settled(&self, shared: &Shared) {
        loop {
            self.client.purge();
            self.client.flush(Duration::from_secs(1));
            if self.client.queued() == 0 || shared.closing.is_done() {
                break;
            }
            // A flush does not wait for events that are not reports.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end();
    }
}

/// The second producer, made for the first isolated record.
#[derive(Default)]
pub(crate) struct Alone(Mutex<Option<Arc<Second>>>);

impl Alone {
    /// Returns the producer, or makes it; `shared` is called only then.
    pub(crate) fn get_or_start(
        &self,
        config: &ClientConfig,
        shared: impl FnOnce() -> Result<Arc<Shared>>,
    ) -> Result<Arc<Second>> {
        let mut alone = lock(&self.0);
        if let Some(second) = alone.as_ref() {
            return Ok(Arc::clone(second));
        }
        let mut one_by_one = config.clone();
        one_by_one.set("batch.num.messages", "1");
        let client = Client::create(&one_by_one).map_err(|error| properties::creation_error(&error, config))?;
        let second = Arc::new(Second { client, stop: AtomicBool::new(false), thread: Mutex::default() });
        let thread = event_loop::spawn_second(shared()?, Arc::clone(&second)).map_err(event_loop::no_thread)?;
        *lock(&second.thread) = Some(thread);
        Ok(Arc::clone(alone.insert(second)))
    }

    /// Retires a producer that has ended: the next record gets a new one.
    pub(crate) fn retire(&self, client: &Client, shared: &Arc<Shared>) {
        self.retire_after(client, shared, |_| ());
    }

    /// Like [`retire`](Self::retire); runs `last` before it gives up its records, on a separate thread.
    pub(crate) fn retire_after(
        &self,
        client: &Client,
        shared: &Arc<Shared>,
        last: impl FnOnce(&Client) + Send + 'static,
    ) {
        let retired = {
            let mut alone = lock(&self.0);
            match alone.as_ref() {
                Some(second) if std::ptr::eq(&second.client, client) => alone.take(),
                _ => None,
            }
        };
        if let Some(second) = retired {
            // Not on this thread, which is the producer's own event loop. Its last records are reported first.
            let shared = Arc::clone(shared);
            let end = move || {
                last(&second.client);
                second.end_when_settled(&shared);
            };
            if let Err(error) = std::thread::Builder::new().name("kafka-tower-retire".to_owned()).spawn(end) {
                tracing::warn!(%error, "no thread to end a producer");
            }
        }
    }

    pub(crate) fn end(&self) {
        // A separate statement: its thread is joined without the lock.
        let second = lock(&self.0).take();
        if let Some(second) = second {
            second.end();
        }
    }

    /// Returns the activity of the second producer's brokers.
    pub(crate) fn peers(&self, now: Instant) -> Vec<Peer> {
        lock(&self.0).as_ref().map(|second| second.client.peers(now)).unwrap_or_default()
    }

    pub(crate) fn log_batches(&self, on: bool) {
        if let Some(second) = lock(&self.0).as_ref() {
            second.client.log_batches(on);
        }
    }

    pub(crate) fn purge(&self) {
        if let Some(second) = lock(&self.0).as_ref() {
            second.client.purge();
        }
    }

    /// Sends lingering batches, and does not wait.
    pub(crate) fn flush(&self) {
        if let Some(second) = lock(&self.0).as_ref() {
            second.client.flush(Duration::ZERO);
        }
    }
}
