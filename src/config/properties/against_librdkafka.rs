//! Tests the table against librdkafka, which must accept every value that the table allows and reject values outside.

use std::collections::BTreeMap;

use kafka_tower_rdkafka::RdkafkaTransport;

use super::property::{Kind, Needs, Property};
use super::{missing, table, value};
use crate::config::built::Built;
use crate::config::side::{SINK, SOURCE};

/// Values that the table allows: the ends of a range, each choice.
fn allowed(property: &Property) -> Vec<String> {
    match (&property.kind, property.name) {
        // Not tried: they act on this process (a signal, a library, brokers).
        (_, "internal.termination.signal" | "plugin.library.paths" | "test.mock.num.brokers") => vec![],
        (Kind::Text, "partition.assignment.strategy") => vec!["range".to_owned()],
        (Kind::Text, _) => vec!["x".to_owned()],
        (Kind::Version, _) => vec!["0.8.2".to_owned(), "2.4.0".to_owned()],
        (Kind::Flag, _) => ["true", "F", "1"].map(str::to_owned).to_vec(),
        (Kind::Whole(least, most), _) => vec![least.to_string(), most.to_string()],
        (Kind::Float(least, most), _) => vec![least.to_string(), most.to_string()],
        (Kind::OneOf(known), "compression.codec" | "compression.type" | "security.protocol") => {
            vec![known[0].to_owned()]
        }
        (Kind::Exactly(_), "sasl.mechanism" | "sasl.mechanisms") => vec!["PLAIN".to_owned()],
        (Kind::OneOf(known), _) => known.iter().map(|one| one.to_ascii_uppercase()).collect(),
        (Kind::Exactly(known) | Kind::SomeOf(known), _) => known.iter().map(|one| (*one).to_owned()).collect(),
    }
}

/// Values outside the table's range, which librdkafka rejects too.
fn beside(property: &Property) -> Vec<String> {
    let beyond = |most: i64| (most < i64::from(i32::MAX) - 100).then(|| (most + 1).to_string());
    match &property.kind {
        Kind::Whole(least, most) => {
            beyond(*most).into_iter().chain([(least - 1).to_string(), "x".to_owned()]).collect()
        }
        Kind::Float(least, most) => vec![(least - 1.0).to_string(), (most + 1.0).to_string()],
        Kind::Flag | Kind::OneOf(_) | Kind::Exactly(_) | Kind::SomeOf(_) => vec!["nonsense".to_owned()],
        Kind::Version => vec!["0.7.2".to_owned()],
        Kind::Text => vec![],
    }
}

/// Makes a client with this property and the others that it needs.
async fn takes(name: &str, value: &str) -> Result<(), String> {
    let mut all = BTreeMap::from([("bootstrap.servers", "127.0.0.1:1"), ("enable.idempotence", "false")]);
    match name {
        "enable.gapless.guarantee" => drop(all.insert("enable.idempotence", "true")),
        "reconnect.backoff.max.ms" => drop(all.insert("reconnect.backoff.ms", "0")),
        "reconnect.backoff.ms" => drop(all.insert("reconnect.backoff.max.ms", "3600000")),
        "ssl.keystore.location" => drop(all.insert("ssl.keystore.password", "p")),
        "metadata.broker.list" => drop(all.remove("bootstrap.servers")),
        // librdkafka checks the mechanism only when SASL is used.
        "sasl.mechanism" | "sasl.mechanisms" => {
            all.extend([("security.protocol", "sasl_plaintext"), ("sasl.username", "u"), ("sasl.password", "p")]);
        }
        _ => {}
    }
    all.insert(name, value);
    let client = RdkafkaTransport::builder().properties(all).connect_check(false).connect().await;
    client.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_table_matches_librdkafka() {
    let mut differences = Vec::new();
    for property in table::TABLE.iter().filter(|property| property.name != "transactional.id") {
        let built = property.needs.is_none_or(|needs| missing(needs, Built::HERE).is_none());
        let good = allowed(property).into_iter().map(|text| (text, true));
        for (text, good) in good.chain(beside(property).into_iter().map(|text| (text, false))) {
            let name = property.name;
            assert_eq!(value::check(&property.kind, &text).is_ok(), good, "{name} = {text}");
            let taken = takes(name, &text).await;
            if taken.is_ok() != (good && built) {
                differences.push(format!("{name} = {text}: {taken:?}"));
            }
        }
    }
    assert_eq!(differences, [""; 0]);
}

#[tokio::test]
async fn the_other_lists_match_librdkafka() {
    // librdkafka accepts a consumer's property for a producer and ignores it; it rejects callbacks.
    let by_transport = SINK.set_by_transport.iter().chain(SOURCE.set_by_transport).map(|(name, _)| name);
    for name in table::API.iter().chain(by_transport) {
        assert!(!takes(name, "\u{1}").await.is_err_and(|text| text.contains("no property")), "{name}");
    }
    assert!(takes("lingr.ms", "1").await.is_err_and(|text| text.contains("no property")));
    assert!(missing(Needs::Curl, Built::HERE).is_some());
}

#[tokio::test]
async fn librdkafka_refuses_the_names_of_java() {
    for name in super::java::names() {
        assert!(takes(name, "1").await.is_err(), "{name}");
    }
}
