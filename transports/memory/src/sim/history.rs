use std::collections::BTreeMap;

use kafka_tower_core::{Delivery, Result};

use super::Guarantee;
use super::config::Order;
use super::journal::Attempt;
use super::judge::{Answer, Call, judge};
use super::seen::Seen;
use super::verdict::Violation;

/// Record of an external run, to be judged as [`check()`](super::check()) judges its own: for example of a run over a
/// real Kafka, with the records that its consumers have read.
///
/// Records are identified by numbers, which the consumers must be able to read from them.
///
/// ```
/// use kafka_tower_core::Delivery;
/// use kafka_tower_memory::sim::{Guarantee, History, Verdict};
///
/// let mut history = History::new();
/// let key = Some(7);
/// history.called(0, key);
/// history.called(1, key);
/// history.answered(0, Ok(Delivery::new("orders", 0).with_offset(0)));
/// // A consumer reads only the second one, and twice.
/// history.read(1, 0, 0);
/// history.read(1, 0, 1);
///
/// let found: Vec<_> = history.judge(Guarantee::AtMostOnce).into_iter().map(|violation| violation.verdict).collect();
/// assert_eq!(found, [Verdict::LostAcknowledged, Verdict::Duplicate]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    calls: Vec<Call>,
    /// Index of each record's call.
    index: BTreeMap<u32, usize>,
    seen: Seen,
    /// Number of the last event: calls and results share one sequence.
    events: u64,
}

impl History {
    /// Creates an empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that a record was sent; records of one key have an order. Calling a number again starts a new call,
    /// which gets the later results.
    pub fn called(&mut self, record: u32, key: Option<u32>) {
        self.events += 1;
        self.index.insert(record, self.calls.len());
        self.calls.push(Call { id: record, key, called: self.events, answered: None });
    }

    /// Records the result that the caller got. Does nothing for a record that was never called.
    pub fn answered(&mut self, record: u32, outcome: Result<Delivery>) {
        self.events += 1;
        // The log was not read at that time.
        let answer = Answer { number: self.events, outcome, in_log: true };
        if let Some(call) = self.index.get(&record).and_then(|index| self.calls.get_mut(*index)) {
            call.answered = Some(answer);
        }
    }

    /// Records that a consumer read the record. Consumers read after the run; the order of these calls does not
    /// matter.
    pub fn read(&mut self, record: u32, partition: i32, offset: i64) {
        let copies = self.seen.entry(record).or_default();
        copies.push((partition, offset));
        copies.sort_by_key(|(_, offset)| *offset);
    }

    /// Returns the violations. Each call counts as one attempt, because the stack's attempts are unknown. For
    /// [`Guarantee::ExactlyOnce`], record what `read_committed` consumers read.
    #[must_use]
    pub fn judge(&self, guarantee: Guarantee) -> Vec<Violation> {
        let is_ok = |call: &Call| call.answered.as_ref().is_some_and(|answer| answer.outcome.is_ok());
        let attempts = self.calls.iter().map(|call| Attempt { id: call.id, acknowledged: is_ok(call) });
        judge(guarantee, Order::Calls, &self.calls, &attempts.collect::<Vec<_>>(), &self.seen)
    }
}
