//! What becomes of records, as the rules of sequence numbers decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::Persistence;

use super::Client;
use super::batch::{Batch, room};
use crate::cluster::backoff::Backoff;
use crate::failure;
use crate::partition::{Effect, Key, ProducerId, Rework, Why};
use crate::protocol::api::produce::PartitionResponse;
use crate::settings::Acks;
use crate::slot::{Acknowledged, Slot};

/// Pauses before a batch is sent again: `retry.backoff.ms` and its maximum.
const RETRY: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };

impl Client {
    /// Does what the rules of sequence numbers demand.
    pub(super) fn carry_out(
        &mut self,
        place: usize,
        effects: Vec<Effect<Batch>>,
        response: Option<&PartitionResponse<'_>>,
        now: Instant,
    ) {
        for effect in effects {
            match effect {
                Effect::Delivered { batch, offset } => self.delivered(place, &batch, offset, response),
                Effect::Failed { batch, why, in_doubt } => self.failed(place, &batch, why, in_doubt, response, now),
                Effect::Rework { key, code, why } => self.rework(place, key, code, &why, response, now),
                Effect::Metadata => self.questions.want_metadata(now),
                Effect::Backoff { again_at_once } => self.back_off(place, again_at_once, now),
                Effect::LostAcknowledged => self.lost_acknowledged(place),
                Effect::NewEpoch => self.new_epoch(place, now),
                Effect::NewProducerId => {
                    // The id in use is somebody else's, or has no epoch left.
                    if self.partitions.get(place).is_some_and(|queue| queue.row.producer_id() == self.producer_id) {
                        self.producer_id = None;
                    }
                    self.questions.want_producer_id(now);
                }
            }
        }
    }

    fn delivered(
        &mut self,
        place: usize,
        batch: &Batch,
        offset: Option<i64>,
        response: Option<&PartitionResponse<'_>>,
    ) {
        let Some(queue) = self.partitions.get_mut(place) else { return };
        queue.failures = 0;
        let partition = queue.index;
        let append_time = response.map_or(-1, |response| response.log_append_time_ms);
        let persistence = if self.shared.settings.acks == Acks::None {
            Persistence::PossiblyPersisted
        } else {
            Persistence::Persisted
        };
        if let Some(slot) = batch.slots.first().filter(|_| self.shared.causes.has_partition_errors()) {
            self.shared.causes.delivered(&slot.record().topic, partition);
        }
        let mut times = batch.times(self.clock);
        self.permits.reserve(batch.slots.len());
        for (at, slot) in (0..).zip(&batch.slots) {
            let offset = offset.map_or(-1, |base| base.saturating_add(at));
            let timestamp = if append_time >= 0 { append_time } else { times.of(slot) };
            self.settle(slot, Ok(Acknowledged { partition, offset, timestamp, persistence }));
        }
    }

    fn failed(
        &mut self,
        place: usize,
        batch: &Batch,
        why: Why,
        in_doubt: bool,
        response: Option<&PartitionResponse<'_>>,
        now: Instant,
    ) {
        let index = self.partitions.get(place).map_or(-1, |queue| queue.index);
        let message = response.filter(|response| response.index == index).and_then(|response| response.error_message);
        for slot in &batch.slots {
            let (record, elapsed) = (slot.record(), now.saturating_duration_since(slot.called_at()));
            let cause = self.shared.causes.why(record, now);
            let error = match why {
                Why::Code(code) => failure::refused(code, message, in_doubt, record, elapsed),
                Why::Lost => failure::unconfirmed(record, cause.as_deref(), elapsed),
                Why::GivenUp => {
                    failure::overdue(record, self.shared.settings.delivery_bound, in_doubt, cause.as_deref())
                }
            };
            self.settle(slot, Err(error));
        }
    }

