//! The broker's script: a list of cases. No clock, no lock, no async.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::Error;

use crate::waits::WaitId;

/// What happens to one record: whether and when it reaches the log, and when and how it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// The record reaches the log when this wait ends.
    pub(crate) append_hold: Option<WaitId>,
    /// Alternative to `append_hold`: delay until the record reaches the log.
    pub(crate) append_late: Duration,
    pub(crate) write: bool,
    /// The record is answered when this wait ends,
    pub(crate) answer_hold: Option<WaitId>,
    /// and at the earliest this long after it reached the log.
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
            append_hold: None,
            append_late: Duration::ZERO,
            write: true,
            answer_hold: None,
            late: Duration::ZERO,
            answer: Answer::Truth,
        }
    }
}

/// Selects the records of an action.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: Option<i32>,
    /// Number of matching records to skip first.
    pub(crate) after: u64,
    pub(crate) times: u64,
    pub(crate) action: Action,
}

impl Default for Case {
    fn default() -> Self {
        Self { topic: None, partition: None, after: 0, times: 1, action: Action::default() }
    }
}

impl Case {
    fn matches(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_deref().is_none_or(|t| t == topic) && self.partition.is_none_or(|p| p == partition)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CaseId(u64);

#[derive(Debug, Default)]
pub(crate) struct Script {
    next_id: u64,
    /// In the order in which they were added.
    cases: Vec<(CaseId, Case)>,
    used: BTreeMap<CaseId, u64>,
}

impl Script {
    pub(crate) fn add(&mut self, case: Case) -> CaseId {
        let id = CaseId(self.next_id);
        self.next_id += 1;
        self.used.insert(id, 0);
        if case.times > 0 {
            self.cases.push((id, case));
        }
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

    /// Number of records that the case has taken.
    pub(crate) fn used(&self, id: CaseId) -> u64 {
        self.used.get(&id).copied().unwrap_or(0)
    }

    /// Returns the action for the next record of a partition, if a case takes it. Each matching case counts the
    /// record; the first due one takes it.
    pub(crate) fn next(&mut self, topic: &str, partition: i32) -> Option<Action> {
        let mut taken = None;
        for (index, (_, case)) in self.cases.iter_mut().enumerate() {
            if !case.matches(topic, partition) {
                continue;
            }
            if case.after > 0 {
                case.after -= 1;
            } else if taken.is_none() {
                taken = Some(index);
            }
        }
        let index = taken?;
        let (id, case) = &mut self.cases[index];
        *self.used.entry(*id).or_default() += 1;
        // `always` is a count that is never used up.
        case.times -= 1;
        Some(if case.times == 0 { self.cases.remove(index).1.action } else { case.action.clone() })
    }
}

#[cfg(test)]
mod tests;
