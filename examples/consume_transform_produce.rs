//! Makes a bill of each order: every bill is there exactly once, whatever fails or is killed.
//!
//! ```text
//! cargo run --example consume_transform_produce
//! cargo test --example consume_transform_produce
//! KAFKA_BROKERS=host:9092 KAFKA_TRANSACTIONAL_ID=billing-1 cargo run --example consume_transform_produce
//! ```
//!
//! Without `KAFKA_BROKERS` it bills 1,000 orders of an in-memory Kafka and ends. Otherwise it reads the topic `KAFKA_ORDERS`, whose
//! values are JSON as `Order`, as a member of the group `KAFKA_GROUP`, and writes to the topic `KAFKA_BILLS`, until Ctrl-C. Each
//! instance that runs at the same time needs a transactional id of its own, which is the same after a restart.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::SourceCloseReport;
use kafka_tower::{
    BoxError, CommitStrategy, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SinkMessage, SourceMessage,
};
use tokio::time::sleep;

const ORDERS: &str = "kafka-tower-orders";
const BILLS: &str = "kafka-tower-bills";

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    id: u64,
    customer: String,
    cents: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Bill {
    order: u64,
    cents: u64,
}

/// Any number of outputs. An error ends the run: this order and those behind it are read again after a restart.
async fn bill(message: SourceMessage<Order>) -> Result<Vec<SinkMessage<Bill>>, BoxError> {
    let Some(order) = message.value() else { return Ok(Vec::new()) }; // a tombstone
    if order.cents == 0 {
        return Ok(Vec::new());
    }
    let bill = Bill { order: order.id, cents: order.cents };
    Ok(vec![SinkMessage::new(bill).with_key(order.customer.clone())])
}

async fn run(
    source: KafkaSource<Order>,
    sink: KafkaSink<Bill>,
    shutdown: impl Future + Send + 'static,
) -> Result<SourceCloseReport, BoxError> {
    let ended = source.transactional(sink.clone(), bill).until(shutdown).await;
    sink.close().await?;
    Ok(ended?)
}

fn source_config(topic: &str) -> KafkaSourceConfig {
    KafkaSourceConfig {
        group_id: env::var("KAFKA_GROUP").unwrap_or_else(|_| "billing".to_owned()),
        topics: vec![topic.to_owned()],
        commit: CommitStrategy::Transaction,
        ..Default::default()
    }
}

fn name(variable: &str, default: &str) -> String {
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// An in-memory Kafka with orders, of which each tenth costs nothing.
async fn with_orders(count: u64) -> Result<MemoryKafka, kafka_tower::Error> {
    let kafka = MemoryKafka::new().with_topic(ORDERS, 4).with_topic(BILLS, 4);
    let config = KafkaSinkConfig { topic: ORDERS.to_owned(), ..Default::default() };
    let sink = KafkaSink::<Order>::builder(config).transport(kafka.transport()).build().await?;
    for id in 0..count {
        let customer = format!("customer-{}", id % 11);
        let order = Order { id, customer: customer.clone(), cents: id % 10 * 100 };
        sink.send(SinkMessage::new(order).with_key(customer)).await?;
    }
    sink.close().await?;
    Ok(kafka)
}

async fn in_memory(kafka: &MemoryKafka) -> Result<SourceCloseReport, BoxError> {
    let source = KafkaSource::builder(source_config(ORDERS)).transport(kafka.clone()).build().await?;
    let config = KafkaSinkConfig::exactly_once("memory", BILLS, "billing-1");
    let sink = KafkaSink::builder(config).transport(kafka.transactional_transport("billing-1")).build().await?;
    run(source, sink, sleep(Duration::from_secs(2))).await
}

async fn on_kafka(brokers: String) -> Result<SourceCloseReport, BoxError> {
    let id = env::var("KAFKA_TRANSACTIONAL_ID").map_err(|_| "set KAFKA_TRANSACTIONAL_ID to a name of this instance")?;
    let (orders, bills) = (name("KAFKA_ORDERS", ORDERS), name("KAFKA_BILLS", BILLS));
    let sink = KafkaSink::new(KafkaSinkConfig::exactly_once(brokers.clone(), bills, id)).await?;
    let source = KafkaSource::new(KafkaSourceConfig { brokers, ..source_config(&orders) }).await?;
    println!("billing {orders}; Ctrl-C ends");
    run(source, sink, tokio::signal::ctrl_c()).await
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match env::var("KAFKA_BROKERS") {
        Ok(brokers) => on_kafka(brokers).await,
        Err(_) => match with_orders(1_000).await {
            Ok(kafka) => in_memory(&kafka).await.inspect(|_| println!("{} bills", kafka.committed(BILLS).len())),
            Err(error) => Err(error.into()),
        },
    };
    match ended {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may fail

    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_order_has_one_bill() {
        let kafka = with_orders(1_000).await.unwrap();
        let report = in_memory(&kafka).await.unwrap();
        assert!(report.is_complete() && report.settled == 1_000, "{report}");
        let bills = kafka.committed(BILLS);
        let bills: Vec<Bill> =
            bills.iter().map(|bill| serde_json::from_slice(bill.value().unwrap()).unwrap()).collect();
        let orders: BTreeSet<_> = bills.iter().map(|bill| bill.order).collect();
        assert_eq!((bills.len(), orders.len()), (900, 900), "each once");
    }
}
