use super::super::fields::Settings;
use super::*;
use crate::KafkaSourceConfig;

/// A build with every option.
const ALL: Built = Built { zstd: true, tls: true, gssapi: true, oidc: false };
/// A build with the default features.
const PLAIN: Built = Built { zstd: false, tls: false, gssapi: false, oidc: false };

fn good() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "orders".into(), ..Default::default() }
}

fn exactly_once() -> KafkaSinkConfig {
    KafkaSinkConfig::exactly_once("a", "t", "id")
}

fn with(mut config: KafkaSinkConfig, properties: &[(&str, &str)]) -> KafkaSinkConfig {
    for (name, value) in properties {
        config = config.with_property(*name, *value);
    }
    config
}

fn texts(config: &KafkaSinkConfig, built: Built) -> Vec<String> {
    conflicts(config, built).iter().map(Conflict::to_string).collect()
}

type Case = (fn(&mut KafkaSinkConfig), &'static str);

/// Wrong values of single fields, each with its one conflict.
#[test]
#[rustfmt::skip]
fn each_field() {
    let cases: &[Case] = &[
        (|c| c.brokers = " , ".into(), "`brokers` is empty: write host:port, separated by commas"),
        (|c| c.topic.clear(), "`topic` is empty: set the topic for messages that name none"),
        (|c| c.topic = "a b".into(), "`topic`: \"a b\" is not a valid topic name: it contains the character ' ': use 1 to 249 letters, digits, '.', '_' and '-'"),
        (|c| c.client_id = "a\0".into(), "`client_id` has the character '\\0': use printable characters"),
        (|c| c.client_id = "a".repeat(40_000), "`client_id` has 40000 bytes: Kafka's protocol allows 32767"),
        (|c| c.batch_size = 0, "`batch_size` is 0: set it to 1 to send each record alone"),
        (|c| c.batch_size = 1_000_001, "`batch_size` is 1000001: librdkafka allows up to 1000000"),
        (|c| c.max_in_flight_requests = 0, "`max_in_flight_requests` is 0: set it to 1 for one request at a time"),
        (|c| c.buffer_memory = 0, "`buffer_memory` is 0: set it to the bytes of records that may be in flight"),
        (|c| c.send_timeout_ms = 0, "`send_timeout_ms` is 0: set it to the milliseconds that a send may take"),
        (|c| c.connect_timeout_ms = 0, "`connect_timeout_ms` is 0: set it to the milliseconds that connecting may take"),
        (|c| c.delivery_bound_ms = 0, "`delivery_bound_ms` is 0: set it to the milliseconds that a record may be in flight"),
        (|c| c.linger_ms = 30_000, "`linger_ms` (30000) uses up `send_timeout_ms` (30000): lower `linger_ms`, or raise `send_timeout_ms`"),
        (|c| { c.linger_ms = 900_001; c.send_timeout_ms = u64::MAX }, "`linger_ms` is 900001: librdkafka allows up to 900000"),
        (|c| c.compression_type = "brotli".into(), "`compression_type` is \"brotli\": use one of none, gzip, snappy, lz4, zstd"),
        (|c| c.compression_type = "zstd".into(), "`compression_type` is \"zstd\", which librdkafka is built without: enable the cargo feature `zstd` of kafka-tower, or use lz4"),
        (|c| c.acks = "2".into(), "`acks` is \"2\": use one of 0, 1, all, -1"),
        (|c| c.acks = "0".into(), "`acks` is \"0\" while `enable_idempotence` is true: set `acks` to \"all\", or `enable_idempotence` to false"),
        (|c| c.circuit_breaker_threshold = 0, "`circuit_breaker_threshold` is 0: set it to 1 or more, or `enable_circuit_breaker` to false"),
        (|c| c.enable_transactions = true, "`transactional_id` is missing while `enable_transactions` is true: give each producer its own id that stays the same after a restart"),
        (|c| { *c = exactly_once(); c.transactional_id = Some(" a".into()) }, "`transactional_id` starts or ends with a space: remove the space, because librdkafka drops it at the start"),
        (|c| { *c = exactly_once(); c.transactional_id = Some("a\0b".into()) }, "`transactional_id` has the character '\\0': use printable characters"),
        (|c| { *c = exactly_once(); c.enable_idempotence = false }, "`enable_idempotence` is false while `enable_transactions` is true: set it to true, because transactions need it"),
        (|c| { *c = exactly_once(); c.send_timeout_ms = 60_001 }, "`send_timeout_ms` (60001) is longer than a transaction may take, which is the property \"transaction.timeout.ms\" (60000): lower `send_timeout_ms`, or raise the property"),
        (|c| { *c = with(exactly_once(), &[("transaction.timeout.ms", "1000")]); c.send_timeout_ms = 1000; c.linger_ms = 900 }, "`linger_ms` (900) uses up the 900 ms that \"transaction.timeout.ms\" gives a record: lower `linger_ms`, or raise the property"),
        (|c| { *c = with(good(), &[("message.timeout.ms", "5")]); c.linger_ms = 5 }, "`linger_ms` (5) uses up the 5 ms that \"message.timeout.ms\" gives a record: lower `linger_ms`, or raise the property"),
    ];
    for (spoil, expected) in cases {
        let mut config = good();
        spoil(&mut config);
        assert_eq!(texts(&config, PLAIN), [*expected]);
    }
}

type Pairs = &'static [(&'static str, &'static str)];

/// Properties with their one conflict, in a build with every option.
#[test]
#[rustfmt::skip]
fn each_property() {
    let cases: &[(Pairs, &str)] = &[
        (&[("linger.ms", "5")], "`properties` has \"linger.ms\", which `linger_ms` sets: set the field `linger_ms` and remove the property"),
        (&[("batch_size", "5")], "`properties` has \"batch_size\", which is a field: set the field `batch_size` and remove the property"),
        (&[("lingr.ms", "5")], "`properties` has \"lingr.ms\", which librdkafka does not know: did you mean \"linger.ms\"? The field `linger_ms` sets it"),
        (&[("sasl.pasword", "x")], "`properties` has \"sasl.pasword\", which librdkafka does not know: did you mean \"sasl.password\"?"),
        (&[("nonsense", "x")], "`properties` has \"nonsense\", which librdkafka does not know: correct it (see CONFIGURATION.md of librdkafka 2.12.1), or remove it"),
        (&[("hunter2", "sasl.password")], "`properties` has \"sasl.password\" as the value of a property: swap its name and its value"),
        (&[("max.request.size", "5")], "`properties` has \"max.request.size\", which is a name of the Java client: use \"message.max.bytes\""),
        (&[("sasl.login.refresh.buffer.seconds", "5")], "`properties` has \"sasl.login.refresh.buffer.seconds\", which is a name of the Java client: remove it, because librdkafka has no counterpart"),
        (&[("group.id", "g")], "`properties` has \"group.id\", which is for consumers: remove it"),
        (&[("dr_cb", "g")], "`properties` has \"dr_cb\", which can only be set in code: remove it"),
        (&[("delivery.report.only.error", "true")], "`properties` has \"delivery.report.only.error\", which the transport sets: remove it, because no send is answered without its delivery report"),
        (&[("socket.timeout.ms", "5ms")], "`properties` has \"socket.timeout.ms\": expected a whole number, got \"5ms\": write one from 10 to 300000, without a unit"),
        (&[("socket.timeout.ms", "5")], "`properties` has \"socket.timeout.ms\": 5 is out of range: librdkafka allows 10 to 300000"),
        (&[("socket.keepalive.enable", "maybe")], "`properties` has \"socket.keepalive.enable\": \"maybe\" is neither true nor false: write true or false"),
        (&[("security.protocol", "tls")], "`properties` has \"security.protocol\": unknown value \"tls\": use one of plaintext, ssl, sasl_plaintext, sasl_ssl"),
        (&[("sasl.mechanism", "plain")], "`properties` has \"sasl.mechanism\": unknown value \"plain\": use one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI"),
        (&[("debug", "broker,everything")], "`properties` has \"debug\": unknown value \"everything\": use any of generic,broker,topic,metadata,feature,queue,msg,protocol,cgrp,security,fetch,interceptor,plugin,consumer,admin,eos,mock,assignor,conf,telemetry,all"),
        (&[("client.rack", "a\0")], "`properties` has \"client.rack\": its value has a NUL character: remove the character"),
        (&[("broker.version.fallback", "0.7.2")], "`properties` has \"broker.version.fallback\": expected a Kafka version of 0.8 or newer, got \"0.7.2\": write it like 2.4.0, or remove the property, because brokers report their version"),
        (&[("delivery.timeout.ms", "0"), ("message.timeout.ms", "0")], "`properties` has \"delivery.timeout.ms\" and \"message.timeout.ms\", which are two names of one property: remove one of them"),
        (&[("retries", "0")], "`properties` has \"retries\" with 0 while `enable_idempotence` is true: allow 1 or more, or set `enable_idempotence` to false"),
        (&[("queuing.strategy", "LIFO")], "`properties` has \"queuing.strategy\" with lifo while `enable_idempotence` is true: remove it, or set `enable_idempotence` to false"),
        (&[("queue.buffering.backpressure.threshold", "2")], "`properties` has \"queue.buffering.backpressure.threshold\" while `enable_idempotence` is true: set it to 1, or set `enable_idempotence` to false"),
        (&[("reconnect.backoff.ms", "20000")], "\"reconnect.backoff.ms\" (20000) is above \"reconnect.backoff.max.ms\" (10000): raise the second"),
        (&[("sasl.oauthbearer.method", "oidc")], "`properties` has \"sasl.oauthbearer.method\", which needs libcurl, and librdkafka is built without it: remove it, and get the tokens in a provider: `with_token_provider` with `tokens::OidcProvider` (crate feature `oidc`)"),
        (&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "PLAIN"), ("sasl.username", "u")], "`properties` has no \"sasl.password\", which PLAIN needs: set it"),
        (&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.username", ""), ("sasl.password", "p")], "`properties` has no \"sasl.username\", which SCRAM-SHA-512 needs: set it"),
        (&[("ssl.keystore.location", "a.p12")], "`properties` has \"ssl.keystore.location\" and no \"ssl.keystore.password\": set it"),
        (&[("ssl.key.location", "a.pem")], "`properties` has \"ssl.key.location\" and no certificate for it: set \"ssl.certificate.location\" or \"ssl.certificate.pem\""),
        (&[("ssl.certificate.location", "a.pem")], "`properties` has \"ssl.certificate.location\" and no key for it: set \"ssl.key.location\" or \"ssl.key.pem\""),
        (&[("ssl.ca.pem", "/etc/ca.pem")], "`properties` has \"ssl.ca.pem\" with a value that is not PEM: write the PEM text itself, starting with -----BEGIN; for a path use the property whose name ends with .location"),
    ];
    for (properties, expected) in cases {
        assert_eq!(texts(&with(good(), properties), ALL), [*expected]);
    }
    let config = KafkaSinkConfig { enable_idempotence: false, ..good() };
    assert_eq!(texts(&with(config, &[("enable.gapless.guarantee", "true")]), ALL), ["`properties` has \"enable.gapless.guarantee\" while `enable_idempotence` is false: set `enable_idempotence` to true, or remove the property"]);
    let config = with(exactly_once(), &[("delivery.timeout.ms", "60001"), ("socket.timeout.ms", "60101")]);
    assert_eq!(texts(&config, ALL), [
        "`properties` has \"delivery.timeout.ms\" (60001) above \"transaction.timeout.ms\" (60000): lower it, or raise the other",
        "`properties` has \"socket.timeout.ms\" (60101) above \"transaction.timeout.ms\" (60000): lower it, or raise the other",
    ]);
}

