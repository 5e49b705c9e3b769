//! Writes Kafka's types into the frame of a request.
//!
//! A frame may have gaps: places where bytes that lie elsewhere, such as a record batch, go between its own bytes. They count
//! for its lengths and are not copied.

use std::ops::Range;

use bytes::Bytes;

use super::uuid::Uuid;
use super::varint::{self, zigzag32, zigzag64};
use super::{TooLong, api::Api, header};

/// A writer of one request.
///
/// Its methods do not fail: a field that is too long is remembered, and [`finish`](Self::finish) then fails.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Places in `bytes`, and the length of what goes there.
    gaps: Vec<(usize, usize)>,
    version: i16,
    flexible: bool,
    too_long: bool,
}

/// A request as it is written to a socket: its length, its header and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    gaps: Vec<(usize, usize)>,
}

/// A part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the frame.
    Own(&'a [u8]),
    /// The place of the gap with this number and length.
    Gap(usize, usize),
}

impl Writer {
    /// A writer that has written the length's place and the header.
    #[must_use]
    pub fn request(api: Api, version: i16, correlation_id: i32, client_id: Option<&str>) -> Self {
        let bytes = Vec::with_capacity(64);
        let mut writer = Self { bytes, gaps: Vec::new(), version, flexible: false, too_long: false };
        writer.i32(0);
        header::write_request(&mut writer, api, correlation_id, client_id);
        writer.flexible = api.is_flexible(version);
        writer
    }

    /// Version of the request.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Ends the request and fills in its length.
    ///
    /// # Errors
    ///
    /// If a field, or the request, was too long.
    pub fn finish(mut self) -> Result<Frame, TooLong> {
        let gaps: usize = self.gaps.iter().map(|(_, len)| len).sum();
        let len = i32::try_from((self.bytes.len() - 4).saturating_add(gaps)).map_err(|_| TooLong)?;
        if let Some(place) = self.bytes.first_chunk_mut() {
            *place = len.to_be_bytes();
        }
        if self.too_long { Err(TooLong) } else { Ok(Frame { bytes: self.bytes, gaps: self.gaps }) }
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    /// An 8-bit integer.
    pub fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    /// A 16-bit integer.
    pub fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    /// A 32-bit integer.
    pub fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    /// A 64-bit integer.
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    /// A UUID.
    pub fn uuid(&mut self, value: Uuid) {
        self.bytes.extend(value.0);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u32) {
        self.bits(value.into());
    }

    /// A zig-zag varint.
    pub fn varint(&mut self, value: i32) {
        self.bits(zigzag32(value).into());
    }

    /// A zig-zag varlong.
    pub fn varlong(&mut self, value: i64) {
        self.bits(zigzag64(value));
    }

    fn bits(&mut self, value: u64) {
        let mut bytes = [0; varint::MAX_U64];
        let len = varint::put_u64(&mut bytes, value).unwrap_or_default();
        self.bytes.extend(bytes.iter().take(len));
    }

    /// A string or null.
    pub fn nullable_string(&mut self, value: Option<&str>) {
        self.len(value.map(str::len), true);
        self.bytes.extend(value.unwrap_or_default().as_bytes());
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>) {
        self.len(value.map(<[u8]>::len), false);
        self.bytes.extend(value.unwrap_or_default());
    }

    /// Bytes that lie elsewhere. The frame has a gap at their place.
    pub fn gap(&mut self, len: usize) {
        self.len(Some(len), false);
        self.gaps.push((self.bytes.len(), len));
    }

    /// An array or null. `element` writes one element.
    pub fn nullable_array<T>(&mut self, elements: Option<&[T]>, mut element: impl FnMut(&mut Self, &T)) {
        self.len(elements.map(<[T]>::len), false);
        for one in elements.unwrap_or_default() {
            element(self, one);
        }
    }

    /// An array.
    pub fn array<T>(&mut self, elements: &[T], element: impl FnMut(&mut Self, &T)) {
        self.nullable_array(Some(elements), element);
    }

    /// The end of a structure: no tagged fields. Nothing in versions without them.
    pub fn no_tagged_fields(&mut self) {
        if self.flexible {
            self.uvarint(0);
        }
    }

    /// The tagged fields of a request's header.
    pub(crate) fn header_tagged_fields(&mut self) {
        self.uvarint(0);
    }

    /// A length, in the form of the version. Those of classic strings have 16 bits.
    fn len(&mut self, len: Option<usize>, short: bool) {
        let max = if short && !self.flexible { i16::MAX as usize } else { i32::MAX as usize - 1 };
        self.too_long |= len.is_some_and(|len| len > max);
        match len {
            None if self.flexible => self.uvarint(0),
            Some(len) if self.flexible => self.uvarint(u32::try_from(len).unwrap_or_default().wrapping_add(1)),
            _ if short => self.i16(len.map_or(-1, |len| i16::try_from(len).unwrap_or_default())),
            _ => self.i32(len.map_or(-1, |len| i32::try_from(len).unwrap_or_default())),
        }
    }
}

impl Frame {
    /// Number of bytes, with those of the gaps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.gaps.iter().map(|(_, len)| len).sum::<usize>()
    }

    /// Whether it has no bytes; no frame has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its parts in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let starts = std::iter::once(0).chain(self.gaps.iter().map(|(at, _)| *at));
        let ends = self.gaps.iter().map(|(at, _)| *at).chain([self.bytes.len()]);
        let gaps = self.gaps.iter().enumerate().map(|(number, (_, len))| Some(Piece::Gap(number, *len))).chain([None]);
        starts.zip(ends).zip(gaps).flat_map(|((start, end), gap)| [self.own(start..end), gap]).flatten()
    }

    /// Its bytes in the chunks in which they lie, with these in the gaps. `None` if number or lengths are not those of the gaps.
    #[must_use]
    pub fn into_chunks(self, gaps: &[Bytes]) -> Option<Vec<Bytes>> {
        if !self.gaps.iter().map(|(_, len)| *len).eq(gaps.iter().map(Bytes::len)) {
            return None;
        }
        let mut own = Bytes::from(self.bytes);
        let mut chunks = Vec::with_capacity(2 * gaps.len() + 1);
        let mut taken = 0;
        for ((at, _), gap) in self.gaps.iter().zip(gaps) {
            chunks.push(own.split_to((at - taken).min(own.len())));
            chunks.push(gap.clone());
            taken = *at;
        }
        chunks.push(own);
        Some(chunks)
    }

    fn own(&self, range: Range<usize>) -> Option<Piece<'_>> {
        self.bytes.get(range).filter(|bytes| !bytes.is_empty()).map(Piece::Own)
    }
}
