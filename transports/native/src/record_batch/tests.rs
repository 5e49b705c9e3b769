//! Batches are read as they were built, their sizes are known before, and broken ones are refused.

use bytes::Bytes;
use kafka_tower_core::{Headers, Record};
use proptest::prelude::*;

use super::builder::{BatchBuilder, Full};
use super::header::{HEADER_LEN, Header, Stamp};
use super::reader::Batch;
use super::record::RecordParts;
use super::sealed::SealedBatch;
use crate::compress::Codec;
use crate::protocol::DecodeError;

const STAMP: Stamp = Stamp { producer_id: 1 << 40, producer_epoch: 7, base_sequence: i32::MAX };

fn part() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        Just(Some(Vec::new())),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Some),
        (60..70_usize, any::<u8>()).prop_map(|(len, byte)| Some(vec![byte; len])),
    ]
}

fn record() -> impl Strategy<Value = (Record, i64)> {
    let headers = prop::collection::vec((".{0,4}", part()), 0..4);
    let time = prop_oneof![any::<i64>(), 1_700_000_000_000..1_700_000_009_000_i64];
    (part(), part(), headers, time).prop_map(|(key, value, headers, time)| {
        let mut record = Record::new("t");
        record.key = key.map(Bytes::from);
        record.value = value.map(Bytes::from);
        let mut list = Headers::new();
        for (name, value) in headers {
            match value {
                Some(value) => list.push(name, value),
                None => list.push_null(name),
            }
        }
        (record.with_headers(list), time)
    })
}

fn records() -> impl Strategy<Value = Vec<(Record, i64)>> {
    prop::collection::vec(record(), 1..80)
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4])
}

fn built(records: &[(Record, i64)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Vec::new());
    for (record, time) in records {
        let parts = RecordParts::new(record, *time);
        builder.grow(builder.len() + builder.size(&parts).unwrap());
        builder.append(&parts).unwrap();
    }
    builder
}

fn sealed(records: &[(Record, i64)], codec: Codec) -> SealedBatch {
    built(records).seal(STAMP, true, codec, Vec::new()).unwrap()
}

/// Reads the records, and panics where they differ.
fn assert_reads_as(bytes: &[u8], records: &[(Record, i64)]) {
    let (batch, rest) = Batch::read(bytes).unwrap();
    assert!(rest.is_empty());
    let read = batch.records(1 << 20).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(Result::unwrap)
        .map(|view| {
            let headers: Vec<_> =
                view.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
            assert_eq!(view.header_count(), headers.len());
            (view.offset, view.timestamp, view.key.map(<[u8]>::to_vec), view.value.map(<[u8]>::to_vec), headers)
        })
        .collect();
    let expected: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(index, (record, time))| {
            let headers = record
                .headers
                .iter()
                .map(|header| (header.key.to_string(), header.value.as_ref().map(|value| value.to_vec())));
            let owned = |part: &Option<Bytes>| part.as_ref().map(|part| part.to_vec());
            (index as i64, *time, owned(&record.key), owned(&record.value), headers.collect())
        })
        .collect();
    assert_eq!(read, expected);
}

/// Reads everything there is to read.
fn read_all(bytes: &[u8]) -> Result<usize, DecodeError> {
    let (batch, _) = Batch::read(bytes)?;
    let records = batch.records(1 << 16)?;
    records.iter().try_fold(0, |count, record| record.map(|record| count + 1 + record.headers().count()))
}

