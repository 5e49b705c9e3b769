//! State that a consumer's handle and its control thread share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Assignment, ConsumerEvents, GroupEvent, Subscription, TopicPartition};

use super::logs::{Logs, Sign};
use super::reader_waker::ReaderWaker;
use super::reading::{Reading, Taken, Then};
use super::unable::{self, Unable};
use crate::callbacks::Hooks;
use crate::ffi::consumer::{ConsumerInstance, LentBatch, PartitionQueue};
use crate::log::{Log, Source};

/// Time before what could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    pub(super) subscription: Subscription,
    pub(super) waker: Arc<ReaderWaker>,
    pub(super) log: Log,
    pub(super) logs: Arc<Logs>,
    pub(super) hooks: Hooks,
    /// Never locked while foreign code runs.
    state: Mutex<State>,
    /// The last lease has ended.
    returned: Condvar,
}

pub(super) struct State {
    /// `None` once the consumer has ended.
    pub(super) instance: Option<Arc<ConsumerInstance>>,
    /// Number of [leases](Lease).
    leases: usize,
    /// The partitions that librdkafka has assigned.
    pub(super) partitions: BTreeMap<TopicPartition, Partition>,
    pub(super) events: Option<Arc<dyn ConsumerEvents>>,
    /// Events for the next turns.
    pub(super) ahead: VecDeque<GroupEvent>,
    pub(super) notified: bool,
    pub(super) released: bool,
    /// The end of a look-up by [`look_up::begin`](super::look_up::begin), and its number.
    pub(super) begins: Option<(u64, Option<Vec<Option<i64>>>)>,
    /// Until when the consumer leaves, if it does.
    pub(super) leave: Option<Instant>,
    /// The last error of the client, for connecting.
    pub(super) last_error: Option<(i32, String)>,
    unable: Unable,
}

pub(super) struct Partition {
    pub(super) queue: PartitionQueue<ReaderWaker>,
    /// Where the assignment begins, if it is known.
    pub(super) begin: Option<i64>,
    pub(super) reading: Option<Reading>,
    pub(super) seek: Option<Seek>,
}

/// A seek that is to be done. Meanwhile the partition is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seek {
    pub(super) to: i64,
    pub(super) due: Instant,
    /// Since when librdkafka has refused it, and how often.
    pub(super) refused: Option<(Instant, u32)>,
}

impl Seek {
    pub(super) fn new(to: i64, due: Instant) -> Self {
        Self { to, due, refused: None }
    }
}

/// Records that were taken. Fields are dropped in this order.
pub(super) struct Batch<'a> {
    pub(super) lent: LentBatch,
    pub(super) taken: Taken,
    pub(super) lease: Lease<'a>,
}

impl Shared {
    pub(super) fn new(
        instance: Arc<ConsumerInstance>,
        logs: Arc<Logs>,
        subscription: Subscription,
        hooks: Hooks,
    ) -> Self {
        let state = State {
            instance: Some(instance),
            leases: 0,
            partitions: BTreeMap::new(),
            events: None,
            ahead: VecDeque::new(),
            notified: false,
            released: false,
            begins: None,
            leave: None,
            last_error: None,
            unable: Unable::default(),
        };
        Self {
            subscription,
            waker: Arc::default(),
            log: Log::default(),
            logs,
            hooks,
            state: Mutex::new(state),
            returned: Condvar::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the state, and ends the control thread's wait.
    pub(super) fn tell<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        if let Some(instance) = &state.instance {
            instance.wake();
        }
        result
    }

    /// Keeps the instance until the lease ends. `None` once it has ended.
    pub(super) fn lease(&self) -> Option<Lease<'_>> {
        let mut state = self.state();
        let instance = state.instance.clone()?;
        state.leases += 1;
        Some(Lease { shared: self, instance: Some(instance) })
    }

