//! OpenTelemetry for each send: a span, its context in the record's headers, and metrics.
//!
//! It speaks the `opentelemetry` API itself: a bridge from `tracing` cannot say a span's kind, links and schema as well. Both nest:
//! the parent is the context that is current when the send is called, and the span is the current one within `call` and
//! within each poll, so that what a serializer or a layer below opens is its child.
//!
//! - [`Telemetry`]: tracer, meter, propagator and names, one for an application. The global ones, or given ones.
//! - [`TelemetryLayer`]: one for each sink. Its services trace sends; it takes the breaker's and the retries' events, and has
//!   the spans of [batches](TelemetryLayer::batch) and [transactions](TelemetryLayer::transactions).
//! - [`extract`]: the context in a record's headers, for consumers.
//!
//! # Place in the stack
//!
//! Outermost, around the typed message: one span a send, whatever is retried or refused below; the context is in the
//! headers before the first attempt, and once. It goes around records too, where there are no typed messages.
//!
//! The layers below find the send that they work for as a value in the current context, not as its current span, which may be
//! another's by then. So an event of a retry is on its send whoever attached what in between, and a breaker that is forced by
//! hand writes nothing into a span of the application.
//!
//! # Context in headers
//!
//! What the propagator writes, and nothing empty. A message that has a valid context in its headers keeps it: its maker is
//! linked, and the span is one of kind CLIENT, as the conventions say. Baggage and keys go nowhere but by choice.
//!
//! # Batches and streams
//!
//! A batch has one span, and each of its messages a `create` span of its own, beside the batch's and linked from it. SDKs keep 128
//! links and events of a span unless they are told otherwise. The `create` span ends with the message's delivery report, so
//! that it can say partition and offset. A stream has no end, so that its messages are sends of their own.
//!
//! # Cardinality
//!
//! The first hundred topics ([`TelemetryBuilder::max_topics`]) have a value in metrics and in the names of spans; later ones share
//! `_other`. Keys are never an attribute of a metric, partitions by choice.
//!
//! # Privacy
//!
//! Keys, values, headers and texts of errors are in no span and no metric. `error.type` is a name of Kafka's or of ours.
//!
//! # Cost
//!
//! Without providers: a look at the current context; nothing is allocated and no clock read. The API's no-op
//! meter provider is known by its size, the no-op tracer by its first span, which has its parent's id; a service remembers that there is
//! nobody. With a meter only: two clocks, two instruments, no allocation. A sampler can only be asked by building the span, with its
//! name and attributes, so that one which is sampled out costs half of one that is recorded. [`W3cPropagator`] writes headers at a fifth
//! of the cost of the SDK's, and without a carrier if the builder is given it. [`TelemetryBuilder::follow_parent`] asks no sampler below
//! a span that is sampled out. The numbers are in docs/observability.md.
//!
//! # Cancellation
//!
//! Dropping a future ends its span with `error.type` `abandoned`: what becomes of the record is not known. What it does to the
//! record is the service's below.
//!
//! # Errors
//!
//! Those of the service below, as an [`Error`](kafka_tower_core::Error) of ours.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use kafka_tower_core::SinkMessage;
//! use kafka_tower_layers::serialize::SerializeLayer;
//! use kafka_tower_layers::telemetry::Telemetry;
//! use kafka_tower_memory::MemoryKafka;
//! use opentelemetry_sdk::propagation::TraceContextPropagator;
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! let exporter = InMemorySpanExporter::default();
//! let tracers = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
//! let telemetry =
//!     Telemetry::builder().tracer_provider(&tracers).propagator(TraceContextPropagator::new()).build();
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let mut orders = ServiceBuilder::new()
//!     .layer(telemetry.layer("orders"))
//!     .layer(SerializeLayer::json("orders"))
//!     .service(kafka.transport());
//! orders.ready().await?.call(SinkMessage::new("first")).await?;
//!
//! let spans = exporter.get_finished_spans()?;
//! assert_eq!(spans[0].name, "send orders");
//!
//! // The consumer's side.
//! let headers = &kafka.records("orders")[0].record.headers;
//! let producer = opentelemetry::trace::TraceContextExt::span(&telemetry.extract(headers)).span_context().clone();
//! assert_eq!(producer.span_id(), spans[0].span_context.span_id());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! ```
//!
//! # Names
//!
//! All are constants in [`semconv`], of OpenTelemetry's messaging conventions where those have a name.
//!
//! | span | kind | what |
//! |---|---|---|
//! | `send {topic}` | PRODUCER; CLIENT if the message came with a context of its own | one message, from its call to its delivery report |
//! | `send {topic}` of a batch | CLIENT; PRODUCER without `create` spans | `send_batch`, linked to what it sends |
//! | `create {topic}` | PRODUCER | a message of a batch, from its call to its delivery report: its context is what the headers carry |
//! | `transaction` | INTERNAL | from begin to the end of a transaction; sends link to it |
//!
//! | attribute | on | when |
//! |---|---|---|
//! | `messaging.system`, `messaging.operation.name`, `messaging.operation.type` | spans | start |
//! | `messaging.destination.name` | spans; of a batch, if all its messages have one topic | start; of a batch, end |
//! | `messaging.client.id`, `server.address`, `server.port`, `messaging.kafka.cluster.id` | spans, where the application tells them | start |
//! | `messaging.kafka.message.tombstone` | messages without a value | start |
//! | `messaging.kafka.message.key` | only by choice | start |
//! | `messaging.destination.partition.id`, `messaging.kafka.offset` | messages that were delivered | end |
//! | `messaging.batch.message_count`, `kafka_tower.batch.failed` | batches | end |
//! | `error.type`, `kafka_tower.persistence` | what failed, with status `Error` | end |
//! | `kafka_tower.attempts` | what was tried more than once | end |
//! | `kafka_tower.transaction.outcome`, `kafka_tower.transaction.messages` | transactions | end |
//!
//! | event | on | attributes |
//! |---|---|---|
//! | `kafka_tower.retry` | the send, or its batch | `kafka_tower.retry.attempt`, `kafka_tower.retry.delay`, `kafka_tower.retry.alone`, `error.type`, `kafka_tower.persistence`, `kafka_tower.batch.index` |
//! | `kafka_tower.circuit_breaker.rejection` | the send that was refused, or its batch | `kafka_tower.batch.index` |
//! | `kafka_tower.circuit_breaker.transition` | the send whose result moved the breaker, or its batch | `kafka_tower.circuit_breaker.from`, `kafka_tower.circuit_breaker.state` |
//! | `kafka_tower.transaction.begin`, `.commit`, `.abort` | the transaction | `error.type` of one that failed |
//!
//! | metric | instrument | attributes beside `messaging.system` |
//! |---|---|---|
//! | `messaging.client.operation.duration` | histogram, s | operation name and type, destination, `error.type`, server |
//! | `messaging.client.sent.messages` | counter, `{message}` | operation name, destination, `error.type`, server |
//! | `kafka_tower.client.retries` | counter, `{retry}` | destination, `error.type`, `kafka_tower.retry.alone` |
//! | `kafka_tower.client.queue.duration` | histogram, s | destination |
//! | `kafka_tower.client.in_flight.records`, `.bytes`, `kafka_tower.client.parked.records` | up-down counters | client id |
//! | `kafka_tower.client.batch.messages` | histogram, `{message}` | destination |
//! | `kafka_tower.circuit_breaker.state` | gauge: 0 closed, 1 half-open, 2 open | destination |
//! | `kafka_tower.circuit_breaker.transitions` | counter, `{transition}` | destination, `kafka_tower.circuit_breaker.state` |
//! | `kafka_tower.circuit_breaker.rejections` | counter, `{message}` | destination |
//! | `kafka_tower.transactions` | counter, `{transaction}` | destination, `kafka_tower.transaction.outcome` |
//! | `kafka_tower.transaction.duration` | histogram, s | destination, `kafka_tower.transaction.outcome` |

pub mod semconv;

mod attributes;
mod batch;
mod builder;
mod end;
mod events;
mod future;
mod handle;
mod instruments;
mod layer;
mod open;
mod propagation;
mod scope;
mod service;
mod topic;
mod tracer;
mod transaction;
mod w3c;

pub use batch::BatchSpan;
pub use builder::TelemetryBuilder;
pub use future::TracedFuture;
pub use handle::Telemetry;
pub use layer::TelemetryLayer;
pub use propagation::{HeaderExtractor, HeaderInjector, extract};
pub use semconv::Semconv;
pub use service::Traced;
pub use transaction::TransactionSpans;
pub use w3c::W3cPropagator;
