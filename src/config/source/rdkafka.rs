use std::collections::BTreeMap;

use kafka_tower_core::{Isolation, OffsetReset};

use super::{GroupProtocol, KafkaSourceConfig};
use crate::config::properties as given;
use crate::config::rdkafka::{MAX_IDLE_MS, as_librdkafka_reads};

/// Least share of a partition, whatever the number of partitions.
const MIN_RECORDS: usize = 100;
const MIN_BYTES: usize = 65_536;

/// librdkafka's limits.
const MAX_QUEUED_RECORDS: usize = 10_000_000;
const MAX_QUEUED_KBYTES: usize = 2_097_151;
const MAX_FETCH_BYTES: usize = 2_147_483_135;

/// librdkafka's default of `message.max.bytes`. It refuses a smaller `fetch.max.bytes`.
const MESSAGE_MAX_BYTES: i64 = 1_000_000;

pub(super) fn properties(config: &KafkaSourceConfig, partitions: u32) -> BTreeMap<String, String> {
    let share = |whole: usize, least: usize| (whole / partitions.max(1) as usize).max(least);
    let bytes = share(config.buffer_bytes, MIN_BYTES).min(MAX_QUEUED_KBYTES * 1024);
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
    set("bootstrap.servers", config.brokers.clone());
    set("client.id", config.client_id.clone());
    set("group.id", config.group_id.clone());
    set("group.protocol", config.group_protocol.name().to_owned());
    if let Some(id) = &config.group_instance_id {
        set("group.instance.id", id.clone());
    }
    // With KIP-848 librdkafka refuses these even if they have their defaults.
    if config.group_protocol == GroupProtocol::Classic {
        set("partition.assignment.strategy", config.assignor.name().to_owned());
        set("session.timeout.ms", config.session_timeout_ms.to_string());
        set("heartbeat.interval.ms", config.heartbeat_interval_ms.to_string());
    }
    set("max.poll.interval.ms", config.rebalance_timeout_ms.to_string());
    set("auto.offset.reset", reset(config.start.reset()).to_owned());
    set("isolation.level", isolation(config.isolation).to_owned());
    // The source decides what is committed, and reads positions.
    set("enable.auto.commit", "false".to_owned());
    set("enable.auto.offset.store", "false".to_owned());
    set("enable.partition.eof", "false".to_owned());
    set("check.crcs", "true".to_owned());
    set("queued.min.messages", share(config.buffer_records, MIN_RECORDS).min(MAX_QUEUED_RECORDS).to_string());
    set("queued.max.messages.kbytes", (bytes / 1024).to_string());
    set("fetch.message.max.bytes", config.partition_fetch_bytes.min(bytes).to_string());
    set("fetch.max.bytes", fetch_max_bytes(config).to_string());
    set("fetch.min.bytes", config.fetch_min_bytes.to_string());
    // librdkafka's default is 500 ms. It has one request under way for each broker, and meanwhile a partition that was full when
    // the request was made is not fetched.
    set("fetch.wait.max.ms", config.fetch_max_wait_ms.to_string());
    // librdkafka's default is 1 s. The time that a partition whose share is used up is not fetched.
    set("fetch.queue.backoff.ms", "10".to_owned());
    // librdkafka's default is 5 min. New partitions are found within this time.
    set("topic.metadata.refresh.interval.ms", "60000".to_owned());
    // Load balancers drop idle connections silently: the next request would wait for `socket.timeout.ms`.
    set("connections.max.idle.ms", MAX_IDLE_MS.to_string());
    properties.extend(config.properties.iter().map(|(name, value)| (name.clone(), as_librdkafka_reads(name, value))));
    properties
}

/// Bytes of a response, at most.
pub(super) fn fetch_max_bytes(config: &KafkaSourceConfig) -> usize {
    let least = given::whole(&config.properties, "message.max.bytes").unwrap_or(MESSAGE_MAX_BYTES);
    (config.buffer_bytes / 2).max(least.try_into().unwrap_or(0)).min(MAX_FETCH_BYTES)
}

