//! Compares the answers about topics and brokers with the settings of a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_tower_core::text::count;
use kafka_tower_core::{ConsumerInspection, FoundPartition, FoundSourceTopic, TopicPartition};

use super::{SourcePreflightReport, group, places};
use crate::KafkaSourceConfig;
use crate::preflight::found::{CORRECT_ADDRESS, named, not_in_cluster, unknown_leaders, unreachable};

/// `stored` has the offsets that the application keeps itself; it is none if only a listener knows where partitions begin.
pub(crate) fn evaluate(
    config: &KafkaSourceConfig,
    found: &ConsumerInspection,
    stored: Option<&BTreeMap<TopicPartition, i64>>,
    report: &mut SourcePreflightReport,
) {
    let reads = reads(config, found);
    topics(config, found, report);
    brokers(found, &reads, report);
    group::evaluate(config, found, report);
    places::evaluate(config, found, stored, report);
    let unknown = those(&reads, |name, partition| {
        let at = TopicPartition::new(Arc::clone(name), partition.id);
        !found.logs.contains_key(&at) && has_leader(found, partition)
    });
    if !unknown.is_empty() {
        report.warnings.push(format!("the log is not known of {unknown}: its leader did not answer in time"));
    }
}

type Reads<'a> = Vec<(&'a Arc<str>, Vec<FoundPartition>)>;

/// The partitions that would be read.
fn reads<'a>(config: &KafkaSourceConfig, found: &'a ConsumerInspection) -> Reads<'a> {
    let is_read = |name: &Arc<str>, id: i32| {
        config.assign.is_empty() || config.assign.iter().any(|at| at.topic == *name && at.partition == id)
    };
    let topics = found.topics.iter().filter_map(|(name, topic)| Some((name, topic.as_ref().ok()?)));
    let of = |name: &'a Arc<str>, topic: &FoundSourceTopic| {
        (name, topic.partitions.iter().filter(|partition| is_read(name, partition.id)).cloned().collect())
    };
    topics.map(|(name, topic)| of(name, topic)).collect()
}

fn topics(config: &KafkaSourceConfig, found: &ConsumerInspection, report: &mut SourcePreflightReport) {
    if let Some(pattern) = config.topic_pattern.as_ref().filter(|_| found.topics.is_empty()) {
        report.warnings.push(format!(
            "no topic matches `topic_pattern` ({pattern}) now, or none is shown to this principal: nothing is read before \
             one is created or DESCRIBE is granted"
        ));
    }
    for (name, topic) in &found.topics {
        match topic {
            Err(error) => report.problems.push(format!("{error:#}")),
            Ok(topic) if topic.may_read == Some(false) => report.problems.push(format!(
                "this principal may describe {name} but not read from it (TOPIC_AUTHORIZATION_FAILED): grant it READ"
            )),
            Ok(_) => {}
        }
    }
    for at in &config.assign {
        let Some(Ok(topic)) = found.topics.get(&at.topic) else { continue };
        if topic.partitions.iter().all(|partition| partition.id != at.partition) {
            let has = count(topic.partitions.len(), "partition");
            report.problems.push(format!("{at} does not exist, because the topic has {has}: correct `assign`"));
        }
    }
}

fn brokers(found: &ConsumerInspection, reads: &Reads<'_>, report: &mut SourcePreflightReport) {
    let coordinator = found.group.as_ref().ok().and_then(|group| group.coordinator);
    for broker in &found.brokers {
        let Some(text) = unreachable(broker) else { continue };
        let leads = those(reads, |_, partition| partition.leader == Some(broker.id));
        if leads.is_empty() && coordinator != Some(broker.id) {
            report.warnings.push(format!("{text}; it leads no partition that is read now"));
        } else {
            let leads = if leads.is_empty() { "the group".to_owned() } else { leads };
            report.problems.push(format!("{text}; it leads {leads}: {CORRECT_ADDRESS}"));
        }
    }
    let leaderless = those(reads, |_, partition| partition.leader.is_none());
    if !leaderless.is_empty() {
        report.problems.push(format!("no broker leads {leaderless}: check the brokers that have its replicas"));
    }
    for (name, partitions) in reads.iter().filter(|_| !found.brokers.is_empty()) {
        for (leader, ids) in unknown_leaders(&found.brokers, partitions) {
            report.problems.push(not_in_cluster(leader, &of_topic(name, &ids)));
        }
    }
}

/// Whether the partition has a leader that was reached.
fn has_leader(found: &ConsumerInspection, partition: &FoundPartition) -> bool {
    found.brokers.iter().any(|broker| Some(broker.id) == partition.leader && broker.unreachable.is_none())
}

