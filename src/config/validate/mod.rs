mod brokers;
mod event_hubs;
mod producer;
mod security;
#[cfg(test)]
mod tests;
mod warnings;

use kafka_tower_core::validate::topic_name;

use super::built::Built;
use super::properties::{self as given, Properties};
use super::side::{SINK, Side};
use super::{Conflict, KafkaSinkConfig};

pub(super) use brokers::{check as brokers, masked};
pub(super) use security::tokens;
pub(super) use warnings::{security as security_warnings, warnings};

/// librdkafka's limits.
const MAX_BATCH: u64 = 1_000_000;
const MAX_IN_FLIGHT: u64 = 1_000_000;
const MAX_LINGER_MS: u64 = 900_000;
/// librdkafka's defaults, in milliseconds.
const RECONNECT_MS: i64 = 100;
const RECONNECT_MAX_MS: i64 = 10_000;
/// Maximum length of a string in Kafka's protocol, in bytes.
const MAX_NAME: usize = 32_767;

const COMPRESSION: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const ACKS: [&str; 4] = ["0", "1", "all", "-1"];

/// Longer values are cut to this number of characters when shown.
const SHOWN: usize = 40;

pub(super) fn conflicts(config: &KafkaSinkConfig, built: Built) -> Vec<Conflict> {
    let mut found = alone(config, built);
    producer::check(config, &mut found);
    client(&SINK, &config.properties, built, &mut found);
    tokens(&config.properties, &config.brokers, &config.token_provider, &mut found);
    found
}

/// Checks the properties of any client.
pub(super) fn client(side: &Side, properties: &Properties, built: Built, found: &mut Vec<Conflict>) {
    given::check(side, properties, built, found);
    security::check(properties, built, found);
    reconnect(properties, found);
}

fn reconnect(properties: &Properties, found: &mut Vec<Conflict>) {
    let first = given::whole(properties, "reconnect.backoff.ms").unwrap_or(RECONNECT_MS);
    let most = given::whole(properties, "reconnect.backoff.max.ms").unwrap_or(RECONNECT_MAX_MS);
    if first > most {
        found.push(Conflict::new(
            "properties",
            format!("\"reconnect.backoff.ms\" ({first}) is above \"reconnect.backoff.max.ms\" ({most})"),
            "raise the second",
        ));
    }
}

/// Returns the conflicts of single fields, which cannot work with any other settings.
pub(super) fn alone(config: &KafkaSinkConfig, built: Built) -> Vec<Conflict> {
    let mut found = Vec::new();
    brokers(&config.brokers, &mut found);
    topic(&config.topic, &mut found);
    name("client_id", &config.client_id, &mut found);
    sizes(config, &mut found);
    choices(config, built, &mut found);
    found
}

fn topic(topic: &str, found: &mut Vec<Conflict>) {
    if topic.is_empty() {
        found.push(Conflict::new("topic", "`topic` is empty", "set the topic for messages that name none"));
    } else if let Err(error) = topic_name(topic) {
        found.push(Conflict::new("topic", format!("`topic`: {}", error.message()), error.help().to_owned()));
    }
}

/// Checks a text that brokers log and that librdkafka reads as a C string.
pub(super) fn name(field: &'static str, value: &str, found: &mut Vec<Conflict>) {
    if value.len() > MAX_NAME {
        let problem = format!("`{field}` has {} bytes", value.len());
        found.push(Conflict::new(field, problem, format!("Kafka's protocol allows {MAX_NAME}")));
    } else if let Some(c) = value.chars().find(|c| c.is_control()) {
        let problem = format!("`{field}` has the character {c:?}");
        found.push(Conflict::new(field, problem, "use printable characters"));
    }
}

#[rustfmt::skip]
fn sizes(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    const ANY: u64 = u64::MAX;
    let c = config;
    // Without the breaker its threshold is of no account.
    let threshold = if c.enable_circuit_breaker { c.circuit_breaker_threshold.into() } else { 1 };
    // The field, its value, the most that it may be, and what to do about a 0.
    for (field, value, most, cure) in [
        ("batch_size", c.batch_size as u64, MAX_BATCH, "set it to 1 to send each record alone"),
        ("max_in_flight_requests", c.max_in_flight_requests as u64, MAX_IN_FLIGHT, "set it to 1 for one request at a time"),
        ("buffer_memory", c.buffer_memory as u64, ANY, "set it to the bytes of records that may be in flight"),
        ("send_timeout_ms", c.send_timeout_ms, ANY, "set it to the milliseconds that a send may take"),
        ("connect_timeout_ms", c.connect_timeout_ms, ANY, "set it to the milliseconds that connecting may take"),
        ("delivery_bound_ms", c.delivery_bound_ms, ANY, "set it to the milliseconds that a record may be in flight"),
        ("circuit_breaker_threshold", threshold, ANY, "set it to 1 or more, or `enable_circuit_breaker` to false"),
        // No linger is as good as one.
        ("linger_ms", c.linger_ms.max(1), MAX_LINGER_MS, ""),
    ] {
        if value == 0 {
            found.push(Conflict::new(field, format!("`{field}` is 0"), cure));
        } else if value > most {
            let cure = format!("librdkafka allows up to {most}");
            found.push(Conflict::new(field, format!("`{field}` is {value}"), cure));
        }
    }
}

fn choices(config: &KafkaSinkConfig, built: Built, found: &mut Vec<Conflict>) {
    let mut one_of = |field: &'static str, value: &str, allowed: &[&str]| {
        if !allowed.contains(&value) {
            let shown: String = value.chars().take(SHOWN).collect();
            let problem = format!("`{field}` is {shown:?}");
            found.push(Conflict::new(field, problem, format!("use one of {}", allowed.join(", "))));
        }
    };
    one_of("compression_type", &config.compression_type, &COMPRESSION);
    one_of("acks", &config.acks, &ACKS);
    if config.compression_type == "zstd" && !built.zstd {
        found.push(Conflict::new(
            "compression_type",
            "`compression_type` is \"zstd\", which librdkafka is built without",
            Built::ZSTD,
        ));
    }
}
