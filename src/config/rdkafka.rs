use std::collections::BTreeMap;

use super::properties::property::Kind;
use super::{KafkaSinkConfig, properties as given};

/// Brokers keep the sequence of at most five requests per producer.
pub(super) const IN_FLIGHT_WITH_IDEMPOTENCE: usize = 5;

/// Idle connections are closed after this time. librdkafka uses the same value for Azure, whose load balancers drop
/// idle connections after 4 min; AWS's do so after 350 s.
pub(super) const MAX_IDLE_MS: i64 = 230_000;

/// librdkafka's default.
const TRANSACTION_TIMEOUT_MS: i64 = 60_000;

/// librdkafka's maximum for a size in kB.
const MAX_KBYTES: usize = i32::MAX as usize;

pub(super) fn properties(config: &KafkaSinkConfig) -> BTreeMap<String, String> {
    let in_flight = if config.enable_idempotence {
        config.max_in_flight_requests.min(IN_FLIGHT_WITH_IDEMPOTENCE)
    } else {
        config.max_in_flight_requests
    };
    // The sink's gate enforces the exact limit, so the client's own limits must not be reached first.
    let kbytes = (config.buffer_memory / 1024).saturating_mul(2).saturating_add(1024).min(MAX_KBYTES);
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
    set("bootstrap.servers", config.brokers.clone());
    set("client.id", config.client_id.clone());
    set("acks", config.acks.clone());
    set("enable.idempotence", config.enable_idempotence.to_string());
    set("compression.type", config.compression_type.clone());
    set("batch.num.messages", config.batch_size.to_string());
    set("linger.ms", config.linger_ms.to_string());
    set("max.in.flight", in_flight.to_string());
    set("queue.buffering.max.messages", "0".to_owned());
    set("queue.buffering.max.kbytes", kbytes.to_string());
    set("message.timeout.ms", message_timeout_ms(config).to_string());
    // The Java client's partitioner.
    set("partitioner", "murmur2_random".to_owned());
    // Load balancers drop idle connections silently: the next request would wait for `socket.timeout.ms`.
    set("connections.max.idle.ms", MAX_IDLE_MS.to_string());
    // librdkafka's default is 30 s. The time that records to an unknown topic wait for it to appear.
    set("topic.metadata.propagation.max.ms", "2000".to_owned());
    if config.enable_transactions {
        set("transactional.id", config.transactional_id.clone().unwrap_or_default());
        set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string());
    }
    // Another name of the same property: set to different values they would contradict each other.
    if config.properties.contains_key("delivery.timeout.ms") {
        properties.remove("message.timeout.ms");
    }
    properties.extend(config.properties.iter().map(|(name, value)| (name.clone(), as_librdkafka_reads(name, value))));
    properties
}

/// `yes`, `on`, … are flags here, but not for librdkafka.
pub(super) fn as_librdkafka_reads(name: &str, value: &str) -> String {
    match given::find(name).filter(|property| matches!(property.kind, Kind::Flag)).and(given::value::flag(value)) {
        Some(flag) => flag.to_string(),
        None => value.to_owned(),
    }
}

/// Time after which the brokers abort a transaction, in milliseconds.
pub(super) fn transaction_timeout_ms(config: &KafkaSinkConfig) -> i64 {
    given::whole(&config.properties, "transaction.timeout.ms").unwrap_or(TRANSACTION_TIMEOUT_MS)
}

/// Time that the client tries to deliver a record, in milliseconds; 0 is no limit.
///
/// The default is 0, because a record that times out in the client after it was sent makes the client send its
/// neighbours twice. In a transaction a time-out aborts, so that no reader sees the duplicates; it must come before the
/// brokers abort the transaction themselves.
pub(super) fn message_timeout_ms(config: &KafkaSinkConfig) -> i64 {
    let timeout = transaction_timeout_ms(config);
    let default = if config.enable_transactions { timeout - (timeout / 10).min(1000) } else { 0 };
    given::whole(&config.properties, "message.timeout.ms").unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(config: &KafkaSinkConfig) -> String {
        properties(config).iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn the_defaults() {
        assert_eq!(
            shown(&KafkaSinkConfig { send_timeout_ms: 1234, ..Default::default() }),
            "acks=all\n\
             batch.num.messages=100\n\
             bootstrap.servers=localhost:9092\n\
             client.id=kafka-tower\n\
             compression.type=snappy\n\
             connections.max.idle.ms=230000\n\
             enable.idempotence=true\n\
             linger.ms=0\n\
             max.in.flight=5\n\
             message.timeout.ms=0\n\
             partitioner=murmur2_random\n\
             queue.buffering.max.kbytes=66560\n\
             queue.buffering.max.messages=0\n\
             topic.metadata.propagation.max.ms=2000\n"
        );
    }

    #[test]
    fn all_fields() {
        let config = KafkaSinkConfig {
            brokers: "a:1,b:2".into(),
            client_id: "me".into(),
            batch_size: 7,
            enable_idempotence: false,
            compression_type: "lz4".into(),
            acks: "1".into(),
            max_in_flight_requests: 9,
            linger_ms: 3,
            buffer_memory: usize::MAX,
            ..Default::default()
        }
        .with_property("partitioner", "consistent_random")
        .with_property("sasl.username", "u");
        assert_eq!(
            shown(&config),
            "acks=1\n\
             batch.num.messages=7\n\
             bootstrap.servers=a:1,b:2\n\
             client.id=me\n\
             compression.type=lz4\n\
             connections.max.idle.ms=230000\n\
             enable.idempotence=false\n\
             linger.ms=3\n\
             max.in.flight=9\n\
             message.timeout.ms=0\n\
             partitioner=consistent_random\n\
             queue.buffering.max.kbytes=2147483647\n\
             queue.buffering.max.messages=0\n\
             sasl.username=u\n\
             topic.metadata.propagation.max.ms=2000\n"
        );
    }

    #[test]
    fn idempotence_limits_requests_to_five() {
        let config = KafkaSinkConfig { max_in_flight_requests: 10, ..Default::default() };
        assert_eq!(properties(&config)["max.in.flight"], "5");
    }

    #[test]
    fn two_names_of_one_timeout_are_not_both_set() {
        let config = KafkaSinkConfig::default().with_property("delivery.timeout.ms", "9000");
        let properties = properties(&config);
        assert_eq!(properties.get("message.timeout.ms"), None);
        assert_eq!(properties["delivery.timeout.ms"], "9000");
    }

    #[test]
    fn a_transaction_has_its_id_and_its_times() {
        let of = |config: KafkaSinkConfig| {
            let mut all = properties(&config);
            ["transactional.id", "transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms"]
                .map(|name| all.remove(name).unwrap_or_default())
        };
        let config = KafkaSinkConfig::exactly_once("a", "t", "me");
        assert_eq!(of(config.clone()), ["me", "60000", "59000", ""]);
        assert_eq!(of(config.clone().with_property("transaction.timeout.ms", "1000")), ["me", "1000", "900", ""]);
        assert_eq!(of(config.clone().with_property("delivery.timeout.ms", "7")), ["me", "60000", "", "7"]);
        assert_eq!(of(KafkaSinkConfig { enable_transactions: false, ..config }), ["", "", "0", ""]);
    }
}
