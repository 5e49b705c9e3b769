//! Against a real Apache Kafka: the attributes of spans match what a reader finds in the log.

use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
use kafka_tower_testkit::kafka as cluster;

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