fn reset(reset: OffsetReset) -> &'static str {
    match reset {
        OffsetReset::Latest => "latest",
        _ => "earliest",
    }
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "read_uncommitted",
        _ => "read_committed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Assignor, StartFrom};
    use super::*;

    fn config() -> KafkaSourceConfig {
        KafkaSourceConfig { group_id: "g".into(), topics: vec!["orders".into()], ..Default::default() }
    }

    fn shown(config: &KafkaSourceConfig, partitions: u32) -> String {
        properties(config, partitions).iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn the_defaults() {
        assert_eq!(
            shown(&config(), 16),
            "auto.offset.reset=earliest\n\
             bootstrap.servers=localhost:9092\n\
             check.crcs=true\n\
             client.id=kafka-tower\n\
             connections.max.idle.ms=230000\n\
             enable.auto.commit=false\n\
             enable.auto.offset.store=false\n\
             enable.partition.eof=false\n\
             fetch.max.bytes=33554432\n\
             fetch.message.max.bytes=1048576\n\
             fetch.min.bytes=1\n\
             fetch.queue.backoff.ms=10\n\
             fetch.wait.max.ms=100\n\
             group.id=g\n\
             group.protocol=classic\n\
             heartbeat.interval.ms=3000\n\
             isolation.level=read_committed\n\
             max.poll.interval.ms=300000\n\
             partition.assignment.strategy=cooperative-sticky\n\
             queued.max.messages.kbytes=4096\n\
             queued.min.messages=6250\n\
             session.timeout.ms=45000\n\
             topic.metadata.refresh.interval.ms=60000\n"
        );
    }

    #[test]
    fn all_fields() {
        let config = KafkaSourceConfig {
            brokers: "a:1,b:2".into(),
            client_id: "me".into(),
            group_protocol: GroupProtocol::Consumer,
            group_instance_id: Some("pod-0".into()),
            rebalance_timeout_ms: 60_000,
            start: StartFrom::Latest,
            isolation: Isolation::ReadUncommitted,
            fetch_min_bytes: 7,
            fetch_max_wait_ms: 8,
            partition_fetch_bytes: 9,
            ..config()
        }
        .with_property("check.crcs", "no")
        .with_property("topic.metadata.refresh.interval.ms", "1000")
        .with_property("sasl.username", "u");
        assert_eq!(
            shown(&config, 1),
            "auto.offset.reset=latest\n\
             bootstrap.servers=a:1,b:2\n\
             check.crcs=false\n\
             client.id=me\n\
             connections.max.idle.ms=230000\n\
             enable.auto.commit=false\n\
             enable.auto.offset.store=false\n\
             enable.partition.eof=false\n\
             fetch.max.bytes=33554432\n\
             fetch.message.max.bytes=9\n\
             fetch.min.bytes=7\n\
             fetch.queue.backoff.ms=10\n\
             fetch.wait.max.ms=8\n\
             group.id=g\n\
             group.instance.id=pod-0\n\
             group.protocol=consumer\n\
             isolation.level=read_uncommitted\n\
             max.poll.interval.ms=60000\n\
             queued.max.messages.kbytes=65536\n\
             queued.min.messages=100000\n\
             sasl.username=u\n\
             topic.metadata.refresh.interval.ms=1000\n"
        );
        let classic = KafkaSourceConfig {
            assignor: Assignor::RoundRobin,
            session_timeout_ms: 6_000,
            heartbeat_interval_ms: 2_000,
            ..self::config()
        };
        let all = properties(&classic, 1);
        let of = |name: &str| all[name].as_str();
        assert_eq!(of("partition.assignment.strategy"), "roundrobin");
        assert_eq!((of("session.timeout.ms"), of("heartbeat.interval.ms")), ("6000", "2000"));
    }

    #[test]
    fn each_partition_has_its_share_within_librdkafkas_limits() {
        let of = |config: &KafkaSourceConfig, partitions: u32| {
            let all = properties(config, partitions);
            ["queued.min.messages", "queued.max.messages.kbytes", "fetch.message.max.bytes", "fetch.max.bytes"]
                .map(|name| all[name].parse::<u64>().unwrap())
        };
        assert_eq!(of(&config(), 0), of(&config(), 1), "an unknown number counts as one");
        assert_eq!(of(&config(), 128), [781, 512, 524_288, 33_554_432], "no response is larger than the share");
        assert_eq!(of(&config(), 100_000), [100, 64, 65_536, 33_554_432]);
        let small = KafkaSourceConfig { buffer_records: 1, buffer_bytes: 1, ..config() };
        assert_eq!(of(&small, 1), [100, 64, 65_536, 1_000_000]);
        assert_eq!(of(&small.with_property("message.max.bytes", "1000"), 1)[3], 1_000);
        let large = KafkaSourceConfig {
            buffer_records: usize::MAX,
            buffer_bytes: usize::MAX,
            partition_fetch_bytes: 1_000_000_000,
            ..config()
        };
        assert_eq!(of(&large, 1), [10_000_000, 2_097_151, 1_000_000_000, 2_147_483_135]);
    }

    /// librdkafka checks some values only together, when it makes a consumer.
    #[cfg(feature = "rdkafka")]
    #[test]
    fn librdkafka_makes_a_consumer_of_each_valid_configuration() {
        use ::rdkafka::ClientConfig;
        use ::rdkafka::consumer::BaseConsumer;

        let takes = |config: &KafkaSourceConfig, partitions| {
            let properties: ClientConfig = properties(config, partitions).into_iter().collect();
            properties.create::<BaseConsumer>().map(drop).map_err(|error| error.to_string())
        };
        let consumer = KafkaSourceConfig { group_protocol: GroupProtocol::Consumer, ..config() };
        let small = KafkaSourceConfig { buffer_records: 1, buffer_bytes: 1, partition_fetch_bytes: 1, ..config() };
        let large = KafkaSourceConfig {
            buffer_records: usize::MAX,
            buffer_bytes: usize::MAX,
            partition_fetch_bytes: 1_000_000_000,
            fetch_min_bytes: 100_000_000,
            fetch_max_wait_ms: 300_000,
            ..config()
        };
        let least = config().with_property("receive.message.max.bytes", "33554944");
        let tight = KafkaSourceConfig {
            session_timeout_ms: 300_000,
            heartbeat_interval_ms: 100_000,
            group_instance_id: Some("pod-0".into()),
            ..config()
        };
        for config in [config(), consumer, small, large, least, tight] {
            assert_eq!(config.conflicts(), []);
            for partitions in [1, 100_000] {
                assert_eq!(takes(&config, partitions), Ok(()), "{config:?}");
            }
        }
        // What validation refuses, librdkafka does too.
        for config in [
            config().with_property("receive.message.max.bytes", "33554943"),
            KafkaSourceConfig { session_timeout_ms: 300_001, ..config() },
        ] {
            assert!(takes(&config, 1).is_err() && !config.conflicts().is_empty(), "{config:?}");
        }
    }
}
