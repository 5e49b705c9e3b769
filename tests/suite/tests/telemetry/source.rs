//! What a source with telemetry exports.

use std::time::Duration;

use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::source::FailurePolicy;
use kafka_tower::telemetry::Telemetry;
use kafka_tower::{
    CommitStrategy, Error, ErrorKind, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Recovery,
    SourceMessage,
};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry_sdk::trace::SpanData;
use tokio::time::timeout;
use tower::service_fn;

use crate::support::*;

const LONG: Duration = Duration::from_secs(120);

/// A topic with messages of a sink with telemetry, and their spans.
async fn sent(backend: &Backend, values: &[&str]) -> (MemoryKafka, Vec<SpanData>) {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    let builder = KafkaSink::<String>::builder(config).transport(kafka.transport());
    let sink = builder.telemetry(backend.telemetry()).build().await.unwrap();
    for value in values {
        sink.send((*value).to_owned()).await.unwrap();
    }
    (kafka, backend.spans())
}

async fn source(kafka: &MemoryKafka, telemetry: Telemetry) -> KafkaSource<String> {
    let config = KafkaSourceConfig {
        group_id: "billing".into(),
        topics: vec!["orders".into()],
        commit: CommitStrategy::Each,
        ..Default::default()
    };
    KafkaSource::builder(config).transport(kafka.clone()).telemetry(telemetry).build().await.unwrap()
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(start_paused = true)]
async fn what_serve_handles_is_in_spans_that_link_to_the_senders() {
    let backend = Backend::new();
    let (kafka, sent) = sent(&backend, &["a", "b"]).await;
    let source = source(&kafka, backend.telemetry()).await;
    let control = source.control();
    let handled = std::cell::Cell::new(0);
    let service = service_fn(|message: SourceMessage<String>| {
        handled.set(handled.get() + 1);
        let (fails, last) = (message.value().unwrap() == "a" && message.attempt() == 1, handled.get() == 3);
        let in_call = opentelemetry::Context::current().span().span_context().span_id();
        let control = control.clone();
        async move {
            tokio::task::yield_now().await;
            assert_eq!(opentelemetry::Context::current().span().span_context().span_id(), in_call, "in each poll");
            if last {
                tokio::spawn(async move { control.close().await });
            }
            if fails { Err("no") } else { Ok(()) }
        }
    });
    let policy = FailurePolicy::retry(3);
    let report = timeout(LONG, source.serve(service).on_failure(policy)).await.unwrap().unwrap();
    assert!(report.is_complete(), "{report}");
    let spans = backend.spans();
    let processed = named(&spans, "process orders");
    assert_eq!(processed.len(), 3);
    let failed: Vec<_> = processed.iter().filter(|span| span.status != Status::Unset).collect();
    assert_eq!((failed.len(), attribute(failed[0], "error.type").as_deref()), (1, Some("_OTHER")));
    let again = processed.iter().find(|span| attribute(span, "kafka_tower.delivery.attempt").is_some()).unwrap();
    for (span, sender) in [(failed[0], &sent[0]), (again, &sent[0])] {
        assert_eq!(
            span.links.iter().map(|link| link.span_context.span_id()).collect::<Vec<_>>(),
            [sender.span_context.span_id()]
        );
        assert_eq!(span.span_kind, SpanKind::Consumer);
    }
    let polls = named(&spans, "poll orders");
    assert_eq!(polls.iter().map(|span| span.links.iter().count()).sum::<usize>(), 2, "{polls:#?}");
    assert!(!named(&spans, "commit orders").is_empty());
    let points = backend.points();
    let of = |name: &str, more: &str| {
        let is = |point: &str| point.split(' ').next() == Some(name) && point.contains(more);
        points.iter().filter(|(point, _)| is(point)).map(|(_, value)| *value).sum::<f64>()
    };
    assert_eq!(of("messaging.client.consumed.messages", "billing"), 2.0, "{points:#?}");
    assert_eq!(of("messaging.process.duration", "error.type=_OTHER"), 1.0);
    assert_eq!(of("messaging.process.duration", "billing"), 3.0);
    assert_eq!(of("kafka_tower.source.rebalances", "assigned"), 1.0);
    assert!(of("kafka_tower.source.commits", "committed") >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_source_reports_where_it_stands_and_what_happens_to_messages() {
    let backend = Backend::new();
    let (kafka, sent) = sent(&backend, &["a", "b", "c"]).await;
    let mut source = source(&kafka, backend.telemetry()).await;
    let first = source.recv().await.unwrap();
    let second = source.recv().await.unwrap();
    assert_eq!(first.trace_context().span().span_context().span_id(), sent[0].span_context.span_id());
    first.ack();
    let value = |name: &str| {
        let points = backend.points();
        points.iter().find(|(point, _)| point.split(' ').next() == Some(name)).map(|(_, value)| *value)
    };
    assert_eq!(value("kafka_tower.source.lag"), Some(2.0));
    assert_eq!(value("kafka_tower.source.unsettled"), Some(1.0));
    // Metrics are collected on a thread that has no paused clock.
    assert!(value("kafka_tower.source.stalled").is_some());
    second.nack("not now");
    assert_eq!(value("kafka_tower.source.given_back"), Some(1.0));
    assert_eq!(second.ack(), kafka_tower::source::Acked::Stale);
    let again = timeout(LONG, source.recv()).await.unwrap().unwrap();
    let span = again.process_span().unwrap();
    again.ack();
    span.finish(None);
    kafka.expel_members("billing");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(again.ack(), kafka_tower::source::Acked::Counted, "the same again");
    let points = backend.points();
    assert!(points.keys().any(|point| point.starts_with("kafka_tower.source.rebalances") && point.contains("lost")));
    drop(source);
    tokio::time::sleep(LONG).await;
    assert_eq!(value("kafka_tower.source.unsettled"), None, "it does not exist any more");
}

#[tokio::test(start_paused = true)]
async fn handlers_of_transactional_run_in_spans() {
    let backend = Backend::new();
    let (kafka, sent) = sent(&backend, &["a", "b"]).await;
    let config = KafkaSourceConfig {
        group_id: "billing".into(),
        topics: vec!["orders".into()],
        commit: CommitStrategy::Transaction,
        ..Default::default()
    };
    let builder = KafkaSource::<String>::builder(config).transport(kafka.clone());
    let source = builder.telemetry(backend.telemetry()).build().await.unwrap();
    let config = KafkaSinkConfig::exactly_once("memory", "bills", "billing-1");
    let transport = kafka.clone().with_topic("bills", 1).transactional_transport("billing-1");
    let sink = KafkaSink::<String>::builder(config).transport(transport).build().await.unwrap();
    let handler = |order: SourceMessage<String>| {
        let in_call = opentelemetry::Context::current().span().span_context().span_id();
        let first = order.value().unwrap() == "a" && order.attempt() == 1;
        async move {
            tokio::task::yield_now().await;
            assert_eq!(opentelemetry::Context::current().span().span_context().span_id(), in_call, "in each poll");
            if first { Err("no") } else { Ok(order.into_parts().0) }
        }
    };
    let policy = FailurePolicy::retry(3);
    let abort = Error::new(ErrorKind::Transaction, "planted").with_recovery(Recovery::AbortTransaction);
    let _ = kafka.script_transactions().on(TransactionCall::Commit).fail(abort);
    let report = source.transactional(sink, handler).on_failure(policy).until(tokio::time::sleep(LONG)).await.unwrap();
    assert_eq!((report.settled, kafka.committed("bills").len()), (2, 2));
    let spans = backend.spans();
    let processed = named(&spans, "process orders");
    let types: Vec<_> = processed.iter().filter_map(|span| attribute(span, "error.type")).collect();
    assert!(types.contains(&"_OTHER".to_owned()), "{types:?}");
    let senders = |span: &SpanData| span.links.iter().map(|link| link.span_context.span_id()).collect::<Vec<_>>();
    assert!(processed.iter().any(|span| senders(span) == [sent[1].span_context.span_id()]));
    let points = backend.points();
    let of = |name: &str, more: &str| {
        let is =
            |point: &str| point.split(' ').next() == Some(name) && point.contains(more) && point.contains("billing");
        points.iter().filter(|(point, _)| is(point)).map(|(_, value)| *value).sum::<f64>()
    };
    let [all, durations, messages] = ["transactions", "transaction.duration", "transaction.messages"]
        .map(|name| format!("kafka_tower.source.{name}"));
    let committed = of(&all, "outcome=committed");
    assert!(committed >= 1.0, "{points:#?}");
    assert_eq!((of(&all, "outcome=aborted"), of(&all, "outcome=unknown")), (1.0, 0.0), "{points:#?}");
    assert_eq!((of(&durations, ""), of(&messages, "committed")), (committed + 1.0, 2.0), "{points:#?}");
}
