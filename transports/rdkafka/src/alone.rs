//! A second producer with an event loop of its own, for records that must be alone in their batch.

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
    /// A thread of librdkafka that resolves a name reports its records only after that. The event loop goes on until then: it
    /// gives their room back, which nobody else can.
    fn end_when_settled(&self, shared: &Shared) {
        loop {
            self.client.purge();
            self.client.flush(Duration::from_secs(1));
            if self.client.queued() == 0 || shared.closing.is_done() {
                break;
            }
            // Events that are no reports end no flush.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end();
    }
}

/// The second producer, made when the first record comes that needs it.
#[derive(Default)]
pub(crate) struct Alone(Mutex<Option<Arc<Second>>>);

impl Alone {
    /// `shared` is asked if there is none yet.
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

    /// One that has ended takes no more records: the next one gets a new producer.
    pub(crate) fn retire(&self, client: &Client, shared: &Arc<Shared>) {
        self.retire_after(client, shared, |_| ());
    }

    /// As [`retire`](Self::retire), and `last` runs before it gives up what it has, on a thread of its own.
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
            // Not here: this is its own event loop. Its last records are reported first.
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
        // A statement of its own: its thread is waited for without the lock.
        let second = lock(&self.0).take();
        if let Some(second) = second {
            second.end();
        }
    }

    /// What the second producer's brokers do.
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

    /// Lets what lingers go, and waits for nothing.
    pub(crate) fn flush(&self) {
        if let Some(second) = lock(&self.0).as_ref() {
            second.client.flush(Duration::ZERO);
        }
    }
}
