//! A peer that does what a test says.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// An answer with its length: a correlation id and a body.
pub(super) fn answer(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(4 + body.len()).unwrap();
    [&len.to_be_bytes()[..], &correlation_id.to_be_bytes(), body].concat()
}

/// A request that only has what a test looks at: length, kind, version, correlation id, and a body.
pub(super) fn request(correlation_id: i32, body: &[u8]) -> Vec<Bytes> {
    let len = i32::try_from(8 + body.len()).unwrap();
    let head = [&len.to_be_bytes()[..], &[0, 3, 0, 9], &correlation_id.to_be_bytes()].concat();
    vec![head.into(), body.to_vec().into()]
}

/// Reads a request: its version, its correlation id, and what follows.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(i16, i32, Vec<u8>)> {
    let len = usize::try_from(stream.read_i32().await.ok()?).ok()?;
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.ok()?;
    let version = i16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let id = i32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
    Some((version, id, bytes.get(8..)?.to_vec()))
}

/// Answers each request with its own body, until the other side closes.
pub(super) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    while let Some((_, id, body)) = read(&mut stream).await {
        if stream.write_all(&answer(id, &body)).await.is_err() {
            return;
        }
    }
}
