//! What a code says of a batch.

use kafka_tower_core::{Persistence, Recovery, codes};

use super::Mode;
use crate::settings::Acks;

/// Why a batch is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The broker's answer.
    Code(i16),
    /// There was no answer, and brokers would not recognize the batch.
    Lost,
    /// Its time was over.
    GivenUp,
}

/// What an answer says of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It is in the log, with its offset.
    Appended,
    /// It is in the log already.
    Duplicate,
    /// Its numbers do not follow those that the broker knows.
    OutOfOrder,
    /// The broker does not know the producer, although it should.
    UnknownProducer,
    /// Another producer has the id.
    OtherProducer,
    /// Send it again.
    Again {
        /// It may be in the log.
        begins_doubt: bool,
        /// Another broker may lead the partition.
        metadata: bool,
    },
    /// It was spoiled on its way: send it again, but not for ever.
    Corrupt,
    /// It is too large.
    TooLarge,
    /// Records of it are invalid.
    Invalid,
    /// It is never accepted.
    Refused,
    /// Brokers do not answer producers so: it proves nothing.
    Unknown,
}

/// The class of a code.
pub(super) fn class(code: i16, mode: Mode) -> Class {
    // A leader answers these after an append, too, if it loses its place while it waits for its replicas.
    let waits_for_replicas = !matches!(mode, Mode::Plain { acks: Acks::Leader | Acks::None });
    match code {
        0 => Class::Appended,
        46 => Class::Duplicate,
        45 => Class::OutOfOrder,
        59 => Class::UnknownProducer,
        47 => Class::OtherProducer,
        6 | 3 => Class::Again { begins_doubt: waits_for_replicas, metadata: true },
        // 8 and 9 prove nothing, as core's table says.
        -1 | 7 | 8 | 9 | 13 | 20 | 56 => Class::Again { begins_doubt: true, metadata: true },
        19 | 89 => Class::Again { begins_doubt: false, metadata: false },
        5 | 72 | 74 | 75 | 77 | 78 | 83 | 100 | 103 => Class::Again { begins_doubt: false, metadata: true },
        2 => Class::Corrupt,
        10 | 18 => Class::TooLarge,
        32 | 87 => Class::Invalid,
        17 | 21 | 29 | 31 | 35 | 42 | 43 | 44 | 76 => Class::Refused,
        _ => match codes::find(code.into()) {
            Some(facts) if facts.persistence != Persistence::NotPersisted => Class::Unknown,
            Some(facts) if matches!(facts.recovery, Recovery::Retry | Recovery::Wait) => {
                Class::Again { begins_doubt: false, metadata: true }
            }
            Some(_) => Class::Refused,
            None => Class::Unknown,
        },
    }
}
