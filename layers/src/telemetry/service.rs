use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result};
use tower_service::Service;

use super::TracedFuture;
use super::scope::is_anything_current;
use super::send_span::SendSpan;
use super::sink::Sink;
use crate::MessageHead;

/// Service that traces and measures sends. Created by [`TelemetryLayer`](super::TelemetryLayer).
pub struct Traced<S> {
    inner: S,
    sink: Arc<Sink>,
    /// Number of sends until global providers are looked up again, while nothing is recorded.
    quiet_for: u32,
    /// The same, while something is recorded. At least one of the two is 0.
    until_look: u32,
}

impl<S> Traced<S> {
    pub(super) fn new(inner: S, sink: Arc<Sink>) -> Self {
        let telemetry = &sink.telemetry.0;
        let quiet_for = if telemetry.is_quiet() { telemetry.looks.of_new_service() } else { 0 };
        Self { inner, sink, quiet_for, until_look: 0 }
    }

    inner_service!();

    #[inline(never)]
    fn call_recorded<R>(&mut self, mut request: R) -> TracedFuture<S::Future>
    where
        S: Service<R>,
        R: MessageHead,
    {
        let telemetry = &self.sink.telemetry.0;
        let left = self.quiet_for.max(self.until_look).checked_sub(1).unwrap_or_else(|| telemetry.look());
        (self.quiet_for, self.until_look) = if telemetry.is_quiet() { (left, 0) } else { (0, left) };
        let span = SendSpan::begin(&self.sink, &mut request);
        let inner = {
            let _current = span.as_ref().and_then(SendSpan::attach);
            self.inner.call(request)
        };
        TracedFuture::new(inner, span)
    }
}

impl<S, R> Service<R> for Traced<S>
where
    S: Service<R, Response = Delivery>,
    S::Error: Into<Error>,
    R: MessageHead,
{
    type Response = Delivery;
    type Error = Error;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        // A separate path that moves the request directly, because `call_recorded` borrows it.
        if self.quiet_for > 0 && !is_anything_current() {
            self.quiet_for -= 1;
            return TracedFuture::new(self.inner.call(request), None);
        }
        self.call_recorded(request)
    }
}

impl<S: Clone> Clone for Traced<S> {
    fn clone(&self) -> Self {
        // A new schedule: another clone may have found a provider.
        Self::new(self.inner.clone(), Arc::clone(&self.sink))
    }
}

impl<S: fmt::Debug> fmt::Debug for Traced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("inner", &self.inner).finish_non_exhaustive()
    }
}
