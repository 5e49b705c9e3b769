//! Sinks whose topic and keys come from the type of their messages.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    BoxError, ErrorKind, KafkaClient, KafkaMessage, KafkaSink, KafkaSinkConfig, PartitionStrategy, SinkMessage,
    TransactionBatchOptions,
};
use tower::filter::AsyncFilterLayer;
use tower::util::MapRequestLayer;
use tower::{Service, ServiceExt};

#[derive(Clone, Debug, serde::Serialize, KafkaMessage)]
#[kafka(topic = "orders")]
struct Order {
    #[kafka(key)]
    id: u16,
}

/// Has keys and names no topic.
#[derive(serde::Serialize, KafkaMessage)]
struct Payment {
    #[kafka(key)]
    account: Option<String>,
}

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 4).with_topic("orders-eu", 1).with_topic("payments", 1)
}

async fn client(kafka: &MemoryKafka, topic: &str) -> KafkaClient {
    let config = KafkaSinkConfig { topic: topic.into(), ..Default::default() };
    KafkaClient::builder(config).transport(kafka.transport()).build().await.unwrap()
}

/// The keys of the records of a topic, sorted. Ours are numbers.
fn keys(kafka: &MemoryKafka, topic: &str) -> Vec<Option<u16>> {
    let key = |key: &[u8]| u16::from_be_bytes(key.try_into().unwrap());
    let mut keys: Vec<_> = kafka.records(topic).iter().map(|stored| stored.record.key.as_deref().map(key)).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(start_paused = true)]
