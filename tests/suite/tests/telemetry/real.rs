//! Against a real Apache Kafka: the attributes of spans match what a reader finds in the log.

use std::time::Duration;

use kafka_tower::{BoxError, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SinkMessage, SourceMessage};
use kafka_tower_testkit::kafka as cluster;
use tokio::time::sleep;
use tower::service_fn;

use crate::support::*;

#[tokio::test]
async fn offsets_and_contexts_are_those_in_the_log() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("telemetry", 3).await.unwrap();
    let backend = Backend::new();
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.clone(), ..Default::default() };
    let sink = KafkaSink::<u32>::builder(config).telemetry(backend.telemetry()).build().await.unwrap();
    for n in 0..5 {
        sink.send(SinkMessage::new(n).with_key(n.to_string())).await.unwrap();
    }
    sink.send_batch((5..10).map(|n| SinkMessage::new(n).with_key(n.to_string()))).await.unwrap();
    sink.close().await.unwrap();

    let spans = backend.spans();
    let records = kafka.read(&topic).await.unwrap();
    assert_eq!(records.len(), 10);
    for record in records {
        let (_, header) = record.headers.iter().find(|(name, _)| name == "traceparent").unwrap();
        let header = String::from_utf8(header.clone().unwrap()).unwrap();
        assert_eq!(record.headers.len(), 1, "{:?}", record.headers);
        let id = header.split('-').nth(2).unwrap();
        let span = spans.iter().find(|span| span.span_context.span_id().to_string() == id).unwrap();
        assert_eq!(attribute(span, "messaging.kafka.offset"), Some(record.offset.to_string()));
        assert_eq!(attribute(span, "messaging.destination.partition.id"), Some(record.partition.to_string()));
    }
}

/// A service takes a second for each record, and longer for all of them than the group waits for a member in a rebalance.
/// `KAFKA_TOWER_SLOW` is the number of records.
#[tokio::test]
async fn a_slow_service_causes_no_rebalance() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("slow", 1).await.unwrap();
    let records = std::env::var("KAFKA_TOWER_SLOW").map_or(9, |number| number.parse::<u64>().unwrap());
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.clone(), ..Default::default() };
    let sink = KafkaSink::<u64>::new(config).await.unwrap();
    sink.send_batch(0..records).await.unwrap();
    let backend = Backend::new();
    let config = KafkaSourceConfig {
        brokers: kafka.bootstrap().to_owned(),
        group_id: topic.clone(),
        topics: vec![topic],
        session_timeout_ms: 6_000,
        heartbeat_interval_ms: 500,
        rebalance_timeout_ms: 7_000,
        drain_timeout_ms: 3_000,
        ..Default::default()
    };
    let source = KafkaSource::<u64>::builder(config).telemetry(backend.telemetry()).build().await.unwrap();
    let (control, mut handled) = (source.control(), 0);
    let service = service_fn(|_: SourceMessage<u64>| {
        handled += 1;
        let closes = (handled == records).then(|| control.close());
        async move {
            sleep(Duration::from_secs(1)).await;
            drop(closes.map(tokio::spawn));
            Ok::<_, BoxError>(())
        }
    });
    let report = source.serve(service).concurrency(1).await.unwrap();
    assert_eq!((report.settled, report.is_complete()), (records, true), "{report}");
    let points = backend.points();
    let rebalances: Vec<_> = points.iter().filter(|(name, _)| name.contains("kafka_tower.source.rebalances")).collect();
    let of = |kind| rebalances.iter().filter(|(name, _)| name.contains(kind)).map(|(_, count)| **count).sum::<f64>();
    // What is revoked is what the close gives back.
    assert_eq!((of("assigned"), of("lost")), (1.0, 0.0), "{rebalances:?}");
}
