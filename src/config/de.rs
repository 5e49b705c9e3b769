//! Deserializes a configuration. There is no serializer, because a configuration contains secrets.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::fields::Settings;
use super::overlay::{Overlay, Setting};
use super::properties::{closest, find};
use super::side::Side;
use super::{KafkaSinkConfig, KafkaSourceConfig};

/// Longer names are cut to this number of characters when shown.
const SHOWN: usize = 60;

/// With the crate feature `serde`: reads any self-describing format (JSON, TOML, YAML, …). A missing or null setting
/// has its default.
///
/// `brokers` may be a list. Numbers and flags may be strings: `"5"`, `"yes"`. Values of `properties` may be strings,
/// numbers or flags; nested tables are joined with dots, so that TOML's `security.protocol = "ssl"` sets
/// `security.protocol`.
///
/// An unknown setting is an error that suggests the nearest known name. A value that cannot work with any other
/// settings is an error too. One error contains everything that is wrong, including settings that do not fit together.
/// A parser that adds a position to the error names the end of the settings, not the line of the fault.
///
/// There is no `Serialize`, because a configuration contains passwords.
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
/// assert!(wrong.to_string().starts_with("unknown field \"lingr_ms\": did you mean `linger_ms`?"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for KafkaSinkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfigVisitor(PhantomData))
    }
}

/// With the crate feature `serde`: as for [`KafkaSinkConfig`]. `topics` may be a list or a text with commas, and choices are
/// written as [`with_vars`](KafkaSourceConfig::with_vars) says.
///
/// ```
/// use kafka_tower::{CommitStrategy, KafkaSourceConfig};
///
/// let config: KafkaSourceConfig = serde_json::from_str(
///     r#"{ "group_id": "billing", "topics": ["orders", "returns"], "commit": "each", "properties": { "check.crcs": false } }"#,
/// )?;
/// assert_eq!(config.topics, ["orders", "returns"]);
/// assert_eq!(config.commit, CommitStrategy::Each);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for KafkaSourceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfigVisitor(PhantomData))
    }
}

struct ConfigVisitor<C>(PhantomData<C>);

impl<'de, C: Settings> Visitor<'de> for ConfigVisitor<C> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings of a Kafka {}", C::SIDE.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<C, A::Error> {
        let mut overlay = Overlay::over(C::default());
        let mut seen = BTreeSet::new();
        while let Some(Name(name)) = map.next_key()? {
            let node: Node = map.next_value().map_err(|error| A::Error::custom(format_args!("`{name}`: {error}")))?;
            if seen.contains(&name) {
                overlay.fault(&format!("`{name}` is given twice: remove one of them"));
            } else {
                set(&mut overlay, &name, node);
                seen.insert(name);
            }
        }
        overlay.finish().map_err(|faults| A::Error::custom(faults.join("; ")))
    }

    /// An empty file gives the defaults.
    fn visit_unit<E: Error>(self) -> Result<C, E> {
        Ok(C::default())
    }
}

/// An empty value counts as missing.
fn set<C: Settings>(overlay: &mut Overlay<C>, name: &str, node: Node) {
    let field = C::SIDE.fields.iter().copied().find(|field| *field == name);
    match (field, node) {
        (Some(_), Node::Null) => {}
        (Some(field), Node::Text(text)) => overlay.set(Setting::Field(field), &text),
        (Some(field), Node::Plain(_)) if C::is_text(field) => {
            overlay.fault(&format!("`{field}` is a number or a flag: write it in quotes"));
        }
        (Some(field), Node::Plain(text)) => overlay.set(Setting::Field(field), &text),
        (Some(field @ ("brokers" | "topics" | "assign")), Node::List(list)) => {
            match list.into_iter().map(text).collect::<Option<Vec<_>>>() {
                Some(all) => overlay.set(Setting::Field(field), &all.join(",")),
                None => {
                    let each = if field == "brokers" { "each as host:port," } else { "each" };
                    overlay.fault(&format!("`{field}` has an entry that is not a string: write {each} in quotes"));
                }
            }
        }
        (Some(field), Node::List(_)) => overlay.fault(&format!("`{field}` is a list: write one value")),
        (Some(field), Node::Table(_)) => overlay.fault(&format!("`{field}` is a table: write one value")),
        (Some(field), Node::Other) => overlay.fault(&format!("`{field}` has an unsupported type: write a string")),
        (None, Node::Null) if name == "properties" => {}
        (None, Node::Table(table)) if name == "properties" => {
            let mut seen = BTreeSet::new();
            flatten("", table, &mut |name, node| property(overlay, &mut seen, &name, node));
        }
        (None, _) if name == "properties" => overlay.fault(
            "`properties` is not a table: write librdkafka's properties in it as names and values, or leave it out",
        ),
        (None, _) => overlay.fault(&unknown(C::SIDE, name)),
    }
}

