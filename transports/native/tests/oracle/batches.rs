//! Record batches without compression: ours are read by the oracle, and the oracle's by us.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use kafka_tower_core::{Headers, Record};
use kafka_tower_native::compress::Codec;
use kafka_tower_native::record_batch::builder::BatchBuilder;
use kafka_tower_native::record_batch::header::Stamp;
use kafka_tower_native::record_batch::reader::Batch;
use kafka_tower_native::record_batch::record::RecordParts;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

type Part = Option<Bytes>;
/// Time, key, value, headers. The oracle keeps headers in a map, so their names differ.
type Model = (i64, Part, Part, Vec<(String, Part)>);

fn part() -> impl Strategy<Value = Part> {
    option::of(vec(any::<u8>(), 0..90).prop_map(Bytes::from))
}

fn records() -> impl Strategy<Value = Vec<Model>> {
    let headers = btree_map(".{0,4}", part(), 0..4).prop_map(|headers| headers.into_iter().collect());
    vec((1_700_000_000_000..1_800_000_000_000_i64, part(), part(), headers), 1..20)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let some = (0..i64::MAX, 0..i16::MAX, 0..1_000_000);
    let some =
        some.prop_map(|(id, epoch, base_sequence)| Stamp { producer_id: id, producer_epoch: epoch, base_sequence });
    prop_oneof![Just(Stamp::NONE), some]
}

proptest! {
    #[test]
    fn the_oracle_reads_ours(records in records(), stamp in stamp(), transactional: bool) {
        let mut builder = BatchBuilder::new(vec![0; 1 << 16]);
        for (time, key, value, headers) in &records {
            let mut record = Record::new("t");
            (record.key, record.value) = (key.clone(), value.clone());
            let mut list = Headers::new();
            for (name, value) in headers.clone() {
                match value {
                    Some(value) => list.push(name, value),
                    None => list.push_null(name),
                }
            }
            builder.append(&RecordParts::new(&record.with_headers(list), *time)).unwrap();
        }
        let batch = builder.seal(stamp, transactional, Codec::None, Vec::new()).unwrap();
        let mut bytes = Bytes::copy_from_slice(batch.bytes());
        let info = RecordBatchDecoder::decode_batch_info(&mut bytes.clone()).unwrap();
        prop_assert_eq!((info.len(), info[0].base_sequence), (1, stamp.base_sequence));
        let theirs = RecordBatchDecoder::decode(&mut bytes).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(theirs.records.len(), records.len());
        for (index, (theirs, (time, key, value, headers))) in theirs.records.iter().zip(&records).enumerate() {
            prop_assert_eq!((theirs.offset, theirs.timestamp), (index as i64, *time));
            prop_assert_eq!((&theirs.key, &theirs.value), (key, value));
            prop_assert_eq!((theirs.producer_id, theirs.producer_epoch), (stamp.producer_id, stamp.producer_epoch));
            prop_assert_eq!((theirs.transactional, theirs.control), (transactional, false));
            prop_assert_eq!((theirs.partition_leader_epoch, theirs.timestamp_type), (-1, TimestampType::Creation));
            let read = theirs.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
            prop_assert_eq!(read.collect::<Vec<_>>(), headers.clone());
        }
    }

    #[test]
    fn we_read_the_oracles(records in records(), stamp in stamp(), transactional: bool, base in 0..1_000_000_i64, epoch: i32) {
        let theirs: Vec<_> = records.iter().enumerate().map(|(index, (time, key, value, headers))| TheirRecord {
            transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: epoch,
            producer_id: stamp.producer_id,
            producer_epoch: stamp.producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: base + index as i64,
            sequence: stamp.base_sequence.wrapping_add(index as i32),
            timestamp: *time,
            key: key.clone(),
            value: value.clone(),
            headers: headers.iter().map(|(name, value)| (StrBytes::from(name.clone()), value.clone())).collect(),
        }).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &theirs, &options).unwrap();
        let (batch, rest) = Batch::read(&bytes)?;
        prop_assert!(rest.is_empty());
        let header = batch.header();
        prop_assert_eq!((header.stamp, header.base_offset, header.is_transactional()), (stamp, base, transactional));
        prop_assert_eq!((header.partition_leader_epoch, header.count as usize), (epoch, records.len()));
        let found = batch.records(0)?;
        prop_assert_eq!(found.iter().count(), records.len());
        for (index, (view, (time, key, value, headers))) in found.iter().zip(&records).enumerate() {
            let view = view?;
            prop_assert_eq!((view.offset, view.timestamp), (base + index as i64, *time));
            prop_assert_eq!((view.key, view.value), (key.as_deref(), value.as_deref()));
            let read = view.headers().map(|(name, value)| (name.to_owned(), value.map(Bytes::copy_from_slice)));
            prop_assert_eq!(read.collect::<Vec<_>>(), headers.clone());
        }
    }
}
