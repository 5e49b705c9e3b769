//! Choices by name.

use kafka_tower_core::source::CommitStrategy;
use kafka_tower_core::{Isolation, StartFrom};

use crate::config::fields::{Fault, Value, choice};

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
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
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
        "transaction" => Transaction;
    GroupProtocol: "classic" => Classic, "consumer" => Consumer;
    Isolation: "read_committed" => ReadCommitted, "read_uncommitted" => ReadUncommitted;
    StartFrom: "earliest" => Earliest, "latest" => Latest;
}
