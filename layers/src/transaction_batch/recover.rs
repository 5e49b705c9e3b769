//! Brings a lane back whose last transaction has no clean end. Its records have their outcomes, and later ones wait.

use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::{Delivery, Error, Record, Result};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::decide::{Left, Recover, backoff};
use super::errors;
use super::worker::{Panicked, Worker, caught};

/// Maximum time for the close of a transport that is replaced.
const CLOSE: Duration = Duration::from_secs(2);

impl<S> Worker<S>
where
    S: Service<Record, Response = Delivery> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
{
    /// Ends what is left of the last transaction, or replaces the transport, until the next one may begin, or nothing is
    /// left to do. The records that wait keep their deadlines.
    ///
    /// # Errors
    ///
    /// The last one, if the lane cannot take more records.
    pub(super) async fn recover(&mut self, left: Left, mut cause: Error) -> Result<()> {
        let (mut left, mut is_closed) = (left, false);
        for tries in 0_u32.. {
            match self.after_unclean(left, &cause) {
                _ if self.inner.has_ended() => break,
                Recover::Finish if !is_closed => return Err(cause),
                Recover::Ended => break,
                Recover::Again(next) => left = next,
                // Once the transport is closed, it is replaced whatever the reason was.
                Recover::Replace | Recover::Finish => left = Left::Nothing,
            }
            self.announce(&cause, tries);
            if tries > 0 {
                self.pause(backoff(tries - 1)).await;
            }
            let timeout = self.inner.settings.timeout;
            let answer = caught(async {
                match left {
                    Left::Commit => self.transactions.commit(timeout).await,
                    Left::Abort => self.transactions.abort(timeout).await,
                    Left::Nothing => self.replace(&mut is_closed).await,
                }
            });
            match answer.await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => cause = error,
                // It is no use calling it again.
                Err(Panicked) => left = Left::Nothing,
            }
        }
        self.lane().set_trouble(None);
        Ok(())
    }

    fn announce(&self, cause: &Error, tries: u32) {
        let text = format!("its lane cannot begin a transaction: {}", cause.message());
        self.lane().set_trouble(Some(text.into()));
        tracing::warn!(
            lane = self.lane,
            tries,
            error.type = cause.error_type(),
            error = cause.message(),
            "a transaction has no clean end: its lane sends nothing until it has"
        );
    }

    /// Waits. Ends early if nothing is left to do.
    async fn pause(&mut self, time: Duration) {
        let end = Instant::from_std(later(Instant::now().into(), time));
        while !self.inner.has_ended() && timeout_at(end, self.lane().changed.notified()).await.is_ok() {}
    }

    /// Puts a new transport with the same transactional id into the place of the lane's.
    async fn replace(&mut self, is_closed: &mut bool) -> Result<()> {
        let connect = self.connect.clone().ok_or_else(errors::no_transactions)?;
        if !std::mem::replace(is_closed, true) {
            // Nothing of it may be sent later. Its report adds nothing: the records have their outcomes.
            drop(self.lane().control().close(CLOSE).await);
        }
        let (service, control) = connect(self.lane).await?;
        let made: Result<_> = async {
            let transactions = control.transactions().ok_or_else(errors::no_transactions)?;
            transactions.init(self.inner.settings.timeout).await?;
            Ok(transactions)
        }
        .await;
        let transactions = match made {
            Ok(transactions) => transactions,
            Err(error) => {
                drop(control.close(CLOSE).await);
                return Err(error);
            }
        };
        (self.prototype, self.transactions) = (service, transactions);
        self.lane().replace(control);
        tracing::info!(lane = self.lane, "the producer of a lane was replaced");
        Ok(())
    }
}
