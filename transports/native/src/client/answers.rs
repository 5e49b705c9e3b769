//! What the answers of brokers mean for records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::codes;

use super::broker::{Link, Sent};
use super::{Broker, Client};
use crate::cluster::backoff::Backoff;
use crate::net::address::Address;
use crate::net::connection::{Answer as Frame, Event};
use crate::net::error::{Cause, ConnectionError};
use crate::net::in_flight::Written;
use crate::partition::{Answer, Key};
use crate::protocol::api::metadata::TopicRef;
use crate::protocol::api::produce::{PartitionResponse, ProduceResponse};

impl Client {
    pub(super) fn on_event(&mut self, id: i32, event: Event<Sent>, now: Instant) {
        match event {
            Event::Answered(sent, answer) => {
                if let Some(up) = self.brokers.get_mut(&id).and_then(Broker::up) {
                    up.sent_at.pop_front();
                }
                self.on_answer(id, sent, &answer, now);
            }
            Event::Written(sent) => {
                if let Some(up) = self.brokers.get_mut(&id).and_then(Broker::up) {
                    up.sent_at.pop_front();
                    up.wrote_unanswered = true;
                }
                for (partition, key) in sent {
                    self.answered(partition, key, &Answer::Written, None, now);
                }
            }
            Event::Ended(error) => self.disconnected(id, &error, now),
        }
        self.settle_collected();
    }

    fn on_answer(&mut self, id: i32, sent: Sent, answer: &Frame, now: Instant) {
        let decoded = ProduceResponse::decode(answer.id.version, answer.id.correlation_id, &answer.frame);
        let Some(up) = self.brokers.get_mut(&id).and_then(Broker::up) else { return self.unanswered(sent, true, now) };
        let response = match decoded {
            Ok(response) => response,
            Err(error) => {
                // The connection's next event is its end.
                up.connection.undecodable(answer.id, error);
                return self.unanswered(sent, true, now);
            }
        };
        if let Some(throttle) = u64::try_from(response.throttle_time_ms).ok().filter(|millis| *millis > 0) {
            let until = now + Duration::from_millis(throttle);
            up.throttled_until = up.throttled_until.max(Some(until));
            self.shared.causes.throttled(until);
        }
        let mut endpoints = Vec::new();
        for endpoint in &response.node_endpoints {
            if let Some(address) = Address::advertised(endpoint.host, endpoint.port) {
                self.cluster.set_broker(endpoint.node_id, &address);
                // At once, for the partitions that follow a hint to it; a changed address is taken in below.
                self.brokers.entry(endpoint.node_id).or_insert_with(|| Broker::new(address.clone()));
                endpoints.push((endpoint.node_id, address));
            }
        }
        let mut rest = sent;
        for topic in &response.topics {
            for partition in &topic.partitions {
                let is_it = |(place, _): &(usize, Key)| self.is_partition(*place, topic.topic, partition.index);
                // The order of a request, mostly.
                let Some(at) = rest.iter().position(is_it) else { continue };
                let (place, key) = rest.remove(at);
                self.on_partition(place, key, partition, now);
            }
        }
        // A broker that leaves one out says nothing of it.
        self.unanswered(rest, true, now);
        for (id, address) in endpoints {
            self.set_broker(id, &address, now);
        }
    }

    fn is_partition(&self, place: usize, topic: TopicRef<'_>, index: i32) -> bool {
        let Some(queue) = self.partitions.get(place).filter(|queue| queue.index == index) else { return false };
        self.topics.get(queue.topic).is_some_and(|known| match topic {
            TopicRef::Id(id) => known.id == id,
            TopicRef::Name(name) => *known.name == *name,
        })
    }

    fn unanswered(&mut self, sent: Sent, wholly: bool, now: Instant) {
        for (partition, key) in sent {
            self.answered(partition, key, &Answer::None { wholly }, None, now);
        }
    }

    fn on_partition(&mut self, place: usize, key: Key, response: &PartitionResponse<'_>, now: Instant) {
        let mut new_leader_known = false;
        if let Some(hint) = response.current_leader {
            let topic = self.partitions.get(place).and_then(|queue| self.topics.get(queue.topic));
            let name = topic.map(|topic| Arc::clone(&topic.name));
            if let Some(name) = name {
                new_leader_known = self.cluster.hint(&name, response.index, hint.leader_id, hint.leader_epoch)
                    && self.cluster.broker(hint.leader_id).is_some();
            }
        }
        let refused: Vec<i32> = response.record_errors.iter().map(|error| error.batch_index).collect();
        let answer = Answer::Code {
            code: response.error_code,
            offset: response.base_offset,
            refused: &refused,
            new_leader_known,
        };
        if response.error_code != 0 {
            self.note(place, response, now);
        }
        self.answered(place, key, &answer, Some(response), now);
        if new_leader_known {
            self.follow_leaders(now);
        }
    }

    /// Keeps an error as the cause of what follows.
    fn note(&mut self, place: usize, response: &PartitionResponse<'_>, now: Instant) {
        let Some(queue) = self.partitions.get(place) else { return };
        let Some(topic) = self.topics.get(queue.topic) else { return };
        let mut text = codes::describe(response.error_code.into());
        if let Some(message) = response.error_message.filter(|message| !message.is_empty()) {
            text.push_str(": ");
            text.push_str(message);
        }
        self.shared.causes.partition(&topic.name, queue.index, response.error_code, text, now);
    }

    /// Takes in the answer of a batch, or that there is none.
    pub(super) fn answered(
        &mut self,
        place: usize,
        key: Key,
        answer: &Answer<'_>,
        response: Option<&PartitionResponse<'_>>,
        now: Instant,
    ) {
        let mut effects = Vec::new();
        let Some(queue) = self.partitions.get_mut(place) else { return };
        queue.row.answered(key, answer, &mut effects);
        if matches!(answer, Answer::None { .. }) {
            queue.row.moved();
        }
        if queue.row.in_flight() == 0 {
            queue.sent_to = None;
        }
        self.carry_out(place, effects, response, now);
        self.list(place);
    }

    /// Called when a connection has ended: what was wholly written may have been carried out.
    pub(super) fn disconnected(&mut self, id: i32, error: &ConnectionError, now: Instant) {
        let Some(broker) = self.brokers.get_mut(&id) else { return };
        let Link::Up(up) = std::mem::replace(&mut broker.link, Link::None) else { return };
        let wrote_unanswered = up.wrote_unanswered;
        let left = up.connection.close();
        // A broker closes connections that were idle for long.
        let was_idle = left.is_empty() && !wrote_unanswered && matches!(error.cause, Cause::Closed { .. });
        if !was_idle {
            let peer = broker.address.to_string();
            self.shared.causes.broker(&peer, error.to_string(), now);
            tracing::warn!(broker = id, "a connection to Kafka ended: {error}");
            self.wait_before_reconnect(id, now);
            self.questions.want_metadata(now);
        }
        self.count_connections();
        // The next connection may be to a broker that has forgotten the producer.
        for queue in self.partitions.iter_mut().filter(|queue| queue.leader == Some(id)) {
            queue.row.moved();
        }
        for (sent, written) in left {
            self.unanswered(sent, written == Written::Wholly, now);
        }
    }

    pub(super) fn wait_before_reconnect(&mut self, id: i32, now: Instant) {
        let random = self.random();
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.failures = broker.failures.saturating_add(1);
            broker.link = Link::Waits(now + Backoff::RECONNECT.wait(broker.failures, random));
        }
    }
}
