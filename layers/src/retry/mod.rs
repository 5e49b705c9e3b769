//! Sends a record again when that may go well and does no harm: `Service<Record>` over `Service<Record>`.
//!
//! What the service below says of a failed attempt decides: its [recovery](kafka_tower_core::Error::recovery), its
//! [persistence](kafka_tower_core::Error::persistence) and its [scope](kafka_tower_core::Error::scope), never a
//! vendor's code. A real transport retries by itself, in order and without duplicates; what comes up here is what it
//! has given up.
//!
//! | error | at most once | at least once | exactly once |
//! |---|---|---|---|
//! | not written, `Retry` | again | again | - |
//! | not written, `Throttled` or `Overloaded` | again, later | again, later | - |
//! | possibly written, `Retry` | - | again if [duplicates are allowed](RetryPolicy::allow_duplicates) | - |
//! | not written, `Reject`, of the whole batch | once alone | once alone | - |
//! | `Timeout`, `CircuitOpen` | - | - | - |
//! | `Reject`, `Fatal`, `AbortTransaction` | - | - | - |
//!
//! A refusal of the broker can hit a whole batch though one record in it is the cause. Such a record is sent once more
//! with [`Record::isolated`](kafka_tower_core::Record::isolated), at once and without counting as a retry, so that what
//! is refused in the end was refused for itself.
//!
//! No back-off reaches [`Record::expires_at`](kafka_tower_core::Record::expires_at): the caller gets the error at once.
//!
//! # Place in the stack
//!
//! Directly above the transport, below the circuit breaker: the breaker counts outcomes, not attempts.
//!
//! # Order
//!
//! First attempts are in the order of the calls. What is sent again, after a back-off or alone, lands behind what was sent
//! meanwhile: what is called after another record's `Ok` is behind it, and no more is promised, under any guarantee.
//!
//! # Cancellation
//!
//! Dropping the future makes no further attempt; the attempt under way goes on, as the transport's law says.
//!
//! # Errors
//!
//! The last attempt's, with [`attempts`](kafka_tower_core::Error::attempts) and
//! [`elapsed`](kafka_tower_core::Error::elapsed) of all; without the latter where the first attempt's error did not say how long
//! that one took, for no clock is read before something fails. If an earlier attempt may have written the record, a later "not
//! written" becomes `PossiblyPersisted`.
//!
//! # Why not `tower::retry`
//!
//! Its policy would decide the same, but its service clones the one below at every call; waits for readiness without
//! regard to a deadline; lets a readiness error replace what earlier attempts are known to have done; and clones its
//! policy per call, so that no policy can number the records, and the back-offs of a failed batch come out the same.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::{Error, ErrorKind, Persistence, Record};
//! use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
//! kafka.script().times(2).fail(no_leader);
//!
//! let layer = RetryLayer::new(RetryPolicy::new().max_retries(3));
//! let service = ServiceBuilder::new().layer(layer).service(kafka.transport());
//!
//! service.oneshot(Record::new("orders").with_value("first")).await?;
//! assert_eq!(kafka.len("orders"), 1);
//! # Ok(())
//! # }
//! ```

mod backoff;
mod decide;
mod event;
mod future;
mod guarantee;
mod layer;
mod policy;
mod service;

pub use backoff::Jitter;
pub use event::RetryEvent;
pub use future::RetryFuture;
pub use guarantee::DeliveryGuarantee;
pub use layer::RetryLayer;
pub use policy::RetryPolicy;
pub use service::Retry;
