use kafka_tower_core::source::CommitStrategy;
use kafka_tower_core::validate::topic_name;
use kafka_tower_core::{Isolation, TopicPattern};

use super::rdkafka::fetch_max_bytes;
use super::{GroupProtocol, KafkaSourceConfig};
use crate::config::built::Built;
use crate::config::side::SOURCE;
use crate::config::{Conflict, fields::Fields, properties, validate};

/// Room that librdkafka needs in a response beside the records.
const RESPONSE: usize = 512;

pub(super) fn conflicts(config: &KafkaSourceConfig, built: Built) -> Vec<Conflict> {
    let mut found = alone(config);
    commits(config, &mut found);
    group(config, &mut found);
    response(config, &mut found);
    validate::client(&SOURCE, &config.properties, built, &mut found);
    validate::tokens(&config.properties, &config.brokers, &config.token_provider, &mut found);
    found
}

/// Returns the conflicts of single fields, which cannot work with any other settings.
pub(super) fn alone(config: &KafkaSourceConfig) -> Vec<Conflict> {
    let mut found = Vec::new();
    validate::brokers(&config.brokers, &mut found);
    if config.group_id.is_empty() {
        found.push(Conflict::new("group_id", "`group_id` is empty", "name the consumer group"));
    }
    validate::name("group_id", &config.group_id, &mut found);
    let others = usize::from(!config.assign.is_empty()) + usize::from(config.topic_pattern.is_some());
    if others == 0 || !config.topics.is_empty() {
        topics(&config.topics, &mut found);
    }
    fixed(config, &mut found);
    validate::name("client_id", &config.client_id, &mut found);
    if config.group_instance_id.as_deref().is_some_and(|id| topic_name(id).is_err()) {
        let cure = "use 1 to 249 letters, digits, '.', '_' and '-'";
        found.push(Conflict::new("group_instance_id", "`group_instance_id` is not valid", cure));
    }
    sizes(config, &mut found);
    found
}

fn topics(topics: &[String], found: &mut Vec<Conflict>) {
    if topics.is_empty() {
        found.push(Conflict::new("topics", "`topics` is empty", "name the topics to read"));
    }
    for (index, topic) in topics.iter().enumerate() {
        if let Err(error) = topic_name(topic) {
            found.push(Conflict::new("topics", format!("`topics`: {}", error.message()), error.help().to_owned()));
        } else if topics[..index].contains(topic) {
            found.push(Conflict::new("topics", format!("`topics` has {topic:?} twice"), "remove one of them"));
        }
    }
}

fn fixed(config: &KafkaSourceConfig, found: &mut Vec<Conflict>) {
    let mut add = |problem: String, cure: &str| found.push(Conflict::new("assign", problem, cure.to_owned()));
    for (index, at) in config.assign.iter().enumerate() {
        if let Err(error) = topic_name(&at.topic) {
            add(format!("`assign`: {}", error.message()), error.help());
        } else if at.partition < 0 {
            add(format!("`assign` has the partition {at}"), "partitions are numbered from 0");
        } else if config.assign[..index].contains(at) {
            add(format!("`assign` has {at} twice"), "remove one of them");
        }
    }
    if !config.assign.is_empty() && !config.topics.is_empty() {
        add("`assign` is set, and `topics` too".to_owned(), "remove one of them");
    }
    let Some(pattern) = &config.topic_pattern else { return };
    let mut add = |problem: String, cure: &str| found.push(Conflict::new("topic_pattern", problem, cure.to_owned()));
    if let Err(error) = TopicPattern::new(pattern) {
        add(format!("`topic_pattern`: {}", error.message()), error.help());
    }
    if !config.topics.is_empty() || !config.assign.is_empty() {
        add("`topic_pattern` is set, and `topics` or `assign` too".to_owned(), "remove one of them");
    }
}

