//! Framing: splits the bytes that were read into answers, and keeps the bytes that are to be written.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use kafka_tower_core::wrong_protocol;

/// The largest answer by default.
pub const MAX_ANSWER: usize = 100_000_000;

/// Number of bytes of a length.
const LENGTH: usize = 4;
/// An answer has at least a correlation id.
const MIN_ANSWER: usize = 4;
/// Room for a read when more is not known to come.
const READ_AHEAD: usize = 8 << 10;
/// Less room than this is not used: the buffer is enlarged.
const MIN_ROOM: usize = 1 << 10;

/// Splits what was read into answers.
///
/// The buffer grows with what was read, not with what a length says: a peer cannot make it larger than about twice of what it sent.
pub struct FrameReader {
    /// What was read, and room behind it.
    buffer: BytesMut,
    /// Number of bytes that were read and not taken.
    filled: usize,
    limit: usize,
}

/// An answer with a length that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongLength {
    /// The length.
    pub length: i32,
    /// The largest that is allowed.
    pub limit: usize,
}

impl FrameReader {
    /// A reader of answers up to this size.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), filled: 0, limit }
    }

    /// Place for the next read. Never empty.
    pub fn room(&mut self) -> &mut [u8] {
        let missing = self.length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let missing = (LENGTH + missing).saturating_sub(self.filled);
        let room = missing.min(self.filled).max(READ_AHEAD);
        if self.buffer.len() < self.filled + MIN_ROOM.max(missing.min(self.filled)) {
            // So that no more is copied than was read.
            self.buffer.truncate(self.filled);
            self.buffer.resize(self.filled + room, 0);
        }
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// Tells that a read has put this number of bytes into [`room`](Self::room).
    pub fn read(&mut self, len: usize) {
        self.filled = self.filled.saturating_add(len).min(self.buffer.len());
    }

    /// Takes the next answer, without its length and without copying it. `None` if it is not complete.
    ///
    /// # Errors
    ///
    /// If its length cannot be one. It is looked at as soon as its four bytes were read.
    pub fn take(&mut self) -> Result<Option<Bytes>, WrongLength> {
        let Some(length) = self.length() else { return Ok(None) };
        let len = usize::try_from(length).ok().filter(|len| (MIN_ANSWER..=self.limit).contains(len));
        let Some(len) = len else { return Err(WrongLength { length, limit: self.limit }) };
        if self.filled < LENGTH + len {
            return Ok(None);
        }
        let mut answer = self.buffer.split_to(LENGTH + len);
        self.filled -= LENGTH + len;
        answer.advance(LENGTH);
        Ok(Some(answer.freeze()))
    }

    /// Whether it has a part of an answer.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.filled > 0
    }

    fn length(&self) -> Option<i32> {
        self.buffer.get(..self.filled)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
    }
}

/// Bytes that are to be written, in the chunks in which they lie.
#[derive(Default)]
pub struct WriteQueue {
    chunks: VecDeque<Bytes>,
}

impl WriteQueue {
    /// Appends the chunks of a request.
    pub fn push(&mut self, chunks: impl IntoIterator<Item = Bytes>) {
        self.chunks.extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
    }

    /// Whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Lets `slices` begin with what is to be written next, and returns how many of them are used.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            used += 1;
        }
        used
    }

    /// Tells that this number of bytes was written.
    pub fn wrote(&mut self, mut len: usize) {
        while let Some(first) = self.chunks.front_mut() {
            if len < first.len() {
                first.advance(len);
                return;
            }
            len -= first.len();
            self.chunks.pop_front();
        }
    }
}

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match wrong_protocol::speaks(self.length) {
            Some(text) => f.write_str(&text),
            None => write!(f, "its answer has {} bytes, and {} are allowed", self.length, self.limit),
        }
    }
}

impl Error for WrongLength {}

/// Prints sizes, not contents.
impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("filled", &self.filled).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Prints sizes, not contents.
impl fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chunks.iter().map(Bytes::len)).finish()
    }
}
