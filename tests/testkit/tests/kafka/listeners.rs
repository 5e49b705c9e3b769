//! Each listener accepts the right client and no other.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::time::{Duration, Instant};

use common::send;
use kafka_tower_testkit::kafka::{Cluster, Listener, Resource};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::OnceCell;

const SECURE: [Listener; 4] = [Listener::Tls, Listener::Mtls, Listener::SaslPlaintext, Listener::SaslSsl];

/// A name, the listener, and the changes to the right properties.
type Case<'a> = (&'a str, Listener, &'a [(&'a str, &'a str)]);

async fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceCell<Option<Cluster>> = OnceCell::const_new();
    let start = || async {
        let begin = Instant::now();
        let builder = SECURE.into_iter().fold(Cluster::builder().acl(), |builder, listener| builder.listener(listener));
        let cluster = builder.start().await.unwrap();
        eprintln!("all secure listeners: {:?}", begin.elapsed());
        cluster
    };
    CLUSTER.get_or_init(start).await.as_ref()
}

fn config(kafka: &Cluster, listener: Listener, changes: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in kafka.properties(listener).unwrap() {
        config.set(key, value);
    }
    for (key, value) in changes {
        if value.is_empty() {
            config.remove(key);
        } else {
            config.set(*key, *value);
        }
    }
    config
}

/// Requests metadata; returns the first error that the client reports.
async fn ask(config: ClientConfig) -> Result<(), KafkaError> {
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create()?;
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = consumer.fetch_metadata(None, Duration::from_millis(500));
            match (answer, consumer.poll(Duration::ZERO)) {
                (Ok(_), _) => return Ok(()),
                (_, Some(Err(error))) => return Err(error),
                (Err(error), _) if Instant::now() > end => return Err(error),
                _ => {}
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn each_listener_admits_clients_with_matching_settings() {
    let Some(kafka) = cluster().await else { return };
    for listener in SECURE {
        ask(config(kafka, listener, &[])).await.unwrap_or_else(|error| panic!("{listener:?}: {error}"));
    }
    for listener in [Listener::SaslPlaintext, Listener::SaslSsl] {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            for (user, password) in [("alice", "alice-secret"), ("bob", "bob-secret")] {
                let changes = [("sasl.mechanism", mechanism), ("sasl.username", user), ("sasl.password", password)];
                let answer = ask(config(kafka, listener, &changes)).await;
                answer.unwrap_or_else(|error| panic!("{listener:?}, {mechanism}, {user}: {error}"));
            }
        }
    }
}

#[tokio::test]
async fn each_listener_refuses_wrong_credentials() {
    let Some(kafka) = cluster().await else { return };
    let certs = kafka.certs().unwrap();
    let path = |path: std::path::PathBuf| path.display().to_string();
    let (stranger_ca, stranger_cert, stranger_key) =
        (path(certs.stranger_ca()), path(certs.stranger_cert()), path(certs.stranger_key()));
    let cases: [Case<'_>; 7] = [
        ("unknown authority", Listener::Tls, &[("ssl.ca.location", &stranger_ca)]),
        ("no certificate", Listener::Mtls, &[("ssl.certificate.location", ""), ("ssl.key.location", "")]),
        (
            "a stranger's certificate",
            Listener::Mtls,
            &[("ssl.certificate.location", &stranger_cert), ("ssl.key.location", &stranger_key)],
        ),
        ("wrong password, SCRAM", Listener::SaslPlaintext, &[("sasl.password", "wrong")]),
        ("wrong password, PLAIN", Listener::SaslSsl, &[("sasl.mechanism", "PLAIN"), ("sasl.password", "wrong")]),
        ("unknown user", Listener::SaslSsl, &[("sasl.username", "carol")]),
        ("TLS to plaintext", Listener::Plaintext, &[("security.protocol", "ssl")]),
    ];
    for (name, listener, changes) in cases {
        let error = ask(config(kafka, listener, changes)).await.expect_err(name);
        eprintln!("{name}: {error}");
    }
}

#[tokio::test]
async fn a_principal_without_acls_is_denied_until_one_allows_it() {
    let Some(kafka) = cluster().await else { return };
    let topic = kafka.topic("rights", 1).await.unwrap();
    let producer = |user: &str, password: &str| -> FutureProducer {
        let changes = [("sasl.username", user), ("sasl.password", password), ("linger.ms", "0")];
        config(kafka, Listener::SaslSsl, &changes).create().unwrap()
    };
    let record = || FutureRecord::<str, str>::to(&topic).payload("x");
    send(&producer("alice", "alice-secret"), record()).await.unwrap();
    let refused = send(&producer("bob", "bob-secret"), record()).await.unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::TopicAuthorizationFailed));

    kafka.allow("User:bob", Resource::Topic(&topic), &["WRITE", "DESCRIBE"]).await.unwrap();
    send(&producer("bob", "bob-secret"), record()).await.unwrap();
    kafka.revoke("User:bob", Resource::Topic(&topic), &["WRITE", "DESCRIBE"]).await.unwrap();
    let refused = send(&producer("bob", "bob-secret"), record()).await.unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 2);
}
