//! Decodes a value within limits, whatever its format.

use std::marker::PhantomData;

use kafka_tower_core::{BoxError, Result};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};

use super::DecodeLimits;
use super::adapter::Limited;
use super::budget::Budget;
use crate::serialize::decode::{not_decoded, too_large, trailing};

/// A value, and the number of bytes that were left over after it.
pub(in crate::deserialize) struct Decoded<T> {
    pub(in crate::deserialize) value: T,
    pub(in crate::deserialize) rest: usize,
}

/// The seed that a format's deserializer is given to.
pub(in crate::deserialize) struct Seed<'b, T> {
    budget: &'b Budget,
    value: PhantomData<fn() -> T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<T, D::Error> {
        T::deserialize(Limited::new(deserializer, self.budget))
    }
}

/// Decodes a value with `format`, which gives its deserializer to the seed.
#[inline]
pub(in crate::deserialize) fn decode<T, E: Into<BoxError>>(
    limits: DecodeLimits,
    bytes: &[u8],
    format: impl FnOnce(Seed<'_, T>) -> std::result::Result<Decoded<T>, E>,
) -> Result<T> {
    if bytes.len() > limits.bytes {
        return Err(too_large(bytes.len(), limits.bytes));
    }
    let budget = Budget::new(limits, bytes.len());
    let decoded = format(Seed { budget: &budget, value: PhantomData });
    // Also if the type's own code has hidden it.
    if let Some(exceeded) = budget.exceeded() {
        return Err(exceeded.error());
    }
    match decoded.map_err(not_decoded)? {
        Decoded { value, rest: 0 } => Ok(value),
        Decoded { rest, .. } => Err(trailing(rest)),
    }
}
