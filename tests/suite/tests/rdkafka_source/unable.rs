//! What a source says when it cannot read for a time: each cause once, and then it goes on.

use std::time::Duration;

use kafka_tower::source::{SourceErrorKind, SourceRecovery};
use kafka_tower::{ErrorKind, KafkaSource, KafkaSourceConfig};
use kafka_tower_testkit::kafka::{Cluster, Listener, Resource};
use tokio::time::timeout;

use crate::read::{PATIENCE, config, next, send, sink};
use crate::support::{Kind, setting};

/// The next error about reading. Messages are acknowledged; their commits may be refused.
async fn error(source: &mut KafkaSource<u32>) -> (ErrorKind, String) {
    loop {
        match source.recv().await {
            Ok(message) => {
                message.ack();
            }
            Err(error) => {
                assert_eq!(error.recovery(), SourceRecovery::Continue, "{error}");
                if let SourceErrorKind::Client(kind) = error.kind() {
                    return (kind, format!("{error}: {}", std::error::Error::source(&error).unwrap()));
                }
            }
        }
    }
}

/// Reads on until a message with this value comes.
async fn goes_on(source: &mut KafkaSource<u32>, value: u32) {
    let comes = async {
        loop {
            match source.recv().await {
                Ok(message) => {
                    message.ack();
                    if message.value() == Some(&value) {
                        return;
                    }
                }
                Err(error) => assert_ne!(error.recovery(), SourceRecovery::Stop, "{error}"),
            }
        }
    };
    timeout(PATIENCE, comes).await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_revoked_and_a_broker_that_is_killed_are_each_reported_once() {
    let Some(kafka) = Cluster::builder().listener(Listener::SaslPlaintext).acl().start().await.unwrap() else { return };
    let topic = kafka.topic("rights", 1).await.unwrap();
    let sink = sink(&kafka, &topic).await;
    send(&sink, 0..1).await;
    let brokers = kafka.bootstrap_of(Listener::SaslPlaintext).unwrap();
    let config = KafkaSourceConfig { brokers, ..config(&kafka, &topic, Kind::Cooperative) }
        .with_property("security.protocol", "sasl_plaintext")
        .with_property("sasl.mechanism", "SCRAM-SHA-512")
        .with_property("sasl.username", "bob")
        .with_property("sasl.password", "bob-secret");
    let (of_topic, of_group) = (Resource::Topic(&topic), Resource::Group(&config.group_id));
    kafka.allow("User:bob", of_topic, &["READ", "DESCRIBE"]).await.unwrap();
    kafka.allow("User:bob", of_group, &["READ"]).await.unwrap();
    let mut source = KafkaSource::<u32>::new(config.clone()).await.unwrap_or_else(|error| panic!("{error:#}"));
    next(&mut source).await.ack();
    // Each change of a right starts a JVM: the campaign takes the group's as well.
    let rights = [(of_topic, &topic), (of_group, &config.group_id)];
    for (number, (resource, name)) in (0..).zip(rights).take(setting("KAFKA_TOWER_RIGHTS", 1) as usize) {
        kafka.revoke("User:bob", resource, &["READ"]).await.unwrap();
        send(&sink, 1..2).await;
        let (kind, text) = timeout(PATIENCE, error(&mut source)).await.expect("an error");
        assert_eq!(kind, ErrorKind::Authorization, "{name}: {text}");
        assert!(text.contains("grant this principal READ"), "{text}");
        // It would be repeated each second.
        let again = timeout(Duration::from_millis(1_500), error(&mut source)).await;
        assert!(again.is_err(), "{name}: said once: {text}, and {again:?}");
        kafka.allow("User:bob", resource, &["READ"]).await.unwrap();
        send(&sink, 100 + number..101 + number).await;
        goes_on(&mut source, 100 + number).await;
    }
    kafka.kill(1).unwrap();
    let (kind, text) = timeout(PATIENCE, error(&mut source)).await.expect("an error");
    assert_eq!(kind, ErrorKind::Connection, "{text}");
    kafka.restart(1).await.unwrap();
    send(&sink, 200..201).await;
    goes_on(&mut source, 200).await;
    drop(timeout(PATIENCE, source.close_within(Duration::ZERO)).await.unwrap());
}
