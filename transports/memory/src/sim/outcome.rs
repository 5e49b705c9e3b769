//! What a run of a seed is given and what it returns.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kafka_tower_core::{Delivery, Persistence, Result};

use super::journal::Event;
use super::seen::Seen;
use super::verdict::{Verdict, Violation};
use crate::Fault;
use crate::faults::plan::Listed;

/// If nothing happens for this long on the paused clock, the run is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3_600);

/// Part of a seed's run that is executed: all of it, unless the run is being shrunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Ids of the sends that are kept.
    pub(crate) sends: Option<BTreeSet<u32>>,
    pub(crate) faults: Option<Listed>,
}

impl Schedule {
    pub(crate) fn has(&self, send: u32) -> bool {
        self.sends.as_ref().is_none_or(|sends| sends.contains(&send))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) listed: Listed,
    pub(crate) sends: BTreeSet<u32>,
    pub(crate) trace: Vec<Event>,
    pub(crate) counts: Counts,
}

/// Numbers of results by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) not_written: u64,
    pub(crate) unknown: u64,
    pub(crate) left: u64,
    /// Number of copies beyond the first.
    pub(crate) copies: u64,
    pub(crate) transactions: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.not_written += other.not_written;
        self.unknown += other.unknown;
        self.left += other.left;
        self.copies += other.copies;
        self.transactions += other.transactions;
    }
}

/// Runs a future on its own runtime with a paused clock.
pub(crate) fn on_paused_clock<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without io needs nothing of the system");
    // Tokio's cooperative budget would make a run depend on other futures in the task.
    runtime.block_on(tokio::task::unconstrained(run))
}

/// Runs a seed. A panic of the stack becomes a violation.
pub(crate) fn caught(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned());
        let violations = vec![Violation::new(Verdict::Panicked, text)];
        Outcome { violations, ..Outcome::default() }
    })
}

pub(crate) fn count<'a>(answers: impl Iterator<Item = Option<&'a Result<Delivery>>>, seen: &Seen) -> Counts {
    let mut counts = Counts { copies: seen.values().map(|copies| copies.len() as u64 - 1).sum(), ..Counts::default() };
    for answer in answers {
        let place = match answer {
            None => &mut counts.left,
            Some(Ok(_)) => &mut counts.delivered,
            Some(Err(error)) if error.persistence() == Persistence::NotPersisted => &mut counts.not_written,
            Some(Err(_)) => &mut counts.unknown,
        };
        *place += 1;
    }
    counts
}
