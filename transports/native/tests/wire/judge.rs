//! Compares what a client said about each record with what is in the logs.
//!
//! | said | in the log |
//! |---|---|
//! | delivered | once, at the partition and offset that were said |
//! | written (`acks=0`), possibly persisted, or the future was dropped | at most once |
//! | not persisted | not at all |
//!
//! And in each partition the records are in the order of their calls, except for those whose fate the client did not know. In a
//! topic that was made anew this is asked of records with the same key only.
//!
//! A topic that is made anew has another log. Twice means twice in one log: when a topic goes, a client cannot always know what
//! was in it. Everything else is asked of all logs together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use super::history::LogView;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promises {
    /// A delivered record stays in the log. Not with `acks=1` when leaders move.
    pub(crate) keeps: bool,
    /// No record is twice in a log.
    pub(crate) once: bool,
    /// Records of a partition are in the order of their calls.
    pub(crate) in_order: bool,
}

impl Promises {
    /// Those of an idempotent producer, which waits for all replicas.
    pub(crate) const IDEMPOTENT: Self = Self { keeps: true, once: true, in_order: true };
    /// Those of a producer that waits for the leader, or for nothing.
    pub(crate) const PLAIN: Self = Self { keeps: false, once: true, in_order: false };
}

/// What became of a record, as the client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the log, at this offset if the client knows it.
    Delivered { partition: i32, offset: Option<i64> },
    /// It was written to a socket.
    Written,
    /// It is not in the log, and the reason.
    NotPersisted(String),
    /// It may be in the log, and the reason.
    PossiblyPersisted(String),
    /// The future was dropped before it had said anything.
    Dropped,
}

/// A record that was sent.
#[derive(Debug, Clone)]
struct Sent {
    topic: &'static str,
    partition: Option<i32>,
    key: Option<Bytes>,
    /// Its place among all calls.
    call: usize,
    must_arrive: bool,
    outcome: Option<Outcome>,
}

/// What was sent, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    promises: Promises,
    sent: BTreeMap<u64, Sent>,
    findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The record, if it is about one.
    pub(crate) number: Option<u64>,
    /// Where.
    pub(crate) partition: Option<(&'static str, i32)>,
    /// What.
    pub(crate) text: String,
}

/// Where a record was found.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    log: &'a LogView,
    offset: i64,
}

impl Judge {
    /// A judge who asks for these promises.
    pub(crate) fn new(promises: Promises) -> Self {
        Self { promises, sent: BTreeMap::new(), findings: Vec::new() }
    }

    /// A record is about to be sent: to be called in the order of the calls.
    pub(crate) fn calls(&mut self, number: u64, topic: &'static str, partition: Option<i32>, key: Option<Bytes>) {
        let call = self.sent.len();
        let before = self.sent.insert(number, Sent { topic, partition, key, call, must_arrive: false, outcome: None });
        assert!(before.is_none(), "the test has sent record {number} twice");
    }

    /// Nothing hinders this record: anything but a delivery is wrong.
    pub(crate) fn must_arrive(&mut self, number: u64) {
        self.sent.get_mut(&number).expect("the test has sent it").must_arrive = true;
    }

    /// The client says what became of a record.
    pub(crate) fn outcome(&mut self, number: u64, outcome: Outcome) {
        let Some(sent) = self.sent.get_mut(&number) else { panic!("the test has not sent record {number}") };
        if let Some(before) = &sent.outcome {
            let text = format!("record {number} has two outcomes: {before:?}, then {outcome:?}");
            self.findings.push(Finding { number: Some(number), partition: None, text });
        }
        sent.outcome = Some(outcome);
    }

