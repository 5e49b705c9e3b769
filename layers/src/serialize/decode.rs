//! Errors common to the decoders of all formats.

#[cfg(any(feature = "bincode", feature = "postcard"))]
use kafka_tower_core::Result;
use kafka_tower_core::text::count;
use kafka_tower_core::{BoxError, Error, ErrorKind};

/// Rejects values that are larger than the caller expects, before decoding.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(super) fn check_limit(bytes: &[u8], limit: usize) -> Result<()> {
    if bytes.len() <= limit {
        return Ok(());
    }
    Err(too_large(bytes.len(), limit))
}

pub(crate) fn too_large(bytes: usize, limit: usize) -> Error {
    beyond_limit(format!("the value has {}, but at most {limit} are allowed", count(bytes, "byte")))
}

/// The value exceeds a limit of the decoder.
pub(crate) fn beyond_limit(message: String) -> Error {
    error(message).with_help("raise the limit if such values are expected")
}

pub(crate) fn not_decoded(source: impl Into<BoxError>) -> Error {
    error("the bytes are not a value of this type".to_owned()).with_source(source)
}

/// Bytes were left over: the value was written as another type.
pub(crate) fn trailing(bytes: usize) -> Error {
    let verb = if bytes == 1 { "is" } else { "are" };
    error(format!("{} {verb} left over after the value", count(bytes, "byte")))
}

pub(crate) fn error(message: String) -> Error {
    Error::new(ErrorKind::Serialization, message)
        .without_record()
        .with_help("read the topic with the format and the type that it was written with")
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[cfg(any(feature = "bincode", feature = "postcard"))]
    #[test]
    fn only_a_larger_value_exceeds_the_limit() {
        assert_consistent(&check_limit(b"abc", 2).unwrap_err());
        check_limit(b"abc", 3).unwrap();
    }

    #[test]
    fn all_texts_agree_with_their_facts() {
        assert_consistent(&not_decoded("an unknown variant"));
        assert_consistent(&too_large(3, 2));
        assert_consistent(&beyond_limit("the value has more than 64 levels".to_owned()));
        [1, 3].map(trailing).iter().for_each(assert_consistent);
    }
}
