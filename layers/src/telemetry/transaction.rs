//! Span of a transaction, to which its sends link.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Persistence, Recovery, Result, TransactionEnd};
use opentelemetry::trace::{SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::attributes::{self, error_type, persistence};
use super::handle::Telemetry;
use super::semconv;
use super::topic::Topic;

/// Handle that records the transactions of a sink. The owner of the transactions calls it. Created by
/// [`TelemetryLayer::transactions`](super::TelemetryLayer::transactions). Clones share the same state.
#[derive(Clone)]
pub struct TransactionSpans(Arc<TransactionSpansInner>);

struct TransactionSpansInner {
    telemetry: Telemetry,
    topic: Arc<Topic>,
    /// Whether a transaction is open, so that sends outside of transactions take no lock.
    any: AtomicBool,
    open: Mutex<Option<OpenTransaction>>,
}

struct OpenTransaction {
    span: Option<Context>,
    begun: Instant,
    messages: i64,
    /// The commit has started: from now on only the broker knows how it ends.
    committing: bool,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Committed,
    Aborted,
    Unknown,
}

impl TransactionSpans {
    pub(super) fn new(telemetry: Telemetry, topic: Arc<Topic>) -> Self {
        Self(Arc::new(TransactionSpansInner { telemetry, topic, any: AtomicBool::new(false), open: Mutex::new(None) }))
    }

    /// Records the begin of a transaction. Its span is a child of the current one. Nothing is recorded if telemetry
    /// is suppressed.
    pub fn begun(&self) {
        let current = Context::current();
        let open = (!current.is_telemetry_suppressed()).then(|| self.open(&current));
        self.0.any.store(open.is_some(), Ordering::Release);
        let before = std::mem::replace(&mut *self.0.lock(), open);
        if let Some(before) = before {
            self.0.end(&before, before.gone());
        }
    }

    fn open(&self, current: &Context) -> OpenTransaction {
        self.0.announce();
        let inner = &self.0.telemetry.0;
        let span = inner.makes_spans(current).then(|| {
            let mut start = inner.client.of_client();
            start.push(attributes::destination(&self.0.topic.name));
            let builder = SpanBuilder::from_name(semconv::SPAN_TRANSACTION).with_kind(SpanKind::Internal);
            inner.spans.start(SpanBuilder { attributes: Some(start), ..builder }, current)
        });
        let span = span.flatten();
        if let Some(span) = &span {
            span.span().add_event(semconv::EVENT_TRANSACTION_BEGIN, Vec::new());
        }
        OpenTransaction { span, begun: Instant::now(), messages: 0, committing: false }
    }

    /// Records the start of the commit.
    pub fn committing(&self) {
        if let Some(open) = &mut *self.0.lock() {
            open.committing = true;
            open.event(semconv::EVENT_TRANSACTION_COMMIT, None);
        }
    }

    /// Records the result of the commit. The span stays open if the call may be repeated or an abort must follow.
    pub fn committed(&self, result: &Result<()>) {
        self.settle(after_commit(result), semconv::EVENT_TRANSACTION_COMMIT, result);
    }

    /// Records the start of the abort.
    pub fn aborting(&self) {
        if let Some(open) = &mut *self.0.lock() {
            open.event(semconv::EVENT_TRANSACTION_ABORT, None);
        }
    }

    /// Records the result of the abort.
    pub fn aborted(&self, result: &Result<()>) {
        self.settle(after_abort(result), semconv::EVENT_TRANSACTION_ABORT, result);
    }

    /// Records how the close of the transport ended the open transaction. The span ends, whatever the end is.
    pub fn ended(&self, end: &TransactionEnd) {
        let ended = self.0.lock().take();
        self.0.any.store(false, Ordering::Release);
        let Some(open) = ended else { return };
        let outcome = match end {
            TransactionEnd::Committed => Outcome::Committed,
            TransactionEnd::Aborted => {
                open.event(semconv::EVENT_TRANSACTION_ABORT, None);
                Outcome::Aborted
            }
            TransactionEnd::Unknown(error) => {
                // A close continues a commit, and aborts otherwise.
                let call = match open.committing {
                    true => semconv::EVENT_TRANSACTION_COMMIT,
                    false => semconv::EVENT_TRANSACTION_ABORT,
                };
                open.event(call, Some(error));
                if error.may_be_written() { Outcome::Unknown } else { Outcome::Aborted }
            }
            _ => Outcome::Unknown,
        };
        self.0.end(&open, outcome);
    }

    fn settle(&self, outcome: Option<Outcome>, event: &'static str, result: &Result<()>) {
        let mut slot = self.0.lock();
        let Some(open) = &mut *slot else { return };
        if let Err(error) = result {
            open.event(event, Some(error));
        }
        let Some(outcome) = outcome else {
            // It is known that nothing is visible, so the transaction no longer counts as committing.
            open.committing &= !matches!(result, Err(error) if error.persistence() == Persistence::NotPersisted
                && error.recovery() != Recovery::Retry);
            return;
        };
        self.0.any.store(false, Ordering::Release);
        let ended = slot.take();
        drop(slot);
        if let Some(ended) = ended {
            self.0.end(&ended, outcome);
        }
    }

    /// Returns the span that a send links to, if a transaction is open.
    pub(super) fn link(&self) -> Option<SpanContext> {
        self.look(|_| ())
    }

    /// The same, and counts a message of the transaction.
    pub(super) fn joined(&self) -> Option<SpanContext> {
        self.look(|open| open.messages += 1)
    }

    fn look(&self, look: impl FnOnce(&mut OpenTransaction)) -> Option<SpanContext> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        let mut slot = self.0.lock();
        let open = slot.as_mut()?;
        look(open);
        open.span.as_ref().map(|span| span.span().span_context().clone())
    }
}

