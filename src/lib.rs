//! Sends typed messages to Kafka through a stack of [tower](https://docs.rs/tower) middleware, and reads them with tower services.
//!
//! Every send ends in one of three outcomes: delivered, not written, or possibly written. The offset of a message that was read is
//! committed only after the message was handled.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower::Result<()> {
//! use kafka_tower::memory::MemoryKafka;
//! use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
//!
//! #[derive(serde::Serialize)]
//! struct Order { id: u32 }
//!
//! let config = KafkaSinkConfig { topic: "orders".to_string(), ..Default::default() };
//!
//! // In production: `KafkaSink::<Order>::new(config).await?`, through librdkafka.
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let sink = KafkaSink::<Order>::builder(config).transport(kafka.transport()).build().await?;
//!
//! let delivery = sink.send(SinkMessage::new(Order { id: 42 }).with_key("42")).await?;
//! assert_eq!(delivery.offset, Some(0));
//!
//! sink.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The [guides](guide) explain how the parts are used together.
//!
//! | item | what it is |
//! |---|---|
//! | [`KafkaSink`] | sends messages: `send`, `send_batch`, `send_stream`, or as a `tower::Service` |
//! | [`KafkaClient`] | one producer that several sinks share |
//! | [`KafkaSinkConfig`] | its settings, validated before connecting; can be read from the environment or a file |
//! | [`preflight()`] | tries a configuration against the cluster and reports what it finds |
//! | [`SinkMessage`], [`Delivery`], [`Error`] | a message, and the two results of a send |
//! | [`KafkaMessage`](trait@KafkaMessage) | a type whose messages have a topic and a key of their own |
//! | [`KafkaSource`], [`KafkaSourceConfig`] | reads messages of a consumer group |
//! | [`Shutdown`] | ends a service with one deadline for its HTTP server, its sources and its sinks |
//! | [`HttpProblem`] | how an HTTP service answers a request whose send failed |
//! | [`stack`] | the order of the layers in a sink |
//! | [`layers`] | the layers, for stacks of your own |
//! | `telemetry` | OpenTelemetry, with the feature `opentelemetry` |
//! | [`rdkafka`], [`memory`] | the transports: librdkafka for production, an in-memory Kafka for tests |
//!
//! # Features
//!
//! | feature | effect |
//! |---|---|
//! | `json` (default) | JSON, the default serializer; adds `serde` |
//! | `serde` | the configurations of sinks and sources can be deserialized |
//! | `rdkafka` (default) | the transport over librdkafka; compiles C code |
//! | `native` | `native::NativeTransport`: a producer in Rust, without C; no TLS, SASL and transactions yet |
//! | `memory` (default) | the in-memory transport for tests |
//! | `opentelemetry` | spans, trace context in headers, metrics: `telemetry` |
//! | `metrics-facade` | a layer that records with the `metrics` crate |
//! | `sim` | `memory::sim`: simulation tests of a stack's guarantees |
//! | `aws-msk-iam` | `tokens::MskIamProvider`: OAUTHBEARER tokens for Amazon MSK with IAM |
//! | `oidc` | `tokens::OidcProvider`: OAUTHBEARER tokens of an identity server |
//! | `bincode`, `postcard` | serializers for these formats |
//! | `axum` | [`Error`] is a response of axum |
//! | `signal` | `Shutdown::on_signal`: SIGTERM and Ctrl-C |
//! | `uuid` | `uuid::Uuid` as a message's key |
//! | `derive` | `#[derive(KafkaMessage)]`: topic and key of a type's messages |
//! | `ssl`, `ssl-vendored`, `gssapi`, `zstd` | options of librdkafka: TLS and SCRAM, Kerberos, zstd |
//! | `cmake-build` | builds librdkafka with CMake |
//! | `mock-cluster` (default) | librdkafka's mock brokers, for tests and demonstrations |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
#[cfg(doc)]
pub mod guide;
#[cfg(feature = "memory")]
#[cfg_attr(docsrs, doc(cfg(feature = "memory")))]
pub mod memory;
mod optional;
mod preflight;
mod shutdown;
pub mod sink;
pub mod source;
#[cfg(feature = "opentelemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
pub mod telemetry;
mod waker_group;

#[doc(inline)]
pub use kafka_tower_layers as layers;
#[cfg(feature = "native")]
#[cfg_attr(docsrs, doc(cfg(feature = "native")))]
#[doc(inline)]
pub use kafka_tower_native as native;
#[cfg(feature = "rdkafka")]
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
#[doc(inline)]
pub use kafka_tower_rdkafka as rdkafka;
#[cfg(any(feature = "aws-msk-iam", feature = "oidc"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "aws-msk-iam", feature = "oidc"))))]
#[doc(inline)]
pub use kafka_tower_tokens as tokens;
#[doc(inline)]
pub use sink::stack;

pub use config::{
    Assignor, Conflict, GroupProtocol, KafkaSinkConfig, KafkaSourceConfig, StartFrom, TokenSource, Variables,
};
pub use kafka_tower_layers::KafkaServiceBuilderExt;
pub use kafka_tower_layers::deserialize::MessageDeserializer;
#[cfg(feature = "rdkafka")]
pub use preflight::{PreflightReport, preflight};
pub use shutdown::{Shutdown, ShutdownReport};
#[doc(inline)]
pub use sink::{
    CloseError, KafkaClient, KafkaClientBuilder, KafkaSink, ServiceOptions, SinkBuilder, Transaction,
    TransactionBatchOptions, TransactionOptions, TransactionSink,
};
#[doc(inline)]
pub use source::{KafkaSource, SourceError, SourceMessage};

#[doc(hidden)] // the derive macro's code calls it
pub use kafka_tower_core::__derive;
pub use kafka_tower_core::gate::Limits;
pub use kafka_tower_core::source::{CommitStrategy, OutOfRangePolicy};
pub use kafka_tower_core::{
    BoxError, CloseReport, Consumer, ConsumerGroup, ConsumerTransport, Control, ControlFuture, Delivery, Envelope,
    Error, ErrorKind, Header, Headers, HttpProblem, InFlight, IntoKey, IntoTransport, Isolation, KafkaMessage,
    OauthToken, Persistence, RawRecord, Record, Recovery, Result, Scope, SeekTo, SinkMessage, Tenant, Timestamp,
    TimestampType, TokenFuture, TokenProvider, TopicOffset, TopicPartition, TopicPattern, TransactionControl,
    TransactionEnd, Transport, UnansweredSend, Undelivered, UnseenFailures, handover, outstanding,
};
#[cfg(feature = "derive")]
#[cfg_attr(docsrs, doc(cfg(feature = "derive")))]
pub use kafka_tower_derive::KafkaMessage;
pub use kafka_tower_layers::metrics::{Rates, SinkMetrics};
pub use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
pub use kafka_tower_layers::retry::DeliveryGuarantee;
#[cfg(feature = "bincode")]
#[cfg_attr(docsrs, doc(cfg(feature = "bincode")))]
pub use kafka_tower_layers::serialize::BincodeSerializer;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use kafka_tower_layers::serialize::JsonSerializer;
#[cfg(feature = "postcard")]
#[cfg_attr(docsrs, doc(cfg(feature = "postcard")))]
pub use kafka_tower_layers::serialize::PostcardSerializer;
pub use kafka_tower_layers::serialize::{MessageSerializer, async_trait};

/// Runs the README's code as tests.
#[cfg(all(doctest, feature = "json", feature = "memory", feature = "rdkafka"))]
#[doc = include_str!("../README.md")]
struct Readme;
