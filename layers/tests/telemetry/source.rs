//! Telemetry of a source.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use kafka_tower_core::{CommitAnswer, CommitTicket, Headers, TopicPartition};
use kafka_tower_layers::telemetry::source::{
    PartitionState, RebalanceKind, ReceivedHead, SourceCount, SourceState, SourceTelemetry,
};

use crate::support::*;

const SENDER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn orders(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn source(telemetry: &Telemetry) -> SourceTelemetry {
    telemetry.source("billing")
}

fn sent(by: Option<&'static str>) -> Headers {
    let mut headers = Headers::new();
    if let Some(context) = by {
        headers.push("traceparent", context);
    }
    headers
}

/// Handles a message at offset 7 of `orders[2]`.
fn process(source: &SourceTelemetry, headers: &Headers, failure: Option<&'static str>) {
    let (at, key) = (orders(2), Bytes::from_static(b"secret"));
    let key = Some(&key);
    let head = ReceivedHead { at: &at, offset: 7, attempt: 1, key, is_tombstone: false, headers };
    source.process(&head).finish(failure);
}

#[test]
fn a_message_is_handled_in_a_span_that_links_to_its_sender() {
    let backend = Backend::new();
    let source = source(&backend.telemetry());
    let headers = sent(Some(SENDER));
    let caller = backend.tracers.tracer("caller").start("caller");
    let caller = Context::new().with_span(caller);
    {
        let _current = caller.clone().attach();
        let at = orders(2);
        let head = ReceivedHead { at: &at, offset: 7, attempt: 3, key: None, is_tombstone: true, headers: &headers };
        let span = source.process(&head);
        {
            let _current = span.attach();
            backend.tracers.tracer("handler").start("below");
        }
        span.finish(None);
    }
    let span = backend.span("process orders");
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(
        attributes(&span),
        [
            "messaging.system=kafka",
            "messaging.operation.name=process",
            "messaging.operation.type=process",
            "messaging.destination.name=orders",
            "messaging.consumer.group.name=billing",
            "messaging.destination.partition.id=2",
            "messaging.kafka.offset=7",
            "messaging.kafka.message.tombstone=true",
            "kafka_tower.delivery.attempt=3",
        ]
    );
    assert_eq!(span.parent_span_id, caller.span().span_context().span_id());
    assert_eq!(links(&span).iter().map(ToString::to_string).collect::<Vec<_>>(), ["00f067aa0ba902b7"]);
    assert_eq!(backend.span("below").parent_span_id, span.span_context.span_id());
    assert_eq!(span.status, Status::Unset);
}

#[test]
fn the_sender_is_the_parent_if_that_is_chosen() {
    let backend = Backend::new();
    let source = source(&backend.builder().parent_from_message(true).build());
    process(&source, &sent(Some(SENDER)), None);
    process(&source, &sent(None), None);
    let spans = backend.spans();
    let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id.to_string()).collect();
    assert_eq!(parents, ["00f067aa0ba902b7", "0000000000000000"]);
    assert_eq!(spans[0].span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn failures_and_dropped_messages_are_errors_of_span_and_metric() {
    let backend = Backend::new();
    let source = source(&backend.telemetry());
    process(&source, &sent(None), None);
    process(&source, &sent(None), Some("no_stock"));
    let (at, headers) = (orders(0), Headers::new());
    drop(source.process(&ReceivedHead {
        at: &at,
        offset: 0,
        attempt: 1,
        key: None,
        is_tombstone: false,
        headers: &headers,
    }));
    let spans = backend.spans();
    let errors: Vec<_> = spans.iter().map(|span| attribute(span, "error.type")).collect();
    assert_eq!(errors, [None, Some("no_stock".to_owned()), Some("abandoned".to_owned())]);
    assert_eq!(spans[1].status, Status::error("not handled"));
    let of = "messaging.consumer.group.name=billing messaging.destination.name=orders: 1";
    let expected = [of.to_owned(), format!("error.type=abandoned {of}"), format!("error.type=no_stock {of}")];
    let mut found = backend.metric("messaging.process.duration");
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn keys_are_shown_only_if_that_is_chosen() {
    for shown in [false, true] {
        let backend = Backend::new();
        process(&source(&backend.builder().message_key(shown).build()), &sent(None), None);
        let text = format!("{:?}", backend.spans());
        assert_eq!(text.contains("secret"), shown, "{text}");
    }
}

#[test]
fn a_batch_links_to_the_senders_of_its_records() {
    let backend = Backend::new();
    let source = source(&backend.telemetry());
    let mut poll = source.poll().unwrap();
    for headers in [sent(Some(SENDER)), sent(None)] {
        poll.record(&headers);
    }
    poll.finish(&orders(1), 2);
    drop(source.poll());
    let span = backend.span("poll orders");
    assert_eq!((span.span_kind.clone(), links(&span).len()), (SpanKind::Client, 1));
    assert_eq!(attribute(&span, "messaging.operation.type").as_deref(), Some("receive"));
    assert_eq!(attribute(&span, "messaging.batch.message_count").as_deref(), Some("2"));
    assert_eq!(backend.spans().len(), 1, "no span of a batch without records");
    let mut many = source.poll().unwrap();
    (0..200).for_each(|_| many.record(&sent(Some(SENDER))));
    many.finish(&orders(1), 200);
    assert_eq!(backend.spans()[1].links.iter().count(), 128);
}

#[tokio::test(start_paused = true)]
async fn commits_have_a_span_a_duration_and_an_outcome() {
    let backend = Backend::new();
    let source = source(&backend.telemetry());
    let before = SystemTime::now();
    source.commit_sent(CommitTicket(1));
    tokio::time::advance(Duration::from_millis(20)).await;
    let answers = [(orders(0), CommitAnswer::Committed), (orders(1), CommitAnswer::of_code(27, "orders"))];
    source.commit_answered(CommitTicket(1), &answers);
    source.commit_answered(CommitTicket(1), &answers);
    let spans = backend.spans();
    assert_eq!(spans.len(), 2, "each answer once");
    assert!(spans.iter().all(|span| span.name == "commit orders" && span.start_time >= before));
    assert_eq!(attribute(&spans[0], "messaging.operation.type").as_deref(), Some("settle"));
    assert_eq!(attribute(&spans[1], "error.type").as_deref(), Some("REBALANCE_IN_PROGRESS"));
    let of = "messaging.consumer.group.name=billing messaging.destination.name=orders: 1";
    assert_eq!(
        backend.metric("kafka_tower.source.commits"),
        [format!("kafka_tower.commit.outcome=committed {of}"), format!("kafka_tower.commit.outcome=retried {of}")]
    );
    let points = backend.points();
    let took: Vec<_> = points.iter().filter(|point| point.name == "messaging.client.operation.duration").collect();
    assert!(took.len() == 2 && took.iter().all(|point| point.sum == 0.02), "{took:?}");
    // Commits that are never answered are forgotten.
    (2..100).for_each(|ticket| source.commit_sent(CommitTicket(ticket)));
    source.commit_answered(CommitTicket(2), &answers);
    assert_eq!(backend.spans().len(), 2);
}

#[test]
fn what_happens_to_messages_and_partitions_is_counted() {
    let backend = Backend::new();
    let source = source(&backend.builder().max_topics(1).build());
    let topic: Arc<str> = "orders".into();
    source.consumed(&topic);
    source.consumed(&"other-1".into());
    source.consumed(&"other-2".into());
    let of = "messaging.consumer.group.name=billing messaging.destination.name=orders: 1";
    let others = "messaging.consumer.group.name=billing messaging.destination.name=_other: 2";
    assert_eq!(backend.metric("messaging.client.consumed.messages"), [others, of]);
    for (what, name) in [
        (SourceCount::DecodeError, "decode_errors"),
        (SourceCount::Skipped, "skipped"),
        (SourceCount::GivenBack, "given_back"),
        (SourceCount::DeadLettered, "dead_lettered"),
        (SourceCount::Stale, "stale"),
    ] {
        source.count(what, &topic);
        assert_eq!(backend.metric(&format!("kafka_tower.source.{name}")), [of]);
    }
    for kind in [RebalanceKind::Assigned, RebalanceKind::Revoked, RebalanceKind::Lost] {
        source.rebalanced(kind, &[orders(0), orders(1)]);
    }
    let of = "messaging.consumer.group.name=billing messaging.destination.name=orders: 2";
    assert_eq!(
        backend.metric("kafka_tower.source.rebalances"),
        ["assigned", "lost", "revoked"].map(|kind| format!("kafka_tower.rebalance.kind={kind} {of}"))
    );
}

struct State(Vec<PartitionState>);

impl SourceState for State {
    fn partitions(&self) -> Vec<PartitionState> {
        self.0.clone()
    }
}

fn states(partitions: i32, lag: Option<u64>) -> Arc<dyn SourceState> {
    let state = |partition| PartitionState {
        at: orders(partition),
        unsettled: 2,
        lag,
        stalled: Duration::from_millis(500 * u64::try_from(partition).unwrap()),
    };
    Arc::new(State((0..partitions).map(state).collect()))
}

#[test]
fn the_state_of_a_source_is_reported_while_it_exists() {
    let backend = Backend::new();
    let telemetry = source(&backend.telemetry());
    let first = states(2, Some(5));
    telemetry.watch(&first);
    let of = "messaging.consumer.group.name=billing messaging.destination.name=orders";
    assert_eq!(
        backend.metric("kafka_tower.source.lag"),
        [
            format!("{of} messaging.destination.partition.id=0: 5"),
            format!("{of} messaging.destination.partition.id=1: 5")
        ]
    );
    assert_eq!(backend.metric("kafka_tower.source.unsettled"), [format!("{of}: 4")]);
    assert_eq!(backend.metric("kafka_tower.source.stalled"), [format!("{of}: 0.5")]);
    drop(first);
    let unknown = states(1, None);
    telemetry.watch(&unknown);
    assert!(backend.metric("kafka_tower.source.lag").is_empty(), "not known");
    assert_eq!(backend.metric("kafka_tower.source.unsettled"), [format!("{of}: 2")]);
    let many = states(257, Some(9));
    telemetry.watch(&many);
    assert_eq!(backend.metric("kafka_tower.source.lag"), [format!("{of}: 9")]);
}

#[test]
fn nothing_is_made_without_providers_or_while_telemetry_is_suppressed() {
    let quiet = source(&Telemetry::builder().spans(false).metrics(false).build());
    process(&quiet, &sent(Some(SENDER)), None);
    quiet.consumed(&"orders".into());
    quiet.commit_sent(CommitTicket(1));
    assert!(quiet.poll().is_none());
    let backend = Backend::new();
    let source = source(&backend.telemetry());
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    process(&source, &sent(Some(SENDER)), None);
    assert!(source.poll().is_none() && backend.spans().is_empty());
}
