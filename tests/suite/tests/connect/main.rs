//! Connecting succeeds only if the client is really connected; otherwise the error names the cause. On listeners with
//! TLS, mTLS, SASL and ACLs.
#![allow(clippy::unwrap_used)] // a test may fail

mod private_authority;
mod providers;
mod tokens;

use std::time::Duration;

use kafka_tower_core::{ErrorKind, Persistence, Record};
use kafka_tower_rdkafka::{RdkafkaBuilder, RdkafkaTransport};
use kafka_tower_testkit::kafka::{Cluster, Listener};
use tokio::sync::OnceCell;
use tower::ServiceExt;

async fn secure() -> Option<&'static Cluster> {
    static SECURE: OnceCell<Option<Cluster>> = OnceCell::const_new();
    let listeners = [Listener::Tls, Listener::Mtls, Listener::SaslPlaintext, Listener::SaslSsl, Listener::Oauth];
    let start = || async {
        let builder = listeners.into_iter().fold(Cluster::builder(), kafka_tower_testkit::kafka::Builder::listener);
        let cluster = builder.acl().start().await.unwrap()?;
        cluster.create_topic("orders", 1, &[]).await.unwrap();
        Some(cluster)
    };
    SECURE.get_or_init(start).await.as_ref()
}

fn builder(kafka: &Cluster, listener: Listener) -> RdkafkaBuilder {
    let properties = kafka.properties(listener).unwrap();
    RdkafkaTransport::builder().properties(properties).topic("orders").connect_timeout(Duration::from_secs(10))
}

#[tokio::test]
async fn clients_with_matching_settings_connect_on_each_listener() {
    let Some(kafka) = secure().await else { return };
    for listener in [Listener::Plaintext, Listener::Tls, Listener::Mtls, Listener::SaslPlaintext, Listener::SaslSsl] {
        // The certificate's principal has no rights yet.
        if listener == Listener::Mtls {
            kafka
                .allow("User:CN=client", kafka_tower_testkit::kafka::Resource::Topic("orders"), &["WRITE"])
                .await
                .unwrap();
        }
        let transport = builder(kafka, listener).connect().await.unwrap_or_else(|e| panic!("{listener:?}: {e:#}"));
        let sent = transport.oneshot(Record::new("orders").with_value("x")).await;
        sent.unwrap_or_else(|e| panic!("{listener:?}: {e:#}"));
    }
}

#[tokio::test]
async fn a_wrong_password_fails_at_once_and_is_not_shown() {
    let Some(kafka) = secure().await else { return };
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let error = builder(kafka, Listener::SaslPlaintext)
            .connect_timeout(Duration::from_secs(60))
            .property("sasl.mechanism", mechanism)
            .property("sasl.password", "not-the-password")
            .connect()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error:#}");
        assert!(!error.message().contains("within"), "the error must not wait for the time-out: {error}");
        let shown = format!("{error} {error:#} {error:?}");
        assert!(!shown.contains("not-the-password"), "{shown}");
    }
}

#[tokio::test]
async fn the_error_of_tls_against_plaintext_suggests_the_other_protocol() {
    let Some(kafka) = secure().await else { return };
    // A quarter of it is for the probe, which needs that time on a busy machine.
    let quick = Duration::from_secs(8);
    // A TLS client at a plaintext listener.
    let error = builder(kafka, Listener::Tls)
        .property("bootstrap.servers", kafka.bootstrap())
        .connect_timeout(quick)
        .connect()
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Connection, Persistence::NotPersisted), "{error:#}");
    assert!(error.message().contains("last broker error"), "{error:#}");
    assert!(error.help().starts_with("is this a plaintext listener?"), "{error:#}");
    // A plaintext client at a TLS listener: the broker gives no reason.
    let error = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap_of(Listener::Tls).unwrap())
        .connect_timeout(quick)
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    assert!(error.help().starts_with("is this a TLS listener?"), "{error:#}");
    // A broker whose certificate the client does not trust.
    let error = builder(kafka, Listener::Tls)
        .property("ssl.ca.location", kafka.certs().unwrap().stranger_ca().display().to_string())
        .connect_timeout(quick)
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    assert!(error.message().contains("certificate"), "{error:#}");
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_have_different_errors() {
    let quick = Duration::from_secs(2);
    let connect = |brokers: &str| {
        RdkafkaTransport::builder().property("bootstrap.servers", brokers).connect_timeout(quick).connect()
    };
    let error = connect("127.0.0.1:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.message().contains("Connection refused"), "{error:#}");
    assert!(error.message().starts_with("cannot connect to 127.0.0.1:1 within 2 s"), "{error:#}");
    let error = connect("no-such-host.invalid:9092").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.message().contains("no-such-host.invalid"), "{error:#}");
    assert!(error.help().contains("DNS"), "{error:#}");
    let unchecked = RdkafkaTransport::builder().property("bootstrap.servers", "127.0.0.1:1").connect_check(false);
    assert!(unchecked.connect().await.is_ok());
}

#[tokio::test]
async fn a_missing_right_is_an_authorization_error() {
    let Some(kafka) = secure().await else { return };
    let bob = || {
        builder(kafka, Listener::SaslPlaintext).property("sasl.username", "bob").property("sasl.password", "bob-secret")
    };
    // Without the right to describe it, the topic is not visible: connecting fails.
    let error = bob().connect().await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Authorization, Persistence::NotPersisted), "{error:#}");
    let transport = bob().connect_check(false).connect().await.unwrap();
    let error = transport.oneshot(Record::new("orders").with_value("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Authorization, Persistence::NotPersisted), "{error:#}");
}

/// The same through the public API: the specification's `KafkaSink::new`.
#[tokio::test]
async fn a_sink_says_why_it_cannot_connect() {
    use kafka_tower::{KafkaSink, KafkaSinkConfig};
    let Some(kafka) = secure().await else { return };
    let config = |listener: Listener| {
        let mut config = KafkaSinkConfig { topic: "orders".into(), connect_timeout_ms: 8_000, ..Default::default() };
        for (name, value) in kafka.properties(listener).unwrap() {
            match name {
                "bootstrap.servers" => config.brokers = value,
                _ => config = config.with_property(name, value),
            }
        }
        config
    };
    for listener in [Listener::Plaintext, Listener::Tls, Listener::SaslPlaintext, Listener::SaslSsl] {
        let sink = KafkaSink::<u32>::new(config(listener)).await.unwrap_or_else(|e| panic!("{listener:?}: {e:#}"));
        sink.send(1).await.unwrap_or_else(|e| panic!("{listener:?}: {e:#}"));
        sink.close().await.unwrap();
    }
    let plain_at_tls =
        KafkaSinkConfig { brokers: kafka.bootstrap_of(Listener::Tls).unwrap(), ..config(Listener::Plaintext) };
    let cases = [
        (config(Listener::SaslSsl).with_property("sasl.password", "wrong"), ErrorKind::Authentication, ""),
        (plain_at_tls, ErrorKind::Connection, "is this a TLS listener?"),
        (
            KafkaSinkConfig { topic: "nobody-made-this".into(), ..config(Listener::Plaintext) },
            ErrorKind::UnknownTopicOrPartition,
            "create it: kafka-topics.sh",
        ),
        (
            config(Listener::SaslPlaintext)
                .with_property("sasl.username", "bob")
                .with_property("sasl.password", "bob-secret"),
            ErrorKind::Authorization,
            "grant this principal WRITE on the topic",
        ),
    ];
    for (config, kind, help) in cases {
        let error = KafkaSink::<u32>::new(config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
        assert!(error.help().starts_with(help), "{error:#}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
    }
}
