//! Kinds of faults, their probabilities, and where they happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use Persistence::NotPersisted;
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope, codes};

use crate::transaction::script::TransactionCall;

/// Kind of a fault of a record or of a transaction request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The record is written and its answer is late.
    DelayAnswer,
    /// The record reaches the log late; later records of the partition wait.
    DelayAppend,
    /// The record is written, and its answer is lost.
    LoseAnswer,
    /// The record is lost, and so is its answer.
    LoseRequest,
    /// The record is refused temporarily: [`ErrorKind::Broker`], not persisted.
    Refuse,
    /// The record is refused permanently: [`ErrorKind::Rejected`], not persisted.
    Reject,
    /// The connection breaks after the record was written: [`ErrorKind::Connection`].
    ResetAfter,
    /// The connection breaks before the record was written: [`ErrorKind::Connection`].
    ResetBefore,
    /// A transaction request is carried out, and its answer is late.
    DelayTransaction,
    /// A transaction request is carried out, and its answer is lost.
    LoseTransactionAnswer,
    /// A transaction request is lost.
    LoseTransactionRequest,
    /// A transaction request is refused, and only an abort can follow. Does not apply to `abort` and `init`.
    FailTransaction,
    /// The broker aborts the transaction and fences its producer, as at a time-out.
    ExpireTransaction,
    /// The end of a transaction is delayed while the client repeats it, and then ends whatever transaction is open
    /// (KAFKA-17754). Not among the [defaults](Faults::default), because keeping the producer after such a fault is
    /// never safe.
    StaleEnd,
}

use FaultKind::{
    DelayAnswer, DelayAppend, DelayTransaction, ExpireTransaction, FailTransaction, LoseAnswer, LoseRequest,
    LoseTransactionAnswer, LoseTransactionRequest, Refuse, Reject, ResetAfter, ResetBefore, StaleEnd,
};

impl FaultKind {
    /// Faults of records.
    pub(crate) const PRODUCE: [Self; 8] =
        [DelayAnswer, DelayAppend, LoseAnswer, LoseRequest, Refuse, ResetAfter, ResetBefore, Reject];

    /// Faults of transaction requests.
    pub(crate) const TRANSACTION: [Self; 6] =
        [DelayTransaction, LoseTransactionAnswer, LoseTransactionRequest, StaleEnd, FailTransaction, ExpireTransaction];

    /// The error of this fault; a lost answer is a time-out.
    #[must_use]
    pub fn error(self) -> Error {
        match self {
            Refuse => codes::error(codes::NOT_LEADER_OR_FOLLOWER, NotPersisted, "seeded: not the leader"),
            Reject => codes::error(codes::INVALID_RECORD, NotPersisted, "seeded: refused"),
            ResetAfter | ResetBefore => Error::new(ErrorKind::Connection, "seeded: the connection broke"),
            FailTransaction => Error::new(ErrorKind::Broker, "seeded: the transaction failed")
                .with_persistence(NotPersisted)
                .with_recovery(Recovery::AbortTransaction)
                .with_scope(Scope::Client),
            DelayAnswer
            | DelayAppend
            | LoseAnswer
            | LoseRequest
            | DelayTransaction
            | LoseTransactionAnswer
            | LoseTransactionRequest
            | ExpireTransaction
            | StaleEnd => Error::new(ErrorKind::Timeout, "seeded: no answer"),
        }
    }
}

/// Probability of each kind of fault.
///
/// ```
/// use kafka_tower_memory::{FaultKind, Faults, MemoryKafka};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3);
/// kafka.seed_faults(42, Faults::none().with(FaultKind::LoseAnswer, 0.1));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Faults(BTreeMap<FaultKind, f64>);

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets the probability of a kind, from 0 to 1.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, probability: f64) -> Self {
        self.0.insert(kind, probability);
        self
    }

    pub(crate) fn of(&self, kind: FaultKind) -> f64 {
        self.0.get(&kind).copied().unwrap_or(0.0)
    }
}

/// About 30 % per record and 35 % per transaction request.
impl Default for Faults {
    fn default() -> Self {
        let records = [
            (DelayAnswer, 0.08),
            (DelayAppend, 0.06),
            (LoseAnswer, 0.04),
            (LoseRequest, 0.03),
            (Refuse, 0.05),
            (Reject, 0.01),
            (ResetAfter, 0.02),
            (ResetBefore, 0.02),
        ];
        let transactions = [
            (DelayTransaction, 0.12),
            (LoseTransactionAnswer, 0.08),
            (LoseTransactionRequest, 0.08),
            (FailTransaction, 0.05),
            (ExpireTransaction, 0.02),
        ];
        Self(records.into_iter().chain(transactions).collect())
    }
}

/// Where a fault happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultPlace {
    /// A record for a partition.
    Partition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// A request of a transaction.
    Transaction(TransactionCall),
}

/// A fault that happened. `Display` prints the script line that reproduces it.
///
/// ```
/// use kafka_tower_memory::{FaultKind, Faults, MemoryKafka};
/// use kafka_tower_core::Record;
/// use tower::Service;
///
/// let kafka = MemoryKafka::new().with_topic("orders", 1);
/// kafka.seed_faults(1, Faults::none().with(FaultKind::LoseAnswer, 1.0));
/// drop(kafka.transport().call(Record::new("orders")));
/// let fault = &kafka.faults()[0];
/// assert_eq!(fault.to_string(), r#"kafka.script().on_partition("orders", 0).after(0).lose_answer();"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Fault {
    /// Kind of the fault.
    pub kind: FaultKind,
    /// Place of the fault.
    pub place: FaultPlace,
    /// Index of the affected record or request at that place, from 0.
    pub nth: u64,
    /// Delay, if the fault is a delay; otherwise zero.
    pub late: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nth, late) = (self.nth, self.late.as_millis());
        match &self.place {
            FaultPlace::Partition { topic, partition } => {
                write!(f, "kafka.script().on_partition({topic:?}, {partition}).after({nth})")?;
            }
            FaultPlace::Transaction(call) => {
                write!(f, "kafka.script_transactions().on(TransactionCall::{call:?}).after({nth})")?;
            }
        }
        match self.kind {
            DelayAnswer | DelayTransaction => write!(f, ".delay(Duration::from_millis({late}));"),
            DelayAppend => write!(f, ".delay_append(Duration::from_millis({late}));"),
            LoseAnswer | LoseTransactionAnswer => f.write_str(".lose_answer();"),
            LoseRequest | LoseTransactionRequest => f.write_str(".lose_request();"),
            ResetAfter => f.write_str(".lose_answer_with(FaultKind::ResetAfter.error());"),
            Refuse | Reject | ResetBefore | FailTransaction => {
                write!(f, ".fail(FaultKind::{:?}.error());", self.kind)
            }
            ExpireTransaction => f.write_str(".expire();"),
            StaleEnd => write!(f, ".stale(Duration::from_millis({late}));"),
        }
    }
}
