//! Reads record batches: what a producer wrote, or a broker keeps.
//!
//! Nothing is copied but compressed records, which are decompressed once for a batch.

use std::borrow::Cow;
use std::fmt;

use crate::compress::{self, Codec};
use crate::protocol::DecodeError;
use crate::protocol::reader::Reader;

use super::header::Header;

/// A batch with its checksum and header checked.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    header: Header,
    data: &'a [u8],
}

/// The records of a batch, without compression.
#[derive(Clone)]
pub struct Records<'a> {
    header: Header,
    bytes: Cow<'a, [u8]>,
}

/// A record of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset; from 0 on in a producer's batch.
    pub offset: i64,
    /// Its time, or that of its append.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
}

/// Reads the records of a batch in order. Ends after the first error.
#[derive(Clone)]
pub struct RecordIter<'a> {
    reader: Reader<'a>,
    header: Header,
    left: i32,
    /// Offset of the last record, from the base offset on.
    last: i32,
    ended: bool,
}

impl<'a> Batch<'a> {
    /// Reads the first batch in `bytes`, and returns what follows it.
    ///
    /// # Errors
    ///
    /// As [`Header::read`].
    pub fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (header, data, rest) = Header::read(bytes)?;
        Ok((Self { header, data }, rest))
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Decompresses the records, to at most `max` bytes.
    ///
    /// # Errors
    ///
    /// If they are larger, or corrupt, or the codec is unknown.
    pub fn records(&self, max: usize) -> Result<Records<'a>, DecodeError> {
        let bytes = match self.header.codec()? {
            Codec::None => Cow::Borrowed(self.data),
            codec => Cow::Owned(compress::decompress(codec, self.data, max)?),
        };
        Ok(Records { header: self.header, bytes })
    }
}

impl Records<'_> {
    /// The records in order.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            reader: Reader::new(&self.bytes, 0, false),
            header: self.header,
            left: self.header.count,
            last: -1,
            ended: false,
        }
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = Result<RecordView<'a>, DecodeError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> RecordIter<'a> {
    fn read(&mut self) -> Result<RecordView<'a>, DecodeError> {
        let len = usize::try_from(self.reader.varint()?).map_err(|_| DecodeError::NegativeLength)?;
        let mut reader = Reader::new(self.reader.take(len)?, 0, false);
        let _attributes = reader.i8()?;
        let timestamp = self.header.base_timestamp.wrapping_add(reader.varlong()?);
        let offset_delta = reader.varint()?;
        if offset_delta <= self.last || offset_delta > self.header.last_offset_delta {
            return Err(DecodeError::InvalidField("offsetDelta"));
        }
        self.last = offset_delta;
        let key = field(&mut reader)?;
        let value = field(&mut reader)?;
        let header_count = usize::try_from(reader.varint()?).map_err(|_| DecodeError::NegativeLength)?;
        let headers = reader.take(reader.remaining())?;
        let mut reader = Reader::new(headers, 0, false);
        for _ in 0..header_count {
            header(&mut reader)?;
        }
        reader.end()?;
        Ok(RecordView {
            offset: self.header.base_offset.wrapping_add(offset_delta.into()),
            timestamp: if self.header.is_log_append_time() { self.header.max_timestamp } else { timestamp },
            key,
            value,
            headers,
            header_count,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.left {
            0 => self.reader.end().err().map(Err),
            _ => Some(self.read()),
        };
        self.left -= 1;
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<'a> RecordView<'a> {
    /// Number of headers.
    #[must_use]
    pub fn header_count(&self) -> usize {
        self.header_count
    }

    /// The headers in order: name and value, which may be null.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        // They were read once already, so that none of them fails.
        let mut reader = Reader::new(self.headers, 0, false);
        (0..self.header_count).map_while(move |_| header(&mut reader).ok())
    }
}

// What is printed are sizes, not contents: keys and values may be secret.

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("header", &self.header).field("len", &self.data.len()).finish()
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("header", &self.header).field("len", &self.bytes.len()).finish()
    }
}

impl fmt::Debug for RecordIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordIter").field("left", &self.left).finish_non_exhaustive()
    }
}

impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordView")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("header_count", &self.header_count)
            .finish_non_exhaustive()
    }
}

/// A length as a varint, -1 for null, and so many bytes.
fn field<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match reader.varint()? {
        -1 => Ok(None),
        len => reader.take(usize::try_from(len).map_err(|_| DecodeError::NegativeLength)?).map(Some),
    }
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, Option<&'a [u8]>), DecodeError> {
    let name = field(reader)?.ok_or(DecodeError::UnexpectedNull)?;
    let name = std::str::from_utf8(name).map_err(|_| DecodeError::NotUtf8)?;
    Ok((name, field(reader)?))
}
