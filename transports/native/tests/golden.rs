//! Record batches that Kafka's Java client wrote: they are read correctly, and without compression ours are the same bytes.
//! `golden/Golden.java` is what wrote them; `golden/README.md` says how.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use kafka_tower_core::{Headers, Record};
use kafka_tower_native::compress::Codec;
use kafka_tower_native::protocol::DecodeError;
use kafka_tower_native::record_batch::builder::BatchBuilder;
use kafka_tower_native::record_batch::header::Stamp;
use kafka_tower_native::record_batch::reader::Batch;
use kafka_tower_native::record_batch::record::RecordParts;
use kafka_tower_native::record_batch::sealed::SealedBatch;

const TIME: i64 = 1_700_000_000_000;
const STAMP: Stamp = Stamp { producer_id: 4711, producer_epoch: 3, base_sequence: 17 };
const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Snappy, Codec::Lz4];

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The records of `Golden.small`, with their times.
fn small() -> Vec<(Record, i64)> {
    let mut one = Headers::new();
    one.push("h", "1");
    let mut many = Headers::new();
    many.push("", "");
    many.push_null("null");
    many.push("again", "1");
    many.push("again", "2");
    many.push("ü😀", (0..=255).collect::<Vec<u8>>());
    let value: Vec<_> = (0..8192_u32).map(|index| (index * 7) as u8).collect();
    vec![
        (Record::new("t").with_key("key").with_value("value").with_headers(one), TIME),
        (Record::new("t"), TIME + 5),
        (Record::new("t").with_key("").with_value("").with_headers(many), TIME - 3),
        (Record::new("t").with_key("k".repeat(64)).with_value(value), TIME + (1 << 40)),
    ]
}

/// The records of `Golden.large`, with their times.
fn large() -> Vec<(Record, i64)> {
    let record = |number: u32| {
        let value: Vec<_> = (0..10_000_u32).map(|index| (number + index / 100) as u8).collect();
        (Record::new("t").with_key(number.to_string()).with_value(value), TIME + i64::from(number))
    };
    (0..60).map(record).collect()
}

/// What a reader sees of a record.
type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn seen(records: &[(Record, i64)], base_offset: i64) -> Vec<Seen> {
    let owned = |part: &Option<Bytes>| part.as_ref().map(|part| part.to_vec());
    let offsets = base_offset..;
    let seen = records.iter().zip(offsets).map(|((record, time), offset)| {
        let headers = record.headers.iter().map(|header| (header.key.to_string(), owned(&header.value))).collect();
        (offset, *time, owned(&record.key), owned(&record.value), headers)
    });
    seen.collect()
}

fn read(batch: &Batch<'_>) -> Vec<Seen> {
    let records = batch.records(1 << 20).expect("records that can be decompressed");
    let read = records.iter().map(|record| {
        let view = record.expect("a record");
        let headers = view.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
        (view.offset, view.timestamp, view.key.map(<[u8]>::to_vec), view.value.map(<[u8]>::to_vec), headers)
    });
    read.collect()
}

fn sealed(records: &[(Record, i64)], stamp: Stamp, transactional: bool, codec: Codec) -> SealedBatch {
    let mut builder = BatchBuilder::new(vec![0; 1 << 20]);
    for (record, time) in records {
        builder.append(&RecordParts::new(record, *time)).expect("a megabyte is enough");
    }
    builder.seal(stamp, transactional, codec, Vec::new()).expect("it has records")
}

#[test]
fn without_compression_the_bytes_are_those_of_java() {
    for (name, stamp, transactional) in
        [("plain.bin", Stamp::NONE, false), ("idempotent.bin", STAMP, false), ("transactional.bin", STAMP, true)]
    {
        let golden = golden(name);
        let batch = sealed(&small(), stamp, transactional, Codec::None);
        assert!(batch.bytes() == golden, "{name}");
        let (read_batch, rest) = Batch::read(&golden).unwrap();
        assert_eq!((read(&read_batch), rest.len()), (seen(&small(), 0), 0), "{name}");
        assert_eq!((read_batch.header(), read_batch.header().is_transactional()), (batch.header(), transactional));
    }
}