impl TransactionSpansInner {
    fn lock(&self) -> MutexGuard<'_, Option<OpenTransaction>> {
        lock(&self.open)
    }

    /// Reports a zero for each outcome: otherwise a rate over a new series misses its first increment.
    fn announce(&self) {
        if let Some(instruments) = self.telemetry.0.instruments.live() {
            for outcome in [Outcome::Committed, Outcome::Aborted, Outcome::Unknown] {
                let outcome_is = KeyValue::new(semconv::TRANSACTION_OUTCOME, outcome.as_str());
                instruments.transactions.add(0, &attributes::with(&self.topic.metrics.topic, [Some(outcome_is)]));
            }
        }
    }

    fn end(&self, open: &OpenTransaction, outcome: Outcome) {
        let outcome_is = KeyValue::new(semconv::TRANSACTION_OUTCOME, outcome.as_str());
        if let Some(instruments) = self.telemetry.0.instruments.live() {
            let set = attributes::with(&self.topic.metrics.topic, [Some(outcome_is.clone())]);
            instruments.transactions.add(1, &set);
            instruments.transaction(open.begun.elapsed(), &set);
        }
        let Some(context) = &open.span else { return };
        let span = context.span();
        span.set_attributes([outcome_is, KeyValue::new(semconv::TRANSACTION_MESSAGES, open.messages)]);
        if outcome == Outcome::Unknown {
            span.set_status(Status::error("it is not known whether it was committed"));
        }
        span.end();
    }
}

impl Drop for TransactionSpansInner {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = open {
            self.end(&open, open.gone());
        }
    }
}

impl OpenTransaction {
    /// Outcome if the owner is gone: the broker aborts the transaction after its time-out, unless a commit has
    /// started.
    fn gone(&self) -> Outcome {
        if self.committing { Outcome::Unknown } else { Outcome::Aborted }
    }

    fn event(&self, name: &'static str, error: Option<&Error>) {
        if let Some(span) = &self.span {
            let why = error.map(|error| vec![error_type(error), persistence(error.persistence())]);
            span.span().add_event(name, why.unwrap_or_default());
        }
    }
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }
}

/// Outcome by the result of the commit; `None` if the transaction continues.
fn after_commit(result: &Result<()>) -> Option<Outcome> {
    match result {
        Ok(()) => Some(Outcome::Committed),
        Err(error) if error.recovery() == Recovery::Retry => None,
        Err(error) => match (error.persistence(), error.recovery()) {
            (Persistence::Persisted, _) => Some(Outcome::Committed),
            (Persistence::PossiblyPersisted, _) => Some(Outcome::Unknown),
            // Nothing is visible, and an abort is impossible.
            (Persistence::NotPersisted, Recovery::Fatal) => Some(Outcome::Aborted),
            (Persistence::NotPersisted, _) => None,
        },
    }
}

/// Outcome by the result of the abort; `None` if the transaction continues.
fn after_abort(result: &Result<()>) -> Option<Outcome> {
    match result {
        Ok(()) => Some(Outcome::Aborted),
        Err(error) => match (error.recovery(), error.persistence()) {
            // It succeeded after a commit in doubt.
            (Recovery::Reject, Persistence::PossiblyPersisted) => Some(Outcome::Unknown),
            (Recovery::Retry | Recovery::AbortTransaction | Recovery::Reject, _) => None,
            (_, Persistence::NotPersisted) => Some(Outcome::Aborted),
            _ => Some(Outcome::Unknown),
        },
    }
}

impl fmt::Debug for TransactionSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionSpans").field("open", &self.0.any.load(Ordering::Relaxed)).finish()
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;

    use super::*;

    fn failed(recovery: Recovery, persistence: Persistence) -> Result<()> {
        Err(Error::new(ErrorKind::Transaction, "no").with_recovery(recovery).with_persistence(persistence))
    }

    #[test]
    fn only_a_successful_commit_is_reported_as_committed() {
        use Persistence::{NotPersisted, PossiblyPersisted};
        assert_eq!(after_commit(&Ok(())), Some(Outcome::Committed));
        assert_eq!(after_commit(&failed(Recovery::Retry, PossiblyPersisted)), None);
        assert_eq!(after_commit(&failed(Recovery::Fatal, PossiblyPersisted)), Some(Outcome::Unknown));
        assert_eq!(after_commit(&failed(Recovery::AbortTransaction, NotPersisted)), None);
        assert_eq!(after_commit(&failed(Recovery::Fatal, NotPersisted)), Some(Outcome::Aborted));
    }

    #[test]
    fn an_abort_ends_the_span_unless_it_can_be_repeated() {
        use Persistence::{NotPersisted, PossiblyPersisted};
        assert_eq!(after_abort(&Ok(())), Some(Outcome::Aborted));
        assert_eq!(after_abort(&failed(Recovery::Retry, PossiblyPersisted)), None);
        assert_eq!(after_abort(&failed(Recovery::Reject, NotPersisted)), None);
        assert_eq!(after_abort(&failed(Recovery::Reject, PossiblyPersisted)), Some(Outcome::Unknown));
        assert_eq!(after_abort(&failed(Recovery::Fatal, PossiblyPersisted)), Some(Outcome::Unknown));
        assert_eq!(after_abort(&failed(Recovery::Fatal, NotPersisted)), Some(Outcome::Aborted));
    }
}
