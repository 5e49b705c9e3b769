//! A batch that is ready to be sent.

use crate::compress::{self, Codec};

use super::header::{HEADER_LEN, Header, Stamp};

/// A batch with its header. It is sent, and sent again, with the same bytes.
///
/// The records are kept as they were appended, beside their compressed form: to split the batch, or to give records back.
pub struct SealedBatch {
    raw: Vec<u8>,
    raw_len: usize,
    packed: Vec<u8>,
    is_packed: bool,
    header: Header,
}

impl SealedBatch {
    /// Compresses the records if that makes them smaller, and writes the header.
    pub(super) fn new(raw: Vec<u8>, raw_len: usize, header: Header, codec: Codec, mut packed: Vec<u8>) -> Self {
        packed.clear();
        packed.resize(HEADER_LEN, 0);
        let records = raw.get(HEADER_LEN..raw_len).unwrap_or_default();
        let is_packed =
            codec != Codec::None && compress::compress(codec, records, &mut packed) && packed.len() < raw_len;
        let mut batch = Self { raw, raw_len, packed, is_packed, header };
        if batch.is_packed {
            batch.header.attributes = Header::attributes(codec, header.is_transactional());
        }
        batch.write_header();
        batch
    }

    fn write_header(&mut self) {
        let raw = self.raw.get_mut(..self.raw_len).unwrap_or_default();
        let written = self.header.write(if self.is_packed { &mut self.packed } else { raw });
        debug_assert!(written, "a builder has room for the header, and no batch longer than 31 bits");
    }

    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.is_packed { &self.packed } else { self.raw.get(..self.raw_len).unwrap_or_default() }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The records without header and compression.
    #[must_use]
    pub fn records(&self) -> &[u8] {
        self.raw.get(HEADER_LEN..self.raw_len).unwrap_or_default()
    }

    /// Gives the batch another stamp, and computes the checksum anew. Not for a batch that may be in the log: the broker would
    /// not recognize it.
    pub fn restamp(&mut self, stamp: Stamp) {
        self.header.stamp = stamp;
        self.write_header();
    }

    /// The buffers, to be used again: that of the records, with its full length, and that of their compressed form.
    #[must_use]
    pub fn into_buffers(self) -> (Vec<u8>, Vec<u8>) {
        (self.raw, self.packed)
    }
}

/// Prints sizes, not contents.
impl std::fmt::Debug for SealedBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedBatch")
            .field("raw_len", &self.raw_len)
            .field("len", &self.bytes().len())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
