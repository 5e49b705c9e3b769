//! Dead letters that are sent in the background.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Result};
use kafka_tower_layers::dead_letter::FailedRecord;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower_service::Service;

use super::log::Event;
use super::{Acked, Receipt, SourceError};

/// Maximum number of dead letters of a reader that are sent at the same time.
const MAX_UNDER_WAY: usize = 64;

type Sending = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A dead letter service of any type.
#[derive(Clone)]
pub(super) struct LetterService(Arc<dyn Fn(FailedRecord) -> Sending + Send + Sync>);

impl fmt::Debug for LetterService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LetterService")
    }
}

impl LetterService {
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<FailedRecord> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Error>,
    {
        let service = Mutex::new(service);
        Self(Arc::new(move |failed| {
            let service = lock(&service).clone();
            Box::pin(send(service, failed))
        }))
    }
}

/// Waits until the service is ready, and sends a dead letter. `Ok` if it is delivered.
pub(super) async fn send<S>(mut service: S, failed: FailedRecord) -> Result<()>
where
    S: Service<FailedRecord>,
    S::Error: Into<Error>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    service.call(failed).await.map(drop).map_err(Into::into)
}

/// The dead letters of a reader, or of `serve`. Each has a task of its own: a drain waits for it, and it goes on even if the
/// application does not call `recv`. `C` is what the owner wants to know when one has ended.
pub(super) struct Letters<C> {
    service: LetterService,
    runtime: Handle,
    under_way: usize,
    ended: (UnboundedSender<Ended<C>>, UnboundedReceiver<Ended<C>>),
}

/// A dead letter has ended: with an error if its record is not settled and its partition waits.
type Ended<C> = (C, Option<SourceError>);

impl<C: Send + 'static> Letters<C> {
    pub(super) fn new(service: LetterService, runtime: Handle) -> Self {
        Self { service, runtime, under_way: 0, ended: unbounded_channel() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way < MAX_UNDER_WAY
    }

    /// Sends a dead letter, and settles its record when it is delivered, and not before.
    pub(super) fn send(&mut self, failed: FailedRecord, receipt: Receipt, context: C) {
        self.under_way += 1;
        let mut report = Report { to: self.ended.0.clone(), ended: Some((context, None)) };
        let service = self.service.clone();
        // If the task ends early, also by a panic of the service, the receipt is dropped: the record is read again.
        self.runtime.spawn(async move {
            let result = (service.0)(failed.clone()).await;
            let error = settle(failed, receipt, result);
            if let Some(ended) = &mut report.ended {
                ended.1 = error;
            }
        });
    }

    /// The next dead letter that has ended. Pending also if none is under way.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended<C>> {
        let ended = self.ended.1.poll_recv(cx);
        match ended {
            Poll::Ready(Some(ended)) => {
                self.under_way -= 1;
                Poll::Ready(ended)
            }
            // This value keeps a sender.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Reports the end of a dead letter, also if its task is dropped.
struct Report<C> {
    to: UnboundedSender<Ended<C>>,
    ended: Option<Ended<C>>,
}

impl<C> Drop for Report<C> {
    fn drop(&mut self) {
        // The receiver is gone if the source was dropped. Then the error is dropped, and the record is read again.
        let _ = self.ended.take().map(|ended| self.to.send(ended));
    }
}

/// Settles the record of a dead letter that is delivered.
pub(super) fn delivered(failed: &FailedRecord, receipt: &Receipt) -> Acked {
    let acked = receipt.dead_lettered();
    if acked == Acked::Counted {
        receipt.log(Event::DeadLettered, None, Some(&failed.reason));
    } else {
        tracing::debug!(partition = %receipt.at(), offset = receipt.offset(), "a dead letter was late: its record is read again");
    }
    acked
}

/// Settles the record of a dead letter whose send has ended. An error holds a record that is not settled.
fn settle(failed: FailedRecord, receipt: Receipt, result: Result<()>) -> Option<SourceError> {
    let Err(error) = result else {
        delivered(&failed, &receipt);
        return None;
    };
    receipt.log(Event::DeadLetterFailed, None, Some(&error.message()));
    // Otherwise it is not ours any more: its next owner reads it again.
    receipt.reject().then(|| SourceError::dead_letter_failed(failed, receipt, error))
}
