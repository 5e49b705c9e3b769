//! Fills requests.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Client;
use super::broker::Link;
use super::queue::NoBatch;
use crate::failure;
use crate::net::connection::Request;
use crate::net::in_flight::RequestId;
use crate::partition::{Answer, Key, Next};
use crate::protocol::api::Api;
use crate::protocol::api::metadata::TopicRef;
use crate::protocol::api::produce::{FIRST_WITH_IDS, PartitionBatch, ProduceRequest, TopicBatches};
use crate::settings::Acks;

/// A request takes more batches until it has this many bytes.
const REQUEST_BYTES: usize = 1 << 20;

/// A batch that goes into a request.
struct Ready {
    partition: usize,
    key: Key,
    bytes: Bytes,
}

impl Client {
    /// Sends what can be sent to all brokers. Returns whether anything was.
    pub(super) fn send(&mut self, now: Instant) -> bool {
        let at_once = self.sends_at_once();
        if at_once && !std::mem::replace(&mut self.at_once, at_once) {
            // Those that linger are in no list.
            (0..self.partitions.len()).for_each(|partition| self.list(partition));
        }
        self.at_once = at_once;
        let ids: Vec<i32> =
            self.brokers.iter().filter(|(_, broker)| !broker.listed.is_empty()).map(|(id, _)| *id).collect();
        let mut sent = false;
        for id in ids {
            while self.may_send_to(id, now) {
                let ready = self.fill(id, now);
                if ready.is_empty() {
                    break;
                }
                self.send_request(id, ready, now);
                sent = true;
            }
        }
        sent
    }

    fn may_send_to(&mut self, id: i32, now: Instant) -> bool {
        let most = self.shared.settings.max_in_flight;
        let Some(broker) = self.brokers.get_mut(&id) else { return false };
        let Link::Up(up) = &mut broker.link else { return false };
        up.throttled_until = up.throttled_until.filter(|until| *until > now);
        up.throttled_until.is_none() && !broker.listed.is_empty() && up.connection.open() < most
    }

    /// Takes a batch of each partition in the list, until the request is large enough.
    fn fill(&mut self, id: i32, now: Instant) -> Vec<Ready> {
        let (mut ready, mut bytes): (Vec<Ready>, usize) = (Vec::new(), 0);
        self.requests += 1;
        while bytes < REQUEST_BYTES {
            let Some(partition) = self.brokers.get_mut(&id).and_then(|broker| broker.listed.pop_front()) else { break };
            let Some(queue) = self.partitions.get_mut(partition) else { continue };
            // It may be in the list of an earlier leader, too.
            if queue.leader != Some(id) || queue.request == self.requests {
                continue;
            }
            queue.listed = false;
            if let Some((key, batch)) = self.next_batch(partition, now) {
                bytes += batch.len();
                if let Some(queue) = self.partitions.get_mut(partition) {
                    queue.request = self.requests;
                }
                ready.push(Ready { partition, key, bytes: batch });
            }
        }
        // Only now, because a request takes one batch of a partition.
        for batch in &ready {
            self.list(batch.partition);
        }
        ready
    }

    /// The next batch of a partition: one that has to be sent again, or a new one.
    fn next_batch(&mut self, partition: usize, now: Instant) -> Option<(Key, Bytes)> {
        let settings = Arc::clone(&self.shared.settings);
        let at_once = self.at_once;
        loop {
            let queue = self.partitions.get_mut(partition)?;
            if queue.retired {
                return None;
            }
            if let Some(until) = queue.wait_until.filter(|until| *until > now) {
                self.list_at(partition, until);
                return None;
            }
            let (key, stamp) = match queue.row.next() {
                Next::Nothing => return None,
                Next::NeedsProducerId => {
                    let newest = self.producer_id.filter(|newest| queue.row.producer_id() != Some(*newest));
                    let Some(newest) = newest else {
                        self.questions.want_producer_id(now);
                        return None;
                    };
                    queue.row.renew(newest);
                    continue;
                }
                Next::Again(key) => (key, queue.row.again(key)),
                Next::New => {
                    let topic = self.topics.get_mut(queue.topic)?;
                    let (mut late, most) = (Vec::new(), topic.batch_bytes(&settings));
                    let taken = queue.take_batch(&settings, most, at_once, now, &mut late);
                    let pushed = match taken {
                        Ok(batch) => {
                            topic.batch_made(queue.index);
                            let count = batch.count();
                            Ok(queue.row.push(batch, count))
                        }
                        Err(none) => Err(none),
                    };
                    for slot in late {
                        // Its caller has a time-out already.
                        let why = self.shared.causes.why(slot.record(), now);
                        self.settle(&slot, Err(failure::expired_unsent(&slot, now, why.as_deref())));
                    }
                    match pushed {
                        Ok(pushed) => pushed,
                        Err(NoBatch::Empty) => return None,
                        Err(NoBatch::Lingers(until)) => {
                            self.list_at(partition, until);
                            return None;
                        }
                    }
                }
            };
            let clock = self.clock;
            let queue = self.partitions.get_mut(partition)?;
            queue.sent_to = queue.leader;
            let bytes =
                queue.row.get_mut(key).and_then(|batch| batch.bytes(stamp, settings.codec, clock, &self.buffers));
            let Some(bytes) = bytes else {
                self.cannot_be_encoded(partition, key, now);
                continue;
            };
            return Some((key, bytes));
        }
    }

