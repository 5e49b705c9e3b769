//! Runs the callers of a workload in one task, each future with its own waker: the driver makes every poll, in an
//! order that the seed decides.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Delivery, Error, Persistence, Record, Result};
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::journal::{Journal, What};
use super::judge::{Answer, Call};
use super::seen::{is_committed, is_in_log};
use super::wake::Flag;
use super::workload::{Step, Then};
use crate::MemoryKafka;
use crate::faults::draw::below;

/// Environment of a run.
pub(crate) struct Stage {
    pub(crate) kafka: MemoryKafka,
    pub(crate) journal: Arc<Journal>,
    pub(crate) seed: u64,
    /// A record counts as written when `read_committed` consumers see it.
    pub(crate) committed_only: bool,
}

impl Stage {
    /// Whether the record is in the log now.
    fn is_in_log(&self, id: u32, delivery: Option<&Delivery>) -> bool {
        match self.committed_only {
            true => is_committed(&self.kafka, id),
            false => is_in_log(&self.kafka, id, delivery),
        }
    }
}

pub(crate) struct Driver<'a, S: Service<Record>> {
    stage: &'a Stage,
    callers: Vec<Caller<S>>,
    open: BTreeMap<u32, Open<S::Future>>,
    pub(crate) calls: Vec<Call>,
    /// Index of each record's call.
    index: BTreeMap<u32, usize>,
    waker: Arc<Mutex<Waker>>,
    /// Number of the last event: calls and results share one sequence.
    events: u64,
    turns: u64,
}

struct Caller<S> {
    service: S,
    steps: VecDeque<Step>,
    state: State,
    flag: Arc<Flag>,
}

enum State {
    /// Between two sends.
    Idle,
    Pausing(Pin<Box<Sleep>>),
    WaitingForRoom,
    Awaiting(u32),
    /// Waiting for all of its own results.
    Settling,
    Done,
}

struct Open<F> {
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
    caller: u32,
}

/// A future that never became ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The result of a record.
    Answer(u32),
    /// A caller that waits for room.
    Room(u32),
}

