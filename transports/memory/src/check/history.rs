use std::collections::BTreeMap;

use kafka_tower_core::{Delivery, Result};

use super::journal::Attempt;
use super::judge::{Answer, Call, Seen, judge};
use super::verdict::Violation;
use super::{Guarantee, Order};

/// A run that somebody else made, to be judged as [`check()`](super::check()) judges its own: over a real Kafka, with
/// what its readers have read.
///
/// Records have numbers, which whoever reads them finds in them again.
///
/// ```
/// use kafka_tower_core::Delivery;
/// use kafka_tower_memory::check::{Guarantee, History, Verdict};
///
/// let mut history = History::new();
/// let key = Some(7);
/// history.called(0, key);
/// history.called(1, key);
/// history.answered(0, Ok(Delivery::new("orders", 0).with_offset(0)));
/// // A reader finds the second one, and twice.
/// history.read(1, 0, 0);
/// history.read(1, 0, 1);
///
/// let found: Vec<_> = history.judge(Guarantee::AtMostOnce).into_iter().map(|violation| violation.verdict).collect();
/// assert_eq!(found, [Verdict::LostAcknowledged, Verdict::Duplicate]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    calls: Vec<Call>,
    /// Where each record's call is.
    index: BTreeMap<u32, usize>,
    seen: Seen,
    /// Calls and answers are counted in one row.
    events: u64,
}

impl History {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A record is sent; records of one key have an order. A number that was there before is a call of its own, and the
    /// answers from now on are its.
    pub fn called(&mut self, record: u32, key: Option<u32>) {
        self.events += 1;
        self.index.insert(record, self.calls.len());
        self.calls.push(Call { id: record, key, called: self.events, answered: None });
    }

    /// Its caller is told. Nothing happens for a record that was never called.
    pub fn answered(&mut self, record: u32, outcome: Result<Delivery>) {
        self.events += 1;
        // Nobody looked into the log just then.
        let answer = Answer { number: self.events, outcome, in_log: true };
        if let Some(call) = self.index.get(&record).and_then(|index| self.calls.get_mut(*index)) {
            call.answered = Some(answer);
        }
    }

    /// A reader finds it. Readers read when all is over; in which order they tell of it is all the same.
    pub fn read(&mut self, record: u32, partition: i32, offset: i64) {
        let copies = self.seen.entry(record).or_default();
        copies.push((partition, offset));
        copies.sort_by_key(|(_, offset)| *offset);
    }

    /// What is wrong with it. A call counts as one attempt, for nobody saw those of the stack; as
    /// [`Guarantee::ExactlyOnce`] give it what readers of committed records see.
    #[must_use]
    pub fn judge(&self, guarantee: Guarantee) -> Vec<Violation> {
        let is_ok = |call: &Call| call.answered.as_ref().is_some_and(|answer| answer.outcome.is_ok());
        let attempts = self.calls.iter().map(|call| Attempt { id: call.id, acknowledged: is_ok(call) });
        judge(guarantee, Order::Calls, &self.calls, &attempts.collect::<Vec<_>>(), &self.seen)
    }
}
