use async_trait::async_trait;
use bytes::BytesMut;
use kafka_tower_core::Result;

/// Encoder of message values.
///
/// ```
/// use kafka_tower_core::{Error, Result};
/// use kafka_tower_layers::serialize::{MessageSerializer, async_trait};
///
/// struct Csv;
///
/// #[async_trait]
/// impl MessageSerializer<(u32, String)> for Csv {
///     async fn serialize(&self, (id, name): &(u32, String)) -> Result<Vec<u8>> {
///         if name.contains(',') {
///             return Err(Error::serialization("the name has a comma"));
///         }
///         Ok(format!("{id},{name}").into_bytes())
///     }
///
///     fn content_type(&self) -> &str {
///         "text/csv"
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not encode values of `{T}`",
    label = "no serializer of `{T}`",
    note = "JSON, the default, encodes what implements `serde::Serialize`",
    note = "for a format of your own implement `MessageSerializer<{T}>`"
)]
#[async_trait]
pub trait MessageSerializer<T>: Send + Sync {
    /// Encodes a value.
    ///
    /// Messages keep the order in which they were sent as long as this does not wait; see the [module](super#order)
    /// for the order if it does.
    ///
    /// # Errors
    ///
    /// The sender gets [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization) with this error as
    /// its source. An error of kind `Serialization` or [`Refused`](kafka_tower_core::ErrorKind::Refused) is returned
    /// as it is, with persistence `NotPersisted`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the sender's future drops this one.
    async fn serialize(&self, message: &T) -> Result<Vec<u8>>;

    /// MIME type of the bytes: the value of the `content-type` header, if the layer adds one. Default:
    /// `application/octet-stream`.
    fn content_type(&self) -> &str {
        "application/octet-stream"
    }

    /// Encodes a value synchronously and appends it to `buffer`, without a future or memory of its own. `None` if the
    /// serializer cannot do that: then [`serialize`](Self::serialize) is called.
    fn serialize_now(&self, message: &T, buffer: &mut BytesMut) -> Option<Result<()>> {
        let _ = (message, buffer);
        None
    }
}
