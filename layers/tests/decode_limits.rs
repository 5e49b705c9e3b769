//! What hostile records cost the deserializers, in all formats. Each attack is also run without the limit that stops it, in a
//! process of its own where that would end the test.
#![cfg(all(feature = "bincode", feature = "json", feature = "postcard"))]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a child prints what it has used

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::process::Command;

use kafka_tower_core::{ErrorKind, RecordRef, Result};
use kafka_tower_layers::deserialize::{
    BincodeDeserializer, DecodeLimits, JsonDeserializer, MessageDeserializer, PostcardDeserializer,
};
use kafka_tower_layers::serialize::{BincodeSerializer, JsonSerializer, MessageSerializer, PostcardSerializer};
use proptest::prelude::*;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Json,
    Postcard,
    Bincode,
}

use Format::{Bincode, Json, Postcard};

const ALL: [Format; 3] = [Json, Postcard, Bincode];

impl Format {
    fn decode<T: DeserializeOwned + Send>(self, bytes: &[u8], limits: DecodeLimits) -> Result<T> {
        let now = |deserializer: &dyn MessageDeserializer<T>| {
            deserializer.deserialize_now("orders", &RecordRef::new(0).with_value(Some(bytes))).unwrap()
        };
        match self {
            Json => now(&JsonDeserializer::default().with_limits(limits)),
            Postcard => now(&PostcardDeserializer::default().with_limits(limits)),
            Bincode => now(&BincodeDeserializer::default().with_limits(limits)),
        }
    }

    async fn encode<T: Serialize + Send + Sync>(self, value: &T) -> Vec<u8> {
        match self {
            Json => JsonSerializer.serialize(value).await.unwrap(),
            Postcard => PostcardSerializer.serialize(value).await.unwrap(),
            Bincode => BincodeSerializer.serialize(value).await.unwrap(),
        }
    }

    /// A list that claims a length, without elements.
    fn claim(self, len: u64) -> Vec<u8> {
        match self {
            Json => panic!("JSON has no lengths"),
            Bincode => len.to_le_bytes().to_vec(),
            Postcard => {
                let (mut len, mut bytes) = (len, Vec::new());
                while len >= 128 {
                    bytes.push(len as u8 | 128);
                    len >>= 7;
                }
                bytes.push(len as u8);
                bytes
            }
        }
    }

    /// `levels` lists, each in the one around it.
    fn lists(self, levels: usize) -> Vec<u8> {
        match self {
            Json => ["[".repeat(levels), "]".repeat(levels)].concat().into_bytes(),
            _ => [self.claim(1).repeat(levels - 1), self.claim(0)].concat(),
        }
    }

