//! One service over librdkafka in `main` and over memory in its tests: only the line that makes the sink differs.
//!
//! ```text
//! cargo run --example swap_transport
//! cargo test --example swap_transport
//! KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run --example swap_transport
//! ```
//!
//! Without `KAFKA_BROKERS` the program uses librdkafka's mock cluster in this process. The tests make an in-memory
//! Kafka fail, and do not wait, because they control the clock.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use kafka_tower::sink::CloseError;
use kafka_tower::{Delivery, Error, KafkaSink, KafkaSinkConfig, Persistence, Result, SinkMessage};

const TOPIC: &str = "kafka-tower-orders";
const IMPORT: u64 = 20_000;

#[derive(serde::Serialize)]
struct OrderPlaced {
    id: u64,
    customer: String,
    cents: u64,
}

impl OrderPlaced {
    fn new(id: u64) -> Self {
        Self { id, customer: format!("customer-{}", id % 11), cents: 990 + id }
    }
}

/// Result for the service's caller.
#[derive(Debug)]
enum Placed {
    /// The order is in the log.
    Yes(Delivery),
    /// The order is not in the log: place it again.
    No(Error),
    /// Unknown: look before placing it again, or the customer pays twice.
    Unclear(Error),
}

impl From<Result<Delivery>> for Placed {
    fn from(result: Result<Delivery>) -> Self {
        match result {
            Ok(delivery) => Self::Yes(delivery),
            Err(error) if error.persistence() == Persistence::NotPersisted => Self::No(error),
            Err(error) => Self::Unclear(error),
        }
    }
}

/// Names neither transport nor layers, so it needs no type parameter for them.
#[derive(Clone)]
struct OrderService {
    sink: KafkaSink<OrderPlaced>,
}

impl OrderService {
    /// Orders of a customer stay in order: the customer is the key.
    fn message(order: OrderPlaced) -> SinkMessage<OrderPlaced> {
        SinkMessage::new(order).with_key_from(|order| order.customer.clone())
    }

    async fn place(&self, order: OrderPlaced) -> Placed {
        self.sink.send(Self::message(order)).await.into()
    }

    /// Places many orders, and reports each in turn.
    async fn import(&self, orders: impl Iterator<Item = OrderPlaced>, mut tell: impl FnMut(Placed)) {
        let mut results = self.sink.send_stream(stream::iter(orders.map(Self::message)));
        while let Some(result) = results.next().await {
            tell(result.into());
        }
    }

    async fn shut_down(self) -> Result<(), CloseError> {
        self.sink.close().await
    }
}

fn config() -> KafkaSinkConfig {
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| TOPIC.to_owned());
    KafkaSinkConfig { topic, batch_size: 1_000, linger_ms: 2, ..Default::default() }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("\nerror: not every order was placed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool> {
    let config = match env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty()) {
        Some(brokers) => KafkaSinkConfig { brokers, ..config() },
        None => config().with_property("test.mock.num.brokers", "1"),
    };
    let embedded = config.properties.contains_key("test.mock.num.brokers");
    let brokers = if embedded { "librdkafka's mock cluster, in this process" } else { config.brokers.as_str() };
    println!("kafka-tower, one service over two transports\n\n  brokers   {brokers}\n  topic     {}\n", config.topic);

    let service = OrderService { sink: KafkaSink::new(config).await? }; // the only line that differs in the tests

    println!("Orders one by one:");
    let mut all = true;
    for id in 1..=3 {
        let placed = service.place(OrderPlaced::new(id)).await;
        all &= matches!(placed, Placed::Yes(_));
        match placed {
            Placed::Yes(delivery) => println!("  order {id}   placed: {delivery}"),
            Placed::No(error) => println!("  order {id}   not placed, try again: {error:#}"),
            Placed::Unclear(error) => println!("  order {id}   in doubt, read the topic first: {error:#}"),
        }
    }

    println!("\nAn import of {IMPORT}:");
    let begun = Instant::now();
    let (mut placed, mut told) = (0, 0);
    let tell = |outcome| {
        placed += u64::from(matches!(outcome, Placed::Yes(_)));
        told += 1;
        if told % (IMPORT / 4) == 0 {
            println!("  {told:>6} answered, {placed:>6} placed, {:.0?}", begun.elapsed());
        }
    };
    service.import((0..IMPORT).map(OrderPlaced::new), tell).await;

    service.shut_down().await?;
    println!("\nShut down: nothing was left in flight.\n\nNext:");
    println!("  the same service, tested   cargo test --example swap_transport");
    println!(
        "  your own Kafka             KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run --example swap_transport"
    );
    println!("  this program               examples/swap_transport.rs: main and tests differ in one line");
    Ok(all && placed == IMPORT)
}

