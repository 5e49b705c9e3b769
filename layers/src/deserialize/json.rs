use async_trait::async_trait;
use kafka_tower_core::{RawRecord, RecordRef, Result};
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::limits::{Decoded, decode};
use super::{DecodeLimits, MessageDeserializer};

/// JSON deserializer, using `serde_json`, which allows at most 128 levels. The default deserializer of a source. Never
/// waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonDeserializer {
    limits: DecodeLimits,
}

impl JsonDeserializer {
    /// Sets the limits of what a value may contain.
    #[must_use]
    pub fn with_limits(self, limits: DecodeLimits) -> Self {
        Self { limits }
    }

    fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        decode(self.limits, bytes, |seed| match std::str::from_utf8(bytes) {
            // One check is cheaper than one of each string.
            Ok(text) => read(serde_json::Deserializer::from_str(text), seed),
            // For the error and its place, or for a type that takes a string as bytes.
            Err(_) => read(serde_json::Deserializer::from_slice(bytes), seed),
        })
    }
}

fn read<'de, R: serde_json::de::Read<'de>, S: DeserializeSeed<'de>>(
    mut format: serde_json::Deserializer<R>,
    seed: S,
) -> serde_json::Result<Decoded<S::Value>> {
    let value = seed.deserialize(&mut format)?;
    format.end()?;
    Ok(Decoded { value, rest: 0 })
}

#[async_trait]
impl<T: DeserializeOwned + Send> MessageDeserializer<T> for JsonDeserializer {
    async fn deserialize(&self, record: RawRecord) -> Result<T> {
        self.decode(record.value.as_deref().unwrap_or_default())
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<T>> {
        Some(self.decode(record.value.unwrap_or_default()))
    }

    fn content_types(&self) -> &[&str] {
        &["application/json", "text/json"]
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;

    use super::*;

    fn now(bytes: &'static [u8]) -> Result<Vec<u32>> {
        let decoder: &dyn MessageDeserializer<Vec<u32>> = &JsonDeserializer::default();
        decoder.deserialize_now("orders", &RecordRef::new(0).with_value(Some(bytes))).unwrap()
    }

    #[tokio::test]
    async fn both_ways_read_what_was_written_and_nothing_else() {
        let good: &[u8] = b"[1,2]";
        for (bytes, expected) in
            [(good, Some(vec![1, 2])), (b"[1,2] ", Some(vec![1, 2])), (b"[1,2]]", None), (b"", None)]
        {
            assert_eq!(now(bytes).ok(), expected);
            let mut record = RawRecord::new("orders", 0, 0);
            record.value = Some(bytes.into());
            let waited: Result<Vec<u32>> = JsonDeserializer::default().deserialize(record).await;
            assert_eq!(waited.as_ref().ok(), expected.as_ref());
            if let Err(error) = waited {
                assert_eq!(error.kind(), ErrorKind::Serialization);
            }
        }
    }
}
