//! Counts what a value may still contain. No clock, no lock, no async.

use std::cell::Cell;
use std::fmt;

use kafka_tower_core::Error;

use super::DecodeLimits;
use crate::serialize::decode::{beyond_limit, error};

/// What the value that is decoded may still contain.
pub(super) struct Budget {
    limits: DecodeLimits,
    /// Elements that may still come in all lists together. Each that is not empty has a byte of its own, besides the bytes of
    /// the elements inside it: so there are never more than the value has bytes.
    left: Cell<usize>,
    exceeded: Cell<Option<Exceeded>>,
}

/// The limit that a value exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Depth(usize),
    Elements(usize),
    Bytes,
}

impl Budget {
    pub(super) fn new(limits: DecodeLimits, bytes: usize) -> Self {
        Self { limits, left: Cell::new(bytes), exceeded: Cell::new(None) }
    }

    /// The limit that was exceeded first.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded.get()
    }

    /// Enters a level. `depth` is the number of levels around it; returns the number with it.
    #[inline]
    pub(super) fn enter(&self, depth: usize) -> Result<usize, Exceeded> {
        if depth < self.limits.depth { Ok(depth + 1) } else { Err(self.exceed(Exceeded::Depth(self.limits.depth))) }
    }

    /// Checks the length that a list claims. A format may not say it; then only [`count`](Self::count) applies.
    #[inline]
    pub(super) fn claim(&self, claimed: usize) -> Result<(), Exceeded> {
        if claimed > self.limits.elements {
            return Err(self.exceed(Exceeded::Elements(self.limits.elements)));
        }
        if claimed > self.left.get() { Err(self.exceed(Exceeded::Bytes)) } else { Ok(()) }
    }

    /// Counts an element, the `number`th of its list from 0.
    #[inline]
    pub(super) fn count(&self, number: usize) -> Result<(), Exceeded> {
        if number >= self.limits.elements {
            return Err(self.exceed(Exceeded::Elements(self.limits.elements)));
        }
        let left = self.left.get().checked_sub(1).ok_or_else(|| self.exceed(Exceeded::Bytes))?;
        self.left.set(left);
        Ok(())
    }

    #[cold]
    fn exceed(&self, exceeded: Exceeded) -> Exceeded {
        self.exceeded.set(self.exceeded.get().or(Some(exceeded)));
        exceeded
    }
}

impl Exceeded {
    pub(super) fn error(self) -> Error {
        match self {
            Self::Depth(_) | Self::Elements(_) => beyond_limit(self.to_string()),
            Self::Bytes => error(self.to_string()),
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth(most) => write!(f, "the value has more than {most} levels"),
            Self::Elements(most) => write!(f, "the value has a list or map of more than {most} elements"),
            Self::Bytes => f.write_str("the value has more elements than bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        for exceeded in [Exceeded::Depth(64), Exceeded::Elements(9), Exceeded::Bytes] {
            assert_consistent(&exceeded.error());
        }
    }

    #[test]
    fn each_limit_is_exact_and_the_first_excess_is_kept() {
        let budget = Budget::new(DecodeLimits::default().depth(2).elements(3), 5);
        assert_eq!((budget.enter(0), budget.enter(1)), (Ok(1), Ok(2)));
        assert_eq!((budget.claim(3), budget.exceeded()), (Ok(()), None));
        assert_eq!([0, 1, 2, 0].map(|number| budget.count(number)), [Ok(()); 4]);
        assert_eq!((budget.claim(1), budget.claim(2)), (Ok(()), Err(Exceeded::Bytes)));
        assert_eq!((budget.count(3), budget.claim(4)), (Err(Exceeded::Elements(3)), Err(Exceeded::Elements(3))));
        assert_eq!((budget.count(0), budget.count(0)), (Ok(()), Err(Exceeded::Bytes)));
        assert_eq!((budget.enter(2), budget.exceeded()), (Err(Exceeded::Depth(2)), Some(Exceeded::Bytes)));
    }
}
