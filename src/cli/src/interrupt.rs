//! Ctrl-C and SIGTERM: the first asks the command to end, the second ends the process.

use std::future::Future;
#[cfg(unix)]
use std::task::Poll;

use tokio::sync::watch;

use crate::exit::End;

/// Tells whether the command was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    raised: watch::Receiver<Option<End>>,
}

impl Interrupt {
    /// Listens from now on. In a tokio runtime only.
    pub(crate) fn listen() -> Self {
        let (raise, raised) = watch::channel(None);
        let mut signals = Signals::listen();
        tokio::spawn(async move {
            let end = signals.next().await;
            raise.send_replace(Some(end));
            std::process::exit(signals.next().await.code().into());
        });
        Self { raised }
    }

    /// How the process ends because of the signal, if there was one.
    pub(crate) fn end(&self) -> Option<End> {
        *self.raised.borrow()
    }

    /// Resolves after the first signal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(crate) fn raised(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut raised = self.raised.clone();
        async move {
            if raised.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The signals from the call of `listen` on: none is missed between two of them. One that cannot be listened to never comes.
#[cfg(unix)]
struct Signals([(Option<tokio::signal::unix::Signal>, u8); 2]);

#[cfg(unix)]
impl Signals {
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(
            [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)]
                .map(|(kind, number)| (signal(kind).ok(), number)),
        )
    }

    async fn next(&mut self) -> End {
        std::future::poll_fn(|cx| {
            let raised = self.0.iter_mut().find_map(|(signal, number)| {
                let is_ready = signal.as_mut()?.poll_recv(cx).is_ready();
                is_ready.then_some(End::Interrupted(*number))
            });
            raised.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Self {
        Self
    }

    async fn next(&mut self) -> End {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        End::Interrupted(2)
    }
}
