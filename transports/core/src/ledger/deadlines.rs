//! Deadlines of records, in one queue. A record is in it until it is settled: first with its deadline, then with the
//! bound of its delivery.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Slot;
use super::tenant::Tenants;

/// Deadlines in order. Most arrive in order, because most records have the same time budget; those cost a push to a
/// ring. The queue holds no records: a record that is no longer held elsewhere is freed at once, and its entry when it
/// reaches the front, or in a clean-up of all entries when there are many.
pub(super) struct Deadlines<A> {
    in_order: VecDeque<(Instant, Weak<Slot<A>>)>,
    out_of_order: BinaryHeap<Reverse<Entry<A>>>,
    /// Records of tenants that have no deadline ahead of them.
    without: Vec<Weak<Slot<A>>>,
    pub(super) tenants: Tenants,
    /// No deadline is before this one.
    earliest: Option<Instant>,
    /// Number of entries from which a clean-up is done.
    clean_at: usize,
    /// Settled records, to be freed by threads that push.
    settled: VecDeque<Arc<Slot<A>>>,
    /// Whether a record was pushed since the last call of [`take_stale`](Self::take_stale).
    pushed: bool,
}

struct Entry<A>(Instant, Weak<Slot<A>>);

impl<A> PartialEq for Entry<A> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<A> Eq for Entry<A> {}

impl<A> PartialOrd for Entry<A> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<A> Ord for Entry<A> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<A> Default for Deadlines<A> {
    fn default() -> Self {
        Self {
            in_order: VecDeque::new(),
            out_of_order: BinaryHeap::new(),
            without: Vec::new(),
            tenants: Tenants::default(),
            earliest: None,
            clean_at: 0,
            settled: VecDeque::new(),
            pushed: false,
        }
    }
}

const LEAST_CLEAN_AT: usize = 1_024;
/// Number of entries searched for the oldest record.
const LOOK_AT: usize = 64;

/// Returns whether no caller waits for it and the transport does not have it. Soon true of a settled record, and cheap to
/// check.
fn is_gone<A>(slot: &Weak<Slot<A>>) -> bool {
    slot.strong_count() == 0
}

impl<A> Deadlines<A> {
    /// Adds a deadline. Returns whether it is before all others.
    pub(super) fn push(&mut self, at: Instant, slot: &Arc<Slot<A>>) -> bool {
        self.pushed = true;
        let slot = Arc::downgrade(slot);
        self.pop_gone(2);
        if self.in_order.back().is_none_or(|(last, _)| *last <= at) {
            self.in_order.push_back((at, slot));
        } else {
            self.out_of_order.push(Reverse(Entry(at, slot)));
        }
        // One old record that does not settle must not keep the entries of all later ones.
        if self.len() > self.clean_at.max(LEAST_CLEAN_AT) {
            self.in_order.retain(|(_, slot)| !is_gone(slot));
            self.out_of_order.retain(|Reverse(Entry(_, slot))| !is_gone(slot));
            self.clean_at = self.len() * 2;
        }
        self.is_first(at)
    }

    /// Watches a record of a tenant without a deadline.
    pub(super) fn keep(&mut self, slot: &Arc<Slot<A>>) {
        if self.without.len() == self.without.capacity() {
            self.without.retain(|slot| !is_gone(slot));
        }
        self.without.push(Arc::downgrade(slot));
    }

    /// Adds a deadline that belongs to no record. Returns whether it is before all others.
    pub(super) fn is_first(&mut self, at: Instant) -> bool {
        let first = self.earliest.is_none_or(|earliest| at < earliest);
        if first {
            self.earliest = Some(at);
        }
        first
    }

    pub(super) fn defer_drop(&mut self, settled: &mut Vec<Arc<Slot<A>>>) {
        self.settled.extend(settled.drain(..));
    }

    /// Takes two settled records per pushed one, so that they do not pile up and no thread frees many at once.
    pub(super) fn take_settled(&mut self) -> [Option<Arc<Slot<A>>>; 2] {
        [self.settled.pop_front(), self.settled.pop_front()]
    }

    /// Takes the settled records, if no record was pushed since the last call.
    pub(super) fn take_stale(&mut self) -> Option<VecDeque<Arc<Slot<A>>>> {
        (!std::mem::take(&mut self.pushed)).then(|| self.take_all_settled())
    }

    pub(super) fn take_all_settled(&mut self) -> VecDeque<Arc<Slot<A>>> {
        std::mem::take(&mut self.settled)
    }

    /// Removes up to `at_most` entries from the front whose records are no longer held.
    pub(super) fn pop_gone(&mut self, at_most: usize) {
        for _ in 0..at_most {
            if !self.in_order.front().is_some_and(|(_, slot)| is_gone(slot)) {
                return;
            }
            self.in_order.pop_front();
        }
    }

