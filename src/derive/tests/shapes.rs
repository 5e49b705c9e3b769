//! Types of all shapes: topic and key.
#![allow(missing_docs, dead_code, clippy::unwrap_used)]

use std::borrow::Cow;

use kafka_tower::{IntoKey, KafkaMessage};

mod topics {
    pub(crate) const ORDERS: &str = "orders.v1";
}

/// Topic and key, as text.
fn of<M: KafkaMessage>(message: &M) -> (&'static str, Option<String>) {
    (M::TOPIC, message.message_key().map(|key| String::from_utf8(key.to_vec()).unwrap()))
}

fn some(key: &str) -> Option<String> {
    Some(key.to_owned())
}

#[derive(KafkaMessage)]
#[kafka(topic = topics::ORDERS)]
struct Constant {
    #[kafka(key)]
    r#type: &'static str,
}

#[derive(KafkaMessage)]
#[kafka(topic = "orders")]
struct Unit;

#[derive(KafkaMessage)]
#[kafka(topic = "orders")]
#[kafka(key_from = pair)]
struct Tuple(u8, u8);

fn pair(Tuple(one, two): &Tuple) -> String {
    format!("{one}/{two}")
}

#[derive(KafkaMessage)]
struct Borrowed<'a>(u64, #[kafka(key)] &'a str);

#[derive(KafkaMessage)]
struct Sized<const N: usize>(#[kafka(key)] [u8; N]);

#[derive(KafkaMessage)]
#[kafka(topic = "generic")]
struct Generic<'a, K, V = ()>
where
    V: Clone,
{
    #[kafka(key)]
    key: Option<K>,
    value: &'a V,
}

#[derive(Clone)]
struct Account(u32);

impl IntoKey for Account {
    fn into_key(self) -> bytes::Bytes {
        self.0.to_string().into_key()
    }
}

#[derive(KafkaMessage)]
#[kafka(topic = "events")]
enum Event<'a> {
    Created {
        #[kafka(key)]
        id: Account,
        item: &'a str,
    },
    Renamed(&'a str, #[kafka(key)] Cow<'a, str>),
    Gone(#[kafka(key)] Option<String>),
}

#[derive(KafkaMessage)]
#[kafka(topic = "events", key_from = Self::name)]
enum Named {
    One,
    Other(u8),
}

impl Named {
    fn name(&self) -> Option<&'static str> {
        matches!(self, Self::One).then_some("one")
    }
}

#[derive(KafkaMessage)]
#[kafka(topic = "none")]
enum Never {}

/// A name that the generated code uses too.
mod renamed {
    pub(crate) use kafka_tower as tower;

    #[derive(tower::KafkaMessage)]
    #[kafka(topic = "renamed", crate = tower)]
    pub(crate) struct Option {
        #[kafka(key)]
        pub(crate) key: u16,
    }
}

#[test]
fn of_structs() {
    assert_eq!(of(&Constant { r#type: "book" }), ("orders.v1", some("book")));
    assert_eq!(of(&Unit), ("orders", None));
    assert_eq!(of(&Tuple(1, 2)), ("orders", some("1/2")));
    assert_eq!(of(&renamed::Option { key: 0x6162 }), ("renamed", some("ab")));
}

#[test]
fn of_types_with_parameters() {
    assert_eq!(of(&Borrowed(1, &String::from("ada"))), ("", some("ada")));
    assert_eq!(of(&Sized(*b"abc")), ("", some("abc")));
    assert_eq!(of(&Generic { key: Some(Account(7)), value: &1 }), ("generic", some("7")));
    assert_eq!(of(&Generic::<Account> { key: None, value: &() }), ("generic", None));
}

#[test]
fn of_enums() {
    assert_eq!(of(&Event::Created { id: Account(7), item: "book" }), ("events", some("7")));
    assert_eq!(of(&Event::Renamed("book", "9".into())), ("events", some("9")));
    assert_eq!([of(&Event::Gone(None)), of(&Event::Gone(some("1")))], [("events", None), ("events", some("1"))]);
    assert_eq!([of(&Named::One), of(&Named::Other(1))], [("events", some("one")), ("events", None)]);
    assert_eq!(Never::TOPIC, "none");
}