#[rustfmt::skip]
fn sizes(config: &KafkaSourceConfig, found: &mut Vec<Conflict>) {
    const ANY: u64 = u64::MAX;
    const RECORD: &str = "set it to at least 1";
    let c = config;
    // The field, its value, the least and the most that it may be, and what to do about less.
    for (field, value, least, most, cure) in [
        ("connect_timeout_ms", c.connect_timeout_ms, 1, ANY, "set it to the milliseconds that connecting may take"),
        ("commit_interval_ms", c.commit_interval_ms, 1, ANY, "set it to the milliseconds between commits"),
        ("commit_timeout_ms", c.commit_timeout_ms, 1, ANY, "set it to the milliseconds that a commit may take"),
        ("session_timeout_ms", c.session_timeout_ms, 1, 3_600_000, "set it to the milliseconds after which a member is removed"),
        ("heartbeat_interval_ms", c.heartbeat_interval_ms, 1, 3_600_000, "set it to the milliseconds between heartbeats"),
        ("rebalance_timeout_ms", c.rebalance_timeout_ms, 1, 86_400_000, "set it to the milliseconds that a rebalance may take"),
        ("buffer_records", c.buffer_records as u64, 1, ANY, RECORD),
        ("buffer_bytes", c.buffer_bytes as u64, 1, ANY, RECORD),
        ("max_unsettled", c.max_unsettled as u64, 1, ANY, RECORD),
        ("fetch_min_bytes", c.fetch_min_bytes as u64, 1, 100_000_000, RECORD),
        ("fetch_max_wait_ms", c.fetch_max_wait_ms, 0, 300_000, ""),
        ("partition_fetch_bytes", c.partition_fetch_bytes as u64, 1, 1_000_000_000, RECORD),
    ] {
        if value < least {
            found.push(Conflict::new(field, format!("`{field}` is {value}"), cure));
        } else if value > most {
            found.push(Conflict::new(field, format!("`{field}` is {value}"), format!("librdkafka allows up to {most}")));
        }
    }
}

fn commits(config: &KafkaSourceConfig, found: &mut Vec<Conflict>) {
    if (config.commit, config.isolation) == (CommitStrategy::Transaction, Isolation::ReadUncommitted) {
        found.push(Conflict::new(
            "isolation",
            "`isolation` is `ReadUncommitted` while `commit` is `Transaction`",
            "set it to `ReadCommitted`: otherwise the output of aborted input is committed",
        ));
    }
    if config.commit == CommitStrategy::Transaction && !config.assign.is_empty() {
        found.push(Conflict::new(
            "assign",
            "`assign` is set while `commit` is `Transaction`",
            "name `topics`: only the membership in a group keeps a previous reader from committing",
        ));
    }
    match (config.commit, config.commit_every) {
        (CommitStrategy::Periodic, None | Some(0)) => found.push(Conflict::new(
            "commit_every",
            "`commit` is `Periodic` without `commit_every`",
            "set `commit_every` to a number of records, or use `Automatic`",
        )),
        (CommitStrategy::Periodic, Some(_)) | (_, None) => {}
        (other, Some(_)) => found.push(Conflict::new(
            "commit_every",
            format!("`commit_every` has no effect while `commit` is `{other:?}`"),
            "set `commit` to `Periodic`, or leave `commit_every` out",
        )),
    }
}

