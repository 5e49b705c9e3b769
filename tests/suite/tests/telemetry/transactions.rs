//! Tests over memory: spans and metrics of transactions.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::{
    DeliveryGuarantee, Error, ErrorKind, KafkaSink, KafkaSinkConfig, MessageSerializer, Persistence,
    TransactionBatchOptions, async_trait,
};
use opentelemetry_sdk::trace::SpanData;

use crate::support::*;

fn with_transactions() -> KafkaSinkConfig {
    KafkaSinkConfig { enable_transactions: true, transactional_id: Some("orders-1".into()), ..config() }
}

async fn transactional(backend: &Backend) -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let builder = KafkaSink::builder(with_transactions()).transport(kafka.transactional_transport("orders-1"));
    let sink = builder.telemetry(backend.telemetry()).build().await.unwrap();
    (kafka, sink)
}

#[tokio::test(start_paused = true)]
async fn transactions_have_spans_that_sends_link_to() {
    let backend = Backend::new();
    let (_kafka, sink) = transactional(&backend).await;
    sink.begin_transaction().await.unwrap();
    sink.send_batch([1, 2]).await.unwrap();
    sink.send(3).await.unwrap();
    sink.commit_transaction().await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(4).await.unwrap();
    let faulty = sink.clone().with_delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    faulty.send(5).await.unwrap_err(); // linked, although it was never part of the transaction
    sink.abort_transaction().await.unwrap();

    let spans = backend.spans();
    let outcomes: Vec<_> = spans.iter().filter_map(|span| attribute(span, "kafka_tower.transaction.outcome")).collect();
    assert_eq!(outcomes, ["committed", "aborted"]);
    let transactions: Vec<_> = spans.iter().filter(|span| span.name == "transaction").collect();
    let events = |span: &&SpanData| span.events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>();
    let named = |call| ["begin", call].map(|name| format!("kafka_tower.transaction.{name}"));
    assert_eq!(transactions.iter().map(events).collect::<Vec<_>>(), [named("commit"), named("abort")]);
    let linked = |id| {
        let sends = spans.iter().filter(|span| span.name == "send orders");
        sends.filter(|span| span.links.iter().any(|link| link.span_context.span_id() == id)).count()
    };
    assert_eq!(transactions.iter().map(|span| linked(span.span_context.span_id())).collect::<Vec<_>>(), [2, 2]);
    let messages: Vec<_> =
        transactions.iter().map(|span| attribute(span, "kafka_tower.transaction.messages").unwrap()).collect();
    assert_eq!(
        messages,
        ["3", "1"],
        "messages of batches count one by one; sends that did not reach the stack do not count"
    );
    let points = backend.points();
    assert!(!points.contains_key("kafka_tower.circuit_breaker.state orders"), "there is no breaker");
    assert_eq!(points["kafka_tower.transactions orders transaction.outcome=committed"], 1.0);
    assert_eq!(points["kafka_tower.transactions orders transaction.outcome=aborted"], 1.0);
    assert_eq!(points["kafka_tower.transaction.duration orders transaction.outcome=aborted"], 1.0);
}

/// The control handle of a sink has the sink's transactions, not the transport's own.
#[tokio::test(start_paused = true)]
async fn transactions_of_the_control_handle_have_spans_too() {
    let backend = Backend::new();
    let (_kafka, sink) = transactional(&backend).await;
    let transactions = sink.control().transactions().unwrap();
    transactions.begin(Duration::from_secs(1)).await.unwrap();
    sink.send(1).await.unwrap();
    transactions.commit(Duration::from_secs(1)).await.unwrap();
    transactions.begin(Duration::from_secs(1)).await.unwrap();
    transactions.abort(Duration::from_secs(1)).await.unwrap();
    let spans = backend.spans();
    let outcomes: Vec<_> = spans.iter().filter_map(|span| attribute(span, "kafka_tower.transaction.outcome")).collect();
    assert_eq!(outcomes, ["committed", "aborted"]);
}

