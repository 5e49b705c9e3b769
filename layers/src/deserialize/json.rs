use async_trait::async_trait;
use kafka_tower_core::{RawRecord, RecordRef, Result};
use serde::de::DeserializeOwned;

use super::MessageDeserializer;
use crate::serialize::decode::not_decoded;

/// JSON deserializer, using `serde_json`, which allows at most 128 levels. The default deserializer of a source. Never
/// waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonDeserializer;

#[async_trait]
impl<T: DeserializeOwned + Send> MessageDeserializer<T> for JsonDeserializer {
    async fn deserialize(&self, record: RawRecord) -> Result<T> {
        decode(record.value.as_deref().unwrap_or_default())
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<T>> {
        Some(decode(record.value.unwrap_or_default()))
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(not_decoded)
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;

    use super::*;

    fn now(bytes: &'static [u8]) -> Result<Vec<u32>> {
        let decoder: &dyn MessageDeserializer<Vec<u32>> = &JsonDeserializer;
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
            let waited: Result<Vec<u32>> = JsonDeserializer.deserialize(record).await;
            assert_eq!(waited.as_ref().ok(), expected.as_ref());
            if let Err(error) = waited {
                assert_eq!(error.kind(), ErrorKind::Serialization);
            }
        }
    }
}
