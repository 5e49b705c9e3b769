//! Compares each verdict of `preflight`, in both directions, with what a sink or a source does on the same real brokers.
#![allow(clippy::unwrap_used)] // a test may fail

mod sources;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kafka_tower::{
    Error, KafkaSink, KafkaSinkConfig, KafkaSourceConfig, Persistence, PreflightReport, SinkMessage, preflight,
};
use kafka_tower_testkit::kafka::{Cluster, Listener, Resource};

fn config(brokers: &str, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        connect_timeout_ms: 8_000,
        send_timeout_ms: 8_000,
        max_retries: 0,
        ..Default::default()
    }
}

fn transactional(brokers: &str, topic: &str) -> KafkaSinkConfig {
    let config = config(brokers, topic);
    KafkaSinkConfig {
        connect_timeout_ms: config.connect_timeout_ms,
        send_timeout_ms: config.send_timeout_ms,
        ..KafkaSinkConfig::exactly_once(brokers, topic, format!("{topic}-id"))
    }
}

/// Runs a sink with this configuration: connects and delivers a record, in a transaction if configured.
async fn sends(config: &KafkaSinkConfig) -> Result<(), Error> {
    let sink = KafkaSink::<String>::new(config.clone()).await?;
    let message = SinkMessage::new("x".to_owned()).with_key("key");
    if config.enable_transactions {
        sink.begin_transaction().await?;
        sink.send(message).await?;
        sink.commit_transaction().await?;
    } else {
        sink.send(message).await?;
    }
    Ok(())
}