fn property<C: Settings>(overlay: &mut Overlay<C>, seen: &mut BTreeSet<String>, name: &str, node: Node) {
    let shown: String = name.chars().take(SHOWN).collect();
    match node {
        Node::Null => {}
        Node::Text(_) | Node::Plain(_) if !seen.insert(name.to_owned()) => {
            overlay.fault(&format!("`properties` has {shown:?} twice: remove one of them"));
        }
        Node::Text(value) | Node::Plain(value) => overlay.set(Setting::Property(name), &value),
        Node::List(_) | Node::Table(_) | Node::Other => {
            overlay.fault(&format!(
                "`properties` has {shown:?} with a value that is not a string, number or flag: write one of these"
            ));
        }
    }
}

fn text(node: Node) -> Option<String> {
    match node {
        Node::Text(text) => Some(text),
        _ => None,
    }
}

fn unknown(side: &Side, name: &str) -> String {
    let shown: String = name.chars().take(SHOWN).collect();
    let cure = if find(name).is_some_and(|property| property.is_of(side.client)) {
        "it is a property of librdkafka: write it in `properties`".to_owned()
    } else if let Some(field) = closest(name, side.fields.iter().copied()) {
        format!("did you mean `{field}`?")
    } else if let Some(property) = closest(name, side.properties().map(|property| property.name)) {
        format!("did you mean {property:?}, in `properties`?")
    } else {
        let mut fields = side.fields.to_vec();
        fields.sort_unstable();
        format!("the fields are {} and properties", fields.join(", "))
    };
    format!("unknown field {shown:?}: {cure}")
}

fn flatten(prefix: &str, table: Vec<(String, Node)>, each: &mut impl FnMut(String, Node)) {
    for (name, node) in table {
        let name = format!("{prefix}{name}");
        match node {
            Node::Table(table) => flatten(&format!("{name}."), table, each),
            node => each(name, node),
        }
    }
}

/// A key, for borrowing and owning formats.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer).map(|name| Self(name.into_owned()))
    }
}