impl<'a, S> Driver<'a, S>
where
    S: Service<kafka_tower_core::Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    pub(crate) fn new(stage: &'a Stage) -> Self {
        let waker = Arc::new(Mutex::new(Waker::noop().clone()));
        let (callers, open, calls, index) = Default::default();
        Self { stage, callers, open, calls, index, waker, events: 0, turns: 0 }
    }

    pub(crate) fn add_caller(&mut self, service: S, steps: impl IntoIterator<Item = Step>) {
        let flag = Flag::new(&self.waker);
        self.callers.push(Caller { service, steps: steps.into_iter().collect(), state: State::Idle, flag });
    }

    /// Polls everything that was woken until nothing changes. Ready when all callers are done.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        lock(&self.waker).clone_from(cx.waker());
        loop {
            let moved = self.poll_answers(false) | self.poll_callers(cx);
            if !moved {
                break;
            }
        }
        let done = self.open.is_empty() && self.callers.iter().all(|caller| matches!(caller.state, State::Done));
        if done { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Number of events so far.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    fn poll_answers(&mut self, all: bool) -> bool {
        let woken: Vec<u32> = self.open.iter().filter(|(_, open)| all || open.flag.take()).map(|(id, _)| *id).collect();
        let mut moved = false;
        for id in woken {
            moved |= self.poll_answer(id);
        }
        moved
    }

    fn poll_answer(&mut self, id: u32) -> bool {
        let Some(open) = self.open.get_mut(&id) else { return false };
        let waker = Waker::from(Arc::clone(&open.flag));
        let Poll::Ready(outcome) = open.future.as_mut().poll(&mut Context::from_waker(&waker)) else {
            return false;
        };
        self.open.remove(&id);
        self.answered(id, outcome.map_err(Into::into));
        true
    }

    fn answered(&mut self, id: u32, outcome: Result<Delivery>) {
        self.stage.journal.add(What::Answered { id, outcome: outcome.clone() });
        let says_so = match &outcome {
            Ok(delivery) => delivery.persistence,
            Err(error) => error.persistence(),
        } == Persistence::Persisted;
        let in_log = says_so && self.stage.is_in_log(id, outcome.as_ref().ok());
        self.events += 1;
        let answer = Answer { number: self.events, outcome, in_log };
        if let Some(call) = self.index.get(&id).and_then(|index| self.calls.get_mut(*index)) {
            call.answered = Some(answer);
        }
    }

    /// Each caller makes one step; the seed chooses the first.
    fn poll_callers(&mut self, cx: &mut Context<'_>) -> bool {
        let count = self.callers.len();
        if count == 0 {
            return false;
        }
        self.turns += 1;
        let first = below(self.stage.seed, &[2_000, self.turns], count as u64) as usize;
        let mut moved = false;
        for n in 0..count {
            let caller = (first + n) % count;
            // One step per caller, so that they alternate.
            moved |= self.poll_caller(caller, cx);
        }
        moved
    }

    fn poll_caller(&mut self, n: usize, cx: &mut Context<'_>) -> bool {
        let is_open = |id: u32| self.open.contains_key(&id);
        let caller = &self.callers[n];
        let next =
            match &caller.state {
                State::Idle => match caller.steps.front() {
                    None => State::Settling,
                    Some(step) if step.settle && self.open.values().any(|open| open.caller == n as u32) => {
                        State::Settling
                    }
                    Some(step) if !step.pause.is_zero() => State::Pausing(Box::pin(sleep(step.pause))),
                    Some(_) => State::WaitingForRoom,
                },
                State::Awaiting(id) if !is_open(*id) => State::Idle,
                State::Settling if !self.open.values().any(|open| open.caller == n as u32) => {
                    if caller.steps.is_empty() { State::Done } else { State::WaitingForRoom }
                }
                State::Pausing(_) => {
                    let State::Pausing(sleep) = &mut self.callers[n].state else { return false };
                    if sleep.as_mut().poll(cx).is_pending() {
                        return false;
                    }
                    State::WaitingForRoom
                }
                State::WaitingForRoom if caller.flag.take() => return self.try_send(n),
                State::WaitingForRoom | State::Awaiting(_) | State::Settling | State::Done => return false,
            };
        let caller = &mut self.callers[n];
        if matches!(next, State::WaitingForRoom) {
            caller.flag.set();
        }
        caller.state = next;
        true
    }

    /// Polls for readiness, and sends if ready.
    fn try_send(&mut self, n: usize) -> bool {
        let caller = &mut self.callers[n];
        let waker = Waker::from(Arc::clone(&caller.flag));
        match caller.service.poll_ready(&mut Context::from_waker(&waker)) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => {
                // A readiness error means that the service cannot be used any more.
                let error: Error = error.into();
                self.stage.journal.note(format!("caller {n} is refused by poll_ready: {error}"));
                caller.steps.clear();
                caller.state = State::Settling;
            }
            Poll::Ready(Ok(())) => {
                let Some(step) = caller.steps.pop_front() else { return false };
                self.send(n, &step);
            }
        }
        true
    }

    fn send(&mut self, n: usize, step: &Step) {
        let mut record = step.record();
        record.expires_at = step.patience.map(|patience| (Instant::now() + patience).into_std());
        let id = step.id;
        self.stage.journal.add(What::Called { caller: step.caller, id, key: step.key });
        self.events += 1;
        self.index.insert(id, self.calls.len());
        self.calls.push(Call { id, key: step.key, called: self.events, answered: None });
        let caller = &mut self.callers[n];
        let future = Box::pin(caller.service.call(record));
        caller.state = if step.then == Then::Await { State::Awaiting(id) } else { State::Idle };
        self.open.insert(id, Open { future, flag: Flag::new(&self.waker), caller: n as u32 });
        let answered = step.then == Then::Glance && self.poll_answer(id);
        if matches!(step.then, Then::Leave | Then::Glance) && !answered {
            self.open.remove(&id);
            self.stage.journal.add(What::Left { id });
        }
    }

    /// Drops all callers, with their services and futures.
    pub(crate) fn drop_callers(&mut self) {
        self.callers.clear();
        for id in std::mem::take(&mut self.open).into_keys() {
            self.stage.journal.add(What::Left { id });
        }
    }

    /// Returns what is still waiting, and whether a poll without a wake-up finds it ready.
    pub(crate) fn stuck(&mut self) -> Vec<(Stuck, bool)> {
        let mut found = Vec::new();
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            let ready = self.poll_answer(id);
            found.push((Stuck::Answer(id), ready));
        }
        for n in 0..self.callers.len() {
            if matches!(self.callers[n].state, State::WaitingForRoom) {
                let ready = self.try_send(n);
                found.push((Stuck::Room(n as u32), ready));
            }
        }
        found
    }
}
