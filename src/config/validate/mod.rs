#[cfg(test)]
mod tests;

use kafka_tower_core::validate::topic_name;

use super::rdkafka::{IN_FLIGHT_WITH_IDEMPOTENCE, is_off};
use super::{Conflict, KafkaSinkConfig};

/// librdkafka's own limits.
const MAX_BATCH: usize = 1_000_000;
const MAX_IN_FLIGHT: usize = 1_000_000;
const MAX_LINGER_MS: u64 = 900_000;

const COMPRESSION: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const ACKS: [&str; 4] = ["0", "1", "all", "-1"];

/// librdkafka's names, and the field that sets them.
const SET_BY_FIELDS: [(&str, &str); 16] = [
    ("acks", "acks"),
    ("batch.num.messages", "batch_size"),
    ("bootstrap.servers", "brokers"),
    ("client.id", "client_id"),
    ("compression.codec", "compression_type"),
    ("compression.type", "compression_type"),
    ("enable.idempotence", "enable_idempotence"),
    ("linger.ms", "linger_ms"),
    ("max.in.flight", "max_in_flight_requests"),
    ("max.in.flight.requests.per.connection", "max_in_flight_requests"),
    ("metadata.broker.list", "brokers"),
    ("queue.buffering.max.kbytes", "buffer_memory"),
    ("queue.buffering.max.messages", "buffer_memory"),
    ("queue.buffering.max.ms", "linger_ms"),
    ("request.required.acks", "acks"),
    ("transactional.id", "transactional_id"),
];

/// Names of the Java client that librdkafka does not know, and what to use.
const JAVA_NAMES: [(&str, &str); 9] = [
    ("buffer.memory", "set the field `buffer_memory`"),
    ("key.serializer", "keys are bytes: remove it"),
    ("max.block.ms", "set the field `send_timeout_ms`"),
    ("max.request.size", "use \"message.max.bytes\""),
    ("partitioner.class", "use \"partitioner\""),
    ("sasl.jaas.config", "use \"sasl.username\" and \"sasl.password\""),
    ("ssl.truststore.location", "use \"ssl.ca.location\" with a PEM file"),
    ("ssl.truststore.password", "use \"ssl.ca.location\" with a PEM file"),
    ("value.serializer", "give the sink a `MessageSerializer`"),
];

pub(super) fn conflicts(config: &KafkaSinkConfig) -> Vec<Conflict> {
    let mut found = Vec::new();
    brokers(&config.brokers, &mut found);
    topic(&config.topic, &mut found);
    sizes(config, &mut found);
    guarantees(config, &mut found);
    transactions(config, &mut found);
    properties(config, &mut found);
    found
}

fn brokers(brokers: &str, found: &mut Vec<Conflict>) {
    const CURE: &str = "write host:port, several with commas";
    let mut named = false;
    for broker in brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
        named = true;
        let problem = if broker.contains("://") {
            "is a URL"
        } else if broker.contains(char::is_whitespace) {
            "has a space"
        } else {
            match broker.rsplit_once(':') {
                Some(("", _)) => "has no host",
                // An IPv6 address without a port.
                Some(_) if broker.starts_with('[') && broker.ends_with(']') => continue,
                Some((host, _)) if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) => {
                    found.push(Conflict::new(
                        "brokers",
                        format!("`brokers` has {broker:?}, which has several colons"),
                        "write an IPv6 address as [address]:port",
                    ));
                    continue;
                }
                Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => continue,
                Some(_) => "has no port from 1 to 65535 behind its colon",
                None => continue,
            }
        };
        found.push(Conflict::new("brokers", format!("`brokers` has {broker:?}, which {problem}"), CURE));
    }
    if !named {
        found.push(Conflict::new("brokers", "`brokers` is empty", CURE));
    }
}