    /// Takes the next records of a partition. `None`: the epoch has ended. Everything is decided under the lock, so that no seek and no release comes between
    /// the records and their position.
    pub(super) fn take(&self, at: &Assignment, max: usize) -> Poll<Option<Batch<'_>>> {
        let mut state = self.state();
        let State { instance, leases, partitions, ahead, .. } = &mut *state;
        let found = partitions.get_mut(&at.at).filter(|of| of.epoch() == Some(at.epoch));
        let (Some(partition), Some(instance)) = (found, instance) else { return Poll::Ready(None) };
        let Partition { queue, reading: Some(reading), seek: seek @ None, .. } = partition else {
            return Poll::Pending;
        };
        let lent = queue.take(max);
        // After the records were taken: those from elsewhere came after the sign.
        let sign = self.logs.sign_of(&at.at.topic, at.at.partition);
        if let Some(Sign::Reset(reset)) = sign {
            // A record from the new place comes with its end.
            let end = instance.end_offset(&at.at.topic, at.at.partition);
            reading.was_reset(reset, end);
        }
        let taken = reading.take(lent.offsets(), queue.position(), sign);
        if sign == Some(Sign::LookUp) {
            self.logs.forget_look_up(&at.at.topic, at.at.partition);
        }
        let mut wake = false;
        match taken.then {
            Then::GoOn => {}
            Then::ReadAgain(_, to) => {
                *seek = to.map(|to| Seek::new(to, Instant::now() + READ_AGAIN));
                wake = true;
            }
            Then::SeekAgain(to) => {
                *seek = Some(Seek::new(to, Instant::now()));
                wake = true;
            }
            // The look-up of the log's range ends in an event.
            Then::OutOfRange(_) => partition.reading = None,
            Then::Restart(from) => {
                partition.reading = None;
                ahead.push_back(GroupEvent::Restarted { at: at.at.clone(), from });
                wake = true;
            }
        }
        if wake {
            instance.wake();
        }
        if lent.len() == 0 && taken.position.is_none() && !matches!(taken.then, Then::OutOfRange(_)) {
            return Poll::Pending;
        }
        *leases += 1;
        let lease = Lease { shared: self, instance: None };
        drop(state);
        Poll::Ready(Some(Batch { lent, taken, lease }))
    }

    /// Tells the source or the log why a partition was not read completely.
    pub(super) fn tell_taken(&self, at: &TopicPartition, then: &Then) {
        let Then::ReadAgain(failed, _) = then else { return };
        let told = self.unable(failed.code, &failed.text, Some(at)).is_some_and(|event| {
            self.tell(|state| state.ahead.push_back(event));
            true
        });
        if !told {
            let text = format!("{at} was not read, and is read again: {}", failed.text);
            self.log.write(Source::Client { code: failed.code }, &text, Instant::now());
        }
    }

    /// The source's event for an error of the client, if it is told of it.
    pub(super) fn unable(&self, code: i32, text: &str, at: Option<&TopicPartition>) -> Option<GroupEvent> {
        let (topic, topics) = (at.map(|at| &*at.topic), &self.subscription.topics);
        let mut state = self.state();
        let news = state.events.is_some() && state.unable.is_news(code, text, topic, topics, Instant::now());
        news.then(|| GroupEvent::Unable { error: unable::error(code, text), at: at.cloned() })
    }

    /// Names a partition. The name of a topic of the subscription is shared.
    pub(super) fn name(&self, topic: &str, partition: i32) -> TopicPartition {
        let known = self.subscription.topics.iter().find(|known| &***known == topic);
        TopicPartition { topic: known.map_or_else(|| topic.into(), Arc::clone), partition }
    }

    /// Waits until every lease has ended. None begins after the instance was taken out of the state.
    pub(super) fn wait_for_leases(&self) {
        let mut state = self.state();
        while state.leases > 0 {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// Reads a partition again from an offset, in the same epoch.
    pub(super) fn read_again(&mut self, at: &Assignment, from: i64) {
        if let Some(partition) = self.partitions.get_mut(&at.at).filter(|of| of.reading.is_none()) {
            partition.reading = Some(Reading::seek(at.epoch, from));
            partition.seek = Some(Seek::new(from, Instant::now() + READ_AGAIN));
        }
    }

    /// Nothing of these partitions is read any more.
    pub(super) fn end_readings(&mut self, ended: &[TopicPartition]) {
        for at in ended {
            if let Some(partition) = self.partitions.get_mut(at) {
                (partition.reading, partition.seek) = (None, None);
            }
        }
    }
}

impl Partition {
    pub(super) fn new(queue: PartitionQueue<ReaderWaker>) -> Self {
        Self { queue, begin: None, reading: None, seek: None }
    }

    fn epoch(&self) -> Option<u64> {
        self.reading.as_ref().map(|reading| reading.epoch)
    }
}

/// While it lives, the instance is not destroyed: records may be lent, and calls to it be under way.
pub(super) struct Lease<'a> {
    shared: &'a Shared,
    instance: Option<Arc<ConsumerInstance>>,
}

impl Lease<'_> {
    pub(super) fn instance(&self) -> Option<&ConsumerInstance> {
        self.instance.as_deref()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Before the control thread may go on, which is to drop the last reference.
        self.instance = None;
        let mut state = self.shared.state();
        state.leases -= 1;
        if state.leases == 0 && state.instance.is_none() {
            self.shared.returned.notify_all();
        }
    }
}
