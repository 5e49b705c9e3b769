//! The membership of a process.

use std::time::Duration;

use kafka_tower::{CommitStrategy, GroupProtocol, KafkaSource, KafkaSourceConfig};

/// Joins a group. The settings are brokers, topic, group, `classic` or `consumer`, and the session time-out in milliseconds.
pub(crate) async fn join(settings: &[String], commit: CommitStrategy) -> KafkaSource<u64> {
    let [brokers, topic, group, protocol, session] = settings else {
        panic!("settings: brokers topic group protocol session")
    };
    let session: u64 = session.parse().expect("a number of milliseconds");
    let mut config = KafkaSourceConfig {
        brokers: brokers.clone(),
        group_id: group.clone(),
        topics: vec![topic.clone()],
        commit,
        commit_interval_ms: 300,
        ..Default::default()
    };
    match protocol.as_str() {
        "consumer" => config.group_protocol = GroupProtocol::Consumer,
        _ => (config.session_timeout_ms, config.heartbeat_interval_ms) = (session, session / 5),
    }
    KafkaSource::new(config).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// How long a record takes.
pub(crate) fn time(number: u64) -> Duration {
    Duration::from_millis(number % 7)
}
