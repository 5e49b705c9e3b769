use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use kafka_tower_core::Result;

use super::MessageSerializer;

/// Sends bytes as they are, for example those of [`SinkMessage::from_record`](kafka_tower_core::SinkMessage::from_record).
/// Never waits, and never fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesSerializer;

#[async_trait]
impl MessageSerializer<Bytes> for BytesSerializer {
    async fn serialize(&self, message: &Bytes) -> Result<Vec<u8>> {
        Ok(message.to_vec())
    }

    fn serialize_now(&self, message: &Bytes, buffer: &mut BytesMut) -> Option<Result<()>> {
        buffer.extend_from_slice(message);
        Some(Ok(()))
    }
}
