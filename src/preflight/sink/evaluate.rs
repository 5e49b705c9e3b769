//! Compares the cluster's answers with the settings.

use std::collections::BTreeMap;

use kafka_tower_core::{FoundBroker, FoundPartition};
use kafka_tower_rdkafka::Inspection;

use super::PreflightReport;
use super::found::{is_short, number};
use super::transactions;
use crate::preflight::found::{CORRECT_ADDRESS, counted, named, not_in_cluster, setting, unknown_leaders, unreachable};
use crate::{ErrorKind, KafkaSinkConfig};

/// librdkafka's default, in bytes.
const MESSAGE_MAX_BYTES: u64 = 1_000_000;

pub(super) fn evaluate(config: &KafkaSinkConfig, found: &Inspection, report: &mut PreflightReport) {
    if let Some(error) = &found.producer_id {
        report.problems.push(format!("{error:#}"));
    }
    let none = Vec::new();
    brokers(&found.brokers, found.topic.as_ref().map_or(&none, |topic| &topic.partitions), report);
    match &found.topic {
        Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition && made_by_a_sink(&found.brokers) => {
            made(config, &found.brokers, report);
        }
        Err(error) => report.problems.push(format!("{error:#}")),
        Ok(topic) => {
            if topic.may_write == Some(false) {
                report.problems.push(format!(
                    "this principal may describe {} but not write to it (TOPIC_AUTHORIZATION_FAILED): grant it WRITE",
                    config.topic
                ));
            }
            partitions(&topic.partitions, report);
            for (leader, ids) in unknown_leaders(&found.brokers, &topic.partitions) {
                report.problems.push(not_in_cluster(leader, &named(&ids)));
            }
            match &topic.settings {
                Ok(of_topic) => settings(config, &topic.partitions, of_topic, report),
                Err(error) => report.warnings.push(format!("the topic's limits are not known: {error:#}")),
            }
        }
    }
    transactions::evaluate(config, found, report);
}

/// Returns whether the cluster creates a missing topic when a producer asks for it.
fn made_by_a_sink(brokers: &[FoundBroker]) -> bool {
    setting(brokers, "auto.create.topics.enable").is_some_and(|enabled| enabled == "true")
}

/// The topic does not exist, and the cluster would create it when a sink connects.
fn made(config: &KafkaSinkConfig, brokers: &[FoundBroker], report: &mut PreflightReport) {
    let number = |name: &str| setting(brokers, name).and_then(|value| value.parse::<u64>().ok());
    let replicas = number("default.replication.factor");
    if let Some(replicas) = replicas.filter(|replicas| *replicas > brokers.len() as u64) {
        report.problems.push(format!(
            "topic {} does not exist, and the cluster cannot create it: default.replication.factor is {replicas}, \
             but it has {}: create the topic, or lower the factor",
            config.topic,
            counted(brokers)
        ));
        return;
    }
    report.warnings.push(format!(
        "topic {} does not exist: when a sink connects, the cluster creates it (auto.create.topics.enable), with {} \
         partitions and {} replicas",
        config.topic,
        number("num.partitions").unwrap_or(1),
        replicas.unwrap_or(1)
    ));
}

fn brokers(brokers: &[FoundBroker], partitions: &[FoundPartition], report: &mut PreflightReport) {
    for broker in brokers {
        let Some(text) = unreachable(broker) else { continue };
        let leads: Vec<_> = partitions.iter().filter(|p| p.leader == Some(broker.id)).map(|p| p.id).collect();
        if leads.is_empty() {
            report.warnings.push(format!("{text}; it leads no partition of the topic now"));
        } else {
            report.problems.push(format!("{text}; it leads {}: {CORRECT_ADDRESS}", named(&leads)));
        }
    }
}

fn partitions(partitions: &[FoundPartition], report: &mut PreflightReport) {
    let of = |bad: fn(&FoundPartition) -> bool| -> Vec<i32> {
        partitions.iter().filter(|partition| bad(partition)).map(|partition| partition.id).collect()
    };
    let leaderless = of(|partition| partition.leader.is_none());
    if !leaderless.is_empty() {
        let cure = "check the brokers that have its replicas";
        report.problems.push(format!("no broker leads {}: {cure}", named(&leaderless)));
    }
    let behind = of(|partition| partition.in_sync.len() < partition.replicas.len());
    if !behind.is_empty() {
        report.warnings.push(format!("not all replicas of {} are in sync", named(&behind)));
    }
}