/// Computes the checksum anew, so that what is behind it is looked at.
fn with_checksum(bytes: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_appended(records in records(), codec in codec()) {
        let batch = sealed(&records, codec);
        assert_reads_as(batch.bytes(), &records);
        let header = *batch.header();
        prop_assert_eq!((header.stamp, header.is_transactional(), header.is_control()), (STAMP, true, false));
        prop_assert_eq!(header.base_timestamp, records[0].1);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|(_, time)| *time).max());
    }

    /// A batch that was sized for its records has not a byte too few or too many.
    #[test]
    fn the_size_is_exact(records in records(), short in 1..9_usize) {
        let mut builder = BatchBuilder::new(vec![0xaa; HEADER_LEN]);
        for (record, time) in &records {
            let parts = RecordParts::new(record, *time);
            let (len, size) = (builder.len(), builder.size(&parts).unwrap());
            builder.grow(len + size.saturating_sub(short));
            prop_assert_eq!(builder.append(&parts), Err(Full));
            prop_assert_eq!((builder.len(), builder.size(&parts)), (len, Some(size)));
            builder.grow(len + size);
            prop_assert_eq!(builder.append(&parts).map(|_| builder.len()), Ok(len + size));
        }
        let batch = builder.seal(STAMP, false, Codec::None, Vec::new()).unwrap();
        assert_reads_as(batch.bytes(), &records);
    }

    /// What an earlier batch left in a buffer is not seen.
    #[test]
    fn buffers_can_be_used_again(first in records(), second in records(), codec in codec()) {
        let (raw, packed) = sealed(&first, codec).into_buffers();
        let mut builder = BatchBuilder::new(raw);
        for (record, time) in &second {
            let parts = RecordParts::new(record, *time);
            builder.grow(builder.len() + builder.size(&parts).unwrap());
            builder.append(&parts).unwrap();
        }
        let batch = builder.seal(STAMP, true, codec, packed).unwrap();
        let fresh = sealed(&second, codec);
        prop_assert_eq!(batch.bytes(), fresh.bytes());
    }

    #[test]
    fn another_stamp_is_as_if_it_was_the_first(records in records(), codec in codec()) {
        let mut batch = sealed(&records, codec);
        batch.restamp(Stamp::NONE);
        let fresh = built(&records).seal(Stamp::NONE, true, codec, Vec::new()).unwrap();
        prop_assert_eq!(batch.bytes(), fresh.bytes());
        prop_assert_eq!(Batch::read(batch.bytes()).map(|(read, _)| *read.header()), Ok(*batch.header()));
    }

    #[test]
    fn no_cut_batch_is_read(records in records(), codec in codec()) {
        let batch = sealed(&records, codec);
        for len in 0..batch.bytes().len() {
            prop_assert_eq!(Batch::read(&batch.bytes()[..len]).map(|_| ()), Err(DecodeError::Truncated));
        }
    }

    /// One bit is wrong: either it is not covered by the checksum, or it is found.
    #[test]
    fn a_flipped_bit_is_found(records in records(), codec in codec(), at: prop::sample::Index, bit in 0..8_u32) {
        let mut bytes = sealed(&records, codec).bytes().to_vec();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        let read = Batch::read(&bytes);
        match index {
            // Base offset and leader epoch, which brokers fill in.
            0..8 | 12..16 => prop_assert!(read.is_ok() || index == 0),
            8..12 | 16 => prop_assert!(read.is_err()),
            _ => prop_assert_eq!(read.map(|_| ()), Err(DecodeError::WrongChecksum)),
        }
    }

    /// Behind a right checksum anything may be wrong: it is read or refused, and nothing more is allocated.
    #[test]
    fn broken_records_are_refused_or_read(
        records in records(),
        codec in codec(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = sealed(&records, codec).bytes().to_vec();
        for (at, byte) in changes {
            let index = 21 + at.index(bytes.len() - 21);
            bytes[index] = byte;
        }
        with_checksum(&mut bytes);
        let _ = read_all(&bytes);
    }

    /// Without compression, every cut of the records is noticed.
    #[test]
    fn cut_records_are_refused(records in records(), cut in 1..40_usize) {
        let bytes = sealed(&records, Codec::None).bytes().to_vec();
        let mut bytes = bytes[..bytes.len().saturating_sub(cut).max(HEADER_LEN)].to_vec();
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        with_checksum(&mut bytes);
        prop_assert_eq!(read_all(&bytes), Err(DecodeError::Truncated));
    }
}

/// One record without compression, and a change of it behind a right checksum.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<usize, DecodeError> {
    let mut headers = Headers::new();
    headers.push("h", "1");
    let record = Record::new("t").with_key("k").with_value("v").with_headers(headers);
    let mut bytes = sealed(&[(record, 5)], Codec::None).bytes().to_vec();
    assert_eq!(bytes[HEADER_LEN..], [0x18, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 2, b'1']);
    change(&mut bytes);
    let len = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&len.to_be_bytes());
    with_checksum(&mut bytes);
    read_all(&bytes)
}

