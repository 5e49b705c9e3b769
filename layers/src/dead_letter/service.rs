use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Error, Record, Result, clock};
use tokio::time::Instant;
use tower_service::Service;

use super::decide::{Settings, letter};
use super::{DeadLetterFuture, FailedRecord};

/// Service that sends failed records to a dead letter topic. Created by [`DeadLetterLayer`](super::DeadLetterLayer).
#[derive(Clone, Debug)]
pub struct DeadLetter<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> DeadLetter<S> {
    pub(super) fn new(inner: S, settings: Settings) -> Self {
        Self { inner, settings: Arc::new(settings) }
    }

    inner_service!();
}

impl<S> Service<FailedRecord> for DeadLetter<S>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = DeadLetterFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, failed: FailedRecord) -> Self::Future {
        // A clone holds no room that the ready service has reserved.
        let unready = self.inner.clone();
        let letter = match letter(&self.settings, failed) {
            Ok(letter) => letter,
            Err(error) => {
                self.inner = unready;
                return DeadLetterFuture::refused(error);
            }
        };
        let expires_at = clock::later(Instant::now().into_std(), self.settings.timeout);
        let letter = letter.with_expires_at(expires_at).with_given(self.settings.timeout);
        DeadLetterFuture::new(self.inner.call(letter.clone()), letter, unready)
    }
}