/// Settings that need a build option, each with its cargo feature.
#[test]
#[rustfmt::skip]
fn each_feature() {
    let cases: &[(Pairs, &str)] = &[
        (&[("security.protocol", "SSL")], "`properties` has \"security.protocol\" with ssl, which needs TLS: enable the cargo feature `ssl` or `ssl-vendored` of kafka-tower"),
        (&[("ssl.ca.location", "ca.pem")], "`properties` has \"ssl.ca.location\", which needs TLS: enable the cargo feature `ssl` or `ssl-vendored` of kafka-tower"),
        (&[("sasl.mechanism", "SCRAM-SHA-256")], "`properties` has \"sasl.mechanism\" with SCRAM-SHA-256, which needs OpenSSL: enable the cargo feature `ssl` or `ssl-vendored` of kafka-tower"),
        (&[("sasl.mechanisms", "GSSAPI")], "`properties` has \"sasl.mechanisms\" with GSSAPI, which needs Kerberos: enable the cargo feature `gssapi` of kafka-tower"),
        (&[("security.protocol", "sasl_plaintext")], "`properties` has \"security.protocol\" with sasl_plaintext and no \"sasl.mechanism\", which means Kerberos (GSSAPI), and that needs the cargo feature `gssapi`: set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"),
    ];
    for (properties, expected) in cases {
        let config = with(good(), properties);
        assert_eq!(texts(&config, PLAIN), [*expected]);
        assert_eq!(conflicts(&config, ALL), []);
    }
}

