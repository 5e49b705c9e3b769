use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Error, Record, Result, handover};
use tower_service::Service;

use super::RecordStackFuture;
use super::future::Send;
use crate::circuit_breaker::{Admitted, BreakerInner, CircuitBreaker, CircuitBreakerHandle, DefaultClassifier};
use crate::metrics::{Metrics, MetricsShard};
use crate::partition::Partition;
use crate::retry::{Retry, RetryInner};

/// Service that picks the partition of a record, rejects it while the circuit breaker is open, sends it, and retries it.
/// Created by [`RecordStackLayer`](super::RecordStackLayer).
pub struct RecordStack<S> {
    /// Its services are used, but not their futures.
    composed: Composed<S>,
    shared: Arc<Shared<S>>,
    metrics: Metrics,
}

type Composed<S> = Partition<CircuitBreaker<Retry<S>, DefaultClassifier>>;

/// State that the sends of a handle share: one reference count for each send, and none that other handles change.
pub(super) struct Shared<S> {
    pub(super) breaker: Arc<BreakerInner>,
    pub(super) retry: Arc<RetryInner<S>>,
    /// Counters of the thread that made the handle.
    pub(super) counters: Arc<MetricsShard>,
}

impl<S> RecordStack<S> {
    pub(super) fn new(mut composed: Composed<S>, metrics: Metrics) -> Self {
        composed.get_mut().watch_late();
        let breaker = composed.get_ref();
        let (retry, breaker) = (Arc::clone(breaker.get_ref().shared()), Arc::clone(breaker.shared()));
        let counters = Arc::clone(metrics.shard());
        Self { composed, shared: Arc::new(Shared { breaker, retry, counters }), metrics }
    }

    /// Handle to observe and force the circuit breaker.
    #[must_use]
    pub fn circuit_breaker(&self) -> CircuitBreakerHandle {
        self.composed.get_ref().handle()
    }
}

impl<S> Service<Record> for RecordStack<S>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = RecordStackFuture<S>;

    /// As the circuit breaker's: while a record would be rejected, it is ready at once.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.composed.poll_ready(cx)
    }

    /// Makes the first attempt at once: call order is the order of the first attempts.
    #[inline]
    fn call(&mut self, mut record: Record) -> Self::Future {
        self.composed.pick(&mut record);
        let breaker = self.composed.get_mut();
        let admitted = match breaker.admit() {
            Ok(admitted) => Unsettled(&self.shared.breaker, Some(admitted)),
            Err(error) => return RecordStackFuture::rejected(error, Send::rejected(&self.shared)),
        };
        let retry = breaker.get_mut();
        let kept = retry.keeps(&record).then(|| Box::new(record.clone()));
        let bytes = record.size();
        let first = retry.get_mut().call(record);
        // A transport has the record: the answer comes later. Over a service that tells nothing, the future watches when it waits.
        if handover::was_told() {
            self.shared.breaker.watch();
        }
        RecordStackFuture::called(first, Send::new(&self.shared, admitted.take(), bytes, kept))
    }
}

/// A call that was admitted. If the service below panics, the call is neutral, and frees the place of a probe.
struct Unsettled<'a>(&'a Arc<BreakerInner>, Option<Admitted>);

impl Unsettled<'_> {
    #[inline]
    fn take(mut self) -> Option<Admitted> {
        self.1.take()
    }
}

impl Drop for Unsettled<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(admitted) = self.1.take() {
            drop(admitted.admission(self.0));
        }
    }
}

impl<S: Clone> Clone for RecordStack<S> {
    fn clone(&self) -> Self {
        Self::new(self.composed.clone(), self.metrics.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for RecordStack<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStack").field("inner", &self.composed).finish_non_exhaustive()
    }
}
