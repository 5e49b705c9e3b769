use async_trait::async_trait;
use bytes::Bytes;
use kafka_tower_core::{RawRecord, RecordRef, Result};

use super::MessageDeserializer;

/// Returns the bytes of a value as they are, in memory of their own. Never waits, and never fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesDeserializer;

#[async_trait]
impl MessageDeserializer<Bytes> for BytesDeserializer {
    async fn deserialize(&self, record: RawRecord) -> Result<Bytes> {
        Ok(record.value.unwrap_or_default())
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<Bytes>> {
        Some(Ok(Bytes::copy_from_slice(record.value.unwrap_or_default())))
    }
}
