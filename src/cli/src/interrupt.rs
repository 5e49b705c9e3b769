//! Ctrl-C and SIGTERM: the first asks the command to end, the second ends the process.

use std::future::Future;

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
        tokio::spawn(async move {
            let end = signal().await;
            raise.send_replace(Some(end));
            std::process::exit(signal().await.code().into());
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

/// The next signal. A signal that cannot be listened to never comes.
#[cfg(unix)]
async fn signal() -> End {
    use tokio::signal::unix::{SignalKind, signal};

    let next = |kind, number| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
        End::Interrupted(number)
    };
    tokio::select! {
        end = next(SignalKind::interrupt(), 2) => end,
        end = next(SignalKind::terminate(), 15) => end,
    }
}

#[cfg(not(unix))]
async fn signal() -> End {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    End::Interrupted(2)
}
