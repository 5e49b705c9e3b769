use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Record, Result};
use tokio::time::Instant;
use tower_service::Service;

use super::{CountBytesFuture, MeteredFuture, Metrics};

/// Service that counts sends and their latency. Created by [`MetricsLayer`](super::MetricsLayer).
#[derive(Clone, Debug)]
pub struct Metered<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, R> Service<R> for Metered<S>
where
    S: Service<R, Response = Delivery>,
    S::Error: Into<Error>,
{
    type Response = Delivery;
    type Error = Error;
    type Future = MeteredFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // Before the call, because the latency includes the work inside it, such as encoding.
        let called = Instant::now();
        MeteredFuture::new(self.inner.call(request), self.metrics.clone(), called)
    }
}

impl<S> Metered<S> {
    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Service that counts the bytes of delivered records. Created by [`CountBytesLayer`](super::CountBytesLayer).
#[derive(Clone, Debug)]
pub struct CountBytes<S> {
    inner: S,
    metrics: Metrics,
}

impl<S: Service<Record>> Service<Record> for CountBytes<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = CountBytesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        let bytes = record.size() as u64;
        CountBytesFuture::new(self.inner.call(record), self.metrics.clone(), bytes)
    }
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    inner_service!();
}

impl<S> CountBytes<S> {
    pub(super) fn new(inner: S, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    inner_service!();
}
