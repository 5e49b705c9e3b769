//! The elements of a list, and the entries of a map.

use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use super::adapter::Limited;
use super::budget::{Budget, Exceeded};

/// A list or a map of serde, around that of a format.
pub(super) struct Elements<'b, A> {
    inner: A,
    budget: &'b Budget,
    /// Number of levels around an element.
    depth: usize,
    counts: bool,
    /// Number of elements that were counted.
    number: usize,
}

impl<'b, A> Elements<'b, A> {
    #[inline]
    pub(super) fn new(
        inner: A,
        claimed: Option<usize>,
        budget: &'b Budget,
        depth: usize,
        counts: bool,
    ) -> Result<Self, Exceeded> {
        if let Some(claimed) = claimed {
            budget.claim(claimed)?;
        }
        Ok(Self { inner, budget, depth, counts, number: 0 })
    }

    /// Counts an element that was read.
    #[inline]
    fn count<T, E: serde::de::Error>(&mut self, element: Option<T>) -> Result<Option<T>, E> {
        if self.counts && element.is_some() {
            self.budget.count(self.number).map_err(E::custom)?;
            self.number += 1;
        }
        Ok(element)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let element = self.inner.next_element_seed(Limited::inside(seed, self.budget, self.depth))?;
        self.count(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(Limited::inside(seed, self.budget, self.depth))?;
        self.count(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Limited::inside(seed, self.budget, self.depth))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}
