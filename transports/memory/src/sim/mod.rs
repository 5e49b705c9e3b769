//! Checks whether a stack keeps its guarantee, under faults drawn from a seed.
//!
//! [`check()`] runs a stack over an in-memory Kafka with its own callers, loses answers, breaks connections, makes
//! brokers refuse records, and compares the callers' results with the records that consumers see. A seed decides
//! everything: the callers, the faults, the order of polls. The clock is tokio's, paused: a run takes one or two
//! milliseconds, and the same seed is the same run on any machine.
//!
//! ```
//! use kafka_tower_memory::sim::{Guarantee, check};
//!
//! // Your own stack: any service that takes records and returns their outcome.
//! let report = check(|transport| transport).guarantee(Guarantee::AtMostOnce).seeds(50).run();
//! report.assert_clean();
//! ```
//!
//! # What is checked
//!
//! See [`Verdict`] and [`Guarantee`].
//!
//! # A failing seed
//!
//! A failing seed is run a second time: a different trace means that the stack is not deterministic. Then its sends
//! and faults are removed one after another as long as it still fails, and the report prints the rest as a script.
//! `KAFKA_TOWER_SEED=42` runs one seed, `KAFKA_TOWER_SEEDS=100000` that many.
//!
//! # External runs
//!
//! [`History`] takes the results that callers got and the records that consumers read, over any Kafka, and gives the
//! same verdicts.
//!
//! # Requirements for a repeatable stack
//!
//! Time only from `tokio::time`, `biased` in `select!`, no iteration over a `HashMap`, no threads, and no random
//! numbers except from a seed.

mod batches;
mod check;
mod config;
mod driver;
mod failure;
mod guarantee;
mod history;
mod journal;
mod judge;
mod make;
mod outcome;
mod probe;
mod report;
mod run;
mod seen;
mod shrink;
mod transactions;
mod verdict;
mod wake;
mod workload;

use std::sync::Arc;

use kafka_tower_core::{Control, Delivery, Error, Record, Result, TransactionControl};
use tower_service::Service;

pub use batches::Lanes;
pub use check::Check;
pub use config::Order;
pub use guarantee::Guarantee;
pub use history::History;
pub(crate) use journal::Journal;
pub use make::{Made, MakeStack};
pub use report::{Failure, Report};
pub use verdict::{Verdict, Violation};
pub use workload::{TOPIC, number_of};

use crate::MemoryTransport;

/// Starts a check of a stack. See the [module](self).
///
/// `stack` is called once per run, inside the run's runtime.
pub fn check<S, F>(stack: F) -> Check<F>
where
    F: Fn(MemoryTransport) -> S,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    check_made(stack)
}

/// Starts a check of stacks that are made in another way than by a function: see [`MakeStack`].
pub fn check_made<M: MakeStack>(make: M) -> Check<M> {
    Check::new(make, Guarantee::AtLeastOnce)
}

/// Starts a check of stacks that control their own transactions, as a sink does, under [`Guarantee::ExactlyOnce`].
/// Run it with [`Check::run_transactions`].
///
/// `connect` takes a transactional transport and acquires its transactional id ([`init`](TransactionControl::init)),
/// or lets the stack do so. Faults also hit this call: if it fails, it is called again with a new transport. The
/// stack may apply its own time limits in place of the ones passed to its calls.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use kafka_tower_core::{ControlFuture, ConsumerGroup, TopicOffset, TransactionControl};
/// use kafka_tower_memory::sim::check_transactions;
///
/// /// A place for a stack's own transaction logic.
/// #[derive(Debug)]
/// struct Mine(Arc<dyn TransactionControl>);
///
/// impl TransactionControl for Mine {
///     fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.0.init(within)
///     }
///     fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.0.begin(within)
///     }
///     fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.0.commit(within)
///     }
///     fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
///         self.0.abort(within)
///     }
///     fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
///         self.0.send_offsets(o, group, within)
///     }
/// }
///
/// let report = check_transactions(|transport| async {
///     let mine = Mine(transport.control().transactions().unwrap());
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

/// Starts a check of stacks that run transactions of their own below their callers, as the transactional batching layer
/// does, under [`Guarantee::ExactlyOnce`]. Run it with [`Check::run_batches`].
///
/// `connect` makes the transports of its [lanes](Check::lanes), acquires their transactional ids, and returns the stack with
/// the control that closes it. If it fails, it is called again. The stack may make a new transport for a lane later.
///
/// A run connects four times, each time with the same transactional ids: because the earlier stack was closed, or because
/// all its handles and futures were dropped, with sends in flight or without. Under faults a stack may also refuse all
/// sends until the next one. An `Ok` must arrive after the commit: `read_committed` consumers must see the record then.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use kafka_tower_core::Control;
/// use kafka_tower_memory::sim::check_batches;
/// # use std::task::{Context, Poll};
/// # use kafka_tower_core::{Delivery, Error, Record, Result};
/// # use kafka_tower_memory::MemoryTransport;
/// # /// Refuses all records, as a layer does whose producer has ended.
/// # #[derive(Clone)]
/// # struct MyLayer(Arc<dyn Control>);
/// # impl MyLayer {
/// #     fn new(transport: MemoryTransport) -> Self { Self(transport.control()) }
/// #     fn control(&self) -> Arc<dyn Control> { Arc::clone(&self.0) }
/// # }
/// # impl tower_service::Service<Record> for MyLayer {
/// #     type Response = Delivery;
/// #     type Error = Error;
/// #     type Future = std::future::Ready<Result<Delivery>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> { Poll::Ready(Ok(())) }
/// #     fn call(&mut self, _: Record) -> Self::Future {
/// #         std::future::ready(Err(Error::new(kafka_tower_core::ErrorKind::Fatal, "ended")
/// #             .with_persistence(kafka_tower_core::Persistence::NotPersisted)))
/// #     }
/// # }
///
/// let check = check_batches(async |lanes| {
///     let transport = lanes.transport(0);
///     transport.control().transactions().unwrap().init(Duration::from_secs(1)).await?;
///     let stack = MyLayer::new(transport);
///     let control = stack.control();
///     Ok((stack, control))
/// });
/// check.seeds(20).run_batches().assert_clean();
/// ```
pub fn check_batches<S, Fut, F>(connect: F) -> Check<F>
where
    F: Fn(Lanes) -> Fut,
    Fut: Future<Output = Result<(S, Arc<dyn Control>)>>,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    Check::new(connect, Guarantee::ExactlyOnce)
}
