//! The records of a run, by chance that follows from the seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_tower_core::Record;

use super::batch::value;
use super::driver::deadline;
use super::faults::number;
use super::profiles::{COMPACTED, COMPACTED_MAX_BATCH, Profile, TOPIC};

const KEYS: u64 = 10;

/// Numbers that follow from a seed.
#[derive(Debug)]
pub(crate) struct Random {
    seed: u64,
    drawn: AtomicU64,
}

/// How a record is sent.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The time before.
    pub(crate) pause: Duration,
    /// Whether a flush comes before it.
    pub(crate) flushes: bool,
    /// Its topic.
    pub(crate) topic: &'static str,
    /// Its partition, if it is chosen.
    pub(crate) partition: Option<i32>,
    /// When its future is dropped.
    pub(crate) dropped: Dropped,
    key: Option<u64>,
    len: usize,
    deadline: Option<Duration>,
    isolated: bool,
}

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Never,
    /// Without being polled.
    AtOnce,
    /// If it is not ready by then.
    After(Duration),
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }

    /// A number below this one.
    pub(crate) fn below(&self, below: u64) -> u64 {
        number(&[self.seed, self.drawn.fetch_add(1, Ordering::Relaxed)]) % below
    }

    fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Plan {
    /// Any record.
    pub(crate) fn random(profile: &Profile, partitions: i32, random: &Random) -> Self {
        let pause = match random.below(40) {
            0 => Duration::from_millis(1_000 + random.below(5_000)),
            1..=15 => Duration::from_micros(random.below(30_000)),
            _ => Duration::ZERO,
        };
        let dropped = match random.below(40) {
            0 => Dropped::AtOnce,
            1 => Dropped::After(Duration::from_millis(random.below(3_000))),
            _ => Dropped::Never,
        };
        let refuses = profile.refuses && random.one_in(3);
        let len = match random.below(30) {
            0 => random.below(30_000),
            _ => random.below(300),
        };
        Self {
            pause,
            flushes: random.one_in(60),
            topic: if refuses { COMPACTED } else { TOPIC },
            partition: (!refuses && random.one_in(5)).then(|| chosen(partitions, random)),
            dropped,
            key: (!random.one_in(3)).then(|| random.below(KEYS)),
            len: usize::try_from(len).expect("small"),
            deadline: random.one_in(5).then(|| Duration::from_millis(1 + random.below(4_000))),
            isolated: random.one_in(30),
        }
    }

    /// A small record without a deadline.
    pub(crate) fn probe(partitions: i32, random: &Random) -> Self {
        Self {
            pause: Duration::ZERO,
            flushes: false,
            topic: TOPIC,
            partition: Some(chosen(partitions, random)),
            dropped: Dropped::Never,
            key: None,
            len: 0,
            deadline: None,
            isolated: false,
        }
    }

    /// Whether a cluster without faults takes the record in any case.
    pub(crate) fn can_arrive(&self, profile: &Profile) -> bool {
        // A batch of the compacted topic has room for this one, and what is larger may be refused.
        let is_valid = self.topic != COMPACTED || self.key.is_some() && self.len < COMPACTED_MAX_BATCH - 500;
        self.deadline.is_none() && self.dropped == Dropped::Never && is_valid && profile.rates.is_empty()
    }

    /// The record with this number.
    pub(crate) fn record(&self, number: u64) -> (u64, Record) {
        let mut record = Record::new(self.topic).with_value(value(number, self.len));
        record.key = self.key.map(|key| format!("key {key}").into_bytes().into());
        record.partition = self.partition;
        record.expires_at = deadline(self.deadline);
        record.isolated = self.isolated;
        (number, record)
    }
}

fn chosen(partitions: i32, random: &Random) -> i32 {
    i32::try_from(random.below(u64::from(partitions.unsigned_abs()))).expect("few")
}
