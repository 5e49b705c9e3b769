//! Tests of the binary formats: their bytes, which other programs read, and what their decoders refuse.
#![cfg(any(feature = "bincode", feature = "postcard"))]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::BytesMut;
use kafka_tower_core::{Error, ErrorKind, Persistence, SinkMessage};
use kafka_tower_layers::serialize::{MessageSerializer, SerializeLayer};
use kafka_tower_memory::MemoryKafka;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower::{Layer, ServiceExt};

/// The struct of the guide.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct MetricResult {
    service: String,
    avg_latency: f64,
    count: u64,
}

fn metric() -> MetricResult {
    MetricResult { service: "api-gateway".into(), avg_latency: 123.45, count: 1000 }
}

/// One value of each type.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Everything {
    flag: bool,
    small: i8,
    wide: u32,
    negative: i64,
    letter: char,
    none: Option<u16>,
    some: Option<u16>,
    list: Vec<u16>,
    map: BTreeMap<String, u8>,
    choice: Choice,
    pair: (u8, f32),
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
enum Choice {
    #[default]
    Unit,
    Named {
        id: u8,
    },
}

fn everything() -> Everything {
    Everything {
        flag: true,
        small: -1,
        wide: 300,
        negative: -2,
        letter: 'ß',
        none: None,
        some: Some(7),
        list: vec![1, 515],
        map: BTreeMap::from([("k".into(), 9)]),
        choice: Choice::Named { id: 5 },
        pair: (3, 1.5),
    }
}

fn now<T, F: MessageSerializer<T>>(format: &F, value: &T) -> Vec<u8> {
    let mut buffer = BytesMut::from("before");
    format.serialize_now(value, &mut buffer).expect("does not wait").unwrap();
    buffer.strip_prefix(b"before").unwrap().to_vec()
}

async fn in_the_log<T, F>(format: F, value: T) -> (Vec<u8>, Vec<u8>)
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + 'static,
{
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let layer = SerializeLayer::new("orders", Arc::new(format)).content_type_header(true);
    layer.layer(kafka.transport()).oneshot(SinkMessage::new(value)).await.unwrap();
    let record = &kafka.records("orders")[0];
    (record.value().unwrap().to_vec(), record.record.headers.get("content-type").unwrap().to_vec())
}

/// Checks that both ways of encoding, the stack and the decoder agree on the bytes.
async fn golden<T, F>(
    (format, content_type): (F, &str),
    decode: fn(&[u8], usize) -> Result<T, Error>,
    value: T,
    bytes: &[u8],
) where
    T: Clone + Debug + PartialEq + Send + Sync + 'static,
    F: MessageSerializer<T> + Copy + 'static,
{
    assert_eq!(now(&format, &value), bytes);
    assert_eq!(format.serialize(&value).await.unwrap(), bytes);
    assert_eq!(in_the_log(format, value.clone()).await, (bytes.to_vec(), content_type.as_bytes().to_vec()));
    assert_eq!(decode(bytes, bytes.len()).unwrap(), value);
}

/// Checks that every strict prefix, every longer input and every input above the limit is refused without a panic.
fn refuses<T: Debug + DeserializeOwned>(decode: fn(&[u8], usize) -> Result<T, Error>, bytes: &[u8]) {
    let refused = |bytes: &[u8], limit| {
        let error = decode(bytes, limit).unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Serialization, Persistence::NotPersisted));
        error.message_with_causes()
    };
    for len in 0..bytes.len() {
        assert!(refused(&bytes[..len], 1024).starts_with("the bytes are not a value of this type: "));
    }
    assert_eq!(refused(&[bytes, b"xy"].concat(), 1024), "2 bytes are left over after the value");
    let text = refused(bytes, bytes.len() - 1);
    assert_eq!(text, format!("the value has {} bytes, but at most {} are allowed", bytes.len(), bytes.len() - 1));
}

/// Changes some bytes, including lengths and variants.
fn damaged(bytes: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((0..bytes.len(), any::<u8>()), 0..6).prop_map(|changes| {
        let mut bytes = bytes.to_vec();
        changes.into_iter().for_each(|(index, byte)| bytes[index] = byte);
        bytes
    })
}

/// A value that cannot be encoded.
struct Bad;

impl Serialize for Bad {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

fn error_of<F: MessageSerializer<Bad>>(format: &F) -> Error {
    format.serialize_now(&Bad, &mut BytesMut::new()).unwrap().unwrap_err()
}

#[cfg(feature = "bincode")]
mod bincode {
    use kafka_tower_layers::serialize::BincodeSerializer;

    use super::*;

    const METRIC: &[u8] = b"\x0b\0\0\0\0\0\0\0api-gateway\xcd\xcc\xcc\xcc\xcc\xdc\x5e\x40\xe8\x03\0\0\0\0\0\0";

