//! The transactional batching layer over librdkafka, against a real Apache Kafka, and below a sink.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchLayer, Unit};
use kafka_tower::{KafkaClient, KafkaSink, KafkaSinkConfig, SinkMessage, TransactionBatchOptions};
use kafka_tower_core::{ConsumerGroup, ErrorKind, Persistence, Record, Recovery, Result, Scope, TopicOffset};
use kafka_tower_memory::MemoryKafka;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use tower::{Layer, Service, ServiceExt};

const TIME: Duration = Duration::from_secs(20);

async fn transport(kafka: &Cluster, id: &str, topic: &str) -> RdkafkaTransport {
    RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap())
        .property("transactional.id", id)
        .topic(topic)
        .connect()
        .await
        .unwrap_or_else(|error| panic!("{error:#}"))
}

async fn service(kafka: &Cluster, topic: &str) -> TransactionBatch {
    let transport = transport(kafka, &format!("{topic}-id"), topic).await;
    let layer = TransactionBatchLayer::new(transport.control());
    layer.init(TIME).await.unwrap();
    layer.layer(transport)
}

async fn committed(kafka: &Cluster, topic: &str) -> Vec<String> {
    kafka.read_committed(topic).await.unwrap().iter().map(cluster::ReadRecord::text).collect()
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn callers_share_transactions_and_a_close_commits_the_rest() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("batches", 1).await.unwrap();
    let mut service = service(kafka, &topic).await;
    let mut futures = Vec::new();
    for n in 0..100_u32 {
        let record = Record::new(topic.as_str()).with_partition(0).with_value(n.to_string());
        futures.push(service.ready().await.unwrap().call(record));
    }
    let last = futures.pop().unwrap();
    let report = service.control().close(TIME).await.unwrap();
    assert!(report.is_complete(), "{report}");
    let outcomes = join_all(futures).await;
    let offsets: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().offset.unwrap()).collect();
    assert_eq!(offsets, (0..99).collect::<Vec<_>>(), "one transaction: no marker between them");
    assert_eq!(last.await.unwrap().offset, Some(99));
    assert_eq!(committed(kafka, &topic).await, numbers(100));
}

/// A compacted topic refuses a batch with a record that has no key, and does not say which one it is.
#[tokio::test]
async fn a_refused_record_fails_alone() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic_with("compacted", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let mut service = service(kafka, &topic).await;
    let mut futures = Vec::new();
    for n in 0..8_u32 {
        let record = Record::new(topic.as_str()).with_partition(0).with_value(n.to_string());
        let record = if n == 5 { record } else { record.with_key(n.to_string()) };
        futures.push(service.ready().await.unwrap().call(record));
    }
    let outcomes = join_all(futures).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(n, 5),
            Err(error) => {
                let facts = (error.kind(), error.scope(), error.persistence());
                assert_eq!(
                    (n, facts),
                    (5, (ErrorKind::Rejected, Scope::Record, Persistence::NotPersisted)),
                    "{error:#}"
                );
            }
        }
    }
    assert_eq!(committed(kafka, &topic).await, ["0", "1", "2", "3", "4", "6", "7"]);
}

#[tokio::test]
async fn lanes_have_their_partitions() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("lanes", 4).await.unwrap();
    let mut transports = Vec::new();
    for lane in 0..2 {
        transports.push(transport(kafka, &format!("{topic}-id-{lane}"), &topic).await);
    }
    let layer = TransactionBatchLayer::lanes(transports.iter().map(RdkafkaTransport::control).collect());
    layer.init(TIME).await.unwrap();
    let mut service = layer.layer_lanes(transports);
    let mut futures = Vec::new();
    for n in 0..100_u32 {
        let record = Record::new(topic.as_str()).with_key((n % 10).to_string()).with_value(n.to_string());
        futures.push(service.ready().await.unwrap().call(record));
    }
    let outcomes = join_all(futures).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let read = kafka.read_committed(&topic).await.unwrap();
    assert_eq!(read.len(), 100);
    for partition in 0..4 {
        let values = read.iter().filter(|record| record.partition == partition);
        let values: Vec<u32> = values.map(|record| record.text().parse().unwrap()).collect();
        assert!(values.is_sorted(), "call order is log order: {values:?}");
    }
    assert!(service.control().close(TIME).await.unwrap().is_complete());
}

