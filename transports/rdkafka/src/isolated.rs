//! The producer for isolated records, with an event loop of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_tower_core::error::transport::destination;
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Persistence, Record, Result};
use rdkafka::ClientConfig;

use crate::broker_activity::BrokerActivity;
use crate::ffi::Client;
use crate::replace::fatal::{FatalBudget, FatalCause, Refusal};
use crate::{classify, properties};

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

/// Limits how often an isolated producer that has ended by a fatal error is made anew.
#[derive(Default)]
struct EndedProducers {
    budget: FatalBudget,
    /// Why the last one ended, and when the next one may be made; `None` if there were too many.
    last: Option<(FatalCause, Option<Instant>)>,
}

impl EndedProducers {
    fn ended(&mut self, cause: FatalCause, now: Instant) {
        self.last = Some((cause, self.budget.take(now)));
    }

    /// Error of a record while no producer may be made.
    fn refusal(&mut self, record: &Record, now: Instant) -> Option<Error> {
        let (cause, start) = self.last.as_mut()?;
        if start.is_none() {
            *start = self.budget.take(now);
        }
        match start {
            Some(at) if *at <= now => None,
            Some(_) => Some(classify::ended(cause.code, &destination(record), Persistence::NotPersisted)),
            None => Some(Refusal::new(cause.clone()).error(&record.topic, Persistence::NotPersisted)),
        }
    }
}

#[derive(Default)]
struct State {
    producer: Option<Arc<IsolatedProducer>>,
    ended: EndedProducers,
}

/// The isolated producer, made for the first isolated record.
#[derive(Default)]
pub(crate) struct LazyIsolatedProducer(Mutex<State>);

impl LazyIsolatedProducer {
    /// Returns the producer for the record, or makes it; `spawn` starts its event loop.
    pub(crate) fn get_or_start(
        &self,
        config: &ClientConfig,
        record: &Record,
        spawn: impl FnOnce(&Arc<IsolatedProducer>) -> Result<JoinHandle<()>>,
    ) -> Result<Arc<IsolatedProducer>> {
        let mut current = lock(&self.0);
        if let Some(producer) = current.producer.as_ref() {
            return Ok(Arc::clone(producer));
        }
        if let Some(refusal) = current.ended.refusal(record, Instant::now()) {
            return Err(refusal);
        }
        let mut one_by_one = config.clone();
        one_by_one.set("batch.num.messages", "1");
        let client = Client::create(&one_by_one).map_err(|error| properties::creation_error(&error, config))?;
        let producer = Arc::new(IsolatedProducer { client, stop: AtomicBool::new(false), thread: Mutex::default() });
        let thread = spawn(&producer)?;
        *lock(&producer.thread) = Some(thread);
        Ok(Arc::clone(current.producer.insert(producer)))
    }

    /// Retires a producer that has ended by a fatal error: a later record gets a new one. `closed` tells whether the close
    /// is done, after which nothing is waited for.
    pub(crate) fn retire_ended(
        &self,
        client: &Client,
        cause: FatalCause,
        now: Instant,
        closed: impl Fn() -> bool + Send + 'static,
    ) {
        self.retire(client, |ended| ended.ended(cause, now), |producer| producer.end_when_settled(closed));
    }

    /// Retires a producer that is stuck: the next record gets a new one. Runs `last` before it gives up its records, on a
    /// separate thread.
    pub(crate) fn retire_after(
        &self,
        client: &Client,
        closed: impl Fn() -> bool + Send + 'static,
        last: impl FnOnce(&Client) + Send + 'static,
    ) {
        let end = move |producer: &IsolatedProducer| {
            last(&producer.client);
            producer.end_when_settled(closed);
        };
        self.retire(client, |_| (), end);
    }

    fn retire(
        &self,
        client: &Client,
        note: impl FnOnce(&mut EndedProducers),
        end: impl FnOnce(&IsolatedProducer) + Send + 'static,
    ) {
        let mut current = lock(&self.0);
        let Some(producer) = current.producer.take_if(|producer| std::ptr::eq(&producer.client, client)) else {
            return;
        };
        note(&mut current.ended);
        drop(current);
        // Not on this thread, which is the producer's own event loop. Its last records are reported first.
        let thread = std::thread::Builder::new().name("kafka-tower-retire".to_owned());
        if let Err(error) = thread.spawn(move || end(&producer)) {
            tracing::warn!(%error, "no thread could be started to destroy a producer");
        }
    }

    pub(crate) fn end(&self) {
        // A separate statement: its thread is joined without the lock.
        let producer = lock(&self.0).producer.take();
        if let Some(producer) = producer {
            producer.end();
        }
    }

    /// Returns the activity of the isolated producer's brokers.
    pub(crate) fn broker_activity(&self, now: Instant) -> Vec<BrokerActivity> {
        lock(&self.0).producer.as_ref().map(|producer| producer.client.broker_activity(now)).unwrap_or_default()
    }

    /// Why the isolated producer has no valid token, if it needs one and has none.
    pub(crate) fn token_trouble(&self, now: Instant) -> Option<String> {
        lock(&self.0).producer.as_ref()?.client.token_trouble(now)
    }

    pub(crate) fn log_batches(&self, on: bool) {
        if let Some(producer) = lock(&self.0).producer.as_ref() {
            producer.client.log_batches(on);
        }
    }

    pub(crate) fn purge(&self) {
        if let Some(producer) = lock(&self.0).producer.as_ref() {
            producer.client.purge();
        }
    }

    /// Sends lingering batches, and does not wait.
    pub(crate) fn flush(&self) {
        if let Some(producer) = lock(&self.0).producer.as_ref() {
            producer.client.flush(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{ErrorKind, Recovery, codes};
    use kafka_tower_test_texts::assert_consistent;

    use super::*;
    use crate::replace::fatal;

    #[test]
    fn producers_that_end_again_and_again_are_made_less_and_less_often() {
        let record = Record::new("orders");
        for (code, kind, recovery) in [
            (codes::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorKind::Fatal, Recovery::Fatal),
            (codes::CLUSTER_AUTHORIZATION_FAILED, ErrorKind::Authorization, Recovery::Reject),
            (codes::UNSUPPORTED_VERSION, ErrorKind::Fatal, Recovery::Fatal),
        ] {
            let (mut ended, start) = (EndedProducers::default(), Instant::now());
            let mut now = start;
            assert!(ended.refusal(&record, now).is_none(), "the first one");
            for wait in [0, 1, 2, 4, 8].map(Duration::from_secs) {
                ended.ended(FatalCause { code, text: "b:1/1: it failed".to_owned() }, now);
                if !wait.is_zero() {
                    let error = ended.refusal(&record, now + wait - Duration::from_nanos(1)).unwrap();
                    let facts = (error.recovery(), error.persistence());
                    assert_eq!(facts, (Recovery::Retry, Persistence::NotPersisted), "{error:#}");
                    assert_consistent(&error);
                }
                now += wait;
                assert!(ended.refusal(&record, now).is_none(), "{code} after {wait:?}");
            }
            ended.ended(FatalCause { code, text: "b:1/1: it failed".to_owned() }, now);
            let error = ended.refusal(&record, now).unwrap();
            let facts = (error.kind(), error.recovery(), error.persistence());
            assert_eq!(facts, (kind, recovery, Persistence::NotPersisted), "{error:#}");
            assert_consistent(&error);
            assert!(ended.refusal(&record, start + fatal::PERIOD).is_some(), "four of them are less long ago");
            assert!(ended.refusal(&record, now + fatal::PERIOD).is_none());
        }
    }
}