    /// The number of the next record.
    pub(crate) fn next_number(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Something else is wrong.
    pub(crate) fn find(&mut self, text: String) {
        self.findings.push(Finding { number: None, partition: None, text });
    }

    /// Number of records for each kind of outcome: delivered, written, not persisted, possibly persisted, dropped.
    pub(crate) fn outcomes(&self) -> [usize; 5] {
        let mut outcomes = [0; 5];
        for outcome in self.sent.values().filter_map(|sent| sent.outcome.as_ref()) {
            outcomes[match outcome {
                Outcome::Delivered { .. } => 0,
                Outcome::Written => 1,
                Outcome::NotPersisted(_) => 2,
                Outcome::PossiblyPersisted(_) => 3,
                Outcome::Dropped => 4,
            }] += 1;
        }
        outcomes
    }

    /// Everything that is wrong. To be asked when no request is under way any more.
    pub(crate) fn verdict(&self, logs: &[LogView]) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        let mut found: BTreeMap<u64, Vec<Found<'_>>> = BTreeMap::new();
        for log in logs {
            for entry in &log.entries {
                let number = entry.number;
                let mut wrong =
                    |text| findings.push(Finding { number, partition: Some((log.topic, log.partition)), text });
                let Some((number, sent)) = entry.number.and_then(|number| Some((number, self.sent.get(&number)?)))
                else {
                    wrong(format!("offset {} has a record that was never sent", entry.offset));
                    continue;
                };
                if (log.topic, entry.key.as_ref()) != (sent.topic, sent.key.as_ref()) {
                    wrong(format!("record {number} has another topic or key than it was sent with"));
                }
                if sent.partition.is_some_and(|partition| partition != log.partition) {
                    wrong(format!("record {number} was sent to partition {:?}, and is in another", sent.partition));
                }
                found.entry(number).or_default().push(Found { log, offset: entry.offset });
            }
            if self.promises.in_order {
                self.order(log, &mut findings);
            }
        }
        for (number, sent) in &self.sent {
            self.one(*number, sent, found.get(number).map_or(&[], Vec::as_slice), &mut findings);
        }
        findings
    }

    fn one(&self, number: u64, sent: &Sent, found: &[Found<'_>], findings: &mut Vec<Finding>) {
        let places = || {
            let place = |found: &Found<'_>| {
                let anew = if found.log.generation == 0 { "" } else { ", made anew" };
                format!("{}[{}]@{}{anew}", found.log.topic, found.log.partition, found.offset)
            };
            found.iter().map(place).collect::<Vec<_>>().join(" and ")
        };
        let mut wrong = |partition: Option<i32>, text| {
            let partition = partition.or(found.first().map(|found| found.log.partition)).or(sent.partition);
            let partition = partition.map(|partition| (sent.topic, partition));
            findings.push(Finding { number: Some(number), partition, text });
        };
        let mut logs = BTreeSet::new();
        if self.promises.once && !found.iter().all(|found| logs.insert((found.log.generation, found.log.topic))) {
            wrong(None, format!("record {number} is in the log twice: at {}", places()));
        }
        if let Some(outcome) = sent.outcome.as_ref().filter(|_| sent.must_arrive) {
            if !matches!(outcome, Outcome::Delivered { .. } | Outcome::Written) {
                wrong(None, format!("nothing hindered record {number}, and it was not delivered: {outcome:?}"));
            }
        }
        match &sent.outcome {
            None => wrong(None, format!("record {number} has no outcome")),
            Some(Outcome::Delivered { partition, offset }) => {
                let said = |found: &Found<'_>| {
                    found.log.partition == *partition && offset.is_none_or(|offset| offset == found.offset)
                };
                let text = format!("record {number} was reported at {}[{partition}]@{offset:?}", sent.topic);
                if found.is_empty() && self.promises.keeps {
                    wrong(Some(*partition), format!("{text}, and is lost"));
                } else if !found.is_empty() && !found.iter().any(said) {
                    wrong(Some(*partition), format!("{text}, and is at {}", places()));
                }
            }
            Some(Outcome::NotPersisted(reason)) if !found.is_empty() => {
                wrong(None, format!("record {number} was reported not persisted ({reason}), and is at {}", places()));
            }
            Some(_) => {}
        }
    }

    fn order(&self, log: &LogView, findings: &mut Vec<Finding>) {
        let mut latest: BTreeMap<Option<_>, (u64, usize)> = BTreeMap::new();
        for number in log.entries.iter().filter_map(|entry| entry.number) {
            let Some(sent) = self.sent.get(&number) else { continue };
            if !matches!(sent.outcome, Some(Outcome::Delivered { .. })) {
                continue;
            }
            // What waited for several partitions of the old topic may be for one partition of the new one.
            let among = match (&sent.key, log.generation) {
                (_, 0) => None,
                (Some(key), _) => Some((sent.partition, key)),
                (None, _) => continue,
            };
            match latest.get(&among) {
                Some((before, call)) if *call > sent.call => {
                    let text = format!("record {number} was sent before record {before}, and is behind it");
                    let partition = Some((log.topic, log.partition));
                    findings.push(Finding { number: Some(number), partition, text });
                }
                _ => drop(latest.insert(among, (number, sent.call))),
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some((topic, partition)) => write!(f, "{topic}[{partition}]: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
