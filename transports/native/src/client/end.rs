//! The end of the task: a close, the last handle, or the end of the runtime.

use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::TransactionEnd;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::RecordTransport;

use super::Client;
use super::broker::Link;
use crate::failure;
use crate::net::in_flight::Written;
use crate::partition::{Answer, Effect};
use crate::slot::Slot;

impl Client {
    /// Ends the task if a close has begun and everything is settled or its time is over.
    pub(super) fn end_if_due(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.shared.ledger().closing().deadline() else { return false };
        self.settle_collected();
        let left = self.shared.gate().in_flight();
        let is_due = (left.records == 0 && left.parked == 0) || deadline <= now;
        if is_due {
            self.end();
        }
        is_due
    }

    /// Settles everything. Records of requests that were wholly written are in doubt, all others were not sent.
    pub(super) fn end(&mut self) {
        self.ended = true;
        let now = self.shared.now();
        self.shared.gate().close();
        let mut batches = Vec::new();
        for broker in self.brokers.values_mut() {
            let Link::Up(up) = std::mem::replace(&mut broker.link, Link::None) else { continue };
            for (sent, written) in up.connection.close() {
                for (partition, key) in sent {
                    if let Some(queue) = self.partitions.get_mut(partition) {
                        queue.row.answered(key, &Answer::None { wholly: written == Written::Wholly }, &mut batches);
                    }
                }
            }
        }
        let mut left: Vec<(Arc<Slot>, bool)> = Vec::new();
        for queue in &mut self.partitions {
            queue.row.give_up(|_| true, &mut batches);
            left.extend(queue.take(|_| true).into_iter().map(|slot| (slot, false)));
        }
        for effect in batches {
            if let Effect::Failed { batch, in_doubt, .. } = effect {
                left.extend(batch.slots.into_iter().map(|slot| (slot, in_doubt)));
            }
        }
        for place in self.topics.places() {
            if let Some(topic) = self.topics.get_mut(place) {
                left.extend(std::mem::take(&mut topic.waiting).into_iter().map(|(slot, _)| (slot, false)));
            }
        }
        // In the order of their calls, as the report lists them.
        left.sort_by_key(|(slot, _)| slot.called_at());
        for (slot, in_doubt) in left {
            let why = self.shared.causes.why(slot.record(), now);
            self.settle(&slot, Err(failure::left(slot.record(), in_doubt, why.as_deref())));
        }
        // Parked records before room is released: a release would hand them over.
        self.shared.end();
        self.settle_collected();
        self.shared.ledger().closing().done(|| TransactionEnd::Unknown(failure::no_transactions()));
    }
}
