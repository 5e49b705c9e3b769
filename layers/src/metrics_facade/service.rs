use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result};
use tokio::time::Instant;
use tower_service::Service;

use super::MetricsFacadeFuture;
use super::counters::SinkCounters;
use crate::MessageHead;

/// Service that counts sends with the `metrics` crate. Created by
/// [`MetricsFacadeLayer`](super::MetricsFacadeLayer).
#[derive(Clone, Debug)]
pub struct MetricsFacade<S> {
    inner: S,
    sink: SinkCounters,
}

impl<S> MetricsFacade<S> {
    pub(super) fn new(inner: S, sink: SinkCounters) -> Self {
        Self { inner, sink }
    }

    inner_service!();
}

impl<S, R> Service<R> for MetricsFacade<S>
where
    S: Service<R, Response = Delivery>,
    S::Error: Into<Error>,
    R: MessageHead,
{
    type Response = Delivery;
    type Error = Error;
    type Future = MetricsFacadeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let topic = self.sink.topic_of(request.topic());
        // Before the call, because the duration includes the work inside it, such as encoding.
        let called = Instant::now();
        MetricsFacadeFuture::new(self.inner.call(request), topic, called)
    }
}