    /// Whether batches are sent although they could grow: somebody waits for them, or for their room.
    fn sends_at_once(&self) -> bool {
        use kafka_tower_core::gate::Gated;
        use kafka_tower_core::ledger::RecordTransport;
        let gate = self.shared.gate();
        if self.shared.settings.linger.is_zero() {
            return true;
        }
        let (limits, flight) = (gate.limits(), gate.in_flight());
        let is_full = flight.parked > 0 || flight.records >= limits.records || flight.bytes >= limits.bytes;
        is_full || gate.is_flushing() || self.shared.ledger().closing().has_begun()
    }

    fn send_request(&mut self, id: i32, mut ready: Vec<Ready>, now: Instant) {
        let topic_of =
            |client: &Self, partition: usize| client.partitions.get(partition).map_or(0, |queue| queue.topic);
        ready.sort_by_key(|batch| topic_of(self, batch.partition));
        let sent = ready.iter().map(|batch| (batch.partition, batch.key)).collect();
        let by_id = ready
            .iter()
            .all(|batch| self.topics.get(topic_of(self, batch.partition)).is_some_and(|topic| !topic.id.is_zero()));
        // One list of partitions for each topic.
        let mut of_topics: Vec<(usize, Vec<PartitionBatch>)> = Vec::new();
        for batch in &ready {
            let topic = topic_of(self, batch.partition);
            let index = self.partitions.get(batch.partition).map_or(-1, |queue| queue.index);
            let its = PartitionBatch { index, len: batch.bytes.len() };
            match of_topics.last_mut() {
                Some((last, batches)) if *last == topic => batches.push(its),
                _ => of_topics.push((topic, vec![its])),
            }
        }
        let settings = Arc::clone(&self.shared.settings);
        let Some(up) = self.brokers.get_mut(&id).and_then(|broker| broker.up()) else {
            return self.not_sent(sent, now);
        };
        let most = if by_id { i16::MAX } else { FIRST_WITH_IDS - 1 };
        let Ok(version) = up.facts.versions.newest_up_to(Api::Produce, most) else { return self.not_sent(sent, now) };
        let name = |topic: usize| self.topics.get(topic).map_or("", |topic| &*topic.name);
        let topic_id = |topic: usize| self.topics.get(topic).map(|topic| topic.id).unwrap_or_default();
        let topics: Vec<_> = of_topics
            .iter()
            .map(|(topic, partitions)| TopicBatches {
                topic: if version >= FIRST_WITH_IDS {
                    TopicRef::Id(topic_id(*topic))
                } else {
                    TopicRef::Name(name(*topic))
                },
                partitions,
            })
            .collect();
        let request = ProduceRequest {
            transactional_id: None,
            acks: settings.acks.code(),
            timeout_ms: settings.replica_timeout_ms(),
            topics: &topics,
        };
        let request_id = RequestId { api: Api::Produce, version, correlation_id: up.connection.next_id() };
        let frame = request.encode(version, request_id.correlation_id, settings.introduction.client_id.as_deref());
        let gaps: Vec<Bytes> = ready.into_iter().map(|batch| batch.bytes).collect();
        let Some(chunks) = frame.ok().and_then(|frame| frame.into_chunks(&gaps)) else {
            return self.not_sent(sent, now);
        };
        let expects_answer = settings.acks != Acks::None;
        let request = Request { id: request_id, chunks, expects_answer, timeout: settings.request_timeout, what: sent };
        match up.connection.send(request) {
            Ok(()) => up.sent_at.push_back(now),
            Err(request) => self.not_sent(request.what, now),
        }
    }

    /// Called for batches that no socket took.
    fn not_sent(&mut self, sent: super::broker::Sent, now: Instant) {
        for (partition, key) in sent {
            self.answered(partition, key, &Answer::None { wholly: false }, None, now);
        }
    }

    /// Fails the records of a batch that no request can have.
    fn cannot_be_encoded(&mut self, partition: usize, key: Key, now: Instant) {
        self.answered(partition, key, &Answer::None { wholly: false }, None, now);
        let Some(queue) = self.partitions.get_mut(partition) else { return };
        let slots = queue.row.get_mut(key).map(|batch| std::mem::take(&mut batch.slots)).unwrap_or_default();
        queue.row.replace(key, Vec::new());
        for slot in slots {
            let error = failure::too_large(slot.record(), i32::MAX as usize);
            self.settle(&slot, Err(error));
        }
    }
}
