//! Each codec reads what it writes, refuses the rest, and keeps to the limit.

use proptest::prelude::*;

use super::*;

fn codecs() -> impl Iterator<Item = Codec> {
    [Codec::Gzip, Codec::Snappy, Codec::Lz4].into_iter().filter(|codec| codec.is_built())
}

fn compressed(codec: Codec, input: &[u8]) -> Vec<u8> {
    let mut output = b"before".to_vec();
    assert!(compress(codec, input, &mut output));
    assert!(output.starts_with(b"before"));
    output.split_off(6)
}

/// Bytes that compress well here and there.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u8>(), 0..600_usize).prop_map(|(byte, len)| vec![byte; len]);
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    prop::collection::vec(prop_oneof![run, noise], 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_compressed_can_be_decompressed(data in data()) {
        for codec in codecs() {
            let packed = compressed(codec, &data);
            prop_assert_eq!(decompress(codec, &packed, data.len()), Ok(data.clone()));
            if let Some(less) = data.len().checked_sub(1) {
                prop_assert_eq!(decompress(codec, &packed, less), Err(DecodeError::TooLarge));
            }
        }
    }

    /// A flipped bit may go unnoticed by a codec without a checksum, but the result keeps to the limit.
    #[test]
    fn broken_data_are_refused_or_small(data in data(), at: prop::sample::Index, bit in 0..8_u32, cut: prop::sample::Index) {
        for codec in codecs() {
            let mut packed = compressed(codec, &data);
            let end = cut.index(packed.len() + 1);
            let index = at.index(packed.len());
            packed[index] ^= 1 << bit;
            let limit = data.len() + 10;
            for bytes in [&packed[..], &packed[..end]] {
                let read = decompress(codec, bytes, limit);
                prop_assert!(read.is_err() || read.is_ok_and(|read| read.len() <= limit && read.capacity() <= 2 * limit + 64));
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_small(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in codecs().chain([Codec::None]) {
            let read = decompress(codec, &bytes, 1000);
            prop_assert!(read.is_err() || read.is_ok_and(|read| read.len() <= 1000));
        }
    }
}

/// Larger than the blocks of any of the formats.
#[test]
fn many_blocks_are_read() {
    let data: Vec<_> = (0..300_000_u32).flat_map(|number| (number / 100).to_be_bytes()).collect();
    for codec in codecs() {
        let packed = compressed(codec, &data);
        assert!(packed.len() < data.len(), "{codec:?}");
        assert!(decompress(codec, &packed, data.len()).is_ok_and(|read| read == data), "{codec:?}");
    }
}

#[test]
fn a_codec_that_is_not_built_is_named() {
    let mut output = Vec::new();
    assert!(!compress(Codec::Zstd, b"x", &mut output) && !Codec::Zstd.is_built());
    assert_eq!(decompress(Codec::Zstd, b"x", 9), Err(DecodeError::CodecNotBuilt("zstd")));
    assert_eq!(Codec::of_attributes(0x74), Ok(Codec::Zstd));
    assert_eq!(Codec::of_attributes(5), Err(DecodeError::UnknownCodec(5)));
}

#[cfg(feature = "snappy")]
#[test]
fn a_snappy_block_cannot_claim_more_than_it_can_contain() {
    let claims_a_gigabyte = [0x80, 0x80, 0x80, 0x80, 0x04, 0, 0];
    let mut output = Vec::new();
    assert_eq!(snappy::append_block(&claims_a_gigabyte, &mut output, usize::MAX), Err(DecodeError::Corrupt("snappy")));
    assert_eq!(output.capacity(), 0);
    // Copies of 64 bytes from one byte back: as much as fits into a block.
    let mut block = vec![0xc1, 0xbb, 0x78, 0, b'x'];
    (0..30_807).for_each(|_| block.extend([0xfe, 1, 0]));
    let len = 1 + 30_807 * 64;
    let mut prefixed = vec![0; 0];
    let mut value = len;
    while value > 0x7f {
        prefixed.push(value as u8 | 0x80);
        value >>= 7;
    }
    prefixed.push(value as u8);
    prefixed.extend(&block[3..]);
    assert_eq!(decompress(Codec::Snappy, &prefixed, len), Ok(vec![b'x'; len]));
}

#[cfg(feature = "lz4")]
#[test]
fn lz4_frames_have_independent_blocks() {
    let mut packed = compressed(Codec::Lz4, &[7; 1000]);
    assert_eq!(packed[4] & 0x20, 0x20);
    packed[4] ^= 0x20;
    assert_eq!(decompress(Codec::Lz4, &packed, 1000), Err(DecodeError::Corrupt("lz4")));
    let mut more = compressed(Codec::Lz4, &[7; 1000]);
    more.push(0);
    assert_eq!(decompress(Codec::Lz4, &more, 1000), Err(DecodeError::Corrupt("lz4")));
}
