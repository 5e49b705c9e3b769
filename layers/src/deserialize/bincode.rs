use async_trait::async_trait;
use kafka_tower_core::{BoxError, RawRecord, RecordRef, Result};
use serde::de::DeserializeOwned;

use super::limits::{Decoded, decode};
use super::{DecodeLimits, MessageDeserializer};
use crate::serialize::bincode::bounded;

/// Deserializer for the bincode 1 format. Never waits.
///
/// A string may claim any length: up to 64 times the size of the value, and at least 1 MiB, is allocated for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BincodeDeserializer {
    limits: DecodeLimits,
}

impl BincodeDeserializer {
    /// Sets the limits of what a value may contain.
    #[must_use]
    pub fn with_limits(self, limits: DecodeLimits) -> Self {
        Self { limits }
    }

    fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        decode(self.limits, bytes, |seed| {
            let (value, read) = bounded(seed, bytes)?;
            Ok::<_, BoxError>(Decoded { value, rest: bytes.len() - read })
        })
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send> MessageDeserializer<T> for BincodeDeserializer {
    async fn deserialize(&self, record: RawRecord) -> Result<T> {
        self.decode(record.value.as_deref().unwrap_or_default())
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<T>> {
        Some(self.decode(record.value.unwrap_or_default()))
    }

    fn content_types(&self) -> &[&str] {
        &["application/x-bincode"]
    }
}
