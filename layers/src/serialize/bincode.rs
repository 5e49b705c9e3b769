use std::marker::PhantomData;

use async_trait::async_trait;
use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::serde::{encode_into_writer, encode_to_vec, seed_decode_from_slice};
use bytes::BytesMut;
use kafka_tower_core::{BoxError, Error, Result};
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::MessageSerializer;
use super::decode::{check_limit, not_decoded, trailing};
use super::small_writes::SmallWrites;

/// Serializer for the bincode 1 format: writes the same bytes as `bincode::serialize` of the 1.x crates. Never waits.
///
/// Integers have their full width, little-endian; lengths are `u64`; enum variants are `u32`; an option is one byte
/// and its value; names are not written. Both sides need the same struct: adding, removing or moving a field makes
/// old bytes unreadable, or readable as something else.
///
/// # Why it is opt-in
///
/// The crate `bincode` is unmaintained in all versions ([RUSTSEC-2025-0141]): with the feature `bincode`, `cargo
/// audit` and `cargo deny` report it, and there is no version to update to. The format is guaranteed, the crate is
/// not: another implementation can replace it. For new projects,
#[cfg_attr(feature = "postcard", doc = "[`PostcardSerializer`](super::PostcardSerializer)")]
#[cfg_attr(not(feature = "postcard"), doc = "`PostcardSerializer` (feature `postcard`)")]
/// is smaller and maintained.
///
/// [RUSTSEC-2025-0141]: https://rustsec.org/advisories/RUSTSEC-2025-0141
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower_core::Result<()> {
/// use std::sync::Arc;
/// use kafka_tower_core::SinkMessage;
/// use kafka_tower_layers::serialize::{BincodeSerializer, SerializeLayer};
/// use kafka_tower_memory::MemoryKafka;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
/// struct Order { id: u32, paid: bool }
///
/// let kafka = MemoryKafka::new().with_topic("orders", 1);
/// let layer = SerializeLayer::new("orders", Arc::new(BincodeSerializer));
/// let orders = ServiceBuilder::new().layer(layer).service(kafka.transport());
///
/// orders.oneshot(SinkMessage::new(Order { id: 42, paid: true })).await?;
/// let records = kafka.records("orders");
/// let value = records[0].value().unwrap();
/// assert_eq!(value.as_ref(), [42, 0, 0, 0, 1]);
/// assert_eq!(BincodeSerializer::decode::<Order>(value, 1024)?, Order { id: 42, paid: true });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BincodeSerializer;

#[async_trait]
impl<T: serde::Serialize + Send + Sync> MessageSerializer<T> for BincodeSerializer {
    async fn serialize(&self, message: &T) -> Result<Vec<u8>> {
        encode_to_vec(message, config::legacy()).map_err(not_encoded)
    }

    fn content_type(&self) -> &str {
        "application/x-bincode"
    }

    fn serialize_now(&self, message: &T, buffer: &mut BytesMut) -> Option<Result<()>> {
        let written = encode_into_writer(message, SmallWrites::new(buffer), config::legacy());
        Some(written.map_err(not_encoded))
    }
}

impl Writer for SmallWrites<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        Self::write(self, bytes);
        Ok(())
    }
}

impl BincodeSerializer {
    /// Decodes a value of at most `limit` bytes. It must use all bytes.
    ///
    /// Whatever lengths the bytes claim, at most 64 times `limit` (at least 1 MiB) is allocated at once. Your type
    /// must exclude two hazards: elements without bytes (`Vec<()>` can claim any number of them), and recursion,
    /// which can go as deep as `limit` allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization) if there are more bytes than `limit`,
    /// if they do not encode a `T`, or if bytes are left over.
    pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T> {
        check_limit(bytes, limit)?;
        let (value, read) = bounded(PhantomData::<T>, bytes).map_err(not_decoded)?;
        if read < bytes.len() { Err(trailing(bytes.len() - read)) } else { Ok(value) }
    }
}

/// Returns the value's own error text, without the crate's wrapping.
fn not_encoded(error: EncodeError) -> Error {
    match error {
        EncodeError::OtherString(text) => Error::serialization(text),
        error => Error::serialization(error),
    }
}

const MIB: usize = 1 << 20;

/// Decodes with the smallest of three fixed limits that fits: the crate takes its limit as a constant, and allocates
/// the claimed length of a string before it checks that the bytes exist. Returns the number of bytes that were read.
pub(crate) fn bounded<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8]) -> Result<(S::Value, usize), BoxError> {
    let decoded = match bytes.len() {
        0..=MIB => seed_decode_from_slice(seed, bytes, with_limit::<MIB>()),
        len if len <= 64 * MIB => seed_decode_from_slice(seed, bytes, with_limit::<{ 64 * MIB }>()),
        // More than a Kafka message can hold.
        _ => seed_decode_from_slice(seed, bytes, with_limit::<{ i32::MAX as usize }>()),
    };
    decoded.map_err(cause)
}

/// Returns the value's own error text, without the crate's wrapping.
fn cause(error: DecodeError) -> BoxError {
    match error {
        DecodeError::OtherString(text) => text.into(),
        error => error.into(),
    }
}

fn with_limit<const N: usize>() -> Configuration<LittleEndian, Fixint, Limit<N>> {
    config::legacy().with_limit::<N>()
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        assert_consistent(&not_encoded(EncodeError::OtherString("the price is not a number".to_owned())));
        assert_consistent(&not_encoded(EncodeError::UnexpectedEnd));
        assert_consistent(&not_decoded(cause(DecodeError::OtherString("an unknown variant".to_owned()))));
        assert_consistent(&not_decoded(cause(DecodeError::UnexpectedEnd { additional: 3 })));
    }
}
