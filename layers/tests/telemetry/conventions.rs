//! Compares our names with those of the crate generated from the conventions. Each difference is listed.

use std::collections::BTreeSet;

use opentelemetry_semantic_conventions::{SCHEMA_URL, attribute, metric};

/// Names in the crate: ours must be equal.
const SAME: [&str; 19] = [
    attribute::ERROR_TYPE,
    attribute::MESSAGING_BATCH_MESSAGE_COUNT,
    attribute::MESSAGING_CLIENT_ID,
    attribute::MESSAGING_CONSUMER_GROUP_NAME,
    attribute::MESSAGING_DESTINATION_NAME,
    attribute::MESSAGING_DESTINATION_PARTITION_ID,
    attribute::MESSAGING_KAFKA_MESSAGE_KEY,
    attribute::MESSAGING_KAFKA_MESSAGE_TOMBSTONE,
    attribute::MESSAGING_KAFKA_OFFSET,
    attribute::MESSAGING_OPERATION_NAME,
    attribute::MESSAGING_OPERATION_TYPE,
    attribute::MESSAGING_SYSTEM,
    attribute::SERVER_ADDRESS,
    attribute::SERVER_PORT,
    metric::MESSAGING_CLIENT_CONSUMED_MESSAGES,
    metric::MESSAGING_CLIENT_OPERATION_DURATION,
    metric::MESSAGING_CLIENT_SENT_MESSAGES,
    metric::MESSAGING_PROCESS_DURATION,
    "kafka",
];

/// Names that the crate does not contain, and the version of the conventions that introduced them.
const KNOWN: [(&str, &str); 6] = [
    ("messaging.kafka.cluster.id", "1.44"),
    ("messaging.system.name", "1.45, in place of messaging.system"),
    ("kafka.offset", "1.45, in place of messaging.kafka.offset"),
    ("kafka.message.key", "1.45, in place of messaging.kafka.message.key"),
    ("kafka.message.tombstone", "1.45, in place of messaging.kafka.message.tombstone"),
    ("kafka.cluster.id", "1.45, in place of messaging.kafka.cluster.id"),
];

/// All names in the module's source that are not in our own namespace.
fn ours() -> BTreeSet<&'static str> {
    let source = include_str!("../../src/telemetry/semconv.rs");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let literals = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    let names =
        literals.filter(|name| name.contains('.') && !name.starts_with("kafka_tower.") && !name.contains("://"));
    names.chain(["kafka"]).collect()
}

#[test]
fn each_name_is_the_semconv_crates_or_a_listed_difference() {
    let ours = ours();
    let theirs: BTreeSet<_> = SAME.into_iter().chain(KNOWN.map(|(name, _)| name)).collect();
    let unknown: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(unknown.is_empty(), "neither the crate's nor known, or not written any more: {unknown:?}");
}

/// When the crate is updated, review the list above.
#[test]
fn the_listed_differences_are_for_the_semconv_crates_version() {
    assert_eq!(SCHEMA_URL, "https://opentelemetry.io/schemas/1.42.0");
}
