use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

/// A value whose bytes can be a message's key.
///
/// | type | bytes of the key | Java's serializer of the same bytes |
/// |---|---|---|
/// | strings | UTF-8 | `StringSerializer` |
/// | byte vectors, slices and arrays, [`Bytes`] | the same | `ByteArraySerializer` |
/// | integers | **big-endian**, as many bytes as the type has | `ShortSerializer`, `IntegerSerializer`, `LongSerializer` for `i16`, `i32`, `i64` |
/// | `uuid::Uuid` (feature `uuid`) | its text in lower case with hyphens | `UUIDSerializer` |
/// | references to one of these that is `Clone` | those of the value | |
///
/// Messages of one key go to one partition, so all writers of a topic have to write a key in the same way. For another
/// form pass its bytes: `id.to_string()` for decimal digits, `id.to_le_bytes()` for little-endian, `uuid.into_bytes()`
/// for 16 bytes.
///
/// An owned `String`, `Vec<u8>` or `Bytes` is not copied.
///
/// ```
/// use kafka_tower_core::{IntoKey, SinkMessage};
///
/// let customer = String::from("ada");
/// assert_eq!(SinkMessage::new(1).with_key(&customer).key().unwrap(), "ada");
/// assert_eq!(7_u32.into_key(), [0, 0, 0, 7].as_slice());
/// assert_eq!((-2_i64).into_key(), [255, 255, 255, 255, 255, 255, 255, 254].as_slice());
/// assert_eq!([1, 2].into_key(), [1, 2].as_slice());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a message's key",
    label = "no key",
    note = "a key is a string, bytes, an integer (big-endian), or with the feature `uuid` a `Uuid`",
    note = "for a value that implements `serde::Serialize` there is `with_key_json`",
    note = "for a type of your own implement `kafka_tower::IntoKey`"
)]
pub trait IntoKey {
    /// Returns the bytes of the key.
    fn into_key(self) -> Bytes;
}

/// Types that `Bytes` takes over without a copy.
macro_rules! owned {
    ($($type:ty)*) => {
        $(impl IntoKey for $type {
            fn into_key(self) -> Bytes {
                self.into()
            }
        })*
    };
}

/// Types that are copied.
macro_rules! copied {
    ($($type:ty)*) => {
        $(impl IntoKey for $type {
            fn into_key(self) -> Bytes {
                Bytes::copy_from_slice(self.as_ref())
            }
        })*
    };
}

macro_rules! integers {
    ($($type:ty)*) => {
        $(impl IntoKey for $type {
            fn into_key(self) -> Bytes {
                self.to_be_bytes().into_key()
            }
        })*
    };
}

owned! { Bytes Vec<u8> Box<[u8]> String }
copied! { &[u8] Arc<[u8]> }
integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }

#[diagnostic::do_not_recommend]
impl<K: IntoKey + Clone> IntoKey for &K {
    fn into_key(self) -> Bytes {
        self.clone().into_key()
    }
}

impl<const N: usize> IntoKey for [u8; N] {
    fn into_key(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl IntoKey for &str {
    fn into_key(self) -> Bytes {
        self.as_bytes().into_key()
    }
}

impl IntoKey for Box<str> {
    fn into_key(self) -> Bytes {
        self.into_string().into_key()
    }
}

impl IntoKey for Arc<str> {
    fn into_key(self) -> Bytes {
        self.as_bytes().into_key()
    }
}

impl IntoKey for Cow<'_, str> {
    fn into_key(self) -> Bytes {
        self.into_owned().into_key()
    }
}

impl IntoKey for Cow<'_, [u8]> {
    fn into_key(self) -> Bytes {
        self.into_owned().into_key()
    }
}

#[cfg(feature = "uuid")]
#[cfg_attr(docsrs, doc(cfg(feature = "uuid")))]
impl IntoKey for uuid::Uuid {
    fn into_key(self) -> Bytes {
        self.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes().into_key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_bytes() {
        let text = "ada";
        let same = [
            text.into_key(),
            text.to_owned().into_key(),
            (&text.to_owned()).into_key(),
            Box::<str>::from(text).into_key(),
            Arc::<str>::from(text).into_key(),
            Cow::Borrowed(text).into_key(),
            text.as_bytes().into_key(),
            (*b"ada").into_key(),
            b"ada".into_key(),
            text.as_bytes().to_vec().into_key(),
            (&text.as_bytes().to_vec()).into_key(),
            Box::<[u8]>::from(text.as_bytes()).into_key(),
            Arc::<[u8]>::from(text.as_bytes()).into_key(),
            Cow::Borrowed(text.as_bytes()).into_key(),
            Bytes::from_static(b"ada").into_key(),
            (&Bytes::from_static(b"ada")).into_key(),
        ];
        assert!(same.iter().all(|key| key == text), "{same:?}");
    }

    #[test]
    fn integers_are_big_endian() {
        let keys: [(Bytes, &[u8]); 6] = [
            (1_u8.into_key(), &[1]),
            ((-1_i16).into_key(), &[255, 255]),
            (0x0102_0304_u32.into_key(), &[1, 2, 3, 4]),
            (i64::MIN.into_key(), &[128, 0, 0, 0, 0, 0, 0, 0]),
            (1_u64.into_key(), &[0, 0, 0, 0, 0, 0, 0, 1]),
            (1_i128.into_key(), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ];
        for (key, bytes) in keys {
            assert_eq!(key, bytes);
        }
    }

    #[test]
    fn an_owned_key_is_not_copied() {
        let text = String::from("ada");
        let at = text.as_ptr();
        assert_eq!(text.into_key().as_ptr(), at);
    }

    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_is_its_text() {
        let id = uuid::Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
        assert_eq!(id.into_key(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    }
}
