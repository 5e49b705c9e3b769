//! Variable-length integers: seven bits a byte, the lowest first (Kafka's `ByteUtils`).
//!
//! Signed ones are zig-zag encoded, so that small negative numbers are short too.

/// The largest number of bytes of a 32-bit varint.
pub const MAX_U32: usize = 5;
/// The largest number of bytes of a 64-bit varint.
pub const MAX_U64: usize = 10;

/// Zig-zag: 0, -1, 1, -2 become 0, 1, 2, 3.
#[must_use]
#[inline]
pub const fn zigzag32(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

/// As [`zigzag32`].
#[must_use]
#[inline]
pub const fn zigzag64(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The inverse of [`zigzag32`].
#[must_use]
#[inline]
pub const fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// The inverse of [`zigzag64`].
#[must_use]
#[inline]
pub const fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Number of bytes of an unsigned varint of up to 64 bits.
#[must_use]
#[inline]
pub const fn len_u64(value: u64) -> usize {
    // One more than the highest bit's number by seven, with a division that is a shift: exact for all 64 bits.
    ((value | 1).ilog2() as usize * 9 + 73) / 64
}

/// Number of bytes of an unsigned varint.
#[must_use]
#[inline]
pub const fn len_u32(value: u32) -> usize {
    len_u64(value as u64)
}

/// Number of bytes of a zig-zag varint.
#[must_use]
#[inline]
pub const fn len_i32(value: i32) -> usize {
    len_u32(zigzag32(value))
}

/// Number of bytes of a zig-zag varlong.
#[must_use]
#[inline]
pub const fn len_i64(value: i64) -> usize {
    len_u64(zigzag64(value))
}

/// Writes an unsigned varint to the front, and returns its length. `None` if there is not enough room; then some of it may be
/// overwritten.
#[must_use]
#[inline]
pub fn put_u64(to: &mut [u8], mut value: u64) -> Option<usize> {
    if value < 0x80 {
        *to.first_mut()? = value as u8;
        return Some(1);
    }
    let mut len = 0;
    for byte in to {
        len += 1;
        if value < 0x80 {
            *byte = value as u8;
            return Some(len);
        }
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values at both sides of each change of length.
    fn edges() -> impl Iterator<Item = u64> {
        (0..64).flat_map(|bit| [(1_u64 << bit).wrapping_sub(1), 1 << bit]).chain([u64::MAX])
    }

    #[test]
    fn zigzag_is_as_in_the_protocol() {
        let pairs = [(0, 0), (-1, 1), (1, 2), (-2, 3), (i32::MAX, u32::MAX - 1), (i32::MIN, u32::MAX)];
        for (signed, unsigned) in pairs {
            assert_eq!((zigzag32(signed), unzigzag32(unsigned)), (unsigned, signed));
        }
        for (signed, unsigned) in [(i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX), (-1, 1)] {
            assert_eq!((zigzag64(signed), unzigzag64(unsigned)), (unsigned, signed));
        }
    }

    #[test]
    fn the_length_is_known_before_it_is_written() {
        for value in edges() {
            let mut to = [0; MAX_U64];
            assert_eq!(put_u64(&mut to, value), Some(len_u64(value)), "{value}");
            assert_eq!(put_u64(&mut to[..len_u64(value) - 1], value), None, "{value}");
        }
        assert_eq!((len_u32(u32::MAX), len_u64(u64::MAX)), (MAX_U32, MAX_U64));
        assert_eq!((len_i32(-1), len_i32(63), len_i32(64), len_i64(i64::MIN)), (1, 1, 2, 10));
    }

    proptest! {
        #[test]
        fn zigzag_can_be_undone(value: i64) {
            prop_assert_eq!(unzigzag64(zigzag64(value)), value);
            prop_assert_eq!(unzigzag32(zigzag32(value as i32)), value as i32);
        }
    }
}