/// Any value, read completely so that settings after a wrong one are still read. Errors do not show it.
enum Node {
    Null,
    Text(String),
    /// A number or a flag.
    Plain(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Plain(flag.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Plain(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Plain(number.to_string()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Node, E> {
        Ok(Node::Plain(number.to_string()))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Node, E> {
        Ok(Node::Plain(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Plain(number.to_string()))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(Node::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        while let Some((Name(name), node)) = map.next_entry()? {
            table.push((name, node));
        }
        Ok(Node::Table(table))
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::super::FIELDS;
    use super::*;

    fn of(json: &str) -> Result<KafkaSinkConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_input_is_the_default() {
        assert_eq!(of("{}"), Ok(KafkaSinkConfig::default()));
    }

    #[test]
    fn each_field_can_be_written() {
        for field in FIELDS {
            let changes = ["7", "0", "\"x\"", "\"lz4\"", "false", "true"].iter().any(|value| {
                of(&format!("{{\"{field}\": {value}}}")).is_ok_and(|config| config != KafkaSinkConfig::default())
            });
            assert!(changes, "{field}");
        }
    }

    #[test]
    fn properties_are_scalars_and_nested_tables() {
        let json = r#"{"acks": 1, "transactional_id": null, "properties": {"security.protocol": "ssl", "retries": 3,
            "sticky": {"partitioning": {"linger.ms": 5}}, "client": {"rack": "a"}, "socket.keepalive.enable": true}}"#;
        let config = of(json).unwrap();
        let all: Vec<_> = config.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "client.rack=a",
            "retries=3",
            "security.protocol=ssl",
            "socket.keepalive.enable=true",
            "sticky.partitioning.linger.ms=5",
        ];
        assert_eq!(all, expected);
        assert_eq!(config.acks, "1");
    }

    #[test]
    fn an_empty_value_is_the_default() {
        let fields: Vec<_> = FIELDS.iter().map(|field| format!("\"{field}\": null")).collect();
        let json =
            format!("{{{}, \"properties\": {{\"client.rack\": null, \"ssl\": {{\"ca\": null}}}}}}", fields.join(","));
        assert_eq!(of(&json), Ok(KafkaSinkConfig::default()));
        assert_eq!(of(r#"{"properties": null}"#), Ok(KafkaSinkConfig::default()));
    }

    #[test]
    fn numbers_and_flags_may_be_strings() {
        let config = of(
            r#"{"batch_size": "7", "enable_idempotence": "No", "enable_transactions": 0, "enable_circuit_breaker": "off",
            "send_timeout_ms": 18446744073709551615, "properties": {"socket.keepalive.enable": "Yes"}}"#,
        );
        let expected = KafkaSinkConfig {
            batch_size: 7,
            enable_idempotence: false,
            enable_circuit_breaker: false,
            send_timeout_ms: u64::MAX,
            ..Default::default()
        };
        let config = config.unwrap();
        assert_eq!(config.librdkafka_properties()["socket.keepalive.enable"], "true");
        assert_eq!(config, expected.with_property("socket.keepalive.enable", "Yes"));
    }

    #[test]
    fn faults_name_their_setting() {
        for (json, text) in [
            (r#"{"lingr_ms": 5}"#, "unknown field \"lingr_ms\": did you mean `linger_ms`?"),
            (
                r#"{"sasl.password": "hunter2"}"#,
                "unknown field \"sasl.password\": it is a property of librdkafka: write it in `properties`",
            ),
            (
                r#"{"security_protocol": "ssl"}"#,
                "unknown field \"security_protocol\": did you mean \"security.protocol\", in `properties`?",
            ),
            (
                r#"{"batch_size": -1}"#,
                "`batch_size`: expected a whole number in range, got \"-1\": write digits, without a unit",
            ),
            (r#"{"batch_size": [1]}"#, "`batch_size` is a list: write one value"),
            (r#"{"client_id": 7}"#, "`client_id` is a number or a flag: write it in quotes"),
            (
                r#"{"brokers": ["a", 1]}"#,
                "`brokers` has an entry that is not a string: write each as host:port, in quotes",
            ),
            (r#"{"topic": "a", "topic": "b"}"#, "`topic` is given twice: remove one of them"),
            (
                r#"{"properties": "x"}"#,
                "`properties` is not a table: write librdkafka's properties in it as names and values, or leave it out",
            ),
            (
                r#"{"properties": {"sasl.password": ["hunter2"]}}"#,
                "`properties` has \"sasl.password\" with a value that is not a string, number or flag: write one of these",
            ),
            (
                r#"{"properties": {"client.rack": "a", "client": {"rack": "b"}}}"#,
                "`properties` has \"client.rack\" twice: remove one of them",
            ),
        ] {
            let faults = of(json).unwrap_err();
            assert!(faults.starts_with(text), "{json}: {faults}");
            assert!(faults.contains(" at line 1 column "), "{faults}");
            assert!(!faults.contains("hunter2"), "{faults}");
        }
        assert!(of(r#"{"nonsense": 1}"#).unwrap_err().contains("the fields are acks, base_backoff_ms"));
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let faults = of(
            r#"{"linger_ms": "5ms", "acks": "2", "brokers": ["kafka://a", "b:x"], "compression_type": "brotli", "topc": "t",
            "properties": {"security": {"protocol": "tls"}, "socket.keepalive.enable": "maybe", "reconnect.backoff.ms": 20000}}"#,
        );
        assert_eq!(
            faults.unwrap_err(),
            "`linger_ms`: expected a whole number in range, got \"5ms\": write digits, without a unit; `acks` is \
             \"2\": use one of 0, 1, all, -1; `brokers` has \"kafka://a\", which is a URL: write host:port, \
             separated by commas; `brokers` has \"b:x\", which needs a port from 1 to 65535 after its colon: write \
             host:port, separated by commas; `compression_type` is \"brotli\": use one of none, gzip, snappy, lz4, \
             zstd; unknown field \"topc\": did you mean `topic`?; `properties` has \"security.protocol\": unknown \
             value \"tls\": use one of plaintext, ssl, sasl_plaintext, sasl_ssl; `properties` has \
             \"socket.keepalive.enable\": \"maybe\" is neither true nor false: write true or false; \
             \"reconnect.backoff.ms\" (20000) is above \"reconnect.backoff.max.ms\" (10000): raise the second at \
             line 2 column 127"
        );
    }

    #[test]
    fn a_source_has_its_own_fields() {
        let of = |json: &str| serde_json::from_str::<KafkaSourceConfig>(json).map_err(|error| error.to_string());
        assert_eq!(of("{}"), Ok(KafkaSourceConfig::default()));
        let config = of(r#"{"topics": "a, b", "commit": "Periodic", "commit_every": 7, "group_protocol": "consumer",
            "properties": {"group": {"remote.assignor": "range"}}}"#);
        let expected = KafkaSourceConfig {
            topics: vec!["a".into(), "b".into()],
            commit: kafka_tower_core::source::CommitStrategy::Periodic,
            commit_every: Some(7),
            group_protocol: crate::GroupProtocol::Consumer,
            ..Default::default()
        };
        assert_eq!(config, Ok(expected.with_property("group.remote.assignor", "range")));
        for (json, text) in [
            (r#"{"topic": "a"}"#, "unknown field \"topic\": did you mean `topics`?"),
            (r#"{"batch_size": 1}"#, "unknown field \"batch_size\": the fields are assign, assignor, broker"),
            (r#"{"topics": []}"#, "`topics` is empty: name the topics to read"),
            (r#"{"topics": ["a", 1]}"#, "`topics` has an entry that is not a string: write each in quotes"),
            (
                r#"{"start": "newest"}"#,
                "`start`: unknown value \"newest\": use one of earliest, latest, or milliseconds since 1970",
            ),
            (
                r#"{"properties": {"linger.ms": 5}}"#,
                "`properties` has \"linger.ms\", which is for producers: remove it",
            ),
        ] {
            let faults = of(json).unwrap_err();
            assert!(faults.starts_with(text), "{json}: {faults}");
        }
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn client_credentials_become_a_provider_of_tokens() {
        let json = |more: &str| {
            format!(
                r#"{{"properties": {{"security.protocol": "sasl_plaintext", "sasl": {{"mechanism": "OAUTHBEARER",
                "oauthbearer": {{"client.id": "a", "client.secret": "hunter2", "scope": "x",
                "token.endpoint.url": "https://login.example.com/token"}}}}{more}}}}}"#
            )
        };
        let config = of(&json("")).unwrap();
        assert!(config.token_provider.get().is_some());
        assert_eq!(config.properties.keys().collect::<Vec<_>>(), ["sasl.mechanism", "security.protocol"]);
        let source: KafkaSourceConfig = serde_json::from_str(&json("")).unwrap();
        assert!(source.token_provider.get().is_some());
        let text = of(&json(r#", "https.ca.location": "/does/not/exist""#)).unwrap_err();
        let expected =
            "`properties` has \"https.ca.location\": the file of the token endpoint's certificates cannot be read (";
        assert!(text.starts_with(expected) && !text.contains("hunter2"), "{text}");
    }
}