fn group(config: &KafkaSourceConfig, found: &mut Vec<Conflict>) {
    let c = config;
    let mut add = |field, problem: String, cure: &'static str| found.push(Conflict::new(field, problem, cure));
    if c.drain_timeout_ms > c.rebalance_timeout_ms / 2 {
        add(
            "drain_timeout_ms",
            format!(
                "`drain_timeout_ms` ({}) is more than half of `rebalance_timeout_ms` ({})",
                c.drain_timeout_ms, c.rebalance_timeout_ms
            ),
            "lower the first, or raise the second: the group removes a member that answers too late",
        );
    }
    if c.group_protocol == GroupProtocol::Consumer {
        for field in ["assignor", "session_timeout_ms", "heartbeat_interval_ms"] {
            if !c.same(&KafkaSourceConfig::default(), field) {
                add(
                    field,
                    format!("`{field}` has no effect while `group_protocol` is `Consumer`"),
                    "leave it out, because it is a setting of the brokers, or set `group_protocol` to `Classic`",
                );
            }
        }
        return;
    }
    if properties::get(&c.properties, "group.remote.assignor").is_some() {
        add(
            "properties",
            "`properties` has \"group.remote.assignor\" while `group_protocol` is `Classic`".to_owned(),
            "set `assignor` in its place, or `group_protocol` to `Consumer`",
        );
    }
    if c.heartbeat_interval_ms > c.session_timeout_ms / 3 {
        add(
            "heartbeat_interval_ms",
            format!(
                "`heartbeat_interval_ms` ({}) is more than a third of `session_timeout_ms` ({})",
                c.heartbeat_interval_ms, c.session_timeout_ms
            ),
            "lower the first, or raise the second: one lost heartbeat must not end the session",
        );
    }
    if c.session_timeout_ms > c.rebalance_timeout_ms {
        add(
            "session_timeout_ms",
            format!(
                "`session_timeout_ms` ({}) is above `rebalance_timeout_ms` ({})",
                c.session_timeout_ms, c.rebalance_timeout_ms
            ),
            "lower the first, or raise the second",
        );
    }
}

fn response(config: &KafkaSourceConfig, found: &mut Vec<Conflict>) {
    const NAME: &str = "receive.message.max.bytes";
    let least = fetch_max_bytes(config) + RESPONSE;
    let given = properties::whole(&config.properties, NAME).and_then(|given| usize::try_from(given).ok());
    if let Some(given) = given.filter(|given| *given < least) {
        found.push(Conflict::new(
            "properties",
            format!(
                "`properties` has {NAME:?} ({given}) below half of `buffer_bytes` and room for the rest of a response"
            ),
            format!("set it to {least} at least, remove it, or lower `buffer_bytes`"),
        ));
    }
}

