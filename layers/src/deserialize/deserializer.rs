use async_trait::async_trait;
use kafka_tower_core::{RawRecord, RecordRef, Result};

/// Decoder of message values.
///
/// ```
/// use kafka_tower_core::{Error, ErrorKind, RawRecord, Result};
/// use kafka_tower_layers::deserialize::MessageDeserializer;
/// use kafka_tower_layers::serialize::async_trait;
///
/// struct Csv;
///
/// #[async_trait]
/// impl MessageDeserializer<(u32, String)> for Csv {
///     async fn deserialize(&self, record: RawRecord) -> Result<(u32, String)> {
///         let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
///         let row = text.split_once(',').and_then(|(id, name)| Some((id.parse().ok()?, name.to_owned())));
///         row.ok_or_else(|| Error::new(ErrorKind::Serialization, "not a row of two columns").without_record())
///     }
/// }
/// ```
#[async_trait]
pub trait MessageDeserializer<T>: Send + Sync {
    /// Decodes the value of a record. It is called if [`deserialize_now`](Self::deserialize_now) returned `None`, one record
    /// at a time.
    ///
    /// # Errors
    ///
    /// The reader gets a decode error with the original record and this error as its source.
    async fn deserialize(&self, record: RawRecord) -> Result<T>;

    /// Decodes the value of a lent record synchronously, without a copy of its bytes. `None` if the deserializer cannot do
    /// that: then [`deserialize`](Self::deserialize) is called. The record has a value.
    fn deserialize_now(&self, topic: &str, record: &RecordRef<'_>) -> Option<Result<T>> {
        let _ = (topic, record);
        None
    }

    /// The content types that it reads. A source refuses records whose header `content-type` states another one: see
    /// [`check_content_type`](super::check_content_type). Default: none, and records are not compared.
    fn content_types(&self) -> &[&str] {
        &[]
    }
}
