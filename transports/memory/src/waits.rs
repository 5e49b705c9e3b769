//! What answers wait for: holds that a test releases, and instants. No clock, no lock, no async.

use std::collections::BTreeSet;

use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitId(u64);

#[derive(Debug, Default)]
pub(crate) struct Waits {
    next_id: u64,
    open: BTreeSet<WaitId>,
    timers: BTreeSet<(Instant, WaitId)>,
    /// Instants without a task that ends their waits.
    unwatched: Vec<Instant>,
}

impl Waits {
    /// Opens a wait that [`end`](Self::end) ends.
    pub(crate) fn hold(&mut self) -> WaitId {
        let id = WaitId(self.next_id);
        self.next_id += 1;
        self.open.insert(id);
        id
    }

    /// Opens a wait that ends at an instant.
    pub(crate) fn timer(&mut self, at: Instant) -> WaitId {
        let id = self.hold();
        if self.timers.range((at, WaitId(0))..=(at, WaitId(u64::MAX))).next().is_none() {
            self.unwatched.push(at);
        }
        self.timers.insert((at, id));
        id
    }

    /// Opens a wait that ends at an instant, or never if the instant is out of range.
    pub(crate) fn at(&mut self, at: Option<Instant>) -> WaitId {
        match at {
            Some(at) => self.timer(at),
            None => self.hold(),
        }
    }

    pub(crate) fn end(&mut self, id: WaitId) {
        self.open.remove(&id);
    }

    /// Ends the timers up to an instant.
    pub(crate) fn end_until(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, id));
            self.end(id);
        }
    }

    /// Ends the timers of one instant, and returns them.
    pub(crate) fn end_at(&mut self, at: Instant) -> Vec<WaitId> {
        let timers = self.timers.range((at, WaitId(0))..=(at, WaitId(u64::MAX)));
        let ended: Vec<_> = timers.map(|(_, id)| *id).collect();
        for id in &ended {
            self.timers.remove(&(at, *id));
            self.end(*id);
        }
        ended
    }

    pub(crate) fn is_open(&self, id: Option<WaitId>) -> bool {
        id.is_some_and(|id| self.open.contains(&id))
    }

    /// Takes the instants at which [`end_until`](Self::end_until) must be called.
    pub(crate) fn take_unwatched(&mut self) -> Vec<Instant> {
        std::mem::take(&mut self.unwatched)
    }
}
