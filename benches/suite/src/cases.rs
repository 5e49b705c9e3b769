//! Cases measured in memory. Each sends the given number of records, one at a time except in batches and streams.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kafka_tower::layers::circuit_breaker::CircuitBreakerLayer;
use kafka_tower::layers::concurrency::ConcurrencyLayer;
use kafka_tower::layers::metrics::{Metrics, MetricsLayer};
use kafka_tower::layers::partition::PartitionLayer;
use kafka_tower::layers::retry::RetryLayer;
use kafka_tower::layers::serialize::SerializeLayer;
use kafka_tower::layers::transaction_batch::TransactionBatchLayer;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::telemetry::{Telemetry, Traced};
use kafka_tower::{
    Control, IntoTransport, JsonSerializer, KafkaClient, KafkaSink, KafkaSinkConfig, PartitionStrategy, Record,
    SinkMessage, Transport, stack,
};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt};

use crate::message::{Reading, json};
use crate::null::Null;
use crate::{gate, source, telemetry};

const TOPIC: &str = "readings";

/// Sends the given number of records.
pub type Run = Box<dyn FnMut(usize)>;

/// A case to measure.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Group of comparable cases.
    pub group: &'static str,
    /// Name of the case.
    pub name: &'static str,
    /// Prepares everything but the records.
    pub start: fn() -> Run,
}

impl Case {
    /// Returns group and name.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }
}

/// All cases.
pub const ALL: &[Case] = &[
    Case { group: "none", name: "message", start: || each(Reading::new) },
    Case { group: "none", name: "message, serde_json::to_vec", start: || each(|i| json(&Reading::new(i))) },
    Case { group: "gate", name: "ready, call, release in hundreds", start: || gate::round() },
    Case { group: "layer", name: "no layer", start: || records(Null) },
    Case {
        group: "layer",
        name: "partition, by key",
        start: || records(PartitionLayer::new(PartitionStrategy::KeyHash, Null::control()).layer(Null)),
    },
    Case {
        group: "layer",
        name: "partition, round robin",
        start: || records(PartitionLayer::new(PartitionStrategy::RoundRobin, Null::control()).layer(Null)),
    },
    Case { group: "layer", name: "circuit breaker", start: || records(CircuitBreakerLayer::default().layer(Null)) },
    Case { group: "layer", name: "retry", start: || records(RetryLayer::default().layer(Null)) },
    Case { group: "layer", name: "concurrency", start: || records(ConcurrencyLayer::new(1_000).layer(Null)) },
    Case { group: "layer", name: "metrics", start: || records(MetricsLayer::default().layer(Null)) },
    Case { group: "layer", name: "bytes", start: || records(Metrics::new().bytes_layer().layer(Null)) },
    Case { group: "layer", name: "telemetry, no provider", start: || records(traced(&telemetry::none())) },
    Case { group: "layer", name: "telemetry, metrics only", start: || records(traced(&telemetry::metrics())) },
    Case { group: "layer", name: "telemetry, sampled out", start: || records(traced(&telemetry::sampled_out())) },
    Case {
        group: "layer",
        name: "telemetry, sampled out, the SDK's propagator",
        start: || records(traced(&telemetry::sampled_out_sdk())),
    },
    Case {
        group: "layer",
        name: "telemetry, parent followed",
        start: || below(records(traced(&telemetry::followed()))),
    },
    Case { group: "layer", name: "telemetry, recorded", start: || records(traced(&telemetry::recorded())) },
    Case { group: "layer", name: "telemetry, recorded and measured", start: || records(traced(&telemetry::all())) },
    Case {
        group: "layer",
        name: "message, serialize",
        start: || service(SerializeLayer::json(TOPIC).layer(Null), |i| SinkMessage::new(Reading::new(i))),
    },
    Case { group: "null", name: "stack::default", start: || typed(Null, Null::control(), plain) },
    Case { group: "null", name: "stack::default, key and header", start: || typed(Null, Null::control(), full) },
    Case { group: "null", name: "KafkaSink as a service", start: || service(null_sink(), plain) },
    Case { group: "null", name: "KafkaSink::send", start: || send(null_sink()) },
    Case { group: "null", name: "KafkaSink::send, telemetry, no provider", start: || send(telemetry_sink()) },
    Case { group: "null", name: "KafkaSink::send_batch", start: || send_batch(null_sink()) },
    Case { group: "null", name: "KafkaSink::send_stream", start: || send_stream(null_sink()) },
    Case { group: "memory", name: "no layer", start: || records(kafka().transport()) },
    Case {
        group: "memory",
        name: "stack::default",
        start: || {
            let transport = kafka().transport();
            let control = transport.control();
            typed(transport, control, plain)
        },
    },
    Case { group: "memory", name: "KafkaSink::send", start: || send(memory_sink()) },
    Case { group: "memory", name: "KafkaSink::send, of a client", start: || send(client_sink()) },
    Case { group: "memory", name: "KafkaSink::send_batch", start: || send_batch(memory_sink()) },
    Case { group: "memory", name: "KafkaSink::send_stream", start: || send_stream(memory_sink()) },
    Case { group: "source", name: "decode", start: || source::decode() },
    Case { group: "source", name: "recv and ack", start: || source::recv() },
    Case { group: "source", name: "serve, 64 lanes", start: || source::serve(false) },
    Case { group: "source", name: "serve, 64 lanes, handlers that wait", start: || source::serve(true) },
    Case { group: "transactions of 100", name: "no layer", start: || transactions() },
    Case { group: "transactions of 100", name: "batching layer", start: || batching() },
];

