//! The verdicts about a source.

use std::time::Duration;

use kafka_tower::source::{SourceErrorKind, SourcePreflightReport};
use kafka_tower::{
    Assignor, CommitStrategy, GroupProtocol, KafkaSource, KafkaSourceConfig, OutOfRangePolicy, StartFrom,
    TopicPartition,
};
use kafka_tower_testkit::kafka::Cluster;
use tokio::time::timeout;

use crate::{Bad, Good, Says, Warns};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config(brokers: &str, topic: &str) -> KafkaSourceConfig {
    KafkaSourceConfig {
        brokers: brokers.to_owned(),
        group_id: format!("readers-of-{topic}"),
        topics: vec![topic.to_owned()],
        connect_timeout_ms: 8_000,
        session_timeout_ms: 6_000,
        heartbeat_interval_ms: 500,
        commit_timeout_ms: 500,
        commit: CommitStrategy::Manual,
        ..Default::default()
    }
}

/// With the protocol of KIP-848, whose times the brokers set.
pub(crate) fn consumer(config: KafkaSourceConfig) -> KafkaSourceConfig {
    let KafkaSourceConfig { session_timeout_ms, heartbeat_interval_ms, .. } = Default::default();
    KafkaSourceConfig { group_protocol: GroupProtocol::Consumer, session_timeout_ms, heartbeat_interval_ms, ..config }
}

fn fixed(config: KafkaSourceConfig, topic: &str, partition: i32) -> KafkaSourceConfig {
    KafkaSourceConfig { topics: Vec::new(), assign: vec![TopicPartition::new(topic, partition)], ..config }
}

async fn open(config: &KafkaSourceConfig) -> Result<KafkaSource<String>, String> {
    KafkaSource::new(config.clone()).await.map_err(|error| format!("{error:#}"))
}

/// Runs a source with this configuration: reads a record and commits it. Its first error ends it.
async fn reads(config: &KafkaSourceConfig) -> Result<(), String> {
    let mut source = open(config).await?;
    let read = async {
        let message = source.recv().await.map_err(|error| format!("{error:#}"))?;
        message.commit().await.map_err(|error| format!("{error:#}"))
    };
    let read = timeout(PATIENCE, read).await.unwrap_or_else(|_| Err("nothing was read".to_owned()));
    drop(source.close().await);
    read
}

pub(crate) async fn preflight(config: &KafkaSourceConfig) -> SourcePreflightReport {
    KafkaSource::<String>::builder(config.clone()).preflight().await
}

/// Preflight runs first, because a source changes the group. There is a record to read.
pub(crate) async fn agree(what: &str, config: &KafkaSourceConfig, says: Says) -> SourcePreflightReport {
    let report = preflight(config).await;
    let read = reads(config).await;
    let shown = || format!("{what}: source: {read:?}\n{report}");
    match says {
        Good => assert!(report.passed() && report.warnings.is_empty() && read.is_ok(), "{}", shown()),
        Warns(warning) => {
            assert!(report.passed() && read.is_ok(), "{}", shown());
            assert!(report.warnings.iter().any(|told| told.contains(warning)), "{}", shown());
        }
        Bad(problem) => {
            assert!(!report.passed() && read.is_err(), "{}", shown());
            assert!(report.to_string().contains(problem), "{}", shown());
        }
    }
    report
}

async fn send(kafka: &Cluster, topic: &str, count: usize) {
    for _ in 0..count {
        crate::sends(&crate::config(kafka.bootstrap(), topic)).await.unwrap();
    }
}