fn topic(topic: &str, found: &mut Vec<Conflict>) {
    if topic.is_empty() {
        found.push(Conflict::new("topic", "`topic` is empty", "name the topic of messages that name none"));
    } else if let Err(error) = topic_name(topic) {
        found.push(Conflict::new("topic", format!("`topic`: {}", error.message()), error.help().to_owned()));
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
    if config.linger_ms > 0 && config.linger_ms >= config.send_timeout_ms {
        found.push(Conflict::new(
            "linger_ms",
            format!(
                "`linger_ms` ({}) leaves nothing of `send_timeout_ms` ({})",
                config.linger_ms, config.send_timeout_ms
            ),
            "lower `linger_ms`, or raise `send_timeout_ms`",
        ));
    }
}

fn guarantees(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    let mut one_of = |field: &'static str, value: &str, allowed: &[&str]| {
        if !allowed.contains(&value) {
            let problem = format!("`{field}` is {value:?}");
            found.push(Conflict::new(field, problem, format!("use one of {}", allowed.join(", "))));
        }
    };
    one_of("compression_type", &config.compression_type, &COMPRESSION);
    one_of("acks", &config.acks, &ACKS);
    if config.enable_idempotence && matches!(config.acks.as_str(), "0" | "1") {
        found.push(Conflict::new(
            "acks",
            format!("`acks` is {:?} while `enable_idempotence` is true", config.acks),
            "set `acks` to \"all\", or `enable_idempotence` to false",
        ));
    }
}

fn transactions(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    if !config.enable_transactions {
        return;
    }
    found.push(Conflict::new(
        "enable_transactions",
        "`enable_transactions` is true, but transactions are not part of this release",
        "set it to false",
    ));
    if config.transactional_id.as_deref().is_none_or(str::is_empty) {
        found.push(Conflict::new(
            "transactional_id",
            "`transactional_id` is missing while `enable_transactions` is true",
            "give each producer an id of its own that outlives restarts",
        ));
    }
    if !config.enable_idempotence {
        found.push(Conflict::new(
            "enable_idempotence",
            "`enable_idempotence` is false while `enable_transactions` is true",
            "set it to true: transactions rest on it",
        ));
    }
}

fn properties(config: &KafkaSinkConfig, found: &mut Vec<Conflict>) {
    for name in config.properties.keys() {
        let of = |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| known == name).map(|(_, text)| *text);
        if let Some(field) = of(&SET_BY_FIELDS) {
            let problem = format!("`properties` has {name:?}, which `{field}` sets");
            found.push(Conflict::new("properties", problem, format!("set the field `{field}`, remove the property")));
        } else if let Some(cure) = of(&JAVA_NAMES) {
            let problem = format!("`properties` has {name:?}, a name of the Java client");
            found.push(Conflict::new("properties", problem, cure));
        }
    }
}

pub(super) fn warnings(config: &KafkaSinkConfig) -> Vec<String> {
    let mut found = Vec::new();
    if config.enable_idempotence && config.max_in_flight_requests > IN_FLIGHT_WITH_IDEMPOTENCE {
        found.push(format!(
            "`max_in_flight_requests` is {}: with idempotence the client keeps to {IN_FLIGHT_WITH_IDEMPOTENCE} requests \
             a broker, Kafka's rule; the number still bounds what the sink admits",
            config.max_in_flight_requests
        ));
    }
    if config.acks == "0" {
        found.push(
            "`acks` is \"0\": a send is answered before a broker has seen it, and offsets are unknown".to_owned(),
        );
    }
    if !config.enable_transactions && config.transactional_id.is_some() {
        found.push("`transactional_id` is set and unused: `enable_transactions` is false".to_owned());
    }
    for name in ["message.timeout.ms", "delivery.timeout.ms"] {
        if config.properties.get(name).is_some_and(|value| !is_off(value)) {
            found.push(format!(
                "the property {name:?} is finite: when a record times out in the client after it may have been sent, \
                 the client sends others a second time and reports them delivered; `send_timeout_ms` bounds a send \
                 without that"
            ));
        }
    }
    found
}