fn traced(telemetry: &Telemetry) -> Traced<Null> {
    telemetry.layer(TOPIC).layer(Null)
}

/// Runs below a span that is sampled out.
fn below(mut run: Run) -> Run {
    let caller = telemetry::unsampled();
    Box::new(move |n| {
        let _current = caller.clone().attach();
        run(n);
    })
}

fn plain(i: usize) -> SinkMessage<Reading> {
    SinkMessage::new(Reading::new(i))
}

/// Key and header value allocate nothing.
fn full(i: usize) -> SinkMessage<Reading> {
    plain(i).with_key(Bytes::from_static(b"checkout")).with_header("region", Bytes::from_static(b"eu"))
}

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic(TOPIC, 4)
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: TOPIC.to_owned(), ..Default::default() }
}

fn sink(transport: impl IntoTransport) -> KafkaSink<Reading> {
    runtime().block_on(KafkaSink::builder(config()).transport(transport).build()).expect("a configuration that works")
}

fn null_sink() -> KafkaSink<Reading> {
    sink(Null)
}

/// A sink with telemetry, but without providers.
fn telemetry_sink() -> KafkaSink<Reading> {
    let builder = KafkaSink::builder(config()).transport(Null).telemetry(telemetry::none());
    runtime().block_on(builder.build()).expect("a configuration that works")
}

fn memory_sink() -> KafkaSink<Reading> {
    sink(kafka().transport())
}

/// One of two sinks that share a producer.
fn client_sink() -> KafkaSink<Reading> {
    let client = KafkaClient::builder(KafkaSinkConfig::default()).transport(kafka().transport());
    runtime().block_on(async {
        let client = client.build().await.expect("a client");
        let _other = client.sink::<Reading>(TOPIC).build().await.expect("a sink");
        client.sink(TOPIC).build().await.expect("a sink")
    })
}

/// The runtime of the benchmarks: the current thread.
///
/// # Panics
///
/// If the system refuses it.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn each<T: 'static>(make: fn(usize) -> T) -> Run {
    Box::new(move |n| {
        for i in 0..n {
            black_box(make(i));
        }
    })
}

/// Calls a service of records.
fn records<S>(transport: S) -> Run
where
    S: Service<Record> + 'static,
    S::Error: std::fmt::Debug,
{
    let topic: Arc<str> = Arc::from(TOPIC);
    let value = Bytes::from(json(&Reading::new(1)));
    service(transport, move |_| Record::new(Arc::clone(&topic)).with_value(value.clone()))
}

