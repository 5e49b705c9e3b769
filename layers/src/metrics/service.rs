use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Record, Result};
use tokio::time::Instant;
use tower_service::Service;

use super::shard::Shard;
use super::{CountBytesFuture, MeteredFuture, Metrics};

/// Service that counts sends and their latency. Created by [`MetricsLayer`](super::MetricsLayer).
pub struct Metered<S> {
    inner: S,
    metrics: Metrics,
    /// Of the thread that made this handle.
    shard: Arc<Shard>,
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
        MeteredFuture::new(self.inner.call(request), Arc::clone(&self.shard), called)
    }
}

impl<S> Metered<S> {
    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Service that counts the bytes of delivered records. Created by [`CountBytesLayer`](super::CountBytesLayer).
pub struct CountBytes<S> {
    inner: S,
    metrics: Metrics,
    /// Of the thread that made this handle.
    shard: Arc<Shard>,
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
        CountBytesFuture::new(self.inner.call(record), Arc::clone(&self.shard), bytes)
    }
}

/// What the services that count have in common. Each clone counts in memory of the thread that makes it.
macro_rules! counts {
    ($service:ident) => {
        impl<S> $service<S> {
            pub(super) fn new(inner: S, metrics: Metrics) -> Self {
                let shard = Arc::clone(metrics.shard());
                Self { inner, metrics, shard }
            }

            inner_service!();
        }

        impl<S: Clone> Clone for $service<S> {
            fn clone(&self) -> Self {
                Self::new(self.inner.clone(), self.metrics.clone())
            }
        }

        impl<S: fmt::Debug> fmt::Debug for $service<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($service))
                    .field("inner", &self.inner)
                    .field("metrics", &self.metrics)
                    .finish()
            }
        }
    };
}

counts!(Metered);
counts!(CountBytes);
