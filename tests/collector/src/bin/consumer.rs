//! A traced consumer: makes a `process` span for each record of a topic, with the parent from the record's headers.
//! Runs as a separate process: `consumer BROKERS TOPIC RECORDS`.
#![allow(clippy::print_stdout)]

#[path = "../../../../examples/traced_service/otel.rs"]
mod otel;
#[path = "../../../../examples/traced_service/post.rs"]
mod post;

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use kafka_tower::Headers;
use kafka_tower::telemetry::extract;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{KeyValue, global};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [brokers, topic, records] = arguments.as_slice() else { return Err("BROKERS TOPIC RECORDS".into()) };
    let otel = otel::start("consumer")?;
    println!("telemetry: {}", otel.place);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("{topic}-traced"))
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    let mut left: u64 = records.parse()?;
    let end = Instant::now() + PATIENCE;
    while left > 0 {
        if Instant::now() > end {
            return Err(format!("{left} records did not come within {PATIENCE:?}").into());
        }
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                process(&message);
                left -= 1;
            }
            Some(Err(error)) => println!("{error}"),
            None => {}
        }
    }
    otel.stop()
}

fn process(message: &BorrowedMessage<'_>) {
    let mut headers = Headers::new();
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        headers.push(header.key.to_owned(), header.value.unwrap_or_default().to_vec());
    }
    let producer = extract(&headers);
    let tracer = global::tracer("consumer");
    let span = tracer
        .span_builder(format!("process {}", message.topic()))
        .with_kind(SpanKind::Consumer)
        .with_links(vec![Link::with_context(producer.span().span_context().clone())])
        .with_attributes([
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", message.topic().to_owned()),
            KeyValue::new("messaging.destination.partition.id", message.partition().to_string()),
            KeyValue::new("messaging.kafka.offset", message.offset()),
        ])
        .start_with_context(&tracer, &producer);
    // Real work would be done here, in this context.
    drop(producer.with_span(span));
}
