//! Checks whether a stack keeps what it promises, under faults that a seed draws.
//!
//! [`check()`] runs a stack over an in-memory Kafka with callers of its own, lets answers get lost, connections break and
//! brokers refuse, and compares what callers were told with what readers see. A seed decides everything: the callers,
//! the faults, the order of the polls. The clock is tokio's, paused, so that a run takes a millisecond or two and the
//! same seed is the same run on any machine.
//!
//! ```
//! use kafka_tower_memory::check::{Guarantee, check};
//!
//! // A stack of your own: anything that takes records and answers with their fate.
//! let report = check(|transport| transport).guarantee(Guarantee::AtMostOnce).seeds(50).run();
//! report.assert_clean();
//! ```
//!
//! # What is looked for
//!
//! See [`Verdict`] and [`Guarantee`].
//!
//! # A failing seed
//!
//! It is run a second time: another trace means that the stack is not deterministic. Then its sends and its faults are
//! taken away one after the other as long as it still fails, and the report prints what is left as a script.
//! `KAFKA_TOWER_SEED=42` runs one seed, `KAFKA_TOWER_SEEDS=100000` so many.
//!
//! # A run of somebody else
//!
//! [`History`] takes what callers were told and what readers read, over whatever Kafka, and gives the same verdicts.
//!
//! # What makes a stack repeatable
//!
//! Time from `tokio::time` only, `biased` where it selects, no iteration over a `HashMap`, no threads, no numbers
//! by chance but from a seed.

mod driver;
mod failure;
mod guarantee;
mod history;
mod journal;
mod judge;
mod probe;
mod report;
mod run;
mod seen;
mod shrink;
mod transactions;
mod verdict;
mod wake;
mod workload;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Error, Record, Result, TransactionControl};
use tower_service::Service;

pub use guarantee::Guarantee;
pub use history::History;
pub(crate) use journal::Journal;
pub use report::{Failure, Report};
pub use verdict::{Verdict, Violation};
pub use workload::TOPIC;
pub(crate) use workload::id_of;

use crate::{Faults, MemoryKafka, MemoryTransport, Producer};
use failure::failure;
use run::{Outcome, Schedule, on_paused_clock};
use workload::Workload;

/// Begins a check of a stack. See the [module](self).
///
/// `stack` is called once for each run, inside the run's runtime.
pub fn check<S, F>(stack: F) -> Check<F>
where
    F: Fn(MemoryTransport) -> S,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    Check::new(stack, Guarantee::AtLeastOnce)
}

/// Begins a check of stacks that begin and end their transactions themselves, as a sink does, under [`Guarantee::ExactlyOnce`]: to be
/// run with [`Check::run_transactions`].
///
/// `connect` takes a transactional transport and takes its id ([`init`](TransactionControl::init)), or has the stack do so. Faults hit that
/// too: where it fails it is called again with another transport. The time of the calls is the stack's own, whatever they are given.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use kafka_tower_core::{Control, ControlFuture, ConsumerGroup, TopicOffset, TransactionControl};
/// use kafka_tower_memory::check::check_transactions;
///
/// /// Where a stack would do something of its own about a transaction.
/// #[derive(Debug)]
/// struct Mine(Arc<dyn Control>);
///
/// impl Mine {
///     fn below(&self) -> &dyn TransactionControl {
///         self.0.transactions().unwrap()
///     }
/// }
///
/// impl TransactionControl for Mine {
///     fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.below().init(within)
///     }
///     fn begin(&self) -> ControlFuture<'_, ()> {
///         self.below().begin()
///     }
///     fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.below().commit(within)
///     }
///     fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.below().abort(within)
///     }
///     fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
///         self.below().send_offsets(o, group, within)
///     }
/// }
///
/// let report = check_transactions(|transport| async {
///     let mine = Mine(transport.control());
///     mine.init(Duration::from_secs(1)).await?;
///     Ok((transport, Arc::new(mine) as Arc<dyn TransactionControl>))
/// });
/// report.seeds(20).run_transactions().assert_clean();
/// ```
pub fn check_transactions<S, Fut, F>(connect: F) -> Check<F>
where
    F: Fn(MemoryTransport) -> Fut,
    Fut: Future<Output = Result<(S, Arc<dyn TransactionControl>)>>,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    Check::new(connect, Guarantee::ExactlyOnce)
}