#[test]
fn every_codec_of_java_is_read() {
    for codec in CODECS {
        for (name, records) in [("", small()), ("-large", large())] {
            let golden = golden(&format!("{}{name}.bin", codec.name()));
            let (batch, rest) = Batch::read(&golden).unwrap();
            assert_eq!((batch.header().codec(), batch.header().stamp, rest.len()), (Ok(codec), STAMP, 0));
            if codec.is_built() {
                assert!(read(&batch) == seen(&records, 0), "{codec:?}{name}");
            } else {
                assert_eq!(batch.records(1 << 20).map(|_| ()), Err(DecodeError::CodecNotBuilt(codec.name())));
            }
        }
    }
    for name in ["zstd.bin", "zstd-large.bin"] {
        let golden = golden(name);
        let (batch, _) = Batch::read(&golden).unwrap();
        assert_eq!(batch.records(1 << 20).map(|_| ()), Err(DecodeError::CodecNotBuilt("zstd")));
    }
}

#[test]
fn the_time_of_the_append_is_read() {
    let golden = golden("append_time.bin");
    let (batch, _) = Batch::read(&golden).unwrap();
    assert!(batch.header().is_log_append_time());
    let records: Vec<_> = small().into_iter().map(|(record, _)| (record, TIME + 9)).collect();
    assert_eq!(read(&batch), seen(&records, 100));
}

#[test]
fn the_marker_of_a_commit_is_read() {
    let golden = golden("marker.bin");
    let (batch, _) = Batch::read(&golden).unwrap();
    let header = batch.header();
    assert!(header.is_control() && header.is_transactional());
    assert_eq!((header.base_offset, header.partition_leader_epoch, header.count), (42, 7, 1));
    assert_eq!((header.stamp.producer_id, header.stamp.producer_epoch), (4711, 3));
    // Key: version 0, a commit. Value: version 0, the coordinator's epoch.
    let (key, value) = (vec![0, 0, 0, 1], vec![0, 0, 0, 0, 0, 9]);
    assert_eq!(read(&batch), [(42, TIME, Some(key), Some(value), vec![])]);
}

#[test]
fn batches_one_after_the_other_are_read() {
    let both = [golden("plain.bin"), golden("marker.bin")].concat();
    let (_, rest) = Batch::read(&both).unwrap();
    assert_eq!(rest, golden("marker.bin"));
}

/// Each bit and each length of a batch of Java's.
#[test]
fn broken_batches_of_java_are_refused() {
    for name in ["gzip.bin", "marker.bin"] {
        let golden = golden(name);
        for len in 0..golden.len() {
            assert_eq!(Batch::read(&golden[..len]).map(|_| ()), Err(DecodeError::Truncated));
        }
        for bit in 17 * 8..golden.len() * 8 {
            let mut broken = golden.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Batch::read(&broken).map(|_| ()), Err(DecodeError::WrongChecksum), "{name}, bit {bit}");
        }
    }
}

#[test]
#[ignore = "writes batches for Golden.java to read"]
fn write_batches_for_java() {
    let dir = PathBuf::from(std::env::var_os("KAFKA_TOWER_BATCHES").expect("KAFKA_TOWER_BATCHES is a directory"));
    std::fs::create_dir_all(&dir).unwrap();
    for codec in CODECS.into_iter().chain([Codec::None]) {
        for (name, records) in [("", small()), ("-large", large())] {
            let batch = sealed(&records, STAMP, false, codec);
            assert_eq!(batch.header().codec(), Ok(codec));
            std::fs::write(dir.join(format!("{}{name}.bin", codec.name())), batch.bytes()).unwrap();
        }
    }
}
