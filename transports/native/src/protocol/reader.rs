//! Reads Kafka's types from the bytes of an answer, without copying strings and bytes.
//!
//! A reader never believes a length: each is compared with what is left before anything is allocated. Arrays are the only
//! allocations. The memory of an answer is at most [`MAX_GROWTH`] times its bytes, because each array is paid from a budget of
//! that size, and [`Element`] checks at compile time that the budget suffices for every array that the bytes can contain.

use std::fmt;

use super::DecodeError;
use super::i32_array::I32Array;
use super::uuid::Uuid;
use super::varint::{self, unzigzag32, unzigzag64};

type Result<T> = std::result::Result<T, DecodeError>;

/// How many times larger than its bytes an answer may be in memory, apart from the bytes themselves.
pub const MAX_GROWTH: usize = 8;

/// A reader of one message. It knows the message's version, and with it the form of strings, bytes and arrays.
#[derive(Clone)]
pub struct Reader<'a> {
    left: &'a [u8],
    version: i16,
    flexible: bool,
    /// Bytes that arrays may still allocate.
    budget: usize,
}

/// An element of an array.
pub trait Element<'a>: Sized {
    /// The fewest bytes that an element has, over all versions, without the elements of arrays in it.
    const MIN_LEN: usize;

    /// Reads one element.
    ///
    /// # Errors
    ///
    /// If the bytes are not such an element.
    fn read(reader: &mut Reader<'a>) -> Result<Self>;
}

