//! The futures of the records of a transaction, in order.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Futures that are polled from the first to the last. They are pinned in boxes, which the next transaction uses again:
/// a box for each record would be memory that is freed only with the whole batch.
pub(super) struct Open<F> {
    boxes: Vec<Pin<Box<Option<F>>>>,
    /// Number of futures that were ready.
    ready: usize,
    /// Number of futures that were pushed.
    pushed: usize,
}

impl<F> Default for Open<F> {
    fn default() -> Self {
        Self { boxes: Vec::new(), ready: 0, pushed: 0 }
    }
}

impl<F: Future> Open<F> {
    pub(super) fn push(&mut self, future: F) {
        match self.boxes.get_mut(self.pushed) {
            Some(place) => place.set(Some(future)),
            None => self.boxes.push(Box::pin(Some(future))),
        }
        self.pushed += 1;
    }

    /// Polls the first one that was not ready. `None` if there is none.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Option<Poll<F::Output>> {
        let first = self.boxes[..self.pushed].get_mut(self.ready)?;
        let poll = first.as_mut().as_pin_mut()?.poll(cx);
        if poll.is_ready() {
            first.set(None);
            self.ready += 1;
        }
        Some(poll)
    }

    /// Drops the futures, and keeps at most this many boxes.
    pub(super) fn clear(&mut self, keep: usize) {
        self.boxes.truncate(keep);
        self.boxes.iter_mut().take(self.pushed).skip(self.ready).for_each(|place| place.set(None));
        (self.ready, self.pushed) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    fn next<F: Future>(open: &mut Open<F>) -> Option<Poll<F::Output>> {
        open.poll_first(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn futures_are_ready_in_order_and_their_boxes_are_used_again() {
        let mut open: Open<Ready<u32>> = Open::default();
        for round in 0..3 {
            open.push(ready(round));
            assert_eq!(next(&mut open), Some(Poll::Ready(round)));
            assert_eq!(next(&mut open), None);
            (1..5).for_each(|i| open.push(ready(round + i)));
            (1..5).for_each(|i| assert_eq!(next(&mut open), Some(Poll::Ready(round + i))));
            assert_eq!(next(&mut open), None);
            open.clear(4);
            assert_eq!(open.boxes.len(), 4);
        }
    }

    #[test]
    fn a_clear_drops_what_is_not_ready() {
        let (held, mut open) = (Arc::new(()), Open::default());
        for _ in 0..4 {
            let held = Arc::clone(&held);
            open.push(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        assert_eq!(next(&mut open), Some(Poll::Pending));
        open.clear(2);
        assert_eq!((Arc::strong_count(&held), next(&mut open)), (1, None));
    }
}
