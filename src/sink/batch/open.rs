//! The messages of a batch or a stream that are on their way, and the results in order.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use kafka_tower_core::{Delivery, Result};

use super::super::edge::BoxFuture;
use super::super::whole::{Part, Whole};

/// Neighbours that share a bell: all are polled when one rings. More of them cost polls in vain while delivery reports
/// come in, fewer cost memory.
const NEIGHBOURS: usize = 32;

pub(in crate::sink) struct Open {
    slots: VecDeque<Slot>,
    /// The number of the first slot, counted from the first message on.
    first: usize,
    /// Slots whose messages are on their way.
    open: usize,
    /// All bells that were ever needed at once.
    bells: Vec<Bell>,
    /// The bells of the slots, one for each `NEIGHBOURS` numbers.
    hung: VecDeque<usize>,
    /// Bells whose messages are done, for the next ones.
    spare: Vec<usize>,
    desk: Arc<Desk>,
    /// Bells that rang. Empty between two polls, and kept for its memory.
    rang: Vec<usize>,
    untold: Untold,
}

/// Errors that were not taken: who drops them never knows, and a transaction must not be committed then.
struct Untold {
    /// In a sink with transactions.
    whole: Option<Whole>,
    errors: usize,
    part: Option<Part>,
}

enum Slot {
    Open(BoxFuture),
    Done(Result<Delivery>),
}

struct Bell {
    /// The number of the first of its neighbours. One that is rung for earlier ones polls others in vain.
    number: usize,
    rope: Arc<Rope>,
    waker: Waker,
}

/// The end of a bell that futures pull.
struct Rope {
    pulled: AtomicBool,
    /// The bell's place.
    bell: usize,
    desk: Arc<Desk>,
}

/// Where all bells are heard.
#[derive(Default)]
struct Desk(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// The task that polls the batch.
    task: Option<Waker>,
    /// Bells that rang since the last poll.
    rang: Vec<usize>,
}

impl Open {
    pub(in crate::sink) fn new(whole: Option<Whole>) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            open: 0,
            bells: Vec::new(),
            hung: VecDeque::new(),
            spare: Vec::new(),
            desk: Arc::default(),
            rang: Vec::new(),
            untold: Untold { whole, errors: 0, part: None },
        }
    }

    /// A message on its way, polled here once: to ring for it would poll its neighbours. [`poll`](Self::poll) has to
    /// follow before the task rests, because the desk may know an older task.
    pub(in crate::sink) fn push(&mut self, mut future: BoxFuture) {
        let bell = self.bell();
        let slot = match future.as_mut().poll(&mut Context::from_waker(&bell.waker)) {
            Poll::Ready(result) => Slot::Done(result),
            Poll::Pending => {
                self.open += 1;
                Slot::Open(future)
            }
        };
        self.slots.push_back(slot);
        self.untold.keep(self.slots.back());
    }

    /// A message whose fate is known already.
    pub(in crate::sink) fn settled(&mut self, result: Result<Delivery>) {
        self.bell();
        self.slots.push_back(Slot::Done(result));
        self.untold.keep(self.slots.back());
    }

    /// The bell of the next message.
    fn bell(&mut self) -> &Bell {
        let next = (self.first + self.slots.len()) / NEIGHBOURS;
        let place = next - self.first / NEIGHBOURS;
        if place == self.hung.len() {
            let bell = self.spare.pop().unwrap_or_else(|| {
                self.bells.push(Bell::new(self.bells.len(), &self.desk));
                self.bells.len() - 1
            });
            self.bells[bell].number = next * NEIGHBOURS;
            self.hung.push_back(bell);
        }
        &self.bells[self.hung[place]]
    }

    /// Polls those that rang; ready when no message is on its way.
    pub(in crate::sink) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.desk.listen(cx.waker(), &mut self.rang);
        for i in 0..self.rang.len() {
            self.poll_neighbours(self.rang[i]);
        }
        self.rang.clear();
        if self.open == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_neighbours(&mut self, bell: usize) {
        let Bell { number, rope, waker } = &self.bells[bell];
        // Before its futures are polled: one that pulls it from now on is heard again.
        rope.pulled.swap(false, Ordering::AcqRel);
        let mut cx = Context::from_waker(waker);
        // The first of them may be gone already, and the last not there yet.
        let from = number.saturating_sub(self.first);
        let to = (number + NEIGHBOURS).saturating_sub(self.first).min(self.slots.len());
        for i in from..to {
            if let Slot::Open(future) = &mut self.slots[i] {
                if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
                    self.slots[i] = Slot::Done(result);
                    self.open -= 1;
                    self.untold.keep(self.slots.get(i));
                }
            }
        }
    }

    /// All results in the order of the messages, once [`poll`](Self::poll) was ready.
    pub(super) fn take(&mut self) -> Vec<Result<Delivery>> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next result in the order of the messages, if it is known.
    pub(in crate::sink) fn next(&mut self) -> Option<Result<Delivery>> {
        let result = match self.slots.pop_front()? {
            Slot::Done(result) => result,
            open @ Slot::Open(_) => {
                self.slots.push_front(open);
                return None;
            }
        };
        self.first += 1;
        if self.first % NEIGHBOURS == 0 {
            self.spare.extend(self.hung.pop_front());
        }
        self.untold.taken(&result);
        Some(result)
    }

    /// Messages whose results were not taken.
    pub(in crate::sink) fn held(&self) -> usize {
        self.slots.len()
    }
}

impl Untold {
    fn keep(&mut self, slot: Option<&Slot>) {
        if self.whole.is_some() {
            self.count(slot);
        }
    }

