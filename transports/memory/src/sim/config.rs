use super::Guarantee;
use super::workload::Workload;
use crate::{Faults, MemoryKafka, Producer};

/// Settings of a check that each run needs.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) guarantee: Guarantee,
    pub(crate) workload: Workload,
    pub(crate) faults: Faults,
    /// Number of sends that a new stack admits, if permit leaks are checked.
    pub(crate) capacity: Option<usize>,
    /// Number of transactions per run.
    pub(crate) transactions: u32,
    /// Whether each transaction has its own producer.
    pub(crate) replace: bool,
    /// Number of transactional transports of a stack.
    pub(crate) lanes: u32,
    pub(crate) order: Order,
    pub(crate) producer: fn(Producer) -> Producer,
}

/// The order that a stack promises for the records of a key: [`Check::order`](super::Check::order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// No order.
    None,
    /// A record called after another one's `Ok` is behind it, as [`Guarantee::AtLeastOnce`] promises. For stacks that
    /// retry while later sends are in flight. Under [`Guarantee::ExactlyOnce`], where results arrive with the commit,
    /// the same as [`None`](Self::None).
    Answers,
    /// A record called later is behind it. Not promised by any at-least-once stack.
    Calls,
}

impl Config {
    pub(crate) fn producer(&self, kafka: &MemoryKafka) -> Producer {
        (self.producer)(kafka.producer().limits(self.workload.limits))
    }
}
