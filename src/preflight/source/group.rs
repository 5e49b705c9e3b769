//! Compares the answers about the group with the settings of a source.

use kafka_tower_core::source::CommitStrategy;
use kafka_tower_core::text::count;
use kafka_tower_core::{ConsumerInspection, FoundGroup};

use super::SourcePreflightReport;
use crate::preflight::found::{counted, setting};
use crate::{GroupProtocol, KafkaSourceConfig};

pub(super) fn evaluate(config: &KafkaSourceConfig, found: &ConsumerInspection, report: &mut SourcePreflightReport) {
    if config.assign.is_empty() && config.group_protocol == GroupProtocol::Consumer {
        consumer_protocol(found, report);
    }
    if found.first_group {
        first(found, report);
        return;
    }
    let group = match &found.group {
        Ok(group) => group,
        Err(error) => {
            report.problems.push(format!("{error:#}"));
            return;
        }
    };
    if let Err(error) = &found.committed {
        report.problems.push(format!("{error:#}"));
    }
    if group.state.is_none() && group.members.is_empty() {
        report.warnings.push(format!(
            "it is not known whether the group {} lets this source read: the cluster does not describe it",
            config.group_id
        ));
    }
    // Fixed partitions whose offsets the application keeps need no membership and no commits.
    let needs_read = config.assign.is_empty() || config.commit != CommitStrategy::Checkpoint;
    if needs_read && group.may_read == Some(false) {
        report.problems.push(format!(
            "this principal may describe the group {} but not read with it (GROUP_AUTHORIZATION_FAILED): grant it READ \
             on the group",
            config.group_id
        ));
    }
    if config.assign.is_empty() { membership(config, found, group, report) } else { fixed(config, group, report) }
}

/// The topic with the offsets does not exist; the first group makes the brokers create it.
fn first(found: &ConsumerInspection, report: &mut SourcePreflightReport) {
    let replicas = setting(&found.brokers, "offsets.topic.replication.factor").and_then(|value| value.parse().ok());
    if let Some(replicas) = replicas.filter(|replicas: &u64| *replicas > found.brokers.len() as u64) {
        report.problems.push(format!(
            "no group coordinator: the cluster cannot create __consumer_offsets, because \
             offsets.topic.replication.factor is {replicas}, but it has {}: lower the factor, or add brokers",
            counted(&found.brokers)
        ));
    }
}

/// Whether the brokers have the protocol of KIP-848.
fn consumer_protocol(found: &ConsumerInspection, report: &mut SourcePreflightReport) {
    const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";
    let cure = "set `group_protocol` to Classic, or upgrade the brokers to Kafka 4.0";
    match setting(&found.brokers, PROTOCOLS) {
        Some(protocols) if protocols.split(',').all(|one| !one.trim().eq_ignore_ascii_case("consumer")) => {
            report.problems.push(format!(
                "the brokers do not allow `group_protocol` Consumer ({PROTOCOLS} is {protocols}): {cure} and allow it"
            ));
        }
        Some(_) => {}
        // Kafka 4.0 has no such setting any more, and Kafka 3.7 has the other one.
        None if setting(&found.brokers, "inter.broker.protocol.version").is_some() => {
            report.problems.push(format!("the brokers do not have `group_protocol` Consumer: {cure}"));
        }
        None if found.brokers.is_empty() => {}
        None => report.warnings.push(format!(
            "it is not known whether the brokers have `group_protocol` Consumer, which needs Kafka 4.0: they do not show this \
             principal the setting {PROTOCOLS}"
        )),
    }
}

fn membership(
    config: &KafkaSourceConfig,
    found: &ConsumerInspection,
    group: &FoundGroup,
    report: &mut SourcePreflightReport,
) {
    if group.members.is_empty() {
        return;
    }
    let members = count(group.members.len(), "member");
    let id = &config.group_id;
    let same = config.group_instance_id.as_ref();
    if let Some(member) =
        group.members.iter().find(|member| same.is_some() && member.group_instance_id.as_ref() == same)
    {
        report.warnings.push(format!(
            "a member of the group {id} has this `group_instance_id` now (client id {:?}, host {}): it ends when this \
             source joins",
            member.client_id, member.host
        ));
    }
    match (group.protocol.as_deref(), config.group_protocol) {
        (Some("classic"), GroupProtocol::Classic) => {
            let ours = config.assignor.name();
            if let Some(theirs) = group.assignor.as_deref().filter(|theirs| !theirs.is_empty() && *theirs != ours) {
                report.warnings.push(format!(
                    "the {members} of the group {id} divide the partitions by {theirs}, and this source by {ours}: it can \
                     join only if each of them also offers {ours}; otherwise set `assignor`"
                ));
            }
        }
        (Some("classic"), GroupProtocol::Consumer) => {
            let policy = setting(&found.brokers, "group.consumer.migration.policy");
            if let Some(policy) = policy.filter(|policy| !matches!(*policy, "upgrade" | "bidirectional")) {
                report.problems.push(format!(
                    "the {members} of the group {id} use the classic protocol, and the brokers do not let one with \
                     `group_protocol` Consumer join them (group.consumer.migration.policy is {policy}): set it to Classic, \
                     or end them first"
                ));
            }
        }
        _ => {}
    }
}

