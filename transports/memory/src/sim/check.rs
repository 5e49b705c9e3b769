use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Control, Delivery, Error, Record, Result, TransactionControl};
use tower_service::Service;

use super::batches::Lanes;
use super::config::Config;
use super::failure::failure;
use super::make::{MakeStack, not_made};
use super::outcome::{Counts, Outcome, Schedule, on_paused_clock};
use super::workload::{self, Workload};
use super::{Guarantee, Order, Report, probe, run};
use crate::{Faults, MemoryKafka, MemoryTransport, Producer};

/// A configured check.
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
    pub(super) fn new(stack: F, guarantee: Guarantee) -> Self {
        let workload =
            Workload { callers: 4, sends: 50, keys: 3, partitions: 3, limits: Limits { records: 8, bytes: 2_000 } };
        let config = Config {
            guarantee,
            workload,
            faults: Faults::default(),
            capacity: None,
            transactions: 20,
            replace: false,
            lanes: 1,
            order: Order::Calls,
            producer: |producer| producer,
        };
        Self { stack, config, seeds: 100, first: 0, shrink: true, capacity: true }
    }
}

impl<F> Check<F> {
    /// Sets the guarantee. Default: [`Guarantee::AtLeastOnce`].
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.config.guarantee = guarantee;
        self
    }

    /// Sets the number of seeds. Default: 100. The environment variable `KAFKA_TOWER_SEEDS` takes precedence.
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Runs only this seed. The environment variable `KAFKA_TOWER_SEED` takes precedence.
    pub fn seed(mut self, seed: u64) -> Self {
        self.first = seed;
        self.seeds = 1;
        self
    }

    /// Sets the probabilities of faults. Default: [`Faults::default`].
    pub fn faults(mut self, faults: Faults) -> Self {
        self.config.faults = faults;
        self
    }

    /// Sets the number of callers and of sends per caller. Default: 4 and 50.
    pub fn callers(mut self, callers: u32, sends: u32) -> Self {
        self.config.workload.callers = callers;
        self.config.workload.sends = sends;
        self
    }

    /// Sets the transport's limits. Default: 8 records and 2,000 bytes, so that some callers always wait for room.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.workload.limits = limits;
        self
    }

    /// Configures the transport's producer, for example to send batches or to retry by itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_memory::sim::{Guarantee, check};
    ///
    /// let check = check(|transport| transport).guarantee(Guarantee::AtMostOnce);
    /// check.producer(|p| p.retries(20).batches(4, Duration::from_millis(2))).seeds(20).run().assert_clean();
    /// ```
    pub fn producer(mut self, producer: fn(Producer) -> Producer) -> Self {
        self.config.producer = producer;
        self
    }

    /// Whether the stack may admit less after faults than at its start, as an adaptive limit does, without a
    /// [`Verdict::PermitLeak`](super::Verdict::PermitLeak). Default: false.
    pub fn capacity_may_change(mut self, may: bool) -> Self {
        self.capacity = !may;
        self
    }

    /// Sets the number of transactions per run under [`Guarantee::ExactlyOnce`]. Default: 20.
    ///
    /// The transport is then transactional. The check begins and ends transactions of 1 to 6 sends through its
    /// [control](kafka_tower_core::Control::transactions), and commits three of four. It follows the errors'
    /// recovery: repeats the call, aborts, or creates a new producer with a new stack.
    pub fn transactions(mut self, transactions: u32) -> Self {
        self.config.transactions = transactions;
        self
    }

    /// Whether each transaction has a new producer, which prevents a late end of the previous transaction from ending
    /// the next one ([`FaultKind::StaleEnd`](crate::FaultKind::StaleEnd)). Default: false.
    pub fn replace_producers(mut self, replace: bool) -> Self {
        self.config.replace = replace;
        self
    }

    /// Sets the number of [`Lanes`] of a stack of [`check_batches`](super::check_batches), with the transactional ids
    /// `check-0`, `check-1`, … Default: 1.
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.config.lanes = lanes;
        self
    }

    /// Sets the order that the stack promises for the records of a key. Default: [`Order::Calls`].
    pub fn order(mut self, order: Order) -> Self {
        self.config.order = order;
        self
    }

    /// Whether a failing run is shrunk before it is reported. Default: true.
    pub fn shrink(mut self, shrink: bool) -> Self {
        self.shrink = shrink;
        self
    }

    /// Runs the seeds until one shows a violation.
    ///
    /// # Panics
    ///
    /// If a stack cannot be made.
    pub fn run(mut self) -> Report
    where
        F: MakeStack,
    {
        let start = Instant::now();
        if self.capacity && self.config.guarantee != Guarantee::ExactlyOnce {
            self.config.capacity = Some(on_paused_clock(async {
                let kafka = MemoryKafka::new().with_topic(workload::TOPIC, self.config.workload.partitions);
                let transport = self.config.producer(&kafka).transport();
                let (stack, _) = self.stack.make(transport).await.unwrap_or_else(|error| not_made(&error));
                probe::capacity(&kafka, &stack).await
            }));
        }
        self.each_seed(start, |seed, schedule| run::run(&self.config, seed, schedule, &self.stack))
    }

    /// Runs the seeds of a check created by [`check_transactions`](super::check_transactions), until one shows a violation.
    ///
    /// # Panics
    ///
    /// If another guarantee is set.
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

    /// Runs the seeds of a check created by [`check_batches`](super::check_batches), until one shows a violation.
    ///
    /// # Panics
    ///
    /// If another guarantee is set.
    pub fn run_batches<S, Fut>(self) -> Report
    where
        F: Fn(Lanes) -> Fut,
        Fut: Future<Output = Result<(S, Arc<dyn Control>)>>,
        S: Service<Record, Response = Delivery> + Clone,
        S::Error: Into<Error>,
    {
        assert_eq!(self.config.guarantee, Guarantee::ExactlyOnce, "transactions promise nothing else");
        self.each_seed(Instant::now(), |seed, schedule| run::run_batches(&self.config, seed, schedule, &self.stack))
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
            counts: Counts::default(),
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
