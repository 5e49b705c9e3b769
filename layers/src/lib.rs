//! The middleware of kafka-tower: what stands between a typed message and a Kafka transport.
//!
//! Each layer is a folder and a feature. Its `mod.rs` says what it does, where it belongs in a stack, what
//! cancelling does and which errors it makes. A layer decides on the facts of an [`Error`](kafka_tower_core::Error),
//! never on a vendor's code, and works over any transport.
//!
//! | layer | feature | what |
//! |---|---|---|
//! | `serialize` | `serialize`, `json`, `bincode`, `postcard` | a typed message becomes a record |
//! | `partition` | `partition` | a record gets its partition: key hash, round robin, single, custom |
//! | `circuit_breaker` | `circuit-breaker` | stops asking a Kafka that is down |
//! | `retry` | `retry` | sends again what may be sent again, and alone what its batch may have spoilt |
//! | `concurrency` | `concurrency` | tower's limit, with its warning |
//! | `metrics` | `metrics` | counts and latencies, as a snapshot |
//! | `metrics_facade` | `metrics-facade` | the same through the `metrics` crate |
//! | `telemetry` | `telemetry` | OpenTelemetry: spans, context in headers, metrics |
//!
//! `ServiceBuilderExt` (feature `builder`) has a method for each.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "circuit-breaker")]
#[cfg_attr(docsrs, doc(cfg(feature = "circuit-breaker")))]
pub mod circuit_breaker;
#[cfg(feature = "concurrency")]
#[cfg_attr(docsrs, doc(cfg(feature = "concurrency")))]
pub mod concurrency;
#[cfg(feature = "builder")]
mod ext;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
#[cfg(feature = "metrics-facade")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics-facade")))]
pub mod metrics_facade;
#[cfg(feature = "partition")]
#[cfg_attr(docsrs, doc(cfg(feature = "partition")))]
pub mod partition;
#[cfg(feature = "retry")]
#[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
pub mod retry;
#[cfg(feature = "serialize")]
#[cfg_attr(docsrs, doc(cfg(feature = "serialize")))]
pub mod serialize;
#[cfg(feature = "telemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
pub mod telemetry;

#[cfg(any(feature = "metrics-facade", feature = "telemetry"))]
mod outgoing;
#[cfg(any(feature = "metrics-facade", feature = "telemetry"))]
mod topics;

#[cfg(feature = "builder")]
#[cfg_attr(docsrs, doc(cfg(feature = "builder")))]
pub use ext::ServiceBuilderExt;
#[cfg(any(feature = "metrics-facade", feature = "telemetry"))]
pub use outgoing::Outgoing;
