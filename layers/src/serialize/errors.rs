use kafka_tower_core::{Error, ErrorKind, Persistence};

/// Converts the error of a serializer: nothing was sent. Its kind becomes `Serialization`, unless the serializer
/// refused the value.
pub(super) fn serialization(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Serialization | ErrorKind::Refused => error.with_persistence(Persistence::NotPersisted),
        _ => Error::serialization(error),
    }
}

/// The serializer was still waiting at the deadline.
pub(super) fn not_encoded_in_time() -> Error {
    Error::new(ErrorKind::Timeout, "the serializer did not finish before the deadline")
        .with_persistence(Persistence::NotPersisted)
        .with_help("nothing was sent: find out what the serializer waits for")
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::{KINDS, assert_consistent};

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        for kind in KINDS {
            for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
                let error = serialization(Error::new(kind, "the price is not a number").with_persistence(persistence));
                assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
                assert_consistent(&error);
            }
        }
        assert_consistent(&not_encoded_in_time());
    }

    #[test]
    fn a_refusal_of_a_serializer_keeps_its_kind_and_sent_nothing() {
        let error = serialization(Error::refused("no").with_persistence(Persistence::PossiblyPersisted));
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Refused, Persistence::NotPersisted));
    }
}
