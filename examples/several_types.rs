//! Several types and topics over one producer: each sink has its own type, topic and settings, and shares connections,
//! threads and the limit of records in flight.
//!
//! ```text
//! cargo run --example several_types
//! cargo test --example several_types
//! KAFKA_BROKERS=host:9092 cargo run --example several_types
//! ```
//!
//! Without `KAFKA_BROKERS` it uses librdkafka's mock cluster in this process. With it, the topics `orders`, `payments` and
//! `audit` must exist.
#![allow(clippy::print_stdout)]

use std::env;
use std::time::Duration;

use kafka_tower::rdkafka::MockCluster;
use kafka_tower::sink::CloseError;
use kafka_tower::{Error, KafkaClient, KafkaSink, KafkaSinkConfig, Result, SinkMessage};
use tower::util::MapRequestLayer;

#[derive(serde::Serialize)]
struct Order {
    id: u64,
    item: &'static str,
}

#[derive(serde::Serialize)]
struct Payment {
    order: u64,
    cents: u64,
}

/// Names neither transport nor layers: a test makes it over an in-memory Kafka.
struct Shop {
    client: KafkaClient,
    orders: KafkaSink<Order>,
    payments: KafkaSink<Payment>,
    audit: KafkaSink<String>,
}

impl Shop {
    async fn new(client: KafkaClient) -> Result<Self> {
        let orders = client.sink("orders").build().await?;
        // A payment is worth more retries than an order.
        let payments = client.sink("payments").settings(|config| config.max_retries = 20).build().await?;
        // A sale waits at most a second for its audit line.
        let audit = client
            .sink("audit")
            .layer(MapRequestLayer::new(|line: SinkMessage<String>| line.with_header("from", "shop")))
            .settings(|config| config.send_timeout_ms = 1_000)
            .build()
            .await?;
        Ok(Self { client, orders, payments, audit })
    }

    async fn sell(&self, id: u64, item: &'static str, cents: u64) -> Result<()> {
        let (order, payment, audit) = tokio::join!(
            self.orders.send(SinkMessage::new(Order { id, item }).with_key(id)),
            self.payments.send(SinkMessage::new(Payment { order: id, cents }).with_key(id)),
            self.audit.send(format!("sold {item} for {cents} cents")),
        );
        if let Err(error) = audit {
            println!("no audit line: {error}");
        }
        println!("order {}, payment {}", order?, payment?);
        Ok(())
    }

    /// Ends all sinks, and then the producer.
    async fn close(self) -> Result<(), CloseError> {
        self.client.close_within(Duration::from_secs(10)).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mock = match env::var("KAFKA_BROKERS") {
        Ok(_) => None,
        Err(_) => Some(start_mock()?),
    };
    let brokers =
        mock.as_ref().map_or_else(|| env::var("KAFKA_BROKERS").unwrap_or_default(), |mock| mock.bootstrap().to_owned());
    let config = KafkaSinkConfig { brokers, linger_ms: 5, ..Default::default() };
    let shop = Shop::new(KafkaClient::connect(config).await?).await?;
    shop.sell(1, "book", 1_290).await?;
    shop.sell(2, "pen", 199).await?;

    // This one alone; the others go on.
    shop.audit.close().await?;
    let (of_payments, all) = (shop.payments.metrics().await, shop.client.metrics());
    println!("{} payments of {} messages", of_payments.messages_sent, all.messages_sent);
    shop.close().await?;
    Ok(())
}

fn start_mock() -> Result<MockCluster> {
    let mock = MockCluster::start(1)?;
    ["orders", "payments", "audit"].iter().try_for_each(|topic| mock.create_topic(topic, 2))?;
    Ok(mock)
}

#[cfg(test)]
mod tests {
    use kafka_tower::memory::MemoryKafka;

    use super::*;

    #[tokio::test]
    async fn a_sale_is_an_order_and_a_payment() {
        let kafka = MemoryKafka::new().with_topic("orders", 1).with_topic("payments", 1).with_topic("audit", 1);
        let client =
            KafkaClient::builder(KafkaSinkConfig::default()).transport(kafka.transport()).build().await.unwrap();
        let shop = Shop::new(client).await.unwrap();
        shop.sell(1, "book", 1_290).await.unwrap();
        shop.close().await.unwrap();
        assert_eq!(["orders", "payments", "audit"].map(|topic| kafka.len(topic)), [1, 1, 1]);
    }

    /// Least number of threads of a producer.
    #[cfg(target_os = "linux")]
    const PRODUCER: usize = 4;

    /// Number of threads of producers in this process, with those of the mock cluster.
    #[cfg(target_os = "linux")]
    fn threads() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        // A look-up of a topic has a thread until it ends.
        names.filter(|name| name.starts_with("rdk:") || name.trim() == "kafka-tower-eve").count()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn ten_sinks_cost_one_producers_threads() {
        let mock = start_mock().unwrap();
        let config =
            KafkaSinkConfig { brokers: mock.bootstrap().to_owned(), topic: "orders".into(), ..Default::default() };
        let client = KafkaClient::connect(config).await.unwrap();
        let mut sinks = Vec::new();
        let mut of_one = 0;
        for n in 0..10 {
            let topic = ["orders", "payments", "audit"][n % 3];
            let sink = client.sink::<usize>(topic).build().await.unwrap();
            sink.send(n).await.unwrap();
            sinks.push(sink);
            if n == 0 {
                of_one = threads();
                assert!(of_one >= PRODUCER, "{of_one} threads");
            }
        }
        assert!(threads() < of_one + PRODUCER, "{} threads, {of_one} for one sink", threads());
        client.close().await.unwrap();
    }
}
