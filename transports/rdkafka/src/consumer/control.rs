//! The thread of a consumer: serves librdkafka's events, calls the turns of the source, and carries out what they ask for.
//! Membership in the group depends on this thread alone.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::{ConsumerEvents, Error, GroupEvent, OffsetReset, TopicPartition};

use super::client_events::{self, Happened};
use super::logs::Sign;
use super::refused_seek::{self, Then};
use super::shared::{Partition, Seek, Shared};
use super::{commits, logs, look_up};
use crate::codes;
use crate::ffi::Queue;
use crate::ffi::consumer::{Begin, ConsumerInstance, PartitionQueue, Place, Protocol};
use crate::log::Source;

/// Longest wait for an event. Turns that were asked for and wake-ups end it earlier.
const IDLE: Duration = Duration::from_millis(500);
/// Interval of the look for the end of a close, which is no event.
const CLOSING: Duration = Duration::from_millis(5);
/// Maximum time of a seek, which librdkafka's main thread carries out.
const SEEK: Duration = Duration::from_secs(1);

/// Starts the thread. It ends after [`Consumer::leave`](kafka_tower_core::Consumer::leave).
pub(super) fn spawn(shared: Arc<Shared>, instance: Arc<ConsumerInstance>) -> std::io::Result<()> {
    thread::Builder::new().name("kafka-tower-source".to_owned()).spawn(move || {
        let events = None;
        let control = Control {
            shared: &shared,
            instance: &instance,
            events,
            next: None,
            protocol: Protocol::Eager,
            look_ups: 0,
            assigning: None,
            revoked: None,
            ended: None,
        };
        control.run();
        // Here, and on no thread of the application: it may take seconds.
        drop(instance);
        shared.log.end(Instant::now());
    })?;
    Ok(())
}

struct Control<'a> {
    shared: &'a Arc<Shared>,
    instance: &'a Arc<ConsumerInstance>,
    events: Option<Arc<dyn ConsumerEvents>>,
    /// When the source wants its next turn.
    next: Option<Instant>,
    /// The protocol of the last rebalance. librdkafka must not be asked for it once the consumer closes.
    protocol: Protocol,
    /// Number of look-ups that have begun.
    look_ups: u64,
    /// What the group has assigned, until it is known where that begins. Then the assignment is answered.
    assigning: Option<Vec<TopicPartition>>,
    /// What the group has taken back, until it is released.
    revoked: Option<Vec<TopicPartition>>,
    /// librdkafka's consumer has ended by a fatal error.
    ended: Option<Error>,
}

