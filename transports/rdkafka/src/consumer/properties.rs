//! librdkafka's properties of a consumer: defaults, and what may not be set.

use kafka_tower_core::{Error, ErrorKind, Isolation, OffsetReset, Result, Subscription};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::properties::{self, Properties, get};

/// Defaults, unless the user sets the property.
const DEFAULTS: &[(&str, &str)] = &[
    // As for a producer.
    (RECONNECT_MAX, "1000"),
    // librdkafka's 300 s would be the time until new partitions of a topic are read.
    ("topic.metadata.refresh.interval.ms", "60000"),
    // librdkafka's 1 s would be a second of silence each time that a small buffer was full.
    ("fetch.queue.backoff.ms", "10"),
];

const RECONNECT_MAX: &str = "reconnect.backoff.max.ms";

const DEBUG: &str = "debug";

/// Topics of Kafka's own, which no pattern means: here, and for librdkafka.
pub(super) const INTERNAL_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
const INTERNAL: &str = "^__consumer_offsets$,^__transaction_state$,^__share_group_state$";

const BY_ACKNOWLEDGEMENT: &str = "leave it out: the source commits what was acknowledged";

/// Beginnings of the names of properties that matter for a connection, whatever the client does with it.
const OF_CONNECTIONS: &[&str] = &[
    "allow.auto",
    "api.",
    "bootstrap.",
    "broker.",
    "client.",
    "connections.",
    "debug",
    "enable.s",
    "https.",
    "log",
    "metadata.",
    "reconnect.",
    "resolve.",
    "sasl.",
    "security.",
    "socket.",
    "ssl.",
    "topic.metadata.",
];

/// Returns the configuration of the client.
pub(super) fn client_config(user: &Properties, subscription: &Subscription) -> Result<ClientConfig> {
    properties::features(user)?;
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        // The maximum may not be below the user's initial value.
        let left_out = *name == RECONNECT_MAX && user.contains_key("reconnect.backoff.ms");
        if get(user, name).is_none() && !left_out {
            config.set(*name, *value);
        }
    }
    let is_classic = get(user, "group.protocol").is_none_or(|protocol| protocol.eq_ignore_ascii_case("classic"));
    if is_classic && get(user, "partition.assignment.strategy").is_none() {
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    if subscription.pattern.is_some() && get(user, "topic.blacklist").is_none() {
        config.set("topic.blacklist", INTERNAL);
    }
    for (name, value) in user {
        config.set(name, value);
    }
    for (name, value, help) in fixed(subscription) {
        if get(user, name).is_some_and(|set| set != value) {
            let text = format!("the property `{name}` is set by the source");
            return Err(Error::new(ErrorKind::Config, text).with_help(help).without_record());
        }
        config.set(name, value);
    }
    // The source depends on its lines: see `logs`. librdkafka raises `log_level` for them.
    let facets = [get(user, DEBUG), Some("topic")];
    config.set(DEBUG, facets.into_iter().flatten().collect::<Vec<_>>().join(","));
    // The application's filter for `tracing` decides what is shown.
    config.set_log_level(RDKafkaLogLevel::Debug);
    Ok(config)
}

/// What a source depends on: the value, and what to do in place of setting another one.
fn fixed(subscription: &Subscription) -> [(&'static str, &str, &'static str); 8] {
    let start = match subscription.start {
        OffsetReset::Latest => "latest",
        _ => "earliest",
    };
    let isolation = match subscription.isolation {
        Isolation::ReadUncommitted => "read_uncommitted",
        _ => "read_committed",
    };
    [
        ("enable.auto.commit", "false", BY_ACKNOWLEDGEMENT),
        ("enable.auto.offset.store", "false", BY_ACKNOWLEDGEMENT),
        ("enable.partition.eof", "false", "leave it out: it would make the source's positions wrong"),
        ("group.id", &subscription.group_id, "name the group in the subscription: `group_id`"),
        ("auto.offset.reset", start, "set the start of the subscription: `start`"),
        ("isolation.level", isolation, "set the isolation of the subscription: `isolation`"),
        ("enabled_events", "0", "leave it out: without its events the source would not read"),
        ("log.queue", "false", "leave it out: logs go to `tracing`"),
    ]
}

/// The properties of the producer that looks for a broker and the topics. It sends nothing.
pub(super) fn of_connection(user: &Properties) -> Properties {
    let matters = |name: &str| OF_CONNECTIONS.iter().any(|start| name.starts_with(start));
    let mut all: Properties =
        user.iter().filter(|(name, _)| matters(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    let fixed = [
        // Needs no right to write.
        ("enable.idempotence", "false"),
        ("max.in.flight", "1"),
        // Reading must not create a topic.
        ("allow.auto.create.topics", "false"),
    ];
    all.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::logs::Logs;
    use super::*;
    use crate::ffi::consumer::ConsumerInstance;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn config(pairs: &[(&str, &str)]) -> Result<ClientConfig> {
        client_config(&properties(pairs), &Subscription::new("billing", vec!["orders".into()]))
    }

    #[test]
    fn what_the_source_depends_on_is_refused_with_the_cure() {
        for (name, value, help) in fixed(&Subscription::new("billing", Vec::new())) {
            let error = config(&[(name, "another")]).unwrap_err();
            assert_eq!(error.message(), format!("the property `{name}` is set by the source"));
            assert_eq!(error.help(), help);
            kafka_tower_test_texts::assert_consistent(&error);
            assert_eq!(config(&[(name, value)]).unwrap().get(name), Some(value), "the same value is none to refuse");
        }
    }

    #[test]
    fn defaults_do_not_override_what_is_set() {
        let set = config(&[("partition.assignment.strategy", "range"), ("reconnect.backoff.ms", "5000")]).unwrap();
        assert_eq!(set.get("partition.assignment.strategy"), Some("range"));
        assert_eq!(set.get(RECONNECT_MAX), None, "librdkafka's own");
        let kip_848 = config(&[("group.protocol", "consumer")]).unwrap();
        assert_eq!(kip_848.get("partition.assignment.strategy"), None, "librdkafka refuses it");
        assert_eq!(config(&[]).unwrap().get("partition.assignment.strategy"), Some("cooperative-sticky"));
        assert_eq!(config(&[(DEBUG, "cgrp,fetch")]).unwrap().get(DEBUG), Some("cgrp,fetch,topic"));
    }

    #[test]
    fn librdkafka_accepts_the_defaults_of_both_protocols() {
        for pairs in [&[][..], &[("group.protocol", "consumer"), ("group.instance.id", "a")]] {
            let config = config(pairs).unwrap();
            ConsumerInstance::create(&config, Arc::<Logs>::default())
                .unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
        }
    }

    #[test]
    fn only_what_concerns_connections_is_passed_to_the_look_up() {
        let user = properties(&[
            ("bootstrap.servers", "kafka:9092"),
            ("metadata.broker.list", "kafka:9092"),
            ("sasl.password", "x"),
            ("enable.ssl.certificate.verification", "false"),
            ("session.timeout.ms", "6000"),
            ("fetch.min.bytes", "1"),
            ("group.protocol", "consumer"),
            ("partition.assignment.strategy", "range"),
        ]);
        let names: Vec<_> = of_connection(&user).into_keys().collect();
        let expected = [
            "allow.auto.create.topics",
            "bootstrap.servers",
            "enable.idempotence",
            "enable.ssl.certificate.verification",
            "max.in.flight",
            "metadata.broker.list",
            "sasl.password",
        ];
        assert_eq!(names, expected);
    }
}
