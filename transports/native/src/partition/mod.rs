//! The batches of one partition that have a sequence number and no outcome, as a pure value.
//!
//! A broker recognizes a batch by its stamp: producer id, epoch, and sequence number of its first record. It accepts a batch only
//! if its numbers follow those of the batch before. So a batch that may be in the log must be sent again with the same stamp, or
//! be given up as possibly written; and what is surely not in the log gives its numbers back to those behind it.
//!
//! | a batch is | it |
//! |---|---|
//! | sent | has no answer yet |
//! | in doubt | may be in the log: a request with it had no answer, or one that proves nothing |
//! | asked in vain | was refused as out of order. A broker that restarted knows only the last batch, so this proves nothing about the others: all behind it are asked, too |
//! | neither | is not in the log, and waits to be sent |
//!
//! The rules, by the numbers of their sources in the design: what is in doubt keeps its stamp (2); what was refused gives its range
//! back (3); the row's last batch proves that none of it is in the log (4); one batch at a time until a broker knows the producer,
//! and after every failure (5, 7); a new epoch begins when nothing of the old one is in doubt (6).

mod answers;
mod code;
mod row;

pub use code::Why;
pub use row::Row;

#[cfg(test)]
mod tests;

use crate::settings::Acks;

/// What brokers know of the producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They recognize a batch that comes twice.
    Idempotent,
    /// They do not: a batch in doubt is not sent again.
    Plain {
        /// Which replicas answer.
        acks: Acks,
    },
}

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerId {
    /// The id.
    pub id: i64,
    /// The epoch.
    pub epoch: i16,
}

/// The last epoch of an id: a new id follows.
pub(crate) const LAST_EPOCH: i16 = i16::MAX - 1;

/// Names a batch of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing now.
    Nothing,
    /// This batch, again or for the first time.
    Again(Key),
    /// A new batch.
    New,
    /// Nothing, before the row has a newer producer id.
    NeedsProducerId,
}

/// What became of a batch that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The broker's answer.
    Code {
        /// Kafka's error code.
        code: i16,
        /// Offset of the first record; negative if it has none.
        offset: i64,
        /// Indexes of the records that the broker refused.
        refused: &'a [i32],
        /// The answer named another leader.
        new_leader_known: bool,
    },
    /// There is none, and none will come.
    None {
        /// The socket had taken the whole request, so the broker may have carried it out.
        wholly: bool,
    },
    /// It was written, and brokers do not answer.
    Written,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<B> {
    /// The batch is in the log. It has left the row.
    Delivered {
        /// The batch.
        batch: B,
        /// Offset of its first record, if a broker has said it.
        offset: Option<i64>,
    },
    /// The batch is not sent again. It has left the row.
    Failed {
        /// The batch.
        batch: B,
        /// Why.
        why: Why,
        /// It may be in the log.
        in_doubt: bool,
    },
    /// The batch is not in the log, and not all of its records are to blame: [replace](Row::replace) it.
    Rework {
        /// The batch.
        key: Key,
        /// The broker's answer.
        code: i16,
        /// Which records are to blame.
        why: Rework,
    },
    /// Ask who leads the partition.
    Metadata,
    /// Wait before the row sends again.
    Backoff {
        /// The new leader is known, so it can be asked at once.
        again_at_once: bool,
    },
    /// Records that a broker had acknowledged are not in the log any more.
    LostAcknowledged,
    /// [Renew](Row::renew) the row with the next epoch of its producer id.
    NewEpoch,
    /// Renew the row with a new producer id.
    NewProducerId,
}

/// Which records of a batch are to blame for its refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rework {
    /// None, or its only one: the batch is too large.
    TooLarge,
    /// Those at these indexes.
    Refused(Vec<i32>),
    /// The broker did not say: halves tell.
    RefusedWhole,
}
