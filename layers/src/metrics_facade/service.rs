use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result};
use tokio::time::Instant;
use tower_service::Service;

use super::{FacadeFuture, FacadeLayer};
use crate::Outgoing;

/// Service that counts sends with the `metrics` crate. Created by [`FacadeLayer`].
#[derive(Clone, Debug)]
pub struct Facade<S> {
    inner: S,
    layer: FacadeLayer,
}

impl<S> Facade<S> {
    pub(super) fn new(inner: S, layer: FacadeLayer) -> Self {
        Self { inner, layer }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutable.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the service below.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R> Service<R> for Facade<S>
where
    S: Service<R, Response = Delivery>,
    S::Error: Into<Error>,
    R: Outgoing,
{
    type Response = Delivery;
    type Error = Error;
    type Future = FacadeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let topic = self.layer.topic_of(request.topic());
        // Before the call, because the duration includes the work inside it, such as encoding.
        let called = Instant::now();
        FacadeFuture::new(self.inner.call(request), topic, called)
    }
}
