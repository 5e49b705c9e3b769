//! Times at which a record times out, or is handled again.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use super::lanes::Ticket;
use crate::source::shared::now;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The record in this slot takes too long.
    TimeOut(usize),
    /// This record is handled again.
    Resume(Ticket),
}

/// Alarms in the order of their times, with one timer for all.
#[derive(Default)]
pub(super) struct Alarms {
    set: BTreeSet<(Instant, Alarm)>,
    /// It may end before the first alarm: then it is set again.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarms {
    pub(super) fn add(&mut self, at: Instant, alarm: Alarm) {
        self.set.insert((at, alarm));
    }

    pub(super) fn remove(&mut self, at: Instant, alarm: Alarm) {
        self.set.remove(&(at, alarm));
    }

    /// Removes and returns the next alarm whose time has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Alarm> {
        loop {
            let Some((first, _)) = self.set.first() else { return Poll::Pending };
            let first = tokio::time::Instant::from_std(*first);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(first)));
            if timer.deadline() > first {
                timer.as_mut().reset(first);
            }
            ready!(timer.as_mut().poll(cx));
            if first.into_std() > now() {
                timer.as_mut().reset(first);
                continue;
            }
            if let Some((_, alarm)) = self.set.pop_first() {
                return Poll::Ready(alarm);
            }
        }
    }
}
