use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result};
use tower_service::Service;

use super::TracedFuture;
use super::layer::Sink;
use super::open::Open;
use crate::Outgoing;

/// Traces and measures the sends through a service. Made by [`TelemetryLayer`](super::TelemetryLayer).
#[derive(Clone)]
pub struct Traced<S> {
    inner: S,
    sink: Arc<Sink>,
}

impl<S> Traced<S> {
    pub(super) fn new(inner: S, sink: Arc<Sink>) -> Self {
        Self { inner, sink }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, to change.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service below out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R> Service<R> for Traced<S>
where
    S: Service<R, Response = Delivery>,
    S::Error: Into<Error>,
    R: Outgoing,
{
    type Response = Delivery;
    type Error = Error;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let open = Open::begin(&self.sink, &mut request);
        let inner = {
            let _current = open.as_ref().and_then(Open::attach);
            self.inner.call(request)
        };
        TracedFuture::new(inner, open)
    }
}

impl<S: fmt::Debug> fmt::Debug for Traced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("inner", &self.inner).finish_non_exhaustive()
    }
}
