//! Choices by name.

use kafka_tower_core::source::{CommitStrategy, OutOfRangePolicy};
use kafka_tower_core::{Isolation, OffsetReset, Timestamp, TopicPartition};

use crate::config::fields::{Fault, Value, choice};
use crate::source::Checkpoint;

/// Where a group begins to read a partition for which it has committed no offset.
///
/// As text it is `earliest`, `latest`, or a timestamp: milliseconds since 1970, as digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartFrom {
    /// At the first record in the log. The default, because `Latest` skips records silently.
    #[default]
    Earliest,
    /// At the end of the log. Until the group has committed an offset, each restart begins at the end again.
    Latest,
    /// At the first record with this timestamp or a later one; at the end of the log if there is none.
    Timestamp(Timestamp),
    /// At these offsets; a partition without one begins at the first record in the log.
    Explicit(Checkpoint),
}

impl StartFrom {
    /// Where a transport begins if nothing else is known.
    pub(crate) fn reset(&self) -> OffsetReset {
        match self {
            Self::Latest => OffsetReset::Latest,
            _ => OffsetReset::Earliest,
        }
    }
}

impl Value for StartFrom {
    fn parse(text: &str) -> Result<Self, Fault> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            if let Ok(millis) = text.parse() {
                return Ok(Self::Timestamp(Timestamp::from_millis(millis)));
            }
        }
        let mut parsed = choice(text, &[("earliest", Self::Earliest), ("latest", Self::Latest)]);
        if let Err(fault) = &mut parsed {
            fault.cure.push_str(", or milliseconds since 1970");
        }
        parsed
    }
}

/// Protocol between a consumer and its group (`group.protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// Members divide the partitions among themselves. The default.
    #[default]
    Classic,
    /// The brokers divide the partitions (KIP-848). Needs Kafka 4.0. Session time-out, heartbeat interval and assignor are
    /// settings of the brokers.
    Consumer,
}

/// How a group of the classic protocol divides the partitions (`partition.assignment.strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Each member keeps what it has, if possible, and reads on in a rebalance. The default. A group cannot mix it with the
    /// others.
    #[default]
    CooperativeSticky,
    /// By ranges of the partitions of each topic. The default of other librdkafka clients, and the first one of Java's.
    Range,
    /// One partition after the other.
    RoundRobin,
}

impl GroupProtocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

impl Assignor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }
}

impl Value for Option<OutOfRangePolicy> {
    fn parse(text: &str) -> Result<Self, Fault> {
        Value::parse(text).map(Some)
    }
}

/// Partitions like `orders:0`, separated by commas.
impl Value for Vec<TopicPartition> {
    #[cfg(feature = "serde")]
    const IS_TEXT: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let parse = |name: &str| {
            let (topic, number) = name.rsplit_once(':')?;
            Some(TopicPartition::new(topic, number.parse().ok().filter(|number| *number >= 0)?))
        };
        let fault = |name: &str| Fault {
            problem: format!("{name:?} is no partition"),
            cure: "write the topic, a colon, and the number: \"orders:0\"".to_owned(),
        };
        names.map(|name| parse(name).ok_or_else(|| fault(name))).collect()
    }
}

macro_rules! choices {
    ($($kind:ident: $($name:literal => $value:ident),*;)*) => {$(
        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, Fault> {
                choice(text, &[$(($name, $kind::$value)),*])
            }
        }
    )*};
}
choices! {
    Assignor: "cooperative-sticky" => CooperativeSticky, "range" => Range, "roundrobin" => RoundRobin;
    CommitStrategy: "automatic" => Automatic, "periodic" => Periodic, "each" => Each, "manual" => Manual,
        "transaction" => Transaction, "checkpoint" => Checkpoint, "at_most_once" => AtMostOnce;
    GroupProtocol: "classic" => Classic, "consumer" => Consumer;
    OutOfRangePolicy: "fail" => Fail, "earliest" => Earliest, "latest" => Latest;
    Isolation: "read_committed" => ReadCommitted, "read_uncommitted" => ReadUncommitted;
}
