//! Builds a stack with a layer of your own, in your own order, over any transport, and a sink from this stack.
//!
//! ```text
//! cargo run --example custom_stack
//! KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run --example custom_stack
//! ```
//!
//! Without `KAFKA_BROKERS` it uses an in-memory Kafka with scripted faults.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower::layers::KafkaServiceBuilderExt;
use kafka_tower::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use kafka_tower::layers::metrics::Metrics;
use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower::memory::MemoryKafka;
use kafka_tower::rdkafka::RdkafkaTransport;
use kafka_tower::{
    Delivery, Error, ErrorKind, IntoTransport, KafkaSink, PartitionStrategy, Persistence, Record, Result,
    ServiceOptions, SinkMessage,
};
use pin_project::pin_project;
use tower::{Layer, Service, ServiceBuilder};

const OPEN_FOR: Duration = Duration::from_secs(1);

/// A layer of your own: adds the tenant to each record and rejects records above a maximum size in bytes.
#[derive(Clone)]
struct TenantLayer {
    tenant: &'static str,
    max_bytes: usize,
}

impl<S> Layer<S> for TenantLayer {
    type Service = Tenant<S>;

    fn layer(&self, inner: S) -> Tenant<S> {
        Tenant { inner, rules: self.clone() }
    }
}

#[derive(Clone)]
struct Tenant<S> {
    inner: S,
    rules: TenantLayer,
}

/// The comments show what a layer must do to satisfy the laws of `Transport`.
impl<S> Service<Record> for Tenant<S>
where
    S: Service<Record, Response = Delivery, Error = Error> + Clone,
{
    type Response = Delivery;
    type Error = Error;
    type Future = TenantFuture<S::Future>;

    /// Passes back-pressure on. A rejection is returned by `call`: an error of `poll_ready` would end the service for
    /// good.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    /// Calls the inner service at once, so that the log keeps the order of calls.
    fn call(&mut self, mut record: Record) -> Self::Future {
        let Tenant { inner, rules } = self;
        record.headers.insert("tenant", rules.tenant);
        let (size, most) = (record.size(), rules.max_bytes);
        if size > most {
            *inner = inner.clone(); // the readiness will not be used: a clone has none, and so holds no room
            let text = format!("{} may send {most} bytes in a record, but this one has {size}", rules.tenant);
            return TenantFuture::Refused(Some(Error::new(ErrorKind::RecordTooLarge, text)));
        }
        TenantFuture::Sent(inner.call(record))
    }
}

/// A named future, without a box. Passes the inner service's outcome on unchanged.
#[pin_project(project = Projected)]
enum TenantFuture<F> {
    Sent(#[pin] F),
    Refused(Option<Error>),
}

impl<F: Future<Output = Result<Delivery>>> Future for TenantFuture<F> {
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Sent(future) => future.poll(cx),
            Projected::Refused(error) => Poll::Ready(Err(error.take().expect("polled after completion"))),
        }
    }
}

