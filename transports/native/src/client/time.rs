//! Deadlines, pauses, and brokers that do not answer.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::ledger::RecordTransport;
use tokio::time::sleep_until;

use super::Client;
use super::broker::Link;
use crate::failure;
use crate::net::error::{Cause, ConnectionError};
use crate::protocol::api::Api;
use crate::slot::Slot;

/// Time without an answer after which the client asks whether the partitions have another leader.
const SLOW: Duration = Duration::from_secs(1);
/// Records that are still in flight after they were given up are looked at again after this time.
const OVERDUE_AGAIN: Duration = Duration::from_secs(1);

impl Client {
    /// Does what is due. Returns whether anything was.
    pub(super) fn keep_time(&mut self, now: Instant) -> bool {
        let mut moved = self.end_if_due(now);
        if self.shared.ledger().next_deadline().is_some_and(|at| at <= now) {
            self.expire(now);
            moved = true;
        }
        while let Some(Reverse((at, partition))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(queue) = self.partitions.get_mut(partition) {
                queue.timer = queue.timer.filter(|timer| *timer > now);
            }
            self.list(partition);
            moved = true;
        }
        if self.slow_at().is_some_and(|at| at <= now) {
            self.look_at_slow_brokers(now);
            moved = true;
        }
        moved
    }

    fn expire(&mut self, now: Instant) {
        let causes = &self.shared.causes;
        let error = |slot: &Slot, admitted: bool| {
            let why = causes.why(slot.record(), now);
            failure::expired(slot, admitted, now, why.as_deref(), causes.is_throttled(now))
        };
        let overdue = self.shared.expire(now, error);
        // Their callers have an error, from their deadline or from the close of their sink: their room is free at once.
        self.take_late(now);
        if !overdue.is_empty() {
            self.give_up_overdue(&overdue, now);
        }
    }

    /// Takes out the records whose callers have an error and that were not sent.
    fn take_late(&mut self, now: Instant) {
        let mut late = Vec::new();
        for queue in &mut self.partitions {
            late.extend(queue.take(|slot| !slot.is_awaited()));
        }
        for place in self.topics.places() {
            let Some(topic) = self.topics.get_mut(place) else { continue };
            late.extend(topic.take(|slot| !slot.is_awaited()));
        }
        for slot in late {
            let why = self.shared.causes.why(slot.record(), now);
            self.settle(&slot, Err(failure::expired_unsent(&slot, now, why.as_deref())));
        }
    }

    /// Gives up the records that were in flight for too long, with the batches that they are in.
    fn give_up_overdue(&mut self, overdue: &[Arc<Slot>], now: Instant) {
        let which: BTreeSet<_> = overdue.iter().map(Arc::as_ptr).collect();
        let bound = self.shared.settings.delivery_bound;
        tracing::error!(records = which.len(), ?bound, "records had no answer for too long: they are given up");
        let mut waiting = Vec::new();
        for place in 0..self.partitions.len() {
            let Some(queue) = self.partitions.get_mut(place) else { continue };
            waiting.extend(queue.take(|slot| which.contains(&std::ptr::from_ref(slot))));
            let mut effects = Vec::new();
            queue.row.give_up(|batch| batch.slots.iter().any(|slot| which.contains(&Arc::as_ptr(slot))), &mut effects);
            if queue.row.in_flight() == 0 {
                queue.sent_to = None;
            }
            self.carry_out(place, effects, None, now);
            self.list(place);
        }
        for place in self.topics.places() {
            let Some(topic) = self.topics.get_mut(place) else { continue };
            waiting.extend(topic.take(|slot| which.contains(&std::ptr::from_ref(slot))));
        }
        for slot in waiting {
            let why = self.shared.causes.why(slot.record(), now);
            self.settle(&slot, Err(failure::overdue(slot.record(), bound, false, why.as_deref())));
        }
        self.settle_collected();
        let left: Vec<_> = overdue.iter().filter(|slot| !slot.is_settled()).cloned().collect();
        self.shared.ledger().watch_again(&left, later(now, OVERDUE_AGAIN));
    }

    /// When to look at brokers that do not answer.
    fn slow_at(&self) -> Option<Instant> {
        let oldest = |link: &Link| match link {
            Link::Up(up) => up.sent_at.front().copied(),
            _ => None,
        };
        let first = self.brokers.values().filter_map(|broker| oldest(&broker.link)).min()?;
        Some(first.max(self.looked_at) + SLOW)
    }

    /// Asks for metadata if a broker does not answer. If partitions that it has batches of have another leader, its connection is
    /// cut: the batches go to the new leader, which recognizes those that it has.
    fn look_at_slow_brokers(&mut self, now: Instant) {
        self.looked_at = now;
        self.questions.want_metadata(now);
        if !self.shared.settings.idempotent {
            return;
        }
        let is_slow =
            |link: &Link| matches!(link, Link::Up(up) if up.sent_at.front().is_some_and(|at| *at + SLOW <= now));
        let slow: Vec<i32> =
            self.brokers.iter().filter(|(_, broker)| is_slow(&broker.link)).map(|(id, _)| *id).collect();
        for id in slow {
            let moved = |queue: &super::queue::PartitionQueue| {
                queue.sent_to == Some(id) && queue.leader.is_some_and(|leader| leader != id)
            };
            if self.partitions.iter().any(moved) {
                let peer = self.brokers.get(&id).map_or_else(String::new, |broker| broker.address.to_string());
                let cause = Cause::TimedOut { api: Api::Produce, timeout: SLOW };
                self.disconnected(id, &ConnectionError { peer: peer.into(), cause }, now);
            }
        }
    }

    /// Ready if something may be due.
    pub(super) fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let broker_at = |broker: &super::Broker| match &broker.link {
            Link::Waits(until) if !broker.listed.is_empty() => Some(*until),
            Link::Up(up) if !broker.listed.is_empty() => up.throttled_until,
            _ => None,
        };
        let broker = self.brokers.values().filter_map(broker_at).min();
        let at = [
            self.shared.ledger().next_deadline(),
            self.shared.ledger().closing().deadline(),
            self.timers.peek().map(|Reverse((at, _))| *at),
            self.questions.next_at(),
            self.slow_at(),
            broker,
        ];
        let Some(at) = at.into_iter().flatten().min().map(tokio::time::Instant::from_std) else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }
}
