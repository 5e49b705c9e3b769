use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Error, Record, Result};
use tower_service::Service;

use super::RetryFuture;
use super::inner::RetryInner;

/// Service that retries records. Created by [`RetryLayer`](super::RetryLayer).
#[derive(Clone)]
pub struct Retry<S> {
    inner: S,
    shared: Arc<RetryInner<S>>,
    /// The last profile, and whether its records are never sent again.
    last: (u8, bool),
}

impl<S> Retry<S> {
    pub(super) fn new(inner: S, shared: RetryInner<S>) -> Self {
        let last = (0, shared.never_retries(0));
        Self { inner, shared: Arc::new(shared), last }
    }

    /// Whether a copy of the record must be kept for its retries.
    #[inline]
    pub(crate) fn keeps(&mut self, record: &Record) -> bool {
        if !self.shared.keeps {
            return false;
        }
        if self.last.0 != record.profile() {
            self.last = (record.profile(), self.shared.never_retries(record.profile()));
        }
        !self.last.1
    }

    /// State that the attempts of all records share.
    #[cfg(feature = "record-stack")]
    pub(crate) fn shared(&self) -> &Arc<RetryInner<S>> {
        &self.shared
    }

    inner_service!(" Retries use the service as it was when the layer was applied.");
}

impl<S> Service<Record> for Retry<S>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = RetryFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// Makes the first attempt at once: call order is the order of the first attempts.
    fn call(&mut self, record: Record) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        if !self.keeps(&record) {
            return RetryFuture::new(self.inner.call(record), None, shared);
        }
        // The clone is sent and the record is kept: the other way round copies the record once more.
        let first = self.inner.call(record.clone());
        RetryFuture::new(first, Some(record), shared)
    }
}

impl<S: fmt::Debug> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("policy", &self.shared.policy).field("inner", &self.inner).finish_non_exhaustive()
    }
}