/// The default order has the breaker around retry, so that it counts sends. Here retry is around the breaker, which
/// counts attempts: one send that keeps failing can open it, and an open breaker ends the retries of others. Use this
/// order to stop early instead of putting load on a failing cluster.
fn sink(topic: &str, transport: impl IntoTransport) -> KafkaSink<String> {
    let (transport, control) = transport.into_transport();
    let metrics = Metrics::new();
    let (retries, trips) = (metrics.clone(), metrics.clone());
    let policy = RetryPolicy::new().max_retries(5).base_backoff(Duration::from_millis(50));
    let retry = RetryLayer::new(policy).on_retry(move |event| {
        retries.record_retry();
        println!("    attempt {} failed: {}; again in {:.0?}", event.attempt, event.error, event.delay);
    });
    let breaker = CircuitBreakerConfig::new().failure_threshold(3).open_for(OPEN_FOR);
    let breaker = CircuitBreakerLayer::new(breaker).on_transition(move |transition| {
        if transition.is_trip() {
            trips.record_trip();
        }
        println!("    breaker: {:?} -> {:?}", transition.from, transition.to);
    });
    // The sink counts sends in these too, and its handle observes this breaker.
    let options =
        ServiceOptions::new(Duration::from_secs(10)).metrics(metrics.clone()).circuit_breaker(breaker.handle());
    let stack = ServiceBuilder::new() // the first is the outermost
        .serialize_json(topic) // below this layer there are records
        .layer(TenantLayer { tenant: "acme", max_bytes: 200 }) // rejected records count neither as attempts nor as failures of Kafka
        .count_bytes(&metrics)
        .partition(PartitionStrategy::KeyHash, Arc::clone(&control))
        .layer(retry)
        .circuit_breaker(breaker)
        .service(transport);
    KafkaSink::from_service_with(stack, control, options)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    println!("kafka-tower, a stack of your own\n");
    println!("  measure > serialize > TENANT > count bytes > partition > RETRY > BREAKER > transport\n");
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| "kafka-tower-custom".to_owned());
    let sink = match env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty()) {
        Some(brokers) => {
            println!("  Kafka at {brokers}, topic {topic}\n");
            let kafka = RdkafkaTransport::builder().property("bootstrap.servers", brokers).topic(topic.as_str());
            let sink = sink(&topic, kafka.connect().await?);
            orders(&sink).await?;
            sink
        }
        None => {
            println!("  Kafka in memory, topic {topic}\n");
            let kafka = MemoryKafka::new().with_topic(&topic, 3);
            let sink = sink(&topic, kafka.transport());
            orders(&sink).await?;
            faults(&sink, &kafka).await;
            sink
        }
    };
    sink.close().await?;
    let counted = sink.metrics().await;
    print!("\nClosed. Sent {}, failed {}, ", counted.messages_sent, counted.messages_failed);
    println!("bytes {}, retries {}, trips {}.\n", counted.bytes_sent, counted.retries, counted.circuit_breaker_trips);
    println!("Next:");
    println!("  your own Kafka      KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run --example custom_stack");
    println!("  this program        examples/custom_stack.rs: swap retry and breaker, and compare the errors");
    println!("  the default order   docs of kafka_tower::stack: each layer's place, and why");
    Ok(())
}

async fn orders(sink: &KafkaSink<String>) -> Result<()> {
    println!("Normal operation: the layer adds its header and lets orders through.");
    for number in 1..=3 {
        let order = SinkMessage::new(format!("order {number}")).with_key(format!("customer-{number}"));
        println!("    order {number} -> {}", sink.send(order).await?);
    }
    println!("\nThe layer refuses: a record of more bytes than the tenant may send.");
    send_and_print(sink, &"x".repeat(300)).await;
    Ok(())
}

async fn faults(sink: &KafkaSink<String>, kafka: &MemoryKafka) {
    let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
    println!("\nA short fault: two attempts fail, the third succeeds.");
    kafka.script().times(2).fail(no_leader.clone());
    send_and_print(sink, "short fault").await;

    println!("\nAn outage: after three failed attempts the breaker opens and rejects the next one, so the send fails.");
    let outage = kafka.script().always().fail(no_leader);
    send_and_print(sink, "outage").await;

    println!("\nThe next send is rejected at once, without asking Kafka.");
    send_and_print(sink, "at once").await;

    println!("\nKafka has recovered. After {OPEN_FOR:?} the next send is the probe, and it closes the breaker.");
    outage.cancel();
    tokio::time::sleep(OPEN_FOR).await;
    send_and_print(sink, "recovered").await;
}

/// Sends, and prints the result.
async fn send_and_print(sink: &KafkaSink<String>, order: &str) {
    let begun = Instant::now();
    match sink.send(order.to_owned()).await {
        Ok(delivery) => println!("    -> {delivery} after {:.1?}", begun.elapsed()),
        Err(error) => println!("    -> error after {:.1?}: {error:#}", begun.elapsed()),
    }
}
