//! Finds where reading would begin.

use std::collections::BTreeMap;

use kafka_tower_core::source::OutOfRangePolicy;
use kafka_tower_core::{ConsumerInspection, LogRange, TopicPartition};

use super::SourcePreflightReport;
use super::evaluate::of_topic;
use crate::{KafkaSourceConfig, StartFrom};

/// Maximum number of partitions about which the same is said one by one.
const SHOWN: usize = 8;

pub(super) fn evaluate(
    config: &KafkaSourceConfig,
    found: &ConsumerInspection,
    stored: Option<&BTreeMap<TopicPartition, i64>>,
    report: &mut SourcePreflightReport,
) {
    let (Some(stored), Ok(committed)) = (stored, &found.committed) else { return };
    let policy = config.out_of_range();
    let mut outside = Vec::new();
    let mut skipped = BTreeMap::<&str, (Vec<i32>, i64)>::new();
    for (at, log) in &found.logs {
        match begin(&config.start, stored.get(at).copied(), committed.get(at).copied(), at, *log) {
            Begin::At(offset) => drop(report.begins.insert(at.clone(), offset)),
            Begin::End if log.end > log.start => {
                let (ids, records) = skipped.entry(&*at.topic).or_default();
                ids.push(at.partition);
                *records += log.end - log.start;
                report.begins.insert(at.clone(), log.end);
            }
            Begin::End => drop(report.begins.insert(at.clone(), log.end)),
            Begin::Outside(whose, offset) => {
                let (text, begins) = leave_range(policy, at, whose, offset, *log);
                outside.push(text);
                report.begins.extend(begins.map(|begins| (at.clone(), begins)));
            }
            Begin::Later => {}
        }
    }
    for (topic, (ids, offsets)) in skipped {
        report.warnings.push(format!(
            "the group {} has committed no offset of {}: reading begins at the end (`start`), and passes over {offsets} offsets \
             that the logs have",
            config.group_id,
            of_topic(topic, &ids)
        ));
    }
    let more = outside.len().saturating_sub(SHOWN);
    outside.truncate(SHOWN);
    if more > 0 {
        outside.push(format!("the next offsets of {more} other partitions are not in their logs either"));
    }
    if policy == OutOfRangePolicy::Fail { &mut report.problems } else { &mut report.warnings }.extend(outside);
}

