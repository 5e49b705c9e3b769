//! Compression of the records of a batch.
//!
//! | codec | written | read besides |
//! |---|---|---|
//! | gzip | one member | several |
//! | snappy | one raw block, as librdkafka writes it | the framing of Java's `SnappyOutputStream` |
//! | lz4 | a frame with independent blocks of up to 256 KiB; Kafka refuses dependent ones | any such frame |
//!
//! zstd is known by its number only.

use std::io::Read;

use crate::protocol::DecodeError;

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;

/// A compression codec, by its number in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// No compression.
    #[default]
    None = 0,
    /// gzip, with its usual level.
    Gzip = 1,
    /// Snappy.
    Snappy = 2,
    /// LZ4.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

impl Codec {
    /// The codec in a batch's attributes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnknownCodec`].
    pub fn of_attributes(attributes: i16) -> Result<Self, DecodeError> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            unknown => Err(DecodeError::UnknownCodec(unknown as u8)),
        }
    }

    /// Its name, which is also the name of its feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether it is part of this build.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => false,
        }
    }
}

/// Appends the compressed `input` to `output`, and returns whether it did. False: the codec is not part of this build, or failed;
/// then `output` may have grown, and the input has to be sent as it is.
#[must_use]
pub fn compress(codec: Codec, input: &[u8], output: &mut Vec<u8>) -> bool {
    match codec {
        #[cfg(feature = "gzip")]
        Codec::Gzip => gzip::compress(input, output),
        #[cfg(feature = "snappy")]
        Codec::Snappy => snappy::compress(input, output),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => lz4::compress(input, output),
        _ => {
            let _ = (input, output);
            false
        }
    }
}

/// The decompressed `input`, of at most `max` bytes. It allocates at most `2 * max` bytes, and what the codec needs for itself: for
/// lz4 twice the block size that the frame names, at most 8 MiB.
///
/// # Errors
///
/// [`DecodeError::TooLarge`] beyond `max`; [`DecodeError::Corrupt`]; [`DecodeError::CodecNotBuilt`].
pub fn decompress(codec: Codec, input: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    match codec {
        Codec::None => read_all(codec, input, max),
        #[cfg(feature = "gzip")]
        Codec::Gzip => gzip::decompress(input, max),
        #[cfg(feature = "snappy")]
        Codec::Snappy => snappy::decompress(input, max),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => lz4::decompress(input, max),
        _ => Err(DecodeError::CodecNotBuilt(codec.name())),
    }
}

/// Reads to the end, but not more than `max` bytes. Grows with what arrives, and not with what the data claim.
fn read_all(codec: Codec, reader: impl Read, max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut output = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut output).map_err(|_| DecodeError::Corrupt(codec.name()))?;
    if output.len() > max { Err(DecodeError::TooLarge) } else { Ok(output) }
}

#[cfg(test)]
mod tests;
