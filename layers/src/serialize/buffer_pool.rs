use bytes::{Bytes, BytesMut};

const SMALLEST: usize = 1024;
const LARGEST: usize = 16 * 1024;

/// Buffer of a handle: many values share one block of memory.
///
/// A block lives as long as any of its values, so blocks are small. The first ones are smaller, for handles that send
/// only once.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    block: BytesMut,
    size: usize,
    /// Size of the last value. A block with less room is not used: the value would have to be moved.
    expected: usize,
}

impl BufferPool {
    /// Returns an empty buffer with room for a value like the last one.
    #[inline]
    pub(super) fn begin(&mut self) -> &mut BytesMut {
        self.block.clear(); // left over from a serializer that failed or panicked
        if self.block.capacity() < self.expected.max(1) {
            self.make_room();
        }
        &mut self.block
    }

    #[inline(never)]
    fn make_room(&mut self) {
        if !self.block.try_reclaim(self.expected.max(1)) {
            self.size = (self.size * 2).clamp(SMALLEST, LARGEST);
            self.block = BytesMut::with_capacity(self.size.max(self.expected));
        }
    }

    /// Takes the value that was written since [`begin`](Self::begin).
    #[inline]
    pub(super) fn take(&mut self) -> Bytes {
        let len = self.block.len();
        self.expected = len.min(LARGEST);
        if len == 0 {
            return Bytes::new();
        }
        if self.block.capacity() <= LARGEST { self.block.split().freeze() } else { self.take_outgrown() }
    }

    #[inline(never)]
    fn take_outgrown(&mut self) -> Bytes {
        // The value outgrew the block and now owns the memory: trim it, so that a small value does not retain a large
        // buffer.
        let mut own = Vec::from(std::mem::take(&mut self.block));
        own.shrink_to_fit();
        own.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pool: &mut BufferPool, len: usize) -> Bytes {
        let buffer = pool.begin();
        for part in vec![7; len].chunks(1000) {
            buffer.extend_from_slice(part);
        }
        let value = pool.take();
        assert_eq!(value, vec![7; len]);
        value
    }

    #[test]
    fn small_values_share_blocks_that_grow_to_16_kib() {
        let mut pool = BufferPool::default();
        let mut kept = Vec::new();
        let mut sizes = Vec::new();
        for _ in 0..1000 {
            kept.push(write(&mut pool, 100));
            let room = pool.block.capacity() + 100;
            if sizes.last() != Some(&pool.size) {
                assert_eq!(room, pool.size, "a new block");
                sizes.push(pool.size);
            }
            assert!(room <= LARGEST);
        }
        assert_eq!(sizes, [1024, 2048, 4096, 8192, 16384]);
    }

    #[test]
    fn a_block_whose_values_are_gone_is_used_again() {
        let mut pool = BufferPool::default();
        for _ in 0..1000 {
            drop(write(&mut pool, 100));
        }
        assert_eq!(pool.size, SMALLEST);
    }

    #[test]
    fn the_pool_keeps_no_memory_of_a_large_value() {
        let mut pool = BufferPool::default();
        // One byte more than a doubling ends at.
        let large = write(&mut pool, (1 << 20) + 1);
        assert_eq!(pool.block.capacity(), 0);
        write(&mut pool, 10);
        assert!(pool.block.capacity() < LARGEST, "the small value is not in the memory of the large one");
        assert_eq!(Vec::from(large).capacity(), (1 << 20) + 1);
    }

    #[test]
    fn leftovers_of_a_failed_value_are_not_sent() {
        let mut pool = BufferPool::default();
        pool.begin().extend_from_slice(b"half a val");
        assert_eq!(write(&mut pool, 3).len(), 3);
    }

    #[test]
    fn an_empty_value_holds_no_block() {
        let mut pool = BufferPool::default();
        let kept = write(&mut pool, 500);
        assert!(write(&mut pool, 0).is_empty());
        drop(kept);
        assert!(pool.block.try_reclaim(SMALLEST), "no value holds the block");
    }
}
