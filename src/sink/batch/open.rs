//! The messages of a batch or a stream that are on their way, and the results in order.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use kafka_tower_core::{Delivery, Result};

use super::super::edge::BoxFuture;

/// Futures that share a waker. Delivery reports come in batches and nearly in order: a wake-up polls this many at most,
/// not all of a large batch, and a message costs no allocation for a waker of its own.
const GROUP: usize = 64;

pub(in crate::sink) struct Open {
    task: Arc<Task>,
    groups: VecDeque<Group>,
    /// A group that is done, for the next one: messages that settle at once would take a new one each.
    spare: Option<Group>,
    results: VecDeque<Result<Delivery>>,
    /// Messages pushed whose results were not taken.
    held: usize,
}

struct Group {
    slots: Vec<Slot>,
    /// Slots at the front whose results were taken.
    taken: usize,
    open: usize,
    bell: Arc<Bell>,
    waker: Waker,
}

enum Slot {
    Open(BoxFuture),
    Done(Result<Delivery>),
    Taken,
}

/// The task that polls the batch.
#[derive(Default)]
struct Task(Mutex<Option<Waker>>);

/// Says that a future of the group wants to be polled.
struct Bell {
    rung: AtomicBool,
    task: Arc<Task>,
}

impl Open {
    pub(in crate::sink) fn new() -> Self {
        Self { task: Arc::default(), groups: VecDeque::new(), spare: None, results: VecDeque::new(), held: 0 }
    }

    /// A message on its way, polled here once: to ring for it would poll its whole group. [`poll`](Self::poll) has to
    /// follow before the task rests, because the bell may know an older task.
    pub(in crate::sink) fn push(&mut self, mut future: BoxFuture) {
        self.held += 1;
        let group = self.group();
        let slot = match future.as_mut().poll(&mut Context::from_waker(&group.waker)) {
            Poll::Ready(result) => Slot::Done(result),
            Poll::Pending => {
                group.open += 1;
                Slot::Open(future)
            }
        };
        group.slots.push(slot);
    }

    /// A message whose fate is known already.
    pub(in crate::sink) fn settled(&mut self, result: Result<Delivery>) {
        self.held += 1;
        if self.groups.is_empty() {
            return self.results.push_back(result);
        }
        self.group().slots.push(Slot::Done(result));
    }

    fn group(&mut self) -> &mut Group {
        if self.groups.back().is_none_or(|group| group.slots.len() == GROUP) {
            let group = self.spare.take().unwrap_or_else(|| Group::new(&self.task));
            self.groups.push_back(group);
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    /// Polls those that rang; ready when no message is on its way.
    pub(in crate::sink) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the bells are looked at: one that rings later finds the right task.
        self.task.set(cx.waker());
        for group in &mut self.groups {
            group.poll();
        }
        while self.groups.front().is_some_and(|group| group.open == 0) {
            let Some(mut group) = self.groups.pop_front() else { break };
            self.results.extend(group.slots.drain(..).filter_map(Slot::done));
            group.taken = 0;
            self.spare = Some(group);
        }
        if self.groups.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// All results in the order of the messages, once [`poll`](Self::poll) was ready.
    pub(super) fn take(&mut self) -> Vec<Result<Delivery>> {
        self.held = 0;
        mem::take(&mut self.results).into()
    }

    /// The next result in the order of the messages, if it is known.
    pub(in crate::sink) fn next(&mut self) -> Option<Result<Delivery>> {
        let next = self.results.pop_front().or_else(|| self.groups.front_mut()?.next())?;
        self.held -= 1;
        Some(next)
    }

    /// Messages whose results were not taken.
    pub(in crate::sink) fn held(&self) -> usize {
        self.held
    }
}

impl Group {
    fn new(task: &Arc<Task>) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), task: Arc::clone(task) });
        let waker = Waker::from(Arc::clone(&bell));
        Self { slots: Vec::with_capacity(GROUP), taken: 0, open: 0, bell, waker }
    }

    fn poll(&mut self) {
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut cx = Context::from_waker(&self.waker);
        for slot in &mut self.slots {
            if let Slot::Open(future) = slot {
                if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
                    *slot = Slot::Done(result);
                    self.open -= 1;
                }
            }
        }
    }
}

impl Group {
    fn next(&mut self) -> Option<Result<Delivery>> {
        let slot = self.slots.get_mut(self.taken)?;
        if matches!(slot, Slot::Open(_)) {
            return None;
        }
        self.taken += 1;
        mem::replace(slot, Slot::Taken).done()
    }
}

impl Slot {
    fn done(self) -> Option<Result<Delivery>> {
        match self {
            Self::Done(result) => Some(result),
            Self::Open(_) | Self::Taken => None,
        }
    }
}

impl Task {
    fn set(&self, waker: &Waker) {
        let mut task = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match &*task {
            Some(known) if known.will_wake(waker) => None,
            _ => task.replace(waker.clone()),
        };
        drop(task);
        drop(old);
    }

    fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The first to ring wakes the task; it polls the others of the group as well.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}