/// Kafka takes commits without a membership only if the group has no members.
fn fixed(config: &KafkaSourceConfig, group: &FoundGroup, report: &mut SourcePreflightReport) {
    if config.commit != CommitStrategy::Checkpoint && !group.members.is_empty() {
        report.problems.push(format!(
            "the group {} has {}, so Kafka refuses the commits of a source with `assign`: set another `group_id`, or end \
             the members",
            config.group_id,
            count(group.members.len(), "member")
        ));
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{Error, ErrorKind, FoundMember, TopicPartition};

    use super::*;
    use crate::Assignor;
    use crate::preflight::source::tests::{config, found, said};

    /// With members of this protocol, and these settings of the broker.
    fn with(protocol: &str, settings: &[(&str, &str)]) -> ConsumerInspection {
        let mut found = found(1);
        let group = found.group.as_mut().unwrap();
        (group.state, group.protocol) = (Some("Stable".into()), Some(protocol.into()));
        group.assignor = Some("range".into());
        let mut member = FoundMember::default();
        (member.client_id, member.host, member.group_instance_id) = ("a".into(), "/h".into(), Some("pod-0".into()));
        group.members.push(member);
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        found.brokers[0].settings = settings.collect();
        found
    }

    #[test]
    fn rights_on_the_group() {
        let mut all = found(1);
        all.group.as_mut().unwrap().may_read = Some(false);
        let (problems, _) = said(&config(), &all);
        assert!(problems.len() == 1 && problems[0].ends_with(": grant it READ on the group"), "{problems:?}");
        let assign = vec![TopicPartition::new("orders", 0)];
        let fixed = KafkaSourceConfig { topics: vec![], assign, commit: CommitStrategy::Checkpoint, ..config() };
        assert_eq!(said(&fixed, &all).0, [""; 0], "it only asks for offsets");
        let refused = || Error::new(ErrorKind::Authorization, "GROUP").without_record();
        (all.group, all.committed) = (Err(refused()), Err(refused()));
        assert_eq!(said(&config(), &all).0.len(), 1, "once");
        all.group = Ok(FoundGroup::default());
        let (problems, warnings) = said(&config(), &all);
        assert_eq!((problems.len(), warnings.len()), (1, 1));
        assert!(warnings[0].contains("the cluster does not describe it"), "{warnings:?}");
    }

    #[test]
    fn members_that_commits_of_fixed_partitions_would_disturb() {
        let assign = vec![TopicPartition::new("orders", 0)];
        let fixed = |commit| KafkaSourceConfig { topics: vec![], assign: assign.clone(), commit, ..config() };
        let (problems, _) = said(&fixed(CommitStrategy::Automatic), &with("classic", &[]));
        assert!(problems.len() == 1 && problems[0].contains("billing has 1 member, so Kafka refuses"), "{problems:?}");
        assert_eq!(said(&fixed(CommitStrategy::Checkpoint), &with("classic", &[])).0, [""; 0]);
        assert_eq!(said(&fixed(CommitStrategy::Automatic), &found(1)).0, [""; 0]);
    }

    #[test]
    fn members_that_divide_the_partitions_otherwise() {
        let (problems, warnings) = said(&config(), &with("classic", &[]));
        assert_eq!((problems.len(), warnings.len()), (0, 1));
        assert!(warnings[0].contains("by range, and this source by cooperative-sticky"), "{warnings:?}");
        let range = KafkaSourceConfig { assignor: Assignor::Range, ..config() };
        assert_eq!(said(&range, &with("classic", &[])).1, [""; 0]);
        let same = KafkaSourceConfig { group_instance_id: Some("pod-0".into()), ..range };
        let warnings = said(&same, &with("classic", &[])).1;
        assert!(warnings[0].contains("(client id \"a\", host /h): it ends when"), "{warnings:?}");
    }

    #[test]
    fn brokers_without_the_consumer_protocol() {
        const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";
        const POLICY: &str = "group.consumer.migration.policy";
        let config = KafkaSourceConfig { group_protocol: GroupProtocol::Consumer, ..config() };
        let of = |found: &ConsumerInspection| {
            let (problems, warnings) = said(&config, found);
            (problems.len(), warnings.len())
        };
        assert_eq!(of(&with("consumer", &[(PROTOCOLS, "classic, Consumer")])), (0, 0));
        assert_eq!(of(&with("consumer", &[(PROTOCOLS, "classic")])), (1, 0));
        assert_eq!(of(&with("consumer", &[("inter.broker.protocol.version", "3.6")])), (1, 0), "before Kafka 3.7");
        assert_eq!(of(&with("consumer", &[("log.retention.ms", "1")])), (0, 1), "not all settings are shown");
        assert_eq!(of(&with("consumer", &[])), (0, 1), "no setting is shown");
        assert_eq!(of(&with("classic", &[(PROTOCOLS, "consumer"), (POLICY, "bidirectional")])), (0, 0));
        assert_eq!(of(&with("classic", &[(PROTOCOLS, "consumer"), (POLICY, "downgrade")])), (1, 0));
    }

    #[test]
    fn the_first_group_of_a_cluster() {
        let of = |settings: &[(&str, &str)]| {
            let mut found = with("classic", settings);
            (found.first_group, found.group) = (true, Ok(FoundGroup::default()));
            said(&config(), &found)
        };
        assert_eq!(of(&[("offsets.topic.replication.factor", "1")]), (vec![], vec![]));
        assert!(of(&[("offsets.topic.replication.factor", "3")]).0[0].contains("is 3, but it has 1 broker: lower"));
    }
}
