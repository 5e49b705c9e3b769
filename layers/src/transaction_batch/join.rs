//! A unit that was joined, and the future of its caller.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::gate::Permit;
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Delivery, Error, Persistence, Result};
use tokio::sync::oneshot;

use super::errors;
use super::future::Owner;
use super::inputs::Inputs;
use super::unit::Unit;

/// A unit from its join until it is settled.
pub(super) struct Joined {
    pub(super) unit: Unit,
    /// Its name in errors.
    pub(super) name: String,
    pub(super) bytes: usize,
    pub(super) lane: usize,
    pub(super) called_at: Instant,
    pub(super) inputs: Inputs,
    state: Mutex<State>,
}

struct State {
    permit: Option<Permit>,
    caller: Option<oneshot::Sender<Result<Vec<Delivery>>>>,
}

impl Joined {
    pub(super) fn new(
        unit: Unit,
        lane: usize,
        inputs: Inputs,
        called_at: Instant,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Vec<Delivery>>>) {
        let (caller, outcome) = oneshot::channel();
        let bytes = unit.records.iter().map(kafka_tower_core::Record::size).sum();
        let state = Mutex::new(State { permit: None, caller: Some(caller) });
        (Arc::new(Self { name: unit.name(), bytes, lane, called_at, inputs, state, unit }), outcome)
    }

    pub(super) fn admit(&self, permit: Permit) {
        lock(&self.state).permit = Some(permit);
    }

    /// Gives the caller its outcome, once, and returns the room.
    pub(super) fn settle(&self, outcome: Result<Vec<Delivery>>) -> Option<Permit> {
        let mut state = lock(&self.state);
        let (permit, caller) = (state.permit.take(), state.caller.take());
        drop(state);
        if let Some(caller) = caller {
            // Its caller may be gone.
            drop(caller.send(outcome));
        }
        permit
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").field("name", &self.name).field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

/// Response future of [`TransactionBatch::join`](super::TransactionBatch::join): resolves when the unit's transaction has
/// ended, with the deliveries of its records in order.
///
/// # Errors
///
/// One for the whole unit. See [units](super#units).
///
/// # Cancel safety
///
/// Dropping it cancels nothing: the unit stays in its batch, and is committed or fails as a whole.
///
/// # Panics
///
/// If it is polled again after it was ready.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct JoinFuture(Progress);

#[derive(Debug)]
enum Progress {
    Waiting(oneshot::Receiver<Result<Vec<Delivery>>>, Arc<Owner>),
    Refused(Error),
    Done,
}

impl JoinFuture {
    pub(super) fn waiting(outcome: oneshot::Receiver<Result<Vec<Delivery>>>, owner: Arc<Owner>) -> Self {
        Self(Progress::Waiting(outcome, owner))
    }

    pub(super) fn refused(error: Error) -> Self {
        Self(Progress::Refused(error))
    }
}

impl Future for JoinFuture {
    type Output = Result<Vec<Delivery>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, Progress::Done) {
            Progress::Waiting(mut outcome, owner) => match Pin::new(&mut outcome).poll(cx) {
                Poll::Pending => {
                    self.0 = Progress::Waiting(outcome, owner);
                    Poll::Pending
                }
                Poll::Ready(Ok(outcome)) => Poll::Ready(outcome),
                // Each unit is settled: if it were not, nothing would be known about it.
                Poll::Ready(Err(_dropped)) => Poll::Ready(Err(errors::stopped(
                    "a unit",
                    Persistence::PossiblyPersisted,
                    "the batching layer ended",
                ))),
            },
            Progress::Refused(error) => Poll::Ready(Err(error)),
            Progress::Done => panic!("a join future was polled after completion"),
        }
    }
}
