//! Buffers of batches, used again: those that were acknowledged last are still in the processor's caches.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_tower_core::sync::lock;

use crate::record_batch::sealed::SealedBatch;

/// Lengths of buffers. A batch gets the smallest one that has room for it, so that many partitions with few records take
/// little memory.
const CLASSES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// The most bytes that are kept of each class.
const KEPT: usize = 4 << 20;

/// The free buffers of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<[Vec<Vec<u8>>; CLASSES.len()]>>);

impl Buffers {
    /// A buffer with at least this length.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let Some(class) = CLASSES.iter().position(|class| *class >= len) else { return vec![0; len] };
        let found = lock(&self.0).get_mut(class).and_then(Vec::pop);
        found.unwrap_or_else(|| vec![0; CLASSES.get(class).copied().unwrap_or(len)])
    }

    fn put(&self, buffer: Vec<u8>) {
        let Some(class) = CLASSES.iter().position(|class| *class == buffer.len()) else { return };
        if let Some(free) = lock(&self.0).get_mut(class).filter(|free| free.len() * buffer.len() < KEPT) {
            free.push(buffer);
        }
    }

    /// The bytes of a batch. When the last copy of them is dropped, the buffer comes back.
    pub(crate) fn bytes(&self, batch: SealedBatch) -> Bytes {
        Bytes::from_owner(Lent { batch: Some(batch), buffers: self.clone() })
    }
}

struct Lent {
    batch: Option<SealedBatch>,
    buffers: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.batch.as_ref().map_or(&[], SealedBatch::bytes)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            let (records, _packed) = batch.into_buffers();
            self.buffers.put(records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_a_larger_one_is_not_kept() {
        let buffers = Buffers::default();
        let first = buffers.take(5_000);
        assert_eq!(first.len(), 16 << 10);
        let place = first.as_ptr();
        buffers.put(first);
        let again = buffers.take(16 << 10);
        assert_eq!(again.as_ptr(), place);
        assert_eq!(buffers.take(1).len(), 4 << 10);
        assert_eq!(buffers.take(3 << 20).len(), 3 << 20);
        buffers.put(vec![0; 3 << 20]);
        (0..9).for_each(|_| buffers.put(vec![0; 1 << 20]));
        let kept: Vec<usize> = lock(&buffers.0).iter().map(Vec::len).collect();
        assert_eq!(kept, [0, 0, 0, 0, 4]);
    }
}