#[test]
fn tokens_need_a_provider() {
    let by_token = with(good(), &[("security.protocol", "sasl_ssl"), ("sasl.mechanisms", "OAUTHBEARER")]);
    assert_eq!(
        texts(&by_token, ALL),
        ["`properties` has \"sasl.mechanisms\" with OAUTHBEARER, and there is no provider of tokens: set one with \
          `with_token_provider`, for example `tokens::OidcProvider` of the crate feature `oidc`"]
    );
    assert_eq!(conflicts(&by_token, ALL)[0].field, "token_provider");
    let msk = KafkaSinkConfig { brokers: "b-1.a.b.c2.kafka.us-east-1.amazonaws.com:9098".into(), ..by_token.clone() };
    let text = texts(&msk, ALL).remove(0);
    assert!(text.contains("`tokens::MskIamProvider` of the crate feature `aws-msk-iam`"), "{text}");
    let source = KafkaSourceConfig {
        group_id: "g".into(),
        topics: vec!["orders".into()],
        properties: by_token.properties.clone(),
        ..KafkaSourceConfig::default()
    };
    assert!(source.all_conflicts(ALL).iter().any(|conflict| conflict.field == "token_provider"));
    let provider = || async { Err::<crate::OauthToken, _>("down") };
    assert_eq!(conflicts(&by_token.clone().with_token_provider(provider), ALL), []);
    assert_eq!(source.with_token_provider(provider).all_conflicts(ALL), []);
    assert_eq!(conflicts(&with(by_token, &[("enable.sasl.oauthbearer.unsecure.jwt", "true")]), ALL), []);
    assert_eq!(conflicts(&with(good(), &[("sasl.mechanism", "OAUTHBEARER")]), ALL), [], "not used");
}

