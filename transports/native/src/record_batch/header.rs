//! The header of a record batch (Kafka's `DefaultRecordBatch`).

use crate::compress::Codec;
use crate::protocol::DecodeError;
use crate::protocol::reader::Reader;

/// Number of bytes of the header.
pub const HEADER_LEN: usize = 61;

/// What `batch_length` does not count: the base offset and itself.
const BEFORE_LENGTH: usize = 12;
/// Where the bytes that the checksum covers begin.
const CRC_END: usize = 21;
const MAGIC: i8 = 2;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The producer's id, its epoch, and the sequence number of a batch's first record: by them a broker recognizes a batch that it
/// has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The producer id, or -1.
    pub producer_id: i64,
    /// The epoch, or -1.
    pub producer_epoch: i16,
    /// Number of the first record, or -1.
    pub base_sequence: i32,
}

impl Stamp {
    /// Of a producer that is not idempotent.
    pub const NONE: Self = Self { producer_id: -1, producer_epoch: -1, base_sequence: -1 };
}

/// The fields of the header but its length, its format and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record; 0 from a producer.
    pub base_offset: i64,
    /// Epoch of the leader that appended the batch; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// Codec, kind of timestamps, and flags.
    pub attributes: i16,
    /// Offset of the last record, from the base offset on.
    pub last_offset_delta: i32,
    /// The time that the records' times are relative to: that of the first record.
    pub base_timestamp: i64,
    /// The latest time of a record, or the time of the append.
    pub max_timestamp: i64,
    /// Who wrote it.
    pub stamp: Stamp,
    /// Number of records.
    pub count: i32,
}

impl Header {
    /// The attributes of a producer's batch.
    #[must_use]
    pub const fn attributes(codec: Codec, transactional: bool) -> i16 {
        codec as i16 | if transactional { TRANSACTIONAL } else { 0 }
    }

    /// The codec of the records.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnknownCodec`].
    pub fn codec(&self) -> Result<Codec, DecodeError> {
        Codec::of_attributes(self.attributes)
    }

    /// Whether the records have the time of the append, `max_timestamp`, in place of their own.
    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the records are markers of a broker's, such as the end of a transaction, and none of an application's.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Reads the header of the first batch in `bytes`. Returns it with the records' bytes and what follows the batch.
    ///
    /// # Errors
    ///
    /// If the batch is not complete, its format is not 2, its checksum is wrong, or its fields contradict each other.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), DecodeError> {
        let mut reader = Reader::new(bytes, 0, false);
        let base_offset = reader.i64()?;
        let len = usize::try_from(reader.i32()?).map_err(|_| DecodeError::NegativeLength)?;
        let mut reader = Reader::new(reader.take(len)?, 0, false);
        let partition_leader_epoch = reader.i32()?;
        match reader.i8()? {
            MAGIC => {}
            other => return Err(DecodeError::UnknownMagic(other)),
        }
        let crc = reader.u32()?;
        let covered = reader.remaining();
        let header = Self {
            base_offset,
            partition_leader_epoch,
            attributes: reader.i16()?,
            last_offset_delta: reader.i32()?,
            base_timestamp: reader.i64()?,
            max_timestamp: reader.i64()?,
            stamp: Stamp { producer_id: reader.i64()?, producer_epoch: reader.i16()?, base_sequence: reader.i32()? },
            count: reader.i32()?,
        };
        let (batch, rest) = bytes.split_at_checked(BEFORE_LENGTH + len).ok_or(DecodeError::Truncated)?;
        if checksum(batch.get(batch.len() - covered..).unwrap_or_default()) != crc {
            return Err(DecodeError::WrongChecksum);
        }
        // A compacted batch may have fewer records than offsets, and none at all.
        if header.last_offset_delta < 0 || base_offset.checked_add(header.last_offset_delta.into()).is_none() {
            return Err(DecodeError::InvalidField("lastOffsetDelta"));
        }
        if header.count < 0 || i64::from(header.count) > i64::from(header.last_offset_delta) + 1 {
            return Err(DecodeError::InvalidField("recordsCount"));
        }
        Ok((header, batch.get(HEADER_LEN..).unwrap_or_default(), rest))
    }

    /// Writes the header, with length and checksum, over the first [`HEADER_LEN`] bytes of a batch. False if the batch is shorter
    /// than that, or longer than its length field can say.
    #[must_use]
    pub fn write(&self, batch: &mut [u8]) -> bool {
        let len = batch.len().checked_sub(BEFORE_LENGTH).and_then(|len| i32::try_from(len).ok());
        let (Some(len), Some((head, _))) = (len, batch.split_first_chunk_mut::<HEADER_LEN>()) else { return false };
        let mut at = head.as_mut_slice();
        put(&mut at, self.base_offset.to_be_bytes());
        put(&mut at, len.to_be_bytes());
        put(&mut at, self.partition_leader_epoch.to_be_bytes());
        put(&mut at, MAGIC.to_be_bytes());
        put(&mut at, [0; 4]);
        put(&mut at, self.attributes.to_be_bytes());
        put(&mut at, self.last_offset_delta.to_be_bytes());
        put(&mut at, self.base_timestamp.to_be_bytes());
        put(&mut at, self.max_timestamp.to_be_bytes());
        put(&mut at, self.stamp.producer_id.to_be_bytes());
        put(&mut at, self.stamp.producer_epoch.to_be_bytes());
        put(&mut at, self.stamp.base_sequence.to_be_bytes());
        put(&mut at, self.count.to_be_bytes());
        let crc = checksum(batch.get(CRC_END..).unwrap_or_default());
        if let Some(mut place) = batch.get_mut(CRC_END - 4..CRC_END) {
            put(&mut place, crc.to_be_bytes());
        }
        true
    }
}

/// Writes to the front of `at`, and leaves what is behind.
fn put<const N: usize>(at: &mut &mut [u8], bytes: [u8; N]) {
    if let Some((place, rest)) = std::mem::take(at).split_first_chunk_mut() {
        *place = bytes;
        *at = rest;
    }
}

/// CRC-32C, by Castagnoli.
fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}
