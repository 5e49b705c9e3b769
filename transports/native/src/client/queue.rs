//! The records of one partition: those that wait, and the batches without an outcome.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;

use super::batch::{Batch, room};
use crate::partition::Row;
use crate::settings::Settings;
use crate::slot::Slot;

/// A partition of one incarnation of a topic.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    /// Place of its topic.
    pub(crate) topic: usize,
    pub(crate) index: i32,
    pub(crate) leader: Option<i32>,
    /// Epoch of the leader; -1 if it is not known.
    pub(crate) epoch: i32,
    /// The broker that has requests of it without an answer.
    pub(crate) sent_to: Option<i32>,
    /// Records that were not sent, each with its [`room`].
    waiting: VecDeque<(Arc<Slot>, usize)>,
    waiting_bytes: usize,
    pub(crate) row: Row<Batch>,
    /// Number of the last request that it is in.
    pub(crate) request: u64,
    /// It is in the list of its leader.
    pub(crate) listed: bool,
    /// Nothing is sent before.
    pub(crate) wait_until: Option<Instant>,
    /// Refusals in a row.
    pub(crate) failures: u32,
    linger_until: Option<Instant>,
    /// It is listed at this time.
    pub(crate) timer: Option<Instant>,
    /// The topic was deleted and made anew.
    pub(crate) retired: bool,
}

/// Why no new batch is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBatch {
    /// There are no records.
    Empty,
    /// More records may come until then.
    Lingers(Instant),
}

impl PartitionQueue {
    pub(crate) fn new(topic: usize, index: i32, row: Row<Batch>) -> Self {
        Self {
            topic,
            index,
            leader: None,
            epoch: -1,
            sent_to: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            row,
            request: 0,
            listed: false,
            wait_until: None,
            failures: 0,
            linger_until: None,
            timer: None,
            retired: false,
        }
    }

    /// Adds a record behind all others.
    pub(crate) fn push(&mut self, slot: Arc<Slot>, linger: Duration, now: Instant) {
        let room = room(&slot);
        self.push_with_room(slot, room, linger, now);
    }

    /// As [`push`](Self::push), if the record's [`room`] is known.
    #[inline(always)] // it runs for each record
    pub(crate) fn push_with_room(&mut self, slot: Arc<Slot>, room: usize, linger: Duration, now: Instant) {
        if self.waiting.is_empty() && !linger.is_zero() {
            self.linger_until = Some(later(now, linger));
        }
        self.waiting_bytes += room;
        self.waiting.push_back((slot, room));
    }

