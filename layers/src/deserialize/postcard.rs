use async_trait::async_trait;
use kafka_tower_core::{RawRecord, RecordRef, Result};
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::limits::{Decoded, decode};
use super::{DecodeLimits, MessageDeserializer};

/// Postcard deserializer. Never waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostcardDeserializer {
    limits: DecodeLimits,
}

impl PostcardDeserializer {
    /// Sets the limits of what a value may contain.
    #[must_use]
    pub fn with_limits(self, limits: DecodeLimits) -> Self {
        Self { limits }
    }

    fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        decode(self.limits, bytes, |seed| {
            let mut format = postcard::Deserializer::from_bytes(bytes);
            let value = seed.deserialize(&mut format)?;
            Ok::<_, postcard::Error>(Decoded { value, rest: format.finalize()?.len() })
        })
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send> MessageDeserializer<T> for PostcardDeserializer {
    async fn deserialize(&self, record: RawRecord) -> Result<T> {
        self.decode(record.value.as_deref().unwrap_or_default())
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<T>> {
        Some(self.decode(record.value.unwrap_or_default()))
    }

    fn content_types(&self) -> &[&str] {
        &["application/x-postcard"]
    }
}
