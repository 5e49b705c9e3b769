//! Appends records to the buffer that is sent.

use crate::compress::Codec;

use super::header::{HEADER_LEN, Stamp};
use super::record::{Place, RecordParts};
use super::sealed::SealedBatch;

/// The largest batch: its length field has 31 bits.
const MAX_LEN: usize = i32::MAX as usize;

/// A batch that is being filled.
///
/// Its buffer has its full length from the start and is never zeroed again, so that a buffer can be used for one batch after the
/// other.
pub struct BatchBuilder {
    buffer: Vec<u8>,
    end: usize,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// A record for which the buffer has not enough room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl BatchBuilder {
    /// An empty batch in a buffer, whose length is the room for header and records.
    #[must_use]
    pub fn new(buffer: Vec<u8>) -> Self {
        Self { buffer, end: HEADER_LEN, count: 0, base_timestamp: 0, max_timestamp: 0 }
    }

    /// Number of bytes of the batch, without compression.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end
    }

    /// Whether it has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Enlarges the room. Does nothing if it is as large already.
    pub fn grow(&mut self, room: usize) {
        if room > self.buffer.len() {
            self.buffer.resize(room, 0);
        }
    }

    /// Number of bytes by which the record would lengthen the batch now. `None` if no batch can take it.
    #[must_use]
    #[inline]
    pub fn size(&self, record: &RecordParts<'_>) -> Option<usize> {
        self.measure(record).map(|(_, _, len)| len)
    }

    #[inline]
    fn measure(&self, record: &RecordParts<'_>) -> Option<(Place, i32, usize)> {
        let base = if self.count == 0 { record.timestamp } else { self.base_timestamp };
        let place = Place { time_delta: record.timestamp.wrapping_sub(base), offset_delta: self.count };
        let body_len = record.body_len(place)?;
        let len = crate::protocol::varint::len_i32(body_len) + body_len as usize;
        (self.end + len <= MAX_LEN).then_some((place, body_len, len))
    }

    /// Appends a record, and returns its index in the batch.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is not enough room; the batch is as before.
    #[inline]
    pub fn append(&mut self, record: &RecordParts<'_>) -> Result<i32, Full> {
        let (place, body_len, len) = self.measure(record).ok_or(Full)?;
        let to = self.buffer.get_mut(self.end..self.end + len).ok_or(Full)?;
        record.write(place, body_len, to).ok_or(Full)?;
        self.end += len;
        let index = self.count;
        if index == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        } else {
            self.max_timestamp = self.max_timestamp.max(record.timestamp);
        }
        self.count += 1;
        Ok(index)
    }

    /// Ends the batch. `packed` is a buffer for the compressed records, which is overwritten and may be empty.
    ///
    /// `None` if there is no record: an empty batch cannot be sent.
    #[must_use]
    pub fn seal(self, stamp: Stamp, transactional: bool, codec: Codec, packed: Vec<u8>) -> Option<SealedBatch> {
        if self.count == 0 {
            return None;
        }
        let header = super::header::Header {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: super::header::Header::attributes(Codec::None, transactional),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            stamp,
            count: self.count,
        };
        Some(SealedBatch::new(self.buffer, self.end, header, codec, packed))
    }
}

/// Prints sizes, not contents.
impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("len", &self.end)
            .field("room", &self.buffer.len())
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
