//! Tests that a transaction has a span, and its sends link to it.

use kafka_tower_core::Persistence::{NotPersisted, PossiblyPersisted};
use kafka_tower_core::{Recovery, Scope, TransactionEnd};
use kafka_tower_layers::transaction_batch::TransactionBatchLayer;
use opentelemetry::trace::SpanId;

use crate::support::*;

#[tokio::test]
async fn sends_link_to_the_transaction() {
    let (backend, kafka) = (Backend::new(), kafka());
    let layer = backend.telemetry().layer("orders");
    let mut orders = stack(&layer, &kafka);
    layer.transactions().begun();
    send(&mut orders, "x".to_owned()).await.unwrap();
    layer.transactions().committing();
    layer.transactions().committed(&Ok(()));
    send(&mut orders, "y".to_owned()).await.unwrap();

    let transaction = backend.span("transaction");
    let sends: Vec<_> = backend.spans().iter().filter(|span| span.name == "send orders").map(links).collect();
    assert_eq!(sends, [vec![transaction.span_context.span_id()], vec![]]);
    assert_eq!(attribute(&transaction, "kafka_tower.transaction.outcome").as_deref(), Some("committed"));
    assert_eq!(attribute(&transaction, "kafka_tower.transaction.messages").as_deref(), Some("1"));
    assert_eq!(events(&transaction), ["kafka_tower.transaction.begin ", "kafka_tower.transaction.commit "]);
    let all = [("aborted", 0), ("committed", 1), ("unknown", 0)];
    let all = all.map(|(outcome, count)| {
        format!("kafka_tower.transaction.outcome={outcome} messaging.destination.name=orders: {count}")
    });
    assert_eq!(backend.metric("kafka_tower.transactions"), all, "zeros are told: rates begin from them");
}

#[tokio::test]
async fn a_commit_without_an_answer_has_the_outcome_unknown() {
    let backend = Backend::new();
    let layer = backend.telemetry().layer("orders");
    let transactions = layer.transactions();
    let unknown = Error::new(ErrorKind::Timeout, "no answer").with_recovery(Recovery::Retry);
    transactions.begun();
    transactions.committing();
    transactions.committed(&Err(unknown.clone()));
    assert!(backend.spans().is_empty(), "the same can be called again");
    transactions.committed(&Err(unknown.with_recovery(Recovery::Fatal)));
    let span = backend.span("transaction");
    assert_eq!(attribute(&span, "kafka_tower.transaction.outcome").as_deref(), Some("unknown"));
    assert!(matches!(span.status, Status::Error { .. }));
    assert_eq!(events(&span).len(), 4, "{:?}", events(&span));
}

#[tokio::test]
async fn after_a_failed_commit_the_abort_ends_the_span() {
    let backend = Backend::new();
    let layer = backend.telemetry().layer("orders");
    let transactions = layer.transactions();
    transactions.begun();
    transactions.committing();
    transactions.committed(&Err(Error::new(ErrorKind::Transaction, "a record failed")));
    assert!(backend.spans().is_empty());
    transactions.aborting();
    transactions.aborted(&Ok(()));
    let span = backend.span("transaction");
    assert_eq!(attribute(&span, "kafka_tower.transaction.outcome").as_deref(), Some("aborted"));
}

