//! What a peer sends.

/// An answer with its length: a correlation id and a body.
pub(super) fn answer(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(4 + body.len()).unwrap();
    [&len.to_be_bytes()[..], &correlation_id.to_be_bytes(), body].concat()
}
