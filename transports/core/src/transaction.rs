use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{ControlFuture, Error};

/// Transaction calls of a transport.
///
/// Errors state the outcome of the transaction as they do for a record. If [`commit`](Self::commit) fails with
/// `NotPersisted`, nothing of the transaction is visible. If it fails with `PossiblyPersisted`, **the outcome is
/// unknown**: do not abort and replay, because the records may be visible. [`recovery`](crate::Error::recovery) says
/// whether to abort (`AbortTransaction`), to repeat the same call (`Retry`) or to create a new producer (`Fatal`).
///
/// After a commit that failed with `PossiblyPersisted`, only `Ok` of a repeated commit ends the doubt: every other answer
/// is `PossiblyPersisted` too ([`commit_in_doubt`](crate::error::transport::commit_in_doubt)), and so is an abort that
/// succeeds ([`aborted_in_doubt`](crate::error::transport::aborted_in_doubt)).
///
/// A call out of order (`commit` without an open transaction, `begin` with one, anything before `init`) fails with
/// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction), `Reject` and `NotPersisted`. It changes nothing:
/// repeating it never succeeds, and an open transaction stays open.
///
/// A commit fails if a record that the transport has [accepted](crate::handover::taken) has failed, even if its
/// caller dropped the future. A record that the transport refused inside `call` was not accepted: only its caller
/// gets that error.
pub trait TransactionControl: Send + Sync + fmt::Debug + 'static {
    /// Acquires the transactional id: fences older producers with the same id and ends the transactions that they
    /// left open. Call it once, before the first [`begin`](Self::begin).
    ///
    /// # Errors
    ///
    /// `Retry` if the time ran out (call again to continue waiting), `Fatal` if the id may not be used.
    fn init(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Opens a transaction: records sent later belong to it. A transport that has nothing to wait for, because it asks
    /// no broker, ignores `within`.
    ///
    /// # Errors
    ///
    /// `Retry` and `NotPersisted` if the time ran out: no transaction is open, and the same call may be made again.
    fn begin(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Delivers the records sent since `begin` and makes them visible, all or none.
    ///
    /// After an error with recovery `Retry` only the same call may follow: the transport continues the commit that
    /// has started.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel a commit that has started, and its outcome is not returned. Call `commit`
    /// again to learn it.
    fn commit(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Ends the transaction so that `read_committed` consumers never see any of its records.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel an abort that has started. Call `abort` again to learn its outcome.
    fn abort(&self, within: Duration) -> ControlFuture<'_, ()>;

    /// Returns a key that is equal for two producers if they use one transactional id on one cluster, as far as this
    /// process can tell. A sink is not created while another one with the same key is in use, because each would fence
    /// the other. Default: `None`, which is not checked.
    fn producer_key(&self) -> Option<String> {
        None
    }

    /// Adds consumed offsets to the transaction: they take effect if and when the transaction commits.
    ///
    /// Get the group's metadata from the consumer for each transaction: a rebalance invalidates older metadata.
    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()>;
}

/// How [`Control::close`](crate::Control::close) ended an open transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransactionEnd {
    /// The transaction was aborted: `read_committed` consumers do not see its records and are not held back by them.
    Aborted,
    /// The commit had started and succeeded.
    Committed,
    /// The coordinator did not answer. The error says why, and whether the transaction's records may be visible. A
    /// transaction that is still open holds back `read_committed` consumers until `transaction.timeout.ms` has passed
    /// or a new producer acquires the transactional id.
    Unknown(Error),
}

impl fmt::Display for TransactionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("the open transaction was aborted"),
            Self::Committed => f.write_str("the transaction whose commit was under way was committed"),
            Self::Unknown(error) => write!(f, "it is unknown how the open transaction ended: {}", error.message()),
        }
    }
}

/// Consumed offset of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOffset {
    /// The topic that was consumed.
    pub topic: Arc<str>,
    /// The partition that was consumed.
    pub partition: i32,
    /// The offset of the **next** record to consume (Kafka's convention).
    pub offset: i64,
}

/// Metadata of a consumer in its group (KIP-447), which fences a member that missed a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// `group.id`.
    pub group_id: String,
    /// The generation; -1 for a consumer that does not take part in the group protocol.
    pub generation: i32,
    /// The member id; empty for a consumer that does not take part in the group protocol.
    pub member_id: String,
    /// `group.instance.id`, if it is set.
    pub group_instance_id: Option<String>,
}