impl Control<'_> {
    fn run(mut self) {
        let mut leave = None;
        while leave.is_none() && self.ended.is_none() {
            self.guarded(|this| leave = this.step());
            if leave.is_none() && self.ended.is_none() {
                let wait = self.wait();
                self.guarded(|this| this.serve(this.instance.events(), wait));
            }
        }
        self.guarded(|this| this.leave(leave));
        self.guarded(|this| this.turn(Some(GroupEvent::Left)));
        // The last reference to the source's events may be this one.
        self.guarded(|this| drop(this.events.take()));
        self.end();
    }

    /// Catches panics, for example of a subscriber to the log: the thread must go on.
    fn guarded(&mut self, f: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| f(self))).is_err() {
            let text = "a panic in a callback of the application was caught";
            let log = || self.shared.log.write(Source::Panic { of: "a source" }, text, Instant::now());
            // It may be the subscriber that panics.
            drop(catch_unwind(AssertUnwindSafe(log)));
        }
    }

    fn wait(&self) -> Duration {
        let now = Instant::now();
        let state = self.shared.state();
        let seeks = state.partitions.values().filter_map(|partition| Some(partition.seek?.due));
        seeks.chain(self.next).map(|due| due.saturating_duration_since(now)).fold(IDLE, Duration::min)
    }

    /// Does everything that is due. Returns until when the consumer leaves, if it does.
    fn step(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.shared.log.tick(now);
        self.instance.find_lost_brokers(now);
        self.write_log();
        if self.shared.logs.has_signs() {
            let state = self.shared.state();
            self.shared.logs.forget_others(|topic, partition| {
                state.partitions.keys().any(|at| at.partition == partition && *at.topic == *topic)
            });
            drop(state);
            // The reader finds the others, though nothing comes.
            self.shared.waker.wake();
        }
        self.join();
        loop {
            let mut state = self.shared.state();
            let Some(event) = state.ahead.pop_front() else { break };
            drop(state);
            self.turn(Some(event));
        }
        let notified = std::mem::take(&mut self.shared.state().notified);
        if notified || self.next.is_some_and(|next| next <= Instant::now()) {
            self.turn(None);
        }
        self.begin();
        if self.revoked.is_some() && self.instance.assignment_lost() {
            self.lose();
        }
        if std::mem::take(&mut self.shared.state().released) {
            self.give_back();
        }
        self.seek();
        self.shared.state().leave
    }

    fn turn(&mut self, event: Option<GroupEvent>) {
        // Before the turn: after a panic it is not called again at once.
        self.next = None;
        if let Some(events) = &self.events {
            self.next = events.turn(Instant::now(), event);
        }
    }

    /// Joins the group when the source is there.
    fn join(&mut self) {
        if self.events.is_some() {
            return;
        }
        let Some(events) = self.shared.state().events.clone() else { return };
        self.events = Some(events);
        let fixed = &self.shared.subscription.partitions;
        if !fixed.is_empty() {
            self.turn(None);
            return self.assigned(fixed.clone());
        }
        // librdkafka takes a topic that begins with `^` for a pattern. A part of the name suffices for one in the classic protocol,
        // and not in KIP-848.
        let pattern = self.shared.subscription.pattern.as_ref().map(|pattern| format!("^({pattern})$"));
        let topics = self.shared.subscription.topics.iter().map(|topic| &**topic).chain(pattern.as_deref());
        if let Err(code) = self.instance.subscribe(topics) {
            self.ended = Some(client_events::ended(code, "the consumer could not join its group", None));
        }
        self.turn(None);
    }

    /// Waits for an event and serves it.
    fn serve(&mut self, queue: &Queue, wait: Duration) {
        let mut happened = None;
        queue.poll(wait, &mut Vec::new(), |event| happened = client_events::read(self.shared, self.instance, event));
        match happened {
            None => {}
            Some(Happened::Unable(event)) => self.turn(Some(event)),
            Some(Happened::Ended(error)) => self.ended = Some(error),
            Some(Happened::Committed { number, code, places }) => {
                let event = commits::answer(self.shared, number, code, &places);
                self.turn(Some(event));
            }
            Some(Happened::Assigned(places)) => self.assigned(self.names(&places)),
            Some(Happened::Revoked(places)) => self.revoked(&places),
        }
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        self.protocol = self.instance.protocol();
        self.look_ups += 1;
        if partitions.is_empty() || !look_up::begin(self.shared, self.look_ups, &partitions) {
            return self.assign(partitions, None);
        }
        self.assigning = Some(partitions);
    }

    /// Answers the assignment once the look-up has ended. If the assignment was lost meanwhile, librdkafka waits for the answer
    /// before it takes it back.
    fn begin(&mut self) {
        let ended = self.shared.state().begins.take_if(|(number, _)| *number == self.look_ups);
        if self.assigning.is_none() || ended.is_none() && !self.instance.assignment_lost() {
            return;
        }
        let partitions = self.assigning.take().unwrap_or_default();
        let offsets = ended.and_then(|(_, offsets)| offsets);
        self.assign(partitions, offsets.as_deref());
    }

    /// `offsets`: those that the group has committed, if that is known.
    fn assign(&mut self, partitions: Vec<TopicPartition>, offsets: Option<&[Option<i64>]>) {
        let start = match self.shared.subscription.start {
            OffsetReset::Latest => Begin::End,
            _ => Begin::First,
        };
        let begin = |index: usize| match offsets {
            Some(offsets) => offsets.get(index).copied().flatten().map_or(start, Begin::Offset),
            None => Begin::Committed,
        };
        let begins: Vec<_> = partitions.iter().cloned().enumerate().map(|(index, at)| (at, begin(index))).collect();
        let mut state = self.shared.state();
        for (at, begin) in &begins {
            if !state.partitions.contains_key(at) {
                // Before it is assigned, so that no record is forwarded to the events.
                let waker = Arc::clone(&self.shared.waker);
                let queue = PartitionQueue::detach(self.instance, &at.topic, at.partition, waker);
                if let Some(queue) = queue {
                    state.partitions.insert(at.clone(), Partition::new(queue));
                }
            }
            if let Some(partition) = state.partitions.get_mut(at) {
                partition.begin = begin.offset();
            }
        }
        drop(state);
        partitions.iter().for_each(|at| self.shared.logs.forget(&at.topic, at.partition));
        match self.instance.assign(self.protocol, &begins) {
            Ok(()) => self.turn(Some(GroupEvent::Assigned(partitions))),
            Err(code) => {
                self.fail("partitions were not assigned, and are given back", code);
                self.revoked = Some(partitions);
                self.give_back();
            }
        }
    }

    fn revoked(&mut self, places: &[Place]) {
        self.protocol = self.instance.protocol();
        let partitions = self.names(places);
        self.shared.state().released = false;
        self.assigning = None;
        // librdkafka waits for the answer before it takes more back.
        self.revoked = Some(partitions.clone());
        if self.instance.assignment_lost() {
            self.lose();
        } else {
            self.turn(Some(GroupEvent::Revoked(partitions)));
        }
    }

    fn lose(&mut self) {
        let Some(lost) = self.revoked.clone() else { return };
        self.shared.state().end_readings(&lost);
        self.turn(Some(GroupEvent::Lost(lost)));
        self.give_back();
    }

    /// Answers the revocation.
    fn give_back(&mut self) {
        let Some(revoked) = self.revoked.take() else { return };
        self.shared.state().end_readings(&revoked);
        if let Err(code) = self.instance.unassign(self.protocol, &revoked) {
            self.fail("partitions were not given back", code);
        }
        // Afterwards, because this discards what librdkafka has read ahead.
        self.drop_partitions(|at| revoked.contains(at));
    }

    fn drop_partitions(&self, mut ended: impl FnMut(&TopicPartition) -> bool) {
        let mut state = self.shared.state();
        let all = std::mem::take(&mut state.partitions);
        let (dropped, kept): (BTreeMap<_, _>, _) = all.into_iter().partition(|(at, _)| ended(at));
        state.partitions = kept;
        drop(state);
        dropped.keys().for_each(|at| self.shared.logs.forget(&at.topic, at.partition));
        drop(dropped);
        self.shared.waker.wake();
    }

    /// Carries out the seeks that are due. Until one is done, nothing of its partition is read.
    fn seek(&mut self) {
        let now = Instant::now();
        let state = self.shared.state();
        let due = |(at, partition): (&TopicPartition, &Partition)| {
            Some((at.clone(), partition.seek.filter(|seek| seek.due <= now)?))
        };
        let due: Vec<_> = state.partitions.iter().filter_map(due).collect();
        drop(state);
        for (at, seek) in due {
            let logs = &self.shared.logs;
            logs.forget(&at.topic, at.partition);
            let mut done = self.instance.seek(&at.topic, at.partition, seek.to, SEEK);
            let sign = logs.sign_of(&at.topic, at.partition);
            if matches!(sign, Some(Sign::Reset(reset)) if reset != seek.to) {
                // Of the place before, perhaps.
                done = done.and(Err(codes::LOCAL_STATE));
            }
            match done {
                Ok(()) => {
                    self.change_seek(&at, seek, |partition| partition.seek = None);
                    self.shared.waker.wake();
                }
                Err(code) => self.refused(&at, seek, code),
            }
        }
    }

    fn refused(&mut self, at: &TopicPartition, seek: Seek, code: i32) {
        let now = Instant::now();
        let (since, times) = seek.refused.map_or((now, 1), |(since, times)| (since, times.saturating_add(1)));
        let then = refused_seek::then(code, now.saturating_duration_since(since), times);
        let stands = match then {
            Then::Again(delay) | Then::TellAndAgain(delay) => {
                let again = Seek { due: later(now, delay), refused: Some((since, times)), ..seek };
                self.change_seek(at, seek, |partition| partition.seek = Some(again))
            }
            Then::GiveUp => self.change_seek(at, seek, |partition| (partition.reading, partition.seek) = (None, None)),
        };
        if !stands {
            return;
        }
        tracing::debug!(%at, code, times, ?then, "a seek was refused");
        if !matches!(then, Then::Again(_)) {
            let ends =
                if then == Then::GiveUp { "it is not read until it is assigned again" } else { "it is repeated" };
            let text = format!("a seek of {at} to offset {} was refused, {ends}", seek.to);
            match self.shared.unable(code, &text, Some(at)) {
                Some(event) => self.turn(Some(event)),
                None => self.shared.log.write(Source::Client { code }, &text, now),
            }
        }
    }

    /// False if the partition was given back, or sought again.
    fn change_seek(&self, at: &TopicPartition, seek: Seek, change: impl FnOnce(&mut Partition)) -> bool {
        let mut state = self.shared.state();
        let partition = state.partitions.get_mut(at).filter(|partition| partition.seek == Some(seek));
        partition.map(change).is_some()
    }

    /// Leaves the group, at most until then. Without a time, librdkafka's consumer has ended by itself.
    fn leave(&mut self, until: Option<Instant>) {
        let mut state = self.shared.state();
        let owned: Vec<_> = state.partitions.keys().cloned().collect();
        state.end_readings(&owned);
        // From now on no metadata is asked for: librdkafka does not answer while it closes.
        state.leave.get_or_insert_with(Instant::now);
        drop(state);
        if self.assigning.take().is_some() && until.is_some() {
            if let Err(code) = self.instance.assign(self.protocol, &[]) {
                self.fail("a rebalance was not answered", code);
            }
        }
        self.give_back();
        let Some(until) = until else {
            if !owned.is_empty() {
                self.turn(Some(GroupEvent::Lost(owned)));
            }
            if let Some(error) = self.ended.take() {
                self.turn(Some(GroupEvent::Failed(error)));
            }
            return;
        };
        let queue = match self.instance.close() {
            Ok(queue) => queue,
            Err(code) => return self.fail("the consumer could not leave its group", code),
        };
        while !self.instance.is_closed() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(
                    "a consumer did not leave its group in time; the group notices after its session time-out"
                );
                break;
            }
            let mut happened = None;
            queue.poll(left.min(CLOSING), &mut Vec::new(), |event| {
                happened = client_events::read(self.shared, self.instance, event);
            });
            let answered = match happened {
                Some(Happened::Assigned(_)) => self.instance.assign(self.protocol, &[]),
                Some(Happened::Revoked(places)) => {
                    let revoked = self.names(&places);
                    self.instance.unassign(self.protocol, &revoked)
                }
                Some(Happened::Committed { number, code, places }) => {
                    let event = commits::answer(self.shared, number, code, &places);
                    self.turn(Some(event));
                    Ok(())
                }
                Some(Happened::Unable(_) | Happened::Ended(_)) | None => Ok(()),
            };
            if let Err(code) = answered {
                self.fail("a rebalance was not answered", code);
            }
        }
    }

    /// Ends everything but the last reference to the instance.
    fn end(&self) {
        self.drop_partitions(|_| true);
        let mut state = self.shared.state();
        let (instance, events) = (state.instance.take(), state.events.take());
        drop(state);
        drop(instance);
        self.guarded_drop(events);
        self.shared.wait_for_leases();
        self.shared.waker.wake();
        drop(catch_unwind(AssertUnwindSafe(|| self.write_log())));
    }

    fn guarded_drop(&self, events: Option<Arc<dyn ConsumerEvents>>) {
        drop(catch_unwind(AssertUnwindSafe(|| drop(events))));
    }

    fn names(&self, places: &[Place]) -> Vec<TopicPartition> {
        places.iter().map(|place| self.shared.name(&place.topic, place.partition)).collect()
    }

    fn write_log(&self) {
        for logs::Line { level, facility, text } in self.shared.logs.take_lines() {
            self.shared.log.librdkafka(level, &facility, &text, Instant::now());
        }
    }

    fn fail(&self, what: &str, code: i32) {
        let text = format!("{what}: {}", codes::describe(code));
        self.shared.log.write(Source::Client { code }, &text, Instant::now());
    }
}
