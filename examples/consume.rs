//! Handles each order of a topic with a tower service: several at a time, and those of a customer one after another.
//!
//! ```text
//! cargo run --example consume
//! cargo test --example consume
//! KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-orders KAFKA_GROUP=billing cargo run --example consume
//! ```
//!
//! Without `KAFKA_BROKERS` it reads 1,000 orders from an in-memory Kafka and ends. Otherwise it reads the topic, whose values
//! are JSON as `Order`, until Ctrl-C.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{FailurePolicy, Order as HandleInOrder, SourceCloseReport};
use kafka_tower::{BoxError, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SinkMessage, SourceMessage};
use tokio::time::sleep;
use tower::{ServiceBuilder, service_fn};

const TOPIC: &str = "kafka-tower-orders";

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    id: u64,
    customer: String,
    cents: u64,
}

/// Stands for a database: what each customer owes. It forgets nothing that it was given, but some calls fail.
#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<BTreeMap<String, BTreeMap<u64, u64>>>>);

impl Accounts {
    /// Storing an order twice changes nothing, because a message may be delivered twice.
    async fn store(&self, order: &Order, attempt: u32) -> Result<(), BoxError> {
        sleep(Duration::from_millis(order.id % 5)).await;
        if order.id % 97 == 0 && attempt == 1 {
            return Err("the connection was lost".into());
        }
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(order.customer.clone()).or_default().insert(order.id, order.cents);
        Ok(())
    }

    fn orders(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(BTreeMap::len).sum()
    }
}

/// `Ok` acknowledges the message.
async fn handle(accounts: Accounts, message: SourceMessage<Order>) -> Result<(), BoxError> {
    match message.value() {
        Some(order) => accounts.store(order, message.attempt()).await,
        None => Ok(()), // a tombstone
    }
}

/// Serves until `shutdown` ends. The report says whether everything was handled and committed.
async fn serve(
    source: KafkaSource<Order>,
    accounts: Accounts,
    shutdown: impl Future,
) -> Result<SourceCloseReport, kafka_tower::SourceError> {
    let store = service_fn(move |message| handle(accounts.clone(), message));
    // The database has 16 connections: when all are in use, no more is read.
    let service = ServiceBuilder::new().concurrency_limit(16).service(store);
    source
        .serve(service)
        .concurrency(64)
        .order(HandleInOrder::Key)
        .record_timeout(Duration::from_secs(10))
        .on_failure(FailurePolicy::retry(5).backoff(Duration::from_millis(100), Duration::from_secs(5)))
        .until(shutdown)
        .await
}

fn source_config(topic: &str) -> KafkaSourceConfig {
    let group_id = env::var("KAFKA_GROUP").unwrap_or_else(|_| "billing".to_owned());
    KafkaSourceConfig { group_id, topics: vec![topic.to_owned()], ..Default::default() }
}

/// An in-memory Kafka with orders of 11 customers.
async fn with_orders(count: u64) -> Result<MemoryKafka, kafka_tower::Error> {
    let kafka = MemoryKafka::new().with_topic(TOPIC, 4);
    let config = KafkaSinkConfig { topic: TOPIC.to_owned(), ..Default::default() };
    let sink = KafkaSink::<Order>::builder(config).transport(kafka.transport()).build().await?;
    for id in 0..count {
        let customer = format!("customer-{}", id % 11);
        sink.send(SinkMessage::new(Order { id, customer: customer.clone(), cents: 990 + id }).with_key(customer))
            .await?;
    }
    sink.close().await?;
    Ok(kafka)
}

async fn run(accounts: Accounts) -> Result<SourceCloseReport, BoxError> {
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| TOPIC.to_owned());
    if let Ok(brokers) = env::var("KAFKA_BROKERS") {
        let config = KafkaSourceConfig { brokers, ..source_config(&topic) };
        let source = KafkaSource::new(config).await?;
        println!("reading {topic}; Ctrl-C ends");
        return Ok(serve(source, accounts, tokio::signal::ctrl_c()).await?);
    }
    let kafka = with_orders(1_000).await?;
    let source = KafkaSource::builder(source_config(TOPIC)).transport(kafka).build().await?;
    Ok(serve(source, accounts, sleep(Duration::from_secs(2))).await?)
}

#[tokio::main]
async fn main() -> ExitCode {
    let accounts = Accounts::default();
    let ended = run(accounts.clone()).await;
    println!("{} orders are stored", accounts.orders());
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_order_is_stored_and_committed() {
        let kafka = with_orders(1_000).await.unwrap();
        let source = KafkaSource::builder(source_config(TOPIC)).transport(kafka.clone()).build().await.unwrap();
        let accounts = Accounts::default();
        let report = serve(source, accounts.clone(), sleep(Duration::from_secs(60))).await.unwrap();
        assert!(report.is_complete() && report.settled == 1_000, "{report}");
        assert_eq!(accounts.orders(), 1_000);
    }
}
