//! Retries records that can be sent again safely: `Service<Record>` over `Service<Record>`.
//!
//! The error of a failed attempt decides: its [recovery](kafka_tower_core::Error::recovery), its
//! [persistence](kafka_tower_core::Error::persistence) and its [scope](kafka_tower_core::Error::scope), never a
//! vendor's error code. A real transport retries by itself, in order and without duplicates; this layer sees only
//! what the transport has given up.
//!
//! | error | at most once | at least once | exactly once |
//! |---|---|---|---|
//! | `NotPersisted`, `Retry` | retry | retry | - |
//! | `NotPersisted`, `Throttled` or `Overloaded` | retry later | retry later | - |
//! | `PossiblyPersisted`, `Retry` | - | retry if [duplicates are allowed](RetryPolicy::allow_duplicates) | - |
//! | `NotPersisted`, `Reject`, scope `Batch` | once, isolated | once, isolated | - |
//! | `Timeout`, `CircuitOpen` | - | - | - |
//! | `Reject`, `Fatal`, `AbortTransaction` | - | - | - |
//!
//! A broker can refuse a whole batch because of one record. Each record of such a batch is sent once more with
//! [`Record::isolated`](kafka_tower_core::Record::isolated), at once and without counting as a retry, so that only
//! records that were refused alone fail.
//!
//! No back-off extends to [`Record::expires_at`](kafka_tower_core::Record::expires_at): if it would, the caller gets
//! the error at once.
//!
//! # Place in the stack
//!
//! Directly above the transport, below the circuit breaker: the breaker counts outcomes, not attempts.
//!
//! # Cost
//!
//! Each send keeps a copy of its record, which counts references and copies no bytes. Over a transport that gives records
//! back with their errors, [`RetryLayer::keep_records`]`(false)` saves it.
//!
//! # Order
//!
//! First attempts are in call order. A record that is sent again, after a back-off or isolated, is written behind
//! records that were sent meanwhile. The only promise, under any guarantee: a record that is called after another
//! record's `Ok` is behind it.
//!
//! # Cancellation
//!
//! Dropping the future makes no further attempt. The current attempt continues, as the transport's law 2 says.
//!
//! # Errors
//!
//! Those of the last attempt, with [`attempts`](kafka_tower_core::Error::attempts) and
//! [`elapsed`](kafka_tower_core::Error::elapsed) of all attempts. `elapsed` is `None` if the first attempt's error
//! does not contain its duration, because no clock is read before a failure. If an earlier attempt may have written
//! the record, a later `NotPersisted` becomes `PossiblyPersisted`.
//!
//! # Why not `tower::retry`
//!
//! Its policy could make the same decisions, but its service clones the service below at every call; waits for
//! readiness without regard to a deadline; lets a readiness error replace what is known about earlier attempts; and
//! clones its policy per call, so that a policy cannot number the records and the back-offs of a failed batch would
//! be identical.
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
mod inner;
mod layer;
mod policy;
mod service;

pub use backoff::Jitter;
pub use event::RetryEvent;
pub use future::RetryFuture;
#[cfg(feature = "record-stack")]
pub(crate) use future::{Between, History};
pub use guarantee::DeliveryGuarantee;
#[cfg(feature = "record-stack")]
pub(crate) use inner::RetryInner;
pub use layer::RetryLayer;
pub use policy::RetryPolicy;
pub use service::Retry;