/// Where a partition begins.
#[derive(Debug, PartialEq, Eq)]
enum Begin {
    At(i64),
    /// At the end of its log, because nothing is committed.
    End,
    /// An offset that the log does not have, and whose it is.
    Outside(&'static str, i64),
    /// It is looked up when the partition is assigned.
    Later,
}

/// The order is that of a source: the application's offset, then the group's, then `start`.
fn begin(start: &StartFrom, stored: Option<i64>, committed: Option<i64>, at: &TopicPartition, log: LogRange) -> Begin {
    let explicit = match start {
        StartFrom::Explicit(offsets) => offsets.get(&at.topic, at.partition),
        _ => None,
    };
    let known = stored.map(|offset| ("stored", offset));
    let known = known.or(committed.map(|offset| ("committed", offset))).or(explicit.map(|offset| ("`start`", offset)));
    match (known, start) {
        (Some((_, offset)), _) if (log.start..=log.end).contains(&offset) => Begin::At(offset),
        (Some((whose, offset)), _) => Begin::Outside(whose, offset),
        (None, StartFrom::Latest) => Begin::End,
        (None, StartFrom::Timestamp(_)) => Begin::Later,
        (None, StartFrom::Earliest | StartFrom::Explicit(_)) => Begin::At(log.start),
    }
}

/// The text, and where reading begins.
fn leave_range(
    policy: OutOfRangePolicy,
    at: &TopicPartition,
    whose: &str,
    offset: i64,
    log: LogRange,
) -> (String, Option<i64>) {
    let LogRange { start, end } = log;
    let text = format!("the {whose} offset {offset} of {at} is not in the log, which has those from {start} to {end}");
    let why = if offset > end { ": the log was truncated, or its topic was created again" } else { "" };
    let to = match policy {
        OutOfRangePolicy::Earliest => start,
        OutOfRangePolicy::Latest => end,
        _ => {
            let cure = "`seek` in the partition, or set `on_out_of_range`";
            return (format!("{text}{why}; the partition is not read (`on_out_of_range` is Fail): {cure}"), None);
        }
    };
    let passes = if to > offset { format!(", and passes over {}", to - offset) } else { String::new() };
    (format!("{text}{why}; reading begins at {to} (`on_out_of_range`){passes}"), Some(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::source::tests::{config, found, said};
    use crate::source::Checkpoint;

    const LOG: LogRange = LogRange { start: 10, end: 20 };

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("orders", partition)
    }

    #[test]
    fn the_applications_offset_comes_before_the_groups_and_that_before_the_start() {
        let explicit = StartFrom::Explicit([(at(0), 12)].into_iter().collect::<Checkpoint>());
        let of = |start: &StartFrom, stored, committed| begin(start, stored, committed, &at(0), LOG);
        assert_eq!(of(&explicit, Some(14), Some(13)), Begin::At(14));
        assert_eq!(of(&explicit, None, Some(13)), Begin::At(13));
        assert_eq!(of(&explicit, None, None), Begin::At(12));
        assert_eq!(begin(&explicit, None, None, &at(1), LOG), Begin::At(10), "it has no offset of this partition");
        assert_eq!(of(&StartFrom::Earliest, None, None), Begin::At(10));
        assert_eq!(of(&StartFrom::Latest, None, None), Begin::End);
        assert_eq!(of(&StartFrom::Latest, None, Some(11)), Begin::At(11));
        assert_eq!(of(&StartFrom::Timestamp(kafka_tower_core::Timestamp::now()), None, None), Begin::Later);
    }

    #[test]
    fn the_ends_of_the_log_are_in_it() {
        let of = |committed| begin(&StartFrom::Earliest, None, Some(committed), &at(0), LOG);
        assert_eq!([of(10), of(20)], [Begin::At(10), Begin::At(20)]);
        assert_eq!([of(9), of(21)], [Begin::Outside("committed", 9), Begin::Outside("committed", 21)]);
        assert_eq!(begin(&StartFrom::Earliest, Some(0), Some(15), &at(0), LOG), Begin::Outside("stored", 0));
    }

    #[test]
    fn an_offset_out_of_the_log_is_a_problem_or_a_warning_as_the_policy_says() {
        let mut all = found(1);
        all.committed = Ok(BTreeMap::from([(at(0), 3)]));
        let with = |policy| KafkaSourceConfig { on_out_of_range: Some(policy), ..config() };
        let text = "the committed offset 3 of orders[0] is not in the log, which has those from 10 to 20; ";
        let (problems, warnings) = said(&with(OutOfRangePolicy::Fail), &all);
        assert_eq!((problems.len(), warnings.len()), (1, 0));
        assert!(problems[0].starts_with(text) && problems[0].contains("set `on_out_of_range`"), "{problems:?}");
        let (problems, warnings) = said(&with(OutOfRangePolicy::Earliest), &all);
        assert_eq!(problems, [""; 0]);
        assert_eq!(warnings, [format!("{text}reading begins at 10 (`on_out_of_range`), and passes over 7")]);
        let warnings = said(&with(OutOfRangePolicy::Latest), &all).1;
        assert_eq!(warnings, [format!("{text}reading begins at 20 (`on_out_of_range`), and passes over 17")]);
        all.committed = Ok(BTreeMap::from([(at(0), 30)]));
        let warnings = said(&with(OutOfRangePolicy::Earliest), &all).1;
        assert!(warnings[0].contains("to 20: the log was truncated"), "{warnings:?}");
        assert!(warnings[0].ends_with("reading begins at 10 (`on_out_of_range`)"), "{warnings:?}");
    }

    #[test]
    fn many_partitions_have_few_lines() {
        let mut all = found(12);
        all.committed = Ok((0..12).map(|partition| (at(partition), 3)).collect());
        let warnings = said(&config(), &all).1;
        assert_eq!(warnings.len(), 9);
        assert_eq!(warnings[8], "the next offsets of 4 other partitions are not in their logs either");
        let config = KafkaSourceConfig { start: StartFrom::Latest, ..config() };
        let warnings = said(&config, &found(12)).1;
        assert_eq!(
            warnings,
            [
                "the group billing has committed no offset of partitions 0, 1, 2, 3, 4, 5, 6, 7 and 4 more of orders: reading \
              begins at the end (`start`), and passes over 120 offsets that the logs have"
            ]
        );
    }

    #[test]
    fn only_known_places_are_said() {
        let begins = |found: &ConsumerInspection, stored: Option<&BTreeMap<TopicPartition, i64>>| {
            let mut report = SourcePreflightReport::of(&config());
            evaluate(&config(), found, stored, &mut report);
            report.begins
        };
        let mut all = found(2);
        let stored = BTreeMap::from([(at(1), 15)]);
        assert_eq!(begins(&all, Some(&stored)), BTreeMap::from([(at(0), 10), (at(1), 15)]));
        assert!(begins(&all, None).is_empty(), "a listener knows");
        let error = kafka_tower_core::Error::new(crate::ErrorKind::Timeout, "no answer");
        all.committed = Err(error.without_record());
        assert!(begins(&all, Some(&stored)).is_empty());
    }
}
