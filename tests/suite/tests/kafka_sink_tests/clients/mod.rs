//! Several sinks over the producer of one client.

mod close;
mod shared_transactions;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use kafka_tower::layers::circuit_breaker::CircuitState;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    Control, ControlFuture, Error, ErrorKind, InFlight, IntoTransport, KafkaClient, KafkaSink, KafkaSinkConfig, Limits,
    MessageSerializer, PartitionStrategy, Persistence, Recovery, Result, SinkMessage, TransactionControl, async_trait,
};
use tower::util::MapRequestLayer;

const SECOND: Duration = Duration::from_secs(1);

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1).with_topic("payments", 2)
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { send_timeout_ms: 30_000, ..Default::default() }
}

async fn client(kafka: &MemoryKafka) -> KafkaClient {
    KafkaClient::builder(config()).transport(kafka.transport()).build().await.unwrap()
}

async fn sinks(client: &KafkaClient) -> (KafkaSink<String>, KafkaSink<u64>) {
    (client.sink("orders").build().await.unwrap(), client.sink("payments").build().await.unwrap())
}

/// Writes a number backwards.
struct Backwards;

#[async_trait]
impl MessageSerializer<u64> for Backwards {
    async fn serialize(&self, n: &u64) -> Result<Vec<u8>> {
        Ok(n.to_string().bytes().rev().collect())
    }
}

#[tokio::test(start_paused = true)]
async fn each_sink_has_its_own_type_topic_and_settings() {
    let kafka = kafka();
    let client = client(&kafka).await;
    let orders: KafkaSink<String> = client
        .sink("orders")
        .layer(MapRequestLayer::new(|message: SinkMessage<String>| message.with_header("region", "eu")))
        .build()
        .await
        .unwrap();
    let payments: KafkaSink<u64> = client
        .sink("payments")
        .serializer(Arc::new(Backwards))
        .partition_strategy(PartitionStrategy::Single(1))
        .settings(|config| {
            config.max_retries = 0;
            config.circuit_breaker_threshold = 1;
        })
        .build()
        .await
        .unwrap();
    kafka.script().times(2).fail(
        Error::new(ErrorKind::Broker, "not now")
            .with_persistence(Persistence::NotPersisted)
            .with_recovery(Recovery::Retry),
    );
    // The first is not retried, and opens its breaker; the second is.
    payments.send(17).await.unwrap_err();
    assert_eq!(payments.send(18).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    orders.send("book".to_string()).await.unwrap();
    payments.circuit_breaker().unwrap().reset();
    assert_eq!(payments.send(19).await.unwrap().partition, 1);
    assert_eq!(orders.circuit_breaker().unwrap().state(), CircuitState::Closed);

    let (order, payment) = (&kafka.records("orders")[0].record, &kafka.records("payments")[0].record);
    assert!(order.headers.contains("region") && !payment.headers.contains("region"));
    assert_eq!(
        (&order.value.as_ref().unwrap()[..], &payment.value.as_ref().unwrap()[..]),
        (&br#""book""#[..], &b"91"[..])
    );

    let (of_orders, of_payments, sum) = (orders.metrics().await, payments.metrics().await, client.metrics());
    assert_eq!((of_orders.messages_sent, of_orders.messages_failed, of_orders.retries), (1, 0, 1));
    assert_eq!((of_payments.messages_sent, of_payments.messages_failed, of_payments.retries), (1, 2, 0));
    assert_eq!((sum.messages_sent, sum.messages_failed, sum.retries, sum.circuit_breaker_trips), (2, 2, 1, 1));
    assert_eq!(sum.bytes_sent, of_orders.bytes_sent + of_payments.bytes_sent);
    assert_eq!(sum.max_latency_us, of_orders.max_latency_us.max(of_payments.max_latency_us));
    assert!(of_orders.uptime > Duration::ZERO && sum.uptime >= of_orders.uptime, "since the client was made");

    drop((orders, payments));
    let (orders, _) = sinks(&client).await;
    orders.send("pen".to_string()).await.unwrap();
    assert_eq!(client.metrics().messages_sent, 3, "those of sinks that are gone count");
}

#[tokio::test(start_paused = true)]
async fn all_sinks_share_one_gate() {
    let kafka = kafka();
    let transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let client = KafkaClient::builder(config()).transport(transport).build().await.unwrap();
    let (orders, payments) = sinks(&client).await;
    let hold = kafka.script().on_topic("orders").hold();
    let order = tokio::spawn(orders.send("book".to_string()));
    tokio::task::yield_now().await;
    let error =
        payments.send(SinkMessage::new(1).with_deadline(tokio::time::Instant::now() + SECOND)).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted), "{error}");
    let in_flight = |control: &Arc<dyn Control>| control.in_flight().records;
    assert_eq!((in_flight(orders.control()), in_flight(payments.control()), in_flight(client.control())), (1, 0, 1));
    hold.release();
    order.await.unwrap().unwrap();
    payments.send(2).await.unwrap();
}

#[tokio::test]
async fn a_setting_of_the_producer_is_the_clients() {
    let client = client(&kafka()).await;
    let sink = client.sink::<String>("orders").settings(|config| config.linger_ms = 7).build().await;
    let error = sink.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("`linger_ms`"), "{error}");
    let error = client.sink::<String>("").build().await.unwrap_err();
    assert!(error.message().contains("`topic` is empty"), "{error}");
}

/// Forwards to another control, and cannot tell the records of sinks apart.
#[derive(Debug)]
struct Simple(Arc<dyn Control>);

impl Control for Simple {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.0.flush()
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, kafka_tower::CloseReport> {
        self.0.close(within)
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.0.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.0.in_flight()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

#[tokio::test]
async fn a_transport_that_cannot_tell_sinks_apart_is_not_shared() {
    let (transport, control) = kafka().transport().into_transport();
    let control: Arc<dyn Control> = Arc::new(Simple(control));
    let client = KafkaClient::builder(config()).transport((transport, control)).build().await.unwrap();
    let error = client.sink::<String>("orders").build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.help().contains("open_tenant"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_layered_transport_is_shared() {
    let kafka = kafka();
    let (transport, control) = kafka.transport().into_transport();
    let layered = tower::ServiceBuilder::new()
        .map_request(|record: kafka_tower::Record| record.with_timestamp(kafka_tower::Timestamp::from_millis(7)))
        .service(transport);
    let client = KafkaClient::builder(config()).transport((layered, control)).build().await.unwrap();
    let (orders, payments) = sinks(&client).await;
    let hold = kafka.script().on_topic("payments").hold();
    let payment = tokio::spawn(payments.send(1));
    orders.send("book".to_string()).await.unwrap();
    orders.close().await.unwrap();
    hold.release();
    payment.await.unwrap().unwrap();
    client.close().await.unwrap();
}
