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

    /// Puts an error code in the answer to a produce request of version 9 or later, for each of its partitions.
    pub(super) fn fail_produce(&mut self, code: i16) {
        let codes = Fields { bytes: &self.0, at: 8 }.produce_codes().unwrap_or_default();
        for at in codes {
            self.0[at..at + 2].copy_from_slice(&code.to_be_bytes());
        }
    }

    fn at<const N: usize>(&self, index: usize) -> Option<[u8; N]> {
        self.0.get(index..index + N)?.try_into().ok()
    }
}

/// Reads the fields of a flexible message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// Returns where the error codes of a produce answer are.
    fn produce_codes(mut self) -> Option<Vec<usize>> {
        let mut codes = Vec::new();
        self.tags()?;
        for _topic in 1..self.number()? {
            self.text()?;
            for _partition in 1..self.number()? {
                codes.push(self.at + 4);
                // The index, the code, and three offsets or times.
                self.skip(4 + 2 + 3 * 8)?;
                for _record in 1..self.number()? {
                    self.skip(4)?;
                    self.text()?;
                    self.tags()?;
                }
                self.text()?;
                self.tags()?;
            }
            self.tags()?;
        }
        Some(codes)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// A number with seven bits per byte.
    fn number(&mut self) -> Option<usize> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            number |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    /// A text or a null, with its length plus 1 before it.
    fn text(&mut self) -> Option<()> {
        let length = self.number()?;
        self.skip(length.saturating_sub(1))
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            self.number()?;
            let length = self.number()?;
            self.skip(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_produce_answer_are_replaced() {
        let partition = |index: u8| {
            let mut bytes = vec![0, 0, 0, index, 0, 0];
            bytes.extend([7; 24]);
            // One record error, a message, and a tagged field.
            bytes.extend([2, 0, 0, 0, 1, 2, b'r', 0, 3, b'n', b'o', 1, 0, 2, 9, 9]);
            bytes
        };
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, b't', 3];
        bytes.extend([partition(0), partition(1)].concat());
        bytes.extend([0, 0, 0, 0, 0, 0]);
        let mut frame = Frame(bytes.clone());
        frame.fail_produce(45);
        let changed: Vec<_> = (0..bytes.len()).filter(|at| frame.0[*at] != bytes[*at]).collect();
        assert_eq!(changed, [18, 64]);
        assert!(changed.iter().all(|at| frame.0[*at] == 45));
        // A message that ends too early is left as it is.
        let mut short = Frame(bytes[..30].to_vec());
        short.fail_produce(45);
        assert_eq!(short.0, bytes[..30]);
    }
}