#[test]
fn a_provider_is_neither_shown_nor_compared() {
    let config = good().with_token_provider(|| async { Err::<crate::OauthToken, _>("down") });
    assert_eq!(config, good());
    assert!(format!("{config:?}").contains("token_provider: Some(..)"));
    assert!(format!("{:?}", good()).contains("token_provider: None"));
}

#[test]
fn valid_configurations_have_no_conflicts() {
    for acks in ["0", "1", "all", "-1"] {
        let config = KafkaSinkConfig { acks: acks.into(), enable_idempotence: false, ..good() };
        assert_eq!(conflicts(&config, PLAIN), [], "{acks}");
    }
    let plain: Pairs = &[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
        ("debug", "broker, topic,-msg"),
        ("socket.timeout.ms", "60000"),
        ("topic.metadata.refresh.interval.ms", "-1"),
    ];
    assert_eq!(conflicts(&with(good(), plain), PLAIN), []);
    let mutual: Pairs = &[
        ("security.protocol", "ssl"),
        ("ssl.ca.pem", "-----BEGIN CERTIFICATE-----"),
        ("ssl.key.location", "key.pem"),
        ("ssl.certificate.location", "cert.pem"),
    ];
    assert_eq!(conflicts(&with(good(), mutual), ALL), []);
    assert_eq!(conflicts(&exactly_once(), PLAIN), []);
}