pub(super) fn warnings(config: &KafkaSourceConfig) -> Vec<String> {
    let mut found = Vec::new();
    if config.group_protocol == GroupProtocol::Classic && config.session_timeout_ms < 6_000 {
        found.push(format!(
            "`session_timeout_ms` is {}: brokers refuse less than their group.min.session.timeout.ms (default 6000)",
            config.session_timeout_ms
        ));
    }
    if config.group_protocol == GroupProtocol::Classic && config.session_timeout_ms > 1_800_000 {
        found.push(format!(
            "`session_timeout_ms` is {}: brokers refuse more than their group.max.session.timeout.ms (default 1800000)",
            config.session_timeout_ms
        ));
    }
    if config.fetch_min_bytes > config.partition_fetch_bytes {
        found.push(format!(
            "`fetch_min_bytes` ({}) is above `partition_fetch_bytes` ({}): a broker with one partition of the topics answers only \
             after `fetch_max_wait_ms`",
            config.fetch_min_bytes, config.partition_fetch_bytes
        ));
    }
    validate::security_warnings(&config.properties, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::TopicPartition;

    use super::super::Assignor;
    use super::*;

    fn good() -> KafkaSourceConfig {
        KafkaSourceConfig { group_id: "g".into(), topics: vec!["orders".into()], ..Default::default() }
    }

    fn texts(config: &KafkaSourceConfig) -> Vec<String> {
        config.conflicts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_conflict_is_found_at_once() {
        assert_eq!(good().conflicts(), []);
        let bad = KafkaSourceConfig {
            brokers: "http://a".into(),
            group_id: String::new(),
            topics: vec!["a/b".into()],
            client_id: "\0".into(),
            group_instance_id: Some("a b".into()),
            connect_timeout_ms: 0,
            commit: CommitStrategy::Periodic,
            commit_interval_ms: 0,
            commit_timeout_ms: 0,
            session_timeout_ms: 0,
            heartbeat_interval_ms: 0,
            rebalance_timeout_ms: 0,
            buffer_records: 0,
            buffer_bytes: 0,
            max_unsettled: 0,
            fetch_min_bytes: 0,
            fetch_max_wait_ms: 300_001,
            partition_fetch_bytes: 0,
            ..good()
        }
        .with_property("enable.auto.commit", "true")
        .with_property("group.remote.assignor", "range")
        .with_property("sasl.mechanism", "PLAIN")
        .with_property("security.protocol", "sasl_plaintext");
        let fields: Vec<_> = bad.conflicts().iter().map(|conflict| conflict.field).collect();
        let expected = [
            "brokers",
            "group_id",
            "topics",
            "client_id",
            "group_instance_id",
            "connect_timeout_ms",
            "commit_interval_ms",
            "commit_timeout_ms",
            "session_timeout_ms",
            "heartbeat_interval_ms",
            "rebalance_timeout_ms",
            "buffer_records",
            "buffer_bytes",
            "max_unsettled",
            "fetch_min_bytes",
            "fetch_max_wait_ms",
            "partition_fetch_bytes",
            "commit_every",
            "drain_timeout_ms",
            "properties",
            "properties",
            "properties",
            "properties",
        ];
        assert_eq!(fields, expected, "{:#?}", texts(&bad));
        let text = bad.validate().unwrap_err().to_string();
        for conflict in bad.conflicts() {
            assert!(text.contains(&conflict.to_string()), "{conflict} in {text}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn settings_that_do_not_fit_together() {
        let cases: [(KafkaSourceConfig, &str); 18] = [
            (KafkaSourceConfig { commit: CommitStrategy::Transaction, isolation: Isolation::ReadUncommitted, ..good() }, "`isolation` is `ReadUncommitted` while `commit` is `Transaction`: set it to `ReadCommitted`: otherwise the output of aborted input is committed"),
            (KafkaSourceConfig { topics: vec!["a".into(), "b".into(), "a".into()], ..good() }, "`topics` has \"a\" twice: remove one of them"),
            (KafkaSourceConfig { commit_every: Some(5), ..good() }, "`commit_every` has no effect while `commit` is `Automatic`: set `commit` to `Periodic`, or leave `commit_every` out"),
            (KafkaSourceConfig { commit: CommitStrategy::Periodic, commit_every: Some(0), ..good() }, "`commit` is `Periodic` without `commit_every`: set `commit_every` to a number of records, or use `Automatic`"),
            (KafkaSourceConfig { drain_timeout_ms: 150_001, ..good() }, "`drain_timeout_ms` (150001) is more than half of `rebalance_timeout_ms` (300000): lower the first, or raise the second: the group removes a member that answers too late"),
            (KafkaSourceConfig { heartbeat_interval_ms: 15_001, ..good() }, "`heartbeat_interval_ms` (15001) is more than a third of `session_timeout_ms` (45000): lower the first, or raise the second: one lost heartbeat must not end the session"),
            (KafkaSourceConfig { session_timeout_ms: 300_001, ..good() }, "`session_timeout_ms` (300001) is above `rebalance_timeout_ms` (300000): lower the first, or raise the second"),
            (KafkaSourceConfig { group_protocol: GroupProtocol::Consumer, assignor: Assignor::Range, ..good() }, "`assignor` has no effect while `group_protocol` is `Consumer`: leave it out, because it is a setting of the brokers, or set `group_protocol` to `Classic`"),
            (KafkaSourceConfig { assign: vec![TopicPartition::new("orders", 0)], ..good() }, "`assign` is set, and `topics` too: remove one of them"),
            (KafkaSourceConfig { topics: vec![], assign: vec![TopicPartition::new("a", 0), TopicPartition::new("a", 0)], ..good() }, "`assign` has a[0] twice: remove one of them"),
            (KafkaSourceConfig { topics: vec![], assign: vec![TopicPartition::new("a", -1)], ..good() }, "`assign` has the partition a[-1]: partitions are numbered from 0"),
            (KafkaSourceConfig { topics: vec![], assign: vec![TopicPartition::new("a", 0)], commit: CommitStrategy::Transaction, ..good() }, "`assign` is set while `commit` is `Transaction`: name `topics`: only the membership in a group keeps a previous reader from committing"),
            (KafkaSourceConfig { topic_pattern: Some("a.*".into()), ..good() }, "`topic_pattern` is set, and `topics` or `assign` too: remove one of them"),
            (KafkaSourceConfig { topics: vec![], topic_pattern: Some("(a".into()), ..good() }, "`topic_pattern`: \"(a\" is no pattern of topics: found open group without closing ')': use characters, `.`, `[a-z]`, `*`, `+`, `?`, `|`, parentheses, and `\\` before `.`"),
            (good().with_property("group.remote.assignor", "range"), "`properties` has \"group.remote.assignor\" while `group_protocol` is `Classic`: set `assignor` in its place, or `group_protocol` to `Consumer`"),
            (good().with_property("receive.message.max.bytes", "33554943"), "`properties` has \"receive.message.max.bytes\" (33554943) below half of `buffer_bytes` and room for the rest of a response: set it to 33554944 at least, remove it, or lower `buffer_bytes`"),
            (good().with_property("session.timeout.ms", "6000"), "`properties` has \"session.timeout.ms\", which `session_timeout_ms` sets: set the field `session_timeout_ms` and remove the property"),
            (good().with_property("queued.min.mesages", "1"), "`properties` has \"queued.min.mesages\", which librdkafka does not know: did you mean \"queued.min.messages\"? The field `buffer_records` sets it"),
        ];
        for (config, text) in cases {
            assert_eq!(texts(&config), [text]);
        }
        let classic_only = KafkaSourceConfig { group_protocol: GroupProtocol::Consumer, session_timeout_ms: 6_000, heartbeat_interval_ms: 1_000, ..good() };
        let fields: Vec<_> = classic_only.conflicts().iter().map(|conflict| conflict.field).collect();
        assert_eq!(fields, ["session_timeout_ms", "heartbeat_interval_ms"]);
        for fits in [
            KafkaSourceConfig { commit: CommitStrategy::Periodic, commit_every: Some(5), ..good() },
            KafkaSourceConfig { drain_timeout_ms: 150_000, heartbeat_interval_ms: 15_000, ..good() },
            KafkaSourceConfig { group_protocol: GroupProtocol::Consumer, rebalance_timeout_ms: 30_000, ..good() }.with_property("group.remote.assignor", "range"),
            good().with_property("receive.message.max.bytes", "33554944"),
        ] {
            assert_eq!(texts(&fits), [""; 0]);
        }
    }

    #[test]
    fn warnings_name_unintended_settings() {
        assert_eq!(good().warnings(), [""; 0]);
        for (config, part) in [
            (
                KafkaSourceConfig { session_timeout_ms: 5_999, heartbeat_interval_ms: 1_000, ..good() },
                "refuse less than",
            ),
            (KafkaSourceConfig { session_timeout_ms: 1_800_001, ..good() }, "refuse more than"),
            (KafkaSourceConfig { fetch_min_bytes: 2_000_000, ..good() }, "`fetch_max_wait_ms`"),
            (good().with_property("ssl.ca.location", "ca.pem"), "nothing is encrypted"),
        ] {
            let found = config.warnings();
            assert!(found.len() == 1 && found[0].contains(part), "{found:?} {part}");
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let config =
            KafkaSourceConfig { brokers: "u:hunter2@a:1".into(), ..good() }.with_property("sasl.password", "hunter2");
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
