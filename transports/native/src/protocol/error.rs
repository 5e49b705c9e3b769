//! Why bytes of a broker cannot be read, and why a request cannot be written.

use std::error::Error;
use std::fmt;

/// The reason why an answer or a record batch cannot be read. The connection that it came from has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the field does, or a length says more than there is.
    Truncated,
    /// Bytes are left after the last field.
    TrailingBytes,
    /// A varint has more bytes than its type can have, or more bits.
    VarintTooLong,
    /// A length is negative and is not the one of null.
    NegativeLength,
    /// Null, where the field cannot be null.
    UnexpectedNull,
    /// A string is not UTF-8.
    NotUtf8,
    /// Tags of a structure are not in ascending order (KIP-482).
    TagsNotAscending,
    /// The message has a version that this package does not know.
    UnknownVersion(i16),
    /// A correlation id other than that of the request.
    WrongCorrelationId(i32),
    /// The format of a record batch is not 2.
    UnknownMagic(i8),
    /// The checksum of a record batch does not match.
    WrongChecksum,
    /// The number of a compression codec is unknown.
    UnknownCodec(u8),
    /// The codec exists and is not part of this build.
    CodecNotBuilt(&'static str),
    /// Compressed data that its codec refuses.
    Corrupt(&'static str),
    /// Data that would be larger than the reader allows, once it is read or decompressed.
    TooLarge,
    /// A field with a value that the protocol excludes, by its name.
    InvalidField(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it ends early"),
            Self::TrailingBytes => f.write_str("bytes are left over at its end"),
            Self::VarintTooLong => f.write_str("it has a varint that is too long"),
            Self::NegativeLength => f.write_str("it has a negative length"),
            Self::UnexpectedNull => f.write_str("it has a null in a field that cannot be null"),
            Self::NotUtf8 => f.write_str("it has a string that is not UTF-8"),
            Self::TagsNotAscending => f.write_str("its tagged fields are out of order"),
            Self::UnknownVersion(version) => write!(f, "its version {version} is unknown"),
            Self::WrongCorrelationId(id) => write!(f, "it answers request {id}, which was not the next one"),
            Self::UnknownMagic(magic) => write!(f, "its record batch has the format {magic}, not 2"),
            Self::WrongChecksum => f.write_str("the checksum of its record batch is wrong"),
            Self::UnknownCodec(codec) => write!(f, "its record batch is compressed with the unknown codec {codec}"),
            Self::CodecNotBuilt(name) => {
                write!(f, "its record batch is compressed with {name}, which is not part of this build")
            }
            Self::Corrupt(name) => write!(f, "its {name} data are corrupt"),
            Self::TooLarge => f.write_str("it is larger than allowed"),
            Self::InvalidField(name) => write!(f, "its field `{name}` has an invalid value"),
        }
    }
}

impl Error for DecodeError {}

/// The reason why a request cannot be written: a string or array in it is longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field of the request is longer than Kafka's protocol allows")
    }
}

impl Error for TooLong {}
