//! Transactions that sends share: the hook for the batching layer.

use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use super::attributes::{self, destination, error_type, persistence};
use super::sink::Sink;
use super::{TelemetryLayer, semconv};
use crate::transaction_batch::{TransactionEvent, TransactionOutcome};

/// Maximum number of links of a span: the default limit of SDKs.
const LINKS: usize = 128;

impl TelemetryLayer {
    /// Returns a hook for
    /// [`TransactionBatchLayer::on_transaction`](crate::transaction_batch::TransactionBatchLayer::on_transaction) that
    /// records each transaction: a span that links to its messages, and metrics.
    pub fn on_transaction(&self) -> impl Fn(&TransactionEvent<'_>) + Send + Sync + 'static {
        let sink = self.sink();
        move |event| {
            record(&sink, event);
            span(&sink, event);
        }
    }
}

fn record(sink: &Sink, event: &TransactionEvent<'_>) {
    let Some(instruments) = sink.telemetry.0.instruments.live() else { return };
    let lane = lane(event);
    let with = |more: Option<KeyValue>| attributes::with(&sink.topic.metrics.topic, [Some(lane.clone()), more]);
    for each in [TransactionOutcome::Committed, TransactionOutcome::Aborted, TransactionOutcome::Unknown] {
        // Zeros too: otherwise a rate over a new series misses its first increment.
        instruments.transactions.add(u64::from(each == event.outcome), &with(Some(outcome(each))));
    }
    instruments.transaction(event.took, &with(Some(outcome(event.outcome))));
    let (set, shared) = (with(None), &instruments.shared);
    shared.replays.add(u64::from(event.attempt > 1), &set);
    shared.refusals.add(event.refused as u64, &set);
    if event.attempt == 1 {
        let set = with(Some(cut(event)));
        shared.messages.record(event.records as u64, &set);
        shared.size.record(event.bytes as u64, &set);
        shared.age.record(event.age.as_secs_f64(), &set);
    }
}

/// The span has no parent, because its messages have different ones. It is made when it ends.
fn span(sink: &Sink, event: &TransactionEvent<'_>) {
    let (inner, root) = (&sink.telemetry.0, Context::new());
    if !inner.makes_spans(&root) {
        return;
    }
    let mut start = inner.client.of_client();
    start.push(destination(&sink.topic.name));
    start.extend([lane(event), cut(event), outcome(event.outcome)]);
    start.push(KeyValue::new(semconv::TRANSACTION_MESSAGES, number(event.records)));
    start.extend((event.attempt > 1).then(|| KeyValue::new(semconv::TRANSACTION_ATTEMPT, i64::from(event.attempt))));
    start.extend((event.refused > 0).then(|| KeyValue::new(semconv::TRANSACTION_REFUSED, number(event.refused))));
    start.extend(event.error.into_iter().flat_map(|error| {
        let fate = match event.outcome {
            TransactionOutcome::Unknown => kafka_tower_core::Persistence::PossiblyPersisted,
            _ => kafka_tower_core::Persistence::NotPersisted,
        };
        [error_type(error), persistence(fate)]
    }));
    let links = event.headers().take(LINKS).filter_map(|headers| inner.propagation.provided(headers));
    let links = links.map(|context| Link::new(context, Vec::new(), 0)).collect();
    let builder = SpanBuilder::from_name(semconv::SPAN_TRANSACTION).with_kind(SpanKind::Internal);
    let begun = SystemTime::now().checked_sub(event.took);
    let builder = SpanBuilder { attributes: Some(start), links: Some(links), start_time: begun, ..builder };
    let Some(context) = inner.spans.start(builder, &root) else { return };
    let span = context.span();
    match event.outcome {
        TransactionOutcome::Committed => {}
        TransactionOutcome::Aborted => span.set_status(Status::error("it was aborted")),
        _ => span.set_status(Status::error("it is not known whether it was committed")),
    }
    span.end();
}

fn lane(event: &TransactionEvent<'_>) -> KeyValue {
    KeyValue::new(semconv::TRANSACTION_LANE, number(event.lane))
}

fn cut(event: &TransactionEvent<'_>) -> KeyValue {
    KeyValue::new(semconv::TRANSACTION_CUT, event.cut.as_str())
}

fn outcome(outcome: TransactionOutcome) -> KeyValue {
    KeyValue::new(semconv::TRANSACTION_OUTCOME, outcome.as_str())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