    /// Changes a batch that a broker refused, so that the records that are not to blame are sent in their place.
    fn rework(
        &mut self,
        place: usize,
        key: Key,
        code: i16,
        why: &Rework,
        response: Option<&PartitionResponse<'_>>,
        now: Instant,
    ) {
        let Some(queue) = self.partitions.get_mut(place) else { return };
        let topic = queue.topic;
        let mut slots = queue.row.get_mut(key).map(|batch| std::mem::take(&mut batch.slots)).unwrap_or_default();
        let message = response.and_then(|response| response.error_message);
        let mut refused: Vec<(Arc<Slot>, Option<&str>)> = Vec::new();
        let mut parts: Vec<Vec<Arc<Slot>>> = Vec::new();
        match why {
            Rework::Refused(indexes) => {
                let errors = response.map(|response| &response.record_errors[..]).unwrap_or_default();
                let mut kept = Vec::with_capacity(slots.len());
                for (at, slot) in (0_i32..).zip(slots) {
                    if indexes.contains(&at) {
                        let its = errors.iter().find(|error| error.batch_index == at).and_then(|error| error.message);
                        refused.push((slot, its.or(message)));
                    } else {
                        kept.push(slot);
                    }
                }
                parts.push(kept);
            }
            Rework::TooLarge | Rework::RefusedWhole if slots.len() > 1 => {
                let behind = slots.split_off(slots.len() / 2);
                parts.extend([slots, behind]);
            }
            _ => refused.extend(slots.into_iter().map(|slot| (slot, message))),
        }
        // Indexes that name no record: what is to blame is in one of the halves.
        if let (true, [all]) = (refused.is_empty(), &mut parts[..]) {
            let behind = all.split_off(all.len() / 2);
            if all.is_empty() {
                refused.extend(behind.into_iter().map(|slot| (slot, message)));
            } else {
                parts.push(behind);
            }
        }
        if matches!(why, Rework::TooLarge) {
            let most = parts.iter().map(|part| part.iter().map(|slot| room(slot)).sum()).max();
            if let (Some(most), Some(topic)) = (most, self.topics.get_mut(topic)) {
                topic.batch_bytes = Some((most, now));
            }
        }
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).map(Batch::new).collect();
        let parts = parts.into_iter().map(|part| (part.count(), part)).map(|(count, part)| (part, count)).collect();
        if let Some(queue) = self.partitions.get_mut(place) {
            queue.row.replace(key, parts);
        }
        for (slot, message) in refused {
            let (record, elapsed) = (slot.record(), now.saturating_duration_since(slot.called_at()));
            let error = failure::refused_itself(code, message, record, elapsed);
            self.settle(&slot, Err(error));
        }
    }

    fn back_off(&mut self, place: usize, again_at_once: bool, now: Instant) {
        let random = self.random();
        let Some(queue) = self.partitions.get_mut(place) else { return };
        queue.failures = queue.failures.saturating_add(1);
        if again_at_once && queue.failures == 1 {
            return;
        }
        let until = now + RETRY.wait(queue.failures, random);
        queue.wait_until = Some(until);
        self.list_at(place, until);
    }

    fn lost_acknowledged(&self, place: usize) {
        let queue = self.partitions.get(place);
        let topic = queue.and_then(|queue| self.topics.get(queue.topic)).map_or("", |topic| &*topic.name);
        tracing::error!(
            topic,
            partition = queue.map(|queue| queue.index),
            "the partition's log lost records that a broker had acknowledged: a leader without them was elected, or its disk was lost"
        );
    }

    /// The next epoch of the partition's producer id, or a newer id that another partition has got already.
    fn new_epoch(&mut self, place: usize, now: Instant) {
        let Some(its) = self.partitions.get(place).and_then(|queue| queue.row.producer_id()) else { return };
        if self.producer_id == Some(its) {
            match its.epoch.checked_add(1) {
                Some(epoch) => self.producer_id = Some(ProducerId { epoch, ..its }),
                None => self.producer_id = None,
            }
        }
        match self.producer_id {
            Some(newest) => {
                if let Some(queue) = self.partitions.get_mut(place) {
                    queue.row.renew(newest);
                }
            }
            None => self.questions.want_producer_id(now),
        }
    }
}
