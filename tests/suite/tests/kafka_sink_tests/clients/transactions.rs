//! One transaction over several sinks.

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{Error, ErrorKind, KafkaClient, KafkaSink, KafkaSinkConfig, Persistence, Recovery, SinkMessage};

use super::{SECOND, kafka, sinks};

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig::exactly_once("memory", "", "billing-1")
}

async fn client(kafka: &MemoryKafka) -> (KafkaClient, KafkaSink<String>, KafkaSink<u64>) {
    let transport = kafka.transactional_transport("billing-1");
    let client = KafkaClient::builder(config()).transport(transport).build().await.unwrap();
    let (orders, payments) = sinks(&client).await;
    (client, orders, payments)
}

fn committed(kafka: &MemoryKafka) -> (usize, usize) {
    (kafka.committed("orders").len(), kafka.committed("payments").len())
}

#[tokio::test(start_paused = true)]
async fn a_transaction_covers_the_records_of_all_sinks() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka).await;
    orders.begin_transaction().await.unwrap();
    orders.send("book".to_string()).await.unwrap();
    payments.send(1).await.unwrap();
    assert_eq!(committed(&kafka), (0, 0));
    payments.commit_transaction().await.unwrap();
    assert_eq!(committed(&kafka), (1, 1));

    payments.begin_transaction().await.unwrap();
    payments.send(2).await.unwrap();
    orders.send("pen".to_string()).await.unwrap();
    orders.abort_transaction().await.unwrap();
    assert_eq!(committed(&kafka), (1, 1));

    client.control().transactions().unwrap().begin(SECOND).await.unwrap();
    payments.send(3).await.unwrap();
    client.control().transactions().unwrap().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), (1, 2));
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_guard_sends_to_all_sinks_and_keeps_other_sends_out() {
    let kafka = kafka();
    let (_client, orders, payments) = client(&kafka).await;
    let tx = orders.transaction().await.unwrap();
    tx.send("book".to_string()).await.unwrap();
    let of_payments = tx.sink(&payments);
    let results = of_payments.send_batch([1, 2]).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let refused = payments.send(3).await.unwrap_err();
    assert_eq!((refused.kind(), refused.recovery()), (ErrorKind::Transaction, Recovery::Reject), "{refused}");
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), (1, 2));
    let late = of_payments.send(4).await.unwrap_err();
    assert_eq!((late.kind(), late.persistence()), (ErrorKind::Transaction, Persistence::NotPersisted));

    let sent = orders
        .in_transaction(async |tx| {
            tx.send("pen".to_string()).await?;
            tx.sink(&payments).send(5).await?;
            Ok::<_, Error>(2)
        })
        .await;
    assert_eq!((sent.unwrap(), committed(&kafka)), (2, (2, 3)));
}

/// A serializer that never ends.
struct Never;

#[kafka_tower::async_trait]
impl<T: Sync> kafka_tower::MessageSerializer<T> for Never {
    async fn serialize(&self, _: &T) -> kafka_tower::Result<Vec<u8>> {
        std::future::pending().await
    }
}

/// Its future was dropped while it waited for its serializer, at another sink than the one that commits.
#[tokio::test(start_paused = true)]
async fn a_missing_send_of_any_sink_refuses_the_commit() {
    let kafka = kafka();
    let (client, orders, _) = client(&kafka).await;
    let slow = client.sink::<u64>("payments").serializer(std::sync::Arc::new(Never)).build().await.unwrap();
    orders.begin_transaction().await.unwrap();
    orders.send("book".to_string()).await.unwrap();
    let mut missing = Box::pin(slow.send(1));
    assert!(futures_util::poll!(&mut missing).is_pending());
    drop(missing);
    let refused = orders.commit_transaction().await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.persistence()),
        (ErrorKind::Transaction, Persistence::NotPersisted),
        "{refused}"
    );
    orders.abort_transaction().await.unwrap();
    assert_eq!(committed(&kafka), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_a_sink_leaves_the_transaction_open_and_closing_the_client_aborts_it() {
    let kafka = kafka();
    let (client, orders, payments) = client(&kafka).await;
    orders.begin_transaction().await.unwrap();
    orders.send("book".to_string()).await.unwrap();
    orders.close().await.unwrap();
    assert_eq!(orders.commit_transaction().await.unwrap_err().kind(), ErrorKind::Closed);
    payments.send(1).await.unwrap();
    let taken = KafkaClient::builder(config()).transport(kafka.transactional_transport("billing-1")).build().await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Config, "the client has the id");
    payments.commit_transaction().await.unwrap();
    assert_eq!(committed(&kafka), (1, 1));

    // A missing send is known, although the sink that began is closed.
    let tags = client.sink::<String>("orders").serializer(std::sync::Arc::new(Never)).build().await.unwrap();
    let last = client.sink::<String>("orders").build().await.unwrap();
    last.begin_transaction().await.unwrap();
    let mut missing = Box::pin(tags.send("pen".to_string()));
    assert!(futures_util::poll!(&mut missing).is_pending());
    last.close().await.unwrap();
    drop(missing);
    assert!(payments.commit_transaction().await.unwrap_err().message().contains("not committed"));
    payments.abort_transaction().await.unwrap();

    payments.begin_transaction().await.unwrap();
    payments.send(2).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(committed(&kafka), (1, 1));
    let later = KafkaClient::builder(config()).transport(kafka.transactional_transport("billing-1")).build().await;
    later.expect("the id is free again");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_a_close_gave_up_is_part_of_its_transaction() {
    let kafka = kafka();
    let (_client, orders, payments) = client(&kafka).await;
    orders.begin_transaction().await.unwrap();
    let hold = kafka.script().on_topic("orders").hold_append();
    let order = tokio::spawn(orders.send("book".to_string()));
    tokio::task::yield_now().await;
    assert_eq!(orders.close_within(SECOND).await.unwrap_err().report().unknown, 1);
    assert!(order.await.unwrap().is_err());
    payments.send(1).await.unwrap();
    hold.release();
    payments.commit_transaction().await.unwrap();
    assert_eq!(committed(&kafka), (1, 1), "it was handed over, and the commit waits for it");
}

#[tokio::test(start_paused = true)]
async fn only_sinks_of_one_client_share_a_transaction() {
    let kafka = kafka();
    let (_client, orders, _) = client(&kafka).await;
    let config = KafkaSinkConfig { topic: "payments".into(), ..Default::default() };
    let other = KafkaSink::<u64>::builder(config).transport(kafka.transport()).build().await.unwrap();
    let tx = orders.transaction().await.unwrap();
    let refused = tx.sink(&other).send(SinkMessage::new(1)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.persistence()), (ErrorKind::Config, Persistence::NotPersisted), "{refused}");
    tx.commit().await.unwrap();
    let again =
        KafkaClient::builder(self::config()).transport(kafka.transactional_transport("billing-1")).build().await;
    assert!(again.unwrap_err().message().contains("another sink of this process uses"));
}
