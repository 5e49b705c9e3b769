use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{ControlFuture, Error};

/// The transactional side of a transport.
///
/// The fate of a transaction is told like a record's: an error of [`commit`](Self::commit) that is `NotPersisted` means
/// that nothing of the transaction is visible, `PossiblyPersisted` that **nobody knows** (never abort and replay
/// then: the records may be visible), and [`recovery`](crate::Error::recovery) says whether to abort
/// (`AbortTransaction`), to call the same again (`Retry`) or to make a new producer (`Fatal`).
///
/// A call out of place (`commit` where nothing is open, `begin` where something is, anything before `init`) is an
/// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) that says `Reject` and changed nothing: `NotPersisted`. However often it is
/// made it will not go well, and the transaction, if there is one, goes on.
///
/// Each record that the transport has [taken](crate::handover::taken) and that failed makes the commit a no, also where its caller went
/// away. What it refused inside of `call` is not taken: that is its caller's to know.
pub trait TransactionControl: Send + Sync + fmt::Debug {
    /// Takes the transactional id: fences older producers of the same id and ends what they left open. Once, before
    /// the first [`begin`](Self::begin).
    ///
    /// # Errors
    ///
    /// `Retry` when time ran out (call again to go on waiting), `Fatal` when the id may not be used.
    fn init(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Opens a transaction: later records belong to it.
    fn begin(&self) -> ControlFuture<'_, ()>;

    /// Delivers the records that were sent since `begin` and makes them visible, all or none.
    ///
    /// After an error with recovery `Retry` only the same call may follow: the transport goes on with the commit that
    /// is under way.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe in its outcome: a commit that has begun goes on. Call it again to learn how it ended.
    fn commit(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Ends the transaction so that none of its records is ever visible to `read_committed` readers.
    ///
    /// # Cancel safety
    ///
    /// An abort that has begun goes on. Call it again to learn how it ended.
    fn abort(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Puts a consumer's progress into the transaction: the offsets count if and when the transaction commits.
    ///
    /// Take the group's identity from the consumer anew for each transaction: a rebalance makes an older one invalid.
    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()>;
}

/// How [`Control::close`](crate::Control::close) left a transaction that was open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransactionEnd {
    /// It was aborted: readers of committed records see none of its records, and are not held back by them.
    Aborted,
    /// Its commit was under way and went well.
    Committed,
    /// The coordinator's answer is missing. The error says why, and whether the transaction's records may be visible. A transaction that
    /// is still open holds readers of committed records back until `transaction.timeout.ms` is over, or until a new producer takes the
    /// transactional id.
    Unknown(Error),
}

impl fmt::Display for TransactionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("the open transaction was aborted"),
            Self::Committed => f.write_str("the transaction whose commit was under way was committed"),
            Self::Unknown(error) => write!(f, "how the open transaction ended is unknown: {}", error.message()),
        }
    }
}

/// How far a consumer came in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOffset {
    /// The topic that was read.
    pub topic: Arc<str>,
    /// The partition that was read.
    pub partition: i32,
    /// The offset of the **next** record to read, Kafka's convention.
    pub offset: i64,
}

/// A consumer's identity in its group (KIP-447), which fences a member that a rebalance has passed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// `group.id`.
    pub group_id: String,
    /// The generation; -1 for a consumer that does not take part in a group's protocol.
    pub generation: i32,
    /// The member id, empty for such a consumer.
    pub member_id: String,
    /// `group.instance.id`, if it is set.
    pub group_instance_id: Option<String>,
}
