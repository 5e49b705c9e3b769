//! Compares the cluster's answers with the settings of a sink with transactions.
//!
//! Preflight does not ask for the coordinator of the transactional id, because that would fence the producer that uses
//! it. Instead it looks at what the coordinator depends on: the topic `__transaction_state`, or the broker settings it
//! would be created with, and the brokers' maximum transaction timeout.

use kafka_tower_core::{FoundBroker, FoundPartition};
use kafka_tower_rdkafka::Inspection;

use super::PreflightReport;
use super::found::{is_short, number};
use crate::preflight::found::{CORRECT_ADDRESS, counted, setting};
use crate::{ErrorKind, KafkaSinkConfig};

const TOPIC: &str = "__transaction_state";

pub(super) fn evaluate(config: &KafkaSinkConfig, found: &Inspection, report: &mut PreflightReport) {
    if !config.enable_transactions {
        return;
    }
    timeout(config, &found.brokers, report);
    match &found.transactions {
        None => {}
        Some(Ok(log)) => {
            let id = config.transactional_id.as_deref().unwrap_or_default();
            let least = log.settings.as_ref().ok().and_then(|settings| number(settings, "min.insync.replicas"));
            coordinator(id, &log.partitions, least, &found.brokers, report);
        }
        Some(Err(error)) if error.kind() == ErrorKind::UnknownTopicOrPartition => made(&found.brokers, report),
        Some(Err(_)) => report.warnings.push(format!(
            "it is not known whether this principal may use the transactional id, or whether the cluster has a \
             coordinator for it: this principal may not describe {TOPIC}, and asking the coordinator would fence \
             the producer that uses the id"
        )),
    }
}

fn timeout(config: &KafkaSinkConfig, brokers: &[FoundBroker], report: &mut PreflightReport) {
    let ours = config.librdkafka_properties().get("transaction.timeout.ms").and_then(|value| value.parse::<u64>().ok());
    let theirs = setting(brokers, "transaction.max.timeout.ms").and_then(|value| value.parse().ok());
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        if ours > theirs {
            report.problems.push(format!(
                "the transaction timeout is {ours} ms (the property \"transaction.timeout.ms\"), and the brokers allow {theirs} ms \
                 (transaction.max.timeout.ms): lower the property, and `send_timeout_ms` with it, or raise the brokers' setting"
            ));
        }
    }
}

/// Checks the leader of the id's partition, which coordinates its transactions.
fn coordinator(
    id: &str,
    log: &[FoundPartition],
    least: Option<u64>,
    brokers: &[FoundBroker],
    report: &mut PreflightReport,
) {
    let at = partition_of(id, log.len());
    let Some(partition) = log.iter().find(|partition| usize::try_from(partition.id) == Ok(at)) else {
        return;
    };
    let place = format!("partition {at} of {TOPIC}, where the transactional id belongs");
    let Some(leader) = partition.leader else {
        report.problems.push(format!(
            "no transaction coordinator: no broker leads {place}: check the brokers that have its replicas"
        ));
        return;
    };
    match brokers.iter().find(|broker| broker.id == leader) {
        None => report.problems.push(format!(
            "no transaction coordinator: broker {leader} leads {place}, but is not in the cluster now: check its health"
        )),
        Some(broker) => {
            if let Some(why) = &broker.unreachable {
                report.problems.push(format!(
                    "the transaction coordinator, broker {leader}, cannot be reached from here at {}:{}, which the cluster \
                     advertises: {why}: {CORRECT_ADDRESS}",
                    broker.host, broker.port
                ));
            }
        }
    }
    if let Some(least) = least.filter(|least| is_short(partition, *least)) {
        report.problems.push(format!(
            "the transaction coordinator cannot work: fewer replicas of {place} are in sync than \
             min.insync.replicas ({least}): bring the other brokers back"
        ));
    }
}

