//! Snappy: raw blocks, and the framing of the Java library.
//!
//! Java's clients write a header of 16 bytes, then blocks of 32 KiB with their lengths before them (snappy-java's
//! `SnappyOutputStream`). librdkafka writes one raw block, and every reader of Kafka's accepts it: Java's looks for the header first
//! (`SnappyInputStream.readHeader`).

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use crate::protocol::DecodeError;
use crate::protocol::reader::Reader;

const CORRUPT: DecodeError = DecodeError::Corrupt("snappy");

/// What Java's framing begins with. Its version and the oldest compatible one follow, with four bytes each.
const JAVA_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";

/// The most that a block can grow: a copy of up to 64 bytes takes 3.
const MAX_RATIO: usize = 22;

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    // 0: too long for a block.
    let room = max_compress_len(input.len());
    output.resize(start + room, 0);
    let to = output.get_mut(start..).unwrap_or_default();
    let Ok(len) = Encoder::new().compress(input, to) else { return false };
    output.truncate(start + len);
    true
}

pub(super) fn decompress(input: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut output = Vec::new();
    if !input.starts_with(JAVA_MAGIC) {
        append_block(input, &mut output, max)?;
        return Ok(output);
    }
    let mut reader = Reader::new(input, 0, false);
    reader.take(JAVA_MAGIC.len() + 8)?;
    while reader.remaining() > 0 {
        let block = reader.nullable_bytes()?.ok_or(CORRUPT)?;
        append_block(block, &mut output, max)?;
    }
    Ok(output)
}

pub(super) fn append_block(block: &[u8], output: &mut Vec<u8>, max: usize) -> Result<(), DecodeError> {
    let len = decompress_len(block).map_err(|_| CORRUPT)?;
    if len > block.len().saturating_mul(MAX_RATIO) {
        return Err(CORRUPT);
    }
    let start = output.len();
    if len > max - start {
        return Err(DecodeError::TooLarge);
    }
    output.resize(start + len, 0);
    let to = output.get_mut(start..).unwrap_or_default();
    let written = Decoder::new().decompress(block, to).map_err(|_| CORRUPT)?;
    if written == len { Ok(()) } else { Err(CORRUPT) }
}
