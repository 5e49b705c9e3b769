//! Brokers forget transactional ids and producer ids that were not used for some time.

use std::time::Duration;

use kafka_tower::layers::transaction_batch::TransactionBatchLayer;
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{ErrorKind, Persistence, Record, Recovery};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Listener};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};

use crate::support::*;

/// Longer than an unused id is kept, and no request shows when it is gone.
const EXPIRED: Duration = Duration::from_millis(1_500);

async fn forgetful() -> Option<Cluster> {
    let builder = Cluster::builder()
        .listener(Listener::Proxy)
        .property("transactional.id.expiration.ms", "600")
        .property("transaction.remove.expired.transaction.cleanup.interval.ms", "100")
        .property("producer.id.expiration.ms", "600")
        .property("producer.id.expiration.check.interval.ms", "100");
    builder.start().await.unwrap()
}

#[tokio::test]
async fn an_id_that_expired_between_transactions_costs_one_transaction() {
    let Some(kafka) = forgetful().await else { return };
    let topic = kafka.topic("expired", 1).await.unwrap();

    // The first transaction afterwards is certainly aborted, and the next one works.
    let mut producer = Producer::new(kafka.bootstrap(), &topic, &topic, &[]).await;
    for round in 0..2 {
        producer.transaction(&format!("before {round}")).await;
        sleep(EXPIRED).await;
        producer.begin().await;
        let error = producer.send("aborted").await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transaction, Recovery::AbortTransaction), "{error:#}");
        let error = producer.commit().await.unwrap_err();
        let expected = (Recovery::AbortTransaction, Persistence::NotPersisted);
        assert_eq!((error.recovery(), error.persistence()), expected, "{error:#}");
        assert!(error.message().contains("INVALID_PRODUCER_ID_MAPPING"), "{error:#}");
        producer.abort().await.unwrap();
        producer.transaction(&format!("after {round}")).await;
    }

    // A closure and the batching layer replay it by themselves.
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*topic, format!("{topic}-sink"));
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    let batching = Producer::connected(kafka.bootstrap(), &format!("{topic}-batch"), &topic, &[]).await;
    let layer = TransactionBatchLayer::new(batching.control).age(Duration::ZERO);
    layer.init(TIME).await.unwrap();
    let mut service = layer.layer(batching.transport);
    for round in 0..2 {
        sleep(EXPIRED).await;
        sink.in_transaction(async |tx| tx.send(format!("closure {round}")).await).await.unwrap();
        let record = Record::new(topic.as_str()).with_value(format!("batch {round}")).with_partition(0);
        service.ready().await.unwrap().call(record).await.unwrap_or_else(|error| panic!("{error:#}"));
    }
    let expected =
        ["before 0", "after 0", "before 1", "after 1", "\"closure 0\"", "batch 0", "\"closure 1\"", "batch 1"];
    assert_eq!(committed(&kafka, &topic).await, expected);

    // A commit was carried out, its answer was lost, and the id is forgotten before it is requested again. The refusal
    // asks for an abort; a replay would write the record twice.
    let proxy = kafka.proxy().unwrap();
    let topic = kafka.topic("expired-in-doubt", 1).await.unwrap();
    let mut producer = Producer::new(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic, &topic, &[]).await;
    producer.begin().await;
    producer.send("once").await.unwrap();
    let answers = proxy.answers(ApiKey::END_TXN);
    proxy.next(ApiKey::END_TXN, Action::DropAnswer);
    proxy.next_n(ApiKey::END_TXN, 1_000, Action::CutBefore);
    let error = checked(producer.transactions().commit(Duration::from_millis(300)).await).unwrap_err();
    assert_eq!((error.recovery(), error.persistence()), (Recovery::Retry, Persistence::PossiblyPersisted), "{error:#}");
    proxy.wait_for_answer(ApiKey::END_TXN, answers + 1).await.unwrap();
    sleep(EXPIRED).await;
    proxy.clear_rules();
    for _ in 0..2 {
        let error = producer.commit().await.unwrap_err();
        let unknown = (Recovery::Fatal, Persistence::PossiblyPersisted);
        assert_eq!((error.recovery(), error.persistence()), unknown, "{error:#}");
    }
    let aborted = producer.abort().await;
    assert_eq!(aborted.map_err(|error| error.persistence()), Err(Persistence::PossiblyPersisted));
    assert_eq!(committed(&kafka, &topic).await, ["once"]);
}

/// The leader of a partition forgets a producer; its coordinator knows it.
#[tokio::test]
async fn a_producer_id_that_expired_costs_nothing() {
    let builder = Cluster::builder()
        .property("producer.id.expiration.ms", "600")
        .property("producer.id.expiration.check.interval.ms", "100");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    let topic = kafka.topic("forgotten-producer", 1).await.unwrap();
    let mut producer = Producer::new(kafka.bootstrap(), &topic, &topic, &[]).await;
    for round in 0..3 {
        producer.transaction(&round.to_string()).await;
        sleep(EXPIRED).await;
    }
    assert_eq!(committed(&kafka, &topic).await, ["0", "1", "2"]);
    assert_eq!(producer.control.generation(), 0);
}
