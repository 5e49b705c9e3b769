//! OpenTelemetry for each send: a span, its context in the record's headers, and metrics.
//!
//! It uses the `opentelemetry` API directly, because a bridge from `tracing` cannot set a span's kind, links and
//! schema. Spans nest: the parent is the context that is current when the send is called. The send's span is current
//! within `call` and within each poll, so spans that a serializer or a layer below opens are its children.
//!
//! - [`Telemetry`]: tracer, meter, propagator and client attributes, one per application. Uses the global providers,
//!   or given ones.
//! - [`TelemetryLayer`]: one per sink. Its services trace sends. It receives the events of the breaker and of
//!   retries, and creates the spans of [batches](TelemetryLayer::batch) and
//!   [transactions](TelemetryLayer::transactions).
//! - [`source`]: spans and metrics of a source.
//! - [`extract`]: reads the context from a record's headers, for other consumers.
//!
//! # Place in the stack
//!
//! Outermost, around the typed message: one span per send, whatever is retried or refused below, and the context is
//! written into the headers once, before the first attempt. Where there are no typed messages, it also works around
//! records.
//!
//! The layers below find their send as a value in the current context, not as the current span, which may belong to
//! someone else by then. So a retry event is recorded on its own send, whatever context was attached in between, and
//! forcing a breaker writes nothing into a span of the application.
//!
//! # Context in headers
//!
//! The headers contain what the propagator writes, without empty values. A message that already has a valid context
//! in its headers keeps it: the span is of kind CLIENT and links to that context, as the conventions say. Baggage and
//! keys are written only if you opt in.
//!
//! # Batches and streams
//!
//! A batch has one span. Each of its messages has a `create` span of its own, a sibling of the batch's span and
//! linked from it. SDKs keep 128 links and events per span by default. The `create` span ends with the message's
//! delivery report, so that it can contain partition and offset. A stream has no end, so its messages are individual
//! sends.
//!
//! # Cardinality
//!
//! The first 100 topics (see [`TelemetryBuilder::max_topics`]) have a value of their own in metrics and span names;
//! later ones share `_other`. Keys are never an attribute of a metric; partitions are if you opt in.
//!
//! # Privacy
//!
//! By default keys, values, headers and error texts appear in no span and no metric. `error.type` is one of Kafka's
//! error names or one of ours.
//!
//! # Cost
//!
//! Without providers: one look at the current context, without allocation or clock. The API's no-op meter provider is
//! recognized by its size, the no-op tracer by its first span, which has its parent's id; each service remembers that
//! nothing is recorded. With a meter only: two clock reads, two instruments, no allocation. A sampler can only be
//! called with a complete span, including its name and attributes, so a span that is sampled out costs half as much
//! as a recorded one. [`W3cPropagator`] writes headers at a fifth of the cost of the SDK's propagator, and without an
//! intermediate carrier if it is set in the builder. [`TelemetryBuilder::follow_parent`] skips the sampler below a
//! span that is sampled out. docs/observability.md has the numbers.
//!
//! # Cancellation
//!
//! Dropping a future ends its span with `error.type` `abandoned`, because the fate of the record is unknown. The
//! service below decides what happens to the record.
//!
//! # Errors
//!
//! Those of the service below, converted to [`Error`](kafka_tower_core::Error).
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
//! All names are constants in [`semconv`], taken from OpenTelemetry's messaging conventions where those define one.
//!
//! | span | kind | covers |
//! |---|---|---|
//! | `send {topic}` | PRODUCER; CLIENT if the message came with a context of its own | one message, from its call to its delivery report |
//! | `send {topic}` of a batch | CLIENT; PRODUCER without `create` spans | `send_batch`, linked to its messages |
//! | `create {topic}` | PRODUCER | a message of a batch, from its call to its delivery report: the headers carry its context |
//! | `transaction` | INTERNAL | a transaction, from begin to end; sends link to it. One that sends share has no parent, and links to its messages |
//!
//! | attribute | on | set at |
//! |---|---|---|
//! | `messaging.system`, `messaging.operation.name`, `messaging.operation.type` | spans | start |
//! | `messaging.destination.name` | spans; on a batch, if all its messages have one topic | start; on a batch, end |
//! | `messaging.client.id`, `server.address`, `server.port`, `messaging.kafka.cluster.id` | spans, if the application sets them | start |
//! | `messaging.kafka.message.tombstone` | messages without a value | start |
//! | `messaging.kafka.message.key` | messages, by opt-in | start |
//! | `messaging.destination.partition.id`, `messaging.kafka.offset` | delivered messages | end |
//! | `messaging.batch.message_count`, `kafka_tower.batch.failed` | batches | end |
//! | `error.type`, `kafka_tower.persistence` | failed spans, with status `Error` | end |
//! | `kafka_tower.attempts` | sends with more than one attempt | end |
//! | `kafka_tower.transaction.outcome`, `kafka_tower.transaction.messages` | transactions | end |
//! | `kafka_tower.transaction.lane`, `.cut`; `.attempt`, `.refused` if there is more than the usual | shared transactions | end |
//!
//! | event | on | attributes |
//! |---|---|---|
//! | `kafka_tower.retry` | the send, or its batch | `kafka_tower.retry.attempt`, `kafka_tower.retry.delay`, `kafka_tower.retry.isolated`, `error.type`, `kafka_tower.persistence`, `kafka_tower.batch.index` |
//! | `kafka_tower.circuit_breaker.rejection` | the rejected send, or its batch | `kafka_tower.batch.index` |
//! | `kafka_tower.circuit_breaker.transition` | the send whose result caused the transition, or its batch | `kafka_tower.circuit_breaker.from`, `kafka_tower.circuit_breaker.state` |
//! | `kafka_tower.transaction.begin`, `.commit`, `.abort` | the transaction | `error.type` if it failed |
//!
//! | metric | instrument | attributes besides `messaging.system` |
//! |---|---|---|
//! | `messaging.client.operation.duration` | histogram, s | operation name and type, destination, `error.type`, server |
//! | `messaging.client.sent.messages` | counter, `{message}` | operation name, destination, `error.type`, server |
//! | `kafka_tower.client.retries` | counter, `{retry}` | destination, `error.type`, `kafka_tower.retry.isolated` |
//! | `kafka_tower.client.queue.duration` | histogram, s | destination |
//! | `kafka_tower.client.replacements` | observable counter | client id |
//! | `kafka_tower.client.in_flight.records`, `.bytes`, `kafka_tower.client.parked.records` | up-down counters | client id |
//! | `kafka_tower.client.batch.messages` | histogram, `{message}` | destination |
//! | `kafka_tower.circuit_breaker.state` | gauge: 0 closed, 1 half-open, 2 open | destination |
//! | `kafka_tower.circuit_breaker.transitions` | counter, `{transition}` | destination, `kafka_tower.circuit_breaker.state` |
//! | `kafka_tower.circuit_breaker.rejections` | counter, `{message}` | destination |
//! | `kafka_tower.transactions` | counter, `{transaction}` | destination, `kafka_tower.transaction.outcome` |
//! | `kafka_tower.transaction.duration` | histogram, s | destination, `kafka_tower.transaction.outcome` |
//! | `kafka_tower.transaction.messages`, `.size`, `.age` | histograms, `{message}`, By, s | shared transactions: destination, `kafka_tower.transaction.lane`, `.cut` |
//! | `kafka_tower.transaction.replays`, `.refusals` | counters, `{transaction}`, `{message}` | shared transactions: destination, `kafka_tower.transaction.lane` |

pub mod semconv;

mod attributes;
mod batch;
mod batch_span;
mod builder;
mod end;
mod events;
mod future;
mod handle;
mod instruments;
mod layer;
mod propagation;
mod scope;
mod send_span;
mod service;
mod shared;
mod sink;
pub mod source;
mod topic;
mod tracer;
mod transaction;
mod w3c;

pub use batch_span::BatchSpan;
pub use builder::TelemetryBuilder;
pub use future::TracedFuture;
pub use handle::Telemetry;
pub use layer::TelemetryLayer;
pub use propagation::{HeaderExtractor, HeaderInjector, extract};
pub use semconv::Semconv;
pub use service::Traced;
pub use transaction::TransactionSpans;
pub use w3c::W3cPropagator;