async fn topic_and_key_come_from_the_type_in_every_way_to_send() {
    let kafka = kafka();
    let sink = client(&kafka, "").await.sink_of::<Order>().build().await.unwrap();
    let order = |id| Order { id };
    sink.send(order(0)).await.unwrap();
    sink.send(SinkMessage::new(order(1))).await.unwrap();
    assert!(sink.send_batch((2..5).map(order)).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(
        sink.send_stream(stream::iter((5..8).map(order))).filter(|sent| std::future::ready(sent.is_ok())).count().await,
        3
    );
    sink.clone().ready().await.unwrap().call(SinkMessage::new(order(8))).await.unwrap();
    let derived = sink.clone().with_partition_strategy(PartitionStrategy::RoundRobin);
    derived.send(order(9)).await.unwrap();
    assert_eq!(keys(&kafka, "orders"), (0..10).map(Some).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_message_overrides_the_topic_and_the_key_of_its_type() {
    let kafka = kafka();
    let sink = client(&kafka, "").await.sink_of::<Order>().build().await.unwrap();
    sink.send(SinkMessage::new(Order { id: 1 }).with_key(2_u16)).await.unwrap();
    sink.send(SinkMessage::of(Order { id: 3 }).with_key(4_u16).with_topic("orders-eu")).await.unwrap();
    sink.send(SinkMessage::new(Order { id: 5 }).with_topic("orders-eu")).await.unwrap();
    sink.send(SinkMessage::tombstone(6_u16)).await.unwrap();
    assert_eq!((keys(&kafka, "orders"), keys(&kafka, "orders-eu")), (vec![Some(2), Some(6)], vec![Some(4), Some(5)]));
}

#[tokio::test(start_paused = true)]
async fn the_sinks_topic_takes_precedence_over_the_types() {
    let kafka = kafka();
    let config = KafkaSinkConfig { topic: "orders-eu".into(), ..Default::default() };
    let of_config = KafkaSink::<Order>::builder(config).of_type().transport(kafka.transport()).build().await.unwrap();
    of_config.send(Order { id: 1 }).await.unwrap();
    // A client's topic is for sinks that name none at all.
    let client = client(&kafka, "orders-eu").await;
    client.sink::<Order>("orders-eu").of_type().build().await.unwrap().send(Order { id: 2 }).await.unwrap();
    client.sink_of::<Order>().build().await.unwrap().send(Order { id: 3 }).await.unwrap();
    // The message is made of the type, and the sink is not.
    let plain = client.sink::<Order>("orders-eu").build().await.unwrap();
    plain.send(SinkMessage::of(Order { id: 4 })).await.unwrap();
    assert_eq!((keys(&kafka, "orders"), keys(&kafka, "orders-eu")), (vec![Some(3)], vec![Some(1), Some(2), Some(4)]));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_was_not_made_of_its_type_takes_no_key_from_it() {
    let kafka = kafka();
    let sink = client(&kafka, "").await.sink::<Order>("orders").build().await.unwrap();
    sink.send(Order { id: 1 }).await.unwrap();
    assert_eq!(keys(&kafka, "orders"), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_type_without_a_topic_leaves_it_to_the_configuration() {
    let kafka = kafka();
    let sink = client(&kafka, "payments").await.sink_of::<Payment>().build().await.unwrap();
    sink.send(Payment { account: Some("ada".into()) }).await.unwrap();
    sink.send(Payment { account: None }).await.unwrap();
    let found: Vec<_> = kafka.records("payments").into_iter().map(|stored| stored.record.key).collect();
    assert_eq!(found, [Some("ada".into()), None]);

    let nowhere = client(&kafka, "").await.sink_of::<Payment>().build().await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Config, "{nowhere}");
    assert!(nowhere.message().contains("`topic` is empty"), "{nowhere}");
}

#[tokio::test(start_paused = true)]
async fn layers_see_the_key_of_the_type() {
    let kafka = kafka();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let layer = MapRequestLayer::new(move |message: SinkMessage<Order>| {
        note.lock().unwrap().push(message.key().cloned());
        message
    });
    let sink = client(&kafka, "").await.sink_of::<Order>().layer(layer).build().await.unwrap();
    sink.send(Order { id: 1 }).await.unwrap();
    sink.clone().with_allow_duplicates(true).send(Order { id: 2 }).await.unwrap();
    let key = |id: u16| Some(id.to_be_bytes().to_vec().into());
    assert_eq!(*seen.lock().unwrap(), [key(1), key(2)]);
}

#[tokio::test(start_paused = true)]
async fn the_key_of_the_type_picks_the_partition() {
    let kafka = kafka();
    let sink = client(&kafka, "").await.sink_of::<Order>().build().await.unwrap();
    for id in 0..16_u16 {
        let delivery = sink.send(Order { id }).await.unwrap();
        assert_eq!(delivery.partition, kafka_tower_core::partitioner::partition_for_key(&id.to_be_bytes(), 4));
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_take_keys_from_types() {
    let kafka = kafka();
    let config = KafkaSinkConfig::exactly_once("memory", "", "shop");
    let client = KafkaClient::builder(config).transport(kafka.transactional_transport("shop")).build().await.unwrap();
    let orders = client.sink_of::<Order>().build().await.unwrap();
    let others = client.sink::<Order>("orders-eu").of_type().build().await.unwrap();
    let tx = orders.transaction().await.unwrap();
    tx.send(Order { id: 1 }).await.unwrap();
    tx.sink(&others).send(Order { id: 2 }).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((keys(&kafka, "orders"), keys(&kafka, "orders-eu")), (vec![Some(1)], vec![Some(2)]));

    let lanes = kafka.clone();
    let shared = KafkaSink::<Order>::builder(KafkaSinkConfig::exactly_once("memory", "", "shared"))
        .of_type()
        .transaction_batch_over(TransactionBatchOptions::new(), move |id: &str| lanes.transactional_transport(id))
        .build()
        .await
        .unwrap();
    shared.send(Order { id: 3 }).await.unwrap();
    assert_eq!(keys(&kafka, "orders"), [Some(1), Some(3)]);
}

/// A close reports the key of a message that a layer holds.
#[tokio::test(start_paused = true)]
async fn the_report_of_a_close_has_the_key_of_the_type() {
    let kafka = kafka();
    let holds = AsyncFilterLayer::new(|_: SinkMessage<Order>| pending::<Result<SinkMessage<Order>, BoxError>>());
    let sink = client(&kafka, "").await.sink_of::<Order>().layer(holds).build().await.unwrap();
    let sending = tokio::spawn(sink.send(Order { id: 7 }));
    tokio::task::yield_now().await;
    let error = sink.close_within(Duration::from_secs(1)).await.unwrap_err();
    let keys: Vec<_> = error.unanswered().iter().map(|send| send.key.as_deref()).collect();
    assert_eq!(keys, [Some(&7_u16.to_be_bytes()[..])]);
    sending.abort();
}
