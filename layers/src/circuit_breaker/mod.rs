//! Circuit breaker: rejects calls at once while Kafka is failing, or [waits](#waiting).
//!
//! While closed, it admits all calls and counts failures in a row. At the
//! [threshold](CircuitBreakerConfig::failure_threshold) it opens and rejects calls without calling the service below.
//! After the [open time](CircuitBreakerConfig::open_for) it is half-open: it admits a few calls as
//! [probes](CircuitBreakerConfig::probes). Enough successful probes close it; one failure opens it again.
//!
//! It works over any service whose error is, or converts into, an [`Error`](kafka_tower_core::Error), not only over
//! services of records.
//!
//! # What counts
//!
//! | result | counts as |
//! |---|---|
//! | delivered | success |
//! | `Timeout`, and a dropped future | see [below](#time-outs-and-dropped-sends) |
//! | `Connection`, `Authentication`, `Broker`, `Fatal`, `Unknown` | failure |
//! | `Serialization`, `InvalidRecord`, `Refused`, `RecordTooLarge`, `Rejected`, `UnknownTopicOrPartition`, `Authorization`, `Config`, `Transaction` | neutral: the fault of the record or the caller |
//! | `Connection` and `Timeout` of [`Scope::Batch`](kafka_tower_core::Scope::Batch), `Broker` of [`Scope::Topic`](kafka_tower_core::Scope::Topic) | neutral: another record of the batch was the cause, or the topic was recreated |
//! | `Throttled` | neutral: Kafka is reachable, and retries wait longer |
//! | `Overloaded`, `CircuitOpen` | neutral: Kafka was not asked |
//! | `Closed`, `Fenced` | neutral: waiting does not help |
//!
//! [`CircuitBreakerLayer::classifier`] replaces this table. A neutral result changes nothing except that it frees the
//! place if its call was a probe. Each call counts once, in the period in which it was admitted: a failure that
//! arrives in a later period changes nothing.
//!
//! # Time-outs and dropped sends
//!
//! A send that times out, or whose future is dropped, is a failure only if Kafka's client had the record for at least
//! 1 s (or half of its budget, if that is shorter) and nothing was delivered through the breaker while it waited.
//! Otherwise it is neutral: the record waited for room, its deadline had passed before the hand-over, Kafka was busy
//! with other records, or a quota delayed the record.
//!
//! A delivery report that arrives after its caller got a time-out or dropped the future still counts as a success.
//! While the breaker is open, such a late delivery lets the next call probe at once. A late failure of an older
//! period changes nothing.
//!
//! The transports of this project report where a record was ([`unanswered`](kafka_tower_core::unanswered)). Other
//! services report nothing: their time-out is a failure if it is not `NotPersisted` and nothing was delivered
//! meanwhile, and their dropped futures are neutral.
//!
//! # Place in the stack
//!
//! Outside of retry: the breaker counts the outcomes of sends, not attempts. Inside of serialize: a value that cannot
//! be encoded then takes no probe's place.
//!
//! # Readiness
//!
//! Unless it [waits](#waiting): while a call would be rejected, the handle is ready without polling the service below: otherwise callers would
//! wait for room in a full transport only to be rejected. When the breaker opens, it wakes the handles that wait for
//! room. A rejection is returned by the call and never by `poll_ready`, whose errors mean that the service cannot be
//! used any more.
//!
//! If a handle became ready while the breaker was open, it rejects its next call even if the breaker has closed since,
//! because the handle has not reserved room below.
//!
//! # Waiting
//!
//! With [`wait_while_open(true)`](CircuitBreakerLayer::wait_while_open) the services of a layer are not ready while the
//! breaker is open, and reject nothing. This pauses a caller that polls readiness before it takes work, for example
//! `KafkaSource::serve`, which then reads nothing and remains a member of its group.
//!
//! `poll_ready` admits the next call. When the open time is over, as many handles are ready as there may be probes; the
//! others wait. A handle that is dropped without a call gives its place back. A clone has no place of its own. A handle
//! that is ready and has no call loses its place as a probe does, after the
//! [lease](CircuitBreakerConfig::probe_lease), which begins anew with the call.
//!
//! A handle that was ready is not ready any more if the breaker opens before its call. So poll each handle directly before
//! its call. A call without that is passed on, since tower allows it; its result does not count, except that a delivery
//! lets the next call probe.
//!
//! A caller that waits gets no error: limit the wait with a time-out outside. The calls whose failures open the breaker,
//! and failed probes, still fail.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use kafka_tower_core::{Error, ErrorKind, Record};
//! use kafka_tower_layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use kafka_tower_memory::MemoryKafka;
//! use tokio::time::{Duration, Instant};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! kafka.script().fail(Error::new(ErrorKind::Broker, "no leader"));
//!
//! let config = CircuitBreakerConfig::new().failure_threshold(1).open_for(Duration::from_secs(10));
//! let layer = CircuitBreakerLayer::new(config).wait_while_open(true);
//! let mut service = ServiceBuilder::new().layer(layer).service(kafka.transport());
//! service.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
//!
//! let start = Instant::now();
//! service.ready().await.unwrap().call(Record::new("orders")).await.unwrap();
//! assert_eq!(start.elapsed(), Duration::from_secs(10));
//! # }
//! ```
//!
//! # Cancellation
//!
//! A call whose future is dropped counts as described [above](#time-outs-and-dropped-sends). A call that panics does
//! not count. A probe that does not count frees its place. A probe that neither ends nor is dropped loses its place
//! after the [lease](CircuitBreakerConfig::probe_lease).
//!
//! If the future of a rejected call is dropped, the rejection is lost: over a transactional transport the transaction
//! could then be committed without the record. Check every result before a commit, or leave out the breaker, as a
//! sink with transactions does.
//!
//! # Errors
//!
//! [`ErrorKind::CircuitOpen`](kafka_tower_core::ErrorKind::CircuitOpen), not persisted. Its message contains the
//! number of failures, the time until calls may probe, and the last failure.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use kafka_tower_core::{Error, ErrorKind, Record};
//! use kafka_tower_layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! kafka.script().times(2).fail(Error::new(ErrorKind::Broker, "no leader"));
//!
//! let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new().failure_threshold(2));
//! let breaker = layer.handle();
//! let mut service = ServiceBuilder::new().layer(layer).service(kafka.transport());
//! for _ in 0..2 {
//!     service.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
//! }
//!
//! let error = service.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
//! assert_eq!(
//!     error.message(),
//!     "the circuit breaker is open after 2 failures; half-open in 60.0 s; last failure: no leader"
//! );
//!
//! tokio::time::sleep(Duration::from_secs(60)).await;
//! service.ready().await.unwrap().call(Record::new("orders")).await.unwrap();
//! assert_eq!(breaker.trips(), 1);
//! # }
//! ```

mod admission;
mod classify;
mod config;
mod errors;
mod evidence;
mod future;
mod handle;
mod inner;
mod layer;
mod service;
mod state;
mod transition;
mod wait;

#[cfg(feature = "record-stack")]
pub(crate) use admission::Admitted;
pub use classify::{Classify, DefaultClassifier, Outcome};
pub use config::CircuitBreakerConfig;
pub use future::CircuitBreakerFuture;
pub use handle::CircuitBreakerHandle;
#[cfg(feature = "record-stack")]
pub(crate) use inner::BreakerInner;
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreaker;
pub use state::CircuitState;
pub use transition::Transition;
