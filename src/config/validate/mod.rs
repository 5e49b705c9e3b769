mod brokers;
mod producer;
mod security;
#[cfg(test)]
mod tests;
mod warnings;

use kafka_tower_core::validate::topic_name;

use super::built::Built;
use super::{Conflict, KafkaSinkConfig, properties};

pub(super) use brokers::masked;
pub(super) use warnings::warnings;

/// librdkafka's limits.
const MAX_BATCH: usize = 1_000_000;
const MAX_IN_FLIGHT: usize = 1_000_000;
const MAX_LINGER_MS: u64 = 900_000;
/// Maximum length of a string in Kafka's protocol, in bytes.
const MAX_NAME: usize = 32_767;

const COMPRESSION: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const ACKS: [&str; 4] = ["0", "1", "all", "-1"];

/// Longer values are cut to this number of characters when shown.
const SHOWN: usize = 40;

pub(super) fn conflicts(config: &KafkaSinkConfig, built: Built) -> Vec<Conflict> {
    let mut found = alone(config, built);
    producer::check(config, &mut found);
    properties::check(config, built, &mut found);
    security::check(config, built, &mut found);
    found
}

/// Returns the conflicts of single fields, which cannot work with any other settings.
pub(super) fn alone(config: &KafkaSinkConfig, built: Built) -> Vec<Conflict> {
    let mut found = Vec::new();
    brokers::check(&config.brokers, &mut found);
    topic(&config.topic, &mut found);
    name("client_id", &config.client_id, &mut found);
    sizes(config, &mut found);
    choices(config, built, &mut found);
    found
}

fn topic(topic: &str, found: &mut Vec<Conflict>) {
    if topic.is_empty() {
        found.push(Conflict::new("topic", "`topic` is empty", "name the topic of messages that name none"));
    } else if let Err(error) = topic_name(topic) {
        found.push(Conflict::new("topic", format!("`topic`: {}", error.message()), error.help().to_owned()));
    }
}

/// Checks a text that brokers log and that librdkafka reads as a C string.
fn name(field: &'static str, value: &str, found: &mut Vec<Conflict>) {
    if value.len() > MAX_NAME {
        let problem = format!("`{field}` has {} bytes", value.len());
        found.push(Conflict::new(field, problem, format!("Kafka's protocol allows {MAX_NAME}")));
    } else if let Some(c) = value.chars().find(|c| c.is_control()) {
        let problem = format!("`{field}` has the character {c:?}");
        found.push(Conflict::new(field, problem, "use printable characters"));
    }
}

fn sizes(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    let mut range = |field: &'static str, value: u64, most: u64, cure: &'static str| {
        if value == 0 {
            found.push(Conflict::new(field, format!("`{field}` is 0"), cure));
        } else if value > most {
            found.push(Conflict::new(
                field,
                format!("`{field}` is {value}"),
                format!("librdkafka allows up to {most}"),
            ));
        }
    };
    range("batch_size", config.batch_size as u64, MAX_BATCH as u64, "set it to 1 to send each record alone");
    range(
        "max_in_flight_requests",
        config.max_in_flight_requests as u64,
        MAX_IN_FLIGHT as u64,
        "set it to 1 for one request at a time",
    );
    range("buffer_memory", config.buffer_memory as u64, u64::MAX, "give it the bytes that may be on their way");
    range("send_timeout_ms", config.send_timeout_ms, u64::MAX, "give a send the milliseconds that it may take");
    range(
        "connect_timeout_ms",
        config.connect_timeout_ms,
        u64::MAX,
        "give connecting the milliseconds that it may take",
    );
    range(
        "delivery_bound_ms",
        config.delivery_bound_ms,
        u64::MAX,
        "give a record the milliseconds that it may be on its way",
    );
    if config.enable_circuit_breaker {
        range(
            "circuit_breaker_threshold",
            config.circuit_breaker_threshold.into(),
            u64::MAX,
            "set it to 1 or more, or `enable_circuit_breaker` to false",
        );
    }
    if config.linger_ms > MAX_LINGER_MS {
        let problem = format!("`linger_ms` is {}", config.linger_ms);
        found.push(Conflict::new("linger_ms", problem, format!("librdkafka allows up to {MAX_LINGER_MS}")));
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
