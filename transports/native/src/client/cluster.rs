//! What the answers to the client's questions change.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::Error;

use super::broker::{Broker, Link};
use super::questions::{METADATA_AGE, Outcome};
use super::queue::PartitionQueue;
use super::topics::Route;
use super::{Client, batch};
use crate::cluster::backoff::Backoff;
use crate::cluster::metadata::Change;
use crate::cluster::problem::Problem;
use crate::failure;
use crate::net::address::Address;
use crate::net::connection::Answer;
use crate::net::error::{Cause, ConnectionError};
use crate::partition::{Mode, ProducerId, Row};
use crate::protocol::api::init_producer_id::InitProducerIdResponse;
use crate::protocol::api::metadata::MetadataResponse;

pub(super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

impl Client {
    pub(super) fn poll_questions(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if let Some(asking) = self.questions.asking() {
            let Poll::Ready(asked) = asking.as_mut().poll(cx) else { return false };
            let (address, outcome) = self.questions.asked(asked);
            self.on_outcome(&address, outcome, now);
            return true;
        }
        let names = || self.topics.names().cloned().collect();
        let only_bootstrap = self.asks_bootstrap;
        let brokers = self.cluster.brokers().map(|(_, address)| address).filter(|_| !only_bootstrap);
        let known = brokers.chain(&self.shared.settings.bootstrap);
        self.questions.ask(known, names, &self.shared.settings, now)
    }

    fn on_outcome(&mut self, address: &Address, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Metadata(answer, asked_at) => {
                self.asks_bootstrap = false;
                self.on_metadata(address, &answer, asked_at, now);
            }
            Outcome::ProducerId(answer) => {
                self.questions.failures.answered(address);
                self.on_producer_id(answer, now);
            }
            Outcome::None(error, was_producer_id) => {
                let random = self.random();
                self.questions.failures.failed(address, Backoff::RECONNECT, now, random);
                let text = error.message().strip_prefix("cannot connect: ").unwrap_or(error.message());
                self.shared.causes.broker(&address.to_string(), text.to_owned(), now);
                self.tell(Some(error));
                // Whatever was asked is still wanted.
                self.questions.want_metadata(now);
                if was_producer_id || self.needs_producer_id() {
                    self.questions.want_producer_id(now);
                }
            }
        }
    }

    pub(super) fn needs_producer_id(&self) -> bool {
        self.shared.settings.idempotent && self.producer_id.is_none()
    }

    /// Tells `connect` how far the client is.
    pub(super) fn tell(&self, last: Option<Error>) {
        let has_producer_id = !self.needs_producer_id();
        let has_leaders = self.brokers.values().all(|broker| broker.was_tried || !broker.leads);
        let topics = self.topics.places().filter_map(|place| self.topics.get(place));
        let known: Vec<_> =
            topics.filter(|topic| !topic.partitions.is_empty()).map(|topic| Arc::clone(&topic.name)).collect();
        self.shared.status.send_modify(|status| {
            status.has_producer_id = has_producer_id;
            status.has_leaders = has_leaders;
            status.topics = known;
            status.last = last.or(status.last.take());
        });
    }

    fn on_metadata(&mut self, address: &Address, answer: &Answer, asked_at: Instant, now: Instant) {
        let decoded = MetadataResponse::decode(answer.id.version, answer.id.correlation_id, &answer.frame);
        let response = match decoded {
            Ok(response) => {
                self.questions.failures.answered(address);
                response
            }
            Err(error) => {
                let random = self.random();
                self.questions.failures.failed(address, Backoff::RECONNECT, now, random);
                self.questions.drop_line();
                self.tell(Some(failure::undecodable(answer.id.api, &error)));
                return self.questions.want_metadata(now);
            }
        };
        self.questions.want_metadata_at(now + METADATA_AGE);
        let changes = self.cluster.apply(&response, now);
        let described = !changes.iter().any(|change| matches!(change, Change::Refused(_) | Change::Rebootstrap));
        for change in &changes {
            match change {
                Change::MadeAnew(topic) => self.made_anew(topic, now),
                Change::Refused(code) => {
                    self.tell(Some(failure::refused_question("Metadata", *code)));
                    self.questions.want_metadata(now);
                }
                Change::Rebootstrap => {
                    self.questions.drop_line();
                    self.asks_bootstrap = true;
                    self.questions.want_metadata(now);
                }
                Change::Brokers | Change::Leader(..) | Change::Partitions(..) | Change::Problem(..) => {}
            }
        }
        let brokers: Vec<_> = self.cluster.brokers().map(|(id, address)| (id, address.clone())).collect();
        for (id, address) in brokers {
            self.set_broker(id, &address, now);
        }
        for place in self.topics.places() {
            self.update_topic(place, described.then_some(asked_at), now);
        }
        self.follow_leaders(now);
        if !self.shared.status.borrow().has_metadata && self.cluster.brokers().next().is_some() {
            self.shared.status.send_modify(|status| status.has_metadata = true);
            if self.needs_producer_id() {
                self.questions.want_producer_id(now);
            }
        }
        self.tell(None);
    }

    /// Takes in the address of a broker.
    pub(super) fn set_broker(&mut self, id: i32, address: &Address, now: Instant) {
        let broker = self.brokers.entry(id).or_insert_with(|| Broker::new(address.clone()));
        if broker.address == *address {
            return;
        }
        broker.address = address.clone();
        let peer = address.to_string().into();
        match &broker.link {
            // Without idempotence what is under way is not sent again, and has its answer awaited.
            Link::Up(up) if up.connection.open() == 0 || self.shared.settings.idempotent => {
                let cause = Cause::Closed { answers: 1, partial: false };
                self.disconnected(id, &ConnectionError { peer, cause }, now);
            }
            Link::Up(_) | Link::None => {}
            Link::Waits(_) | Link::Opens(_) => broker.link = Link::None,
        }
    }

    /// Adds the partitions of a topic, and sends or fails what waits for it.
    fn update_topic(&mut self, place: usize, asked_at: Option<Instant>, now: Instant) {
        let Some(topic) = self.topics.get_mut(place) else { return };
        let name = Arc::clone(&topic.name);
        let Some(state) = self.cluster.topic(&name) else { return };
        topic.id = state.id;
        // The limit may have been raised since.
        topic.batch_bytes = topic.batch_bytes.filter(|(_, refused_at)| now < *refused_at + METADATA_AGE);
        let (count, fails, problem) = (state.partitions.len(), state.fails(now), state.problem);
        let settings = &self.shared.settings;
        let before = topic.partitions.len();
        for index in before..count {
            let mode = if settings.idempotent { Mode::Idempotent } else { Mode::Plain { acks: settings.acks } };
            let mut row = Row::new(mode, settings.max_in_flight);
            if let Some(id) = self.producer_id {
                row.renew(id);
            }
            topic.partitions.push(self.partitions.len());
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            self.partitions.push(PartitionQueue::new(place, index, row));
        }
        if count != before {
            self.shared.set_partition_count(&name, u32::try_from(count).unwrap_or(u32::MAX));
        }
        if let Some(problem) = fails {
            return self.fail_topic(place, problem, now);
        }
        match problem {
            Some((Problem::Again(code), _)) => {
                self.shared.causes.partition(&name, -1, code, kafka_tower_core::codes::describe(code.into()), now);
                self.questions.want_metadata(now);
            }
            Some(_) => self.questions.want_metadata(now),
            None => self.shared.causes.delivered(&name, -1),
        }
        // An answer with an error describes nothing.
        let asked_at = asked_at.filter(|_| problem.is_none());
        self.route_waiting(place, asked_at, now);
    }

    /// Puts the records that wait for a topic into its partitions. Fails those whose partition the answer to a later question does
    /// not name.
    fn route_waiting(&mut self, place: usize, asked_at: Option<Instant>, now: Instant) {
        let Some(topic) = self.topics.get_mut(place) else { return };
        if topic.partitions.is_empty() {
            return;
        }
        for (slot, since) in std::mem::take(&mut topic.waiting) {
            let Some(topic) = self.topics.get_mut(place) else { return };
            let count = topic.partitions.len();
            let most = (usize::MAX, usize::MAX);
            match topic.route(slot.record(), batch::room(&slot), most) {
                Route::To(partition) => {
                    let linger = self.shared.settings.linger;
                    if let Some(queue) = self.partitions.get_mut(partition) {
                        queue.push(slot, linger, now);
                        self.list(partition);
                    }
                }
                Route::Unknown if asked_at.is_some_and(|asked_at| since <= asked_at) => {
                    let elapsed = now.saturating_duration_since(slot.called_at());
                    let error = failure::unknown_partition(UNKNOWN_TOPIC_OR_PARTITION, slot.record(), count, elapsed);
                    self.settle(&slot, Err(error));
                }
                Route::Unknown => {
                    topic.waiting.push_back((slot, since));
                    self.questions.want_metadata(now);
                }
            }
        }
    }

    /// Lets each partition follow its leader.
    pub(super) fn follow_leaders(&mut self, now: Instant) {
        for place in 0..self.partitions.len() {
            let Some(queue) = self.partitions.get_mut(place).filter(|queue| !queue.retired) else { continue };
            let Some(topic) = self.topics.get(queue.topic) else { continue };
            let found = self.cluster.leader(&topic.name, queue.index);
            let leader = found.map(|(id, _)| id);
            if let Some((_, epoch)) = found.filter(|(_, epoch)| *epoch != queue.epoch) {
                // Also of the same broker: others may have led in between.
                queue.epoch = epoch;
                queue.row.moved();
            }
            if queue.leader == leader {
                continue;
            }
            queue.row.moved();
            if let Some(old) = queue.leader.and_then(|id| self.brokers.get_mut(&id)) {
                old.listed.retain(|listed| *listed != place);
            }
            queue.leader = leader;
            if let Some(broker) = leader.and_then(|id| self.brokers.get_mut(&id)) {
                broker.leads = true;
            }
            queue.listed = false;
            // The new leader need not wait for what the old one refused.
            queue.wait_until = queue.wait_until.filter(|_| leader.is_none());
            if leader.is_none() && !queue.is_empty() {
                self.questions.want_metadata(now);
            }
            self.list(place);
        }
        if self.partitions.iter().any(|queue| queue.leader.is_none() && !queue.retired && !queue.is_empty()) {
            self.questions.want_metadata(now);
        }
        for place in self.topics.places() {
            let partitions = &self.partitions;
            if let Some(topic) = self.topics.get_mut(place) {
                topic.avoid(|place| partitions.get(place).is_some_and(|queue| queue.leader.is_some()));
            }
        }
    }

    fn on_producer_id(&mut self, answer: InitProducerIdResponse, now: Instant) {
        if answer.error_code != 0 {
            let error = failure::refused_question("InitProducerId", answer.error_code);
            let passes =
                matches!(error.recovery(), kafka_tower_core::Recovery::Retry | kafka_tower_core::Recovery::Wait);
            if !passes {
                self.shared.status.send_modify(|status| status.failed = Some(error.clone()));
                self.fail_without_producer_id(&error);
            }
            self.tell(Some(error));
            return self.questions.producer_id_refused(passes, now);
        }
        let newest = ProducerId { id: answer.producer_id, epoch: answer.producer_epoch };
        self.producer_id = Some(newest);
        for place in 0..self.partitions.len() {
            if let Some(queue) = self.partitions.get_mut(place) {
                queue.row.renew(newest);
            }
            self.list(place);
        }
        self.tell(None);
    }
}
