//! Wakers for groups of futures that one task polls: a wake-up names the group to poll.
//!
//! A waker per future, as in `FuturesUnordered`, allocates for each message. One waker for all futures polls all of them
//! after each delivery report. A group shares one waker, and its polls are few.

use kafka_tower_core::sync::lock;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

/// The waker that the futures of a group share.
pub(crate) struct WakerGroup {
    shared: Arc<GroupWaker>,
    waker: Waker,
}

struct GroupWaker {
    /// Whether the group is in the queue.
    queued: AtomicBool,
    /// Index of the group.
    index: usize,
    queue: Arc<ReadyQueue>,
}

/// Collects the groups that were woken.
#[derive(Default)]
pub(crate) struct ReadyQueue(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// Waker of the task that polls the groups.
    task: Option<Waker>,
    /// Groups that were woken since the last poll.
    woken: Vec<usize>,
}

impl WakerGroup {
    pub(crate) fn new(index: usize, queue: &Arc<ReadyQueue>) -> Self {
        let shared = Arc::new(GroupWaker { queued: AtomicBool::new(false), index, queue: Arc::clone(queue) });
        Self { waker: Waker::from(Arc::clone(&shared)), shared }
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Begins a poll of the group. Call it before its futures are polled: a wake-up from now on is queued again.
    pub(crate) fn begin_poll(&self) {
        self.shared.queued.swap(false, Ordering::AcqRel);
    }
}

impl ReadyQueue {
    /// Takes the groups that were woken into `woken`, which is empty, and registers the task to wake.
    pub(crate) fn take(&self, task: &Waker, woken: &mut Vec<usize>) {
        let mut queue = self.queue();
        mem::swap(&mut queue.woken, woken);
        let old = match &queue.task {
            Some(known) if known.will_wake(task) => None,
            _ => queue.task.replace(task.clone()),
        };
        drop(queue);
        drop(old);
    }

    fn push(&self, group: usize) {
        let mut queue = self.queue();
        queue.woken.push(group);
        // The first wake-up has woken the task, which takes the list before it sleeps.
        let task = if queue.woken.len() == 1 { queue.task.clone() } else { None };
        drop(queue);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.0)
    }
}

impl Wake for GroupWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.push(self.index);
        }
    }
}
