//! Records that are sent together.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::buffers::Buffers;
use crate::compress::Codec;
use crate::record_batch::builder::BatchBuilder;
use crate::record_batch::header::{HEADER_LEN, Stamp};
use crate::record_batch::record::RecordParts;
use crate::slot::Slot;

/// What a record needs beside its key, value and headers, at most: lengths, deltas and attributes.
const OVERHEAD: usize = 36;
/// The same of a header: two lengths.
const HEADER_OVERHEAD: usize = 10;

/// The records of a batch, and its bytes once it was sent.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) slots: Vec<Arc<Slot>>,
    /// The most bytes that the records take.
    room: usize,
    /// The clock that gave the records their times, once they were encoded.
    clock: Option<WallClock>,
    encoded: Option<(Stamp, Bytes)>,
}

/// The wall clock at one instant: it gives the time of a record from that of its call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    pub(crate) at: Instant,
    /// In milliseconds since 1970.
    pub(crate) millis: i64,
}

impl WallClock {
    /// The time of an instant before, in milliseconds since 1970.
    fn of(self, at: Instant) -> i64 {
        let before = self.at.saturating_duration_since(at).as_millis();
        self.millis.saturating_sub(i64::try_from(before).unwrap_or(i64::MAX))
    }
}

/// Gives records their times.
///
/// The clock that calls read is coarse, so records in a row often have the same instant: the last one is remembered.
pub(crate) struct Times {
    clock: WallClock,
    last: (Instant, i64),
}

impl Times {
    fn new(clock: WallClock) -> Self {
        Self { clock, last: (clock.at, clock.millis) }
    }

    /// The time of a record, in milliseconds since 1970.
    #[inline]
    pub(crate) fn of(&mut self, slot: &Slot) -> i64 {
        if let Some(timestamp) = slot.record().timestamp {
            return timestamp.as_millis();
        }
        let at = slot.called_at();
        if at != self.last.0 {
            self.last = (at, self.clock.of(at));
        }
        self.last.1
    }
}

/// The most bytes that a record takes in a batch.
#[inline]
pub(crate) fn room(slot: &Slot) -> usize {
    let record = slot.record();
    record.size() + OVERHEAD + HEADER_OVERHEAD * record.headers.len()
}

impl Batch {
    pub(crate) fn new(slots: Vec<Arc<Slot>>) -> Self {
        let room = slots.iter().fold(0_usize, |sum, slot| sum.saturating_add(room(slot)));
        Self::with_room(slots, room)
    }

    /// As [`new`](Self::new), if the sum of the records' [`room`] is known.
    pub(crate) fn with_room(slots: Vec<Arc<Slot>>, room: usize) -> Self {
        Self { slots, room, clock: None, encoded: None }
    }

    /// The number of records.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The times of its records: those that were sent, or those by this clock if nothing was.
    pub(crate) fn times(&self, clock: WallClock) -> Times {
        Times::new(self.clock.unwrap_or(clock))
    }

    /// The bytes with this stamp: those that were sent before, if it is the same. `None` if the records cannot be in a batch.
    pub(crate) fn bytes(&mut self, stamp: Stamp, codec: Codec, clock: WallClock, buffers: &Buffers) -> Option<Bytes> {
        if let Some((_, bytes)) = self.encoded.as_ref().filter(|(its, _)| *its == stamp) {
            return Some(bytes.clone());
        }
        // A batch that is encoded again keeps the times of its records.
        let mut times = Times::new(*self.clock.get_or_insert(clock));
        let mut builder = BatchBuilder::new(buffers.take(self.room.saturating_add(HEADER_LEN)));
        for slot in &self.slots {
            builder.append(&RecordParts::new(slot.record(), times.of(slot))).ok()?;
        }
        let sealed = builder.seal(stamp, false, codec, Vec::new())?;
        let bytes = buffers.bytes(sealed);
        self.encoded = Some((stamp, bytes.clone()));
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka_tower_core::{Record, Timestamp};

    use super::*;
    use crate::record_batch::reader;

    fn slot(at: Instant) -> Arc<Slot> {
        Arc::new(Slot::new(Record::new("orders").with_value("1"), at))
    }

    #[test]
    fn a_record_has_the_time_of_its_call_or_its_own() {
        let at = Instant::now();
        let before = |micros| at.checked_sub(Duration::from_micros(micros)).unwrap();
        let mut times = Times::new(WallClock { at, millis: 5_000 });
        let own = Record::new("orders").with_timestamp(Timestamp::from_millis(7));
        let calls = [before(0), before(1_500), before(1_500), before(2_000), before(0), at + Duration::from_secs(1)];
        assert_eq!(calls.map(|at| times.of(&slot(at))), [5_000, 4_999, 4_999, 4_998, 5_000, 5_000]);
        assert_eq!((times.of(&Slot::new(own, at)), times.of(&slot(before(2_000)))), (7, 4_998));
    }

    #[test]
    fn a_batch_that_is_encoded_again_keeps_its_times() {
        let (at, buffers) = (Instant::now(), Buffers::default());
        let (first, stepped) = (WallClock { at, millis: 5_000 }, WallClock { at, millis: 9_000 });
        let mut batch = Batch::new(vec![slot(at)]);
        assert_eq!(batch.times(stepped).of(&slot(at)), 9_000, "nothing was sent");
        for (sequence, clock) in [(0, first), (1, stepped)] {
            let stamp = Stamp { producer_id: 1, producer_epoch: 0, base_sequence: sequence };
            let bytes = batch.bytes(stamp, Codec::None, clock, &buffers).unwrap();
            let (read, _) = reader::Batch::read(&bytes).unwrap();
            assert_eq!((read.header().base_timestamp, read.header().stamp), (5_000, stamp));
            assert_eq!(batch.times(clock).of(&slot(at)), 5_000);
        }
    }
}