/// The sink makes the producer of each lane. Its retired lane is fenced before.
#[tokio::test]
async fn a_sink_with_lanes_commits_flushes_and_closes() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("shared", 4).await.unwrap();
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), topic.as_str(), topic.as_str());
    let retired = transport(kafka, &format!("{topic}-2"), &topic).await;
    let transactions = retired.control().transactions().unwrap();
    transactions.init(TIME).await.unwrap();
    transactions.begin(TIME).await.unwrap();
    retired.clone().oneshot(Record::new(topic.as_str()).with_partition(0).with_value("never")).await.unwrap();

    let options = || TransactionBatchOptions::new().lanes(2);
    let builder = || KafkaSink::<u32>::builder(config.clone());
    let sink = builder().transaction_batch(options().earlier_lanes(3)).build().await.unwrap();
    let error = transactions.commit(TIME).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error:#}");
    let taken = builder().transaction_batch(options()).build().await.unwrap_err();
    assert!(taken.message().contains("another sink of this process"), "{taken:#}");

    let message = |n: u32| SinkMessage::new(n).with_key((n % 10).to_string());
    let sent = join_all((0..99).map(|n| sink.send(message(n)))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let last = tokio::spawn(sink.send(message(99)));
    sink.close().await.unwrap_or_else(|error| panic!("{error:#}"));
    let last = last.await.unwrap();
    let read = kafka.read_committed(&topic).await.unwrap();
    assert_eq!(read.len(), 99 + usize::from(last.is_ok()));
    for partition in 0..4 {
        let values = read.iter().filter(|record| record.partition == partition);
        let values: Vec<u32> = values.map(|record| record.text().parse().unwrap()).collect();
        assert!(values.is_sorted(), "call order is log order: {values:?}");
    }
    let next = builder().transaction_batch(options().age(Duration::from_secs(10))).build().await.unwrap();
    let open = tokio::spawn(next.send(message(100)));
    while next.control().in_flight().records == 0 {
        tokio::task::yield_now().await;
    }
    next.flush().await.unwrap();
    assert!(open.await.unwrap().is_ok(), "cut by the flush");
    next.close().await.unwrap();
}

/// The layer's service is a transport: a sink takes it with its control.
#[tokio::test(start_paused = true)]
async fn a_sink_over_the_layer_commits_and_closes() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let transport = kafka.transactional_transport("id");
    let layer = TransactionBatchLayer::new(transport.control());
    layer.init(TIME).await.unwrap();
    let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    let sink = KafkaSink::<u32>::builder(config).transport(layer.layer(transport)).build().await.unwrap();
    let sends = join_all((0..10).map(|n| sink.send(SinkMessage::new(n)))).await;
    assert!(sends.iter().all(Result::is_ok), "{sends:?}");
    assert_eq!(kafka.markers("orders", 0).len(), 1, "one transaction");
    let open = tokio::spawn({
        let sink = sink.clone();
        async move { sink.send(SinkMessage::new(10)).await }
    });
    tokio::task::yield_now().await;
    sink.flush().await.unwrap();
    assert!(open.await.unwrap().is_ok());
    sink.close().await.unwrap();
    assert_eq!(kafka.committed("orders").len(), 11);
}