#[test]
fn what_the_format_excludes_is_refused() {
    assert_eq!(changed(|_| {}), Ok(2));
    assert_eq!(changed(|bytes| bytes.push(0)), Err(DecodeError::TrailingBytes));
    assert_eq!(changed(|bytes| bytes[16] = 1), Err(DecodeError::UnknownMagic(1)));
    assert_eq!(changed(|bytes| bytes[22] = 7), Err(DecodeError::UnknownCodec(7)));
    assert_eq!(changed(|bytes| bytes[22] = 4), Err(DecodeError::CodecNotBuilt("zstd")));
    assert_eq!(changed(|bytes| bytes[60] = 2), Err(DecodeError::InvalidField("recordsCount")));
    assert_eq!(changed(|bytes| bytes[57] = 0xff), Err(DecodeError::InvalidField("recordsCount")));
    assert_eq!(changed(|bytes| bytes[23] = 0xff), Err(DecodeError::InvalidField("lastOffsetDelta")));
    assert_eq!(changed(|bytes| bytes[60] = 0), Err(DecodeError::TrailingBytes));
    // Length, offset delta, key, value, number of headers, a header's name, its value.
    assert_eq!(changed(|bytes| bytes[61] = 1), Err(DecodeError::NegativeLength));
    assert_eq!(changed(|bytes| bytes[64] = 2), Err(DecodeError::InvalidField("offsetDelta")));
    assert_eq!(changed(|bytes| bytes[64] = 1), Err(DecodeError::InvalidField("offsetDelta")));
    assert_eq!(changed(|bytes| bytes[65] = 3), Err(DecodeError::NegativeLength));
    assert_eq!(changed(|bytes| bytes[67] = 60), Err(DecodeError::Truncated));
    assert_eq!(changed(|bytes| bytes[69] = 0), Err(DecodeError::TrailingBytes));
    assert_eq!(changed(|bytes| bytes[70] = 1), Err(DecodeError::UnexpectedNull));
    assert_eq!(changed(|bytes| bytes[71] = 0xff), Err(DecodeError::NotUtf8));
    assert_eq!(changed(|bytes| bytes[72] = 3), Err(DecodeError::NegativeLength));
}

#[test]
fn a_billion_headers_in_a_few_bytes_are_refused() {
    assert_eq!(
        changed(|bytes| {
            bytes.truncate(69);
            bytes[61] = 24;
            bytes.extend([0x80, 0xa8, 0xd6, 0xb9, 0x07]);
        }),
        Err(DecodeError::Truncated)
    );
}

/// Small records do not get larger by compression: then they are sent without.
#[test]
fn compression_that_does_not_help_is_left_out() {
    let record = Record::new("t").with_value("x");
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = sealed(&[(record.clone(), 5)], codec);
        assert_eq!((batch.header().codec(), batch.bytes().len()), (Ok(Codec::None), HEADER_LEN + 8));
        assert_eq!(batch.records(), &batch.bytes()[HEADER_LEN..]);
    }
}

#[test]
fn an_empty_batch_is_not_sealed() {
    let builder = BatchBuilder::new(Vec::new());
    assert!(builder.is_empty() && builder.count() == 0);
    assert!(builder.seal(STAMP, false, Codec::None, Vec::new()).is_none());
}

#[test]
fn the_time_of_the_append_replaces_that_of_the_record() {
    let mut bytes = sealed(&[(Record::new("t"), 5)], Codec::None).bytes().to_vec();
    bytes[22] |= 8;
    bytes[35..43].copy_from_slice(&77_i64.to_be_bytes());
    with_checksum(&mut bytes);
    let (batch, _) = Batch::read(&bytes).unwrap();
    let times = batch.records(0).unwrap().iter().map(|record| record.unwrap().timestamp).collect::<Vec<_>>();
    assert_eq!(times, [77]);
}

#[test]
fn debug_prints_no_contents() {
    let record = Record::new("t").with_key("secret").with_value("secret");
    let parts = RecordParts::new(&record, 5);
    let batch = sealed(&[(record.clone(), 5)], Codec::None);
    let (read, _) = Batch::read(batch.bytes()).unwrap();
    let records = read.records(0).unwrap();
    let view = records.iter().next().unwrap().unwrap();
    let printed = format!("{parts:?} {batch:?} {read:?} {records:?} {view:?} {:?}", built(&[(record.clone(), 5)]));
    assert!(!printed.contains("secret") && !printed.contains("115, 101"), "{printed}");
    assert!(Header::attributes(Codec::Lz4, true) == 0x13);
}
