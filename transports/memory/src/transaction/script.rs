//! Script of transaction requests: a list of cases. No clock, no lock, no async.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::Error;

use tokio::time::Instant;

use super::coordinator::Identity;

/// A request to the transaction coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransactionCall {
    /// `InitProducerId`.
    Init,
    /// `TxnOffsetCommit`, with the `AddOffsetsToTxn` before it.
    SendOffsets,
    /// `EndTxn` that commits.
    Commit,
    /// `EndTxn` that aborts.
    Abort,
}

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// The request reaches the coordinator.
    pub(crate) apply: bool,
    /// The request reaches the coordinator when this hold is released, even if the client has given it up.
    pub(crate) hold: Option<CaseId>,
    /// Alternative to `hold`: delay until the request reaches the coordinator.
    pub(crate) stale: Duration,
    /// The transaction times out before the request is processed.
    pub(crate) expire: bool,
    /// Minimum delay of the answer.
    pub(crate) late: Duration,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Truth,
    Lost,
    Error(Error),
}

impl Default for Action {
    fn default() -> Self {
        Self {
            apply: true,
            hold: None,
            stale: Duration::ZERO,
            expire: false,
            late: Duration::ZERO,
            answer: Answer::Truth,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) call: Option<TransactionCall>,
    pub(crate) id: Option<Arc<str>>,
    pub(crate) after: u64,
    pub(crate) times: u64,
    pub(crate) action: Action,
}

impl Default for Case {
    fn default() -> Self {
        Self { call: None, id: None, after: 0, times: 1, action: Action::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CaseId(u64);

/// An `EndTxn` that has not reached the coordinator.
#[derive(Debug)]
pub(crate) struct HeldEnd {
    pub(crate) id: Arc<str>,
    pub(crate) who: Identity,
    pub(crate) commit: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    next_id: u64,
    cases: Vec<(CaseId, Case)>,
    used: BTreeMap<CaseId, u64>,
    held: Vec<(CaseId, HeldEnd)>,
    /// Delayed requests, with the time at which they are due.
    stale: Vec<(Instant, HeldEnd)>,
}

impl Script {
    pub(crate) fn add(&mut self, mut case: Case, hold: bool) -> CaseId {
        let id = CaseId(self.next_id);
        self.next_id += 1;
        case.action.hold = hold.then_some(id);
        self.used.insert(id, 0);
        self.cases.push((id, case));
        id
    }

    /// Takes a case out. Drop it without the broker's lock: its error may have a source of the test.
    pub(crate) fn cancel(&mut self, id: CaseId) -> Option<Case> {
        let at = self.cases.iter().position(|(case, _)| *case == id)?;
        Some(self.cases.remove(at).1)
    }

    /// Takes all cases out. Drop them as that of [`cancel`](Self::cancel).
    pub(crate) fn clear(&mut self) -> Vec<(CaseId, Case)> {
        std::mem::take(&mut self.cases)
    }

    pub(crate) fn used(&self, id: CaseId) -> u64 {
        self.used.get(&id).copied().unwrap_or(0)
    }

    /// Returns the action for the next request, if a case takes it. Each matching case counts it; the first due one
    /// takes it.
    pub(crate) fn next(&mut self, id: &str, call: TransactionCall) -> Option<Action> {
        let mut taken = None;
        for (case_id, case) in &mut self.cases {
            if case.call.is_some_and(|c| c != call) || case.id.as_deref().is_some_and(|i| i != id) {
                continue;
            }
            if case.after > 0 {
                case.after -= 1;
            } else if taken.is_none() && case.times > 0 {
                case.times -= 1;
                *self.used.entry(*case_id).or_default() += 1;
                taken = Some(case.action.clone());
            }
        }
        taken
    }

    pub(crate) fn keep(&mut self, hold: CaseId, end: HeldEnd) {
        self.held.push((hold, end));
    }

    pub(crate) fn keep_until(&mut self, due: Instant, end: HeldEnd) {
        self.stale.push((due, end));
    }

    /// Takes the due requests, sorted by time.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<HeldEnd> {
        if self.stale.is_empty() {
            return Vec::new();
        }
        let (mut due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.stale).into_iter().partition(|(at, _)| *at <= now);
        self.stale = rest;
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, end)| end).collect()
    }

    /// When the next delayed request is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.stale.iter().map(|(due, _)| *due).min()
    }

    pub(crate) fn held_by(&self, hold: CaseId) -> usize {
        self.held.iter().filter(|(by, _)| *by == hold).count()
    }

    /// Takes the requests that a hold kept, in the order of arrival.
    pub(crate) fn release(&mut self, hold: CaseId) -> Vec<HeldEnd> {
        let _has_no_error = self.cancel(hold);
        let (released, kept) = std::mem::take(&mut self.held).into_iter().partition(|(by, _)| *by == hold);
        self.held = kept;
        let released: Vec<(CaseId, HeldEnd)> = released;
        released.into_iter().map(|(_, end)| end).collect()
    }
}
