//! Telemetry of a source, if it was given a [`Telemetry`](crate::telemetry::Telemetry) (feature `opentelemetry`). Without
//! the feature there is no value of its types, and the same calls do nothing.
#![cfg_attr(
    not(feature = "opentelemetry"),
    allow(dead_code, unused_imports, unused_variables, clippy::unused_self, clippy::needless_pass_by_value)
)]

#[cfg(not(feature = "opentelemetry"))]
use std::convert::{
    Infallible as ContextGuard, Infallible as PollSpan, Infallible as ProcessSpan, Infallible as SourceTelemetry,
};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "opentelemetry")]
use kafka_tower_core::source::Standing;
use kafka_tower_core::{CommitTicket, GroupEvent, Headers, TopicPartition};
#[cfg(feature = "opentelemetry")]
use kafka_tower_layers::telemetry::Telemetry;
#[cfg(feature = "opentelemetry")]
use kafka_tower_layers::telemetry::source::{
    PartitionState, PollSpan, ProcessSpan, RebalanceKind, ReceivedHead, SourceCount, SourceState, SourceTelemetry,
    SourceTransaction,
};
#[cfg(feature = "opentelemetry")]
use opentelemetry::ContextGuard;

use super::contents::Contents;
use super::receipt::Settle;
#[cfg(feature = "opentelemetry")]
use super::shared::now;
use super::{Receipt, Shared};
use crate::optional::{TelemetrySetting, with};

impl TelemetrySetting {
    pub(super) fn of_group(&self, group: &Arc<str>) -> Hooks {
        Hooks(with!(&self.0, |telemetry| Some(telemetry.source(Arc::clone(group))), else None))
    }
}

/// The source's telemetry, if any.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks(Option<SourceTelemetry>);

impl Hooks {
    /// Reports where the source stands as long as it exists.
    pub(super) fn watch(&self, source: &Arc<Shared>) {
        with!(&self.0, |telemetry| {
            let source: Arc<dyn SourceState> = Arc::clone(source) as _;
            telemetry.watch(&source);
        });
    }

    pub(super) fn event(&self, event: &GroupEvent) {
        with!(&self.0, |telemetry| match event {
            GroupEvent::Assigned(partitions) => telemetry.rebalanced(RebalanceKind::Assigned, partitions),
            GroupEvent::Revoked(partitions) => telemetry.rebalanced(RebalanceKind::Revoked, partitions),
            GroupEvent::Lost(partitions) => telemetry.rebalanced(RebalanceKind::Lost, partitions),
            GroupEvent::Committed { ticket, answers } => telemetry.commit_answered(*ticket, answers),
            _ => {}
        });
    }

    pub(super) fn commit_sent(&self, ticket: CommitTicket) {
        with!(&self.0, |telemetry| telemetry.commit_sent(ticket));
    }

    pub(super) fn consumed(&self, topic: &Arc<str>) {
        with!(&self.0, |telemetry| telemetry.consumed(topic));
    }

    pub(super) fn not_decoded(&self, topic: &Arc<str>) {
        with!(&self.0, |telemetry| telemetry.count(SourceCount::DecodeError, topic));
    }

    pub(super) fn settled(&self, topic: &Arc<str>, how: Settle, done: bool) {
        with!(&self.0, |telemetry| {
            let what = match (how, done) {
                (Settle::Ack, false) => SourceCount::Stale,
                (Settle::Skip, true) => SourceCount::Skipped,
                (Settle::DeadLetter, true) => SourceCount::DeadLettered,
                (Settle::GiveBack(1..), true) => SourceCount::GivenBack,
                _ => return,
            };
            telemetry.count(what, topic);
        });
    }

    pub(super) fn poll(&self) -> Polling {
        Polling(with!(&self.0, |telemetry| telemetry.poll(), else None))
    }

    pub(super) fn process<T>(&self, contents: &Contents<T>, receipt: &Receipt) -> Processing {
        Processing(with!(&self.0, |telemetry| {
            Some(telemetry.process(&ReceivedHead {
                at: receipt.at(),
                offset: receipt.offset(),
                attempt: contents.attempt,
                key: contents.key.as_ref(),
                is_tombstone: contents.value.is_none(),
                headers: &contents.headers,
            }))
        }, else None))
    }

    pub(super) fn transaction(&self, end: TransactionOutcome, took: Duration, messages: usize) {
        with!(&self.0, |telemetry| {
            let outcome = match end {
                TransactionOutcome::Committed => SourceTransaction::Committed,
                TransactionOutcome::Aborted => SourceTransaction::Aborted,
                TransactionOutcome::Unknown => SourceTransaction::Unknown,
            };
            telemetry.transaction(outcome, took, messages);
        });
    }

    #[cfg(feature = "opentelemetry")]
    pub(super) fn telemetry(&self) -> Option<&Telemetry> {
        self.0.as_ref().map(SourceTelemetry::telemetry)
    }
}

/// How a transaction of `transactional` has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum TransactionOutcome {
    Committed,
    Aborted,
    Unknown,
}

/// Span of a batch that is read, if there is one.
pub(super) struct Polling(Option<PollSpan>);

impl Polling {
    pub(super) fn record(&mut self, headers: &Headers) {
        with!(&mut self.0, |span| span.record(headers));
    }

    pub(super) fn finish(self, at: &TopicPartition, records: usize) {
        with!(self.0, |span| span.finish(at, records));
    }
}

/// Span of a message that is handled, if the source has telemetry. It ends as abandoned if it is dropped.
#[derive(Debug)]
pub(super) struct Processing(Option<ProcessSpan>);

impl Processing {
    /// The span is current until the guard is dropped, in the same poll.
    pub(super) fn attach(&self) -> Option<ContextGuard> {
        with!(&self.0, |span| span.attach(), else None)
    }

    #[cfg(feature = "opentelemetry")]
    pub(super) fn into_span(self) -> Option<ProcessSpan> {
        self.0
    }

    /// `failure` is an `error.type`.
    pub(super) fn finish(self, failure: Option<&'static str>) {
        with!(self.0, |span| span.finish(failure));
    }
}

#[cfg(feature = "opentelemetry")]
impl SourceState for Shared {
    fn partitions(&self) -> Vec<PartitionState> {
        let standings = self.state().engine.standings(now());
        // Outside the lock, which the transport's thread takes.
        let lag = |standing: &Standing| {
            let end = self.consumer().end_offset(&standing.at)?;
            u64::try_from(end.saturating_sub(standing.next?)).ok()
        };
        let state = |standing: Standing| PartitionState {
            lag: lag(&standing),
            at: standing.at,
            unsettled: standing.unsettled,
            stalled: standing.stalled,
        };
        standings.into_iter().map(state).collect()
    }
}
