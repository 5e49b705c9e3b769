//! Tower layers of kafka-tower, between typed messages and a Kafka transport.
//!
//! Each layer is a module and a feature. The module documents what it does, its place in a stack, cancellation and
//! errors. A layer decides by the properties of an [`Error`](kafka_tower_core::Error), never by a vendor's error
//! code, and works over any transport.
//!
//! | layer | feature | what it does |
//! |---|---|---|
//! | `serialize` | `serialize`, `json`, `bincode`, `postcard` | encodes a typed message as a record |
//! | `deserialize` | `serialize`, `json`, `bincode`, `postcard` | no layer: the decoders of a source |
//! | `partition` | `partition` | picks a record's partition: key hash, round robin, single, custom |
//! | `circuit_breaker` | `circuit-breaker` | rejects sends at once while Kafka is failing, or waits |
//! | `retry` | `retry` | retries records that may be sent again; re-sends records of a rejected batch isolated |
//! | `record_stack` | `record-stack` | partition, circuit breaker, retry and the byte counter in one service: what a sink uses |
//! | `dead_letter` | `dead-letter` | sends records that could not be handled to a dead letter topic |
//! | `transaction_batch` | `transaction-batch` | sends the records of concurrent callers in shared transactions |
//! | `concurrency` | `concurrency` | tower's concurrency limit, with its hazards documented |
//! | `metrics` | `metrics` | counts and latencies, as a snapshot |
//! | `metrics_facade` | `metrics-facade` | counts and latencies through the `metrics` crate |
//! | `telemetry` | `telemetry` | OpenTelemetry: spans, context in headers, metrics |
//!
//! `KafkaServiceBuilderExt` (feature `builder`) has a method for each layer.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(
    feature = "circuit-breaker",
    feature = "dead-letter",
    feature = "metrics",
    feature = "partition",
    feature = "retry",
    feature = "serialize"
))]
#[macro_use]
mod macros;

#[cfg(feature = "circuit-breaker")]
#[cfg_attr(docsrs, doc(cfg(feature = "circuit-breaker")))]
pub mod circuit_breaker;
#[cfg(feature = "concurrency")]
#[cfg_attr(docsrs, doc(cfg(feature = "concurrency")))]
pub mod concurrency;
#[cfg(feature = "dead-letter")]
#[cfg_attr(docsrs, doc(cfg(feature = "dead-letter")))]
pub mod dead_letter;
#[cfg(feature = "serialize")]
#[cfg_attr(docsrs, doc(cfg(feature = "serialize")))]
pub mod deserialize;
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
#[cfg(feature = "record-stack")]
#[cfg_attr(docsrs, doc(cfg(feature = "record-stack")))]
pub mod record_stack;
#[cfg(feature = "retry")]
#[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
pub mod retry;
#[cfg(feature = "serialize")]
#[cfg_attr(docsrs, doc(cfg(feature = "serialize")))]
pub mod serialize;
#[cfg(feature = "telemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
pub mod telemetry;
#[cfg(feature = "transaction-batch")]
#[cfg_attr(docsrs, doc(cfg(feature = "transaction-batch")))]
pub mod transaction_batch;

#[cfg(any(feature = "metrics-facade", feature = "telemetry"))]
mod message_head;
#[cfg(any(feature = "metrics", feature = "metrics-facade", feature = "telemetry"))]
mod topics;

#[cfg(feature = "builder")]
#[cfg_attr(docsrs, doc(cfg(feature = "builder")))]
pub use ext::KafkaServiceBuilderExt;
#[cfg(any(feature = "metrics-facade", feature = "telemetry"))]
pub use message_head::MessageHead;