/// How a close ended the transaction: the span has the call that the close made or continued, and one outcome.
#[tokio::test]
async fn a_close_ends_the_span_whatever_the_end() {
    use TransactionEnd::{Aborted, Committed, Unknown};
    let error = |persistence, recovery| {
        Unknown(Error::new(ErrorKind::Timeout, "no answer").with_persistence(persistence).with_recovery(recovery))
    };
    // An event, and whether its call failed.
    let (begin, commit, abort) = (("begin", false), ("commit", false), ("abort", false));
    let (commit_failed, abort_failed) = (("commit", true), ("abort", true));
    for recovery in [Recovery::Retry, Recovery::Fatal, Recovery::AbortTransaction] {
        let (doubt, no) = (error(PossiblyPersisted, recovery), error(NotPersisted, recovery));
        let cases = [
            (false, &Aborted, "aborted", vec![abort]),
            (false, &doubt, "unknown", vec![abort_failed]),
            (false, &no, "aborted", vec![abort_failed]),
            (true, &Committed, "committed", vec![commit]),
            (true, &Aborted, "aborted", vec![commit, abort]),
            (true, &doubt, "unknown", vec![commit, commit_failed]),
        ];
        for (committing, end, outcome, then) in cases {
            let backend = Backend::new();
            let layer = backend.telemetry().layer("orders");
            let transactions = layer.transactions();
            transactions.begun();
            if committing {
                transactions.committing();
            }
            transactions.ended(end);
            let span = backend.span("transaction");
            let attribute = attribute(&span, "kafka_tower.transaction.outcome");
            assert_eq!(attribute.as_deref(), Some(outcome), "{committing} {end:?}");
            let name = |name: &str| name.strip_prefix("kafka_tower.transaction.").unwrap().to_owned();
            let events: Vec<_> = span.events.iter().map(|e| (name(&e.name), !e.attributes.is_empty())).collect();
            let expected = [begin].into_iter().chain(then).map(|(name, failed)| (name.to_owned(), failed));
            assert_eq!(events, expected.collect::<Vec<_>>(), "{committing} {end:?}");
            assert_eq!(matches!(span.status, Status::Error { .. }), outcome == "unknown");
            drop(layer);
            assert_eq!(backend.spans().len(), 1, "it ended once");
            let counts = backend.points().into_iter().filter(|point| point.name == "kafka_tower.transactions");
            assert_eq!(counts.map(|point| point.value).sum::<f64>(), 1.0, "it is counted once");
        }
    }
}

/// After a commit without an answer, an abort that succeeds proves nothing.
#[tokio::test]
async fn an_abort_after_a_commit_in_doubt_has_the_outcome_unknown() {
    let backend = Backend::new();
    let layer = backend.telemetry().layer("orders");
    let transactions = layer.transactions();
    transactions.begun();
    transactions.committing();
    let unanswered = Error::new(ErrorKind::Timeout, "no answer").with_recovery(Recovery::Retry);
    transactions.committed(&Err(unanswered));
    transactions.aborting();
    let ended = Error::new(ErrorKind::Transaction, "it has ended").with_recovery(Recovery::Reject);
    transactions.aborted(&Err(ended.with_persistence(PossiblyPersisted)));
    let span = backend.span("transaction");
    assert_eq!(attribute(&span, "kafka_tower.transaction.outcome").as_deref(), Some("unknown"));
}

#[tokio::test]
async fn dropping_the_layer_ends_the_transactions_span() {
    for (committing, outcome) in [(false, "aborted"), (true, "unknown")] {
        let backend = Backend::new();
        let layer = backend.telemetry().layer("orders");
        layer.transactions().begun();
        if committing {
            layer.transactions().committing();
        }
        drop(layer);
        assert_eq!(
            attribute(&backend.span("transaction"), "kafka_tower.transaction.outcome").as_deref(),
            Some(outcome)
        );
    }
}

/// A suppressed transaction does not disable spans of others.
#[tokio::test]
async fn a_suppressed_transaction_leaves_the_tracer_alone() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.telemetry();
    let layer = telemetry.layer("orders");
    let mut orders = stack(&layer, &kafka);
    {
        let _quiet = Context::enter_telemetry_suppressed_scope();
        layer.transactions().begun();
        layer.transactions().committing();
        layer.transactions().committed(&Ok(()));
    }
    send(&mut orders, "x".to_owned()).await.unwrap();
    send(&mut stack(&telemetry.for_client("other", None).layer("orders"), &kafka), "y".to_owned()).await.unwrap();
    let names: Vec<_> = backend.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["send orders"; 2]);
    assert!(backend.metric("kafka_tower.transactions").is_empty());
}