/// Output and offsets together; a member that the group does not know fails alone, and with it later units of its input.
#[tokio::test]
async fn units_commit_their_output_with_the_offsets_of_their_input() {
    let Some(kafka) = cluster::shared().await else { return };
    let (topic, input) = (kafka.topic("units", 1).await.unwrap(), kafka.topic("units-input", 2).await.unwrap());
    let group = |generation, member: &str| ConsumerGroup {
        group_id: format!("{topic}-group"),
        generation,
        member_id: member.to_owned(),
        group_instance_id: None,
    };
    // Until the group has a coordinator: librdkafka gives up offsets after a few attempts.
    kafka.committed_offset(&group(-1, "").group_id, &topic, 0).await.unwrap();
    let unit = |output: &str, partition, offset, group| {
        let record = Record::new(topic.as_str()).with_partition(0).with_value(output.to_owned());
        Unit::new([record]).with_offsets([TopicOffset { topic: input.as_str().into(), partition, offset }], group)
    };
    let mut service = service(kafka, &topic).await;
    let joined = [
        unit("first", 0, 5, group(-1, "")),
        unit("of a stranger", 1, 8, group(7, "stranger")),
        unit("second", 0, 6, group(-1, "")),
        unit("after the stranger", 1, 9, group(-1, "")),
    ]
    .map(|unit| service.join(unit));
    let [first, stranger, second, after] = join_all(joined).await.try_into().unwrap();
    assert_eq!((first.unwrap().len(), second.unwrap().len()), (1, 1));
    for refused in [stranger.unwrap_err(), after.unwrap_err()] {
        let facts = (refused.kind(), refused.recovery(), refused.persistence());
        assert_eq!(facts, (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted), "{refused:#}");
    }
    assert_eq!(committed(kafka, &topic).await, ["first", "second"]);
    let id = group(-1, "").group_id;
    assert_eq!(kafka.committed_offset(&id, &input, 0).await.unwrap(), Some(6));
    assert_eq!(kafka.committed_offset(&id, &input, 1).await.unwrap(), None);
    service.resume(&id, &input, 1).unwrap();
    service.join(unit("after all", 1, 8, group(-1, ""))).await.unwrap();
    assert_eq!(kafka.committed_offset(&id, &input, 1).await.unwrap(), Some(8));
    assert_eq!(committed(kafka, &topic).await, ["first", "second", "after all"]);
    let report = service.control().close(TIME).await.unwrap();
    assert!(report.is_complete(), "{report}");
}

/// The lanes learn the topic of each sink, also of one that is made later.
#[tokio::test]
async fn the_sinks_of_a_client_share_lanes() {
    let Some(kafka) = cluster::shared().await else { return };
    let orders = kafka.topic("orders", 3).await.unwrap();
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), "", orders.as_str());
    let options = TransactionBatchOptions::new().lanes(2);
    let client = KafkaClient::builder(config).transaction_batch(options).build().await;
    let client = client.unwrap_or_else(|error| panic!("{error:#}"));
    let order_sink = client.sink::<u32>(orders.as_str()).build().await.unwrap();
    let message = |n: u32| SinkMessage::new(n).with_key((n % 10).to_string());
    let first = join_all((0..50).map(|n| order_sink.send(message(n)))).await;
    assert!(first.iter().all(Result::is_ok), "{first:?}");

    let payments = kafka.topic("payments", 5).await.unwrap();
    let payment_sink = client.sink::<u32>(payments.as_str()).build().await.unwrap();
    let missing = client.sink::<u32>("no-such-topic").build().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::UnknownTopicOrPartition, "{missing:#}");
    let of_orders = join_all((50..100).map(|n| order_sink.send(message(n))));
    let of_payments = join_all((0..100).map(|n| payment_sink.send(message(n))));
    let (of_orders, of_payments) = tokio::join!(of_orders, of_payments);
    assert!(of_orders.iter().chain(&of_payments).all(Result::is_ok), "{of_orders:?} {of_payments:?}");

    let last = tokio::spawn(order_sink.send(message(100)));
    order_sink.close().await.unwrap_or_else(|error| panic!("{error:#}"));
    let last = usize::from(last.await.unwrap().is_ok());
    payment_sink.send(message(100)).await.unwrap_or_else(|error| panic!("the other sink is open: {error:#}"));
    client.close().await.unwrap_or_else(|error| panic!("{error:#}"));
    for (topic, count, partitions) in [(&orders, 100 + last, 3), (&payments, 101, 5)] {
        let read = kafka.read_committed(topic).await.unwrap();
        assert_eq!(read.len(), count);
        for partition in 0..partitions {
            let values = read.iter().filter(|record| record.partition == partition);
            let values: Vec<u32> = values.map(|record| record.text().parse().unwrap()).collect();
            assert!(values.is_sorted(), "call order is log order: {values:?}");
        }
    }
}