fn settings(
    config: &KafkaSinkConfig,
    partitions: &[FoundPartition],
    settings: &BTreeMap<String, String>,
    report: &mut PreflightReport,
) {
    let all = matches!(config.acks.as_str(), "all" | "-1");
    if let (true, Some(least)) = (all, number(settings, "min.insync.replicas")) {
        let short: Vec<_> = partitions.iter().filter(|p| is_short(p, least)).map(|partition| partition.id).collect();
        if !short.is_empty() {
            report.problems.push(format!(
                "fewer replicas of {} are in sync than min.insync.replicas ({least}), and `acks` is {:?}: bring the \
                 other brokers back, or lower the topic's setting",
                named(&short),
                config.acks
            ));
        }
        let several = partitions.iter().any(|partition| partition.replicas.len() > 1);
        if least == 1 && several {
            report.warnings.push(
                "min.insync.replicas of the topic is 1: if the other replicas fall behind, a record counts as \
                 delivered although only the leader has it, even with `acks` set to all"
                    .to_owned(),
            );
        }
    }
    let ours = config.librdkafka_properties().get("message.max.bytes").and_then(|value| value.parse().ok());
    let ours = ours.unwrap_or(MESSAGE_MAX_BYTES);
    if let Some(theirs) = number(settings, "max.message.bytes").filter(|theirs| *theirs < ours) {
        report.warnings.push(format!(
            "the topic accepts batches of up to {theirs} bytes (max.message.bytes), but the client's \
             message.max.bytes is {ours}: a larger batch is refused"
        ));
    }
    if settings.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        report.warnings.push("the topic is compacted (cleanup.policy): it refuses messages without a key".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(id: i32, leader: Option<i32>, replicas: &[i32], in_sync: &[i32]) -> FoundPartition {
        let mut partition = FoundPartition::default();
        (partition.id, partition.leader) = (id, leader);
        (partition.replicas, partition.in_sync) = (replicas.to_vec(), in_sync.to_vec());
        partition
    }

    fn said(evaluate: impl FnOnce(&KafkaSinkConfig, &mut PreflightReport)) -> (Vec<String>, Vec<String>) {
        let config = KafkaSinkConfig { topic: "t".into(), ..KafkaSinkConfig::default() };
        let mut report = PreflightReport::of(&config);
        evaluate(&config, &mut report);
        (report.problems, report.warnings)
    }

    #[test]
    fn an_unreachable_leader_is_a_problem_and_another_broker_a_warning() {
        let mut away = FoundBroker::default();
        (away.id, away.host, away.port) = (2, "kafka".into(), 9092);
        away.unreachable = Some("no such name".into());
        let here = FoundBroker::default();
        let all = [here, away];
        let (problems, warnings) = said(|_, report| brokers(&all, &[partition(0, Some(0), &[0], &[0])], report));
        assert_eq!((problems.len(), warnings.len()), (0, 1));
        assert_eq!(
            warnings,
            [
                "broker 2 cannot be reached from here at kafka:9092, which the cluster advertises: no such name; it leads no \
              partition of the topic now"
            ]
        );
        let leads: Vec<_> = (0..10).map(|id| partition(id, Some(2), &[2], &[2])).collect();
        let (problems, _) = said(|_, report| brokers(&all, &leads, report));
        assert!(
            problems[0].contains("it leads partitions 0, 1, 2, 3, 4, 5, 6, 7 and 2 more: correct its adv"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_topic_is_created_if_a_broker_allows_it_and_has_enough_replicas() {
        let of = |settings: &[(&str, &str)]| {
            let mut broker = FoundBroker::default();
            broker.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            broker
        };
        assert!(made_by_a_sink(&[of(&[]), of(&[("auto.create.topics.enable", "true")])]));
        assert!(!made_by_a_sink(&[of(&[("auto.create.topics.enable", "false")])]) && !made_by_a_sink(&[of(&[])]));
        let factor =
            |replicas| said(|config, report| made(config, &[of(&[("default.replication.factor", replicas)])], report));
        let (problems, warnings) = factor("1");
        assert_eq!((problems.len(), warnings.len()), (0, 1));
        let (problems, warnings) = factor("3");
        assert_eq!((problems.len(), warnings.len()), (1, 0));
        assert!(problems[0].contains("default.replication.factor is 3, but it has 1 broker: create"), "{problems:?}");
    }

    #[test]
    fn partitions_without_a_leader_or_with_replicas_behind() {
        let all = [partition(0, Some(1), &[1, 2], &[1, 2]), partition(1, None, &[1, 2], &[2])];
        assert_eq!(unknown_leaders(&[], &all), BTreeMap::from([(1, vec![0])]));
        assert_eq!(
            not_in_cluster(1, "partition 0"),
            "broker 1 leads partition 0 but is not in the cluster now: check its health"
        );
        let (problems, warnings) = said(|_, report| partitions(&all, report));
        assert_eq!(problems, ["no broker leads partition 1: check the brokers that have its replicas"]);
        assert_eq!(warnings, ["not all replicas of partition 1 are in sync"]);
    }

    #[test]
    fn topic_limits_that_reject_records() {
        let of = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let three = [partition(0, Some(1), &[1, 2, 3], &[1])];
        let with = |acks: &str, all: &BTreeMap<String, String>| {
            said(|config, report| {
                let config = KafkaSinkConfig { acks: acks.into(), enable_idempotence: false, ..config.clone() };
                settings(&config, &three, all, report);
            })
        };
        let (problems, warnings) = with("all", &of("min.insync.replicas", "2"));
        assert!(problems[0].starts_with("fewer replicas of partition 0 are in sync than min.insync.replicas (2)"));
        assert_eq!(warnings.len(), 0);
        let one = [partition(0, Some(1), &[1], &[1])];
        let alone = said(|config, report| settings(config, &one, &of("min.insync.replicas", "2"), report));
        assert_eq!(alone, (vec![], vec![]), "a leader does not wait for more replicas than exist");
        assert_eq!(with("1", &of("min.insync.replicas", "2")), (vec![], vec![]), "acks=1 does not wait for replicas");
        assert_eq!(with("all", &of("min.insync.replicas", "1")).1.len(), 1);
        assert_eq!(with("all", &of("max.message.bytes", "1000000")), (vec![], vec![]));
        assert!(with("all", &of("max.message.bytes", "999999")).1[0].contains("batches of up to 999999 bytes"));
        assert_eq!(with("all", &of("cleanup.policy", "compact,delete")).1.len(), 1);
        assert_eq!(with("all", &BTreeMap::new()), (vec![], vec![]));
    }
}
