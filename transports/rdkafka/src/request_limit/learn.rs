//! Asks the brokers for their limit, in the background.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use kafka_tower_core::sync::lock;

use super::bytes;
use super::decide::{self, Knowledge, LimitAnswer, SETTING};
use crate::inner::TransportInner;
use crate::log::Source;

/// Maximum number of brokers that are asked. In a larger cluster no record is refused.
const BROKERS: usize = 64;
/// Maximum number of rounds over all brokers. A round counts only if no connection was opened or lost during it; the
/// first round opens the missing connections.
const ROUNDS: usize = 3;

impl TransportInner {
    /// Starts a thread that asks the brokers for their limit, if that is due.
    pub(crate) fn learn_request_limit(self: &Arc<Self>, now: Instant) {
        let its = &self.request_limit;
        let (Some(ours), true) = (its.ours, its.begun.load(Ordering::Acquire)) else { return };
        let Some(connections) = self.client.connections() else { return };
        let mut schedule = lock(&its.schedule);
        if !schedule.is_due(connections, self.refresh_interval(), now) || its.asks.swap(true, Ordering::AcqRel) {
            return;
        }
        schedule.asking(now);
        drop(schedule);
        let asking = Asking(Arc::clone(self));
        let ask = move || {
            let inner = &asking.0;
            let known = inner.ask_request_limit(ours);
            let new = inner.request_limit.found(known);
            tracing::debug!(?known, "asked the brokers for their {SETTING}");
            if let Some(limit) = new {
                inner.warn_of_batches(limit);
            }
        };
        // If no thread could be started, a later call tries again.
        drop(thread::Builder::new().name("kafka-tower-limits".to_owned()).spawn(ask));
    }

    /// Asks the brokers for their limit. Blocks.
    fn ask_request_limit(&self, ours: usize) -> Knowledge {
        // As long as librdkafka itself waits for an answer; then it closes the connection.
        let within = self.request_timeout();
        let ask = |id: &i32| LimitAnswer::of(&self.client.broker_settings(*id, within));
        let Some(mut connections) = self.client.connections() else { return Knowledge::Never };
        let seen = self.client.broker_ids(Instant::now());
        let Some(first) = seen.first() else { return Knowledge::Unclear(connections) };
        match decide::combine(&[ask(first)], true, ours, connections) {
            Knowledge::Limit(..) => {}
            known => return known,
        }
        for _ in 0..ROUNDS {
            let Some(before) = self.client.connections() else { return Knowledge::Never };
            let Ok(brokers) = self.client.brokers(within) else { return Knowledge::Unclear(before) };
            let brokers: BTreeSet<_> = brokers.into_iter().collect();
            if brokers.len() > BROKERS {
                return Knowledge::Never;
            }
            // A broker that is gone may come back with another limit.
            let all = self.client.broker_ids(Instant::now()).iter().all(|id| brokers.contains(id));
            let mut answers = Vec::new();
            for id in &brokers {
                answers.push(ask(id));
                if !matches!(decide::combine(&answers, true, ours, before), Knowledge::Limit(..)) {
                    break;
                }
            }
            let known = decide::combine(&answers, all, ours, before);
            connections = before;
            if !matches!(known, Knowledge::Limit(..)) || self.client.connections() == Some(before) {
                return known;
            }
        }
        Knowledge::Unclear(connections)
    }

    /// Warns if librdkafka may build a batch of small records that is above the limit: such a batch cannot be refused.
    fn warn_of_batches(&self, limit: usize) {
        let batch = bytes(self.config(), "batch.size").min(bytes(self.config(), "message.max.bytes"));
        if batch > limit {
            let text = format!(
                "batches may be larger than what a broker takes in one request, which closes the connection of such: lower \
                 batch.size ({batch}) below the broker's {SETTING} ({limit})"
            );
            self.guarded("a subscriber", || self.log.write(Source::Warning, &text, Instant::now()));
        }
    }
}

/// Marks that a thread is asking, until it is dropped.
struct Asking(Arc<TransportInner>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.request_limit.asks.store(false, Ordering::Release);
    }
}