/// A batching layer over memory that is reported to the backend, below its spans.
async fn shared(backend: &Backend, kafka: &MemoryKafka) -> BoxCloneSyncService<Record, Delivery, Error> {
    let telemetry = backend.telemetry().layer("orders");
    let transport = kafka.transactional_transport("id");
    let batching = TransactionBatchLayer::new(transport.control()).on_transaction(telemetry.on_transaction());
    batching.init(Duration::from_secs(1)).await.unwrap();
    BoxCloneSyncService::new(telemetry.layer(batching.layer(transport)))
}

fn record(value: &'static str) -> Record {
    Record::new("orders").with_partition(0).with_value(value)
}

#[tokio::test(start_paused = true)]
async fn a_shared_transaction_links_to_its_messages() {
    let (backend, kafka) = (Backend::new(), kafka());
    let service = shared(&backend, &kafka).await;
    let (first, second) = tokio::join!(service.clone().oneshot(record("a")), service.clone().oneshot(record("bc")));
    first.and(second).unwrap();
    let transaction = backend.span("transaction");
    let sends: Vec<_> = backend.spans().iter().filter(|span| span.name == "send orders").map(id_of).collect();
    assert_eq!(sorted(links(&transaction)), sorted(sends));
    assert!(transaction.parent_span_id == SpanId::INVALID && transaction.span_kind == SpanKind::Internal);
    let text = |name: &str| attribute(&transaction, &format!("kafka_tower.transaction.{name}"));
    for (name, value) in [("outcome", "committed"), ("cut", "age"), ("lane", "0"), ("messages", "2")] {
        assert_eq!(text(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(text("attempt"), None);
    assert_eq!(transaction.status, Status::Unset);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_attempt_and_its_replay_are_measured() {
    let (backend, kafka) = (Backend::new(), kafka());
    let service = shared(&backend, &kafka).await;
    let refused = Error::new(ErrorKind::Rejected, "planted").with_scope(Scope::Record);
    kafka.script().after(1).fail(refused);
    let (first, second) = tokio::join!(service.clone().oneshot(record("a")), service.clone().oneshot(record("bc")));
    assert!(first.is_ok() && second.is_err(), "{first:?} {second:?}");
    let spans: Vec<_> = backend.spans().into_iter().filter(|span| span.name == "transaction").collect();
    let outcomes = spans.iter().map(|span| attribute(span, "kafka_tower.transaction.outcome").unwrap());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["aborted", "committed"]);
    assert_eq!(attribute(&spans[0], "kafka_tower.transaction.refused").as_deref(), Some("1"));
    assert_eq!(attribute(&spans[1], "kafka_tower.transaction.attempt").as_deref(), Some("2"));
    assert!(matches!(spans[0].status, Status::Error { .. }));
    let of = "kafka_tower.transaction.lane=0";
    let to = "messaging.destination.name=orders";
    assert_eq!(
        backend.metric("kafka_tower.transactions"),
        [("aborted", 1), ("committed", 1), ("unknown", 0)]
            .map(|(outcome, count)| format!("{of} kafka_tower.transaction.outcome={outcome} {to}: {count}"))
    );
    for (name, value) in [("replays", 1), ("refusals", 1)] {
        assert_eq!(backend.metric(&format!("kafka_tower.transaction.{name}")), [format!("{of} {to}: {value}")]);
    }
    for (name, sum) in [("messages", 2.0), ("size", 3.0), ("age", 0.05)] {
        let name = format!("kafka_tower.transaction.{name}");
        let points: Vec<_> = backend.points().into_iter().filter(|point| point.name == name).collect();
        assert_eq!(points.len(), 1, "once per batch: {points:?}");
        assert_eq!(
            (&*points[0].attributes, points[0].value),
            (&*format!("kafka_tower.transaction.cut=age {of} {to}"), 1.0)
        );
        assert!(points[0].sum >= sum, "{points:?}");
    }
}

fn id_of(span: &SpanData) -> SpanId {
    span.span_context.span_id()
}

fn sorted(mut ids: Vec<SpanId>) -> Vec<SpanId> {
    ids.sort_by_key(SpanId::to_string);
    ids
}
