//! The id of a topic.

use std::fmt;

/// A UUID as Kafka uses it for topics (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// No id: what a broker without topic ids, or a topic that has none, answers.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether it is [`ZERO`](Self::ZERO).
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// Base64 with `-` and `_`, as Kafka's tools print ids.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // 22 digits of 6 bits have 4 bits more than the id, at the end.
        let bits = u128::from_be_bytes(self.0);
        for digit in 0..22 {
            let index = if digit < 21 { bits >> (122 - 6 * digit) } else { bits << 4 } & 63;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or_default();
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of Java's `Uuid.toString` for `new Uuid(high, low)`.
    #[test]
    fn it_is_printed_as_kafka_does() {
        let of = |high: u64, low: u64| Uuid((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).to_string();
        assert_eq!(of(0, 0), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(of(0, 1), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(of(u64::MAX, u64::MAX), "_____________________w");
        assert_eq!(of(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210), "ASNFZ4mrze_-3LqYdlQyEA");
    }
}
