//! A second signal, which ends a shutdown at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

/// Asks for the next signal.
pub(super) type Signal = Box<dyn FnMut(&mut Context<'_>) -> Poll<()> + Send>;

/// The end of a future, which comes once.
pub(super) fn once<S: Future + Send + 'static>(signal: S) -> Signal {
    let mut signal = Some(Box::pin(signal));
    Box::new(move |cx| {
        let Some(pending) = &mut signal else { return Poll::Pending };
        drop(ready!(pending.as_mut().poll(cx)));
        signal = None;
        Poll::Ready(())
    })
}

/// Whether a shutdown is to end at once.
pub(super) struct Hurry {
    /// The signal that begins it is still to come: the server has ended by itself.
    first: bool,
    begins: Signal,
    at_once: Vec<Signal>,
    raised: watch::Sender<bool>,
}

impl Hurry {
    /// The second of the signals that `begins` asks for raises it, or any of `at_once`. `came`: the first one has come.
    pub(super) fn new(begins: Signal, came: bool, at_once: Vec<Signal>) -> Self {
        Self { first: !came, begins, at_once, raised: watch::Sender::new(false) }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_raised() {
            if self.first && (self.begins)(cx).is_ready() {
                self.first = false;
            }
            let again = !self.first && (self.begins)(cx).is_ready();
            if !again && !self.at_once.iter_mut().any(|signal| signal(cx).is_ready()) {
                return Poll::Pending;
            }
            self.raised.send_replace(true);
            tracing::warn!("a second signal: shutting down at once");
        }
        Poll::Ready(())
    }

    pub(super) fn is_raised(&self) -> bool {
        *self.raised.borrow()
    }

    pub(super) fn subscribe(&self) -> Hurried {
        Hurried(self.raised.subscribe())
    }
}

/// What a part of the shutdown knows of [`Hurry`].
pub(super) struct Hurried(watch::Receiver<bool>);

impl Hurried {
    /// Waits for `closed`, and when it has to end at once, for `at_once` beside it, which may have the result before.
    pub(super) async fn run<T>(
        mut self,
        closed: impl Future<Output = T>,
        at_once: impl Future<Output = Option<T>>,
    ) -> T {
        let mut closed = pin!(closed);
        let mut at_once = pin!(async move {
            // An error: the shutdown was dropped.
            if self.0.wait_for(|raised| *raised).await.is_ok() { at_once.await } else { None }
        });
        let mut has_ended = false;
        poll_fn(|cx| {
            if let Poll::Ready(result) = closed.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if has_ended {
                return Poll::Pending;
            }
            let early = ready!(at_once.as_mut().poll(cx));
            has_ended = true;
            early.map_or_else(|| closed.as_mut().poll(cx), Poll::Ready)
        })
        .await
    }
}
