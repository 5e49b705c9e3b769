//! gzip.

use std::io::Write;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Codec, read_all};
use crate::protocol::DecodeError;

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut encoder = GzEncoder::new(output, Compression::default());
    encoder.write_all(input).and_then(|()| encoder.finish()).is_ok()
}

pub(super) fn decompress(input: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    read_all(Codec::Gzip, MultiGzDecoder::new(input), max)
}
