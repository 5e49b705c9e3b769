//! Errors common to the decoders of all formats.

use kafka_tower_core::{BoxError, Error, ErrorKind};
#[cfg(any(feature = "bincode", feature = "postcard"))]
use kafka_tower_core::{Result, text::count};

/// Rejects values that are larger than the caller expects, before decoding.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(super) fn check_limit(bytes: &[u8], limit: usize) -> Result<()> {
    if bytes.len() <= limit {
        return Ok(());
    }
    Err(error(format!("the value has {}, but at most {limit} are allowed", count(bytes.len(), "byte")))
        .with_help("raise the limit if values of this size are expected"))
}

pub(crate) fn not_decoded(source: impl Into<BoxError>) -> Error {
    error("the bytes are not a value of this type".to_owned()).with_source(source)
}

/// Bytes were left over: the value was written as another type.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(super) fn trailing(bytes: usize) -> Error {
    let verb = if bytes == 1 { "is" } else { "are" };
    error(format!("{} {verb} left over after the value", count(bytes, "byte")))
}

fn error(message: String) -> Error {
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
    fn all_texts_of_limits_agree_with_their_facts() {
        assert_consistent(&check_limit(b"abc", 2).unwrap_err());
        [1, 3].map(trailing).iter().for_each(assert_consistent);
    }

    #[test]
    fn all_texts_agree_with_their_facts() {
        assert_consistent(&not_decoded("an unknown variant"));
    }
}
