//! What a run does, and what it has cost.

use std::time::{Duration, Instant};

use super::Mode;
use crate::alloc::Allocations;
use crate::usage;

/// What to send or read, and at which broker.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Mode of sending or reading.
    pub mode: Mode,
    /// Size of a value in bytes.
    pub size: usize,
    /// Number of measured records, after the warm-up. Of those that are read the first one is not measured.
    pub records: usize,
    /// Maximum number of records not awaited yet.
    pub window: usize,
    /// Number of records that the transport's gate admits.
    pub gate: usize,
    /// Number of records of a transaction.
    pub transaction: usize,
    /// Number of transactional producers of the batching layer.
    pub lanes: usize,
    /// Milliseconds after which the batching layer cuts a batch.
    pub age: usize,
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// Processes of the broker.
    pub broker: Vec<u32>,
}

/// Measured cost of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Number of records.
    pub records: usize,
    /// Elapsed time.
    pub elapsed: Duration,
    /// CPU time of this process.
    pub own: Duration,
    /// CPU time of the broker.
    pub broker: Duration,
    /// CPU time of all other processes on the machine.
    pub foreign: Duration,
    /// Rust allocations, if they are counted.
    pub allocations: Allocations,
}

impl Took {
    /// Writes the values on one line, for another process.
    #[must_use]
    pub fn write(&self) -> String {
        let nanos = [self.elapsed, self.own, self.broker, self.foreign].map(|time| time.as_nanos().to_string());
        format!("{} {} {} {}", self.records, nanos.join(" "), self.allocations.calls, self.allocations.bytes)
    }

    /// Reads the output of [`write`](Self::write).
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[records, elapsed, own, broker, foreign, calls, bytes] = numbers.as_slice() else { return None };
        let [elapsed, own, broker, foreign] = [elapsed, own, broker, foreign].map(Duration::from_nanos);
        let records = usize::try_from(records).ok()?;
        Some(Self { records, elapsed, own, broker, foreign, allocations: Allocations { calls, bytes } })
    }
}

/// Number of warm-up records, so that everything is connected.
const WARM_UP: usize = 20_000;

impl Plan {
    pub(crate) fn warm_up(&self) -> usize {
        self.mode.share(WARM_UP.min(self.records))
    }

    pub(crate) fn measured(&self) -> usize {
        self.mode.share(self.records)
    }
}

/// Values of the clocks when a measurement begins.
pub(crate) struct Start {
    elapsed: Instant,
    own: Duration,
    broker: Duration,
    machine: Option<Duration>,
    allocations: Allocations,
}

impl Start {
    /// `own` returns the CPU time of the sender.
    pub(crate) fn now(plan: &Plan, own: impl Fn() -> Duration) -> Self {
        Self {
            own: own(),
            broker: usage::of(&plan.broker),
            machine: usage::machine(),
            allocations: Allocations::now(),
            elapsed: Instant::now(),
        }
    }

    pub(crate) fn took(self, plan: &Plan, own: impl Fn() -> Duration) -> Took {
        let (elapsed, allocations) = (self.elapsed.elapsed(), self.allocations.since());
        let (own, broker) = (own() - self.own, usage::of(&plan.broker) - self.broker);
        let all = self.machine.zip(usage::machine()).map_or(Duration::ZERO, |(before, after)| after - before);
        let foreign = all.saturating_sub(own + broker);
        Took { records: plan.measured(), elapsed, own, broker, foreign, allocations }
    }
}