/// A check to be run.
#[must_use = "it checks nothing before `run`"]
pub struct Check<F> {
    stack: F,
    config: Config,
    seeds: u64,
    first: u64,
    shrink: bool,
    capacity: bool,
}

impl<F> Check<F> {
    fn new(stack: F, guarantee: Guarantee) -> Self {
        let workload =
            Workload { callers: 4, sends: 50, keys: 3, partitions: 3, limits: Limits { records: 8, bytes: 2_000 } };
        let config = Config {
            guarantee,
            workload,
            faults: Faults::default(),
            capacity: None,
            transactions: 20,
            replace: false,
            order: Order::Calls,
            producer: |producer| producer,
        };
        Self { stack, config, seeds: 100, first: 0, shrink: true, capacity: true }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) guarantee: Guarantee,
    pub(crate) workload: Workload,
    pub(crate) faults: Faults,
    /// How much a new stack admits, if a leak is looked for.
    pub(crate) capacity: Option<usize>,
    /// Of a run.
    pub(crate) transactions: u32,
    /// Each transaction has a producer of its own.
    pub(crate) replace: bool,
    pub(crate) order: Order,
    pub(crate) producer: fn(Producer) -> Producer,
}

/// Which order of a key's records is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    None,
    /// What was called after an `Ok` is behind it.
    Answers,
    /// What was called later is behind it; at least once promises that of nobody.
    Calls,
}

impl Config {
    pub(crate) fn producer(&self, kafka: &MemoryKafka) -> Producer {
        (self.producer)(kafka.producer().limits(self.workload.limits))
    }
}