impl<'a> Reader<'a> {
    /// A reader of a message of a version. `flexible`: with compact types and tagged fields (KIP-482).
    #[must_use]
    pub fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { left: bytes, version, flexible, budget: bytes.len().saturating_mul(MAX_GROWTH) }
    }

    /// Version of the message.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Number of bytes that were not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Bytes that arrays may still allocate. At first [`MAX_GROWTH`] times the message.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, left) = self.left.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(*taken)
    }

    /// Checks that nothing is left. Not for answers: brokers that only speak like Kafka write more than they should, as
    /// librdkafka's mock cluster does.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TrailingBytes`] if something is.
    pub fn end(&self) -> Result<()> {
        if self.left.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    /// A boolean: any byte but 0 is true.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    /// An 8-bit integer.
    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// A 16-bit integer.
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// A 32-bit integer.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// An unsigned 32-bit integer.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// A 64-bit integer.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// A UUID.
    pub fn uuid(&mut self) -> Result<Uuid> {
        Ok(Uuid(self.fixed()?))
    }

    /// An unsigned varint.
    ///
    /// # Errors
    ///
    /// [`DecodeError::VarintTooLong`] if it has more than 32 bits.
    pub fn uvarint(&mut self) -> Result<u32> {
        u32::try_from(self.bits(varint::MAX_U32)?).map_err(|_| DecodeError::VarintTooLong)
    }

    /// A zig-zag varint.
    pub fn varint(&mut self) -> Result<i32> {
        self.uvarint().map(unzigzag32)
    }

    /// A zig-zag varlong.
    pub fn varlong(&mut self) -> Result<i64> {
        self.bits(varint::MAX_U64).map(unzigzag64)
    }

    fn bits(&mut self, max: usize) -> Result<u64> {
        let mut value = 0_u64;
        for index in 0..max {
            let [byte] = self.fixed()?;
            let bits = u64::from(byte & 0x7f);
            // Of the tenth byte, one bit fits.
            if index == varint::MAX_U64 - 1 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length of a compact type, which is stored with one added. `None` is null.
    fn compact_len(&mut self) -> Result<Option<usize>> {
        Ok((self.uvarint()? as usize).checked_sub(1))
    }

    /// A length with -1 for null.
    fn classic_len(len: i32) -> Result<Option<usize>> {
        match len {
            -1 => Ok(None),
            _ => usize::try_from(len).map(Some).map_err(|_| DecodeError::NegativeLength),
        }
    }

    /// A string or null.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotUtf8`] besides those of any field.
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>> {
        let len = if self.flexible { self.compact_len()? } else { Self::classic_len(self.i16()?.into())? };
        let Some(len) = len else { return Ok(None) };
        std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| DecodeError::NotUtf8)
    }

    /// A string.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedNull`] besides those of a nullable string.
    pub fn string(&mut self) -> Result<&'a str> {
        self.nullable_string()?.ok_or(DecodeError::UnexpectedNull)
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        let len = if self.flexible { self.compact_len()? } else { Self::classic_len(self.i32()?)? };
        len.map(|len| self.take(len)).transpose()
    }

    /// Number of an array's elements, of which each has at least `min_len` bytes. `None` is null.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if so many elements cannot be left.
    pub fn nullable_count(&mut self, min_len: usize) -> Result<Option<usize>> {
        let count = if self.flexible { self.compact_len()? } else { Self::classic_len(self.i32()?)? };
        let fits = |count: &usize| count.checked_mul(min_len).is_some_and(|len| len <= self.left.len());
        count.map(|count| Some(count).filter(fits).ok_or(DecodeError::Truncated)).transpose()
    }

    /// As [`nullable_count`](Self::nullable_count), of an array that cannot be null.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedNull`] if it is.
    pub fn count(&mut self, min_len: usize) -> Result<usize> {
        self.nullable_count(min_len)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// An array.
    ///
    /// # Errors
    ///
    /// As [`count`](Self::count); [`DecodeError::TooLarge`] if its elements would exceed the budget.
    pub fn array<T: Element<'a>>(&mut self) -> Result<Vec<T>> {
        let count = self.count(T::MIN_LEN)?;
        let mut elements = self.reserve::<T>(count)?;
        for _ in 0..count {
            elements.push(T::read(self)?);
        }
        Ok(elements)
    }

    /// An empty vector with exactly this capacity, paid from the budget.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooLarge`] if it exceeds the budget.
    pub fn reserve<T: Element<'a>>(&mut self, count: usize) -> Result<Vec<T>> {
        const { assert!(size_of::<T>() <= MAX_GROWTH * T::MIN_LEN, "a valid message could exceed the budget") };
        let cost = count.checked_mul(size_of::<T>()).ok_or(DecodeError::TooLarge)?;
        self.budget = self.budget.checked_sub(cost).ok_or(DecodeError::TooLarge)?;
        Ok(Vec::with_capacity(count))
    }

    /// The elements of an array of 32-bit integers, still encoded.
    pub fn i32_array(&mut self) -> Result<I32Array<'a>> {
        let count = self.count(4)?;
        Ok(I32Array::new(self.take(count.saturating_mul(4))?))
    }

    /// The tagged fields at the end of a structure; nothing in versions without them. Unknown tags are skipped.
    ///
    /// `field` is called with each tag and returns whether it has read the field; then the field's bytes must be used up.
    ///
    /// # Errors
    ///
    /// Those of the fields, and [`DecodeError::TagsNotAscending`].
    pub fn tagged_fields(&mut self, mut field: impl FnMut(u32, &mut Self) -> Result<bool>) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        let mut last = None;
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            if last.replace(tag) >= Some(tag) {
                return Err(DecodeError::TagsNotAscending);
            }
            let len = self.uvarint()? as usize;
            let bytes = self.take(len)?;
            let rest = std::mem::replace(&mut self.left, bytes);
            if field(tag, self)? {
                self.end()?;
            }
            self.left = rest;
        }
        Ok(())
    }

    /// Tagged fields of a structure of which no tag is known.
    pub fn skip_tagged_fields(&mut self) -> Result<()> {
        self.tagged_fields(|_, _| Ok(false))
    }
}

/// Prints sizes, not contents.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("version", &self.version).field("left", &self.left.len()).finish_non_exhaustive()
    }
}
