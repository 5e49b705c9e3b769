//! Reads the headers of the record batches in a partition's log segments on disk, without Kafka.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kafka::{Cluster, Error};

/// Size of a batch's header in bytes (message format 2).
const HEADER: usize = 61;

/// The compression of a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
    /// An unknown number.
    Other(i16),
}

/// The header of a record batch. Without idempotence, producer id, epoch and sequence are -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The number of records.
    pub records: i32,
    /// The size of the whole batch in bytes.
    pub bytes: usize,
    /// The compression, as the broker has stored it.
    pub compression: Compression,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the batch is a marker (commit or abort) and has no records of a producer.
    pub control: bool,
    /// The producer id.
    pub producer_id: i64,
    /// The epoch of the producer id.
    pub producer_epoch: i16,
    /// The sequence number of the first record.
    pub base_sequence: i32,
    /// The timestamp of the first record, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The greatest timestamp, in milliseconds since 1970.
    pub max_timestamp: i64,
}

impl Cluster {
    /// Reads the batches of a partition from its leader's disk.
    ///
    /// # Errors
    ///
    /// If this process did not start the cluster, or there is no such partition.
    pub async fn batches(&self, topic: &str, partition: i32) -> Result<Vec<Batch>, Error> {
        // Checked before the leader, which an external cluster may have, too.
        self.own("batches")?;
        let leader = self.leader(topic, partition).await?;
        read(&self.data_dir(leader)?.join(format!("{topic}-{partition}")))
    }
}

/// Reads the batches of all segments in a partition's directory, in order. An incomplete batch at the end is left out.
///
/// # Errors
///
/// If the directory or a segment cannot be read, or holds something other than message format 2.
pub fn read(dir: &Path) -> Result<Vec<Batch>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::with(dir.display()))?;
    let mut segments: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    // The names are base offsets of equal length.
    segments.sort();
    let mut batches = Vec::new();
    for path in segments {
        let bytes = fs::read(&path).map_err(Error::with(path.display()))?;
        let mut rest = &bytes[..];
        while let Some(batch) = parse(rest).map_err(Error::with(path.display()))? {
            rest = &rest[batch.bytes..];
            batches.push(batch);
        }
    }
    Ok(batches)
}

fn parse(bytes: &[u8]) -> Result<Option<Batch>, String> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = usize::try_from(i32::from_be_bytes(at(header, 8))).map_err(|_| "a negative length")?;
    let size = length + 12;
    if size < HEADER || header[16] != 2 {
        return Err(format!("not a batch of format 2: {length} bytes, magic {}", header[16]));
    }
    if size > bytes.len() {
        return Ok(None);
    }
    let attributes = i16::from_be_bytes(at(header, 21));
    Ok(Some(Batch {
        base_offset: i64::from_be_bytes(at(header, 0)),
        records: i32::from_be_bytes(at(header, 57)),
        bytes: size,
        compression: match attributes & 7 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            other => Compression::Other(other),
        },
        transactional: attributes & 0x10 != 0,
        control: attributes & 0x20 != 0,
        producer_id: i64::from_be_bytes(at(header, 43)),
        producer_epoch: i16::from_be_bytes(at(header, 51)),
        base_sequence: i32::from_be_bytes(at(header, 53)),
        base_timestamp: i64::from_be_bytes(at(header, 27)),
        max_timestamp: i64::from_be_bytes(at(header, 35)),
    }))
}

/// Returns `N` bytes of the header. The offsets are constants that are within the header.
fn at<const N: usize>(header: &[u8; HEADER], index: usize) -> [u8; N] {
    std::array::from_fn(|offset| header[index + offset])
}
