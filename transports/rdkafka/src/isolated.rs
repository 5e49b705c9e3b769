//! The producer for isolated records, with an event loop of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_tower_core::Result;
use kafka_tower_core::sync::lock;
use rdkafka::ClientConfig;

use crate::broker_activity::BrokerActivity;
use crate::ffi::Client;
use crate::properties;

pub(crate) struct IsolatedProducer {
    pub(crate) client: Client,
    pub(crate) stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl IsolatedProducer {
    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.client.wake();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the event loop of the isolated producer panicked");
        }
        self.client.destroy();
    }

    /// Gives up its records, lets its event loop report them, and ends it.
    ///
    /// A thread of librdkafka that resolves a name reports its records only afterwards. The event loop continues until
    /// then, because only it can release their room.
    fn end_when_settled(&self, closed: impl Fn() -> bool) {
        loop {
            self.client.purge();
            self.client.flush(Duration::from_secs(1));
            if self.client.queued() == 0 || closed() {
                break;
            }
            // A flush does not wait for events that are not reports.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end();
    }
}

/// The isolated producer, made for the first isolated record.
#[derive(Default)]
pub(crate) struct LazyIsolatedProducer(Mutex<Option<Arc<IsolatedProducer>>>);

impl LazyIsolatedProducer {
    /// Returns the producer, or makes it; `spawn` starts its event loop.
    pub(crate) fn get_or_start(
        &self,
        config: &ClientConfig,
        spawn: impl FnOnce(&Arc<IsolatedProducer>) -> Result<JoinHandle<()>>,
    ) -> Result<Arc<IsolatedProducer>> {
        let mut current = lock(&self.0);
        if let Some(producer) = current.as_ref() {
            return Ok(Arc::clone(producer));
        }
        let mut one_by_one = config.clone();
        one_by_one.set("batch.num.messages", "1");
        let client = Client::create(&one_by_one).map_err(|error| properties::creation_error(&error, config))?;
        let producer = Arc::new(IsolatedProducer { client, stop: AtomicBool::new(false), thread: Mutex::default() });
        let thread = spawn(&producer)?;
        *lock(&producer.thread) = Some(thread);
        Ok(Arc::clone(current.insert(producer)))
    }

    /// Retires a producer that has ended: the next record gets a new one. `closed` tells whether the close is done,
    /// after which nothing is waited for.
    pub(crate) fn retire(&self, client: &Client, closed: impl Fn() -> bool + Send + 'static) {
        self.retire_after(client, closed, |_| ());
    }

    /// Like [`retire`](Self::retire); runs `last` before it gives up its records, on a separate thread.
    pub(crate) fn retire_after(
        &self,
        client: &Client,
        closed: impl Fn() -> bool + Send + 'static,
        last: impl FnOnce(&Client) + Send + 'static,
    ) {
        let retired = {
            let mut current = lock(&self.0);
            match current.as_ref() {
                Some(producer) if std::ptr::eq(&producer.client, client) => current.take(),
                _ => None,
            }
        };
        if let Some(producer) = retired {
            // Not on this thread, which is the producer's own event loop. Its last records are reported first.
            let end = move || {
                last(&producer.client);
                producer.end_when_settled(closed);
            };
            if let Err(error) = std::thread::Builder::new().name("kafka-tower-retire".to_owned()).spawn(end) {
                tracing::warn!(%error, "no thread could be started to destroy a producer");
            }
        }
    }

    pub(crate) fn end(&self) {
        // A separate statement: its thread is joined without the lock.
        let producer = lock(&self.0).take();
        if let Some(producer) = producer {
            producer.end();
        }
    }

    /// Returns the activity of the isolated producer's brokers.
    pub(crate) fn broker_activity(&self, now: Instant) -> Vec<BrokerActivity> {
        lock(&self.0).as_ref().map(|producer| producer.client.broker_activity(now)).unwrap_or_default()
    }

    pub(crate) fn log_batches(&self, on: bool) {
        if let Some(producer) = lock(&self.0).as_ref() {
            producer.client.log_batches(on);
        }
    }

    pub(crate) fn purge(&self) {
        if let Some(producer) = lock(&self.0).as_ref() {
            producer.client.purge();
        }
    }

    /// Sends lingering batches, and does not wait.
    pub(crate) fn flush(&self) {
        if let Some(producer) = lock(&self.0).as_ref() {
            producer.client.flush(Duration::ZERO);
        }
    }
}