#[test]
fn every_conflict_is_reported_at_once() {
    let config = KafkaSinkConfig {
        brokers: "http://a".into(),
        topic: String::new(),
        client_id: "\0".into(),
        batch_size: 0,
        send_timeout_ms: 0,
        enable_idempotence: false,
        enable_transactions: true,
        transactional_id: None,
        compression_type: "x".into(),
        acks: "0".into(),
        max_in_flight_requests: 0,
        linger_ms: 1,
        buffer_memory: 0,
        circuit_breaker_threshold: 0,
        ..Default::default()
    };
    let config = with(config, &[("acks", "1"), ("buffer.memory", "1"), ("ssl.key.pem", "x")]);
    let fields: Vec<_> = conflicts(&config, ALL).iter().map(|conflict| conflict.field).collect();
    let expected = [
        "brokers",
        "topic",
        "client_id",
        "batch_size",
        "max_in_flight_requests",
        "buffer_memory",
        "send_timeout_ms",
        "circuit_breaker_threshold",
        "compression_type",
        "acks",
        "transactional_id",
        "enable_idempotence",
        "linger_ms",
        "properties",
        "properties",
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
fn warnings_name_unintended_settings() {
    assert!(good().warnings().is_empty());
    assert!(with(good(), &[("message.timeout.ms", "0")]).warnings().is_empty());
    assert!(with(exactly_once(), &[("delivery.timeout.ms", "5000")]).warnings().is_empty(), "it aborts there");
    let sasl = |mechanism| [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", mechanism)];
    let cases: &[(KafkaSinkConfig, &[&str])] = &[
        (KafkaSinkConfig { max_in_flight_requests: 11, ..good() }, &["at most 5 requests"]),
        (
            KafkaSinkConfig { linger_ms: 7501, ..good() },
            &["`linger_ms` (7501) is more than a quarter of `send_timeout_ms` (30000)"],
        ),
        (KafkaSinkConfig { linger_ms: 7500, ..good() }, &[]),
        (
            KafkaSinkConfig { base_backoff_ms: 300, send_timeout_ms: 1000, ..good() },
            &["hardly any of `max_retries` (5)"],
        ),
        (KafkaSinkConfig { base_backoff_ms: 300, send_timeout_ms: 1000, max_retries: 0, ..good() }, &[]),
        (
            with(good(), &[("connections.max.idle.ms", "0")]),
            &["\"socket.timeout.ms\" (60000) is above `send_timeout_ms` (30000)"],
        ),
        (with(good(), &[("connections.max.idle.ms", "0"), ("socket.timeout.ms", "30000")]), &[]),
        (with(good(), &[("connections.max.idle.ms", "0"), ("socket.keepalive.enable", "yes")]), &[]),
        (with(good(), &[("socket.timeout.ms", "60000")]), &[]),
        (KafkaSinkConfig { buffer_memory: 999_999, ..good() }, &["is below \"message.max.bytes\" (1000000)"]),
        (KafkaSinkConfig { linger_ms: 5, batch_size: 1, ..good() }, &["while `batch_size` is 1"]),
        (
            with(KafkaSinkConfig { compression_type: "none".into(), ..good() }, &[("compression.level", "3")]),
            &["set but unused"],
        ),
        (KafkaSinkConfig { acks: "0".into(), enable_idempotence: false, ..good() }, &["before a broker has seen it"]),
        (KafkaSinkConfig { transactional_id: Some("a".into()), ..good() }, &["`transactional_id` is set but unused"]),
        (with(good(), &[("delivery.timeout.ms", "5000")]), &["\"delivery.timeout.ms\" is finite"]),
        (with(good(), &[("transaction.timeout.ms", "5000")]), &["\"transaction.timeout.ms\" is set but unused"]),
        (with(exactly_once(), &[("transaction.timeout.ms", "900001")]), &["brokers refuse more"]),
        (with(exactly_once(), &[("message.timeout.ms", "0")]), &["until the brokers abort it"]),
        (with(good(), &sasl("PLAIN")), &["the password goes over the network in the clear"]),
        (with(good(), &sasl("OAUTHBEARER")), &["the token goes over"]),
        (
            with(
                good(),
                &[
                    ("security.protocol", "sasl_ssl"),
                    ("sasl.mechanism", "OAUTHBEARER"),
                    ("sasl.oauthbearer.config", "a=b"),
                ],
            ),
            &["\"sasl.oauthbearer.config\" is set but unused"],
        ),
        (with(good(), &sasl("SCRAM-SHA-512")), &[]),
        (with(good(), &[("security.protocol", "sasl_ssl")]), &["that means GSSAPI"]),
        (with(good(), &[("sasl.username", "u")]), &["\"sasl.username\" is set but unused"]),
        (with(good(), &[("ssl.ca.location", "ca.pem")]), &["nothing is encrypted"]),
        (with(good(), &[("enable.ssl.certificate.verification", "False")]), &["any server can claim to be the broker"]),
        (
            with(good(), &[("security.protocol", "ssl"), ("ssl.endpoint.identification.algorithm", "none")]),
            &["any certificate of the same authority"],
        ),
        (with(good(), &[("enable.sasl.oauthbearer.unsecure.jwt", "true")]), &["not signed"]),
        (with(good(), &[("security.protocol", "ssl"), ("ssl.key.password", "p\n")]), &["a space or a line break"]),
        (
            with(good(), &[("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem\n")]),
            &["\"ssl.ca.location\" starts or ends with"],
        ),
        (
            with(good(), &[("security.protocol", "ssl"), ("ssl.key.location", "/ke\ny.pem")]),
            &["\"ssl.key.location\" has a line break"],
        ),
        (with(good(), &[("security.protocol", "ssl"), ("ssl.ca.pem", "-----BEGIN CERTIFICATE-----\n")]), &[]),
        (with(good(), &[("plugin.library.paths", " /a.so")]), &["starts or ends with"]),
        (with(good(), &[("client.rack", "a\r")]), &["starts or ends with"]),
    ];
    for (config, expected) in cases {
        let found = config.warnings();
        assert_eq!(found.len(), expected.len(), "{found:#?} {expected:?}");
        for (text, part) in found.iter().zip(*expected) {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }
}
