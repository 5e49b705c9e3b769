//! The task that keeps a source in its group.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use kafka_tower_core::{ConsumerEvents, GroupEvent, Subscription, TopicPartition};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{GroupConsumer, State};
use crate::groups::{MemberId, Membership};

/// Follows the group, and calls the source's turns. Ends when the source has left.
pub(super) struct Driver {
    consumer: Arc<GroupConsumer>,
    events: Arc<dyn ConsumerEvents>,
    /// The group that it follows. That of fixed partitions has no other member.
    group: Arc<str>,
    member: MemberId,
    generation: i32,
    owned: Vec<TopicPartition>,
    /// The source was asked to give its partitions back, and has not answered.
    revoked: bool,
    /// When the source wants its next turn.
    next: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    left: bool,
}

impl Driver {
    pub(super) fn new(consumer: Arc<GroupConsumer>, events: Arc<dyn ConsumerEvents>) -> Self {
        let group = followed(&consumer);
        let member = join(&consumer, &group);
        Self {
            consumer,
            events,
            group,
            member,
            generation: 0,
            owned: Vec::new(),
            revoked: false,
            next: None,
            timer: None,
            left: false,
        }
    }

    fn turn(&mut self, event: Option<GroupEvent>) {
        let next = self.events.turn(Instant::now().into_std(), event);
        self.next = next.map(Instant::from_std);
    }

    /// Takes one step. `Pending` if there is none.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.consumer.state();
        let old = state.driver.replace(cx.waker().clone());
        let State { events, notified, leaving, released, .. } = &mut *state;
        let event = events.pop_front();
        let (notified, leaving) = (event.is_none() && std::mem::take(notified), event.is_none() && *leaving);
        let released = self.revoked && event.is_none() && std::mem::take(released);
        drop(state);
        drop(old);
        if event.is_some() || notified {
            self.turn(event);
            return Poll::Ready(());
        }
        if leaving {
            self.leave();
            return Poll::Ready(());
        }
        let group = Arc::clone(&self.group);
        if released {
            self.revoked = false;
            self.owned.clear();
            self.consumer.broker.rejoin(&group, self.member);
            return Poll::Ready(());
        }
        match self.consumer.broker.membership(&group, self.member, cx) {
            Membership::Gone => {
                self.member = join(&self.consumer, &group);
                self.lose();
            }
            Membership::GiveUp if !self.revoked => {
                self.revoked = true;
                self.turn(Some(GroupEvent::Revoked(self.owned.clone())));
            }
            Membership::Assigned { generation, partitions } if generation != self.generation => {
                if !self.owned.is_empty() {
                    self.lose();
                }
                self.generation = generation;
                self.consumer.state().generation = generation;
                self.owned = partitions.into_iter().map(|(topic, number)| TopicPartition::new(topic, number)).collect();
                let fixed = &self.consumer.subscription.partitions;
                self.owned.retain(|at| fixed.is_empty() || fixed.contains(at));
                self.turn(Some(GroupEvent::Assigned(self.owned.clone())));
            }
            Membership::GiveUp | Membership::Waiting | Membership::Assigned { .. } => {
                ready!(self.poll_timer(cx));
                self.consumer.state().expiry = None;
                self.consumer.wake_reader();
                self.turn(None);
            }
        }
        Poll::Ready(())
    }

    /// The group has given the partitions to others.
    fn lose(&mut self) {
        let lost = std::mem::take(&mut self.owned);
        self.revoked = false;
        let mut state = self.consumer.state();
        state.readings.clear();
        state.released = false;
        drop(state);
        self.turn(Some(GroupEvent::Lost(lost)));
    }

    fn leave(&mut self) {
        self.left = true;
        let mut state = self.consumer.state();
        state.readings.clear();
        state.member = None;
        drop(state);
        self.consumer.broker.leave(&self.group, self.member);
        self.turn(Some(GroupEvent::Left));
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let expiry = self.consumer.state().expiry;
        let Some(at) = self.next.into_iter().chain(expiry).min() else {
            self.timer = None;
            return Poll::Pending;
        };
        match &mut self.timer {
            Some(timer) if timer.deadline() == at => {}
            Some(timer) => timer.as_mut().reset(at),
            timer @ None => *timer = Some(Box::pin(sleep_until(at))),
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }
}

fn followed(consumer: &GroupConsumer) -> Arc<str> {
    static FIXED: AtomicU64 = AtomicU64::new(0);
    let Subscription { group_id, partitions, .. } = &consumer.subscription;
    if partitions.is_empty() {
        return Arc::clone(group_id);
    }
    format!("{group_id}, fixed partitions {}", FIXED.fetch_add(1, Ordering::Relaxed)).into()
}

fn join(consumer: &GroupConsumer, group: &Arc<str>) -> MemberId {
    let topics: BTreeSet<_> = consumer.subscription.topics.iter().cloned().collect();
    let member = consumer.broker.join(group, topics);
    if let Some(pattern) = consumer.subscription.pattern.clone() {
        consumer.broker.follow(group, member, pattern);
    }
    let mut state = consumer.state();
    (state.member, state.generation) = (Some(member), 0);
    member
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.left {
            if self.step(cx).is_pending() {
                // The group or the log has changed, or nothing has: the reader looks again.
                self.consumer.wake_reader();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

/// If the runtime ends before the source has left, nothing may wait for this task.
impl Drop for Driver {
    fn drop(&mut self) {
        if !self.left {
            self.leave();
        }
    }
}
