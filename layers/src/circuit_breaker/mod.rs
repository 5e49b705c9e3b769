//! Stops asking a Kafka that is down, and tells callers so at once.
//!
//! Closed, it lets all calls through and counts failures in a row; at the
//! [threshold](CircuitBreakerConfig::failure_threshold) it opens and rejects calls without asking anybody. After
//! [its time](CircuitBreakerConfig::open_for) it is half-open: a few calls [probe](CircuitBreakerConfig::probes). Enough
//! successes close it, one failure opens it again.
//!
//! It works over any service whose error is or becomes an [`Error`](kafka_tower_core::Error), not only one of records.
//!
//! # What counts
//!
//! | result | is |
//! |---|---|
//! | delivered | a success |
//! | `Timeout`, and a future that is dropped | see [below](#time-outs-and-dropped-sends) |
//! | `Connection`, `Authentication`, `Broker`, `Fatal`, `Callback`, `Unknown` | a failure |
//! | `Serialization`, `InvalidRecord`, `Refused`, `RecordTooLarge`, `Rejected`, `UnknownTopicOrPartition`, `Authorization`, `Config`, `Transaction` | neutral: the record's fault, or the caller's |
//! | `Connection` and `Timeout` of [`Scope::Batch`](kafka_tower_core::Scope::Batch), `Broker` of [`Scope::Topic`](kafka_tower_core::Scope::Topic) | neutral: another record spoilt it, or the topic was made anew |
//! | `Throttled` | neutral: Kafka is there, and retries wait longer |
//! | `Overloaded`, `CircuitOpen` | neutral: nobody asked Kafka |
//! | `Closed`, `Fenced` | neutral: waiting does not heal it |
//!
//! [`CircuitBreakerLayer::classifier`] takes another table. A neutral result changes nothing, and lets another call probe
//! if its call did. Each call counts once, in the period in which it was let through: a failure that arrives in a later
//! period changes nothing.
//!
//! # Time-outs and dropped sends
//!
//! A send that times out, or whose future is dropped, is a failure only if Kafka's client had the record for at least 1 s
//! (or half of its budget, if that is less) and nothing was delivered through the breaker while it waited.
//! Else it is neutral: it waited for room, its deadline had passed before, Kafka was busy with others, or a quota delayed it.
//! A delivery report that arrives after its caller got a time-out, or went away, still is a success.
//! Open, such a late delivery lets the next call probe at once; a late failure of an older period changes nothing.
//!
//! The transports of this project tell where a record was ([`unanswered`](kafka_tower_core::unanswered)). Of another service's time-outs
//! nothing is known: one is a failure if it is not `NotPersisted` and nothing was delivered meanwhile, and its dropped futures are neutral.
//!
//! # Place in the stack
//!
//! Outside of retry: it counts the outcomes of sends, not attempts. Inside of what makes records, so that a value that
//! cannot be encoded takes no probe's place.
//!
//! # Readiness
//!
//! While a call would be rejected, the handle is ready without asking the service below: else a full transport would
//! keep its callers waiting for what the breaker could have told them. Who waits for room when the breaker opens is woken.
//! Rejections come with the call and never as an error of `poll_ready`, which would be the end of the service.
//!
//! A handle that became ready while the breaker was open, and is called when it no longer is, rejects that one call:
//! nobody was asked for room.
//!
//! # Cancellation
//!
//! A call whose future is dropped counts as [above](#time-outs-and-dropped-sends); one that panics counts for nothing. The place of a probe
//! that counts for nothing is free again. A probe that neither ends nor is dropped loses its place after the
//! [lease](CircuitBreakerConfig::probe_lease).
//!
//! A rejection whose future is dropped is known to nobody: over a transactional transport the transaction can be committed
//! without the record. Look at each answer before a commit, or leave the breaker out, as the sink with transactions does.
//!
//! # Errors
//!
//! [`ErrorKind::CircuitOpen`](kafka_tower_core::ErrorKind::CircuitOpen), not persisted, which says after how many failures,
//! when calls will probe, and what the last failure was.
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
mod layer;
mod service;
mod shared;
mod state;
mod transition;

pub use classify::{Classify, DefaultClassifier, Outcome};
pub use config::CircuitBreakerConfig;
pub use future::CircuitBreakerFuture;
pub use handle::CircuitBreakerHandle;
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreaker;
pub use state::CircuitState;
pub use transition::Transition;