/// Number of records of a transaction.
const TRANSACTION: usize = 100;

const TIME: Duration = Duration::from_secs(10);

fn transactions() -> Run {
    let (runtime, mut transport) = (runtime(), kafka().transactional_transport("id"));
    let transactions = transport.control().transactions().expect("a transactional id");
    runtime.block_on(transactions.init(TIME)).expect("a transactional id");
    Box::new(move |n| {
        runtime.block_on(async {
            for start in (0..n).step_by(TRANSACTION) {
                transactions.begin(TIME).await.expect("begun");
                calls(&mut transport, TRANSACTION.min(n - start)).await;
                transactions.commit(TIME).await.expect("committed");
            }
        });
    })
}

fn batching() -> Run {
    let (runtime, transport) = (runtime(), kafka().transactional_transport("id"));
    let layer = TransactionBatchLayer::new(transport.control()).records(TRANSACTION);
    runtime.block_on(layer.init(TIME)).expect("a transactional id");
    let mut service = runtime.block_on(async { layer.layer(transport) });
    Box::new(move |n| {
        runtime.block_on(async {
            for start in (0..n).step_by(TRANSACTION) {
                calls(&mut service, TRANSACTION.min(n - start)).await;
            }
        });
    })
}

/// Calls a service of records a number of times, then awaits them all.
async fn calls<S>(service: &mut S, records: usize)
where
    S: Service<Record>,
    S::Error: std::fmt::Debug,
{
    let topic: Arc<str> = Arc::from(TOPIC);
    let value = Bytes::from_static(b"{\"service\":\"checkout-eu-1\",\"avg_latency\":1.123456,\"count\":1001}");
    let mut open = Vec::with_capacity(records);
    for _ in 0..records {
        let record = Record::new(Arc::clone(&topic)).with_partition(0).with_value(value.clone());
        open.push(service.ready().await.expect("ready").call(record));
    }
    for future in open {
        black_box(future.await.expect("delivered"));
    }
}

fn typed<S: Transport>(transport: S, control: Arc<dyn Control>, make: fn(usize) -> SinkMessage<Reading>) -> Run {
    service(stack::default(&config(), Arc::new(JsonSerializer), transport, control), make)
}

fn service<S, R>(mut service: S, make: impl Fn(usize) -> R + 'static) -> Run
where
    S: Service<R> + 'static,
    S::Error: std::fmt::Debug,
{
    let runtime = runtime();
    Box::new(move |n| {
        runtime.block_on(async {
            for i in 0..n {
                let ready = service.ready().await.expect("ready");
                black_box(ready.call(make(i)).await.expect("delivered"));
            }
        });
    })
}

fn send(sink: KafkaSink<Reading>) -> Run {
    let runtime = runtime();
    Box::new(move |n| {
        runtime.block_on(async {
            for i in 0..n {
                black_box(sink.send(Reading::new(i)).await.expect("delivered"));
            }
        });
    })
}

/// Sends batches of 1,000 messages.
fn send_batch(sink: KafkaSink<Reading>) -> Run {
    const BATCH: usize = 1_000;
    let runtime = runtime();
    Box::new(move |n| {
        runtime.block_on(async {
            for start in (0..n).step_by(BATCH) {
                let batch = (start..n.min(start + BATCH)).map(Reading::new);
                let results = sink.send_batch(batch).await.expect("a sink that is open");
                assert!(results.iter().all(Result::is_ok));
            }
        });
    })
}

fn send_stream(sink: KafkaSink<Reading>) -> Run {
    let runtime = runtime();
    Box::new(move |n| {
        runtime.block_on(async {
            let mut results = sink.send_stream(stream::iter((0..n).map(Reading::new)));
            while let Some(result) = results.next().await {
                assert!(result.is_ok());
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_runs() {
        for case in ALL {
            (case.start)()(10);
        }
    }
}