/// The expected verdict; the text is a part of the report.
enum Says {
    Good,
    /// No problem, but a warning.
    Warns(&'static str),
    Bad(&'static str),
}
use Says::{Bad, Good, Warns};

/// Preflight runs first, because a sink may change the cluster.
async fn agree(what: &str, config: &KafkaSinkConfig, says: Says) -> PreflightReport {
    let report = preflight(config).await;
    let text = report.to_string();
    let sent = sends(config).await;
    let shown = || format!("{what}: sink: {:?}\n{text}", sent.as_ref().map_err(|error| format!("{error:#}")));
    match says {
        Good => assert!(report.passed() && sent.is_ok(), "{}", shown()),
        Warns(warning) => {
            assert!(report.passed() && sent.is_ok(), "{}", shown());
            assert!(report.warnings.iter().any(|told| told.contains(warning)), "{}", shown());
        }
        Bad(problem) => {
            assert!(!report.passed() && sent.is_err(), "{}", shown());
            assert!(text.contains(problem), "{}", shown());
            assert!(sent.unwrap_err().persistence() != Persistence::Persisted);
        }
    }
    report
}

#[tokio::test]
async fn a_topic_and_a_transaction_of_one_broker() {
    let builder = Cluster::builder().property("transaction.max.timeout.ms", "10000");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    tokio::join!(sinks_of_one_broker(&kafka), sources::topics_groups_and_places_of_one_broker(&kafka));
}

async fn sinks_of_one_broker(kafka: &Cluster) {
    let at = kafka.bootstrap();
    let topic = kafka.topic("verdict", 2).await.unwrap();
    agree("all well", &config(at, &topic), Good).await;
    agree("no topic", &config(at, "nobody-made-this"), Bad("has no topic nobody-made-this")).await;
    let narrow = [("min.insync.replicas", "2"), ("max.message.bytes", "1000"), ("cleanup.policy", "compact")];
    let narrow = kafka.topic_with("narrow", 1, &narrow).await.unwrap();
    agree("a factor of 1 and two to be in sync", &config(at, &narrow), Warns("batches of up to 1000 bytes")).await;
    let leader_only = KafkaSinkConfig { acks: "1".into(), enable_idempotence: false, ..config(at, &topic) };
    agree("acks of 1", &leader_only, Good).await;

    let short = transactional(at, &topic)
        .with_property("transaction.timeout.ms", "10000")
        .with_property("socket.timeout.ms", "10000");
    let report = agree("a short transaction, whose log is made by it", &short, Good).await;
    assert!(report.inspection.unwrap().transactions.unwrap().is_err(), "the transaction log exists already");
    let report = agree("a short transaction, whose log is there", &short, Good).await;
    assert!(report.inspection.unwrap().transactions.unwrap().is_ok());
    agree("a transaction that is too long", &transactional(at, &topic), Bad("transaction.max.timeout.ms")).await;
}

#[tokio::test]
async fn an_advertised_name_that_the_client_cannot_resolve() {
    let builder = Cluster::builder()
        .property("advertised.listeners", "PLAINTEXT://kafka.invalid:9092")
        .property("auto.create.topics.enable", "true");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    let config = KafkaSinkConfig { send_timeout_ms: 4_000, ..config(kafka.bootstrap(), "orders") };
    // If the sink connects, the cluster creates the topic. Preflight must not create it, and runs again when it exists.
    for what in ["no topic yet", "a topic"] {
        let report = preflight(&config).await;
        let text = report.to_string();
        assert!(!report.passed() && text.contains("advertise") && text.contains("kafka.invalid"), "{what}: {text}");
        assert!(!text.contains("`brokers`"), "{what}: {text}");
        let error = sends(&config).await.unwrap_err();
        assert!(format!("{error:#}").contains("kafka.invalid"), "{what}: {error:#}");
    }
    let source = KafkaSourceConfig { connect_timeout_ms: 1_000, ..sources::config(kafka.bootstrap(), "orders") };
    let report = sources::agree("a source", &source, Bad("leads partition 0 of orders: correct its adv")).await;
    assert!(report.to_string().contains("cannot ask for the group readers-of-orders"), "{report}");
    let named = KafkaSinkConfig { brokers: "no-such-host.invalid:9092".into(), connect_timeout_ms: 2_000, ..config };
    let report = agree("a wrong name in `brokers`", &named, Bad("correct the name in `brokers`")).await;
    assert!(!report.to_string().contains("advertise"), "{report}");
}

#[tokio::test]
async fn a_cluster_that_can_create_topics_but_not_its_transaction_log() {
    let builder = Cluster::builder()
        .property("transaction.state.log.replication.factor", "3")
        .property("offsets.topic.replication.factor", "3")
        .property("group.coordinator.rebalance.protocols", "classic")
        .property("auto.create.topics.enable", "true");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    let at = kafka.bootstrap();
    let report = agree("a topic that a sink makes", &config(at, "made"), Warns("topic made does not exist")).await;
    assert!(report.inspection.unwrap().topic.is_err(), "preflight must not create the topic");
    let transactions = KafkaSinkConfig { send_timeout_ms: 4_000, ..transactional(at, "made") };
    agree("no coordinator", &transactions, Bad("no transaction coordinator")).await;
    let source = sources::consumer(KafkaSourceConfig { connect_timeout_ms: 2_000, ..sources::config(at, "made") });
    let report = sources::agree("no coordinator of the group", &source, Bad("no group coordinator")).await;
    assert!(report.to_string().contains("do not allow `group_protocol` Consumer"), "{report}");
    assert!(
        report.inspection.unwrap().first_group && sources::preflight(&source).await.inspection.unwrap().first_group
    );
}

#[tokio::test]
async fn rights_and_logins() {
    let Some(kafka) = Cluster::builder().listener(Listener::SaslPlaintext).acl().start().await.unwrap() else { return };
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    let login = |user: &str, password: &str| {
        config(&kafka.bootstrap_of(Listener::SaslPlaintext).unwrap(), "orders")
            .with_property("security.protocol", "sasl_plaintext")
            .with_property("sasl.mechanism", "SCRAM-SHA-512")
            .with_property("sasl.username", user)
            .with_property("sasl.password", password)
    };
    // The same for a source.
    let reads = |user: &str, password: &str| {
        let (sink, mut source) = (login(user, password), sources::config("", "orders"));
        (source.brokers, source.properties) = (sink.brokers, sink.properties);
        source
    };
    agree("alice", &login("alice", "alice-secret"), Good).await;
    sources::agree("alice reads", &reads("alice", "alice-secret"), Good).await;
    agree("a wrong password", &login("alice", "wrong"), Bad("authentication")).await;
    sources::agree("a wrong password reads", &reads("alice", "wrong"), Bad("authentication")).await;
    let bob = login("bob", "bob-secret");
    let reader = reads("bob", "bob-secret");
    agree("no right", &bob, Bad("TOPIC_AUTHORIZATION_FAILED")).await;
    let report = sources::agree("no right to read", &reader, Bad("TOPIC_AUTHORIZATION_FAILED")).await;
    assert!(report.to_string().contains("GROUP_AUTHORIZATION_FAILED"), "both at once: {report}");
    let group = Resource::Group(&reader.group_id);
    let (topic, describe) = (Resource::Topic("orders"), ["DESCRIBE"]);
    let (of_topic, of_group) =
        tokio::join!(kafka.allow("User:bob", topic, &describe), kafka.allow("User:bob", group, &describe));
    of_topic.unwrap();
    of_group.unwrap();
    agree("may see and not write", &bob, Bad("grant it WRITE")).await;
    let report = sources::agree("may see and not read", &reader, Bad("not read from it (TOPIC_AUTHORIZATION")).await;
    assert!(report.to_string().contains("grant it READ on the group"), "both at once: {report}");
    let (of_topic, of_group) =
        tokio::join!(kafka.allow("User:bob", topic, &["WRITE", "READ"]), kafka.allow("User:bob", group, &["READ"]));
    of_topic.unwrap();
    of_group.unwrap();
    agree("may write", &bob, Warns("DESCRIBE_CONFIGS")).await;
    sources::agree("may read", &reader, Good).await;
}

#[tokio::test]
async fn brokers_that_are_gone() {
    let Some(kafka) = Cluster::start(3).await.unwrap() else { return };
    let at = kafka.bootstrap();
    let all = kafka.topic_with("all", 1, &[("min.insync.replicas", "3")]).await.unwrap();
    let two = kafka.topic("two", 1).await.unwrap();
    agree("all three in sync", &config(at, &all), Good).await;
    let gone = 1 + kafka.leader(&two, 0).await.unwrap() % 3;
    kafka.kill(gone).unwrap();
    // The cluster notices after the broker's session timeout.
    type Asked<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;
    let short = |topic: String| -> Asked<'_> {
        let config = config(at, &topic);
        Box::pin(async move { preflight(&config).await.to_string().contains("not all replicas of ") })
    };
    for topic in [&all, &two] {
        while !short(topic.clone()).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let waits = KafkaSinkConfig { send_timeout_ms: 4_000, ..config(at, &all) };
    agree("two of three in sync, and three are asked for", &waits, Bad("in sync than min.insync.replicas (3)")).await;
    agree("two of three in sync, and two are asked for", &config(at, &two), Warns("not all replicas of ")).await;
}
