//! What a seed is run with: the cluster, its faults, and what the client is asked to promise.

use super::cluster::{TopicConfig, Versions};
use super::faults::{Faults, Kind};
use super::judge::Promises;

/// The topic of all profiles.
pub(crate) const TOPIC: &str = "orders";
/// A compacted topic with small batches, in profiles with refusals.
pub(crate) const COMPACTED: &str = "prices";
/// The largest batch of the compacted topic.
pub(crate) const COMPACTED_MAX_BATCH: usize = 3_000;

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) name: &'static str,
    /// What the brokers speak.
    pub(crate) versions: Versions,
    /// Number of brokers.
    pub(crate) brokers: i32,
    /// Which replicas answer: 0, 1 or -1 for all.
    pub(crate) acks: i16,
    /// The faults, in parts of 10,000 frames.
    pub(crate) rates: &'static [(Kind, u64)],
    /// Some records are refused: they have no key, or are too large.
    pub(crate) refuses: bool,
}

const CALM: Profile =
    Profile { name: "calm", versions: Versions::Kafka43, brokers: 3, acks: -1, rates: &[], refuses: false };

/// All profiles of a producer that waits for all replicas, then the others.
pub(crate) const PROFILES: [Profile; 12] = [
    CALM,
    Profile {
        name: "cuts",
        rates: &[
            (Kind::Refused, 1_000),
            (Kind::CutBefore, 200),
            (Kind::CutInside, 200),
            (Kind::CutAfter, 200),
            (Kind::CutInAnswer, 200),
        ],
        ..CALM
    },
    Profile { name: "codes", rates: CODES, ..CALM },
    Profile {
        name: "leaders",
        rates: &[(Kind::LeaderMoves, 500), (Kind::OldMetadata, 3_000), (Kind::CutAfter, 100)],
        ..CALM
    },
    Profile {
        name: "restarts",
        rates: &[(Kind::Restart, 200), (Kind::Stop, 50), (Kind::CutAfter, 150), (Kind::CutInAnswer, 100)],
        ..CALM
    },
    Profile {
        name: "late",
        rates: &[
            (Kind::Hold, 300),
            (Kind::SlowAnswer, 60),
            (Kind::SlowRead, 150),
            (Kind::LeaderMoves, 100),
            (Kind::Restart, 50),
        ],
        ..CALM
    },
    Profile {
        name: "anew",
        rates: &[(Kind::MadeAnew, 100), (Kind::PartitionAdded, 100), (Kind::CutAfter, 100), (Kind::Hold, 100)],
        ..CALM
    },
    Profile { name: "all", rates: ALL, ..CALM },
    Profile { name: "all, Kafka 3.9", versions: Versions::Kafka39, rates: ALL_BUT_ANEW, ..CALM },
    Profile { name: "all, Kafka 2.5", versions: Versions::Kafka25, brokers: 2, rates: ALL_BUT_ANEW, ..CALM },
    Profile { name: "refusals", rates: &[], refuses: true, ..CALM },
    Profile { name: "one broker", brokers: 1, rates: ALL, refuses: true, ..CALM },
];

/// Profiles of a producer without idempotence.
pub(crate) const PLAIN_PROFILES: [Profile; 2] =
    [Profile { name: "acks=1", acks: 1, rates: ALL, ..CALM }, Profile { name: "acks=0", acks: 0, rates: ALL, ..CALM }];

const CODES: &[(Kind, u64)] = &[
    (Kind::NotLeader, 150),
    (Kind::UnknownTopic, 150),
    (Kind::TimedOut, 150),
    (Kind::NotEnoughReplicas, 150),
    (Kind::NotEnoughReplicasAfterAppend, 150),
    (Kind::StorageError, 150),
    (Kind::UnknownError, 150),
    (Kind::NoProducerId, 3_000),
    (Kind::NoLeaders, 1_500),
    (Kind::Throttle, 100),
];

const ALL_BUT_ANEW: &[(Kind, u64)] = &[
    (Kind::Refused, 500),
    (Kind::CutBefore, 60),
    (Kind::CutInside, 60),
    (Kind::CutAfter, 80),
    (Kind::CutInAnswer, 80),
    (Kind::Hold, 80),
    (Kind::SlowRead, 50),
    (Kind::SlowAnswer, 20),
    (Kind::NotLeader, 60),
    (Kind::UnknownTopic, 60),
    (Kind::TimedOut, 60),
    (Kind::NotEnoughReplicas, 60),
    (Kind::NotEnoughReplicasAfterAppend, 60),
    (Kind::StorageError, 60),
    (Kind::UnknownError, 60),
    (Kind::LeaderMoves, 100),
    (Kind::Restart, 60),
    (Kind::Stop, 20),
    (Kind::PartitionAdded, 50),
    (Kind::Throttle, 50),
    (Kind::NoProducerId, 2_000),
    (Kind::NoLeaders, 1_000),
    (Kind::OldMetadata, 1_500),
];

// The same and topics that are made anew. Not for brokers to which topics are named by name: what is sent before the client knows
// of the new topic is appended there, so neither the order nor an outcome without an offset holds for one log.
const ALL: &[(Kind, u64)] = &{
    let mut all = [(Kind::MadeAnew, 50); ALL_BUT_ANEW.len() + 1];
    let mut index = 0;
    while index < ALL_BUT_ANEW.len() {
        all[index] = ALL_BUT_ANEW[index];
        index += 1;
    }
    all
};

impl Profile {
    /// Its faults.
    pub(crate) fn faults(&self, seed: u64) -> Faults {
        self.rates.iter().fold(Faults::none(seed), |faults, (kind, rate)| faults.with(*kind, *rate))
    }

    /// Whether the producer is idempotent.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.acks == -1
    }

    /// What the client promises.
    pub(crate) fn promises(&self) -> Promises {
        if self.is_idempotent() { Promises::IDEMPOTENT } else { Promises::PLAIN }
    }

    /// The topics.
    pub(crate) fn topics(&self, partitions: i32) -> Vec<TopicConfig> {
        let mut topics = vec![TopicConfig::new(TOPIC, partitions)];
        if self.refuses {
            let compacted = TopicConfig::new(COMPACTED, 2);
            topics.push(TopicConfig { is_compacted: true, max_batch: COMPACTED_MAX_BATCH, ..compacted });
        }
        topics
    }
}