    /// `levels` structs with an option each; the last one is empty.
    fn nested(self, levels: usize) -> Vec<u8> {
        match self {
            Json => [r#"{"inner":"#.repeat(levels), "null".into(), "}".repeat(levels)].concat().into_bytes(),
            Postcard | Bincode => [vec![1; levels - 1], vec![0]].concat(),
        }
    }
}

fn unlimited() -> DecodeLimits {
    DecodeLimits::default().bytes(usize::MAX).depth(usize::MAX).elements(usize::MAX)
}

fn limits() -> DecodeLimits {
    DecodeLimits::default()
}

fn refused<T: Debug>(result: Result<T>, text: &str) {
    let error = result.err().unwrap_or_else(|| panic!("decoded, instead of: {text}"));
    assert_eq!(error.kind(), ErrorKind::Serialization);
    assert!(error.message().contains(text), "{error}, instead of: {text}");
}

#[derive(Debug, Deserialize)]
struct Lists(#[allow(dead_code)] Vec<Lists>);

#[derive(Debug, Deserialize)]
struct Nested {
    #[allow(dead_code)]
    inner: Option<Box<Nested>>,
}

/// Contains itself through an option alone, without bytes between in JSON.
#[derive(Debug, Deserialize)]
struct Endless(#[allow(dead_code)] Option<Box<Endless>>);

#[derive(Debug, Deserialize)]
enum Choice {
    #[allow(dead_code)]
    Inner(Box<Choice>),
    End,
}

#[test]
fn nesting_is_limited_in_every_format() {
    for format in ALL {
        for levels in [65, 100, MIB] {
            refused(format.decode::<Lists>(&format.lists(levels), limits()), "more than 64 levels");
            refused(format.decode::<Nested>(&format.nested(levels), limits()), "more than 64 levels");
        }
        format.decode::<Lists>(&format.lists(64), limits()).unwrap();
        // A struct and an option are two levels.
        format.decode::<Nested>(&format.nested(32), limits()).unwrap();
        refused(format.decode::<Nested>(&format.nested(33), limits()), "more than 64 levels");
        format.decode::<Lists>(&format.lists(100), limits().depth(100)).unwrap();
    }
    let choices = |levels: usize| [r#"{"Inner":"#.repeat(levels), r#""End""#.into(), "}".repeat(levels)].concat();
    refused(Json.decode::<Choice>(choices(64).as_bytes(), limits()), "more than 64 levels");
    assert!(matches!(Json.decode::<Choice>(choices(63).as_bytes(), limits()), Ok(Choice::Inner(_))));
    refused(Postcard.decode::<Choice>(&[0; MIB], limits()), "more than 64 levels");
    refused(Bincode.decode::<Choice>(&[0; MIB], limits()), "more than 64 levels");
    refused(Json.decode::<Endless>(b"1", limits()), "more than 64 levels");
    refused(Json.decode::<serde_json::Value>(&Json.lists(65), limits()), "more than 64 levels");
    // Ignored values are skipped without recursion.
    Json.decode::<IgnoredAnyValue>(&Json.lists(MIB), limits()).unwrap();
}

#[derive(Debug, Deserialize)]
struct IgnoredAnyValue(#[allow(dead_code)] IgnoredAny);

#[test]
fn without_the_limit_nesting_ends_the_process() {
    for attack in ["lists postcard", "lists bincode", "nested postcard", "nested bincode", "endless json"] {
        assert!(!child("attack_without_limits", attack).status.success(), "{attack}");
    }
    // `serde_json` has a limit of its own.
    Json.decode::<Lists>(&Json.lists(100), unlimited()).unwrap();
    assert!(Json.decode::<Lists>(&Json.lists(200), unlimited()).is_err());
}

#[test]
fn attack_without_limits() {
    let format = |name: &str| if name.ends_with("postcard") { Postcard } else { Bincode };
    match std::env::var("ATTACK").ok().as_deref() {
        Some("endless json") => drop(Json.decode::<Endless>(b"1", unlimited())),
        Some(name) if name.starts_with("lists") => {
            drop(format(name).decode::<Lists>(&format(name).lists(MIB), unlimited()));
        }
        Some(name) if name.starts_with("nested") => {
            drop(format(name).decode::<Nested>(&format(name).nested(MIB), unlimited()));
        }
        _ => {}
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Nothing {
    nothing: (),
    none: PhantomData<u64>,
    empty: [u64; 0],
}

#[test]
fn elements_without_bytes_are_refused() {
    for format in [Postcard, Bincode] {
        for len in [10, 999_999] {
            let bytes = format.claim(len);
            refused(format.decode::<Vec<()>>(&bytes, limits()), "more elements than bytes");
            refused(format.decode::<Vec<Nothing>>(&bytes, unlimited()), "more elements than bytes");
            refused(format.decode::<BTreeMap<(), ()>>(&bytes, limits()), "more elements than bytes");
        }
        refused(format.decode::<Vec<()>>(&format.claim(u64::MAX), limits()), "more");
        refused(format.decode::<Vec<()>>(&format.claim(u64::MAX), unlimited()), "more elements than bytes");
        // No list has more elements than there are bytes; all of them together do.
        let inner = format.claim(10_000);
        let many = [format.claim(5_000), inner.repeat(5_000)].concat();
        refused(format.decode::<Vec<Vec<()>>>(&many, limits()), "more elements than bytes");
        // A few do no harm.
        let few = [vec![1; 8], format.claim(3)].concat();
        assert_eq!(format.decode::<([u8; 8], Vec<()>)>(&few, limits()).unwrap().1.len(), 3);
    }
    assert_eq!(Json.decode::<Vec<()>>(b"[null,null]", limits()).unwrap().len(), 2);
}

/// What the limits stop: a few bytes become 10 million elements.
#[test]
fn without_the_limit_elements_need_no_bytes() {
    let len = |decoded: Result<Vec<()>>| decoded.unwrap().len();
    assert_eq!(len(PostcardSerializer::decode(&Postcard.claim(10_000_000), 16)), 10_000_000);
    assert_eq!(len(BincodeSerializer::decode(&Bincode.claim(10_000_000), 16)), 10_000_000);
}

#[test]
fn claimed_lengths_are_refused() {
    for format in [Postcard, Bincode] {
        for len in [1_000, 1_000_001, u64::from(u32::MAX), u64::MAX / 8, u64::MAX] {
            let bytes = [format.claim(len), vec![0; 64]].concat();
            let text = match (format, len) {
                (Bincode, 1_000) => "more elements than bytes",
                (Bincode, _) => "more than 1000000 elements",
                // It claims nothing that its bytes cannot hold, or ends with them.
                _ => "the",
            };
            refused(format.decode::<Vec<u64>>(&bytes, limits()), text);
            refused(format.decode::<Vec<[u64; 32]>>(&bytes, limits()), text);
            refused(format.decode::<BTreeMap<u16, u8>>(&bytes, limits()), text);
            refused(format.decode::<String>(&bytes, limits()), "not a value of this type");
        }
    }
}

#[test]
fn lists_and_maps_are_limited_and_tuples_and_structs_are_not() {
    let limits = limits().elements(2);
    let map = |len: u8| (0..len).map(|key| (key.to_string(), key)).collect::<BTreeMap<_, _>>();
    for (len, fits) in [(2_u8, true), (3, false)] {
        let list = serde_json::to_vec(&vec![0; len.into()]).unwrap();
        assert_eq!(Json.decode::<Vec<u8>>(&list, limits).is_ok(), fits);
        assert_eq!(Json.decode::<serde_json::Value>(&list, limits).is_ok(), fits);
        let map = serde_json::to_vec(&map(len)).unwrap();
        assert_eq!(Json.decode::<BTreeMap<String, u8>>(&map, limits).is_ok(), fits);
        for format in [Postcard, Bincode] {
            let list = [format.claim(len.into()), vec![7; len.into()]].concat();
            assert_eq!(format.decode::<Vec<u8>>(&list, limits).is_ok(), fits);
        }
    }
    assert_eq!(Json.decode::<[u8; 4]>(b"[1,2,3,4]", limits).unwrap(), [1, 2, 3, 4]);
    assert_eq!(Postcard.decode::<(u8, u8, u8)>(&[1, 2, 3], limits).unwrap(), (1, 2, 3));
    let json = br#"{"id":1,"paid":true,"tags":["a"],"x":1,"y":2}"#;
    assert_eq!(Json.decode::<Order>(json, limits).unwrap().id, 1);
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Order {
    id: u32,
    paid: bool,
    tags: Vec<String>,
}

#[test]
fn bytes_are_limited_and_none_is_left_over() {
    for format in ALL {
        let one = if format == Json { b"1".to_vec() } else { vec![1] };
        assert_eq!(format.decode::<u8>(&one, limits().bytes(1)).unwrap(), 1);
        let two = [one.clone(), one].concat();
        refused(format.decode::<u8>(&two, limits().bytes(1)), "the value has 2 bytes, but at most 1 are allowed");
        let spaces = vec![b' '; 16 * MIB + 1];
        refused(format.decode::<String>(&spaces, limits()), "but at most 16777216 are allowed");
    }
    refused(Json.decode::<u8>(b"1 2", limits()), "not a value of this type");
    refused(Postcard.decode::<u8>(&[1, 2, 3], limits()), "2 bytes are left over");
    refused(Bincode.decode::<u8>(&[1, 2], limits()), "1 byte is left over");
}

/// Reads a list and hides its errors, as a lenient type may.
#[derive(Debug)]
struct Lenient;

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let _ = Vec::<u8>::deserialize(deserializer);
        Ok(Self)
    }
}

#[test]
fn a_type_cannot_hide_that_a_limit_was_exceeded() {
    refused(Postcard.decode::<Lenient>(&[3, 0, 0, 0], limits().elements(2)), "more than 2 elements");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded() {
    let used = |attack| {
        let output = child("memory_of_an_attack", attack);
        let text = String::from_utf8(output.stdout).unwrap();
        let used = text.split("used ").nth(1).and_then(|text| text.split(' ').next()?.parse::<usize>().ok());
        let used = used.unwrap_or_else(|| panic!("{attack}: {text}"));
        used >> 10
    };
    for (attack, most) in [("list", 64), ("claims", 8), ("strings", 80), ("nested", 16)] {
        assert!(used(attack) < most, "{attack}");
    }
    assert!(used("list without limits") > 128);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_of_an_attack() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let attack = std::env::var("ATTACK").unwrap_or_default();
    // 10 MB of small elements, which would be 160 MiB as values of `serde_json`.
    let list = [b"[", "0,".repeat(5 << 20).as_bytes(), b"0]"].concat();
    let before = peak();
    match attack.as_str() {
        "list" => refused(Json.decode::<serde_json::Value>(&list, limits()), "more than 1000000 elements"),
        "list without limits" => drop(Json.decode::<serde_json::Value>(&list, unlimited()).unwrap()),
        "claims" => {
            for format in [Postcard, Bincode] {
                let bytes = format.claim(900_000).repeat(100);
                assert!(format.decode::<Vec<Vec<Vec<Vec<[u64; 32]>>>>>(&bytes, limits()).is_err());
            }
        }
        "strings" => {
            for len in [1_000_000, u64::from(u32::MAX), u64::MAX / 2] {
                let bytes = [Bincode.claim(len), vec![0; 2 * MIB]].concat();
                assert!(Bincode.decode::<String>(&bytes, limits()).is_err());
            }
        }
        "nested" => {
            for format in ALL {
                refused(format.decode::<Lists>(&format.lists(MIB), limits()), "more than 64 levels");
            }
        }
        _ => return,
    }
    println!("used {} KiB", peak() - before);
}

/// Runs a test of this file in a process of its own.
fn child(test: &str, attack: &str) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env("ATTACK", attack).output().unwrap()
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Everything {
    flag: bool,
    numbers: (i8, u16, i32, u64, u128),
    float: f64,
    letter: char,
    text: String,
    option: Option<Option<u8>>,
    unit: (),
    newtype: Newtype,
    list: Vec<Vec<u16>>,
    map: BTreeMap<String, Kind>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Newtype(u8);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Kind {
    Unit,
    One(u8),
    Pair(u8, String),
    Named { id: u32 },
}

/// Only for formats that say what a value is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Described {
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
    tagged: Tagged,
    either: Either,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type")]
enum Tagged {
    Order(Order),
    Empty,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Either {
    Number(u64),
    Text(String),
    None(Option<()>),
}

fn everything() -> impl Strategy<Value = Everything> {
    let kind = prop_oneof![
        Just(Kind::Unit),
        any::<u8>().prop_map(Kind::One),
        any::<(u8, String)>().prop_map(|(number, text)| Kind::Pair(number, text)),
        any::<u32>().prop_map(|id| Kind::Named { id }),
    ];
    let lists = proptest::collection::vec(proptest::collection::vec(any::<u16>(), 0..4), 0..4);
    let map = proptest::collection::btree_map(any::<String>(), kind, 0..4);
    let numbers = any::<(bool, (i8, u16, i32, u64, u128), i32, char, String, Option<u8>, u8)>();
    (numbers, lists, map).prop_map(|((flag, numbers, float, letter, text, option, newtype), list, map)| Everything {
        flag,
        numbers,
        float: f64::from(float) / 8.0,
        letter,
        text,
        option: option.map(Some),
        unit: (),
        newtype: Newtype(newtype),
        list,
        map,
    })
}

proptest! {
    /// Honest values are not affected, and hostile changes of them cause no panic.
    #[test]
    fn every_value_is_read_as_it_was_written(value in everything(), place: prop::sample::Index, byte: u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for format in ALL {
            let mut bytes = runtime.block_on(format.encode(&value));
            prop_assert_eq!(format.decode::<Everything>(&bytes, limits()).unwrap(), value.clone());
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = format.decode::<Everything>(&bytes, limits());
        }
    }

    #[test]
    fn types_that_ask_for_any_value_are_read(id: u32, text: String, choice in 0..3_u8) {
        let value = Described {
            rest: BTreeMap::from([("more".into(), serde_json::json!({"list": [1, null, text.clone()]}))]),
            tagged: if choice == 0 { Tagged::Empty } else { Tagged::Order(Order { id, ..Order::default() }) },
            either: match choice { 0 => Either::None(None), 1 => Either::Number(7), _ => Either::Text(text) },
        };
        let bytes = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(Json.decode::<Described>(&bytes, limits()).unwrap(), value);
    }
}
