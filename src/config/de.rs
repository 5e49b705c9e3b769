//! A configuration from a file. It can be read and not written: it has secrets.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::KafkaSinkConfig;
use super::properties::{FIELDS, closest, find, table};

/// A name is cut here when it is shown.
const SHOWN: usize = 60;

/// With the crate feature `serde`: from any format that describes itself, JSON, TOML, YAML, … What is not there has its default.
/// A name that is no field is an error, with the one that was meant.
///
/// `brokers` may be a list. Values of `properties` may be texts, numbers or flags, and nested tables are joined with dots, so
/// that TOML's `security.protocol = "ssl"` is what it looks like.
///
/// There is no `Serialize`: a configuration has passwords in it.
///
/// ```
/// use kafka_tower::KafkaSinkConfig;
///
/// let config: KafkaSinkConfig = serde_json::from_str(
///     r#"{ "brokers": ["kafka-1:9092", "kafka-2:9092"], "topic": "orders", "properties": { "socket.keepalive.enable": true } }"#,
/// )?;
/// assert_eq!(config.brokers, "kafka-1:9092,kafka-2:9092");
/// assert_eq!(config.properties["socket.keepalive.enable"], "true");
///
/// let wrong = serde_json::from_str::<KafkaSinkConfig>(r#"{ "lingr_ms": 5 }"#).unwrap_err();
/// assert!(wrong.to_string().starts_with("\"lingr_ms\" is no field: did you mean `linger_ms`?"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for KafkaSinkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = KafkaSinkConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a Kafka sink")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KafkaSinkConfig, A::Error> {
        let mut config = KafkaSinkConfig::default();
        let mut seen = BTreeSet::new();
        while let Some(Name(name)) = map.next_key()? {
            set(&mut config, &name, &mut map)?;
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("`{name}` is there twice")));
            }
        }
        Ok(config)
    }
}

fn set<'de, A: MapAccess<'de>>(config: &mut KafkaSinkConfig, name: &str, map: &mut A) -> Result<(), A::Error> {
    fn value<'de, T: Deserialize<'de>, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<T, A::Error> {
        map.next_value().map_err(|error| A::Error::custom(format_args!("`{name}`: {error}")))
    }
    match name {
        "brokers" => config.brokers = value::<Brokers, A>(name, map)?.0,
        "topic" => config.topic = value(name, map)?,
        "client_id" => config.client_id = value(name, map)?,
        "batch_size" => config.batch_size = value(name, map)?,
        "send_timeout_ms" => config.send_timeout_ms = value(name, map)?,
        "enable_idempotence" => config.enable_idempotence = value(name, map)?,
        "enable_transactions" => config.enable_transactions = value(name, map)?,
        "transactional_id" => config.transactional_id = value(name, map)?,
        "compression_type" => config.compression_type = value(name, map)?,
        "acks" => config.acks = value::<Scalar, A>(name, map)?.0,
        "max_retries" => config.max_retries = value(name, map)?,
        "base_backoff_ms" => config.base_backoff_ms = value(name, map)?,
        "max_in_flight_requests" => config.max_in_flight_requests = value(name, map)?,
        "linger_ms" => config.linger_ms = value(name, map)?,
        "buffer_memory" => config.buffer_memory = value(name, map)?,
        "enable_circuit_breaker" => config.enable_circuit_breaker = value(name, map)?,
        "circuit_breaker_threshold" => config.circuit_breaker_threshold = value(name, map)?,
        "circuit_breaker_timeout_secs" => config.circuit_breaker_timeout_secs = value(name, map)?,
        "properties" => {
            let Node::Table(table) = value(name, map)? else {
                return Err(A::Error::custom("`properties` is no table of librdkafka's properties"));
            };
            flatten("", table, &mut config.properties);
        }
        _ => return Err(A::Error::custom(unknown(name))),
    }
    Ok(())
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(SHOWN).collect();
    let cure = if find(name).is_some() {
        "it is a property of librdkafka: write it below `properties`".to_owned()
    } else if let Some(field) = closest(name, FIELDS.into_iter()) {
        format!("did you mean `{field}`?")
    } else if let Some(property) = closest(name, table::TABLE.iter().map(|property| property.name)) {
        format!("did you mean {property:?}, below `properties`?")
    } else {
        format!("the fields are {}, and properties", FIELDS.join(", "))
    };
    format!("{shown:?} is no field: {cure}")
}

