use std::sync::Arc;

use bytes::Bytes;

/// A type whose messages have a topic and a key of their own.
///
/// With the feature `derive`, `kafka_tower` has a derive macro of the same name. By hand:
///
/// ```
/// use bytes::Bytes;
/// use kafka_tower_core::{IntoKey, KafkaMessage, SinkMessage};
///
/// struct Order { id: u64 }
///
/// impl KafkaMessage for Order {
///     const TOPIC: &'static str = "orders";
///
///     fn message_key(&self) -> Option<Bytes> {
///         Some(self.id.into_key())
///     }
/// }
///
/// assert_eq!(SinkMessage::of(Order { id: 7 }).key().unwrap(), &7_u64.to_be_bytes()[..]);
/// ```
///
/// # What takes precedence
///
/// | | first | then | then |
/// |---|---|---|---|
/// | topic | the message's, `with_topic` | the sink's: its configuration, or `client.sink("topic")` | the type's, if the sink was made with `of_type` or `sink_of` |
/// | key | the message's, `with_key` | the type's, with `SinkMessage::of`, or if the sink was made with `of_type` or `sink_of` | null |
///
/// A type names the topic of all deployments, and a configuration that of one. So the configuration counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `KafkaMessage`: it has no topic and key of its own",
    label = "no `KafkaMessage`",
    note = "`#[derive(kafka_tower::KafkaMessage)]` with the feature `derive`, or implement it",
    note = "without it the sink's configuration names the topic, and `SinkMessage::with_key` the key"
)]
pub trait KafkaMessage {
    /// The topic. Default: empty, which means that the sink names it.
    const TOPIC: &'static str = "";

    /// Returns the key. Default: `None`, a null key.
    fn message_key(&self) -> Option<Bytes> {
        None
    }
}

macro_rules! forwarded {
    ($($type:ty)*) => {
        $(#[diagnostic::do_not_recommend]
        impl<T: KafkaMessage + ?Sized> KafkaMessage for $type {
            const TOPIC: &'static str = T::TOPIC;

            fn message_key(&self) -> Option<Bytes> {
                (**self).message_key()
            }
        })*
    };
}

forwarded! { &T Box<T> Arc<T> }

/// What the derive macro's code calls.
#[doc(hidden)]
pub mod derive {
    use bytes::Bytes;

    use crate::IntoKey;

    /// Not an export of `Bytes`, which would name it so in the compiler's messages.
    pub type KeyBytes = Bytes;

    /// A key that may be absent, by value or by reference.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be a message's key",
        label = "no key",
        note = "a key is a string, bytes, an integer, a type of your own that implements `Clone` and `kafka_tower::IntoKey`, or an \
                `Option` of one of these"
    )]
    pub trait OptionalKey {
        fn optional_key(self) -> Option<Bytes>;
    }

    #[diagnostic::do_not_recommend]
    impl<K: IntoKey> OptionalKey for K {
        fn optional_key(self) -> Option<Bytes> {
            Some(self.into_key())
        }
    }

    #[diagnostic::do_not_recommend]
    impl<K: IntoKey> OptionalKey for Option<K> {
        fn optional_key(self) -> Option<Bytes> {
            self.map(IntoKey::into_key)
        }
    }

    #[diagnostic::do_not_recommend]
    impl<'a, K> OptionalKey for &'a Option<K>
    where
        &'a K: IntoKey,
    {
        fn optional_key(self) -> Option<Bytes> {
            self.as_ref().map(IntoKey::into_key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IntoKey;

    struct Order;

    impl KafkaMessage for Order {
        const TOPIC: &'static str = "orders";

        fn message_key(&self) -> Option<Bytes> {
            Some(7_u8.into_key())
        }
    }

    fn of<M: KafkaMessage>(message: &M) -> (&'static str, Option<Bytes>) {
        (M::TOPIC, message.message_key())
    }

    #[test]
    fn a_pointer_has_the_topic_and_the_key_of_its_target() {
        let expected = ("orders", Some(Bytes::from_static(&[7])));
        assert_eq!(
            [of(&&Order), of(&Box::new(Order)), of(&Arc::new(Order))],
            [expected.clone(), expected.clone(), expected]
        );
    }

    #[test]
    fn a_key_may_be_absent() {
        use derive::OptionalKey;

        let present =
            [1_u8.optional_key(), Some(1_u8).optional_key(), (&Some(1_u8)).optional_key(), (&1_u8).optional_key()];
        assert!(present.iter().all(|key| key.as_deref() == Some(&[1])), "{present:?}");
        assert_eq!([None::<u8>.optional_key(), (&None::<String>).optional_key()], [None, None]);
    }
}
