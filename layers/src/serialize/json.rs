use std::io;

use async_trait::async_trait;
use bytes::BytesMut;
use kafka_tower_core::{Error, Result};

use super::MessageSerializer;
use super::small_writes::SmallWrites;

/// JSON serializer, using `serde_json`. The default serializer of a sink. Never waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerializer;

#[async_trait]
impl<T: serde::Serialize + Send + Sync> MessageSerializer<T> for JsonSerializer {
    async fn serialize(&self, message: &T) -> Result<Vec<u8>> {
        serde_json::to_vec(message).map_err(Error::serialization)
    }

    fn content_type(&self) -> &str {
        "application/json"
    }

    fn serialize_now(&self, message: &T, buffer: &mut BytesMut) -> Option<Result<()>> {
        Some(serde_json::to_writer(Writer(SmallWrites::new(buffer)), message).map_err(Error::serialization))
    }
}

/// Adapts to `serde_json`, which writes to `io::Write`.
struct Writer<'a>(SmallWrites<'a>);

impl io::Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialize::small_writes::CHUNK;

    #[test]
    fn serialize_now_appends_the_bytes_of_serde_json() {
        for len in 0..3 * CHUNK {
            let value = ("x".repeat(len), len, vec!["y\n"; len % 7], "z".repeat(CHUNK - len % CHUNK));
            let mut buffer = BytesMut::from("before");
            JsonSerializer.serialize_now(&value, &mut buffer).unwrap().unwrap();
            assert_eq!(buffer.strip_prefix(b"before").unwrap(), serde_json::to_vec(&value).unwrap(), "{len}");
        }
    }
}