fn flatten(prefix: &str, table: BTreeMap<String, Node>, properties: &mut BTreeMap<String, String>) {
    for (name, node) in table {
        let name = format!("{prefix}{name}");
        match node {
            Node::Value(value) => drop(properties.insert(name, value)),
            Node::Table(table) => flatten(&format!("{name}."), table, properties),
        }
    }
}

/// A key, also of formats that own theirs.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer).map(|name| Self(name.into_owned()))
    }
}

/// `acks = 1` is `acks = "1"`.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Value(value) => Ok(Self(value)),
            Node::Table(_) => Err(D::Error::custom("a table in place of a text")),
        }
    }
}

/// A text, or a list of them.
struct Brokers(String);

impl<'de> Deserialize<'de> for Brokers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BrokersVisitor;

        impl<'de> Visitor<'de> for BrokersVisitor {
            type Value = Brokers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("host:port, or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Brokers, E> {
                Ok(Brokers(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Brokers, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element::<String>()? {
                    all.push(one);
                }
                Ok(Brokers(all.join(",")))
            }
        }
        deserializer.deserialize_any(BrokersVisitor)
    }
}

/// A value of `properties`, or a table of them. No error shows the value.
enum Node {
    Value(String),
    Table(BTreeMap<String, Node>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a flag")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Value(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
                Ok(Node::Value(flag.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Value(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Value(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
                Ok(Node::Value(number.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut table = BTreeMap::new();
                while let Some((Name(name), node)) = map.next_entry()? {
                    table.insert(name, node);
                }
                Ok(Node::Table(table))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<KafkaSinkConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(of("{}"), Ok(KafkaSinkConfig::default()));
    }

    #[test]
    fn each_field_can_be_written() {
        for field in FIELDS {
            let changes = ["7", "\"x\"", "false", "true"].iter().any(|value| {
                of(&format!("{{\"{field}\": {value}}}")).is_ok_and(|config| config != KafkaSinkConfig::default())
            });
            assert!(changes, "{field}");
        }
    }

    #[test]
    fn properties_are_scalars_and_nested_tables() {
        let json = r#"{"acks": 1, "transactional_id": null, "properties": {"security.protocol": "ssl", "retries": 3,
            "linger": {"ms": 0.5}, "ssl": {"ca": {"location": "/ca.pem"}}, "socket.keepalive.enable": true}}"#;
        let config = of(json).unwrap();
        let all: Vec<_> = config.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "linger.ms=0.5",
            "retries=3",
            "security.protocol=ssl",
            "socket.keepalive.enable=true",
            "ssl.ca.location=/ca.pem",
        ];
        assert_eq!(all, expected);
        assert_eq!(config.acks, "1");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (json, text) in [
            (r#"{"lingr_ms": 5}"#, "\"lingr_ms\" is no field: did you mean `linger_ms`? at line 1 column 11"),
            (
                r#"{"sasl.password": "hunter2"}"#,
                "\"sasl.password\" is no field: it is a property of librdkafka: write it below `properties` at line 1 column 16",
            ),
            (
                r#"{"security_protocol": "ssl"}"#,
                "\"security_protocol\" is no field: did you mean \"security.protocol\", below `properties`? at line 1 column 20",
            ),
            (r#"{"batch_size": -1}"#, "`batch_size`: invalid value: integer `-1`, expected usize at line 1 column 17"),
            (r#"{"topic": "a", "topic": "b"}"#, "`topic` is there twice at line 1 column 28"),
            (r#"{"properties": "x"}"#, "`properties` is no table of librdkafka's properties at line 1 column 19"),
            (
                r#"{"properties": {"sasl.password": ["hunter2"]}}"#,
                "`properties`: invalid type: sequence, expected a text, a number or a flag at line 1 column 34",
            ),
        ] {
            assert_eq!(of(json), Err(text.to_owned()), "{json}");
        }
        assert!(of(r#"{"nonsense": 1}"#).unwrap_err().contains("the fields are acks, base_backoff_ms"));
    }
}