    // Apart from the rest: of most sinks' ways it is no part.
    #[inline(never)]
    fn count(&mut self, slot: Option<&Slot>) {
        if let (Some(whole), Some(Slot::Done(Err(_)))) = (&self.whole, slot) {
            self.errors += 1;
            self.part.get_or_insert_with(|| whole.part());
        }
    }

    fn taken(&mut self, result: &Result<Delivery>) {
        if self.part.is_some() && result.is_err() {
            self.errors -= 1;
            if self.errors == 0 {
                self.part.take().into_iter().for_each(Part::done);
            }
        }
    }
}

impl Bell {
    fn new(place: usize, desk: &Arc<Desk>) -> Self {
        let rope = Arc::new(Rope { pulled: AtomicBool::new(false), bell: place, desk: Arc::clone(desk) });
        Self { number: 0, waker: Waker::from(Arc::clone(&rope)), rope }
    }
}

impl Desk {
    /// Takes what rang; from now on this task is woken.
    fn listen(&self, task: &Waker, rang: &mut Vec<usize>) {
        let mut heard = self.heard();
        mem::swap(&mut heard.rang, rang);
        let old = match &heard.task {
            Some(known) if known.will_wake(task) => None,
            _ => heard.task.replace(task.clone()),
        };
        drop(heard);
        drop(old);
    }

    fn ring(&self, bell: usize) {
        let mut heard = self.heard();
        heard.rang.push(bell);
        // Whoever was first has woken the task, and it listens before it rests.
        let task = if heard.rang.len() == 1 { heard.task.clone() } else { None };
        drop(heard);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.pulled.swap(true, Ordering::AcqRel) {
            self.desk.ring(self.bell);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use kafka_tower_core::{Error, ErrorKind};
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;

    /// Counts how often the task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn failed(name: usize) -> Result<Delivery> {
        Err(Error::new(ErrorKind::Timeout, name.to_string()))
    }

    fn name(result: &Result<Delivery>) -> usize {
        result.as_ref().unwrap_err().to_string().split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Settled,
        /// One of those that are on their way answers.
        Answer(prop::sample::Index),
        /// The task polls, with a waker of its own or the one that it had.
        Poll(bool),
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            1 => Just(Step::Settled),
            4 => any::<prop::sample::Index>().prop_map(Step::Answer),
            2 => any::<bool>().prop_map(Step::Poll),
            3 => Just(Step::Next),
        ]
    }

    proptest! {
        /// Every answer is taken, in the order of the messages, by a task that polls only when it was woken or has
        /// pushed.
        #[test]
        fn nothing_is_lost_and_the_order_is_kept(steps in prop::collection::vec(step(), 1..400)) {
            let mut open = Open::new(None);
            let mut task = Arc::new(Woken::default());
            let mut unanswered = Vec::new();
            let (mut pushed, mut taken) = (0, 0);
            for step in steps {
                match step {
                    Step::Push => {
                        let (answer, answered) = oneshot::channel();
                        unanswered.push((answer, pushed));
                        open.push(Box::pin(async move { failed(answered.await.unwrap()) }));
                        pushed += 1;
                    }
                    Step::Settled => {
                        open.settled(failed(pushed));
                        pushed += 1;
                    }
                    Step::Answer(which) if !unanswered.is_empty() => {
                        let (answer, name) = unanswered.swap_remove(which.index(unanswered.len()));
                        answer.send(name).unwrap();
                    }
                    Step::Answer(_) => {}
                    Step::Poll(same) => {
                        if !same {
                            task = Arc::default();
                        }
                        let all = open.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task))));
                        prop_assert_eq!(all.is_ready(), unanswered.is_empty());
                    }
                    Step::Next => {
                        if let Some(result) = open.next() {
                            prop_assert_eq!(name(&result), taken);
                            taken += 1;
                        }
                    }
                }
                prop_assert_eq!(open.held(), pushed - taken);
            }
            // The task rests; each answer that is new to it wakes it.
            let waker = Waker::from(Arc::clone(&task));
            let _ = open.poll(&mut Context::from_waker(&waker));
            while let Some((answer, name)) = unanswered.pop() {
                let before = task.0.load(Ordering::SeqCst);
                answer.send(name).unwrap();
                prop_assert_eq!(task.0.load(Ordering::SeqCst), before + 1);
                let all = open.poll(&mut Context::from_waker(&waker));
                prop_assert_eq!(all.is_ready(), unanswered.is_empty());
            }
            let rest: Vec<usize> = open.take().iter().map(name).collect();
            prop_assert_eq!(rest, (taken..pushed).collect::<Vec<_>>());
            prop_assert!(open.bells.len() <= pushed.div_ceil(NEIGHBOURS));
        }
    }

    /// A future that wakes its task from within its poll is polled again.
    #[test]
    fn one_that_yields_is_heard() {
        let (mut open, task) = (Open::new(None), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut left = 3;
        open.push(Box::pin(std::future::poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            left -= 1;
            if left == 0 { Poll::Ready(failed(0)) } else { Poll::Pending }
        })));
        assert!(open.poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "it rang in its poll");
        assert!(open.poll(&mut Context::from_waker(&waker)).is_ready());
    }

    /// A stream that goes on for long needs no more bells than messages are on their way at once.
    #[test]
    fn bells_are_hung_again() {
        let mut open = Open::new(None);
        for i in 0..1_000 {
            open.push(Box::pin(async move { failed(i) }));
            if i >= 2 * NEIGHBOURS {
                assert_eq!(name(&open.next().unwrap()), i - 2 * NEIGHBOURS);
            }
        }
        assert!(open.bells.len() <= 4, "{}", open.bells.len());
    }
}
