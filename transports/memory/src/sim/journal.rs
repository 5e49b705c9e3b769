//! Events of a run in order: calls and results of the callers, and sends of the stack to the transport.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Delivery, Record, Result};
use tokio::time::Instant;

use super::workload::number_of;

#[derive(Debug)]
pub(crate) struct Journal {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// Sends of the stack to the transport.
    attempts: Vec<Attempt>,
}

/// One send of the stack to the transport.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: u32,
    /// Whether the stack got `Ok`.
    pub(crate) acknowledged: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Called { caller: u32, id: u32, key: Option<u32> },
    Answered { id: u32, outcome: Result<Delivery> },
    Left { id: u32 },
    Attempt { id: u32 },
    Reported { id: u32, outcome: Result<Delivery> },
    Note(String),
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Mutex::default() }
    }

    pub(crate) fn add(&self, what: What) {
        let at = self.start.elapsed();
        self.lock().events.push(Event { at, what });
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        self.add(What::Note(text.into()));
    }

    /// Records that the stack sends a record. Returns the index of the attempt, if the record belongs to the
    /// workload.
    pub(crate) fn attempt(&self, record: &Record) -> Option<usize> {
        let id = number_of(record)?;
        self.add(What::Attempt { id });
        let mut state = self.lock();
        state.attempts.push(Attempt { id, acknowledged: false });
        Some(state.attempts.len() - 1)
    }

    /// Records the result of an attempt.
    pub(crate) fn report(&self, attempt: usize, outcome: &Result<Delivery>) {
        let mut state = self.lock();
        let Some(attempt) = state.attempts.get_mut(attempt) else { return };
        attempt.acknowledged = outcome.is_ok();
        let id = attempt.id;
        drop(state);
        self.add(What::Reported { id, outcome: outcome.clone() });
    }

    pub(crate) fn take(&self) -> (Vec<Event>, Vec<Attempt>) {
        let mut state = self.lock();
        (std::mem::take(&mut state.events), std::mem::take(&mut state.attempts))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} ms  ", self.at.as_millis())?;
        match &self.what {
            What::Called { caller, id, key: Some(key) } => write!(f, "caller {caller} sends r{id} of key k{key}"),
            What::Called { caller, id, key: None } => write!(f, "caller {caller} sends r{id}"),
            What::Answered { id, outcome } => write!(f, "r{id} is answered {}", outcome_text(outcome)),
            What::Left { id } => write!(f, "the caller drops the future of r{id}"),
            What::Attempt { id } => write!(f, "  the stack hands r{id} to the transport"),
            What::Reported { id, outcome } => write!(f, "  the transport answers r{id} {}", outcome_text(outcome)),
            What::Note(text) => f.write_str(text),
        }
    }
}

/// Formats a result.
pub(crate) fn outcome_text(outcome: &Result<Delivery>) -> String {
    match outcome {
        Ok(delivery) => format!("Ok {delivery}"),
        Err(error) => format!("{}: {error}", error.kind()),
    }
}
