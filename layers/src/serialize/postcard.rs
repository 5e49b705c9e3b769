use async_trait::async_trait;
use bytes::BytesMut;
use kafka_tower_core::{Error, Result};
use postcard::ser_flavors::Flavor;
use postcard::{serialize_with_flavor, take_from_bytes, to_stdvec};
use serde::de::DeserializeOwned;

use super::MessageSerializer;
use super::decode::{check_limit, not_decoded, trailing};
use super::small_writes::SmallWrites;

/// Serializer for the [postcard] 1 format: small, maintained and specified. Never waits.
///
/// Integers, lengths and enum variants are varints (signed ones in zigzag encoding); `u8`, `i8` and `bool` are one
/// byte; floats are little-endian; an option is one byte and its value; names are not written. Both sides need the
/// same struct: adding, removing or moving a field makes old bytes unreadable, or readable as something else.
///
/// [postcard]: https://postcard.jamesmunns.com/wire-format
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower_core::Result<()> {
/// use std::sync::Arc;
/// use kafka_tower_core::SinkMessage;
/// use kafka_tower_layers::serialize::{PostcardSerializer, SerializeLayer};
/// use kafka_tower_memory::MemoryKafka;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
/// struct Order { id: u32, paid: bool }
///
/// let kafka = MemoryKafka::new().with_topic("orders", 1);
/// let layer = SerializeLayer::new("orders", Arc::new(PostcardSerializer));
/// let orders = ServiceBuilder::new().layer(layer).service(kafka.transport());
///
/// orders.oneshot(SinkMessage::new(Order { id: 300, paid: true })).await?;
/// let records = kafka.records("orders");
/// let value = records[0].value().unwrap();
/// assert_eq!(value.as_ref(), [0xac, 0x02, 1]);
/// assert_eq!(PostcardSerializer::decode::<Order>(value, 1024)?, Order { id: 300, paid: true });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PostcardSerializer;

#[async_trait]
impl<T: serde::Serialize + Send + Sync> MessageSerializer<T> for PostcardSerializer {
    async fn serialize(&self, message: &T) -> Result<Vec<u8>> {
        to_stdvec(message).map_err(Error::serialization)
    }

    fn content_type(&self) -> &str {
        "application/x-postcard"
    }

    fn serialize_now(&self, message: &T, buffer: &mut BytesMut) -> Option<Result<()>> {
        Some(serialize_with_flavor(message, SmallWrites::new(buffer)).map_err(Error::serialization))
    }
}

impl Flavor for SmallWrites<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.write(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.write(&[data]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl PostcardSerializer {
    /// Decodes a value of at most `limit` bytes. It must use all bytes.
    ///
    /// Whatever lengths the bytes claim, a string allocates no more than there are bytes. Your type must exclude two
    /// hazards: elements without bytes (`Vec<()>` can claim any number of them), and recursion, which can go as deep
    /// as `limit` allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization) if there are more bytes than `limit`,
    /// if they do not encode a `T`, or if bytes are left over.
    pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T> {
        check_limit(bytes, limit)?;
        let (value, rest) = take_from_bytes(bytes).map_err(not_decoded)?;
        if rest.is_empty() { Ok(value) } else { Err(trailing(rest.len())) }
    }
}
