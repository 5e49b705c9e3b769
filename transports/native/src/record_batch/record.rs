//! The layout of one record (Kafka's `DefaultRecord`), and its exact size before it is written.
//!
//! ```text
//! length: varint | attributes: i8 = 0 | time delta: varlong | offset delta: varint | key | value | number of headers: varint | headers
//! ```
//!
//! Keys, values and headers' values have their length as a varint before them, -1 for null; headers' names cannot be null.

use bytes::Bytes;
use kafka_tower_core::{Header, Record};

use crate::protocol::varint::{len_i32, len_i64, put_u64, zigzag32, zigzag64};

/// What is written of a record.
#[derive(Clone, Copy)]
pub struct RecordParts<'a> {
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header],
    /// The time, in milliseconds since 1970.
    pub timestamp: i64,
}

/// Prints sizes, not contents: keys and values may be secret.
impl std::fmt::Debug for RecordParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordParts")
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers)
            .field("timestamp", &self.timestamp)
            .finish()
    }
}

/// The place of a record in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) time_delta: i64,
    pub(super) offset_delta: i32,
}

impl<'a> RecordParts<'a> {
    /// The parts of a record that is sent with this time.
    #[must_use]
    pub fn new(record: &'a Record, timestamp: i64) -> Self {
        Self {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: record.headers.as_slice(),
            timestamp,
        }
    }

    /// Number of bytes behind the record's length. `None` if that cannot be said in the length, or another length of it cannot.
    #[inline(always)] // it runs for each record
    pub(super) fn body_len(&self, place: Place) -> Option<i32> {
        // The sum has 64 bits and cannot overflow: it has fewer than 2^32 terms, each of little more than 31 bits.
        let mut len = (1 + len_i64(place.time_delta) + len_i32(place.offset_delta)) as u64;
        len += field_len(self.key)? + field_len(self.value)?;
        len += len_i32(i32::try_from(self.headers.len()).ok()?) as u64;
        for header in self.headers {
            len += field_len(Some(header.key.as_bytes()))? + field_len(header.value.as_deref())?;
        }
        i32::try_from(len).ok()
    }

    /// Writes the record into a place of exactly its size. `None` if the place is too small.
    #[inline]
    pub(super) fn write(&self, place: Place, body_len: i32, to: &mut [u8]) -> Option<()> {
        let mut to = Cursor(to);
        to.varint(body_len)?;
        to.put([0])?;
        to.varlong(place.time_delta)?;
        to.varint(place.offset_delta)?;
        to.field(self.key)?;
        to.field(self.value)?;
        to.varint(self.headers.len() as i32)?;
        for Header { key, value } in self.headers {
            to.field(Some(key.as_bytes()))?;
            to.field(value.as_ref().map(Bytes::as_ref))?;
        }
        to.0.is_empty().then_some(())
    }
}

/// Number of bytes of a length and what it counts.
#[inline]
fn field_len(field: Option<&[u8]>) -> Option<u64> {
    let Some(field) = field else { return Some(1) };
    let len = i32::try_from(field.len()).ok()?;
    Some(len_i32(len) as u64 + len as u64)
}

/// Writes to the front of a place. Every method returns `None` if there is not enough of it left.
struct Cursor<'a>(&'a mut [u8]);

impl Cursor<'_> {
    #[inline]
    fn varint(&mut self, value: i32) -> Option<()> {
        self.bits(zigzag32(value).into())
    }

    #[inline]
    fn varlong(&mut self, value: i64) -> Option<()> {
        self.bits(zigzag64(value))
    }

    /// Most numbers of a record have one or two bytes: these are written without a loop.
    #[inline]
    fn bits(&mut self, bits: u64) -> Option<()> {
        if bits < 1 << 7 {
            return self.put([bits as u8]);
        }
        if bits < 1 << 14 {
            return self.put([bits as u8 | 0x80, (bits >> 7) as u8]);
        }
        self.long_bits(bits)
    }

    #[inline(never)]
    fn long_bits(&mut self, bits: u64) -> Option<()> {
        let len = put_u64(self.0, bits)?;
        self.0 = std::mem::take(&mut self.0).get_mut(len..)?;
        Some(())
    }

    #[inline]
    fn put<const LEN: usize>(&mut self, bytes: [u8; LEN]) -> Option<()> {
        let (place, rest) = std::mem::take(&mut self.0).split_first_chunk_mut()?;
        *place = bytes;
        self.0 = rest;
        Some(())
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let (place, rest) = std::mem::take(&mut self.0).split_at_mut_checked(bytes.len())?;
        place.copy_from_slice(bytes);
        self.0 = rest;
        Some(())
    }

    #[inline]
    fn field(&mut self, field: Option<&[u8]>) -> Option<()> {
        let Some(field) = field else { return self.varint(-1) };
        self.varint(field.len() as i32)?;
        self.bytes(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_on_both_sides_of_each_number_of_bytes_are_as_in_the_protocol() {
        for len in [0, 55, 56, 63, 64, 8_183, 8_191, 8_192, 1 << 20] {
            let (value, place) = (vec![7; len], Place { time_delta: -1, offset_delta: len as i32 });
            let parts = RecordParts { key: None, value: Some(&value), headers: &[], timestamp: 0 };
            let body_len = parts.body_len(place).unwrap();
            let mut expected = Vec::new();
            for number in [body_len, 0, -1, len as i32, -1, len as i32] {
                let mut bytes = [0; 10];
                let used = put_u64(&mut bytes, zigzag32(number).into()).unwrap();
                expected.extend(&bytes[..used]);
            }
            expected.extend(&value);
            expected.push(0);
            let mut written = vec![0; len_i32(body_len) + body_len as usize];
            assert_eq!(parts.write(place, body_len, &mut written), Some(()));
            assert!(written == expected, "{len}");
            let short = written.len() - 1;
            assert_eq!(parts.write(place, body_len, &mut written[..short]), None);
            written.push(0);
            assert_eq!(parts.write(place, body_len, &mut written), None);
        }
    }
}