    /// Whether there is nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.row.is_empty()
    }

    /// Takes the records of the next batch out. Those whose deadline has passed go to `late`. `at_once`: no lingering.
    pub(crate) fn take_batch(
        &mut self,
        settings: &Settings,
        batch_bytes: usize,
        at_once: bool,
        now: Instant,
        late: &mut Vec<Arc<Slot>>,
    ) -> Result<Batch, NoBatch> {
        let full = self.waiting.len() >= settings.batch_records || self.waiting_bytes >= batch_bytes;
        match self.linger_until.filter(|until| !full && !at_once && *until > now) {
            Some(until) if !self.waiting.is_empty() => return Err(NoBatch::Lingers(until)),
            _ => {}
        }
        let most = self.waiting.len().min(settings.batch_records);
        let (mut slots, mut bytes) = (Vec::with_capacity(most), 0_usize);
        while let Some((slot, its)) = self.waiting.front() {
            let (its, alone) = (*its, slot.record().isolated);
            let fits =
                slots.is_empty() || (slots.len() < settings.batch_records && bytes + its <= batch_bytes && !alone);
            if !fits {
                break;
            }
            let Some((slot, _)) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= its;
            if !slot.hand_over(now) {
                late.push(slot);
                continue;
            }
            bytes += its;
            slots.push(slot);
            if alone {
                break;
            }
        }
        self.linger_until = self.linger_until.filter(|_| !self.waiting.is_empty());
        if slots.is_empty() { Err(NoBatch::Empty) } else { Ok(Batch::with_room(slots, bytes)) }
    }

    /// Takes out the waiting records for which `which` returns true.
    pub(crate) fn take(&mut self, mut which: impl FnMut(&Slot) -> bool) -> Vec<Arc<Slot>> {
        let mut taken = Vec::new();
        if !self.waiting.iter().any(|(slot, _)| which(slot)) {
            return taken;
        }
        for (slot, room) in std::mem::take(&mut self.waiting) {
            if which(&slot) {
                taken.push(slot);
            } else {
                self.waiting.push_back((slot, room));
            }
        }
        self.waiting_bytes = self.waiting.iter().map(|(_, room)| room).sum();
        taken
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::Record;
    use kafka_tower_core::gate::{Gated, Limits};

    use super::*;
    use crate::compress::Codec;
    use crate::net::connector::Tcp;
    use crate::net::handshake::Introduction;
    use crate::partition::Mode;
    use crate::settings::{Acks, Clock};
    use crate::shared::Shared;

    /// Batches of 3 records and 300 bytes.
    fn settings() -> Settings {
        Settings {
            bootstrap: Vec::new(),
            introduction: Introduction { client_id: None, software: ("test", "1") },
            acks: Acks::All,
            idempotent: true,
            max_in_flight: 5,
            codec: Codec::None,
            batch_records: 3,
            batch_bytes: 300,
            linger: Duration::ZERO,
            max_request_bytes: 1_000,
            request_timeout: Duration::from_secs(1),
            delivery_bound: Duration::from_secs(60),
            connector: Arc::new(Tcp),
            clock: Clock::System,
        }
    }

    /// A queue with records of these sizes. Those in `alone` are isolated.
    fn queue(sizes: &[usize], alone: &[usize]) -> PartitionQueue {
        let (shared, now) = (Shared::new(settings(), Limits { records: 99, bytes: 9_999 }, Vec::new()), Instant::now());
        let mut handle = shared.handle();
        for (at, size) in sizes.iter().enumerate() {
            let mut record = Record::new("orders").with_value(vec![0; *size]);
            record.isolated = alone.contains(&at);
            assert!(handle.call(Arc::new(Slot::new(record, now)), *size).is_ok());
        }
        let mut slots = Vec::new();
        shared.inbox.take(&mut slots);
        let mut queue = PartitionQueue::new(0, 0, Row::new(Mode::Idempotent, 5));
        slots.into_iter().for_each(|slot| queue.push(slot, Duration::ZERO, now));
        queue
    }

    /// The sizes of the records of all batches.
    fn batches(queue: &mut PartitionQueue) -> Vec<Vec<usize>> {
        let (settings, now, mut late) = (settings(), Instant::now(), Vec::new());
        let taken = std::iter::from_fn(|| queue.take_batch(&settings, settings.batch_bytes, true, now, &mut late).ok());
        let sizes = taken.map(|batch| batch.slots.iter().map(|slot| slot.record().size()).collect()).collect();
        assert!(late.is_empty() && queue.is_empty());
        assert_eq!(queue.waiting_bytes, 0);
        sizes
    }

    #[test]
    fn a_batch_has_no_more_records_and_bytes_than_its_limits() {
        assert_eq!(batches(&mut queue(&[1, 2, 3, 4, 5], &[])), [vec![1, 2, 3], vec![4, 5]]);
        // 36 bytes more than its value each.
        assert_eq!(batches(&mut queue(&[114, 114, 114], &[])), [vec![114, 114], vec![114]]);
        assert_eq!(batches(&mut queue(&[114, 115, 1], &[])), [vec![114], vec![115, 1]]);
        // One that is larger than a batch is sent nevertheless.
        assert_eq!(batches(&mut queue(&[1, 500, 2], &[])), [vec![1], vec![500], vec![2]]);
    }

    #[test]
    fn an_isolated_record_is_alone() {
        assert_eq!(batches(&mut queue(&[1, 2, 3, 4], &[1])), [vec![1], vec![2], vec![3, 4]]);
        assert_eq!(batches(&mut queue(&[1, 2, 3], &[0, 1])), [vec![1], vec![2], vec![3]]);
    }

    #[test]
    fn records_that_are_taken_out_leave_no_room_behind() {
        let mut queue = queue(&[1, 2, 3, 4], &[]);
        assert_eq!(queue.take(|slot| slot.record().size() % 2 == 0).len(), 2);
        assert_eq!((queue.waiting.len(), queue.waiting_bytes), (2, 1 + 3 + 2 * 36));
        assert_eq!(batches(&mut queue), [vec![1, 3]]);
    }
}