struct Never;

#[async_trait]
impl MessageSerializer<u32> for Never {
    async fn serialize(&self, _: &u32) -> Result<Vec<u8>, Error> {
        std::future::pending().await
    }
}

/// The transport was not asked to commit, so the end of the transaction is known.
#[tokio::test(start_paused = true)]
async fn a_refused_commit_is_not_reported_as_unknown() {
    let backend = Backend::new();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let builder = KafkaSink::<u32>::builder(with_transactions()).transport(kafka.transactional_transport("orders-1"));
    let builder = builder.serializer(Arc::new(Never)).telemetry(backend.telemetry());
    let sink = builder.build().await.unwrap();
    sink.begin_transaction().await.unwrap();
    let mut send = Box::pin(sink.send(1));
    assert!(futures_util::poll!(&mut send).is_pending());
    let error = sink.commit_transaction().await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    drop(send);
    drop(sink);
    let spans = backend.spans();
    let transaction = spans.iter().find(|span| span.name == "transaction").unwrap();
    assert_eq!(attribute(transaction, "kafka_tower.transaction.outcome").as_deref(), Some("aborted"));
    let events: Vec<_> = transaction.events.iter().map(|event| (&*event.name, event.attributes.is_empty())).collect();
    let refused = ("kafka_tower.transaction.commit", false);
    assert_eq!(events, [("kafka_tower.transaction.begin", true), refused], "the refusal is recorded with its reason");
}

/// A close that continues a commit without an answer: the span ends with the close, as a commit.
#[tokio::test(start_paused = true)]
async fn a_close_ends_the_span_of_a_commit_in_doubt() {
    let backend = Backend::new();
    let (kafka, sink) = transactional(&backend).await;
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    kafka.script_transactions().on(TransactionCall::Commit).always().lose_answer();
    sink.commit_transaction().await.unwrap_err();
    sink.close_within(Duration::from_secs(1)).await.unwrap_err();
    let spans = backend.spans();
    let transaction = spans.iter().find(|span| span.name == "transaction").expect("the close ends the span");
    assert_eq!(attribute(transaction, "kafka_tower.transaction.outcome").as_deref(), Some("unknown"));
    let aborts = transaction.events.iter().filter(|event| event.name == "kafka_tower.transaction.abort").count();
    assert_eq!(aborts, 0, "nothing was aborted");
}

/// Each send has its span, and the transaction that they share links to them.
#[tokio::test(start_paused = true)]
async fn shared_transactions_are_reported() {
    let (backend, kafka) = (Backend::new(), MemoryKafka::new().with_topic("orders", 1));
    let config = KafkaSinkConfig::exactly_once("memory", "orders", "id");
    let lanes = kafka.clone();
    let builder = KafkaSink::<u32>::builder(config)
        .telemetry(backend.telemetry())
        .transaction_batch_over(TransactionBatchOptions::new(), move |id: &str| lanes.transactional_transport(id));
    let sink = builder.build().await.unwrap();
    let (first, second) = tokio::join!(sink.send(1), sink.send(2));
    first.and(second).unwrap();
    let (mut sends, transactions): (Vec<_>, Vec<_>) =
        backend.spans().into_iter().partition(|span| span.name == "send orders");
    assert_eq!((sends.len(), transactions.len()), (2, 1));
    let mut linked: Vec<_> = transactions[0].links.iter().map(|link| link.span_context.span_id()).collect();
    linked.sort_by_key(ToString::to_string);
    sends.sort_by_key(|span| span.span_context.span_id().to_string());
    assert_eq!(linked, sends.iter().map(|span| span.span_context.span_id()).collect::<Vec<_>>());
    let committed = |(name, value): (&String, &f64)| {
        name.starts_with("kafka_tower.transactions ") && name.contains("committed") && *value == 1.0
    };
    assert!(backend.points().iter().any(committed), "{:?}", backend.points());
}
