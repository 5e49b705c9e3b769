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
    #[inline]
    pub(super) fn body_len(&self, place: Place) -> Option<i32> {
        let mut len = 1 + len_i64(place.time_delta) + len_i32(place.offset_delta);
        len = len.checked_add(field_len(self.key)?)?.checked_add(field_len(self.value)?)?;
        len = len.checked_add(len_i32(i32::try_from(self.headers.len()).ok()?))?;
        for header in self.headers {
            len = len.checked_add(field_len(Some(header.key.as_bytes()))?)?;
            len = len.checked_add(field_len(header.value.as_deref())?)?;
        }
        i32::try_from(len).ok()
    }

    /// Writes the record into a place of exactly its size. `None` if the place is too small.
    #[inline]
    pub(super) fn write(&self, place: Place, body_len: i32, to: &mut [u8]) -> Option<()> {
        let mut to = Cursor(to);
        to.varint(body_len)?;
        to.bytes(&[0])?;
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
fn field_len(field: Option<&[u8]>) -> Option<usize> {
    let Some(field) = field else { return Some(1) };
    len_i32(i32::try_from(field.len()).ok()?).checked_add(field.len())
}

/// Writes to the front of a place. Every method returns `None` if there is not enough of it left.
struct Cursor<'a>(&'a mut [u8]);

impl Cursor<'_> {
    #[inline]
    fn advance(&mut self, len: usize) -> Option<()> {
        self.0 = std::mem::take(&mut self.0).get_mut(len..)?;
        Some(())
    }

    #[inline]
    fn varint(&mut self, value: i32) -> Option<()> {
        let len = put_u64(self.0, zigzag32(value).into())?;
        self.advance(len)
    }

    #[inline]
    fn varlong(&mut self, value: i64) -> Option<()> {
        let len = put_u64(self.0, zigzag64(value))?;
        self.advance(len)
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