    /// By the format's specification: full width, little-endian, `u64` lengths, `u32` variants.
    const EVERYTHING: &[u8] = b"\x01\
        \xff\
        \x2c\x01\0\0\
        \xfe\xff\xff\xff\xff\xff\xff\xff\
        \xc3\x9f\
        \x00\
        \x01\x07\0\
        \x02\0\0\0\0\0\0\0\x01\0\x03\x02\
        \x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x09\
        \x01\0\0\0\x05\
        \x03\0\0\xc0\x3f";

    #[tokio::test]
    async fn golden_bytes() {
        let format = (BincodeSerializer, "application/x-bincode");
        golden(format, BincodeSerializer::decode, metric(), METRIC).await;
        golden(format, BincodeSerializer::decode, everything(), EVERYTHING).await;
    }

    #[test]
    fn invalid_bytes_are_refused() {
        refuses::<MetricResult>(BincodeSerializer::decode, METRIC);
        refuses::<Everything>(BincodeSerializer::decode, EVERYTHING);
    }

    /// Without our limit the crate would try to allocate the claimed length: a panic or an abort of the process.
    #[test]
    fn a_claimed_length_allocates_nothing() {
        for claimed in [u64::MAX, u64::MAX / 2, i64::MAX as u64 - 8, 1 << 40, 1 << 21] {
            let bytes = claimed.to_le_bytes();
            let error = BincodeSerializer::decode::<String>(&bytes, 1024).unwrap_err();
            assert_eq!(
                error.message_with_causes(),
                "the bytes are not a value of this type: LimitExceeded",
                "{claimed}"
            );
            BincodeSerializer::decode::<Vec<u64>>(&bytes, 1024).unwrap_err();
            BincodeSerializer::decode::<BTreeMap<u8, u8>>(&bytes, 1024).unwrap_err();
        }
    }

    #[test]
    fn values_larger_than_a_mebibyte_are_read() {
        for len in [(1 << 20) - 8, (1 << 20) - 7, 3 << 20, (64 << 20) - 7] {
            let value = "x".repeat(len);
            let bytes = now(&BincodeSerializer, &value);
            assert!(BincodeSerializer::decode::<String>(&bytes, usize::MAX).unwrap() == value, "{len}");
        }
    }

    #[test]
    fn an_error_keeps_its_text() {
        let error = error_of(&BincodeSerializer);
        assert_eq!(error.message_with_causes(), "the value could not be serialized: not today");
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Serialization, Persistence::NotPersisted));
    }

    proptest! {
        #[test]
        fn damaged_bytes_decode_or_are_refused(bytes in damaged(EVERYTHING)) {
            let _ = BincodeSerializer::decode::<Everything>(&bytes, 1024);
        }
    }
}

#[cfg(feature = "postcard")]
mod postcard {
    use kafka_tower_layers::serialize::PostcardSerializer;

    use super::*;

    const METRIC: &[u8] = b"\x0bapi-gateway\xcd\xcc\xcc\xcc\xcc\xdc\x5e\x40\xe8\x07";

    /// By the format's specification: varints, zigzag encoding for signed ones, a `char` as a string.
    const EVERYTHING: &[u8] = b"\x01\
        \xff\
        \xac\x02\
        \x03\
        \x02\xc3\x9f\
        \x00\
        \x01\x07\
        \x02\x01\x83\x04\
        \x01\x01k\x09\
        \x01\x05\
        \x03\0\0\xc0\x3f";

    #[tokio::test]
    async fn golden_bytes() {
        let format = (PostcardSerializer, "application/x-postcard");
        golden(format, PostcardSerializer::decode, metric(), METRIC).await;
        golden(format, PostcardSerializer::decode, everything(), EVERYTHING).await;
    }

    #[test]
    fn invalid_bytes_are_refused() {
        refuses::<MetricResult>(PostcardSerializer::decode, METRIC);
        refuses::<Everything>(PostcardSerializer::decode, EVERYTHING);
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let bytes = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        PostcardSerializer::decode::<String>(bytes, 1024).unwrap_err();
        PostcardSerializer::decode::<Vec<u64>>(bytes, 1024).unwrap_err();
        PostcardSerializer::decode::<BTreeMap<u8, u8>>(bytes, 1024).unwrap_err();
    }

    #[test]
    fn an_error_contains_the_text_of_postcard() {
        let error = error_of(&PostcardSerializer);
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Serialization, Persistence::NotPersisted));
        assert!(std::error::Error::source(&error).unwrap().is::<::postcard::Error>());
    }

    proptest! {
        #[test]
        fn damaged_bytes_decode_or_are_refused(bytes in damaged(EVERYTHING)) {
            let _ = PostcardSerializer::decode::<Everything>(&bytes, 1024);
        }
    }
}
