use async_trait::async_trait;
use bytes::BytesMut;
use kafka_tower_core::Result;

/// Encodes the values of messages.
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
#[async_trait]
pub trait MessageSerializer<T>: Send + Sync {
    /// Encodes a value.
    ///
    /// As long as it does not wait, messages keep the order in which they were sent; see the
    /// [module](super) for what waiting means.
    ///
    /// # Errors
    ///
    /// The sender gets [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization) with this error as its
    /// source, or this error itself if it is of that kind.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the sender's is.
    async fn serialize(&self, message: &T) -> Result<Vec<u8>>;

    /// What the bytes are: the value of the `content-type` header, if the layer is told to add one.
    fn content_type(&self) -> &str {
        "application/octet-stream"
    }

    /// Encodes a value at once, behind what `buffer` holds: no future, no memory of its own. `None` says that the
    /// serializer cannot do that, and [`serialize`](Self::serialize) is asked.
    fn serialize_now(&self, message: &T, buffer: &mut BytesMut) -> Option<Result<()>> {
        let _ = (message, buffer);
        None
    }
}
