//! Arrays of numbers, such as the replicas of a partition.

use std::fmt;

/// An array of 32-bit integers that are decoded one by one, when they are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct I32Array<'a>(&'a [u8]);

impl<'a> I32Array<'a> {
    /// An array of these bytes, four for each element.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = i32> {
        self.0.chunks_exact(4).map(|four| four.iter().fold(0, |value, byte| value << 8 | i32::from(*byte)))
    }
}

impl fmt::Debug for I32Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
