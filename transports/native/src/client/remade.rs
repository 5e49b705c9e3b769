//! Topics that are gone, forbidden, or made anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::{Error, Persistence};

use super::Client;
use super::cluster::UNKNOWN_TOPIC_OR_PARTITION;
use crate::cluster::problem::Problem;
use crate::failure;
use crate::partition::{Effect, LAST_EPOCH, Next, ProducerId};
use crate::slot::Slot;

/// A topic that was missing is looked up again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Client {
    /// Fails what waits for a topic that does not exist or may not be written to.
    pub(super) fn fail_topic(&mut self, place: usize, problem: Problem, now: Instant) {
        let code = match problem {
            Problem::Fails(code) | Problem::Again(code) => code,
            Problem::Missing => UNKNOWN_TOPIC_OR_PARTITION,
        };
        let Some(topic) = self.topics.get_mut(place) else { return };
        let name = Arc::clone(&topic.name);
        let mut failed: Vec<Arc<Slot>> = std::mem::take(&mut topic.waiting).into_iter().map(|(slot, _)| slot).collect();
        let mut sent = Vec::new();
        for partition in topic.partitions.clone() {
            if let Some(queue) = self.partitions.get_mut(partition) {
                let mut effects = Vec::new();
                queue.row.give_up(|_| problem == Problem::Missing, &mut effects);
                sent.extend(effects.into_iter().map(|effect| (partition, effect)));
                failed.extend(queue.take(|_| true));
                if queue.row.in_flight() == 0 {
                    queue.sent_to = None;
                }
            }
        }
        let mut failed: Vec<_> = failed.into_iter().map(|slot| (slot, false)).collect();
        for (partition, effect) in sent {
            match effect {
                Effect::Failed { batch, in_doubt, .. } => {
                    failed.extend(batch.slots.into_iter().map(|slot| (slot, in_doubt)));
                }
                other => self.carry_out(partition, vec![other], None, now),
            }
        }
        for (slot, in_doubt) in failed {
            let elapsed = now.saturating_duration_since(slot.called_at());
            self.settle(&slot, Err(failure::refused(code, None, in_doubt, slot.record(), elapsed)));
        }
        let is_wanted = self.shared.status.borrow().wanted.contains(&name);
        if is_wanted {
            let error = failure::refused_question(&format!("the look-up of topic {name}"), code);
            self.shared.status.send_modify(|status| status.failed = Some(error));
        }
        // It may be created later.
        self.questions.want_metadata_at(now + LOOK_AGAIN);
    }

    /// A topic was deleted and made anew: what was not sent goes to the new one; what may be in the old log is in doubt.
    pub(super) fn made_anew(&mut self, name: &Arc<str>, now: Instant) {
        let Some(place) = self.topics.find(name) else { return };
        let Some(topic) = self.topics.get_mut(place) else { return };
        let mut again: Vec<Arc<Slot>> = Vec::new();
        let (mut doubtful, mut others, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for partition in std::mem::take(&mut topic.partitions) {
            let Some(queue) = self.partitions.get_mut(partition) else { continue };
            queue.retired = true;
            used.extend(queue.row.producer_id());
            for batch in queue.row.take_undoubted() {
                batch.slots.iter().for_each(|slot| slot.hold());
                again.extend(batch.slots);
            }
            let mut effects = Vec::new();
            queue.row.give_up(|_| true, &mut effects);
            again.extend(queue.take(|_| true));
            for effect in effects {
                match effect {
                    Effect::Failed { batch, .. } => doubtful.push(batch),
                    other => others.push((partition, other)),
                }
            }
        }
        for slot in doubtful.iter().flat_map(|batch| &batch.slots) {
            let elapsed = now.saturating_duration_since(slot.called_at());
            self.settle(slot, Err(failure::made_anew(slot.record(), elapsed)));
        }
        for (partition, other) in others {
            self.carry_out(partition, vec![other], None, now);
        }
        // The old numbers are used, in the new topic too: a broker to which topics are named by name appends there what is sent
        // before the client knows, and would take a later batch with the same numbers for that one.
        if let Some(id) = self.producer_id.filter(|id| used.contains(id)) {
            self.producer_id = (id.epoch < LAST_EPOCH).then(|| ProducerId { epoch: id.epoch + 1, ..id });
            if self.producer_id.is_none() {
                self.questions.want_producer_id(now);
            }
        }
        // A key's records are in two partitions if the topic has grown.
        again.sort_by(|one, other| (one.order().wrapping_sub(other.order()) as i32).cmp(&0));
        if let Some(topic) = self.topics.get_mut(place) {
            let before = again.into_iter().map(|slot| (slot, now)).collect::<Vec<_>>();
            before.into_iter().rev().for_each(|waiting| topic.waiting.push_front(waiting));
        }
        tracing::warn!(topic = &**name, "a topic was deleted and made anew");
    }

    /// Fails what is not in the log and cannot be sent without a producer id, because the client gets none.
    pub(super) fn fail_without_producer_id(&mut self, error: &Error) {
        let mut failed = Vec::new();
        for queue in self.partitions.iter_mut().filter(|queue| queue.row.next() == Next::NeedsProducerId) {
            failed.extend(queue.row.take_undoubted().into_iter().flat_map(|batch| batch.slots));
            failed.extend(queue.take(|_| true));
        }
        for slot in failed {
            self.settle(&slot, Err(error.clone().with_persistence(Persistence::NotPersisted)));
        }
    }
}