impl<F> Check<F> {
    /// What the stack promises; [`Guarantee::AtLeastOnce`] unless it is said.
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.config.guarantee = guarantee;
        self
    }

    /// How many seeds to run, 100 unless it is said. The environment's `KAFKA_TOWER_SEEDS` goes before it.
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Runs this seed and no other. The environment's `KAFKA_TOWER_SEED` goes before it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.first = seed;
        self.seeds = 1;
        self
    }

    /// How often what goes wrong, in place of [`Faults::default`].
    pub fn faults(mut self, faults: Faults) -> Self {
        self.config.faults = faults;
        self
    }

    /// How many tasks send, and how often each: 4 and 50 unless it is said.
    pub fn callers(mut self, callers: u32, sends: u32) -> Self {
        self.config.workload.callers = callers;
        self.config.workload.sends = sends;
        self
    }

    /// What the transport has on its way at most: 8 records and 2,000 bytes unless it is said, so that there is always
    /// somebody who waits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.workload.limits = limits;
        self
    }

    /// What kind of producer the transport is: one that sends in batches, or again by itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_memory::check::{Guarantee, check};
    ///
    /// let check = check(|transport| transport).guarantee(Guarantee::AtMostOnce);
    /// check.producer(|p| p.retries(20).batches(4, Duration::from_millis(2))).seeds(20).run().assert_clean();
    /// ```
    pub fn producer(mut self, producer: fn(Producer) -> Producer) -> Self {
        self.config.producer = producer;
        self
    }

    /// The stack may admit less after faults than at its start, as an adaptive limit does: no
    /// [`Verdict::PermitLeak`] for that.
    pub fn capacity_may_change(mut self) -> Self {
        self.capacity = false;
        self
    }

    /// How many transactions a run of [`Guarantee::ExactlyOnce`] has, 20 unless it is said.
    ///
    /// The transport is transactional then, and the check begins and ends transactions of 1 to 6 sends through its
    /// [control](kafka_tower_core::Control::transactions): three of four are committed. It does what errors say: the same
    /// call again, an abort, or a new producer with a stack of its own.
    pub fn transactions(mut self, transactions: u32) -> Self {
        self.config.transactions = transactions;
        self
    }

    /// Makes a new producer for each transaction: the cure against a late end of the one before
    /// ([`FaultKind::StaleEnd`](crate::FaultKind::StaleEnd)).
    pub fn replace_producers(mut self) -> Self {
        self.config.replace = true;
        self
    }

    /// Of the records of a key the stack promises only that what is called after another one's `Ok` is behind it, as
    /// [`Guarantee::AtLeastOnce`] does: for one that sends again while later sends are on their way. Under
    /// [`Guarantee::ExactlyOnce`], where answers come with the commit, as [`without_order`](Self::without_order).
    pub fn order_of_answers(mut self) -> Self {
        self.config.order = Order::Answers;
        self
    }

    /// The stack does not promise any order of a key.
    pub fn without_order(mut self) -> Self {
        self.config.order = Order::None;
        self
    }

    /// Prints a failing run as it is, without shrinking it.
    pub fn without_shrinking(mut self) -> Self {
        self.shrink = false;
        self
    }

    /// Runs the seeds until one shows a violation.
    pub fn run<S>(mut self) -> Report
    where
        F: Fn(MemoryTransport) -> S,
        S: Service<Record, Response = Delivery> + Clone,
        S::Error: Into<Error>,
    {
        let start = Instant::now();
        if self.capacity && self.config.guarantee != Guarantee::ExactlyOnce {
            self.config.capacity = Some(on_paused_clock(async {
                let kafka = MemoryKafka::new().with_topic(workload::TOPIC, self.config.workload.partitions);
                let transport = self.config.producer(&kafka).transport();
                probe::capacity(&kafka, &(self.stack)(transport)).await
            }));
        }
        self.each_seed(start, |seed, schedule| run::run(&self.config, seed, schedule, &self.stack))
    }

    /// [`run`](Self::run) for [`check_transactions`].
    ///
    /// # Panics
    ///
    /// If another guarantee was chosen.
    pub fn run_transactions<S, Fut>(self) -> Report
    where
        F: Fn(MemoryTransport) -> Fut,
        Fut: Future<Output = Result<(S, Arc<dyn TransactionControl>)>>,
        S: Service<Record, Response = Delivery> + Clone,
        S::Error: Into<Error>,
    {
        assert_eq!(self.config.guarantee, Guarantee::ExactlyOnce, "transactions promise nothing else");
        self.each_seed(Instant::now(), |seed, schedule| {
            run::run_transactions(&self.config, seed, schedule, &self.stack)
        })
    }

    fn each_seed(&self, start: Instant, once: impl Fn(u64, &Schedule) -> Outcome) -> Report {
        let (first, seeds) = match (number("KAFKA_TOWER_SEED"), number("KAFKA_TOWER_SEEDS")) {
            (Some(seed), _) => (seed, 1),
            (None, seeds) => (self.first, seeds.unwrap_or(self.seeds)),
        };
        let mut report = Report {
            guarantee: self.config.guarantee,
            seeds: 0,
            sends: 0,
            faults: 0,
            elapsed: start.elapsed(),
            failure: None,
            counts: run::Counts::default(),
        };
        for seed in (0..seeds).map(|n| first.wrapping_add(n)) {
            let outcome = once(seed, &Schedule::default());
            report.seeds += 1;
            report.sends += outcome.sends.len() as u64;
            report.faults += outcome.faults.len() as u64;
            report.counts.add(&outcome.counts);
            if !outcome.violations.is_empty() {
                report.failure = Some(failure(seed, outcome, self.shrink, &once));
                break;
            }
        }
        report.elapsed = start.elapsed();
        report
    }
}

impl<F> fmt::Debug for Check<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("config", &self.config).field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}