/// The topic does not exist; the first transactional producer makes the brokers create it.
fn made(brokers: &[FoundBroker], report: &mut PreflightReport) {
    let replicas =
        setting(brokers, "transaction.state.log.replication.factor").and_then(|value| value.parse::<u64>().ok());
    match replicas {
        Some(replicas) if replicas > brokers.len() as u64 => report.problems.push(format!(
            "no transaction coordinator: the cluster cannot create {TOPIC}, because \
             transaction.state.log.replication.factor is {replicas}, but it has {}: lower the factor, or add \
             brokers",
            counted(brokers)
        )),
        Some(_) => {}
        None => report.warnings.push(format!(
            "it is not known whether the cluster has a transaction coordinator: {TOPIC} does not exist yet, and \
             this principal may not read the brokers' settings"
        )),
    }
}

/// Returns the partition of a transactional id as brokers compute it: Java's `hashCode` of the text, without its sign.
fn partition_of(id: &str, partitions: usize) -> usize {
    let hash = id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let hash = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    (hash as usize).checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(evaluate: impl FnOnce(&KafkaSinkConfig, &mut PreflightReport)) -> Vec<String> {
        let config = KafkaSinkConfig::exactly_once("a", "t", "id");
        let mut report = PreflightReport::of(&config);
        evaluate(&config, &mut report);
        report.problems
    }

    fn broker(settings: &[(&str, &str)]) -> FoundBroker {
        let mut broker = FoundBroker::default();
        (broker.id, broker.host, broker.port) = (1, "kafka".into(), 9092);
        broker.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        broker
    }

    fn log(leader: Option<i32>) -> [FoundPartition; 1] {
        let mut partition = FoundPartition::default();
        (partition.leader, partition.replicas, partition.in_sync) = (leader, vec![1, 2], vec![1]);
        [partition]
    }

    #[test]
    fn a_missing_coordinator_is_a_problem() {
        let of = |leader, least, broker: FoundBroker| {
            problems(|_, report| coordinator("id", &log(leader), least, &[broker], report))
        };
        assert_eq!(of(Some(1), Some(1), broker(&[])), [""; 0]);
        assert_eq!(of(Some(1), None, broker(&[])), [""; 0]);
        let mut away = broker(&[]);
        away.unreachable = Some("no such name".into());
        let place = "partition 0 of __transaction_state, where the transactional id belongs";
        for (problem, begins) in [
            (of(None, None, broker(&[])), format!("no transaction coordinator: no broker leads {place}: check")),
            (of(Some(2), None, broker(&[])), format!("no transaction coordinator: broker 2 leads {place}, but is not")),
            (
                of(Some(1), None, away),
                "the transaction coordinator, broker 1, cannot be reached from here at kafka:9092, which".into(),
            ),
            (of(Some(1), Some(2), broker(&[])), "the transaction coordinator cannot work: fewer replicas of".into()),
        ] {
            assert!(problem.len() == 1 && problem[0].starts_with(&begins), "{begins}: {problem:?}");
        }
    }

    #[test]
    fn an_impossible_transaction_log_and_a_too_long_timeout_are_problems() {
        let factor = |replicas: &str| {
            problems(|_, report| made(&[broker(&[("transaction.state.log.replication.factor", replicas)])], report))
        };
        assert_eq!((factor("1").len(), factor("3").len()), (0, 1));
        assert!(factor("3")[0].contains("is 3, but it has 1 broker: lower"), "{:?}", factor("3"));
        assert_eq!(problems(|_, report| made(&[broker(&[])], report)).len(), 0, "not known");
        let most = |most: &str| {
            problems(|config, report| timeout(config, &[broker(&[("transaction.max.timeout.ms", most)])], report))
        };
        assert_eq!((most("60000").len(), most("59999").len()), (0, 1));
    }

    #[test]
    fn ids_map_to_javas_partitions() {
        // "id".hashCode() is 3355; "polygenelubricants".hashCode() is `i32::MIN`.
        for (id, partition) in [("", 0), ("id", 3355 % 50), ("polygenelubricants", 0)] {
            assert_eq!(partition_of(id, 50), partition, "{id}");
        }
        assert_eq!(partition_of("id", 0), 0);
    }
}
