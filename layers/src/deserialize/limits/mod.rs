//! Limits of what a record may make a decoder do.

#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
mod adapter;
#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
mod budget;
#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
mod decode;
#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
mod elements;

#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
pub(super) use decode::{Decoded, decode};

/// Limits of the deserializers for JSON, postcard and bincode: a hostile record is refused before it costs much memory or
/// time.
///
/// | limit | default | what it stops |
/// |---|---|---|
/// | [`bytes`](Self::bytes) | 16 MiB | large values |
/// | [`depth`](Self::depth) | 64 | nesting that overflows the stack |
/// | [`elements`](Self::elements) | 1 000 000 | claimed lengths, and lists of many small elements |
///
/// Whatever the limits are, all lists and maps of a value together have at most as many elements as the value has bytes. That
/// refuses elements without bytes (`Vec<()>`), of which a few bytes could claim any number. Bytes that are left over after the
/// value are refused as well.
///
/// The size of one element is your type's: a list of a million elements of 1 KiB takes 1 GiB of memory.
///
/// ```
/// # #[cfg(feature = "json")]
/// # fn main() {
/// use kafka_tower_core::RecordRef;
/// use kafka_tower_layers::deserialize::{DecodeLimits, JsonDeserializer, MessageDeserializer};
///
/// let json = JsonDeserializer::default().with_limits(DecodeLimits::default().elements(2));
/// let json: &dyn MessageDeserializer<Vec<u8>> = &json;
/// let decode = |value| json.deserialize_now("orders", &RecordRef::new(0).with_value(Some(value))).unwrap();
/// assert_eq!(decode(b"[1,2]").unwrap(), [1, 2]);
/// assert_eq!(decode(b"[1,2,3]").unwrap_err().message(), "the value has a list or map of more than 2 elements");
/// # }
/// # #[cfg(not(feature = "json"))]
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    bytes: usize,
    depth: usize,
    elements: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, depth: 64, elements: 1_000_000 }
    }
}

impl DecodeLimits {
    /// Maximum number of bytes of a value. Default: 16 MiB.
    #[must_use]
    pub fn bytes(mut self, most: usize) -> Self {
        self.bytes = most;
        self
    }

    /// Maximum depth: each list, tuple, map, struct, enum and present option inside another is a level. Default: 64.
    ///
    /// `serde_json` allows at most 128 levels of JSON, also if this is greater. The stack of the thread that decodes has to
    /// hold so many levels of your type.
    #[must_use]
    pub fn depth(mut self, most: usize) -> Self {
        self.depth = most;
        self
    }

    /// Maximum number of elements of a list, and of entries of a map. Default: 1 000 000.
    ///
    /// A `Vec<u8>` is a list of bytes for serde; the crate `serde_bytes` reads it as one piece, to which only
    /// [`bytes`](Self::bytes) applies.
    #[must_use]
    pub fn elements(mut self, most: usize) -> Self {
        self.elements = most;
        self
    }
}