    /// Returns all records that are still held.
    pub(super) fn all(&self) -> Vec<Arc<Slot<A>>> {
        let out_of_order = self.out_of_order.iter().map(|Reverse(Entry(_, slot))| slot);
        let without = self.without.iter();
        self.in_order
            .iter()
            .map(|(_, slot)| slot)
            .chain(out_of_order)
            .chain(without)
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn len(&self) -> usize {
        self.in_order.len() + self.out_of_order.len()
    }

    /// Returns when to sweep next: no deadline is before that. It may belong to a settled record, because entries are
    /// freed by the threads that push.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while self.out_of_order.peek().is_some_and(|Reverse(Entry(_, slot))| is_gone(slot)) {
            self.out_of_order.pop();
        }
        let in_order = self.in_order.front().map(|(at, _)| *at);
        let out_of_order = self.out_of_order.peek().map(|Reverse(Entry(at, _))| *at);
        self.earliest = [in_order, out_of_order, self.tenants.next()].into_iter().flatten().min();
        self.earliest
    }

    /// Makes the next push the first one.
    pub(super) fn forget_next(&mut self) {
        self.earliest = None;
    }

    /// Returns the oldest records that may have no answer yet, one of each order.
    pub(super) fn oldest(&self) -> [Option<Arc<Slot<A>>>; 2] {
        // Settled ones at the front are removed by pushes, or within 2 s.
        let in_order = self.in_order.iter().take(LOOK_AT).find_map(|(_, slot)| slot.upgrade());
        [in_order, self.out_of_order.peek().and_then(|Reverse(Entry(_, slot))| slot.upgrade())]
    }

    /// Takes out a record whose deadline has passed.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Arc<Slot<A>>> {
        while self.in_order.front().is_some_and(|(at, _)| *at <= now) {
            if let Some(slot) = self.in_order.pop_front().and_then(|(_, slot)| slot.upgrade()) {
                return Some(slot);
            }
        }
        while self.out_of_order.peek().is_some_and(|Reverse(Entry(at, _))| *at <= now) {
            if let Some(slot) = self.out_of_order.pop().and_then(|Reverse(Entry(_, slot))| slot.upgrade()) {
                return Some(slot);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wakers::wake;
    use crate::{Delivery, Error, ErrorKind, Record};

    fn slot(name: usize, now: Instant) -> Arc<Slot<Delivery>> {
        Arc::new(Slot::new(Record::new(name.to_string()), now))
    }

    proptest! {
        /// Records come out by deadline and never early, whatever order they were pushed in.
        #[test]
        fn deadlines_come_out_in_order(offsets in prop::collection::vec(0..50u64, 0..100)) {
            let start = Instant::now();
            let mut queue = Deadlines::default();
            let slots: Vec<_> = (0..offsets.len()).map(|i| slot(i, start)).collect();
            let mut earliest = None;
            for (slot, offset) in slots.iter().zip(&offsets) {
                let at = start + Duration::from_millis(*offset);
                prop_assert_eq!(queue.push(at, slot), earliest.is_none_or(|earliest| at < earliest));
                earliest = Some(earliest.map_or(at, |earliest: Instant| earliest.min(at)));
            }
            let mut sorted = offsets.clone();
            sorted.sort_unstable();
            prop_assert_eq!(queue.next(), sorted.first().map(|ms| start + Duration::from_millis(*ms)));
            let mut out = Vec::new();
            for ms in 0..50 {
                while let Some(slot) = queue.pop(start + Duration::from_millis(ms)) {
                    let i: usize = slot.record().topic.parse().unwrap();
                    prop_assert_eq!(offsets[i], ms);
                    out.push(ms);
                }
            }
            prop_assert_eq!(out, sorted);
        }
    }

    #[test]
    fn settled_records_are_freed_by_pushes_or_when_there_are_none() {
        let now = Instant::now();
        let mut queue = Deadlines::default();
        let mut settled: Vec<_> = (0..3).map(|i| slot(i, now)).collect();
        let last = Arc::downgrade(&settled[2]);
        queue.push(now, &slot(3, now));
        queue.defer_drop(&mut settled);
        assert!(settled.is_empty() && queue.take_stale().is_none(), "a record was pushed");
        assert!(queue.take_settled().iter().all(Option::is_some));
        assert_eq!(queue.take_stale().map(|left| left.len()), Some(1), "none was pushed");
        assert_eq!(last.strong_count(), 0);
    }

    #[test]
    fn one_stuck_record_does_not_keep_those_behind_it() {
        let now = Instant::now();
        let mut queue = Deadlines::default();
        let stuck = slot(0, now);
        queue.push(now, &stuck);
        for i in 1..100_000 {
            let settled = slot(i, now);
            let _never_admitted = settled.settle(Err(Error::new(ErrorKind::Closed, "settled")), None, wake);
            queue.push(now + Duration::from_secs(1), &settled);
            assert_eq!(Arc::strong_count(&settled), 1, "it holds no record");
        }
        assert!(queue.len() <= LEAST_CLEAN_AT + 1, "{}", queue.len());
    }
}
