//! Kafka's frames: a length of four bytes, then a request (API key, version, correlation id, …) or a response
//! (correlation id, …).

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::rules::ApiKey;

/// Maximum frame size in bytes: longer than anything a test sends. A TLS handshake read as a length is longer still.
const MAX: usize = 256 << 20;

/// A frame with its length, as received.
#[derive(Debug)]
pub(super) struct Frame(Vec<u8>);

impl Frame {
    /// Reads one frame. `None` if the peer has closed the connection.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let size = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if size > MAX {
            return Err(Error::new(ErrorKind::InvalidData, "not a Kafka frame"));
        }
        let mut bytes = vec![0; 4 + size];
        bytes[..4].copy_from_slice(&length);
        from.read_exact(&mut bytes[4..]).await?;
        Ok(Some(Self(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// API key and correlation id of a request.
    pub(super) fn request(&self) -> Option<(ApiKey, i32)> {
        Some((ApiKey(i16::from_be_bytes(self.at(4)?)), i32::from_be_bytes(self.at(8)?)))
    }

    /// Correlation id of a response.
    pub(super) fn answer(&self) -> Option<i32> {
        Some(i32::from_be_bytes(self.at(4)?))
    }

    /// Makes a response unreadable; its length and correlation id stay.
    pub(super) fn spoil(&mut self) {
        self.0.iter_mut().skip(8).for_each(|byte| *byte = 0xff);
    }

    fn at<const N: usize>(&self, index: usize) -> Option<[u8; N]> {
        self.0.get(index..index + N)?.try_into().ok()
    }
}