/// "partition 0 of orders", "partitions 0, 1 of orders and partition 2 of returns".
fn those(reads: &Reads<'_>, is: impl Fn(&Arc<str>, &FoundPartition) -> bool) -> String {
    let of = |(name, partitions): &(&Arc<str>, Vec<FoundPartition>)| {
        let ids: Vec<_> =
            partitions.iter().filter(|partition| is(name, partition)).map(|partition| partition.id).collect();
        (!ids.is_empty()).then(|| of_topic(name, &ids))
    };
    reads.iter().filter_map(of).collect::<Vec<_>>().join(" and ")
}

pub(super) fn of_topic(name: &str, ids: &[i32]) -> String {
    format!("{} of {name}", named(ids))
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{FoundBroker, LogRange};

    use super::*;
    use crate::preflight::source::tests::{config, found, said};

    #[test]
    fn topics_that_are_not_there_or_may_not_be_read() {
        let mut all = found(2);
        assert_eq!(said(&config(), &all), (vec![], vec![]));
        all.topics.get_mut("orders").unwrap().as_mut().unwrap().may_read = Some(false);
        let gone = kafka_tower_core::Error::new(crate::ErrorKind::UnknownTopicOrPartition, "no topic returns")
            .without_record();
        all.topics.insert("returns".into(), Err(gone.with_help("create it")));
        let (problems, warnings) = said(&config(), &all);
        assert_eq!(problems.len(), 2, "all at once: {problems:?}");
        assert!(problems[0].ends_with("not read from it (TOPIC_AUTHORIZATION_FAILED): grant it READ"), "{problems:?}");
        assert!(problems[1].contains("create it"), "with the help: {problems:?}");
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn a_pattern_without_topics_is_a_warning() {
        let config = KafkaSourceConfig { topics: vec![], topic_pattern: Some("orders-.*".into()), ..config() };
        assert_eq!(said(&config, &found(1)), (vec![], vec![]));
        let mut none = found(0);
        none.topics.clear();
        let (problems, warnings) = said(&config, &none);
        assert_eq!((problems.len(), warnings.len()), (0, 1), "{problems:?}");
        assert!(warnings[0].starts_with("no topic matches `topic_pattern` (orders-.*) now"), "{warnings:?}");
    }

    #[test]
    fn only_partitions_that_are_read_matter() {
        let mut all = found(3);
        all.topics.get_mut("orders").unwrap().as_mut().unwrap().partitions[2].leader = None;
        let assign = vec![TopicPartition::new("orders", 0), TopicPartition::new("orders", 7)];
        let config = KafkaSourceConfig { topics: vec![], assign, ..config() };
        let (problems, _) = said(&config, &all);
        assert_eq!(problems, ["orders[7] does not exist, because the topic has 3 partitions: correct `assign`"]);
        let (problems, _) = said(&self::config(), &all);
        assert_eq!(problems, ["no broker leads partition 2 of orders: check the brokers that have its replicas"]);
    }

    #[test]
    fn brokers_that_lead_what_is_read() {
        let mut all = found(2);
        let mut away = FoundBroker::default();
        (away.id, away.host, away.port, away.unreachable) = (7, "kafka".into(), 9092, Some("no such name".into()));
        all.brokers.push(away);
        let (problems, warnings) = said(&config(), &all);
        assert_eq!((problems.len(), warnings.len()), (0, 1));
        assert!(warnings[0].ends_with("no such name; it leads no partition that is read now"), "{warnings:?}");
        all.group.as_mut().unwrap().coordinator = Some(7);
        assert!(said(&config(), &all).0[0].contains("it leads the group: correct its advertised.listeners"));
        let partitions = &mut all.topics.get_mut("orders").unwrap().as_mut().unwrap().partitions;
        (partitions[0].leader, partitions[1].leader) = (Some(7), Some(8));
        let (problems, _) = said(&config(), &all);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("it leads partition 0 of orders: correct"), "{problems:?}");
        assert_eq!(problems[1], "broker 8 leads partition 1 of orders but is not in the cluster now: check its health");
    }

    #[test]
    fn a_log_that_is_not_known() {
        let mut all = found(2);
        all.logs.remove(&TopicPartition::new("orders", 1));
        let (problems, warnings) = said(&config(), &all);
        assert_eq!(problems, [""; 0]);
        assert_eq!(warnings, ["the log is not known of partition 1 of orders: its leader did not answer in time"]);
        all.logs.insert(TopicPartition::new("orders", 1), LogRange { start: 0, end: 0 });
        assert_eq!(said(&config(), &all).1, [""; 0]);
    }
}
