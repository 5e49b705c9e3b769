use bytes::BytesMut;

pub(super) const CHUNK: usize = 256;

/// Collects a format's many small writes in a chunk: each one would cost the buffer more than its bytes do. Dropping
/// it flushes the chunk.
pub(super) struct SmallWrites<'a> {
    buffer: &'a mut BytesMut,
    chunk: [u8; CHUNK],
    len: usize,
}

impl<'a> SmallWrites<'a> {
    pub(super) fn new(buffer: &'a mut BytesMut) -> Self {
        Self { buffer, chunk: [0; CHUNK], len: 0 }
    }

    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) {
        match self.chunk.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflow(bytes),
        }
    }

    #[cold]
    fn overflow(&mut self, bytes: &[u8]) {
        self.hand_over();
        self.buffer.extend_from_slice(bytes);
    }

    fn hand_over(&mut self) {
        self.buffer.extend_from_slice(&self.chunk[..self.len]);
        self.len = 0;
    }
}

impl Drop for SmallWrites<'_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_writes_arrive_in_order(writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20)) {
            let mut buffer = BytesMut::from("before");
            let mut small_writes = SmallWrites::new(&mut buffer);
            writes.iter().for_each(|bytes| small_writes.write(bytes));
            drop(small_writes);
            prop_assert_eq!(buffer.strip_prefix(b"before").unwrap(), writes.concat());
        }
    }
}
