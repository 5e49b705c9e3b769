use async_trait::async_trait;
use kafka_tower_core::{RawRecord, RecordRef, Result};
use serde::de::DeserializeOwned;

use super::MessageDeserializer;
use crate::serialize::PostcardSerializer;

/// Postcard deserializer. Never waits. What [`PostcardSerializer::decode`] says about your type holds here too.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostcardDeserializer;

#[async_trait]
impl<T: DeserializeOwned + Send> MessageDeserializer<T> for PostcardDeserializer {
    async fn deserialize(&self, record: RawRecord) -> Result<T> {
        decode(record.value.as_deref().unwrap_or_default())
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<T>> {
        Some(decode(record.value.unwrap_or_default()))
    }
}

/// The broker has limited the size of the record already.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    PostcardSerializer::decode(bytes, bytes.len())
}
