//! Copies of short byte strings, many of which share an allocation.

use bytes::{Bytes, BytesMut};

/// Size of a block in bytes. It is freed when nothing in it is held any more.
const BLOCK: usize = 16 * 1024;

/// Longest string that is copied into a block, in bytes: a string that is held keeps its block.
const LONGEST: usize = 1024;

#[derive(Default)]
pub(super) struct Blocks(BytesMut);

impl Blocks {
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() || bytes.len() > LONGEST {
            return Bytes::copy_from_slice(bytes);
        }
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(BLOCK);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal_and_share_blocks() {
        let mut blocks = Blocks::default();
        let all: Vec<(Vec<u8>, Bytes)> = (0..3_000)
            .map(|i: usize| vec![i as u8; [0, 1, 7, LONGEST, LONGEST + 1][i % 5]])
            .map(|bytes| (bytes.clone(), blocks.copy(&bytes)))
            .collect();
        assert!(all.iter().all(|(bytes, copy)| bytes == copy));
        let end = |copy: &Bytes| copy.as_ptr() as usize + copy.len();
        assert_eq!(end(&all[1].1), all[2].1.as_ptr() as usize, "one after the other");
    }
}
