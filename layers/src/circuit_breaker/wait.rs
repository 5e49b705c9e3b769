use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::admission::Admission;

/// State of a service that is not ready while the breaker is open.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// Taken in `poll_ready`, spent in `call`.
    admission: Option<Admission>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Whether the next call is admitted. Gives an admission of an earlier period back.
    pub(super) fn is_admitted(&mut self) -> bool {
        self.admission = self.admission.take().filter(Admission::is_current);
        self.admission.is_some()
    }

    pub(super) fn admit(&mut self, admission: Admission) {
        (self.admission, self.timer) = (Some(admission), None);
    }

    /// The admission of the call that begins now.
    pub(super) fn take(&mut self) -> Option<Admission> {
        let admission = self.admission.take();
        admission.iter().for_each(Admission::called);
        admission
    }

    /// Waits until `at`, or for a wake-up by a change only.
    pub(super) fn poll(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}
