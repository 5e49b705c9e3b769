//! LZ4 frames, as Kafka's `Lz4BlockInputStream` accepts them: with independent blocks.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Codec, read_all};
use crate::protocol::DecodeError;

const CORRUPT: DecodeError = DecodeError::Corrupt("lz4");

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// In the frame's flags: no block refers to another one.
const INDEPENDENT_BLOCKS: u8 = 0x20;

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> bool {
    let info = FrameInfo::new().block_size(BlockSize::Max256KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, output);
    encoder.write_all(input).is_ok() && encoder.finish().is_ok()
}

pub(super) fn decompress(mut input: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    let flags = input.strip_prefix(&MAGIC).and_then(<[u8]>::first).ok_or(CORRUPT)?;
    if flags & INDEPENDENT_BLOCKS == 0 {
        return Err(CORRUPT);
    }
    let output = read_all(Codec::Lz4, FrameDecoder::new(&mut input), max)?;
    if input.is_empty() { Ok(output) } else { Err(CORRUPT) }
}