pub(crate) async fn topics_groups_and_places_of_one_broker(kafka: &Cluster) {
    let at = kafka.bootstrap();
    let topic = kafka.topic("read", 1).await.unwrap();
    send(kafka, &topic, 3).await;
    let zero = TopicPartition::new(topic.as_str(), 0);
    let of = |group: &str| KafkaSourceConfig { group_id: format!("{group}-{topic}"), ..config(at, &topic) };

    let report = agree("all well", &of("a"), Good).await;
    assert_eq!(report.begins[&zero], 0);
    let report = agree("the next record", &of("a"), Good).await;
    assert_eq!(report.begins[&zero], 1, "{report}");
    let found = report.inspection.unwrap();
    assert_eq!(found.group.unwrap().state.as_deref(), Some("Empty"), "preflight does not join");

    let gone = KafkaSourceConfig { topics: vec!["nobody-made-this".into(), topic.clone()], ..of("a") };
    agree("no topic", &gone, Bad("has no topic nobody-made-this")).await;
    agree("no partition", &fixed(of("a"), &topic, 7), Bad("has 1 partition: correct `assign`")).await;

    // The group has committed 2.
    kafka.delete_records(&topic, 0, 3).await.unwrap();
    send(kafka, &topic, 1).await;
    let fails = KafkaSourceConfig { on_out_of_range: Some(OutOfRangePolicy::Fail), ..of("a") };
    agree("a deleted record", &fails, Bad("the committed offset 2 of")).await;
    let report =
        agree("a deleted record that is passed", &of("a"), Warns("reading begins at 3 (`on_out_of_range`)")).await;
    assert_eq!(report.begins[&zero], 3);

    let pattern = KafkaSourceConfig { topics: Vec::new(), topic_pattern: Some("nobody-.*".into()), ..of("b") };
    let report = preflight(&pattern).await;
    assert!(report.passed() && report.warnings[0].contains("no topic matches"), "{report}");
    let report = preflight(&KafkaSourceConfig { topic_pattern: Some(format!("{topic}|__.*")), ..pattern }).await;
    let found = report.inspection.as_ref().unwrap();
    assert!(report.passed() && found.topics.keys().map(|name| &**name).eq([&*topic]), "{report}");
    assert_eq!(found.group.as_ref().unwrap().state.as_deref(), Some("Dead"), "there is no such group");
    let latest = preflight(&KafkaSourceConfig { start: StartFrom::Latest, ..of("b") }).await;
    assert!(latest.passed() && latest.warnings[0].contains("passes over 1 offsets"), "{latest}");
    let stored = KafkaSource::<String>::builder(of("b")).start_at(|_| async { Ok::<_, std::io::Error>(Some(99)) });
    assert!(stored.preflight().await.warnings[0].contains("the stored offset 99 of"));

    let consumer = consumer(of("c"));
    agree("KIP-848", &consumer, Good).await;
    for (kind, one) in [("consumer", consumer), ("classic", KafkaSourceConfig { assignor: Assignor::Range, ..of("d") })]
    {
        send(kafka, &topic, 1).await;
        let mut member = open(&one).await.unwrap();
        drop(timeout(PATIENCE, member.recv()).await.unwrap().unwrap());
        let report = preflight(&one).await;
        let group = report.inspection.as_ref().unwrap().group.as_ref().unwrap();
        assert_eq!((group.members.len(), group.protocol.as_deref()), (1, Some(kind)), "{report}");
        assert!(report.passed() && report.warnings.is_empty() && group.may_read == Some(true), "{report}");
        agree("fixed partitions and a member", &fixed(one.clone(), &topic, 0), Bad("Kafka refuses the commits")).await;
        if kind == "classic" {
            let other = KafkaSourceConfig { assignor: Assignor::RoundRobin, ..one };
            let warnings = preflight(&other).await.warnings;
            assert!(warnings[0].contains("by range, and this source by roundrobin"), "{warnings:?}");
            let mut other = open(&other).await.unwrap();
            let error = timeout(PATIENCE, other.recv()).await.expect("an error").unwrap_err();
            assert!(matches!(error.kind(), SourceErrorKind::Client(_)), "{error}");
            drop(other.close().await);
        }
        drop(member.close().await);
    }
}
