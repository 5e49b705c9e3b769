use std::io;

use async_trait::async_trait;
use bytes::BytesMut;
use kafka_tower_core::{Error, Result};

use super::MessageSerializer;

/// JSON by `serde_json`, the default serializer of a sink. Never waits.
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
        let mut writer = Writer { buffer, chunk: [0; CHUNK], len: 0 };
        let written = serde_json::to_writer(&mut writer, message);
        writer.hand_over();
        Some(written.map_err(Error::serialization))
    }
}

const CHUNK: usize = 256;

/// Gathers JSON's many small writes: each would cost the buffer more than its bytes do.
struct Writer<'a> {
    buffer: &'a mut BytesMut,
    chunk: [u8; CHUNK],
    len: usize,
}

impl Writer<'_> {
    fn hand_over(&mut self) {
        self.buffer.extend_from_slice(&self.chunk[..self.len]);
        self.len = 0;
    }

    #[cold]
    fn overflow(&mut self, bytes: &[u8]) {
        self.hand_over();
        self.buffer.extend_from_slice(bytes);
    }
}

impl io::Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.chunk.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflow(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_writes_what_serde_json_does_behind_what_is_there() {
        for len in 0..3 * CHUNK {
            let value = ("x".repeat(len), len, vec!["y\n"; len % 7], "z".repeat(CHUNK - len % CHUNK));
            let mut buffer = BytesMut::from("before");
            JsonSerializer.serialize_now(&value, &mut buffer).unwrap().unwrap();
            assert_eq!(buffer.strip_prefix(b"before").unwrap(), serde_json::to_vec(&value).unwrap(), "{len}");
        }
    }
}