/// Minutes of outage take milliseconds: a paused clock advances to the next timer when all tasks wait.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka_tower::ErrorKind;
    use kafka_tower::memory::MemoryKafka;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// The unchanged service and its configuration, over the memory transport.
    async fn service() -> (OrderService, MemoryKafka) {
        let kafka = MemoryKafka::new().with_topic(TOPIC, 3);
        let config = KafkaSinkConfig { topic: TOPIC.to_owned(), ..config() };
        let sink = KafkaSink::builder(config).transport(kafka.transport()).build().await.unwrap();
        (OrderService { sink }, kafka)
    }

    fn no_leader() -> Error {
        Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted)
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_in_the_log_under_its_customer() {
        let (service, kafka) = service().await;
        assert!(matches!(service.place(OrderPlaced::new(7)).await, Placed::Yes(_)));
        let stored = &kafka.records(TOPIC)[0];
        assert_eq!(stored.record.key.as_deref(), Some(&b"customer-7"[..]));
        assert_eq!(stored.value().unwrap(), r#"{"id":7,"customer":"customer-7","cents":997}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_failure_is_retried() {
        let (service, kafka) = service().await;
        let hiccup = kafka.script().times(2).fail(no_leader());
        assert!(matches!(service.place(OrderPlaced::new(1)).await, Placed::Yes(_)));
        assert_eq!((hiccup.used(), kafka.len(TOPIC)), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_with_a_lost_answer_is_unclear_and_not_placed_twice() {
        let (service, kafka) = service().await;
        kafka.script().lose_answer();
        assert!(matches!(service.place(OrderPlaced::new(1)).await, Placed::Unclear(_)));
        assert_eq!(kafka.len(TOPIC), 1, "it was written");
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_orders_fail_at_once_and_later_succeed_again() {
        let (service, kafka) = service().await;
        let outage = kafka.script().always().fail(no_leader());
        for id in 0..5 {
            assert!(matches!(service.place(OrderPlaced::new(id)).await, Placed::No(_)));
        }
        let begun = Instant::now();
        let Placed::No(error) = service.place(OrderPlaced::new(5)).await else { panic!("it cannot be placed") };
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::CircuitOpen, Duration::ZERO));

        outage.cancel();
        sleep(Duration::from_secs(60)).await;
        assert!(matches!(service.place(OrderPlaced::new(6)).await, Placed::Yes(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_import_reports_each_order_in_turn() {
        let (service, kafka) = service().await;
        kafka.script().after(4).lose_answer();
        let mut placed = Vec::new();
        service.import((0..10).map(OrderPlaced::new), |outcome| placed.push(matches!(outcome, Placed::Yes(_)))).await;
        assert_eq!(placed.iter().position(|yes| !yes), Some(4));
        assert_eq!((placed.len(), kafka.len(TOPIC)), (10, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shut_down_waits_for_orders_in_flight() {
        let (service, kafka) = service().await;
        let slow = kafka.script().delay(Duration::from_secs(5));
        let other = service.clone();
        let order = tokio::spawn(async move { other.place(OrderPlaced::new(1)).await });
        while slow.used() == 0 {
            tokio::task::yield_now().await;
        }
        service.shut_down().await.unwrap();
        assert!(matches!(order.await.unwrap(), Placed::Yes(_)));
    }
}
