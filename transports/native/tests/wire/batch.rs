//! Record batches as a broker sees them, read with kafka-protocol's decoder. And the values of records that a test sends.

use bytes::Bytes;
use kafka_protocol::records::{Compression, RecordBatchDecoder};
use kafka_tower_native::compress::{Codec, decompress};

use super::codes::{CORRUPT_MESSAGE, INVALID_RECORD};
use super::producers::Stamp;

/// Bytes of the number in a value, and the shortest value.
pub(crate) const MIN_VALUE: usize = 8;
const MAX_BATCH: usize = 64 << 20;
const LAST_OFFSET_DELTA: usize = 23;

/// A batch that was sent to a partition.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Producer and sequence numbers; `None` without idempotence.
    pub(crate) stamp: Option<Stamp>,
    /// For each record the number in its value, and its key.
    pub(crate) records: Vec<(Option<u64>, Option<Bytes>)>,
    /// Size in bytes, compressed as it is.
    pub(crate) bytes: usize,
}

/// The value of a record: its number, and bytes that follow from it, so that a value which was changed is noticed.
pub(crate) fn value(number: u64, len: usize) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(len.max(MIN_VALUE), filling(number));
    value.into()
}

fn number_of(value: &[u8]) -> Option<u64> {
    let (number, rest) = value.split_first_chunk()?;
    let number = u64::from_be_bytes(*number);
    rest.iter().all(|byte| *byte == filling(number)).then_some(number)
}

fn filling(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

/// Reads the batch of a partition.
///
/// # Errors
///
/// The code with which a broker refuses it.
pub(crate) fn read(bytes: &Bytes) -> Result<Batch, i16> {
    let infos = RecordBatchDecoder::decode_batch_info(&mut bytes.clone()).map_err(|_| CORRUPT_MESSAGE)?;
    let [info] = &infos[..] else { return Err(INVALID_RECORD) };
    let unpack = |packed: &mut Bytes, compression| {
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        };
        Ok(Bytes::from(decompress(codec, packed, MAX_BATCH)?))
    };
    let set = RecordBatchDecoder::decode_with_custom_compression(&mut bytes.clone(), Some(unpack));
    let records = set.map_err(|_| CORRUPT_MESSAGE)?.records;
    let last = bytes.get(LAST_OFFSET_DELTA..).and_then(<[u8]>::first_chunk).map(|bytes| i32::from_be_bytes(*bytes));
    let count = i32::try_from(records.len()).map_err(|_| INVALID_RECORD)?;
    let counted = (0_i64..).zip(&records).all(|(index, record)| record.offset - info.min_offset == index);
    if count == 0 || last != Some(count - 1) || !counted {
        return Err(INVALID_RECORD);
    }
    let stamp = Stamp { id: info.producer_id, epoch: info.producer_epoch, first: info.base_sequence, count };
    let records = records.into_iter().map(|record| (record.value.as_deref().and_then(number_of), record.key));
    Ok(Batch { stamp: (stamp.id >= 0).then_some(stamp), records: records.collect(), bytes: bytes.len() })
}
