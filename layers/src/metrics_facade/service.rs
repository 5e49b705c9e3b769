use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result};
use tokio::time::Instant;
use tower_service::Service;

use super::{FacadeFuture, FacadeLayer};
use crate::Outgoing;

/// Counts the sends through a service with the `metrics` crate. Made by [`FacadeLayer`].
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

    /// The service below, to change.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service below out.
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
        // Before the call: what it does at once, as encoding, is part of the time.
        let called = Instant::now();
        FacadeFuture::new(self.inner.call(request), topic, called)
    }
}
