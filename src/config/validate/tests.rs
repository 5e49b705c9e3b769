use super::*;

fn good() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "orders".into(), ..Default::default() }
}

#[test]
fn the_presets_of_the_specification_work() {
    assert_eq!(good().conflicts(), []);
    let throughput = KafkaSinkConfig {
        batch_size: 10_000,
        linger_ms: 100,
        compression_type: "lz4".into(),
        buffer_memory: 67_108_864,
        max_in_flight_requests: 10,
        ..good()
    };
    assert_eq!(throughput.conflicts(), []);
    assert_eq!(throughput.warnings().len(), 1, "five requests with idempotence");
    let latency =
        KafkaSinkConfig { batch_size: 1, compression_type: "none".into(), max_in_flight_requests: 1, ..good() };
    assert_eq!(latency.conflicts(), []);
}

type Case = (fn(&mut KafkaSinkConfig), &'static str);

/// Each setting alone, and the one conflict that it makes.
#[test]
#[rustfmt::skip]
fn each_conflict() {
    let cases: &[Case] = &[
        (|c| c.brokers = " , ".into(), "`brokers` is empty: write host:port, several with commas"),
        (|c| c.brokers = "kafka://a:9092".into(), "`brokers` has \"kafka://a:9092\", which is a URL: write host:port, several with commas"),
        (|c| c.brokers = "a:9092,b:x".into(), "`brokers` has \"b:x\", which has no port from 1 to 65535 behind its colon: write host:port, several with commas"),
        (|c| c.brokers = "a:0".into(), "`brokers` has \"a:0\", which has no port from 1 to 65535 behind its colon: write host:port, several with commas"),
        (|c| c.brokers = ":9092".into(), "`brokers` has \":9092\", which has no host: write host:port, several with commas"),
        (|c| c.brokers = "a:9092 b:9092".into(), "`brokers` has \"a:9092 b:9092\", which has a space: write host:port, several with commas"),
        (|c| c.brokers = "::1:9092".into(), "`brokers` has \"::1:9092\", which has several colons: write an IPv6 address as [address]:port"),
        (|c| c.topic.clear(), "`topic` is empty: name the topic of messages that name none"),
        (|c| c.topic = "a b".into(), "`topic`: \"a b\" is no topic name: it has the character ' ': use 1 to 249 letters, digits, '.', '_' and '-'"),
        (|c| c.batch_size = 0, "`batch_size` is 0: set it to 1 to send each record alone"),
        (|c| c.batch_size = 1_000_001, "`batch_size` is 1000001: librdkafka allows up to 1000000"),
        (|c| c.max_in_flight_requests = 0, "`max_in_flight_requests` is 0: set it to 1 for one request at a time"),
        (|c| c.buffer_memory = 0, "`buffer_memory` is 0: give it the bytes that may be on their way"),
        (|c| c.send_timeout_ms = 0, "`send_timeout_ms` is 0: give a send the milliseconds that it may take"),
        (|c| c.linger_ms = 30_000, "`linger_ms` (30000) leaves nothing of `send_timeout_ms` (30000): lower `linger_ms`, or raise `send_timeout_ms`"),
        (|c| { c.linger_ms = 900_001; c.send_timeout_ms = u64::MAX }, "`linger_ms` is 900001: librdkafka allows up to 900000"),
        (|c| c.compression_type = "brotli".into(), "`compression_type` is \"brotli\": use one of none, gzip, snappy, lz4, zstd"),
        (|c| c.acks = "2".into(), "`acks` is \"2\": use one of 0, 1, all, -1"),
        (|c| c.acks = "0".into(), "`acks` is \"0\" while `enable_idempotence` is true: set `acks` to \"all\", or `enable_idempotence` to false"),
        (|c| c.circuit_breaker_threshold = 0, "`circuit_breaker_threshold` is 0: set it to 1 or more, or `enable_circuit_breaker` to false"),
        (|c| { c.enable_transactions = true; c.transactional_id = Some("a".into()) }, "`enable_transactions` is true, but transactions are not part of this release: set it to false"),
        (|c| { c.properties.insert("linger.ms".into(), "5".into()); }, "`properties` has \"linger.ms\", which `linger_ms` sets: set the field `linger_ms`, remove the property"),
        (|c| { c.properties.insert("max.request.size".into(), "5".into()); }, "`properties` has \"max.request.size\", a name of the Java client: use \"message.max.bytes\""),
    ];
    for (spoil, expected) in cases {
        let mut config = good();
        spoil(&mut config);
        let found: Vec<_> = config.conflicts().iter().map(Conflict::to_string).collect();
        assert_eq!(found, [*expected]);
    }
}

#[test]
fn brokers_that_work() {
    for brokers in ["a", "a:9092", "a:1, b:65535 ,", "[::1]:9092", "[::1]", "10.0.0.1"] {
        let config = KafkaSinkConfig { brokers: brokers.into(), ..good() };
        assert_eq!(config.conflicts(), [], "{brokers}");
    }
}

#[test]
fn idempotence_off_frees_acks() {
    for acks in ["0", "1", "all", "-1"] {
        let config = KafkaSinkConfig { acks: acks.into(), enable_idempotence: false, ..good() };
        assert_eq!(config.conflicts(), [], "{acks}");
    }
}

#[test]
fn every_conflict_is_told_at_once() {
    let config = KafkaSinkConfig {
        brokers: "http://a".into(),
        topic: String::new(),
        client_id: String::new(),
        batch_size: 0,
        send_timeout_ms: 0,
        enable_idempotence: false,
        enable_transactions: true,
        transactional_id: None,
        compression_type: "x".into(),
        acks: "x".into(),
        max_in_flight_requests: 0,
        linger_ms: 1,
        buffer_memory: 0,
        circuit_breaker_threshold: 0,
        ..Default::default()
    }
    .with_property("acks", "1")
    .with_property("buffer.memory", "1");
    let fields: Vec<_> = config.conflicts().iter().map(|conflict| conflict.field).collect();
    let expected = [
        "brokers",
        "topic",
        "batch_size",
        "max_in_flight_requests",
        "buffer_memory",
        "send_timeout_ms",
        "circuit_breaker_threshold",
        "linger_ms",
        "compression_type",
        "acks",
        "enable_transactions",
        "transactional_id",
        "enable_idempotence",
        "properties",
        "properties",
    ];
    assert_eq!(fields, expected);
    let text = config.validate().unwrap_err().to_string();
    for conflict in config.conflicts() {
        assert!(text.contains(&conflict.to_string()), "{conflict} in {text}");
    }
}

#[test]
fn a_secret_is_not_in_the_text() {
    let config = good().with_property("sasl.jaas.config", "hunter2");
    assert!(!config.validate().unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn warnings_name_what_may_not_be_meant() {
    assert!(good().warnings().is_empty());
    assert!(good().with_property("message.timeout.ms", "0").warnings().is_empty());
    let config = KafkaSinkConfig { acks: "0".into(), transactional_id: Some("a".into()), ..good() }
        .with_property("delivery.timeout.ms", "5000");
    assert_eq!(config.warnings().len(), 3);
}
